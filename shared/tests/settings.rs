//! What the settings of encodings change, and that they change nothing else.

mod scores;

use famam_shared::encoding::{Conditioning, Encoding, Spec, Token};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::{Settings, quantize};
use famam_shared::score::{Metre, Note, Score, Tempo, Ticks, Track};
use scores::{GENRES, specs};

/// Notes that start at these ticks, each as long as the time to the next.
fn score(starts: &[u32], end: u32) -> Score {
    let ends = starts.iter().skip(1).copied().chain([end]);
    let note = |((i, &start), end): ((usize, &u32), u32)| Note {
        start: Ticks(start),
        pitch: 60 + i as u8,
        duration: Ticks(end - start),
        velocity: 66,
    };
    Score {
        tracks: vec![Track {
            instrument: Instrument::default(),
            name: Instrument::default().to_string(),
            notes: std::iter::zip(starts.iter().enumerate(), ends)
                .map(note)
                .collect(),
        }],
        end: Ticks(end),
        ..Score::default()
    }
}

/// The stream of a quantized score of one track.
fn stream(encoding: &dyn Encoding, score: &Score) -> Vec<Token> {
    let (quantized, _) = quantize(score, encoding.quantize_settings());
    let body = encoding.encode(&quantized).remove(0);
    let conditioning = Conditioning {
        genre: 0,
        instruments: Some(body.instruments),
        ..Conditioning::default()
    };
    encoding
        .segment(&conditioning, &body.tokens, body.states[0], 0)
        .unwrap()
}

/// The names of a stream's tokens of a kind.
fn named(encoding: &dyn Encoding, stream: &[Token], kind: &str) -> Vec<String> {
    let of_kind = stream.iter().filter(|&&token| encoding.kind(token) == kind);
    of_kind.map(|&token| encoding.name(token)).collect()
}

/// Ticks of an eighth, a sixteenth and a thirty-second, and of their triplets.
const EVEN: [u32; 3] = [480, 240, 120];
const TRIPLETS: [u32; 3] = [320, 160, 80];

/// 96 positions hold every one of these, 48 all but 1/32; what a grid holds comes back as it was, the
/// two kinds apart, however long its last note is, up to four bars.
#[test]
fn triplets_and_thirty_seconds_stay_apart() {
    for (positions, lengths) in [
        (96, &[480_u32, 240, 120, 320, 160, 80][..]),
        (48, &[480, 240, 320, 160, 80]),
    ] {
        let settings = Settings {
            positions_per_bar: positions,
            ..Settings::default()
        };
        settings.check().unwrap();
        let step = settings.step();
        for spec in specs(&settings) {
            let encoding = spec.build(GENRES).unwrap();
            for &length in lengths
                .iter()
                .filter(|&&length| length.is_multiple_of(step))
            {
                let lasts = [length, 3840, 4 * 3840 - step, 4 * 3840];
                // A coarse table has not all of them.
                let known = spec.settings().durations();
                let said = |last: &u32| known.contains(&(last / step));
                for last in lasts.into_iter().filter(said) {
                    let starts: Vec<u32> = (0..24).map(|i| i * length).collect();
                    let score = score(&starts, 23 * length + last);
                    let decoded = encoding.decode(&stream(&*encoding, &score)).unwrap();
                    assert_eq!(decoded.tracks, score.tracks, "{spec:?}, {length}, {last}");
                }
            }
        }
    }
    let on = |step: u32, lengths: [u32; 3]| lengths.map(|length| length.is_multiple_of(step));
    assert_eq!((on(40, EVEN), on(40, TRIPLETS)), ([true; 3], [true; 3]));
    assert_eq!(
        on(80, EVEN),
        [true, true, false],
        "48 positions hold no 1/32"
    );
}

/// A chord in each of five bars, the fourth empty.
fn progression() -> Score {
    let chords: [&[u8]; 5] = [
        &[60, 64, 67],
        &[57, 60, 64],
        &[53, 57, 60],
        &[],
        &[55, 59, 62, 65],
    ];
    let mut score = score(&[], 5 * 3840);
    for (bar, pitches) in (0..).zip(chords) {
        score.tracks[0]
            .notes
            .extend(pitches.iter().map(|&pitch| Note {
                start: Ticks(bar * 3840),
                pitch,
                duration: Ticks(3840),
                velocity: 66,
            }));
    }
    score
}

