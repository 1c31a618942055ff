//! All figures, by name.

use super::excerpt::Excerpt;
use super::{pitch, rhythm, texture};

/// A figure of music.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    of: Of,
}

/// How it is made of music that has it.
#[derive(Clone, Copy, Debug)]
enum Of {
    Number(fn(&Excerpt) -> Option<f64>),
    /// A histogram or a matrix.
    Many(fn(&Excerpt) -> Option<Vec<f64>>),
}

impl Figure {
    const fn number(name: &'static str, of: fn(&Excerpt) -> Option<f64>) -> Self {
        let of = Of::Number(of);
        Self { name, of }
    }

    const fn many(name: &'static str, of: fn(&Excerpt) -> Option<Vec<f64>>) -> Self {
        let of = Of::Many(of);
        Self { name, of }
    }

    /// Whether it is one number, which has a mean, rather than a histogram or matrix.
    pub fn is_number(&self) -> bool {
        matches!(self.of, Of::Number(_))
    }

    /// Of this music, as a point in space; `None` where it has no such thing, as drums have no pitch.
    pub fn of(&self, excerpt: &Excerpt) -> Option<Vec<f64>> {
        match self.of {
            Of::Number(of) => of(excerpt).map(|number| vec![number]),
            Of::Many(of) => of(excerpt),
        }
    }
}

/// All figures. Their definitions and sources stand at the functions.
pub const FIGURES: [Figure; 23] = [
    Figure::number("pitch-class entropy", pitch::class_entropy),
    Figure::number("scale consistency", pitch::scale_consistency),
    Figure::number("chord tones on strong beats", pitch::chord_tones),
    Figure::number("pitch range", pitch::range),
    Figure::number("pitch count", pitch::count),
    Figure::number("pitch interval", pitch::interval),
    Figure::many("pitch-class histogram", pitch::class_histogram),
    Figure::many("pitch-class transitions", pitch::class_transitions),
    Figure::number("groove consistency", rhythm::groove_consistency),
    Figure::number("empty bars", rhythm::empty_bars),
    Figure::number("notes a bar", rhythm::notes_a_bar),
    Figure::number("note length", rhythm::note_length),
    Figure::number("inter-onset interval", rhythm::inter_onset_interval),
    Figure::many("note-length histogram", rhythm::length_histogram),
    Figure::many("note-length transitions", rhythm::length_transitions),
    Figure::number("polyphony", texture::polyphony),
    Figure::number("polyphony rate", texture::polyphony_rate),
    Figure::number("velocity", texture::velocity),
    Figure::number("velocity deviation", texture::velocity_deviation),
    Figure::number("self-similarity, 1 bar", texture::self_similarity::<1>),
    Figure::number("self-similarity, 2 bars", texture::self_similarity::<2>),
    Figure::number("self-similarity, 4 bars", texture::self_similarity::<4>),
    Figure::number("self-similarity, 8 bars", texture::self_similarity::<8>),
];

#[cfg(test)]
mod tests {
    use famam_shared::instrument::Instrument;
    use famam_shared::score::{Metre, Note, Score, Ticks, Track};

    use super::*;

    const QUARTER: u32 = 960;

    fn track(instrument: u8, notes: &[(u32, u8, u32, u8)]) -> Track {
        let mut notes: Vec<Note> = notes
            .iter()
            .map(|&(start, pitch, duration, velocity)| Note {
                start: Ticks(start),
                pitch,
                duration: Ticks(duration),
                velocity,
            })
            .collect();
        notes.sort_unstable();
        Track {
            instrument: Instrument::new(instrument).unwrap(),
            name: String::new(),
            notes,
        }
    }

