//! What the host says of its transport for one block, made safe to compute with.

use famam_shared::score::TICKS_PER_QUARTER;

/// Ticks in a quarter note, as the player computes with them.
pub(super) const TICKS: f64 = TICKS_PER_QUARTER as f64;
/// Positions beyond this many quarters are no song's; no rounding error reaches a sample below it.
const FARTHEST: f64 = 1e7;

/// The host's transport at the start of a block. Positions are in quarters from the song's start,
/// and may be negative in a pre-roll.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transport {
    /// Whether it runs.
    pub playing: bool,
    /// Position of the block's first sample.
    pub position: Option<f64>,
    /// Quarters a minute, for the whole block; 120 where the host says nothing.
    pub tempo: Option<f64>,
    /// Samples a second.
    pub sample_rate: f64,
    /// Start and end of the loop where one is active.
    pub loop_range: Option<(f64, f64)>,
    /// A bar line: all others are whole bars away from it.
    pub bar_line: Option<f64>,
    /// Length of a bar in quarters; 4 where the host says nothing.
    pub bar_length: Option<f64>,
}

/// A [`Transport`] in ticks and samples, without what cannot be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Motion {
    /// Position of the block's first sample, in ticks.
    pub start: f64,
    /// Samples in a tick.
    pub samples_per_tick: f64,
    /// Start and end in ticks of a loop of at least one sample.
    pub loop_range: Option<(f64, f64)>,
    /// A bar line, in ticks.
    pub bar_line: f64,
    /// Length of a bar, in ticks.
    pub bar_length: f64,
}

impl Transport {
    /// How the song moves in this block; `None` where it stands still.
    pub(super) fn motion(&self) -> Option<Motion> {
        let position = |quarters: f64| (quarters.abs() < FARTHEST).then_some(quarters * TICKS);
        let start = self.position.and_then(position).filter(|_| self.playing)?;
        let tempo = self
            .tempo
            .filter(|tempo| (1.0..=100_000.0).contains(tempo))
            .unwrap_or(120.0);
        let samples_per_tick = self.sample_rate * 60.0 / tempo / TICKS;
        let loop_range = self
            .loop_range
            .and_then(|(from, to)| Some((position(from)?, position(to)?)))
            .filter(|(from, to)| (to - from) * samples_per_tick >= 1.0);
        let bar_length = self
            .bar_length
            .filter(|length| (0.01..=1e3).contains(length));
        Some(Motion {
            start,
            samples_per_tick,
            loop_range,
            bar_line: self.bar_line.and_then(position).unwrap_or(0.0),
            bar_length: bar_length.unwrap_or(4.0) * TICKS,
        })
        .filter(|_| samples_per_tick.is_finite() && samples_per_tick > 0.0)
    }
}

impl Motion {
    /// The first bar line at or after `tick` (a quarter of a tick before it is taken as at it,
    /// because hosts round).
    pub fn bar_line_from(&self, tick: f64) -> f64 {
        let bars = (tick - SLACK - self.bar_line) / self.bar_length;
        self.bar_line + bars.ceil() * self.bar_length
    }

    /// The first beat at or after `tick`: a quarter counted from a bar line, or a bar line.
    pub fn beat_from(&self, tick: f64) -> f64 {
        let next = self.bar_line_from(tick);
        let bar = next - self.bar_length;
        let beat = bar + ((tick - SLACK - bar) / TICKS).ceil() * TICKS;
        beat.min(next)
    }

    /// The bar line of the bar that holds `tick`.
    pub fn bar_line_of(&self, tick: f64) -> f64 {
        let bars = (tick + SLACK - self.bar_line) / self.bar_length;
        self.bar_line + bars.floor() * self.bar_length
    }
}

/// Ticks by which a host's position of a grid point may be off.
pub(super) const SLACK: f64 = 0.25;

/// A straight piece of a block: which sample a musical position falls on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Sample, with its fraction, of `tick`.
    pub sample: f64,
    /// A position.
    pub tick: f64,
    /// The slope.
    pub samples_per_tick: f64,
}

impl Line {
    /// Sample of `tick`, with its fraction.
    pub fn at(&self, tick: f64) -> f64 {
        self.sample + (tick - self.tick) * self.samples_per_tick
    }

    /// The sample on which what stands at `tick` is heard. No grid position meets the edge of this
    /// rounding: at 120 quarters a minute and 44.1 kHz every second twelfth of a beat lies on a
    /// half sample.
    pub fn sample_of(&self, tick: f64) -> i64 {
        (self.at(tick) + 0.49).floor() as i64
    }

    /// The position at `sample`.
    pub fn tick_at(&self, sample: f64) -> f64 {
        self.tick + (sample - self.sample) / self.samples_per_tick
    }
}
