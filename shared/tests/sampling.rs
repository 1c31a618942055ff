//! What sampling promises beyond its filters: what moves logits, each setting, each sentence.

mod hashing;
mod scores;

use std::sync::Arc;

use famam_shared::encoding::{Conditioning, Encoding, Spec, Token, grid};
use famam_shared::generation::{GenerationError, Generator, Request};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::{self, quantize};
use famam_shared::sampling::{Biases, Filter, Kinds, Repetition, Settings, Words};
use famam_shared::score::{Metre, Note, Score, Ticks, Track};
use hashing::Hashing;

fn specs() -> Vec<Spec> {
    let mut specs = scores::specs(&quantize::Settings::default()).to_vec();
    specs.push(scores::merged(&specs[0], &scores::learned(&specs[0], 100)));
    specs
}

/// Bars of four notes of piano and bass each, `pitch` semitones above their roots by bar and note.
fn piece(bars: u32, pitch: impl Fn(u32, u32) -> u8) -> Score {
    let track = |program: u8| {
        let notes = (0..bars).flat_map(|bar| (0..4).map(move |beat| (bar, beat)));
        let notes = notes.map(|(bar, beat)| Note {
            start: Ticks((4 * bar + beat) * 960),
            duration: Ticks(480),
            pitch: 40 + program / 4 + pitch(bar, beat),
            velocity: 100,
        });
        Track {
            instrument: Instrument::new(program).unwrap(),
            notes: notes.collect(),
            name: String::new(),
        }
    };
    Score {
        tracks: vec![track(0), track(33)],
        ..Score::default()
    }
}

/// What an encoding's model is given of a score behind the head, nothing of it merged; of a monophonic
/// one the first track.
fn music(encoding: &dyn Encoding, score: &Score) -> Vec<Token> {
    let (score, _) = quantize(score, encoding.quantize_settings());
    let body = encoding.encode(&score).swap_remove(0);
    let conditioning = Conditioning {
        instruments: Some(body.instruments),
        ..Conditioning::default()
    };
    let stream = encoding.segment(&conditioning, &body.tokens, body.states[0], 0);
    let head = encoding.head(&conditioning).len();
    stream.unwrap()[head..].to_vec()
}

/// For each token of the music what it lost when it came, and the most that any other token lost.
fn lost(encoding: &dyn Encoding, settings: &Settings, music: &[Token]) -> Vec<(f32, f32)> {
    let mut biases = Biases::new(settings, Arc::new(Words::new(encoding)));
    let tokens = 0..encoding.vocabulary_size() as Token;
    let first: Vec<Token> = tokens.map(|token| encoding.expand(&[token])[0]).collect();
    let lost = music.iter().map(|&next| {
        let (mut own, mut others) = (0f32, 0f32);
        for (token, &first) in first.iter().enumerate() {
            let lost = -biases.moved(token as Token, 0.0);
            match first == next {
                true => own = lost,
                false => others = others.max(lost.abs()),
            }
        }
        biases.read(&[next]);
        (own, others)
    });
    lost.collect()
}

fn repetition(strength: f32) -> Settings {
    Settings {
        repetition: Repetition {
            strength,
            decay: 0.5,
        },
        ..Settings::default()
    }
}

#[test]
fn a_token_that_goes_on_repeating_loses_by_the_bars_between() {
    for spec in specs() {
        let encoding = spec.build(scores::GENRES).unwrap();
        let says = |music: &[Token]| lost(&*encoding, &repetition(2.0), music);
        // A figure that comes again in each of nine bars.
        let same = says(&music(&*encoding, &piece(9, |_, beat| beat as u8)));
        assert!(same.iter().all(|(_, others)| *others == 0.0), "{spec:?}");
        let most = same.iter().map(|(own, _)| *own).fold(0.0, f32::max);
        let all: f32 = [1, 2, 4, 8]
            .map(|bars| 2.0 * 0.5f32.powi(bars))
            .iter()
            .sum();
        assert!((most - all).abs() < 1e-6, "{spec:?}: {most} of {all}");
        // In a cell of four notes at least the last three are said behind one.
        let full = same.iter().filter(|(own, _)| (own - all).abs() < 1e-6);
        assert!(full.count() >= 6, "{spec:?}");
        // One that comes again after four bars costs less than at once, and one that never does nothing.
        let phrase = says(&music(
            &*encoding,
            &piece(6, |bar, beat| (bar % 4 + beat * (1 + bar % 4)) as u8),
        ));
        let most = phrase.iter().map(|(own, _)| *own).fold(0.0, f32::max);
        assert!(
            (most - 2.0 * 0.5f32.powi(4)).abs() < 1e-6,
            "{spec:?}: {most}"
        );
        let none = says(&music(
            &*encoding,
            &piece(6, |bar, beat| (4 * bar + beat) as u8),
        ));
        assert!(none.iter().all(|lost| *lost == (0.0, 0.0)), "{spec:?}");
        assert!(
            lost(
                &*encoding,
                &Settings::default(),
                &music(&*encoding, &piece(9, |_, _| 0))
            )
            .iter()
            .all(|lost| *lost == (0.0, 0.0))
        );
    }
}

