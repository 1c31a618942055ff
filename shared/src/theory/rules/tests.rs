use super::*;
use crate::score::{Metre, Score};
use crate::theory::PitchClasses;

fn bars(numerator: u8, denominator: u8, count: u32) -> Vec<Bar> {
    let metre = Metre {
        at: Ticks(0),
        numerator,
        denominator,
    };
    let score = Score {
        metres: vec![metre],
        end: Ticks(metre.bar().0 * count),
        ..Score::default()
    };
    score.bars().collect()
}

fn progression(text: &str) -> Progression {
    text.parse().unwrap()
}

fn scale(text: &str) -> Scale {
    text.parse().unwrap()
}

fn classes(pitches: Pitches) -> PitchClasses {
    PitchClasses::new(&pitches.iter().collect::<Vec<_>>())
}

/// Chords of every kind, two in some bars, one that stays, one outside of its key.
const PROGRESSIONS: [&str; 5] = [
    "Am F C G",
    "C G-Am F",
    "Am Am-E7 Am",
    "Dm7-G7 Cmaj7",
    "C N.C. Bb7/D",
];

#[test]
fn on_beats_a_chord_lets_its_tones_begin_and_elsewhere_its_scale() {
    for text in PROGRESSIONS {
        for (numerator, denominator) in [(4, 4), (3, 4), (6, 8), (7, 8), (5, 4)] {
            let (bars, chords) = (bars(numerator, denominator, 9), progression(text));
            let key = Scale::from(chords.key());
            let harmony = Harmony::new(None, Some((&chords, Hold::Locked)), &bars, 3);
            for (at, symbol) in chords.over(&bars, 3) {
                let bar = bars.iter().find(|bar| bar.end > at.start).unwrap();
                for tick in (at.start.0..at.end.0).step_by(80).map(Ticks) {
                    let on_beat = (tick.0 - bar.start.0).is_multiple_of(960) || tick == at.start;
                    let starts = classes(harmony.starts(tick));
                    let scale = symbol.chord.scale(Some(key)).union(symbol.tones());
                    let silent = symbol.tones().is_empty();
                    let expected = if on_beat && !silent {
                        symbol.tones()
                    } else {
                        scale
                    };
                    assert_eq!(starts, expected, "{text}: {symbol} at {tick:?}");
                }
            }
            assert_eq!(harmony.starts(bars[8].end), Pitches::ALL);
        }
    }
}

#[test]
fn a_note_ends_where_the_chord_changes_unless_it_fits() {
    for text in PROGRESSIONS {
        let (bars, chords) = (bars(4, 4, 8), progression(text));
        let harmony = Harmony::new(None, Some((&chords, Hold::Locked)), &bars, 0);
        let spans: Vec<_> = chords.over(&bars, 0).collect();
        for start in (0..8 * 3840).step_by(240).map(Ticks) {
            for pitch in 48..60 {
                // Walks from chord to chord, as a listener would.
                let mut end = None;
                let here = spans
                    .iter()
                    .position(|(at, _)| at.contains(&start))
                    .unwrap();
                for ((_, before), (at, after)) in std::iter::zip(&spans[here..], &spans[here + 1..])
                {
                    let fits = match after.tones().is_empty() {
                        true => Scale::from(chords.key()).tones(),
                        false => after.tones(),
                    };
                    if before != after && !fits.contains(pitch) {
                        end = Some(at.start);
                        break;
                    }
                }
                assert_eq!(
                    harmony.latest_end(start, pitch),
                    end,
                    "{text}: {pitch} at {start:?}"
                );
            }
        }
    }
}

#[test]
fn a_locked_key_lets_nothing_else_begin() {
    let bars = bars(4, 4, 4);
    for name in [
        "A minor",
        "Bb blues",
        "C# dorian",
        "F chromatic",
        "G major pentatonic",
    ] {
        let key = scale(name);
        let alone = Harmony::new(Some((key, Hold::Locked)), None, &bars, 0);
        for text in PROGRESSIONS {
            let chords = progression(text);
            let both =
                |hold| Harmony::new(Some((key, Hold::Locked)), Some((&chords, hold)), &bars, 0);
            for tick in (0..4 * 3840).step_by(160).map(Ticks) {
                assert_eq!(classes(alone.starts(tick)), key.tones());
                assert_eq!(both(Hold::Leaning(2.0)).starts(tick), alone.starts(tick));
                let locked = both(Hold::Locked).starts(tick);
                assert_eq!(locked & alone.starts(tick), locked);
            }
        }
        assert_eq!(alone.latest_end(Ticks(0), 61), None);
    }
}

#[test]
fn leaning_costs_what_locking_forbids() {
    let bars = bars(4, 4, 4);
    let key = scale("A minor");
    let chords = progression("Am F E7-C G");
    let (lean, lock) = (Hold::Leaning(1.5), Hold::Locked);
    let leaning = Harmony::new(Some((key, lean)), Some((&chords, lean)), &bars, 0);
    let of_key = Harmony::new(Some((key, lock)), None, &bars, 0);
    let of_both = Harmony::new(Some((key, lock)), Some((&chords, lock)), &bars, 0);
    for tick in (0..4 * 3840).step_by(240).map(Ticks) {
        assert_eq!(leaning.starts(tick), Pitches::ALL);
        let costs: Vec<(Pitches, f32)> = leaning.leanings(tick).collect();
        assert_eq!(
            costs.iter().map(|(_, nats)| *nats).collect::<Vec<_>>(),
            [1.5, 1.5]
        );
        assert_eq!(costs[0].0, !of_key.starts(tick));
        assert_eq!(!costs[0].0 & !costs[1].0, of_both.starts(tick));
        assert_eq!(of_both.leanings(tick).count(), 0);
    }
    assert_eq!(leaning.latest_end(Ticks(0), 61), None);
}

