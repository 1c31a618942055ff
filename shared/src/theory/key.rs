//! Which key music is in, by the pitches that it has.

use crate::score::Score;

/// How well each pitch class, from the tonic up, fits a major and a minor key: ratings of listeners
/// (Krumhansl and Kessler 1982; Krumhansl 1990, *Cognitive Foundations of Musical Pitch*, table 2.1).
pub(super) const PROFILES: [[f64; 12]; 2] = [
    [
        6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88,
    ],
    [
        6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17,
    ],
];

/// The names of the pitch classes.
pub const NAMES: [&str; 12] = [
    "C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B",
];

/// A tonic with a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tonality {
    /// Pitch class of the tonic; 0 is C.
    pub tonic: u8,
    /// Minor rather than major.
    pub minor: bool,
}

impl Tonality {
    /// That of a key signature of `fifths` sharps, or flats where it is negative.
    pub fn of_signature(fifths: i8, minor: bool) -> Self {
        let major = i32::from(fifths) * 7;
        let tonic = if minor { major + 9 } else { major };
        Self {
            tonic: tonic.rem_euclid(12) as u8,
            minor,
        }
    }
}

impl std::fmt::Display for Tonality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = if self.minor { "minor" } else { "major" };
        write!(f, "{} {mode}", NAMES[usize::from(self.tonic) % 12])
    }
}

/// How long each pitch class sounds, in quarters; drums have none.
pub fn pitch_classes(score: &Score) -> [f64; 12] {
    let mut classes = [0.0; 12];
    let pitched = score.tracks.iter().filter(|t| !t.instrument.is_drums());
    for note in pitched.flat_map(|track| &track.notes) {
        classes[usize::from(note.pitch) % 12] += note.duration.quarters();
    }
    classes
}

/// The key whose profile fits `classes` best (Krumhansl and Schmuckler; Krumhansl 1990, chapter 4), with the
/// correlation, -1 to 1; `None` where nothing sounds or all sound alike.
pub fn likely(classes: &[f64; 12]) -> Option<(Tonality, f64)> {
    let keys = (0..12).flat_map(|tonic| [false, true].map(|minor| Tonality { tonic, minor }));
    keys.filter_map(|key| {
        let profile = PROFILES[usize::from(key.minor)];
        let turned: [f64; 12] =
            std::array::from_fn(|i| profile[(i + 12 - usize::from(key.tonic)) % 12]);
        Some((key, correlation(classes, &turned)?))
    })
    .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// Pearson's.
fn correlation(a: &[f64; 12], b: &[f64; 12]) -> Option<f64> {
    let mean = |x: &[f64; 12]| x.iter().sum::<f64>() / 12.0;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f64; 12], mx: f64, y: &[f64; 12], my: f64| {
        std::iter::zip(x, y)
            .map(|(x, y)| (x - mx) * (y - my))
            .sum::<f64>()
    };
    let spread = (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt();
    (spread > 1e-9).then(|| product(a, mean_a, b, mean_b) / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quarters of each pitch class of I IV V I, the root doubled.
    fn cadence(tonic: usize, minor: bool) -> [f64; 12] {
        let third = if minor { 3 } else { 4 };
        let mut classes = [0.0; 12];
        for (root, third) in [(0, third), (5, third), (7, 4), (0, third)] {
            for tone in [0, 0, third, 7] {
                classes[(tonic + root + tone) % 12] += 1.0;
            }
        }
        classes
    }

    #[test]
    fn a_cadence_is_in_its_key() {
        for tonic in 0..12 {
            for minor in [false, true] {
                let (key, fit) = likely(&cadence(tonic, minor)).unwrap();
                let tonic = tonic as u8;
                assert_eq!(key, Tonality { tonic, minor });
                assert!(fit > 0.7, "{key}: {fit}");
            }
        }
        assert_eq!(likely(&[0.0; 12]), None);
        assert_eq!(likely(&[2.0; 12]), None);
    }

    #[test]
    fn signatures_have_names() {
        for (fifths, minor, name) in [
            (0, false, "C major"),
            (0, true, "A minor"),
            (-3, true, "C minor"),
            (7, false, "Db major"),
            (-7, true, "Ab minor"),
            (2, false, "D major"),
        ] {
            assert_eq!(Tonality::of_signature(fifths, minor).to_string(), name);
        }
    }
}
