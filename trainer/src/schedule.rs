//! The course of the learning rate.

use crate::config::training::{Config, ScheduleKind};

/// The learning rate of `step` (1 for the first) of `steps`: rises linearly over the warm-up, then
/// follows the config's schedule.
pub fn learning_rate(config: &Config, step: u64, steps: u64) -> f64 {
    if !config.use_lr_schedule {
        return config.learning_rate;
    }
    let warmup = match config.warmup_ratio {
        Some(ratio) => (ratio * steps as f64).round(),
        None => config.warmup_steps as f64,
    };
    let (at, warmup) = (step as f64, warmup.max(1.0));
    let rising = (at / warmup).min(1.0);
    let done = ((at - warmup) / (steps as f64 - warmup).max(1.0)).clamp(0.0, 1.0);
    let end = config.final_learning_rate;
    match config.lr_schedule_type {
        // Vaswani et al. 2017, equation 3.
        ScheduleKind::Transformer => {
            (config.d_model as f64).powf(-0.5) * at.powf(-0.5).min(at * warmup.powf(-1.5))
        }
        ScheduleKind::Constant => config.learning_rate * rising,
        ScheduleKind::Cosine => {
            let fallen = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            config.learning_rate * rising * (end + (1.0 - end) * fallen)
        }
        ScheduleKind::Exponential => config.learning_rate * rising * end.powf(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_rises_first_and_ends_where_it_says() {
        for kind in [
            ScheduleKind::Transformer,
            ScheduleKind::Cosine,
            ScheduleKind::Exponential,
            ScheduleKind::Constant,
        ] {
            let config = Config {
                lr_schedule_type: kind,
                warmup_ratio: Some(0.1),
                learning_rate: 0.5,
                final_learning_rate: 0.1,
                ..Config::default()
            };
            let rates: Vec<f64> = (1..=100)
                .map(|step| learning_rate(&config, step, 100))
                .collect();
            assert!(
                rates[..10].is_sorted_by(|a, b| a < b),
                "{kind:?} rises: {rates:?}"
            );
            assert!(
                rates[9..].is_sorted_by(|a, b| a >= b),
                "{kind:?} falls: {rates:?}"
            );
            assert!(
                (rates[0] - rates[9] / 10.0).abs() < 1e-9,
                "{kind:?} begins at a tenth"
            );
            let end = match kind {
                ScheduleKind::Transformer => (512.0f64 * 100.0).powf(-0.5),
                ScheduleKind::Cosine | ScheduleKind::Exponential => 0.05,
                ScheduleKind::Constant => 0.5,
            };
            assert!((rates[99] - end).abs() < 1e-9, "{kind:?} ends at {end}");
            let in_steps = Config {
                warmup_ratio: None,
                warmup_steps: 10,
                ..config
            };
            assert_eq!(learning_rate(&in_steps, 7, 100), rates[6]);
        }
    }

    #[test]
    fn without_a_schedule_the_rate_is_constant() {
        let config = Config {
            use_lr_schedule: false,
            learning_rate: 0.25,
            ..Config::default()
        };
        assert_eq!(learning_rate(&config, 1, 100), 0.25);
    }
}
