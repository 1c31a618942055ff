//! What the player tells others: events to the host, its place to the window.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the player sends. Events come in the order of their samples, which count from the block's
/// first; channels count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its sample.
    pub sample: u32,
    /// Its channel.
    pub channel: u8,
    /// What happens.
    pub kind: EventKind,
}

/// What an [`Event`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The note of this pitch ends.
    Off(u8),
    /// The channel plays this General MIDI program.
    Program(u8),
    /// A note begins.
    On {
        /// MIDI key.
        pitch: u8,
        /// MIDI velocity, 1 to 127.
        velocity: u8,
    },
}

/// Where in the clip the player is: quarters from the clip's start, for other threads to read.
#[derive(Debug)]
pub struct Playhead(AtomicU64);

impl Default for Playhead {
    fn default() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl Playhead {
    /// Quarters from the clip's start; `None` while nothing plays.
    pub fn quarters(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Relaxed))).filter(|quarters| !quarters.is_nan())
    }

    pub(super) fn set(&self, quarters: f64) {
        self.0.store(quarters.to_bits(), Ordering::Relaxed);
    }
}
