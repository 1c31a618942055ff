//! The course of the learning rate.

use crate::config::training::{Config, ScheduleKind};

/// The learning rate of `step` (1 for the first) of `steps`: rises linearly over the warm-up, then
/// follows the config's schedule.
pub fn learning_rate(config: &Config, step: u64, steps: u64) -> f64 {
    if !config.use_lr_schedule {
        return config.learning_rate;
    }
    let (at, warmup) = (step as f64, config.warmup_steps.max(1) as f64);
    let rising = (at / warmup).min(1.0);
    match config.lr_schedule_type {
        // Vaswani et al. 2017, equation 3.
        ScheduleKind::Transformer => {
            (config.d_model as f64).powf(-0.5) * at.powf(-0.5).min(at * warmup.powf(-1.5))
        }
        ScheduleKind::Constant => config.learning_rate * rising,
        ScheduleKind::Cosine => {
            let after = (steps as f64 - warmup).max(1.0);
            let done = ((at - warmup) / after).clamp(0.0, 1.0);
            let fallen = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            let end = config.final_learning_rate;
            config.learning_rate * rising * (end + (1.0 - end) * fallen)
        }
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
            ScheduleKind::Constant,
        ] {
            let config = Config {
                lr_schedule_type: kind,
                warmup_steps: 10,
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
                ScheduleKind::Cosine => 0.05,
                ScheduleKind::Constant => 0.5,
            };
            assert!((rates[99] - end).abs() < 1e-9, "{kind:?} ends at {end}");
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
