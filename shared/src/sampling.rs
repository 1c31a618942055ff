//! Sampling: logits to a token, through a chain of filters.
//!
//! 1. With guidance, [`guide`] moves the logits away from those of unconditioned music.
//! 1. [`Biases`] move them by what the music has said so far, and towards notes or rests.
//! 1. The tokens that may come at all (grammar and request) become [`Candidates`], of which the filters
//!    of [`Settings`] leave the likeliest.
//!
//! Everything is fixed to the bit: ties fall to the lower token, exponentials come from `libm`, and
//! random numbers from ChaCha8.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::encoding::SettingsError;

mod biases;
mod candidates;
mod chain;
mod guided;
mod repetition;
mod words;

pub use biases::Biases;
pub use candidates::Candidates;
pub use chain::{Filter, Kinds, UnknownFilter};
pub use guided::{Control, Guided, UnknownControl};
pub use repetition::Repetition;
pub use words::{Class, Words};

/// The widest beam.
pub const MAX_BEAM: u8 = 10;

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keeps the `k` likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Leaves out so many of the likeliest tokens before top-k counts, but never all: music that does
    /// what is less expected.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub top_k_offset: usize,
    /// Keeps the likeliest tokens whose probabilities first reach `p`; 1 is off.
    pub top_p: f32,
    /// Keeps the tokens at least so many times as likely as the likeliest (Nguyen et al., "Min-p
    /// Sampling", 2024, section 3); 0 is off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p: f32,
    /// How much further the logits go from those of unconditioned music than conditions lead, see
    /// [`guide`]; 1 is off, and what is below counts as 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub guidance: f32,
    /// The conditions that guidance drives.
    #[serde(default, skip_serializing_if = "Guided::is_all")]
    pub guided: Guided,
    /// What holds for some kinds of tokens in place of the five filters.
    #[serde(default, skip_serializing_if = "Kinds::is_empty")]
    pub kinds: Kinds,
    /// Divides the logit of each token that the model still sees, where it is positive, and multiplies
    /// it where it is negative (Keskar et al., "CTRL", 2019, section 4.1, which divides both); 1 is off.
    /// Tokens that end a cell, a bar or a piece are left alone.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub token_penalty: f32,
    /// What bars that repeat others lose.
    #[serde(default, skip_serializing_if = "Repetition::is_off")]
    pub repetition: Repetition,
    /// More notes, fewer rests: so many nats lie between tokens that begin notes and tokens that end a
    /// cell or a bar, half of them on each side, and where a token moves on in time it lies between them by
    /// the share of a 4/4 bar that it leaves out; below 0 fewer notes, 0 is off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_notes: f32,
    /// Writes each bar by beam search of this width, without filters and seed; 0 is off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beam: u8,
}

fn one() -> f32 {
    1.0
}

fn is_one(value: &f32) -> bool {
    *value == one()
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_k_offset: 0,
            top_p: 0.94,
            min_p: 0.0,
            guidance: one(),
            guided: Guided::default(),
            kinds: Kinds::default(),
            token_penalty: one(),
            repetition: Repetition::default(),
            more_notes: 0.0,
            beam: 0,
        }
    }
}

/// Refuses a `value` outside of `range`, and one that is no number.
fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
    expected: &'static str,
) -> Result<(), SettingsError> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(SettingsError {
            field,
            value: value.to_string(),
            expected,
        }),
    }
}

impl Settings {
    /// Refuses a value that makes no sense, but no guidance, of which all that is none counts as off.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.chain().check()?;
        self.kinds.check()?;
        self.repetition.check()?;
        within(
            "token_penalty",
            self.token_penalty,
            1.0..=10.0,
            "expected 1 (off) to 10",
        )?;
        within(
            "more_notes",
            self.more_notes,
            -20.0..=20.0,
            "expected -20 (fewer notes) to 20 (more), 0 for neither",
        )?;
        within("beam", self.beam, 0..=MAX_BEAM, "expected 0 (off) to 10")
    }
}

/// Classifier-free guidance (Ho and Salimans 2022, equation 6, with their `w` one less than `guidance`):
/// `logits` with conditions become `free + guidance * (logits - free)`, where `free` are those
/// without.
pub fn guide(logits: &mut [f32], free: &[f32], guidance: f32) {
    for (logit, free) in std::iter::zip(logits, free) {
        *logit = free + guidance * (*logit - free);
    }
}
