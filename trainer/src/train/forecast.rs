//! What a training will take of memory and time: reckoned, and measured on steps that are thrown away.

use std::time::Instant;

use super::epoch::{Epoch, segments_of_step};
use super::{Need, Workers};
use crate::batches::{Draw, Music};
use crate::config::training::Config;
use crate::device::Machine;
use crate::model::Model;

/// Seconds of steps that are looked at, about.
const SECONDS: f64 = 2.0;

/// A training that is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Weights of the model.
    pub parameters: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens that they see, about.
    pub tokens: f64,
    /// Bytes of memory that a step takes, about.
    pub bytes: u64,
    /// Seconds that all takes, about; 0 where nothing could be measured.
    pub seconds: f64,
}

/// What a training of `config` on `music` will be on this machine as it is now. Where a step takes more than
/// `memory` bytes, none is tried.
pub fn forecast(config: &Config, music: &Music, machine: Machine, memory: u64) -> Forecast {
    let architecture = config.architecture(music.encoding.vocabulary_size());
    let mut forecast = Forecast {
        parameters: architecture.parameters(),
        ..Forecast::default()
    };
    let draw = Draw::new(config, music, &music.train);
    if music.train.is_empty() || !draw.can_draw() {
        return forecast;
    }
    let epoch = Epoch::measure(config, music, &draw);
    forecast.steps = config
        .steps
        .unwrap_or(config.epochs.saturating_mul(epoch.steps));
    forecast.tokens = epoch.tokens as f64 * forecast.steps as f64;
    forecast.bytes = Need::new(config, &architecture, machine.threads).of(epoch.tokens);
    if forecast.bytes > memory {
        return forecast;
    }
    // A micro-batch for each thread says how long more of them take.
    let sample = Config {
        batch_tokens: Some(config.micro_batch_tokens.saturating_mul(machine.threads)),
        accumulation_steps: 1,
        precision: config.precision.on(machine.device),
        ..config.clone()
    };
    let model = Model::new(&architecture, config.random_seed, tch::Device::Cpu);
    let model = model
        .with_precision(sample.precision)
        .to_device(machine.device);
    let mut workers = Workers::new(model, &sample, machine.threads);
    let mut run = |number| {
        let segments = segments_of_step(&sample, &draw, number);
        let begin = Instant::now();
        workers.step(&sample, &segments, number, 1e-9);
        let tokens: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
        begin.elapsed().as_secs_f64() / tokens.max(1) as f64
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
