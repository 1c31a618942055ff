//! The five filters, for all tokens or for those of one kind.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Class, Settings, within};
use crate::encoding::SettingsError;

/// What holds for the tokens of one kind; where nothing is said, what holds for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// See [`Settings::temperature`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// See [`Settings::top_k`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// See [`Settings::top_k_offset`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k_offset: Option<usize>,
    /// See [`Settings::top_p`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// See [`Settings::min_p`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
}

/// Text that is no [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no filter: expected temperature, top-k, top-k-offset, top-p or min-p, as in top-k=5,top-p=0.9"
)]
pub struct UnknownFilter(String);

impl FromStr for Filter {
    type Err = UnknownFilter;

    fn from_str(text: &str) -> Result<Self, UnknownFilter> {
        fn number<T: FromStr>(text: &str) -> Option<Option<T>> {
            text.parse().ok().map(Some)
        }
        let mut filter = Self::default();
        for part in text.split(',') {
            let set = |filter: &mut Self| {
                let (name, value) = part.split_once('=')?;
                match name.trim() {
                    "temperature" => filter.temperature = number(value)?,
                    "top-k" => filter.top_k = number(value)?,
                    "top-k-offset" => filter.top_k_offset = number(value)?,
                    "top-p" => filter.top_p = number(value)?,
                    "min-p" => filter.min_p = number(value)?,
                    _ => return None,
                }
                Some(())
            };
            set(&mut filter).ok_or_else(|| UnknownFilter(part.to_owned()))?;
        }
        Ok(filter)
    }
}

/// Filters of each kind of token.
///
/// Where any kind has one of its own, each kind is filtered by itself: all its tokens together stay as likely
/// as they are at the temperature of [`Settings`], which alone decides between kinds, and its filters
/// decide among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinds {
    /// Of tokens that say when: positions, offsets, durations, time shifts, ends of notes, bars, rests.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub rhythm: Filter,
    /// Of tokens that say which pitch or drum.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub pitch: Filter,
    /// Of velocities.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub velocity: Filter,
}

fn is_empty(filter: &Filter) -> bool {
    *filter == Filter::default()
}

impl Kinds {
    /// Whether no kind has a filter of its own.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn of(&self, class: Class) -> Filter {
        match class {
            Class::Rhythm => self.rhythm,
            Class::Pitch => self.pitch,
            Class::Velocity => self.velocity,
            Class::Other => Filter::default(),
        }
    }

    /// Refuses a value that makes no sense.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let all = Settings::default();
        [self.rhythm, self.pitch, self.velocity]
            .iter()
            .try_for_each(|filter| all.chain().with(filter).check())
    }
}

/// The filters that some tokens go through, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) temperature: f32,
    pub(super) top_k_offset: usize,
    pub(super) top_k: usize,
    pub(super) top_p: f32,
    pub(super) min_p: f32,
}

impl Chain {
    fn with(self, filter: &Filter) -> Self {
        Self {
            temperature: filter.temperature.unwrap_or(self.temperature),
            top_k_offset: filter.top_k_offset.unwrap_or(self.top_k_offset),
            top_k: filter.top_k.unwrap_or(self.top_k),
            top_p: filter.top_p.unwrap_or(self.top_p),
            min_p: filter.min_p.unwrap_or(self.min_p),
        }
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        within(
            "temperature",
            self.temperature,
            0.0..=100.0,
            "expected 0 (the likeliest) to 100",
        )?;
        let share = |field, value, expected| within(field, value, 0.0..=1.0, expected);
        share("top_p", self.top_p, "expected 0 to 1 (off)")?;
        share("min_p", self.min_p, "expected 0 (off) to 1")
    }
}

impl Settings {
    /// What all tokens go through.
    pub(super) fn chain(&self) -> Chain {
        Chain {
            temperature: self.temperature,
            top_k_offset: self.top_k_offset,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
        }
    }

    /// What tokens of `class` go through.
    pub(super) fn chain_of(&self, class: Class) -> Chain {
        self.chain().with(&self.kinds.of(class))
    }
}
