//! Controls: what a head can ask of a song's key and of each of its tracks.

use std::ops::{Range, RangeInclusive};

use serde::{Deserialize, Serialize};

use crate::instrument::{Class, Instrument};
use crate::key::Tonality;

/// Levels of density.
pub const DENSITIES: usize = 10;
/// Levels of polyphony.
pub const POLYPHONIES: usize = 6;
/// Octaves of MIDI's pitches.
pub const REGISTERS: usize = 11;
/// Keys: twelve tonics, major and minor.
pub const KEYS: usize = 24;

/// The key of which this is the number: the tonic, and 12 more where it is minor.
pub fn tonality(number: u16) -> Tonality {
    Tonality {
        tonic: (number % 12) as u8,
        minor: number >= 12,
    }
}

/// The number of a key so many semitones higher; see [`tonality`].
pub fn key_number(key: Tonality, semitones: i32) -> u16 {
    let tonic = (i32::from(key.tonic) + semitones).rem_euclid(12);
    tonic as u16 + 12 * u16::from(key.minor)
}

/// The level of polyphony of notes that last so many ticks together and sound in so many.
pub fn polyphony(durations: u64, sounding: u64) -> u8 {
    let at_most = |halves: u64| 2 * durations <= halves * sounding;
    [2, 3, 4, 6, 8]
        .into_iter()
        .take_while(|&halves| !at_most(halves))
        .count() as u8
}

/// Where the levels of density begin, after the first: notes in a hundred bars in which a track plays.
/// Quantiles of a training split, so that each level is met as often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Densities {
    /// Of the drum kit.
    pub drums: [u32; DENSITIES - 1],
    /// Of basses.
    pub bass: [u32; DENSITIES - 1],
    /// Of all others.
    pub others: [u32; DENSITIES - 1],
}

/// The levels that `mmm` has, for all alike.
impl Default for Densities {
    fn default() -> Self {
        let even = [100, 200, 300, 400, 600, 800, 1200, 1600, 2400];
        Self {
            drums: even,
            bass: even,
            others: even,
        }
    }
}

impl Densities {
    /// The quantiles of what was counted in a training split: notes in a hundred bars, by instrument.
    /// Of a kind of which there is nothing they are the defaults.
    pub fn learn(counted: impl IntoIterator<Item = (Instrument, u32)>) -> Self {
        let mut kinds: [Vec<u32>; 3] = Default::default();
        for (instrument, notes) in counted {
            kinds[kind(instrument)].push(notes);
        }
        let mut learned = Self::default();
        let edges = [&mut learned.drums, &mut learned.bass, &mut learned.others];
        for (edges, mut counted) in std::iter::zip(edges, kinds) {
            counted.sort_unstable();
            for (i, edge) in edges.iter_mut().enumerate() {
                let quantile = counted.get((i + 1) * counted.len() / DENSITIES);
                *edge = quantile.copied().unwrap_or(*edge);
            }
        }
        learned
    }

    /// The level of so many notes in a hundred bars.
    pub fn level(&self, instrument: Instrument, notes: u32) -> u8 {
        let edges = [&self.drums, &self.bass, &self.others][kind(instrument)];
        edges.iter().take_while(|&&least| notes >= least).count() as u8
    }

    /// Notes in a hundred bars that these levels have: from the first to before the other.
    pub fn notes(&self, instrument: Instrument, levels: &RangeInclusive<u8>) -> Range<u32> {
        let edges = [&self.drums, &self.bass, &self.others][kind(instrument)];
        let edge = |level: usize| edges.get(level).copied();
        let (first, last) = (usize::from(*levels.start()), usize::from(*levels.end()));
        let first = first
            .checked_sub(1)
            .map(|before| edge(before).unwrap_or(u32::MAX));
        first.unwrap_or(0)..edge(last).unwrap_or(u32::MAX)
    }

    /// Whether the levels of each kind ascend, as they must.
    pub(super) fn ascend(&self) -> bool {
        [self.drums, self.bass, self.others]
            .iter()
            .all(|edges| edges.is_sorted())
    }
}

/// Which levels of density an instrument has: the drums', the basses', the others'.
fn kind(instrument: Instrument) -> usize {
    match instrument.class() {
        _ if instrument.is_drums() => 0,
        Class::Bass => 1,
        _ => 2,
    }
}

/// What is asked of a track, or true of one; `None` is *any*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// How many notes a bar in which it plays has: a level, 0 to 9, by the quantiles that the encoding's
    /// settings have.
    pub density: Option<u8>,
    /// How many notes sound together where any does, on average: 0 one, 1 up to 1.5, 2 to 2, 3 to 3, 4 to
    /// 4, 5 more.
    pub polyphony: Option<u8>,
    /// The octave of its median pitch, 0 to 10; never of drums.
    pub register: Option<u8>,
}

impl Track {
    /// One of which all is asked: each level the first.
    pub fn all() -> Self {
        Self {
            density: Some(0),
            polyphony: Some(0),
            register: Some(0),
        }
    }
}

/// What is asked of one instrument, small: a request is copied and sent. Each level is one more in four bits
/// of its own, 0 is *any*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Asked(Instrument, [u8; 2]);

impl Asked {
    fn new(instrument: Instrument, track: Track) -> Self {
        let level = |level: Option<u8>| level.map_or(0, |level| level.min(14) + 1);
        let first = level(track.density) | level(track.polyphony) << 4;
        Self(instrument, [first, level(track.register)])
    }

    fn track(self) -> Track {
        let level = |bits: u8| (bits & 15).checked_sub(1);
        let Self(_, [first, second]) = self;
        Track {
            density: level(first),
            polyphony: level(first >> 4),
            register: level(second),
        }
    }

    fn is_nothing(self) -> bool {
        self.track() == Track::default()
    }
}

/// What is asked of the tracks of a piece: of [`MAX_TRACKS`] at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracks([Asked; MAX_TRACKS]);

/// Tracks of which something can be asked.
pub const MAX_TRACKS: usize = 16;

impl Tracks {
    /// Bits of what can be asked in all: see [`Tracks::masked`].
    pub const BITS: usize = 3 * MAX_TRACKS;

    /// With only that of which a bit is set: three for each track, of density, polyphony and register.
    pub fn masked(&self, mask: u64) -> Self {
        let mut masked = *self;
        for (i, asked) in masked.0.iter_mut().enumerate() {
            let track = asked.track();
            let kept =
                |bit: usize, level: Option<u8>| level.filter(|_| mask >> (3 * i + bit) & 1 == 1);
            let track = Track {
                density: kept(0, track.density),
                polyphony: kept(1, track.polyphony),
                register: kept(2, track.register),
            };
            *asked = Asked::new(asked.0, track);
        }
        masked
    }

    /// What is asked of an instrument.
    pub fn of(&self, instrument: Instrument) -> Track {
        let mut its = self.0.iter().filter(|asked| asked.0 == instrument);
        let its = its.find(|asked| !asked.is_nothing());
        its.map(|asked| asked.track()).unwrap_or_default()
    }

    /// Asks this of an instrument; nothing where so many others are asked something already.
    pub fn ask(&mut self, instrument: Instrument, track: Track) {
        let own = |asked: &Asked| asked.0 == instrument && !asked.is_nothing();
        let slot = self.0.iter().position(own);
        let slot = slot.or_else(|| self.0.iter().position(|asked| asked.is_nothing()));
        if let Some(slot) = slot.and_then(|slot| self.0.get_mut(slot)) {
            *slot = Asked::new(instrument, track);
        }
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|asked| asked.is_nothing())
    }
}
