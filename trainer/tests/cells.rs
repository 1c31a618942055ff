//! What is learned from where cells are said behind all that is known.

mod music;

use std::collections::{BTreeMap, BTreeSet};

use famam_shared::encoding::{Conditioning, Encoding, Spec, Token, grid};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Context;
use famam_shared::quantize;
use famam_trainer::batches::{Draw, Music, Purpose, Segment};
use famam_trainer::config::training::{Config, Uses};
use famam_trainer::scoring::windows;
use music::{check_grammar, music_in, tiny};

fn spec() -> Spec {
    Spec::Grid(grid::Settings::new(quantize::Settings {
        chords: true,
        metre_in_head: true,
        tempo_in_head: true,
        ..grid::Settings::default().music
    }))
}

/// All segments are for the use that this names.
fn only(name: &str) -> Uses {
    let none = Uses {
        continuation: 0.0,
        ..Uses::none_wanted()
    };
    let mut uses = serde_json::to_value(none).unwrap();
    uses[name] = 1.0.into();
    serde_json::from_value(uses).unwrap()
}

fn config(uses: Uses) -> Config {
    Config {
        max_seq_length: 4096,
        segment_bars: Some(6),
        uses,
        ..tiny()
    }
}

fn segments(music: &Music, config: &Config) -> Vec<Segment> {
    let draw = Draw::new(config, music, &music.train);
    draw.segments(Purpose::Step(1), |segments, _| segments >= 200)
}

/// The bars and instruments of the cells that are wanted, and the number of bars.
fn wanted(encoding: &dyn Encoding, segment: &Segment) -> (BTreeSet<(usize, String)>, usize) {
    let (mut wanted, mut bars, mut bar, mut by) = (BTreeSet::new(), 0, 0, String::new());
    let zero = (0..).find(|&token| encoding.kind(token) == "at").unwrap();
    for &token in &segment.tokens[segment.first..] {
        match encoding.kind(token) {
            "bar" => bars += 1,
            "at" => bar = usize::from(token - zero),
            "instrument" => by = encoding.name(token),
            "fill" => drop(wanted.insert((bar, by.clone()))),
            _ => {}
        }
    }
    (wanted, bars)
}

/// Each use by itself: what is wanted has its shape, and the stream is the same music as without it.
#[test]
fn what_is_wanted_is_what_a_use_asks_for() {
    let music = music_in(&spec());
    let encoding = &*music.encoding;
    let continued = segments(&music, &config(only("continuation")));
    for name in [
        "continuation",
        "cells",
        "bars",
        "tracks",
        "sections",
        "ends",
    ] {
        let mut shares = 0.0;
        for segment in segments(&music, &config(only(name))) {
            check_grammar(encoding, &segment.tokens);
            let (wanted, bars) = wanted(encoding, &segment);
            let tracks: BTreeSet<&String> = wanted.iter().map(|(_, by)| by).collect();
            let in_bars: BTreeSet<usize> = wanted.iter().map(|(bar, _)| *bar).collect();
            let (first, last) = (in_bars.first().copied(), in_bars.last().copied());
            let block = wanted.len() == tracks.len() * in_bars.len()
                && last
                    .zip(first)
                    .is_none_or(|(last, first)| last - first + 1 == in_bars.len());
            let all: BTreeSet<String> = segment
                .tokens
                .iter()
                .filter(|token| encoding.kind(**token) == "instrument")
                .map(|&token| encoding.name(token))
                .collect();
            if all.is_empty() {
                // A bar in which nothing plays has no cells.
                assert!(wanted.is_empty());
                continue;
            }
            let right = match name {
                "continuation" => wanted.is_empty(),
                "bars" => block && tracks.len() == 1,
                "tracks" => block && in_bars.len() == bars && tracks.len() < all.len().max(2),
                "sections" => {
                    block && tracks.len() == all.len() && (bars < 3 || in_bars.len() + 2 <= bars)
                }
                "ends" => block && last == Some(bars - 1) && tracks.len() < all.len().max(2),
                _ => true,
            };
            assert!(right, "{name}: {wanted:?} of {bars} bars, {all:?}");
            shares += wanted.len() as f64 / (bars * all.len()) as f64;
        }
        println!("{name}: {:.2} of the cells", shares / 200.0);
        assert_eq!(shares > 0.0, name != "continuation");
    }
    let default = segments(&music, &config(Uses::default()));
    let plain = default
        .iter()
        .filter(|segment| wanted(encoding, segment).0.is_empty());
    let plain = plain.count();
    assert!((70..110).contains(&plain), "{plain} of 200");
    assert!(continued.iter().all(|segment| segment.lost_bars == 0));
}