#[test]
fn instruments_repeat_by_themselves_where_bars_are_said_cell_by_cell() {
    for spec in specs() {
        let encoding = spec.build(scores::GENRES).unwrap();
        if !matches!(spec, Spec::Grid(_) | Spec::Mmm(_)) {
            continue;
        }
        // The bass repeats, the piano never.
        let mut score = piece(4, |bar, beat| (4 * bar + beat) as u8);
        score.tracks[1] = piece(4, |_, beat| beat as u8).tracks.swap_remove(1);
        let lost = lost(&*encoding, &repetition(2.0), &music(&*encoding, &score));
        assert!(lost.iter().any(|(own, _)| *own > 1.0), "{spec:?}");
    }
}

#[test]
fn cells_behind_the_known_ones_are_compared_with_these() {
    let encoding = Spec::Grid(grid::Settings::default())
        .build(scores::GENRES)
        .unwrap();
    let mut stream = music(&*encoding, &piece(3, |_, beat| beat as u8));
    let bass = Instrument::new(33).unwrap();
    encoding.fill_in(&mut stream, &mut |bar, by| bar == 2 && by == bass);
    let behind = stream
        .iter()
        .position(|&token| encoding.kind(token) == "separator")
        .unwrap();
    let lost = lost(&*encoding, &repetition(2.0), &stream);
    let at_once = lost[behind..].iter().filter(|(own, _)| *own == 1.0 + 0.5);
    assert!(
        at_once.count() >= 6,
        "by the bars before, one and two bars away"
    );
}

#[test]
fn more_notes_lies_between_what_begins_notes_and_what_ends_cells() {
    let settings = Settings {
        more_notes: 3.0,
        ..Settings::default()
    };
    for spec in specs() {
        let encoding = spec.build(scores::GENRES).unwrap();
        let biases = Biases::new(&settings, Arc::new(Words::new(&*encoding)));
        let by_cell = matches!(spec, Spec::Grid(_));
        for token in 0..encoding.vocabulary_size() as Token {
            let expected = match encoding.kind(token) {
                "offset" | "pitch" | "drum" | "velocity" => 1.5,
                "bar" | "eos" | "bar end" | "track end" | "fill end" | "done" | "rest" => -1.5,
                "instrument" if !by_cell => 1.5,
                // By the share of a bar that it leaves out.
                "position" | "time shift" => continue,
                "merged" => continue,
                _ => 0.0,
            };
            assert_eq!(
                biases.moved(token, 0.25),
                0.25 + expected,
                "{}",
                encoding.name(token)
            );
        }
    }
}

#[test]
fn more_notes_prefers_what_is_near_in_time() {
    let settings = Settings {
        more_notes: 2.0,
        ..Settings::default()
    };
    for (spec, kind) in [
        (&specs()[0], "position"),
        (&specs()[2], "time shift"),
        (&specs()[4], "position"),
    ] {
        let encoding = spec.build(scores::GENRES).unwrap();
        let bar = f32::from(encoding.quantize_settings().positions_per_bar);
        let times = 0..encoding.vocabulary_size() as Token;
        let times: Vec<Token> = times
            .filter(|&token| encoding.kind(token) == kind)
            .collect();
        let mut biases = Biases::new(&settings, Arc::new(Words::new(&*encoding)));
        biases.read(&[encoding.special().bar]);
        for (steps, &token) in times.iter().enumerate() {
            let expected = 1.0 - 2.0 * (steps as f32 / bar).min(1.0);
            assert_eq!(biases.moved(token, 0.0), expected, "{spec:?}, {steps}");
        }
        // Positions are counted from the last one on.
        biases.read(&[times[7]]);
        let nearest = if kind == "position" { 8 } else { 0 };
        assert_eq!(biases.moved(times[nearest], 0.0), 1.0);
        assert_eq!(biases.moved(times[nearest + 4], 0.0), 1.0 - 8.0 / bar);
        biases.read(&[encoding.special().bar]);
        assert_eq!(biases.moved(times[4], 0.0), 1.0 - 8.0 / bar);
    }
}

