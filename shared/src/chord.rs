//! Chords, by template match on the pitch classes that sound.
//!
//! Source: Fujishima, "Realtime Chord Recognition of Musical Sound", 1999, section 4: the template
//! nearest in angle to how long each pitch class sounds.

use crate::score::{Bar, Score, Ticks};

/// What stands above a root: a name, and pitch classes from the root on. Of two that fit equally well
/// the first is taken.
const QUALITIES: [(&str, &[u8]); 12] = [
    ("", &[0, 4, 7]),
    ("m", &[0, 3, 7]),
    ("5", &[0, 7]),
    ("7", &[0, 4, 7, 10]),
    ("maj7", &[0, 4, 7, 11]),
    ("m7", &[0, 3, 7, 10]),
    ("sus4", &[0, 5, 7]),
    ("sus2", &[0, 2, 7]),
    ("dim", &[0, 3, 6]),
    ("m7b5", &[0, 3, 6, 10]),
    ("dim7", &[0, 3, 6, 9]),
    ("aug", &[0, 4, 8]),
];

/// Pitch classes in an octave.
const CLASSES: u8 = 12;

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

    /// Whether `pitch` is a tone of it, in whatever octave; silence has none.
    pub fn contains(self, pitch: u8) -> bool {
        self.0.is_some_and(|(root, quality)| {
            let above = (pitch % CLASSES + CLASSES - root) % CLASSES;
            QUALITIES[usize::from(quality)].1.contains(&above)
        })
    }

    /// The same chord `semitones` higher.
    pub fn transposed(self, semitones: i32) -> Self {
        let shift = semitones.rem_euclid(i32::from(CLASSES)) as u8;
        Self(
            self.0
                .map(|(root, quality)| ((root + shift) % CLASSES, quality)),
        )
    }

    /// The chord of pitch classes that sound for so long each. Of chords that fit equally well it is
    /// the one whose root is `bass`, or the next above; so the chord of music that is transposed is
    /// the chord transposed.
    fn of(sounding: &[u64; CLASSES as usize], bass: u8) -> Self {
        let mut best: Option<((u8, u8), u128, u128)> = None;
        for root in (0..CLASSES).map(|above| (bass + above) % CLASSES) {
            for (quality, (_, template)) in (0..).zip(&QUALITIES) {
                let class = |above: &u8| sounding[usize::from((root + above) % CLASSES)];
                // The cosine is this sum over the root of the template's size and a constant.
                let sum = template.iter().map(class).map(u128::from).sum::<u128>();
                let (square, size) = (sum * sum, template.len() as u128);
                if sum > 0 && best.is_none_or(|(_, other, of)| square * of > other * size) {
                    best = Some(((root, quality), square, size));
                }
            }
        }
        Self(best.map(|(chord, ..)| chord))
    }

    /// The chord of each of `bars`, which ascend: of all that sounds in it but drums.
    pub fn of_bars(score: &Score, bars: &[Bar]) -> Vec<Self> {
        let mut sounding = vec![([0; CLASSES as usize], u8::MAX); bars.len()];
        let tracks = score.tracks.iter();
        for note in tracks
            .filter(|track| !track.instrument.is_drums())
            .flat_map(|track| &track.notes)
        {
            let first = bars.partition_point(|bar| bar.end <= note.start);
            for (bar, (classes, bass)) in std::iter::zip(&bars[first..], &mut sounding[first..]) {
                let from: Ticks = note.start.max(bar.start);
                let length = note.end().min(bar.end).0.saturating_sub(from.0);
                if length == 0 {
                    break;
                }
                classes[usize::from(note.pitch % CLASSES)] += u64::from(length);
                *bass = note.pitch.min(*bass);
            }
        }
        let chord =
            |(classes, bass): ([u64; CLASSES as usize], u8)| Self::of(&classes, bass % CLASSES);
        sounding.into_iter().map(chord).collect()
    }
}

impl std::fmt::Display for Chord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; CLASSES as usize] = [
            "C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B",
        ];
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

    fn chord(pitches: &[u8]) -> Chord {
        let mut sounding = [0; 12];
        for pitch in pitches {
            sounding[usize::from(pitch % 12)] += 960;
        }
        Chord::of(&sounding, pitches.iter().min().map_or(0, |bass| bass % 12))
    }

    #[test]
    fn chords_have_their_names() {
        for (pitches, name) in [
            (&[60, 64, 67][..], "C"),
            (&[57, 60, 64], "Am"),
            (&[52, 60, 67], "C"),
            (&[43, 59, 62, 65], "G7"),
            (&[57, 60, 64, 67], "Am7"),
            (&[60, 64, 67, 71], "Cmaj7"),
            (&[40, 47], "E5"),
            (&[62], "D5"),
            (&[60, 65, 67], "Csus4"),
            (&[65, 67, 72], "Fsus2"),
            (&[59, 62, 65, 69], "Bm7b5"),
            (&[64, 68, 72], "Eaug"),
            (&[], "none"),
        ] {
            assert_eq!(chord(pitches).to_string(), name, "{pitches:?}");
        }
    }

    #[test]
    fn a_chord_moves_with_the_music() {
        let shapes: [&[u8]; 5] = [
            &[48, 52, 55, 58],
            &[48, 52, 56],
            &[48, 51, 54, 57],
            &[50, 55, 60],
            &[48, 49, 55, 62],
        ];
        for shape in shapes {
            for shift in -24..24 {
                let moved: Vec<u8> = shape
                    .iter()
                    .map(|p| (i32::from(*p) + shift) as u8)
                    .collect();
                assert_eq!(chord(&moved), chord(shape).transposed(shift), "{shape:?}");
            }
        }
        for index in 0..Chord::COUNT as u16 {
            assert_eq!(Chord::new(index).index(), index);
        }
        assert_eq!(Chord::new(Chord::COUNT as u16), Chord::default());
    }
}