#[test]
fn music_written_by_the_rules_is_inside_the_limits() {
    let limits = Limits {
        pitches: 50..=70,
        polyphony: 2..=3,
        lengths: Ticks(480)..=Ticks(1920),
        rests: Ticks(480)..=Ticks(960),
        ..Limits::default()
    };
    let (bars, chords) = (bars(4, 4, 16), progression("Am F C-E7 G"));
    let harmony = Harmony::new(None, Some((&chords, Hold::Locked)), &bars, 0);
    let rules = Rules {
        harmony: &harmony,
        limits: &limits,
    };
    // A writer who begins what they may wherever a wheel of fortune says so.
    let mut wheel = 12345_u32;
    let mut turn = |of: usize| {
        wheel = wheel.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (wheel >> 8) as usize % of
    };
    let (mut notes, mut sounding) = (Vec::<Note>::new(), Sounding::new(Ticks(0)));
    for at in (0..15 * 3840).step_by(240).map(Ticks) {
        let must = limits
            .latest_start(&sounding)
            .is_some_and(|latest| latest < at + Ticks(240));
        if !must && turn(3) > 0 {
            continue;
        }
        loop {
            let sounds = |pitch: &u8| notes.iter().any(|n| n.pitch == *pitch && n.end() > at);
            let full = sounding.count(at) >= usize::from(*limits.polyphony.end());
            if full || !limits.have_rested(at, &sounding) {
                break;
            }
            let pitches = rules.tones(at);
            let free: Vec<u8> = pitches.iter().filter(|pitch| !sounds(pitch)).collect();
            if free.is_empty() {
                break;
            }
            let pitch = free[turn(free.len())];
            let lengths = rules.lengths(at, pitch).unwrap();
            let choices: Vec<Ticks> = (1..=16)
                .map(|sixteenths| Ticks(sixteenths * 240))
                .filter(|length| lengths.contains(length))
                .collect();
            notes.push(Note {
                start: at,
                pitch,
                duration: choices[turn(choices.len())],
                velocity: 64,
            });
            sounding.begin(&notes[notes.len() - 1]);
            if limits.lacking(at, &sounding) == 0 && turn(2) == 0 {
                break;
            }
        }
    }
    assert!(notes.len() > 60, "{}", notes.len());
    let spans: Vec<_> = chords.over(&bars, 0).collect();
    let mut silent_since = Ticks(0);
    let (mut rests, mut short) = (0, 0);
    for (i, note) in notes.iter().enumerate() {
        assert!(limits.pitches.contains(&note.pitch) && limits.lengths.contains(&note.duration));
        let of = |at: Ticks| {
            notes
                .iter()
                .filter(|n| n.start <= at && n.end() > at)
                .count()
        };
        assert!(
            (2..=3).contains(&of(note.start)),
            "{note:?}: {}",
            of(note.start)
        );
        if note.start > silent_since {
            rests += 1;
            let rest = note.start - silent_since;
            assert!(
                i == 0 || limits.rests.contains(&rest),
                "{rest:?} before {note:?}"
            );
        }
        silent_since = silent_since.max(note.end());
        for (at, symbol) in spans.iter().filter(|(at, _)| at.contains(&note.start)) {
            let fits = |class| symbol.tones().contains(class);
            assert!(!note.start.0.is_multiple_of(960) || fits(note.pitch));
            short += usize::from(note.end() == at.end);
        }
        for (at, symbol) in &spans {
            if note.start < at.start && at.start < note.end() {
                assert!(
                    symbol.tones().contains(note.pitch),
                    "{note:?} over {symbol}"
                );
            }
        }
    }
    assert!(
        rests > 3 && short > 3,
        "{rests} rests, {short} ended by a change"
    );
}

#[test]
fn free_rules_allow_all() {
    let (harmony, limits) = (Harmony::default(), Limits::default());
    let rules = Rules {
        harmony: &harmony,
        limits: &limits,
    };
    let mut sounding = Sounding::new(Ticks(0));
    for start in (0..3840).step_by(10).map(Ticks) {
        assert_eq!(rules.tones(start), Pitches::ALL);
        assert!(rules.limits.have_rested(start, &sounding));
        assert_eq!(rules.limits.lacking(start, &sounding), 0);
        assert_eq!(rules.limits.latest_start(&sounding), None);
        assert_eq!(harmony.leanings(start).count(), 0);
        let duration = Ticks(30_000);
        sounding.begin(&Note {
            start,
            pitch: 60,
            duration,
            velocity: 1,
        });
    }
    let json = serde_json::to_string(&limits).unwrap();
    assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), limits);
    assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), limits);
}