/// What is too long stays as it was.
#[test]
fn segments_fit() {
    let music = music_in(&spec());
    for max_seq_length in [40, 100, 200, 400] {
        let config = Config {
            max_seq_length,
            ..config(only("cells"))
        };
        for segment in segments(&music, &config) {
            assert!(segment.tokens.len() <= max_seq_length);
            check_grammar(&*music.encoding, &segment.tokens);
        }
    }
}

/// The key that a head says and what it says of tracks are those of the segment as it stands there,
/// transposed or not.
#[test]
fn heads_say_what_is_heard_in_a_segment() {
    let music = music_in(&spec());
    let encoding = &*music.encoding;
    let config = Config {
        unconditioned: 0.0,
        instrument_dropout: 0.0,
        key_dropout: 0.0,
        track_dropout: 0.0,
        chord_dropout: 0.0,
        ..config(only("continuation"))
    };
    let (mut said, mut keys) = (BTreeMap::<&str, usize>::new(), 0);
    for segment in segments(&music, &config) {
        let (head, bars) = segment.tokens.split_at(segment.first);
        let kind = |token: &Token| encoding.kind(*token);
        let state = famam_shared::encoding::BarState {
            metre: bars[1],
            tempo: bars[2],
        };
        let (key, tracks) = encoding.controls(bars, state, 0);
        keys += usize::from(key.is_some());
        let heard = Conditioning {
            instruments: Some(encoding.instruments(&Default::default(), bars)),
            key,
            tracks,
            ..Conditioning::default()
        };
        let heard = encoding.head(&heard);
        // What is said is a part of what is heard, in its order.
        let mut rest = heard.iter();
        let own = head.iter().filter(|token| {
            matches!(
                kind(token),
                "key" | "instrument" | "density" | "polyphony" | "register"
            )
        });
        for token in own {
            assert!(
                rest.any(|other| other == token),
                "{}",
                encoding.name(*token)
            );
            *said.entry(kind(token)).or_default() += 1;
        }
        assert!(bars.iter().any(|token| kind(token) == "chord"));
    }
    println!("{said:?}");
    // Of what sounds all alike, or not at all, there is no key.
    assert!(keys > 150 && said["key"] == keys, "{keys}");
    // Drums have no register.
    for (control, of) in [("density", 3), ("polyphony", 3), ("register", 2)] {
        let share = said[control] as f64 / (said["instrument"] as f64 * f64::from(of) / 3.0);
        assert!((0.35..0.65).contains(&share), "{control}: {share}");
    }
}

/// Scored is the plain form without chords, every token once, whatever the context.
#[test]
fn every_note_is_scored_once_and_no_chord() {
    let music = music_in(&spec());
    let encoding = &*music.encoding;
    let given = Conditioning {
        instruments: Instrument::new(0).map(|piano| [piano].into_iter().collect()),
        ..Conditioning::default()
    };
    for piece in &music.train {
        let mut plain = piece.body.tokens.clone();
        encoding.leave_out_chords(&mut plain);
        assert!(plain.len() < piece.body.tokens.len());
        for (tokens, bars) in [(100, 4), (300, 8), (1024, 300)] {
            let context = Context { tokens, bars };
            let windows = windows(0, &piece.body, encoding, &given, context).unwrap();
            let scored = windows
                .iter()
                .flat_map(|window| &window.tokens[window.first..]);
            let scored: Vec<Token> = scored.copied().collect();
            assert!(scored == plain, "{context:?}");
        }
    }
}
