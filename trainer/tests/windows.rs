//! What is learned from and scored where bars are said together, track by track.

mod music;

use famam_shared::encoding::{Conditioning, Spec, Token, mmm};
use famam_shared::manifest::Context;
use famam_shared::quantize::quantize;
use famam_trainer::batches::{Draw, Music, Purpose, Segment};
use famam_trainer::config::training::Config;
use famam_trainer::scoring::{Window, windows};
use famam_trainer::train::Run;
use music::{check_grammar, data_set, music_in, song, tiny};

fn spec(window_bars: u16) -> Spec {
    Spec::Mmm(mmm::Settings {
        window_bars,
        ..mmm::Settings::default()
    })
}

fn segments(music: &Music, config: &Config) -> Vec<Segment> {
    let draw = Draw::new(config, music, &music.train);
    draw.segments(Purpose::Step(1), |segments, _| segments >= 200)
}

/// Bars of a segment, however long it may be; what does not fit is cut at windows where it can be.
#[test]
fn segments_are_streams_of_windows_and_fit() {
    for (window, bars, tokens) in [
        (2, 4, 1024),
        (2, 8, 300),
        (4, 8, 700),
        (4, 8, 60),
        (1, 4, 200),
    ] {
        let music = music_in(&spec(window));
        let encoding = &*music.encoding;
        let config = Config {
            max_seq_length: tokens,
            segment_bars: Some(bars),
            fill_in: 0.5,
            ..tiny()
        };
        let bar = encoding.special().bar;
        let mut open = 0;
        for segment in segments(&music, &config) {
            assert!(segment.tokens.len() <= tokens);
            assert_eq!(segment.tokens[segment.first], bar);
            check_grammar(encoding, &segment.tokens);
            let said = segment.tokens.iter().filter(|&&token| token == bar).count();
            let kept = segment.asked_bars - segment.lost_bars;
            assert_eq!(said, kept.max(1));
            if segment.lost_bars > 0 && kept > usize::from(window) {
                assert!(kept.is_multiple_of(window.into()), "{kept} of {segment:?}");
            }
            let open_bar = |&&token: &&Token| encoding.kind(token) == "fill placeholder";
            open += usize::from(segment.tokens.iter().find(open_bar).is_some());
        }
        assert!((50..110).contains(&open) || tokens == 60, "{open} of 200");
    }
}

/// The same music, whether bars are left open or not; without `fill_in` none are.
#[test]
fn bars_that_are_left_open_are_filled_with_what_was_there() {
    let music = music_in(&spec(2));
    let config = |fill_in| Config {
        max_seq_length: 4096,
        transpose: None,
        fill_in,
        ..tiny()
    };
    let encoding = &*music.encoding;
    let open = |token: &Token| encoding.kind(*token) == "fill placeholder";
    let closed = segments(&music, &config(0.0));
    assert!(!closed.iter().any(|segment| segment.tokens.iter().any(open)));
    for segment in closed {
        let score = encoding.decode(&segment.tokens).unwrap();
        for nth in 1..5 {
            let (mut filled, mut asked) = (segment.tokens.clone(), 0);
            encoding.fill_in(&mut filled, &mut |_, _| {
                asked += 1;
                asked % nth == 0
            });
            check_grammar(encoding, &filled);
            assert_eq!(encoding.decode(&filled).unwrap(), score);
            let left_open = filled.iter().filter(|token| open(token)).count();
            assert_eq!(
                (left_open, filled.len()),
                (asked / nth, segment.tokens.len() + left_open)
            );
        }
    }
}

/// The windows of a piece say its music once, whatever the context.
#[test]
fn every_bar_of_a_piece_is_scored_once() {
    for (window, density) in [(1, 12), (2, 60), (4, 24), (8, 24)] {
        let spec = spec(window);
        let encoding = spec.build(3).unwrap();
        let (score, _) = quantize(&song(3, 21, density), encoding.quantize_settings());
        let body = encoding.encode(&score).remove(0);
        let given = Conditioning {
            genre: 1,
            instruments: Some(body.instruments),
            ..Conditioning::default()
        };
        let head = encoding.head(&given).len();
        for (tokens, bars) in [
            (40, 8),
            (120, 2),
            (300, 8),
            (1024, 4),
            (1024, 300),
            (1 << 20, 1 << 20),
        ] {
            let context = Context { tokens, bars };
            let windows = windows(0, &body, &*encoding, &given, context).unwrap();
            let mut scored = Vec::new();
            for window in &windows {
                assert!(window.tokens.len() <= tokens && window.first >= head);
                if tokens >= 300 {
                    check_grammar(&*encoding, &window.tokens);
                }
                scored.extend_from_slice(&window.tokens[window.first..]);
            }
            // What sounds, of each track; bars may be said alone where contexts are small.
            let music = |tokens: &[Token]| -> Vec<Token> {
                let kinds = ["pitch", "drum", "duration", "velocity", "eos"];
                let sounds = |token: &&Token| kinds.contains(&encoding.kind(**token));
                let mut music: Vec<Token> = tokens.iter().filter(sounds).copied().collect();
                music.sort_unstable();
                music
            };
            assert!(
                music(&scored) == music(&body.tokens),
                "{window} bars, {context:?}"
            );
            if tokens >= 1 << 20 {
                assert!(*encoding.bar_by_bar(&scored) == body.tokens);
                assert_eq!(windows.len(), 1);
            }
            if tokens == 1024 && bars == 300 {
                let past = |window: &&Window| window.first > head;
                let with_past = windows.iter().filter(past).count();
                assert!(with_past > 0 || window == 8, "{window} bars, {context:?}");
            }
        }
    }
}

#[test]
fn segments_that_hold_no_two_windows_are_refused() {
    let music = music_in(&spec(4));
    let folder = tempfile::tempdir().unwrap();
    let open = |segment_bars| {
        let config = Config {
            segment_bars,
            ..tiny()
        };
        let run = Run::open(config, &music, data_set(), None, folder.path(), 1);
        run.map(|_| ()).map_err(|error| error.to_string())
    };
    let error = open(Some(7)).unwrap_err();
    assert!(
        error.contains("segment_bars is 7: expected two windows"),
        "{error}"
    );
    open(Some(8)).unwrap();
}
