//! What guidance drives: some of the conditions, or all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::encoding::Conditioning;

/// A kind of condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The genre.
    Genre,
    /// Which instruments play.
    Instruments,
    /// The key.
    Key,
    /// The metre that a head says.
    Metre,
    /// The tempo that a head says.
    Tempo,
    /// Density, polyphony and register of tracks.
    Tracks,
    /// The chords that bars say.
    Chords,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Genre,
        Self::Instruments,
        Self::Key,
        Self::Metre,
        Self::Tempo,
        Self::Tracks,
        Self::Chords,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Genre => "genre",
            Self::Instruments => "instruments",
            Self::Key => "key",
            Self::Metre => "metre",
            Self::Tempo => "tempo",
            Self::Tracks => "tracks",
            Self::Chords => "chords",
        }
    }
}

/// Conditions that guidance drives: the music that it leads away from lacks these and has the others. As text
/// `all`, or names with commas between them: `key,genre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guided(u8);

/// All.
impl Default for Guided {
    fn default() -> Self {
        Control::ALL.into_iter().collect()
    }
}

impl FromIterator<Control> for Guided {
    fn from_iter<T: IntoIterator<Item = Control>>(controls: T) -> Self {
        let bits = controls.into_iter().map(|control| 1 << control as u8);
        Self(bits.fold(0, std::ops::BitOr::bitor))
    }
}

impl Guided {
    /// Whether it drives this one.
    pub fn contains(&self, control: Control) -> bool {
        self.0 >> control as u8 & 1 == 1
    }

    /// Whether it drives all.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// What is said where nothing is said of what it drives.
    pub fn without(&self, given: &Conditioning) -> Conditioning {
        let free = Conditioning::default();
        let of = |control| if self.contains(control) { &free } else { given };
        Conditioning {
            genre: of(Control::Genre).genre,
            instruments: of(Control::Instruments).instruments,
            key: of(Control::Key).key,
            metre: of(Control::Metre).metre,
            tempo: of(Control::Tempo).tempo,
            tracks: of(Control::Tracks).tracks,
        }
    }
}

/// A name that is no condition's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "guidance by {0:?}: expected all, none, or some of genre, instruments, key, metre, tempo, tracks and chords with \
     commas between them"
)]
pub struct UnknownControl(String);

impl FromStr for Guided {
    type Err = UnknownControl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "all" => return Ok(Self::default()),
            "none" => return Ok(Self(0)),
            _ => {}
        }
        let named = text.split(',').map(|name| {
            let mut all = Control::ALL.into_iter();
            let found = all.find(|control| control.name() == name.trim());
            found.ok_or_else(|| UnknownControl(name.trim().to_owned()))
        });
        named.collect()
    }
}

impl fmt::Display for Guided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            all if all.is_all() => return f.write_str("all"),
            Self(0) => return f.write_str("none"),
            _ => {}
        }
        let named = Control::ALL
            .into_iter()
            .filter(|&control| self.contains(control));
        let names: Vec<_> = named.map(Control::name).collect();
        f.write_str(&names.join(","))
    }
}

impl TryFrom<String> for Guided {
    type Error = UnknownControl;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Guided> for String {
    fn from(guided: Guided) -> Self {
        guided.to_string()
    }
}
