//! The steps of a run: what each learns from, and how many make an epoch.

use crate::batches::{Draw, Music, Purpose, Segment};
use crate::config::training::Config;

/// The segments that a step learns from.
pub fn segments_of_step(config: &Config, draw: &Draw, step: u64) -> Vec<Segment> {
    draw.segments(Purpose::Step(step), |segments, tokens| {
        let batches = config.accumulation_steps;
        match config.batch_tokens {
            Some(enough) => tokens >= enough.saturating_mul(batches),
            None => segments >= config.batch_size.saturating_mul(batches),
        }
    })
}

/// What the steps of a run are like: measured on the first 20.
pub struct Epoch {
    /// Steps that see as many tokens as the training split has, about.
    pub steps: u64,
    /// Share of bars that segments lose.
    pub lost: f64,
    /// Tokens of the largest step.
    pub tokens: u64,
}

impl Epoch {
    pub fn measure(config: &Config, music: &Music, draw: &Draw) -> Self {
        let sample = 20;
        let (mut scored, mut asked, mut lost, mut most) = (0, 0, 0, 0);
        for step in 1..=sample {
            let segments = segments_of_step(config, draw, step);
            for segment in &segments {
                // Pieces are counted with nothing merged.
                let learned = &segment.tokens[segment.first..];
                scored += music.encoding.expand(learned).len();
                asked += segment.asked_bars;
                lost += segment.lost_bars;
            }
            most = most.max(segments.iter().map(|segment| segment.tokens.len()).sum());
        }
        let steps = (music.train_tokens() * sample).div_ceil(scored.max(1) as u64);
        Self {
            steps: steps.max(1),
            lost: lost as f64 / asked.max(1) as f64,
            tokens: most as u64,
        }
    }
}