#[test]
fn the_token_penalty_makes_what_was_said_less_likely() {
    let encoding = specs()[0].build(scores::GENRES).unwrap();
    let settings = Settings {
        token_penalty: 2.0,
        ..Settings::default()
    };
    let mut biases = Biases::new(&settings, Arc::new(Words::new(&*encoding)));
    let pitch = (0..)
        .find(|&token| encoding.kind(token) == "pitch")
        .unwrap();
    let bar = encoding.special().bar;
    assert_eq!(biases.moved(pitch, 3.0), 3.0);
    biases.read(&[bar, pitch]);
    assert_eq!(
        [biases.moved(pitch, 3.0), biases.moved(pitch, -3.0)],
        [1.5, -6.0]
    );
    assert_eq!(biases.moved(bar, 3.0), 3.0, "bars must end");
    biases.clear();
    assert_eq!(biases.moved(pitch, 3.0), 3.0);
}

fn request(sampling: Settings) -> Request {
    let band = [
        Instrument::DRUMS,
        Instrument::default(),
        Instrument::new(33).unwrap(),
    ];
    Request {
        conditioning: Conditioning {
            instruments: Some(band.into_iter().collect()),
            ..Conditioning::default()
        },
        bars: 8,
        metre: Metre::COMMON,
        micros_per_quarter: 500_000,
        seed: 5,
        sampling,
        max_tokens: None,
    }
}

fn generated(engine: &Hashing, sampling: Settings) -> Vec<Vec<Token>> {
    let generator = Generator::new(engine, request(sampling), Arc::default()).unwrap();
    generator.map(|bar| bar.unwrap().tokens).collect()
}

/// Settings of which one field each is another than the default.
fn changed() -> Vec<(&'static str, Settings)> {
    let filter = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    let kinds = |change: fn(&mut Kinds, Filter), by: fn(&mut Filter)| {
        let mut settings = Settings::default();
        change(&mut settings.kinds, filter(by));
        settings
    };
    let plain = Settings::default();
    vec![
        (
            "temperature",
            Settings {
                temperature: 0.5,
                ..plain
            },
        ),
        ("top_k", Settings { top_k: 3, ..plain }),
        (
            "top_k_offset",
            Settings {
                top_k_offset: 2,
                ..plain
            },
        ),
        (
            "top_p",
            Settings {
                top_p: 0.5,
                ..plain
            },
        ),
        (
            "min_p",
            Settings {
                min_p: 0.5,
                ..plain
            },
        ),
        (
            "token_penalty",
            Settings {
                token_penalty: 2.0,
                ..plain
            },
        ),
        (
            "more_notes",
            Settings {
                more_notes: 2.0,
                ..plain
            },
        ),
        (
            "rhythm.temperature",
            kinds(
                |kinds, own| kinds.rhythm = own,
                |own| own.temperature = Some(0.3),
            ),
        ),
        (
            "pitch.top_k",
            kinds(|kinds, own| kinds.pitch = own, |own| own.top_k = Some(2)),
        ),
        (
            "pitch.top_k_offset",
            kinds(
                |kinds, own| kinds.pitch = own,
                |own| own.top_k_offset = Some(2),
            ),
        ),
        (
            "velocity.top_p",
            kinds(
                |kinds, own| kinds.velocity = own,
                |own| own.top_p = Some(0.2),
            ),
        ),
        (
            "velocity.min_p",
            kinds(
                |kinds, own| kinds.velocity = own,
                |own| own.min_p = Some(0.8),
            ),
        ),
    ]
}

#[test]
fn every_setting_changes_the_notes_and_comes_back_from_json() {
    let engine = Hashing::new(specs()[0].clone(), 2, 8.0);
    let plain = generated(&engine, Settings::default());
    for (name, settings) in changed() {
        settings.check().unwrap();
        let other = generated(&engine, settings);
        assert!(other != plain, "{name}");
        assert!(
            other == generated(&engine, settings),
            "{name}: the same notes again"
        );
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<Settings>(&json).unwrap(),
            settings,
            "{name}: {json}"
        );
    }
    // It says again what it said after the same token, so that there is something to repeat.
    let engine = Hashing::new(specs()[0].clone(), 1, 4.0);
    let with = |strength, decay| {
        let repetition = Repetition { strength, decay };
        let greedy = Settings {
            temperature: 0.0,
            repetition,
            ..Settings::default()
        };
        let json = serde_json::to_string(&greedy).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), greedy);
        generated(&engine, greedy)
    };
    assert!(with(0.0, 0.9) != with(20.0, 0.9), "repetition.strength");
    assert!(with(0.0, 0.9) == with(20.0, 0.0), "repetition.decay");
}

