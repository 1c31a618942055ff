//! Chords: what stands above which root, and the scale to play over it.

use super::pitch::PitchClasses;
use super::scale::{Mode, Scale};

/// What stands above a root: a name, semitones, and other names that musicians write.
const QUALITIES: [(&str, &[u8], &[&str]); 12] = [
    ("", &[0, 4, 7], &["maj", "major", "M"]),
    ("m", &[0, 3, 7], &["min", "minor", "mi"]),
    ("5", &[0, 7], &[]),
    ("7", &[0, 4, 7, 10], &["dom7"]),
    ("maj7", &[0, 4, 7, 11], &["M7", "ma7", "Δ", "Δ7"]),
    ("m7", &[0, 3, 7, 10], &["min7", "mi7"]),
    ("sus4", &[0, 5, 7], &["sus"]),
    ("sus2", &[0, 2, 7], &[]),
    ("dim", &[0, 3, 6], &["o", "°"]),
    ("m7b5", &[0, 3, 6, 10], &["min7b5", "m7♭5", "ø", "ø7"]),
    ("dim7", &[0, 3, 6, 9], &["o7", "°7"]),
    ("aug", &[0, 4, 8], &["+"]),
];

/// Pitch classes in an octave.
const CLASSES: u8 = 12;

/// The names of roots.
pub(super) const NAMES: [&str; CLASSES as usize] = [
    "C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B",
];

/// A root and what stands above it, or silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chord(Option<(u8, u8)>);

impl Chord {
    /// How many there are, silence included.
    pub const COUNT: usize = 1 + QUALITIES.len() * CLASSES as usize;

    /// Its number: 0 is silence.
    pub fn index(self) -> u16 {
        self.0.map_or(0, |(root, quality)| {
            1 + u16::from(quality) * u16::from(CLASSES) + u16::from(root)
        })
    }

    /// The chord with this number; silence beyond the last.
    pub fn new(index: u16) -> Self {
        let chord = index.checked_sub(1).map(|i| {
            let classes = u16::from(CLASSES);
            ((i % classes) as u8, (i / classes) as u8)
        });
        Self(chord.filter(|(_, quality)| usize::from(*quality) < QUALITIES.len()))
    }

    /// The same chord `semitones` higher.
    pub fn transposed(self, semitones: i32) -> Self {
        let shift = semitones.rem_euclid(i32::from(CLASSES)) as u8;
        Self(
            self.0
                .map(|(root, quality)| ((root + shift) % CLASSES, quality)),
        )
    }

    /// The chord on `root` whose quality is written so; `None` where none is.
    pub(super) fn on(root: u8, quality: &str) -> Option<Self> {
        let position = |matches: &dyn Fn(&str) -> bool| {
            (0..).zip(&QUALITIES).find_map(|(i, row)| {
                let (name, _, others) = row;
                (matches(name) || others.iter().any(|other| matches(other))).then_some(i)
            })
        };
        // `M7` and `m7` differ, `Maj7` and `maj7` do not.
        let quality = position(&|name| name == quality)
            .or_else(|| position(&|name| quality.len() > 2 && name == quality.to_lowercase()))?;
        Some(Self(Some((root % CLASSES, quality))))
    }

    /// The pitch class of its root; none of silence.
    pub fn root(self) -> Option<u8> {
        self.0.map(|(root, _)| root)
    }

