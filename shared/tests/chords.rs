//! The chord finder, on progressions that are written out here: block chords, broken ones, a melody with
//! passing notes above, a walking bass below; in all keys, in several metres, with one and two chords a bar.

use famam_shared::instrument::Instrument;
use famam_shared::score::{Bar, Metre, Note, Score, Ticks, Track};
use famam_shared::theory::{Chord, Progression, Symbol};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[path = "chords/styles.rs"]
mod styles;

use styles::{STYLES, Style};

/// Progressions of many kinds, in C major or A minor: diatonic, with sevenths, secondary dominants, borrowed
/// chords, diminished ones.
const PROGRESSIONS: [&str; 12] = [
    "C G Am F",
    "Am F C G",
    "Dm7 G7 Cmaj7 Am7",
    "C Am Dm G7",
    "Am Dm E7 Am",
    "C E7 Am D7 G F C G",
    "C F Fm C",
    "C Bb F C",
    "Am G F E",
    "Em Bdim C D7 G",
    "Fmaj7 Em7 Dm7 Cmaj7",
    "C A7 Dm Ab G7 C",
];

/// The same with two chords in some bars.
const TWO_A_BAR: [&str; 6] = [
    "C-G Am-F",
    "Am F-G Am E7",
    "Dm7-G7 Cmaj7 Em7-A7 Dm7-G7",
    "C-Am F-G C",
    "C G-Am F C-G",
    "Am-E Am-G C-G F-E7",
];

const METRES: [(u8, u8); 5] = [(4, 4), (3, 4), (6, 8), (5, 4), (2, 2)];

fn bars(numerator: u8, denominator: u8, count: usize) -> Vec<Bar> {
    let metre = Metre {
        at: Ticks(0),
        numerator,
        denominator,
    };
    let score = Score {
        metres: vec![metre],
        end: Ticks(metre.bar().0 * count as u32),
        ..Score::default()
    };
    score.bars().collect()
}

/// Root, third and fifth.
fn triad(chord: Chord) -> (Option<u8>, Vec<u8>) {
    (
        chord.root(),
        chord.steps().iter().copied().take(3).collect(),
    )
}

/// What of the progression's spans is found with its root and its triad, out of how many.
fn found(
    style: &Style,
    progression: &Progression,
    metre: (u8, u8),
    rng: &mut ChaCha8Rng,
) -> [usize; 2] {
    let bars = bars(metre.0, metre.1, 2 * progression.bars().len());
    let score = style.write(progression, &bars, rng);
    let one = progression.bars().iter().all(|bar| bar.len() == 1);
    let chords: Vec<(Ticks, Chord)> = if one {
        let starts = bars.iter().map(|bar| bar.start);
        starts.zip(Chord::of_bars(&score, &bars)).collect()
    } else {
        let halves = std::iter::zip(&bars, Chord::of_halves(&score, &bars));
        halves
            .flat_map(|(bar, [a, b])| [(bar.start, a), (famam_shared::theory::middle(bar), b)])
            .collect()
    };
    let (mut right, mut all) = (0, 0);
    for (at, symbol) in progression.over(&bars, 0) {
        // A chord that lasts a bar is two halves.
        for (_, chord) in chords.iter().filter(|(start, _)| at.contains(start)) {
            all += 1;
            right += usize::from(triad(*chord) == triad(symbol.chord));
        }
    }
    [right, all]
}