#[test]
fn filters_are_read_from_text() {
    let expected = Filter {
        temperature: Some(0.5),
        top_k: Some(5),
        top_k_offset: Some(1),
        top_p: Some(0.9),
        min_p: Some(0.1),
    };
    let all = "temperature=0.5,top-k=5, top-k-offset=1,top-p=0.9,min-p=0.1";
    assert_eq!(all.parse(), Ok(expected));
    let one = Filter {
        top_k: Some(3),
        ..Filter::default()
    };
    assert_eq!("top-k=3".parse(), Ok(one));
    for wrong in [
        "",
        "top-k",
        "top-k=",
        "top-k=-1",
        "top-k=2.5",
        "top_k=2",
        "top-k=2,,",
    ] {
        let error = wrong.parse::<Filter>().unwrap_err().to_string();
        assert!(
            error.ends_with("as in top-k=5,top-p=0.9"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn settings_of_older_manifests_open_and_are_written_as_they_were() {
    let old = r#"{"temperature":1.0,"top_k":0,"top_p":0.97}"#;
    let settings: Settings = serde_json::from_str(old).unwrap();
    let plain = Settings {
        top_p: 0.97,
        ..Settings::default()
    };
    assert_eq!(settings, plain);
    assert_eq!(serde_json::to_string(&settings).unwrap(), old);
}

#[test]
fn what_makes_no_sense_is_refused_in_a_sentence() {
    let plain = Settings::default();
    let mut kind = plain;
    kind.kinds.rhythm.top_p = Some(-1.0);
    for (settings, expected) in [
        (
            Settings {
                temperature: f32::NAN,
                ..plain
            },
            "temperature is NaN: expected 0 (the likeliest) to 100",
        ),
        (
            Settings {
                top_p: 1.5,
                ..plain
            },
            "top_p is 1.5: expected 0 to 1 (off)",
        ),
        (
            Settings {
                min_p: -0.1,
                ..plain
            },
            "min_p is -0.1: expected 0 (off) to 1",
        ),
        (kind, "top_p is -1: expected 0 to 1 (off)"),
        (
            Settings {
                token_penalty: 0.5,
                ..plain
            },
            "token_penalty is 0.5: expected 1 (off) to 10",
        ),
        (
            repetition(f32::INFINITY),
            "repetition.strength is inf: expected nats from -20 (repeats) to 20 (does not), 0 for off",
        ),
        (
            Settings {
                more_notes: 21.0,
                ..plain
            },
            "more_notes is 21: expected -20 (fewer notes) to 20 (more), 0 for neither",
        ),
        (
            Settings { beam: 11, ..plain },
            "beam is 11: expected 0 (off) to 10",
        ),
    ] {
        assert_eq!(settings.check().unwrap_err().to_string(), expected);
        let engine = Hashing::new(specs()[0].clone(), 2, 8.0);
        let refused = Generator::new(&engine, request(settings), Arc::default());
        assert!(
            matches!(refused, Err(GenerationError::Sampling(_))),
            "{expected}"
        );
    }
}

#[test]
fn more_notes_gives_more_and_repetition_gives_fewer_bars_alike() {
    let engine = Hashing::new(specs()[0].clone(), 1, 4.0);
    let notes = |more_notes| -> usize {
        let settings = Settings {
            more_notes,
            ..Settings::default()
        };
        let generator = Generator::new(&engine, request(settings), Arc::default()).unwrap();
        generator.map(|bar| bar.unwrap().notes.len()).sum()
    };
    let counts = [-4.0, -2.0, 0.0, 1.0].map(notes);
    assert!(counts.is_sorted() && counts[0] < counts[3], "{counts:?}");
    let alike = |strength| {
        let greedy = Settings {
            temperature: 0.0,
            ..repetition(strength)
        };
        let bars = generated(&engine, greedy);
        (2..bars.len())
            .filter(|&bar| bars[bar] == bars[bar - 1])
            .count()
    };
    assert!(
        alike(0.0) > 3 && alike(20.0) == 0,
        "{} {}",
        alike(0.0),
        alike(20.0)
    );
}
