//! The 129 General MIDI instruments (128 programs and the drum kit), their 17 classes, and the
//! groups that requests and the plugin name.
//!
//! Source: General MIDI System Level 1, "GM Level 1 Sound Set" (MMA, 1991).

use serde::{Deserialize, Serialize};

/// A General MIDI program (0 to 127) or the drum kit (128).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct Instrument(u8);

impl Instrument {
    /// The number of instruments.
    pub const COUNT: usize = 129;
    /// The drum kit.
    pub const DRUMS: Instrument = Instrument(128);

    /// The instrument with this index: a program, or 128 for the drum kit.
    pub fn new(index: u8) -> Option<Self> {
        (usize::from(index) < Self::COUNT).then_some(Self(index))
    }

    /// The program 0 to 127, or 128 for the drum kit.
    pub fn index(self) -> u8 {
        self.0
    }

    /// Whether this is the drum kit.
    pub fn is_drums(self) -> bool {
        self == Self::DRUMS
    }
}

impl From<Instrument> for u8 {
    fn from(instrument: Instrument) -> u8 {
        instrument.0
    }
}

impl TryFrom<u8> for Instrument {
    type Error = String;
    fn try_from(index: u8) -> Result<Self, String> {
        Self::new(index).ok_or_else(|| format!("instrument {index} is not one of 0 to 128"))
    }
}

/// A set of instruments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Instrument>", into = "Vec<Instrument>")]
pub struct InstrumentSet {
    words: [u64; 3],
}

impl InstrumentSet {
    /// Puts `instrument` in.
    pub fn insert(&mut self, instrument: Instrument) {
        self.words[usize::from(instrument.0) / 64] |= 1 << (instrument.0 % 64);
    }

    /// Whether `instrument` is in.
    pub fn contains(&self, instrument: Instrument) -> bool {
        self.words[usize::from(instrument.0) / 64] >> (instrument.0 % 64) & 1 == 1
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.words == [0; 3]
    }

    /// The number of instruments in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The instruments of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Instrument> + use<> {
        let set = *self;
        (0..Instrument::COUNT as u8).map(Instrument).filter(move |&instrument| set.contains(instrument))
    }

    /// All that is in either.
    pub fn union(&self, other: &InstrumentSet) -> InstrumentSet {
        InstrumentSet { words: std::array::from_fn(|i| self.words[i] | other.words[i]) }
    }
}

impl FromIterator<Instrument> for InstrumentSet {
    fn from_iter<I: IntoIterator<Item = Instrument>>(instruments: I) -> Self {
        let mut set = Self::default();
        instruments.into_iter().for_each(|instrument| set.insert(instrument));
        set
    }
}

impl From<Vec<Instrument>> for InstrumentSet {
    fn from(instruments: Vec<Instrument>) -> Self {
        instruments.into_iter().collect()
    }
}

impl From<InstrumentSet> for Vec<Instrument> {
    fn from(set: InstrumentSet) -> Self {
        set.iter().collect()
    }
}

impl std::fmt::Display for Instrument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "program {}", self.0)
    }
}
