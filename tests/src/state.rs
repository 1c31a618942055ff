//! The plugin's saved state, read (and, for tests that need a clip of their own, written) as
//! `docs/formats.md` describes it, without the plugin's code.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::oracle::{Clip, Note};

/// Ticks in a quarter.
const TICKS: f64 = 960.0;
/// MIDI's channel 10, and the instrument that plays there.
const DRUM_CHANNEL: u8 = 9;
const DRUMS: u8 = 128;

/// The clip of a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedClip {
    /// Its length in bars.
    pub bars: u32,
    /// Numerator and denominator of every bar.
    pub metre: (u8, u8),
    /// The tempo that it was made for.
    pub micros_per_quarter: u32,
    /// What it was made from.
    pub origin: Value,
    /// In the order in which channels are given out.
    pub instruments: Vec<u8>,
    /// Start and duration in ticks, index of the instrument, key, velocity.
    pub notes: Vec<(u32, u32, u8, u8, u8)>,
}

impl SavedClip {
    /// The channel of each instrument: 10 for drums, the others in order, the last for all that are
    /// left.
    pub fn channels(&self) -> Vec<u8> {
        let mut free = (0..16).filter(|&channel| channel != DRUM_CHANNEL);
        let mut last = 15;
        self.instruments
            .iter()
            .map(|&instrument| match instrument {
                DRUMS => DRUM_CHANNEL,
                _ => {
                    last = free.next().unwrap_or(last);
                    last
                }
            })
            .collect()
    }

    /// Whether nothing begins in its first bar.
    pub fn rests(&self) -> bool {
        let bar = 3840 * u32::from(self.metre.0) / u32::from(self.metre.1).max(1);
        self.notes.iter().all(|note| note.0 >= bar)
    }

    /// The clip as it should be played.
    pub fn clip(&self) -> Clip {
        let bar = f64::from(self.metre.0) * 4.0 / f64::from(self.metre.1);
        let channels = self.channels();
        // Of notes that strike one pitch together the first in this order is heard.
        let mut sorted = self.notes.clone();
        sorted.sort_by_key(|&(start, duration, part, key, velocity)| {
            (start, part, key, duration, velocity)
        });
        let note = |(start, duration, part, key, velocity): (u32, u32, u8, u8, u8)| Note {
            start: f64::from(start) / TICKS,
            duration: f64::from(duration) / TICKS,
            channel: channels[usize::from(part)],
            key,
            velocity,
        };
        let notes = sorted.into_iter().map(note).collect();
        Clip {
            length: f64::from(self.bars) * bar,
            notes,
        }
    }
}

/// A state, taken apart.
#[derive(Clone, Debug)]
pub struct State {
    /// CLAP's states begin with the length of the rest.
    has_length: bool,
    /// The framework's part: parameters, and fields with the plugin's own.
    pub outer: Value,
    /// The plugin's own part.
    pub own: Value,
}

impl State {
    /// Takes a state apart.
    ///
    /// # Errors
    /// It is not of the form that `docs/formats.md` describes.
    pub fn read(state: &[u8]) -> Result<State, serde_json::Error> {
        let after_length = state
            .split_first_chunk()
            .filter(|(length, rest)| u64::from_le_bytes(**length) == rest.len() as u64);
        let has_length = after_length.is_some();
        let json = after_length.map_or(state, |(_, rest)| rest);
        let outer: Value = serde_json::from_slice(json)?;
        let own = serde_json::from_str(outer["fields"]["famam"].as_str().unwrap_or("null"))?;
        Ok(State {
            has_length,
            outer,
            own,
        })
    }

    /// Puts it together.
    pub fn write(mut self) -> Vec<u8> {
        if let Some(fields) = self.outer.get_mut("fields").and_then(Value::as_object_mut) {
            fields.insert("famam".to_owned(), Value::String(self.own.to_string()));
        }
        let json = self.outer.to_string().into_bytes();
        let length = (json.len() as u64).to_le_bytes();
        let length = if self.has_length { &length[..] } else { &[] };
        [length, &json].concat()
    }
}

/// The clip in a state, if there is one.
///
/// # Errors
/// The state is not of the form that `docs/formats.md` describes.
pub fn clip(state: &[u8]) -> Result<Option<SavedClip>, serde_json::Error> {
    serde_json::from_value(State::read(state)?.own["clip"].take())
}

/// `state` with another clip.
///
/// # Errors
/// The state is not of the form that `docs/formats.md` describes.
pub fn with_clip(state: &[u8], clip: &SavedClip) -> Result<Vec<u8>, serde_json::Error> {
    let mut state = State::read(state)?;
    state.own["clip"] = serde_json::to_value(clip)?;
    Ok(state.write())
}