/// They move with the music, and the music is the same without them.
#[test]
fn each_bar_says_its_chord() {
    let settings = Settings {
        chords: true,
        ..Settings::default()
    };
    let score = progression();
    for spec in specs(&settings) {
        let encoding = spec.build(GENRES).unwrap();
        let said = |stream: &[Token]| named(&*encoding, stream, "chord");
        let stream = stream(&*encoding, &score);
        assert_eq!(
            said(&stream),
            ["chord C", "chord Am", "chord F", "chord none", "chord G7"]
        );
        assert_eq!(encoding.decode(&stream).unwrap().tracks, score.tracks);
        let body = encoding.encode(&quantize(&score, &settings).0).remove(0);
        let nothing = Conditioning::default();
        let higher = encoding
            .segment(&nothing, &body.tokens, body.states[0], 3)
            .unwrap();
        assert_eq!(
            said(&higher),
            [
                "chord Eb",
                "chord Cm",
                "chord Ab",
                "chord none",
                "chord Bb7"
            ]
        );
        // A grammar allows any of them, and nothing else, where one is due.
        let (mut grammar, mut first) = (encoding.grammar(), true);
        for &token in &stream {
            let mut next = famam_shared::encoding::TokenSet::new(encoding.vocabulary_size());
            grammar.allowed(&mut next);
            if encoding.kind(token) == "chord" {
                let kinds: Vec<_> = next.iter().map(|token| encoding.kind(token)).collect();
                let chords = kinds.iter().filter(|kind| **kind == "chord").count();
                assert_eq!(chords, famam_shared::chord::Chord::COUNT);
                let expected = ["chord", "metre", "tempo"];
                // The first bar may decide that there are none.
                let optional = spec.name() == "grid" && first;
                assert!(optional || kinds.iter().all(|kind| expected.contains(kind)));
                first = false;
            }
            grammar.accept(token).unwrap();
        }
    }
}

#[test]
fn a_bar_without_music_says_that_it_rests() {
    let settings = Settings {
        rests: true,
        ..Settings::default()
    };
    let score = progression();
    for mut spec in specs(&settings) {
        if spec.name() == "grid" {
            // There an instrument that rests has no cell.
            continue;
        }
        if let Spec::Mmm(settings) = &mut spec {
            settings.window_bars = 4;
        }
        let encoding = spec.build(GENRES).unwrap();
        let stream = stream(&*encoding, &score);
        // In `event` the ends of the third bar's notes stand in the fourth.
        let rests = usize::from(spec.name() != "event");
        assert_eq!(named(&*encoding, &stream, "rest").len(), rests, "{spec:?}");
        assert_eq!(encoding.decode(&stream).unwrap().tracks, score.tracks);
        let body = encoding.encode(&quantize(&score, &settings).0).remove(0);
        let begin = body.bars[3] as usize;
        let nothing = Conditioning::default();
        let part = encoding
            .segment(&nothing, &body.tokens[begin..], body.states[3], 0)
            .unwrap();
        assert_eq!(named(&*encoding, &part, "rest").len(), 1, "{spec:?}");
        encoding.decode(&part).unwrap();
    }
}

/// What is not said is 120 quarters a minute and the one metre that there is; bar lines are that
/// metre's, and notes stay where they are in time.
#[test]
fn tempos_and_metres_can_be_left_out() {
    let settings = Settings {
        tempos: false,
        time_signature: Some((3, 4)),
        ..Settings::default()
    };
    let score = Score {
        tempos: vec![Tempo {
            at: Ticks(0),
            micros_per_quarter: 400_000,
        }],
        metres: vec![Metre::COMMON],
        ..progression()
    };
    for spec in specs(&settings) {
        let encoding = spec.build(GENRES).unwrap();
        let (quantized, losses) = quantize(&score, &settings);
        assert_eq!((losses.tempos, losses.metres), (1, 1));
        let stream = stream(&*encoding, &score);
        let said = |kind| named(&*encoding, &stream, kind).len();
        assert_eq!((said("tempo"), said("metre")), (0, 0));
        let decoded = encoding.decode(&stream).unwrap();
        assert_eq!(decoded, quantized);
        assert_eq!(decoded.tracks, score.tracks);
        assert_eq!(decoded.tempo_at(Ticks(0)), Tempo::DEFAULT_MICROS);
        assert!(
            decoded
                .bars()
                .all(|bar| bar.end - bar.start == Ticks(3 * 960))
        );
        let state = encoding.bar_state(Metre::COMMON, 400_000);
        assert_eq!(encoding.name(state.metre), "metre 3/4");
        assert_eq!(encoding.name(state.tempo), "tempo 120");
    }
    let error = Settings {
        time_signature: Some((9, 4)),
        ..settings
    };
    let error = error.check().unwrap_err().to_string();
    assert!(
        error.starts_with("time_signature is 9/4: a metre"),
        "{error}"
    );
}

/// Data sets, checkpoints and bundles of before name four settings, and name no more today.
#[test]
fn settings_of_before_are_read_and_written_as_they_were() {
    let before =
        r#"{"positions_per_bar":32,"max_duration_bars":4,"max_metre_bars":2,"velocity_bins":32}"#;
    assert_eq!(
        serde_json::from_str::<Settings>(before).unwrap(),
        Settings::default()
    );
    assert_eq!(serde_json::to_string(&Settings::default()).unwrap(), before);
}