/// At least 95 of 100 bars with their root and their triad in every style and metre; block chords all.
#[test]
fn the_chords_of_written_progressions_are_found() {
    let mut missed = Vec::new();
    for (texts, per_bar) in [(&PROGRESSIONS[..], "one"), (&TWO_A_BAR, "two")] {
        for style in &STYLES {
            for metre in METRES {
                let mut rng = ChaCha8Rng::seed_from_u64(7);
                let (mut right, mut all) = (0, 0);
                for text in texts {
                    for semitones in 0..12 {
                        let progression = text.parse::<Progression>().unwrap();
                        let moved = progression.transposed(semitones);
                        let [r, a] = found(style, &moved, metre, &mut rng);
                        (right, all) = (right + r, all + a);
                    }
                }
                let (numerator, denominator) = metre;
                let share = 100.0 * right as f64 / all as f64;
                let what = format!(
                    "{:<28} {numerator}/{denominator}, {per_bar} a bar: {share:5.1} % of {all}",
                    style.name
                );
                println!("{what}");
                if share < style.at_least {
                    missed.push(what);
                }
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Transposed music has the transposed chords, whatever the music is.
#[test]
fn chords_move_with_the_music() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let score = noise(&mut rng);
        let bars: Vec<Bar> = score.bars().collect();
        let (whole, halves) = (
            Chord::of_bars(&score, &bars),
            Chord::of_halves(&score, &bars),
        );
        assert_eq!(whole.len(), bars.len());
        for semitones in -20..20 {
            let mut moved = score.clone();
            for note in moved.tracks.iter_mut().flat_map(|track| &mut track.notes) {
                note.pitch = (i32::from(note.pitch) + semitones) as u8;
            }
            let up = |chord: &Chord| chord.transposed(semitones);
            let expected: Vec<Chord> = whole.iter().map(up).collect();
            assert_eq!(
                Chord::of_bars(&moved, &bars),
                expected,
                "seed {seed}, {semitones}"
            );
            let expected: Vec<[Chord; 2]> =
                halves.iter().map(|bar| bar.each_ref().map(up)).collect();
            assert_eq!(
                Chord::of_halves(&moved, &bars),
                expected,
                "seed {seed}, {semitones}"
            );
        }
    }
}

/// Notes anywhere, in bars of any metre, some of them silent.
fn noise(rng: &mut ChaCha8Rng) -> Score {
    let mut draw = |of: u32| rng.next_u32() % of;
    let metres = [0, 5000, 11_000].map(|at| Metre {
        at: Ticks(at),
        numerator: 1 + draw(13) as u8,
        denominator: 1 << draw(5),
    });
    let notes = (0..draw(60)).map(|_| Note {
        start: Ticks(draw(30_000)),
        pitch: 30 + draw(60) as u8,
        duration: Ticks(1 + draw(3000)),
        velocity: 64,
    });
    let mut notes: Vec<Note> = notes.collect();
    notes.sort_unstable();
    let track = |notes| Track {
        instrument: Instrument::default(),
        name: String::new(),
        notes,
    };
    let half = notes.split_off(notes.len() / 2);
    Score {
        tracks: vec![track(notes), track(half)],
        metres: metres.to_vec(),
        end: Ticks(33_000),
        ..Score::default()
    }
}

#[test]
fn silence_and_drums_have_no_chord() {
    let bars = bars(4, 4, 3);
    let c = [60, 64, 67].map(|pitch| Note {
        start: Ticks(3840),
        pitch,
        duration: Ticks(3840),
        velocity: 64,
    });
    let track = |instrument, at: u32| Track {
        instrument,
        name: String::new(),
        notes: c
            .map(|note| Note {
                start: Ticks(at),
                ..note
            })
            .to_vec(),
    };
    let mut score = Score {
        tracks: vec![
            track(Instrument::default(), 3840),
            track(Instrument::DRUMS, 0),
        ],
        end: Ticks(3 * 3840),
        ..Score::default()
    };
    let names = |score: &Score| {
        Chord::of_bars(score, &bars)
            .iter()
            .map(Chord::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&score), ["none", "C", "none"]);
    score.tracks.remove(0);
    assert_eq!(names(&score), ["none", "none", "none"]);
    assert_eq!(Chord::of_bars(&score, &[]), []);
    let progression = Progression::of_score(&score, &bars).unwrap();
    assert_eq!(progression.to_string(), "none none none");
    assert!(Progression::of_score(&score, &[]).is_err());
}

/// Alone in a bar, every chord that musicians spell has its name.
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
        (&[59, 62, 65], "Bdim"),
        (&[59, 62, 65, 69], "Bm7b5"),
        (&[59, 62, 65, 68], "Bdim7"),
        (&[64, 68, 72], "Eaug"),
        (&[], "none"),
    ] {
        let notes = pitches.iter().map(|&pitch| Note {
            start: Ticks(0),
            pitch,
            duration: Ticks(3840),
            velocity: 64,
        });
        let score = Score {
            tracks: vec![Track {
                instrument: Instrument::default(),
                name: String::new(),
                notes: notes.collect(),
            }],
            end: Ticks(3840),
            ..Score::default()
        };
        let chords = Chord::of_bars(&score, &bars(4, 4, 1));
        assert_eq!(chords[0].to_string(), name, "{pitches:?}");
    }
}

/// What the user plays comes back as the progression that they mean.
#[test]
fn a_progression_is_taken_from_a_track() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for text in PROGRESSIONS.iter().chain(&TWO_A_BAR) {
        let progression: Progression = text.parse().unwrap();
        let bars = bars(4, 4, progression.bars().len());
        let score = STYLES[0].write(&progression, &bars, &mut rng);
        let taken = Progression::of_score(&score, &bars).unwrap();
        let roots = |progression: &Progression| -> Vec<Vec<Option<u8>>> {
            let of = |bar: &Vec<Symbol>| bar.iter().map(|symbol| symbol.chord.root()).collect();
            progression.bars().iter().map(of).collect()
        };
        assert_eq!(roots(&taken), roots(&progression), "{text}: {taken}");
    }
}
