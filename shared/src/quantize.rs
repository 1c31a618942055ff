//! Quantization: a [`Score`] to the nearest one that an encoding can say, counting what it changes.

use serde::{Deserialize, Serialize};

use crate::score::Score;

/// What an encoding can say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Grid positions in a 4/4 bar: a multiple of 4 that divides 3,840 ticks.
    pub positions_per_bar: u16,
    /// The longest note, in bars of 4/4.
    pub max_duration_bars: u16,
    /// Equal bins of MIDI's 128 velocities.
    pub velocity_bins: u16,
}

/// What [`quantize`] changed, in notes unless said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Notes of the score as given.
    pub notes: u64,
    /// Notes left out because an equal one (instrument, position, pitch) stands there.
    pub merged: u64,
}

/// The nearest score that an encoding with these settings can say; idempotent.
pub fn quantize(_score: &Score, _settings: &Settings) -> (Score, Losses) {
    todo!()
}