    /// Three bars of 4/4, the last empty. Piano: C E and a half note G with the C above; C C♯ and a
    /// half note G. Drums: a kick at each bar, and a loud one at the end of the second.
    fn score() -> Score {
        let quarter = |at: u32, pitch| (at * QUARTER, pitch, QUARTER, 64);
        let half = |at: u32, pitch| (at * QUARTER, pitch, 2 * QUARTER, 64);
        let piano = [
            quarter(0, 60),
            quarter(1, 64),
            half(2, 67),
            half(2, 72),
            quarter(4, 60),
            quarter(5, 61),
            half(6, 67),
        ];
        let kick = |at: u32, velocity| (at * QUARTER, 36, 240, velocity);
        Score {
            tracks: vec![
                track(128, &[kick(0, 64), kick(4, 64), kick(7, 104)]),
                track(0, &piano),
            ],
            end: Ticks(12 * QUARTER),
            ..Score::default()
        }
    }

    fn figure(name: &str) -> &'static Figure {
        FIGURES.iter().find(|figure| figure.name == name).unwrap()
    }

    fn of(name: &str, score: Score) -> Option<Vec<f64>> {
        figure(name).of(&Excerpt::new(score, 64))
    }

    #[test]
    fn numbers_by_hand() {
        let share = |share: f64| -share * share.log2();
        for (name, expected) in [
            // Three C, two G, one E, one C♯.
            (
                "pitch-class entropy",
                share(3.0 / 7.0) + share(2.0 / 7.0) + 2.0 * share(1.0 / 7.0),
            ),
            ("scale consistency", 6.0 / 7.0),
            // C over C and E, C and G over C5, C over D♭maj7, G over G5.
            ("chord tones on strong beats", 1.0),
            ("pitch range", 12.0),
            ("pitch count", 5.0),
            // C E C' C C♯ G.
            ("pitch interval", (4 + 8 + 12 + 1 + 6) as f64 / 5.0),
            // One position of 48 differs, then four.
            ("groove consistency", 1.0 - 2.5 / 48.0),
            ("empty bars", 1.0 / 3.0),
            ("notes a bar", 10.0 / 3.0),
            ("note length", 10.0 / 7.0),
            // Starts at 0, 1, 2, 4, 5, 6 and 7 quarters.
            ("inter-onset interval", 7.0 / 6.0),
            // Two pitches for two quarters of the eight in which any sounds, and of the twelve.
            ("polyphony", 1.25),
            ("polyphony rate", 1.0 / 6.0),
            ("velocity", 68.0),
            ("velocity deviation", 12.0),
            // Three notes of seven, then none of five.
            ("self-similarity, 1 bar", 3.0 / 14.0),
            ("self-similarity, 2 bars", 0.0),
        ] {
            let value = of(name, score()).unwrap();
            assert_eq!(value.len(), 1, "{name}");
            assert!((value[0] - expected).abs() < 1e-12, "{name}: {value:?}");
        }
        assert_eq!(of("self-similarity, 4 bars", score()), None);
    }

    #[test]
    fn histograms_and_matrices_by_hand() {
        let (quarter, half) = (2, 1);
        for (name, side, expected) in [
            (
                "pitch-class histogram",
                None,
                vec![
                    (0, 0, 3.0 / 7.0),
                    (0, 1, 1.0 / 7.0),
                    (0, 4, 1.0 / 7.0),
                    (0, 7, 2.0 / 7.0),
                ],
            ),
            (
                "note-length histogram",
                None,
                vec![(0, quarter, 4.0 / 7.0), (0, half, 3.0 / 7.0)],
            ),
            // C E G C C C♯ G.
            (
                "pitch-class transitions",
                Some(12),
                [(0, 4), (4, 7), (7, 0), (0, 0), (0, 1), (1, 7)]
                    .map(|(from, to)| (from, to, 1.0 / 6.0))
                    .to_vec(),
            ),
            (
                "note-length transitions",
                Some(12),
                vec![
                    (quarter, quarter, 2.0 / 6.0),
                    (quarter, half, 2.0 / 6.0),
                    (half, half, 1.0 / 6.0),
                    (half, quarter, 1.0 / 6.0),
                ],
            ),
        ] {
            let values = of(name, score()).unwrap();
            let mut by_hand = vec![0.0; values.len()];
            for (row, column, share) in expected {
                by_hand[row * side.unwrap_or(0) + column] = share;
            }
            for (value, expected) in std::iter::zip(&values, &by_hand) {
                assert!((value - expected).abs() < 1e-12, "{name}: {values:?}");
            }
        }
    }

    /// C E G for a bar, a D on its first beat and an F on its third: two of five notes on strong beats
    /// are foreign to the chord.
    #[test]
    fn foreign_notes_on_strong_beats_are_seen() {
        let chord = [60, 64, 67].map(|pitch| (0, pitch, 4 * QUARTER, 64));
        let foreign = [(0, 62, 480, 64), (2 * QUARTER, 65, 480, 64)];
        // Off the beat anything goes.
        let passing = [(QUARTER, 66, 480, 64), (3 * QUARTER + 480, 70, 480, 64)];
        let notes = [&chord[..], &foreign, &passing].concat();
        let score = Score {
            tracks: vec![track(0, &notes)],
            end: Ticks(4 * QUARTER),
            ..Score::default()
        };
        let value = of("chord tones on strong beats", score).unwrap();
        assert!((value[0] - 3.0 / 5.0).abs() < 1e-12, "{value:?}");
    }

    #[test]
    fn a_bar_that_comes_again_is_seen_at_its_distance() {
        // A B A B A B A B A: all the same two and eight bars later, nothing one bar later.
        let notes: Vec<_> = (0..9)
            .map(|bar| (4 * QUARTER * bar, 60 + (bar % 2) as u8, QUARTER, 64))
            .collect();
        let score = Score {
            tracks: vec![track(0, &notes)],
            end: Ticks(36 * QUARTER),
            ..Score::default()
        };
        for (name, expected) in [
            ("self-similarity, 1 bar", 0.0),
            ("self-similarity, 2 bars", 1.0),
            ("self-similarity, 4 bars", 1.0),
            ("self-similarity, 8 bars", 1.0),
        ] {
            assert_eq!(of(name, score.clone()), Some(vec![expected]), "{name}");
        }
    }

    #[test]
    fn music_without_something_has_no_such_figure() {
        let mut drums = score();
        drums.tracks.truncate(1);
        let (drums, nothing) = (drums, Score::default());
        for figure in &FIGURES {
            let of = |score: &Score| figure.of(&Excerpt::new(score.clone(), 8));
            let pitched = figure.name.contains("pitch")
                || figure.name.contains("polyphony")
                || figure.name.contains("note-length")
                || [
                    "scale consistency",
                    "chord tones on strong beats",
                    "note length",
                ]
                .contains(&figure.name);
            if pitched {
                assert_eq!(of(&drums), None, "{}", figure.name);
            }
            let value = of(&nothing);
            let counted = ["empty bars", "notes a bar"].contains(&figure.name);
            assert_eq!(value.is_some(), counted, "{}", figure.name);
        }
    }

    #[test]
    fn a_window_is_music_of_its_own() {
        let metre = |at, numerator| Metre {
            at: Ticks(at),
            numerator,
            denominator: 4,
        };
        let mut whole = score();
        whole.metres = vec![metre(0, 4), metre(8 * QUARTER, 2)];
        let excerpt = Excerpt::new(whole, 64);
        let lengths = |excerpt: &Excerpt| -> Vec<u32> {
            let bars = excerpt.bars().iter();
            bars.map(|bar| (bar.end - bar.start).0 / QUARTER).collect()
        };
        assert_eq!(lengths(&excerpt), [4, 4, 2, 2]);
        let window = excerpt.window(1, 2);
        assert_eq!(lengths(&window), [4, 2]);
        let starts: Vec<u32> = window.notes().map(|note| note.start.0 / QUARTER).collect();
        assert_eq!(starts, [0, 3, 0, 1, 2]);
        assert_eq!(excerpt.window(9, 2).score().note_count(), 0);
        // What sounds on behind the last bar ends with it.
        let cut = Excerpt::new(
            Score {
                tracks: vec![track(0, &[(0, 60, 20 * QUARTER, 64)])],
                end: Ticks(20 * QUARTER),
                ..Score::default()
            },
            2,
        );
        assert_eq!(
            cut.pitched_notes().next().unwrap().end(),
            Ticks(8 * QUARTER)
        );
    }
}
