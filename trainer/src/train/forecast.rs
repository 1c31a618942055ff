//! How long a training will take: measured on steps that are thrown away.

use std::time::Instant;

use super::{Workers, segments_of_step, steps_of_an_epoch};
use crate::batches::{Draw, Music};
use crate::config::training::Config;
use crate::model::Model;

/// Seconds of steps that are looked at, about.
const SECONDS: f64 = 2.0;

/// A training that is ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Weights of the model.
    pub parameters: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens that they see, about.
    pub tokens: f64,
    /// Seconds that they take, about.
    pub seconds: f64,
}

/// What a training of `config` on `music` will be on `threads` threads of this machine as it is now.
pub fn forecast(config: &Config, music: &Music, threads: usize) -> Forecast {
    let architecture = config.architecture(music.encoding.vocabulary_size());
    let mut forecast = Forecast {
        parameters: architecture.parameters(),
        steps: config.steps.unwrap_or(0),
        tokens: 0.0,
        seconds: 0.0,
    };
    let draw = Draw::new(config, music, &music.train);
    if music.train.is_empty() || !draw.can_draw() {
        return forecast;
    }
    let (epoch, _) = steps_of_an_epoch(config, music, &draw);
    forecast.steps = config.steps.unwrap_or(config.epochs.saturating_mul(epoch));
    // A micro-batch for each thread says how long more of them take.
    let sample = Config {
        batch_tokens: Some(config.micro_batch_tokens.saturating_mul(threads)),
        accumulation_steps: 1,
        ..config.clone()
    };
    let count = |segments: &[crate::batches::Segment]| {
        let tokens = segments.iter().map(|segment| segment.tokens.len());
        tokens.sum::<usize>() as f64
    };
    let a_step = count(&segments_of_step(config, &draw, 1));
    forecast.tokens = a_step * forecast.steps as f64;
    let model = Model::new(&architecture, config.random_seed, tch::Device::Cpu);
    let mut workers = Workers::new(model.with_precision(config.precision), config, threads);
    let mut run = |number| {
        let segments = segments_of_step(&sample, &draw, number);
        let begin = Instant::now();
        workers.step(&sample, &segments, number, 1e-9);
        begin.elapsed().as_secs_f64() / count(&segments).max(1.0)
    };
    // The first takes its memory from the system, too.
    let (begin, _) = (Instant::now(), run(1));
    let mut best = f64::INFINITY;
    for number in 2.. {
        best = best.min(run(number));
        if begin.elapsed().as_secs_f64() > SECONDS {
            break;
        }
    }
    forecast.seconds = best * forecast.tokens;
    forecast
}
