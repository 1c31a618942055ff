//! What `quantize` does to scores made by hand, and that it counts each thing it does.

use famam_shared::instrument::Instrument;
use famam_shared::quantize::{Losses, MAX_BARS, Settings, quantize};
use famam_shared::score::{Key, Metre, Note, Score, Tempo, Ticks, Track};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A bar of 4/4.
const BAR: u32 = 3840;

/// A note whose velocity is the middle of a bin.
fn note(start: u32, pitch: u8, duration: u32) -> Note {
    Note {
        start: Ticks(start),
        pitch,
        duration: Ticks(duration),
        velocity: 82,
    }
}

fn track(program: u8, notes: &[Note]) -> Track {
    let mut notes = notes.to_vec();
    notes.sort_unstable();
    Track {
        instrument: Instrument::new(program).unwrap(),
        name: String::new(),
        notes,
    }
}

fn score(tracks: Vec<Track>) -> Score {
    let notes = tracks.iter().flat_map(|track| &track.notes);
    Score {
        end: notes.map(Note::end).max().unwrap_or_default(),
        tracks,
        ..Score::default()
    }
}

/// A piano's notes, quantized.
fn piano(notes: &[Note], settings: &Settings) -> (Vec<Note>, Losses) {
    let (mut quantized, losses) = quantize(&score(vec![track(0, notes)]), settings);
    (quantized.tracks.remove(0).notes, losses)
}

#[test]
fn starts_and_ends_go_to_the_nearest_grid_point() {
    let settings = Settings {
        positions_per_bar: 16,
        ..Settings::default()
    };
    // Of two equally near the later one.
    for (start, expected) in [
        (0, 0),
        (119, 0),
        (120, 240),
        (121, 240),
        (239, 240),
        (359, 240),
        (361, 480),
        (BAR - 119, BAR),
        (BAR - 121, BAR - 240),
    ] {
        let (notes, losses) = piano(&[note(start, 60, 480)], &settings);
        assert_eq!(notes[0].start, Ticks(expected), "from {start}");
        assert_eq!(losses.moved, u64::from(start != expected));
    }
    for (duration, expected) in [(1, 240), (359, 240), (360, 480), (599, 480), (601, 720)] {
        let (notes, _) = piano(&[note(0, 60, duration)], &settings);
        assert_eq!(notes[0].duration, Ticks(expected), "of {duration}");
    }
}

#[test]
fn notes_last_four_bars_at_most() {
    let settings = Settings::default();
    for (duration, expected, capped) in [
        (4 * BAR, 4 * BAR, 0),
        (4 * BAR + 59, 4 * BAR, 0),
        (4 * BAR + 60, 4 * BAR, 1),
        (5 * BAR, 4 * BAR, 1),
        (400 * BAR, 4 * BAR, 1),
    ] {
        let (notes, losses) = piano(&[note(960, 60, duration)], &settings);
        assert_eq!((notes[0].duration.0, losses.capped), (expected, capped));
    }
    // A drum's end is not heard.
    let (quantized, losses) =
        quantize(&score(vec![track(128, &[note(0, 36, 5 * BAR)])]), &settings);
    assert_eq!(quantized.tracks[0].notes[0].duration, Ticks(120));
    assert_eq!(losses.capped, 0);
}

