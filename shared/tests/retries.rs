//! Results that are nearly empty or copies are tried again, and the best is kept.

use std::ops::Range;

use famam_shared::generation::{GOOD_ENOUGH, Verdict, retry};
use famam_shared::instrument::Instrument;
use famam_shared::score::{Note, Score, Ticks, Track};

const BAR: u32 = 3840;

/// Notes of one pitch at these ticks.
fn piece(starts: &[u32], pitch: u8) -> Score {
    let notes = starts.iter().map(|&start| Note {
        start: Ticks(start),
        duration: Ticks(240),
        pitch,
        velocity: 80,
    });
    Score {
        tracks: vec![Track {
            instrument: Instrument::default(),
            name: String::new(),
            notes: notes.collect(),
        }],
        ..Score::default()
    }
}

fn bars(count: u32) -> Vec<Range<Ticks>> {
    let bar = |bar: u32| Ticks(bar * BAR)..Ticks((bar + 1) * BAR);
    (0..count).map(bar).collect()
}

#[test]
fn a_verdict_counts_bars_with_music_and_notes_of_its_own() {
    let verdict = |score: &Score, others: &[Score]| Verdict::of(score, &bars(4), others);
    let music = piece(&[0, 960, BAR, 3 * BAR], 60);
    let plain = verdict(&music, &[]);
    assert_eq!((plain.filled, plain.own), (0.75, 1.0));
    assert_eq!(
        verdict(&music, std::slice::from_ref(&music)).score(),
        0.0,
        "a copy"
    );
    assert_eq!(
        verdict(&music, &[piece(&[0, 960, BAR, 3 * BAR], 61)]).own,
        1.0
    );
    let nearly = [piece(&[0], 60), piece(&[0, 960, BAR], 60)];
    assert_eq!(verdict(&music, &nearly).own, 0.25, "of the most alike");
    assert_eq!(verdict(&Score::default(), &nearly).score(), 0.0, "silence");
    // What lies outside of the bars that were asked for is known, and no copy.
    let known = piece(&[0, 960, BAR, 3 * BAR, 4 * BAR, 4 * BAR + 240], 60);
    let other = piece(&[4 * BAR, 4 * BAR + 240], 60);
    assert_eq!(verdict(&known, &[other]), plain);
}

#[test]
fn the_first_good_result_is_kept_and_else_the_best() {
    // Seeds give results by turns; a verdict is the result itself.
    let tried = |results: &[f32], retries| {
        let mut results = results.iter().copied();
        let mut seeds = Vec::new();
        let make = |seed| {
            seeds.push(seed);
            results.next().ok_or("none is left")
        };
        let judge = |&filled: &f32| Verdict { filled, own: 1.0 };
        (retry(9, retries, make, judge), seeds)
    };
    let (good, seeds) = tried(&[GOOD_ENOUGH], 5);
    let good = good.unwrap();
    assert_eq!((good.result, good.seed, good.attempts), (GOOD_ENOUGH, 9, 1));
    assert_eq!(seeds, [9]);
    let (second, seeds) = tried(&[0.1, 0.9], 5);
    let second = second.unwrap();
    assert_eq!((second.result, second.attempts), (0.9, 2));
    assert_eq!(seeds[1], second.seed);
    let (best, seeds) = tried(&[0.1, 0.3, 0.2, 0.3], 3);
    let best = best.unwrap();
    assert_eq!((best.result, best.seed, best.attempts), (0.3, seeds[1], 4));
    let mut all = seeds.clone();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4, "other seeds each time");
    assert_eq!(
        seeds,
        tried(&[0.1, 0.3, 0.2, 0.3], 3).1,
        "the same ones again"
    );
    assert_eq!(tried(&[0.1], 1).0.unwrap_err(), "none is left");
}
