//! Music theory: what keys, scales, chords and progressions are made of, how musicians write them, what
//! chords music has, and which notes they allow.
//!
//! Text comes in (`A minor`, `F#m7`, `Am F C-G`, `ii V I`) and gives sets of pitch classes; a score comes
//! in and gives its [key](key::likely) and its [chords](Chord::of_bars). [`rules`] turn both into sets of pitches
//! that may start somewhere and lengths that they may have.

mod beat;
pub mod chord;
mod common;
mod finder;
pub mod key;
mod numeral;
mod pitch;
pub mod progression;
pub mod rules;
pub mod scale;
mod symbol;

pub use beat::middle;
pub use chord::Chord;
pub use pitch::{PitchClasses, Pitches};
pub use progression::Progression;
pub use scale::Scale;
pub use symbol::{Symbol, SymbolError};
