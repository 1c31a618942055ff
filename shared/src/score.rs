//! A [`Score`]: notes by track, with tempo, metre and key changes, in ticks.
//!
//! Everything musical in Famam is a function on a `Score`. MIDI files come in
//! through [`crate::midi::read`] and go out through [`crate::midi::write`];
//! encodings turn a quantized score into tokens and back.

use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

use crate::instrument::Instrument;

/// Ticks in a quarter note, in every [`Score`].
pub const TICKS_PER_QUARTER: u32 = 960;
/// Ticks in a whole note.
pub const TICKS_PER_WHOLE: u32 = 4 * TICKS_PER_QUARTER;

/// A musical position or length, [`TICKS_PER_QUARTER`] to a quarter note.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ticks(pub u32);

impl Ticks {
    /// The position in quarter notes.
    pub fn quarters(self) -> f64 {
        f64::from(self.0) / f64::from(TICKS_PER_QUARTER)
    }

    /// `self - other`, or zero where `other` is later.
    pub fn saturating_sub(self, other: Ticks) -> Ticks {
        Ticks(self.0.saturating_sub(other.0))
    }
}

impl Add for Ticks {
    type Output = Ticks;
    fn add(self, other: Ticks) -> Ticks {
        Ticks(self.0 + other.0)
    }
}

impl AddAssign for Ticks {
    fn add_assign(&mut self, other: Ticks) {
        self.0 += other.0;
    }
}

impl Sub for Ticks {
    type Output = Ticks;
    fn sub(self, other: Ticks) -> Ticks {
        Ticks(self.0 - other.0)
    }
}

/// One note. Notes of a track are sorted by `(start, pitch, duration, velocity)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Note {
    /// Where it starts, from the beginning of the score.
    pub start: Ticks,
    /// MIDI key, 0 to 127; in a drum track the GM percussion key.
    pub pitch: u8,
    /// How long it sounds, at least one tick.
    pub duration: Ticks,
    /// MIDI velocity, 1 to 127.
    pub velocity: u8,
}

impl Note {
    /// Where it ends: the first tick at which it no longer sounds.
    pub fn end(&self) -> Ticks {
        self.start + self.duration
    }
}

/// The notes of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// What plays them: a General MIDI program or the drum kit.
    pub instrument: Instrument,
    /// The track's name, empty where the file gave none.
    pub name: String,
    /// Sorted as [`Note`] says.
    pub notes: Vec<Note>,
}

/// A tempo from a position on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tempo {
    /// From where it holds.
    pub at: Ticks,
    /// Microseconds in a quarter note, at least 1 (MIDI's own unit, so that reading and writing
    /// lose nothing).
    pub micros_per_quarter: u32,
}

impl Tempo {
    /// MIDI's tempo where nothing is said: 120 quarters a minute.
    pub const DEFAULT_MICROS: u32 = 500_000;

    /// Quarter notes a minute.
    pub fn quarters_per_minute(&self) -> f64 {
        60e6 / f64::from(self.micros_per_quarter)
    }
}

/// A metre (time signature) from a position on. A change starts a new bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metre {
    /// From where it holds.
    pub at: Ticks,
    /// Beats in a bar, at least 1.
    pub numerator: u8,
    /// The note value of a beat: a power of two, 1 to 128.
    pub denominator: u8,
}

impl Metre {
    /// Four quarters a bar, from the start: MIDI's metre where nothing is said.
    pub const COMMON: Metre = Metre {
        at: Ticks(0),
        numerator: 4,
        denominator: 4,
    };

    /// The length of a bar.
    pub fn bar(&self) -> Ticks {
        Ticks(TICKS_PER_WHOLE / u32::from(self.denominator) * u32::from(self.numerator))
    }
}

/// A key signature from a position on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// From where it holds.
    pub at: Ticks,
    /// Sharps (positive) or flats (negative), -7 to 7.
    pub fifths: i8,
    /// Minor rather than major.
    pub minor: bool,
}

