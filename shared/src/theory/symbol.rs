//! Chord symbols, as musicians write them: `C`, `Am`, `F#m7`, `Bbmaj7`, `Dsus4`, `C/E`, `N.C.`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::chord::{Chord, NAMES};
use super::pitch::{PitchClasses, read_class};

/// A chord and the bass below it, where that is another than the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Symbol {
    /// The chord; silence where no chord is wanted (`N.C.`).
    pub chord: Chord,
    /// The pitch class of the bass, where one is written.
    pub bass: Option<u8>,
}

/// Why text is no chord symbol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "reading the chord {text:?}: {why}; a chord is a root from A to G with sharps (#) or flats (b), and behind it \
     what is known of it: {}; a slash and a bass may follow, as in C/E, and N.C. is no chord",
    Chord::qualities()
)]
pub struct SymbolError {
    /// All of it.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Symbol {
    /// What may sound with it: the chord's tones and the bass.
    pub fn tones(self) -> PitchClasses {
        let bass = self
            .bass
            .map_or(PitchClasses::default(), |bass| PitchClasses::new(&[bass]));
        self.chord.tones().union(bass)
    }

    /// The same `semitones` higher.
    #[must_use]
    pub fn transposed(self, semitones: i32) -> Self {
        let up = |class: u8| (i32::from(class) + semitones.rem_euclid(12)) as u8 % 12;
        Self {
            chord: self.chord.transposed(semitones),
            bass: self.bass.map(up),
        }
    }
}

/// In root position.
impl From<Chord> for Symbol {
    fn from(chord: Chord) -> Self {
        Self { chord, bass: None }
    }
}

impl FromStr for Symbol {
    type Err = SymbolError;

    fn from_str(text: &str) -> Result<Self, SymbolError> {
        let refuse = |why: String| SymbolError {
            text: text.to_owned(),
            why,
        };
        let symbol = text.trim();
        if ["n.c.", "nc", "none"].contains(&&*symbol.to_lowercase()) {
            return Ok(Self::default());
        }
        let (above, bass) = match symbol.split_once('/') {
            Some((above, bass)) => (above, Some(bass)),
            None => (symbol, None),
        };
        let (root, quality) =
            read_class(above).ok_or_else(|| refuse("it does not begin with a root".to_owned()))?;
        let chord =
            Chord::on(root, quality).ok_or_else(|| refuse(format!("{quality:?} is not known")))?;
        let bass = match bass.map(read_class) {
            None => None,
            Some(Some((bass, ""))) => Some(bass).filter(|bass| *bass != root),
            Some(_) => return Err(refuse("behind its slash stands no bass".to_owned())),
        };
        Ok(Self { chord, bass })
    }
}

impl TryFrom<String> for Symbol {
    type Error = SymbolError;
    fn try_from(text: String) -> Result<Self, SymbolError> {
        text.parse()
    }
}

impl From<Symbol> for String {
    fn from(symbol: Symbol) -> Self {
        symbol.to_string()
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bass {
            None => self.chord.fmt(f),
            Some(bass) => write!(f, "{}/{}", self.chord, NAMES[usize::from(bass % 12)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_what_musicians_write() {
        for (text, name, tones) in [
            ("C", "C", &[0, 4, 7][..]),
            ("Am", "Am", &[9, 0, 4]),
            ("F#m7", "F#m7", &[6, 9, 1, 4]),
            ("Bbmaj7", "Bbmaj7", &[10, 2, 5, 9]),
            ("BbM7", "Bbmaj7", &[10, 2, 5, 9]),
            ("BbMaj7", "Bbmaj7", &[10, 2, 5, 9]),
            ("G7", "G7", &[7, 11, 2, 5]),
            ("Dsus4", "Dsus4", &[2, 7, 9]),
            ("Bdim", "Bdim", &[11, 2, 5]),
            ("Bbdim", "Bbdim", &[10, 1, 4]),
            ("Ab5", "Ab5", &[8, 3]),
            ("Db", "C#", &[1, 5, 8]),
            ("E°7", "Edim7", &[4, 7, 10, 1]),
            ("C+", "Caug", &[0, 4, 8]),
            ("Bø", "Bm7b5", &[11, 2, 5, 9]),
            ("am", "Am", &[9, 0, 4]),
            ("C/E", "C/E", &[0, 4, 7]),
            ("C/D", "C/D", &[0, 4, 7, 2]),
            ("Am7/A", "Am7", &[9, 0, 4, 7]),
            ("N.C.", "none", &[]),
        ] {
            let symbol: Symbol = text.parse().unwrap();
            assert_eq!(symbol.to_string(), name);
            assert_eq!(symbol.tones(), PitchClasses::new(tones), "{text}");
        }
    }

    #[test]
    fn every_symbol_is_read_as_it_is_written_and_moves() {
        for chord in (0..Chord::COUNT as u16).map(Chord::new) {
            let basses = (0..12).map(Some).filter(|bass| *bass != chord.root());
            let basses = basses.filter(|_| chord.root().is_some());
            for bass in basses.chain([None]) {
                let symbol = Symbol { chord, bass };
                assert_eq!(symbol.to_string().parse(), Ok(symbol));
                let json = serde_json::to_string(&symbol).unwrap();
                assert_eq!(serde_json::from_str::<Symbol>(&json).unwrap(), symbol);
                for shift in -13..13 {
                    let moved = symbol.transposed(shift);
                    assert_eq!(moved.tones(), symbol.tones().transposed(shift));
                    assert_eq!(moved.transposed(-shift), symbol);
                }
            }
        }
    }

    #[test]
    fn what_is_no_symbol_is_told_what_is_known() {
        for (text, why) in [
            ("E7#9", "\"7#9\" is not known"),
            ("H7", "does not begin with a root"),
            ("", "does not begin with a root"),
            ("C/", "no bass"),
            ("C/G7", "no bass"),
            ("iv", "does not begin with a root"),
        ] {
            let message = text.parse::<Symbol>().unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
            assert!(
                message.contains("C, Cm, C5, C7, Cmaj7, Cm7, Csus4"),
                "{message}"
            );
        }
    }
}