    /// Semitones above the root, from 0 on: root, third, fifth and seventh as far as it has them.
    pub fn steps(self) -> &'static [u8] {
        self.0
            .map_or(&[], |(_, quality)| QUALITIES[usize::from(quality)].1)
    }

    /// Its tones.
    pub fn tones(self) -> PitchClasses {
        let root = i32::from(self.root().unwrap_or(0));
        PitchClasses::new(self.steps()).transposed(root)
    }

    /// The scale to play over it in `key`: the key's, where it has all its tones. Otherwise that which fits
    /// it by itself: mixolydian over dominant sevenths, suspended and power chords, and over major triads
    /// on a root of the key, which are dominants of others; lydian over other major chords, which are
    /// borrowed; dorian over minor ones; locrian over diminished ones, whole and half tones in turn
    /// where the seventh is diminished too, and whole tones over augmented ones. Silence has the key's.
    ///
    /// Source: Levine, *The Jazz Theory Book*, 1995, chapters 3 and 4, with lydian for the major chord, as he
    /// and Russell (*Lydian Chromatic Concept*, 1953) prefer where nothing else speaks.
    pub fn scale(self, key: Option<Scale>) -> PitchClasses {
        const DIMINISHED: PitchClasses = PitchClasses::new(&[0, 2, 3, 5, 6, 8, 9, 11]);
        const WHOLE_TONE: PitchClasses = PitchClasses::new(&[0, 2, 4, 6, 8, 10]);
        let of_key = key.map(Scale::tones);
        let Some((root, quality)) = self.0 else {
            return of_key.unwrap_or(PitchClasses::ALL);
        };
        if let Some(scale) = of_key.filter(|scale| self.tones().is_subset(*scale)) {
            return scale;
        }
        let mode = |mode: Mode| PitchClasses::new(mode.steps());
        let steps = match QUALITIES[usize::from(quality)].0 {
            "" if of_key.is_some_and(|scale| scale.contains(root)) => mode(Mode::Mixolydian),
            "" | "maj7" => mode(Mode::Lydian),
            "m" | "m7" => mode(Mode::Dorian),
            "dim" | "m7b5" => mode(Mode::Locrian),
            "dim7" => DIMINISHED,
            "aug" => WHOLE_TONE,
            _ => mode(Mode::Mixolydian),
        };
        steps.transposed(i32::from(root))
    }

    /// The name of every quality, on C.
    pub(super) fn qualities() -> String {
        QUALITIES.map(|(name, ..)| format!("C{name}")).join(", ")
    }
}

impl std::fmt::Display for Chord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some((root, quality)) => {
                let quality = QUALITIES[usize::from(quality)].0;
                write!(f, "{}{quality}", NAMES[usize::from(root)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chords_have_numbers_that_stay_and_move() {
        for index in 0..Chord::COUNT as u16 {
            let chord = Chord::new(index);
            assert_eq!(chord.index(), index);
            for shift in -13..13 {
                let moved = chord.transposed(shift);
                assert_eq!(moved.tones(), chord.tones().transposed(shift));
                assert_eq!(moved.transposed(-shift), chord);
            }
        }
        assert_eq!(Chord::new(Chord::COUNT as u16), Chord::default());
        // Streams of older data sets have these.
        for (index, name) in [(0, "none"), (1, "C"), (22, "Am"), (44, "G7"), (144, "Baug")] {
            assert_eq!(Chord::new(index).to_string(), name);
        }
    }

    #[test]
    fn a_chord_has_the_scale_of_its_key_or_its_own() {
        let scale = |text: &str| text.parse::<Scale>().unwrap();
        for (root, quality, key, expected) in [
            (9, "m", Some("C"), "C major"),
            (7, "7", Some("C"), "C major"),
            (4, "7", Some("A harmonic minor"), "A harmonic minor"),
            (2, "7", Some("C"), "D mixolydian"),
            (2, "", Some("C"), "D mixolydian"),
            (10, "", Some("C"), "Bb lydian"),
            (8, "maj7", Some("C"), "Ab lydian"),
            (7, "m7", Some("C"), "G dorian"),
            (5, "m", Some("C"), "F dorian"),
            (2, "m7b5", Some("C"), "D locrian"),
            (5, "sus4", Some("C"), "F mixolydian"),
            (2, "m7", None, "D dorian"),
            (7, "7", None, "G mixolydian"),
        ] {
            let chord = Chord::on(root, quality).unwrap();
            let got = chord.scale(key.map(scale));
            assert_eq!(got, scale(expected).tones(), "{chord} in {key:?}");
        }
        let keys = (0..12).flat_map(|root| Mode::all().map(move |mode| Scale::new(root, mode)));
        for key in keys.map(Some).chain([None]) {
            for chord in (1..Chord::COUNT as u16).map(Chord::new) {
                let scale = chord.scale(key);
                assert!(chord.tones().is_subset(scale), "{chord} in {key:?}");
            }
            let silent = Chord::default().scale(key);
            assert_eq!(silent, key.map_or(PitchClasses::ALL, Scale::tones));
        }
    }
}
