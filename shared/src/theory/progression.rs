//! Progressions: chords, one or two a bar, again from the first when all were played.
//!
//! As text they are words with spaces between, a bar each: `Am F C G`. Two chords of one bar are joined
//! by a hyphen (`Am F C-G`); or bar lines say where bars end, and what stands between two of them shares the
//! bar (`Am F | C G` are two bars of two chords). The second begins at the bar's [`middle`].

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::beat::middle;
use super::chord::Chord;
use super::key::{self, Tonality};
use super::numeral;
use super::scale::Scale;
use super::symbol::{Symbol, SymbolError};
use crate::score::{Bar, Score, Ticks};

/// Chords of a bar at most.
const PER_BAR: usize = 2;

/// Chords by bar, at least one bar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Progression {
    /// Of each bar one or two.
    bars: Vec<Vec<Symbol>>,
}

/// Why text is no progression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgressionError {
    /// It has no chord.
    #[error(
        "reading a progression: it has no chord; write one as in Am F C G, or two in a bar as in Am F C-G"
    )]
    Empty,
    /// A bar has too many chords.
    #[error(
        "reading a progression: bar {bar} has {chords} chords, and a bar has one or two; write Am F C-G, or \
         with bar lines Am | F | C G"
    )]
    Crowded {
        /// Counted from 1.
        bar: usize,
        /// So many it has.
        chords: usize,
    },
    /// A Roman numeral without a key.
    #[error(
        "reading a progression: {0} is a Roman numeral, and nothing says in which key; give a key beside it"
    )]
    Keyless(String),
    /// What is no chord symbol, nor a numeral.
    #[error("reading a progression: {0}")]
    Symbol(#[from] SymbolError),
}

impl Progression {
    /// Of chords by bar.
    pub fn new(bars: Vec<Vec<Symbol>>) -> Result<Self, ProgressionError> {
        if bars.is_empty() {
            return Err(ProgressionError::Empty);
        }
        let crowded = |symbols: &Vec<Symbol>| !(1..=PER_BAR).contains(&symbols.len());
        match bars.iter().position(crowded) {
            None => Ok(Self { bars }),
            Some(i) => Err(ProgressionError::Crowded {
                bar: i + 1,
                chords: bars[i].len(),
            }),
        }
    }

    /// Reads chord symbols, and Roman numerals where `scale` says what they mean.
    pub fn parse(text: &str, scale: Option<Scale>) -> Result<Self, ProgressionError> {
        let symbol = |word: &str| {
            word.parse().or_else(|error| {
                // Any key tells whether it is a numeral at all.
                let key = Tonality {
                    tonic: 0,
                    minor: false,
                };
                match numeral::read(word, scale.unwrap_or(key.into())) {
                    None => Err(ProgressionError::Symbol(error)),
                    Some(_) if scale.is_none() => Err(ProgressionError::Keyless(word.to_owned())),
                    Some(chord) => Ok(Symbol::from(chord)),
                }
            })
        };
        let bars: Vec<&str> = match text.contains('|') {
            // Lines at both ends, and double ones, end nothing.
            true => text
                .split('|')
                .filter(|bar| !bar.trim().is_empty())
                .collect(),
            false => text.split_whitespace().collect(),
        };
        let between = |c: char| c == '-' || c.is_whitespace();
        let bar = |bar: &str| {
            let words = bar.split(between).filter(|word| !word.is_empty());
            words.map(symbol).collect::<Result<Vec<_>, _>>()
        };
        Self::new(bars.into_iter().map(bar).collect::<Result<_, _>>()?)
    }

    /// What a score plays in `bars`, which ascend: two chords of a bar where they differ.
    pub fn of_score(score: &Score, bars: &[Bar]) -> Result<Self, ProgressionError> {
        let bar = |[first, second]: [Chord; 2]| match first == second {
            true => vec![first.into()],
            false => vec![first.into(), second.into()],
        };
        Self::new(Chord::of_halves(score, bars).into_iter().map(bar).collect())
    }

    /// Its chords by bar.
    pub fn bars(&self) -> &[Vec<Symbol>] {
        &self.bars
    }

    /// The chords of `bars`, each with where it begins and ends; the first bar is number `first` of the
    /// music, from 0.
    pub fn over<'a>(
        &'a self,
        bars: &'a [Bar],
        first: usize,
    ) -> impl Iterator<Item = (Range<Ticks>, Symbol)> + 'a {
        let turns = self.bars.iter().cycle().skip(first % self.bars.len());
        std::iter::zip(bars, turns).flat_map(|(bar, symbols)| {
            let half = match symbols.len() {
                1 => bar.end,
                _ => middle(bar),
            };
            let spans = [bar.start..half, half..bar.end];
            std::iter::zip(spans, symbols.iter().copied())
        })
    }

    /// All its chords `semitones` higher.
    #[must_use]
    pub fn transposed(&self, semitones: i32) -> Self {
        let moved = |bar: &Vec<Symbol>| bar.iter().map(|s| s.transposed(semitones)).collect();
        Self {
            bars: self.bars.iter().map(moved).collect(),
        }
    }

    /// The key that its chords make likely, the first and the last one's roots above all; of silence, C major.
    pub fn key(&self) -> Tonality {
        let mut classes = [0.0; 12];
        let symbols = || self.bars.iter().flatten();
        for class in symbols().flat_map(|symbol| symbol.tones().iter()) {
            classes[usize::from(class)] += 1.0;
        }
        let roots = || symbols().filter_map(|symbol| symbol.chord.root());
        for root in roots().next().into_iter().chain(roots().next_back()) {
            classes[usize::from(root)] += 1.0;
        }
        let none = Tonality {
            tonic: 0,
            minor: false,
        };
        key::likely(&classes).map_or(none, |(key, _)| key)
    }

    /// The same in another key. What is minor goes to the relative minor of a major key, and the other way
    /// round: chords keep what stands above their roots.
    #[must_use]
    pub fn in_key(&self, key: Tonality) -> Self {
        // Both as major keys of the same signature.
        let major = |key: Tonality| i32::from(key.tonic) + if key.minor { 3 } else { 0 };
        self.transposed(major(key) - major(self.key()))
    }
}

