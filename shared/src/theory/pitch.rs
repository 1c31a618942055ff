//! Sets of pitch classes and of pitches, and the names of pitch classes.

/// A set of pitch classes; 0 is C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PitchClasses(u16);

impl PitchClasses {
    /// All twelve.
    pub const ALL: Self = Self(0xFFF);

    /// Those of `pitches`, whatever their octave.
    pub const fn new(pitches: &[u8]) -> Self {
        let (mut set, mut i) = (0, 0);
        while i < pitches.len() {
            set |= 1 << (pitches[i] % 12);
            i += 1;
        }
        Self(set)
    }

    /// Whether `pitch`, in whatever octave, is one of them.
    pub fn contains(self, pitch: u8) -> bool {
        self.0 >> (pitch % 12) & 1 == 1
    }

    /// How many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// They, ascending from C.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..12).filter(move |class| self.contains(*class))
    }

    /// All of them `semitones` higher.
    #[must_use]
    pub fn transposed(self, semitones: i32) -> Self {
        let shift = semitones.rem_euclid(12);
        Self((self.0 << shift | self.0 >> (12 - shift)) & Self::ALL.0)
    }

    /// Those and these.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are none of the others.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether each of them is one of the others.
    pub fn is_subset(self, other: Self) -> bool {
        self.without(other).is_empty()
    }
}

/// A set of the 128 pitches of MIDI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pitches(u128);

impl Pitches {
    /// All 128.
    pub const ALL: Self = Self(u128::MAX);

    /// Those from `low` to `high`, both included; none where `low` is above `high`.
    pub fn range(low: u8, high: u8) -> Self {
        let (low, high) = (u32::from(low), u32::from(high.min(127)));
        match low <= high {
            true => Self(u128::MAX << low & u128::MAX >> (127 - high)),
            false => Self::default(),
        }
    }

    /// Those for which `holds`.
    pub fn from_fn(holds: impl Fn(u8) -> bool) -> Self {
        let bit = |pitch: u8| u128::from(holds(pitch)) << pitch;
        Self((0..128).map(bit).fold(0, std::ops::BitOr::bitor))
    }

    /// Whether `pitch` is one of them.
    pub fn contains(self, pitch: u8) -> bool {
        pitch < 128 && self.0 >> pitch & 1 == 1
    }

    /// How many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// They, without so many of the highest.
    pub fn without_highest(self, count: usize) -> Self {
        let lower = |set: u128| set & !(1u128 << 127 >> set.leading_zeros().min(127));
        Self((0..count.min(128)).fold(self.0, |set, _| lower(set)))
    }

    /// They, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..128).filter(move |pitch| self.contains(*pitch))
    }
}

/// In every octave.
impl From<PitchClasses> for Pitches {
    fn from(classes: PitchClasses) -> Self {
        // Ten octaves and eight pitches: what lies above the 128th falls out.
        Self((0..11).fold(0, |set, octave| {
            set | u128::from(classes.0) << (12 * octave)
        }))
    }
}

impl std::ops::BitAnd for Pitches {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::ops::Not for Pitches {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// Reads a letter from A to G with the sharps or flats behind it; gives the pitch class and what is left.
pub(super) fn read_class(text: &str) -> Option<(u8, &str)> {
    let mut letters = text.chars();
    let natural = match letters.next()?.to_ascii_uppercase() {
        'C' => 0,
        'D' => 2,
        'E' => 4,
        'F' => 5,
        'G' => 7,
        'A' => 9,
        'B' => 11,
        _ => return None,
    };
    let (alteration, rest) = read_accidentals(letters.as_str());
    Some(((natural + alteration).rem_euclid(12) as u8, rest))
}

/// Reads sharps and flats; gives the semitones that they say and what is left.
pub(super) fn read_accidentals(text: &str) -> (i32, &str) {
    let semitones = |sign: char| match sign {
        '#' | '♯' => Some(1),
        'b' | '♭' => Some(-1),
        _ => None,
    };
    let rest = text.trim_start_matches(|sign| semitones(sign).is_some());
    let signs = &text[..text.len() - rest.len()];
    (signs.chars().filter_map(semitones).sum(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_they_are_made_of() {
        let triad = PitchClasses::new(&[60, 64, 67]);
        assert_eq!(triad.iter().collect::<Vec<_>>(), [0, 4, 7]);
        for shift in -30..30 {
            let moved = triad.transposed(shift);
            for pitch in 0..12_u8 {
                let from = (i32::from(pitch) - shift).rem_euclid(12) as u8;
                assert_eq!(moved.contains(pitch), triad.contains(from));
            }
            let pitches = Pitches::from(moved);
            assert!((0..128).all(|pitch| pitches.contains(pitch) == moved.contains(pitch)));
            assert_eq!(pitches & !pitches, Pitches::default());
        }
        assert_eq!(Pitches::from(PitchClasses::ALL), Pitches::ALL);
        assert_eq!(
            Pitches::range(60, 62).iter().collect::<Vec<_>>(),
            [60, 61, 62]
        );
        assert!(Pitches::range(62, 60).is_empty());
        assert_eq!(Pitches::range(0, 255), Pitches::ALL);
    }

    #[test]
    fn classes_are_read_in_sharps_and_flats() {
        for (text, expected) in [
            ("C", Some((0, ""))),
            ("c#m", Some((1, "m"))),
            ("Bb", Some((10, ""))),
            ("bb blues", Some((10, " blues"))),
            ("Cb", Some((11, ""))),
            ("F##7", Some((7, "7"))),
            ("E♭", Some((3, ""))),
            ("H", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(read_class(text), expected, "{text}");
        }
        // Many signs overflow nothing.
        assert_eq!(
            read_class(&format!("C{}", "b".repeat(1000))).map(|(c, _)| c),
            Some(8)
        );
    }
}
