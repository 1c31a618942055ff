//! Scales: a root and a mode, as `A minor`, `C# dorian`, `Bb blues`, `F#m` and `C` say them.
//!
//! Source of the modes' names and steps: Levine, *The Jazz Theory Book*, 1995, part 2 (major, melodic
//! minor and pentatonic scales, the blues scale); Aldwell and Schachter, *Harmony and Voice Leading*,
//! chapter 1, for the three minors, of which the melodic one has its ascending form here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::key::Tonality;
use super::pitch::{PitchClasses, read_class};

/// What stands above a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Major; ionian is the same.
    Major,
    /// The natural minor; aeolian is the same.
    Minor,
    /// The natural minor with a raised seventh.
    HarmonicMinor,
    /// The natural minor with sixth and seventh raised, up and down.
    MelodicMinor,
    /// The second mode of the major scale.
    Dorian,
    /// The third.
    Phrygian,
    /// The fourth.
    Lydian,
    /// The fifth.
    Mixolydian,
    /// The seventh.
    Locrian,
    /// Major without fourth and seventh.
    MajorPentatonic,
    /// Minor without second and sixth.
    MinorPentatonic,
    /// The minor pentatonic with a diminished fifth.
    Blues,
    /// All twelve.
    Chromatic,
}

/// Each mode with its steps above the root and its names; the first is how it is written, and all are in
/// small letters without spaces but the first.
const MODES: [(Mode, &[u8], &[&str]); 13] = [
    (
        Mode::Major,
        &[0, 2, 4, 5, 7, 9, 11],
        &["major", "maj", "ionian"],
    ),
    (
        Mode::Minor,
        &[0, 2, 3, 5, 7, 8, 10],
        &["minor", "m", "min", "naturalminor", "aeolian"],
    ),
    (
        Mode::HarmonicMinor,
        &[0, 2, 3, 5, 7, 8, 11],
        &["harmonic minor"],
    ),
    (
        Mode::MelodicMinor,
        &[0, 2, 3, 5, 7, 9, 11],
        &["melodic minor"],
    ),
    (Mode::Dorian, &[0, 2, 3, 5, 7, 9, 10], &["dorian"]),
    (Mode::Phrygian, &[0, 1, 3, 5, 7, 8, 10], &["phrygian"]),
    (Mode::Lydian, &[0, 2, 4, 6, 7, 9, 11], &["lydian"]),
    (Mode::Mixolydian, &[0, 2, 4, 5, 7, 9, 10], &["mixolydian"]),
    (Mode::Locrian, &[0, 1, 3, 5, 6, 8, 10], &["locrian"]),
    (
        Mode::MajorPentatonic,
        &[0, 2, 4, 7, 9],
        &["major pentatonic", "pentatonic"],
    ),
    (
        Mode::MinorPentatonic,
        &[0, 3, 5, 7, 10],
        &["minor pentatonic", "mpentatonic"],
    ),
    (Mode::Blues, &[0, 3, 5, 6, 7, 10], &["blues"]),
    (
        Mode::Chromatic,
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        &["chromatic"],
    ),
];

/// Why text is no scale.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// It does not begin with a root.
    #[error(
        "reading the scale {0:?}: it must begin with its root, a letter from A to G with sharps (#) or flats \
         (b) behind it, as in A minor or Bb blues"
    )]
    Root(String),
    /// What it says behind the root is no mode.
    #[error(
        "reading the scale {text:?}: {mode:?} is no mode; known are {}",
        known_modes()
    )]
    Mode {
        /// All of it.
        text: String,
        /// What stands where a mode should.
        mode: String,
    },
}

/// The names of all modes, for a message.
fn known_modes() -> String {
    MODES.map(|(.., names)| names[0]).join(", ")
}

impl Mode {
    /// All of them, major first.
    pub fn all() -> impl Iterator<Item = Mode> {
        MODES.iter().map(|(mode, ..)| *mode)
    }

    fn row(self) -> &'static (Mode, &'static [u8], &'static [&'static str]) {
        &MODES[self as usize]
    }

    /// Semitones above the root, ascending from 0.
    pub fn steps(self) -> &'static [u8] {
        self.row().1
    }

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        self.row().2[0]
    }
}

/// Whatever its case, and its spaces, hyphens and underlines.
impl FromStr for Mode {
    type Err = ScaleError;

    fn from_str(text: &str) -> Result<Self, ScaleError> {
        let letters = |text: &str| -> String {
            let letters = text.chars().filter(|c| !matches!(c, ' ' | '-' | '_'));
            letters.flat_map(char::to_lowercase).collect()
        };
        let wanted = letters(text);
        let named = |(_, _, names): &&(Mode, &[u8], &[&str])| {
            names.iter().any(|name| letters(name) == wanted)
        };
        let found = MODES.iter().find(named);
        let unknown = || ScaleError::Mode {
            text: text.to_owned(),
            mode: text.trim().to_owned(),
        };
        found.map(|(mode, ..)| *mode).ok_or_else(unknown)
    }
}

/// A root with a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scale {
    root: u8,
    mode: Mode,
}

impl Scale {
    /// `mode` on a root, whose octave does not matter.
    pub fn new(root: u8, mode: Mode) -> Self {
        let root = root % 12;
        Self { root, mode }
    }

    /// The pitch class of its root; 0 is C.
    pub fn root(self) -> u8 {
        self.root
    }

    /// What stands above it.
    pub fn mode(self) -> Mode {
        self.mode
    }

    /// Its notes.
    pub fn tones(self) -> PitchClasses {
        PitchClasses::new(self.mode.steps()).transposed(i32::from(self.root))
    }