/// Chord symbols alone.
impl FromStr for Progression {
    type Err = ProgressionError;

    fn from_str(text: &str) -> Result<Self, ProgressionError> {
        Self::parse(text, None)
    }
}

impl TryFrom<String> for Progression {
    type Error = ProgressionError;
    fn try_from(text: String) -> Result<Self, ProgressionError> {
        text.parse()
    }
}

impl From<Progression> for String {
    fn from(progression: Progression) -> Self {
        progression.to_string()
    }
}

impl fmt::Display for Progression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, bar) in self.bars.iter().enumerate() {
            for (j, symbol) in bar.iter().enumerate() {
                let before = match (i, j) {
                    (0, 0) => "",
                    (_, 0) => " ",
                    _ => "-",
                };
                write!(f, "{before}{symbol}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Metre;

    fn progression(text: &str) -> Progression {
        text.parse().unwrap()
    }

    #[test]
    fn progressions_are_read_as_lead_sheets_are() {
        for (text, key, canonical) in [
            ("Am F C G", None, "Am F C G"),
            ("  Am  F\tC-G ", None, "Am F C-G"),
            ("Am F | C G", None, "Am-F C-G"),
            ("| Am | F | C G ||", None, "Am F C-G"),
            ("Am-F | C", None, "Am-F C"),
            ("Am |", None, "Am"),
            ("C/E N.C. F", None, "C/E none F"),
            ("i VI III VII", Some("A minor"), "Am F C G"),
            ("ii-V I", Some("Bb"), "Cm-F Bb"),
            ("Dm7 V7 | I", Some("C"), "Dm7-G7 C"),
        ] {
            let key = key.map(|key| key.parse().unwrap());
            let read = Progression::parse(text, key).unwrap();
            assert_eq!(read.to_string(), canonical);
            assert_eq!(progression(canonical), read);
            let json = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<Progression>(&json).unwrap(), read);
        }
    }

    #[test]
    fn what_is_no_progression_is_told_why() {
        for (text, why) in [
            ("", "no chord"),
            (" | | ", "no chord"),
            ("-", "0 chords"),
            ("Am F-C-G", "bar 2 has 3 chords"),
            ("Am F C G |", "bar 1 has 4 chords"),
            ("Am Fx", "reading the chord \"Fx\""),
            ("ii V I", "ii is a Roman numeral"),
        ] {
            let message = text.parse::<Progression>().unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn it_goes_on_from_its_first_bar() {
        let score = Score {
            metres: vec![Metre {
                numerator: 3,
                ..Metre::COMMON
            }],
            end: Ticks(2880 * 5),
            ..Score::default()
        };
        let bars: Vec<Bar> = score.bars().collect();
        let spans = |first| -> Vec<(u32, u32, String)> {
            let over = progression("Am F-C");
            let named =
                |(at, symbol): (Range<Ticks>, Symbol)| (at.start.0, at.end.0, symbol.to_string());
            over.over(&bars[..3], first).map(named).collect()
        };
        let expected = |rows: [(u32, u32, &str); 4]| rows.map(|(a, b, s)| (a, b, s.to_owned()));
        let from_am = [
            (0, 2880, "Am"),
            (2880, 4800, "F"),
            (4800, 5760, "C"),
            (5760, 8640, "Am"),
        ];
        assert_eq!(spans(0), expected(from_am));
        assert_eq!(spans(10), expected(from_am));
        assert_eq!(spans(1).len(), 5);
        assert_eq!(spans(1)[0], (0, 1920, "F".to_owned()));
    }

    #[test]
    fn it_goes_to_each_of_the_24_keys() {
        let cases = [
            ("Am F C G", "A minor"),
            ("C G Am F", "C major"),
            ("Dm7 G7 Cmaj7", "C major"),
            ("Am Dm E7 Am", "A minor"),
            ("D-A Bm-F#m G-D G-A", "D major"),
        ];
        for (text, name) in cases {
            for shift in 0..12 {
                let moved = progression(text).transposed(shift);
                assert_eq!(moved.transposed(-shift).to_string(), text);
                let (key, home) = (
                    moved.key(),
                    name.parse::<Scale>().unwrap().transposed(shift),
                );
                // A key and its relative share all their chords: the music says which it is, not they.
                let signature = |scale: Scale| Scale::from(scale.tonality()).tones();
                assert_eq!(signature(key.into()), signature(home), "{moved}: {key}");
                for target in 0..24 {
                    let target = Tonality {
                        tonic: target % 12,
                        minor: target >= 12,
                    };
                    let there = progression(text).in_key(target);
                    assert_eq!(moved.in_key(target), there);
                    let tones = Scale::from(target).tones();
                    let home = Scale::from(name.parse::<Scale>().unwrap().tonality()).tones();
                    for (from, to) in std::iter::zip(progression(text).bars(), there.bars()) {
                        for (from, to) in std::iter::zip(from, to) {
                            let inside = |s: &Symbol, tones| s.tones().is_subset(tones);
                            assert_eq!(inside(from, home), inside(to, tones));
                        }
                    }
                }
            }
        }
        assert_eq!(
            progression("Am F C G")
                .in_key(progression("D").key())
                .to_string(),
            "Bm G D A"
        );
    }
}