/// A piece of music.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// The parts, in the order of the file.
    pub tracks: Vec<Track>,
    /// Tempo changes by position. Before the first, [`Tempo::DEFAULT_MICROS`] holds.
    pub tempos: Vec<Tempo>,
    /// Metre changes by position. Before the first, [`Metre::COMMON`] holds.
    pub metres: Vec<Metre>,
    /// Key changes by position. Before the first, no key is known.
    pub keys: Vec<Key>,
    /// Where the piece ends: no earlier than the end of its last note.
    pub end: Ticks,
}

/// One bar of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its bar line.
    pub start: Ticks,
    /// The next bar line.
    pub end: Ticks,
    /// The metre in force; a bar that a metre change cuts short is shorter than it says.
    pub metre: Metre,
}

impl Score {
    /// The number of notes in all tracks.
    pub fn note_count(&self) -> usize {
        self.tracks.iter().map(|track| track.notes.len()).sum()
    }

    /// The bars up to [`Score::end`], at least one. A metre change starts a new bar.
    pub fn bars(&self) -> Bars<'_> {
        Bars {
            metres: &self.metres,
            metre: Metre::COMMON,
            at: Ticks(0),
            end: self.end,
            first: true,
        }
    }

    /// The tempo in force at `at`, in microseconds a quarter.
    pub fn tempo_at(&self, at: Ticks) -> u32 {
        let after = self.tempos.partition_point(|tempo| tempo.at <= at);
        after
            .checked_sub(1)
            .map_or(Tempo::DEFAULT_MICROS, |i| self.tempos[i].micros_per_quarter)
    }

    /// The time in seconds from the start of the score to `at`.
    pub fn seconds_at(&self, at: Ticks) -> f64 {
        let mut seconds = 0.0;
        let (mut from, mut micros) = (Ticks(0), Tempo::DEFAULT_MICROS);
        for tempo in self.tempos.iter().take_while(|tempo| tempo.at < at) {
            seconds += (tempo.at - from).quarters() * f64::from(micros) * 1e-6;
            (from, micros) = (tempo.at, tempo.micros_per_quarter);
        }
        seconds + (at - from).quarters() * f64::from(micros) * 1e-6
    }
}

/// Iterator over the bars of a [`Score`]; see [`Score::bars`].
#[derive(Clone, Debug)]
pub struct Bars<'a> {
    /// Metre changes still ahead.
    metres: &'a [Metre],
    metre: Metre,
    at: Ticks,
    end: Ticks,
    first: bool,
}

impl Iterator for Bars<'_> {
    type Item = Bar;

    fn next(&mut self) -> Option<Bar> {
        if self.at >= self.end && !self.first {
            return None;
        }
        self.first = false;
        while let Some((metre, ahead)) = self.metres.split_first()
            && metre.at <= self.at
        {
            (self.metre, self.metres) = (*metre, ahead);
        }
        let full = Ticks(self.at.0.saturating_add(self.metre.bar().0));
        let end = self.metres.first().map_or(full, |next| full.min(next.at));
        let bar = Bar {
            start: self.at,
            end,
            metre: self.metre,
        };
        self.at = end;
        Some(bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metre_changes_start_bars_even_inside_one() {
        let score = Score {
            metres: vec![
                Metre {
                    at: Ticks(0),
                    numerator: 3,
                    denominator: 4,
                },
                Metre {
                    at: Ticks(2880 + 960),
                    numerator: 7,
                    denominator: 8,
                },
            ],
            end: Ticks(2880 + 960 + 1),
            ..Score::default()
        };
        let bars: Vec<_> = score.bars().map(|bar| (bar.start.0, bar.end.0)).collect();
        assert_eq!(bars, [(0, 2880), (2880, 3840), (3840, 3840 + 3360)]);
    }

    #[test]
    fn seconds_follow_the_tempo_map() {
        let score = Score {
            tempos: vec![
                Tempo {
                    at: Ticks(960),
                    micros_per_quarter: 1_000_000,
                },
                Tempo {
                    at: Ticks(1920),
                    micros_per_quarter: 250_000,
                },
            ],
            ..Score::default()
        };
        assert!((score.seconds_at(Ticks(2880)) - 1.75).abs() < 1e-12);
        assert_eq!(score.tempo_at(Ticks(959)), Tempo::DEFAULT_MICROS);
        assert_eq!(score.tempo_at(Ticks(960)), 1_000_000);
    }
}