    /// The same mode `semitones` higher.
    #[must_use]
    pub fn transposed(self, semitones: i32) -> Self {
        let root = i32::from(self.root) + semitones.rem_euclid(12);
        Self::new(root as u8, self.mode)
    }

    /// The key whose tonic and third it has: minor where it has a minor third and no major one.
    pub fn tonality(self) -> Tonality {
        let steps = self.mode.steps();
        Tonality {
            tonic: self.root,
            minor: steps.contains(&3) && !steps.contains(&4),
        }
    }

    /// The pitch class of a degree, 0 to 6. A scale that has not seven notes counts as its key does.
    pub(super) fn degree(self, degree: usize) -> u8 {
        let scale = match self.mode.steps().len() {
            7 => self,
            _ => Self::from(self.tonality()),
        };
        (scale.root + scale.mode.steps()[degree % 7]) % 12
    }
}

/// Major, or the natural minor.
impl From<Tonality> for Scale {
    fn from(key: Tonality) -> Self {
        let mode = if key.minor { Mode::Minor } else { Mode::Major };
        Self::new(key.tonic, mode)
    }
}

/// A root alone is major, with `m` behind it minor; *chromatic* needs no root.
impl FromStr for Scale {
    type Err = ScaleError;

    fn from_str(text: &str) -> Result<Self, ScaleError> {
        if text.parse() == Ok(Mode::Chromatic) {
            return Ok(Self::new(0, Mode::Chromatic));
        }
        let no_root = || ScaleError::Root(text.to_owned());
        let (root, mode) = read_class(text.trim()).ok_or_else(no_root)?;
        let mode = match mode.trim() {
            "" | "M" => Mode::Major,
            mode => mode.parse().map_err(|_| ScaleError::Mode {
                text: text.to_owned(),
                mode: mode.to_owned(),
            })?,
        };
        Ok(Self::new(root, mode))
    }
}

impl TryFrom<String> for Scale {
    type Error = ScaleError;
    fn try_from(text: String) -> Result<Self, ScaleError> {
        text.parse()
    }
}

impl From<Scale> for String {
    fn from(scale: Scale) -> Self {
        scale.to_string()
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Minor keys are written with sharps where major ones are with flats.
        let root = match (self.root, self.tonality().minor) {
            (1, true) => "C#",
            (8, true) => "G#",
            (root, _) => super::key::NAMES[usize::from(root)],
        };
        write!(f, "{root} {}", self.mode.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_what_musicians_say() {
        for (text, name, tones) in [
            ("A minor", "A minor", &[9, 11, 0, 2, 4, 5, 7][..]),
            ("C# dorian", "C# dorian", &[1, 3, 4, 6, 8, 10, 11]),
            ("Bb blues", "Bb blues", &[10, 1, 3, 4, 5, 8]),
            ("F#m", "F# minor", &[6, 8, 9, 11, 1, 2, 4]),
            ("C", "C major", &[0, 2, 4, 5, 7, 9, 11]),
            (
                " a HARMONIC-minor ",
                "A harmonic minor",
                &[9, 11, 0, 2, 4, 5, 8],
            ),
            (
                "eb Melodic Minor",
                "Eb melodic minor",
                &[3, 5, 6, 8, 10, 0, 2],
            ),
            ("Cb ionian", "B major", &[11, 1, 3, 4, 6, 8, 10]),
            ("E phrygian", "E phrygian", &[4, 5, 7, 9, 11, 0, 2]),
            ("F lydian", "F lydian", &[5, 7, 9, 11, 0, 2, 4]),
            ("G Mixolydian", "G mixolydian", &[7, 9, 11, 0, 2, 4, 5]),
            ("B_locrian", "B locrian", &[11, 0, 2, 4, 5, 7, 9]),
            ("D aeolian", "D minor", &[2, 4, 5, 7, 9, 10, 0]),
            ("G pentatonic", "G major pentatonic", &[7, 9, 11, 2, 4]),
            ("Em pentatonic", "E minor pentatonic", &[4, 7, 9, 11, 2]),
            ("D♭M", "Db major", &[1, 3, 5, 6, 8, 10, 0]),
            (
                "chromatic",
                "C chromatic",
                &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            ),
        ] {
            let scale: Scale = text.parse().unwrap();
            assert_eq!(scale.to_string(), name);
            assert_eq!(scale.tones(), PitchClasses::new(tones), "{text}");
        }
    }

    #[test]
    fn every_scale_is_read_as_it_is_written_and_moves() {
        for (mode, root) in Mode::all().flat_map(|mode| (0..12).map(move |root| (mode, root))) {
            let scale = Scale::new(root, mode);
            assert_eq!(scale.mode(), mode);
            assert_eq!(scale.to_string().parse(), Ok(scale));
            let json = serde_json::to_string(&scale).unwrap();
            assert_eq!(serde_json::from_str::<Scale>(&json).unwrap(), scale);
            for shift in -14..14 {
                let moved = scale.transposed(shift);
                assert_eq!(moved.tones(), scale.tones().transposed(shift));
                assert_eq!(moved.tonality().minor, scale.tonality().minor);
            }
        }
    }

    #[test]
    fn what_is_no_scale_is_told_what_would_be() {
        for (text, said) in [
            ("H major", "A to G"),
            ("", "A to G"),
            ("minor", "A to G"),
            (
                "A mayor",
                "\"mayor\" is no mode; known are major, minor, harmonic minor",
            ),
            ("C7", "\"7\" is no mode"),
        ] {
            let message = text.parse::<Scale>().unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
        assert!(
            "dorian dorian"
                .parse::<Mode>()
                .unwrap_err()
                .to_string()
                .contains("blues")
        );
    }
}