#[test]
fn each_change_is_counted_as_what_it_is_and_as_nothing_else() {
    let one = note(0, 60, 480);
    let of = |notes: &[Note]| score(vec![track(0, notes)]);
    let check = |what: &str, score: Score, expected: Losses| {
        let notes = score.note_count() as u64;
        let (_, losses) = quantize(&score, &Settings::default());
        assert_eq!(losses, Losses { notes, ..expected }, "{what}");
    };
    let none = Losses::default();
    check("nothing", of(&[one]), none);
    let merged = Losses { merged: 1, ..none };
    check("merged", of(&[one, note(0, 60, 960)]), merged);
    let beyond = Losses { beyond: 1, ..none };
    let far = note(MAX_BARS as u32 * BAR, 62, 480);
    check("beyond", of(&[one, far]), beyond);
    let cut = Losses { cut: 1, ..none };
    check("cut", of(&[note(0, 60, 960), note(480, 60, 480)]), cut);
    let capped = Losses { capped: 1, ..none };
    check("capped", of(&[note(0, 60, 5 * BAR)]), capped);
    let moved = Losses { moved: 1, ..none };
    check("moved", of(&[note(50, 60, 480)]), moved);
    let velocities = Losses {
        velocities: 1,
        ..none
    };
    check(
        "velocities",
        of(&[Note {
            velocity: 83,
            ..one
        }]),
        velocities,
    );
    let tracks = Losses { tracks: 1, ..none };
    let two = vec![track(0, &[one]), track(0, &[note(0, 64, 480)])];
    check("tracks", score(two), tracks);
    let two = vec![track(0, &[one]), track(1, &[note(0, 64, 480)])];
    check("other tracks", score(two), none);

    let metre = |at, numerator, denominator| Metre {
        at: Ticks(at),
        numerator,
        denominator,
    };
    let metres = Losses { metres: 1, ..none };
    let with = |metres: Vec<Metre>| Score {
        metres,
        ..of(&[one, note(2 * BAR, 60, 480)])
    };
    check("a metre", with(vec![metre(0, 3, 4)]), none);
    check("a metre inside a bar", with(vec![metre(960, 3, 4)]), metres);
    check("a metre that is none", with(vec![metre(0, 11, 64)]), metres);
    let tempo = |at, micros_per_quarter| Tempo {
        at: Ticks(at),
        micros_per_quarter,
    };
    let tempos = Losses { tempos: 1, ..none };
    let with = |tempos: Vec<Tempo>| Score {
        tempos,
        ..of(&[one, note(2 * BAR, 60, 480)])
    };
    check("a tempo", with(vec![tempo(BAR, 250_000)]), none);
    check(
        "a tempo inside a bar",
        with(vec![tempo(960, 250_000)]),
        tempos,
    );
    check(
        "a tempo between bins",
        with(vec![tempo(0, 501_000)]),
        tempos,
    );
    let keys = vec![Key {
        at: Ticks(0),
        fifths: 2,
        minor: false,
    }];
    let keyed = Score { keys, ..of(&[one]) };
    check("keys", keyed, Losses { keys: 1, ..none });
}

/// Notes around the last bar that there may be, in metres that change anywhere.
#[test]
fn long_pieces_are_cut_short_and_quantize_is_still_idempotent() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut beyond = 0;
    for i in 0..200 {
        let settings = Settings {
            positions_per_bar: [16, 32, 48][i % 3],
            ..Settings::default()
        };
        let (numerator, denominator) = [(1, 16), (1, 8), (3, 8), (4, 4)][i % 4];
        let first = Metre {
            at: Ticks(0),
            numerator,
            denominator,
        };
        let limit = MAX_BARS as u32 * first.bar().0;
        let mut metres = vec![first];
        for _ in 0..rng.random_range(0..5) {
            metres.push(Metre {
                at: Ticks(rng.random_range(limit - 20_000..limit + 20_000)),
                numerator: rng.random_range(1..20),
                denominator: 1 << rng.random_range(0..7),
            });
        }
        metres.sort_by_key(|metre| metre.at);
        metres.dedup_by_key(|metre| metre.at);
        let notes: Vec<Note> = (0..40)
            .map(|_| {
                let start = match rng.random_range(0..10) {
                    0 => rng.random_range(0..1 << 31),
                    _ => rng.random_range(limit - 5_000..limit + 5_000),
                };
                note(start, rng.random_range(60..64), rng.random_range(1..20_000))
            })
            .collect();
        let long = Score {
            metres,
            ..score(vec![track(0, &notes), track(128, &notes[..9])])
        };
        let (once, losses) = quantize(&long, &settings);
        let (twice, none) = quantize(&once, &settings);
        assert_eq!(once, twice, "score {i}");
        assert_eq!((none.beyond, none.metres, none.tempos), (0, 0, 0));
        assert_eq!(losses.kept(), once.note_count() as u64);
        let last = once.tracks.iter().flat_map(|track| &track.notes);
        let last = last.map(|note| note.start).max().unwrap_or_default();
        let bars = once.bars().take_while(|bar| bar.start <= last).count();
        assert!(bars <= MAX_BARS, "{bars} bars");
        beyond += losses.beyond;
    }
    assert!(beyond > 1_000, "only {beyond} notes were left out");
}
