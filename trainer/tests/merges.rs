//! Byte pairs on the trainer's side: learned as the `tokenizers` crate does, the same each time, and
//! merged in all that training and scoring look at.

mod music;
mod tunes;

use std::collections::HashMap;

use famam_shared::encoding::merges::words;
use famam_shared::encoding::{Body, Conditioning, Encoding, Pair, Spec, Token};
use famam_shared::manifest::Context;
use famam_shared::quantize::quantize;
use famam_trainer::batches::{Draw, Music, Purpose};
use famam_trainer::config::dataset::{Config, EncoderType};
use famam_trainer::config::training;
use famam_trainer::dataset::{Dataset, Piece};
use famam_trainer::merges::Sample;
use famam_trainer::scoring::windows;
use music::song;
use tokenizers::Model;
use tokenizers::models::bpe::BPE;
use tunes::{built, config, put};

const ENCODERS: [EncoderType; 5] = [
    EncoderType::Multitrack,
    EncoderType::Remi,
    EncoderType::Event,
    EncoderType::Mmm,
    EncoderType::Grid,
];

/// A data set of 30 songs with `merges` byte pairs.
fn data_set(folder: &std::path::Path, encoder_type: EncoderType, merges: usize) -> Dataset {
    let midi = folder.join("midi");
    if !midi.exists() {
        for i in 0..20 {
            put(&midi, &format!("a/{i}.mid"), &song(i, 10, 14));
        }
    }
    let config = Config {
        encoder_type,
        merges,
        enable_transposition: true,
        segment_bars: Some(4),
        window_bars: 2,
        validation_fraction: 0.2,
        ..config(&midi, &folder.join(format!("{encoder_type:?}-{merges}.h5")))
    };
    built(&config).1
}

/// The crate's own model of the same pairs, over the characters that stand for tokens.
fn theirs(encoding: &dyn Encoding, pairs: &[Pair]) -> BPE {
    let merges = encoding.merges().unwrap();
    let text = |tokens: &[Token]| -> String { tokens.iter().map(|&t| character(t)).collect() };
    let number = |token: Token| text(merges.expansion(&token));
    let mut vocabulary: HashMap<String, u32> = HashMap::new();
    vocabulary.extend((0..merges.tokens().start).map(|token| (text(&[token]), u32::from(token))));
    let merged = merges
        .tokens()
        .map(|token| (text(merges.expansion(&token)), u32::from(token)));
    vocabulary.extend(merged);
    let pairs = pairs
        .iter()
        .map(|&(left, right)| (number(left), number(right)));
    BPE::builder()
        .vocab_and_merges(
            vocabulary.into_iter().collect::<HashMap<_, _, _>>(),
            pairs.collect(),
        )
        .build()
        .unwrap()
}

fn character(token: Token) -> char {
    char::from_u32(0x10000 + u32::from(token)).unwrap()
}

#[test]
fn merging_gives_what_the_crate_gives() {
    let folder = tempfile::tempdir().unwrap();
    for encoder in ENCODERS {
        let data_set = data_set(folder.path(), encoder, 200);
        let encoding = data_set.encoder().unwrap();
        assert_eq!(
            encoding.merges().unwrap().tokens().len(),
            200,
            "{encoder:?}"
        );
        let model = theirs(&*encoding, data_set.encoding().merges());
        let check = |word: &[Token]| {
            let text: String = word.iter().map(|&token| character(token)).collect();
            let theirs = model.tokenize(&text).unwrap();
            let theirs: Vec<Token> = theirs.iter().map(|token| token.id as Token).collect();
            assert_eq!(encoding.merge(word), theirs);
        };
        let (mut tokens, mut merged) = (Vec::new(), 0);
        for i in 0..data_set.len() {
            let body = data_set.piece(i).unwrap().body;
            for word in words(encoding.lexicon(), &body.tokens) {
                check(word);
                tokens.extend_from_slice(word);
                merged += encoding.merge(word).len();
            }
        }
        assert!(
            20 * merged < 19 * tokens.len(),
            "{merged} of {}",
            tokens.len()
        );
        // Random ones, of the tokens that occur.
        let mut random = 1u64;
        for length in 0..400 {
            let word = (0..length).map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                tokens[(random >> 33) as usize % tokens.len()]
            });
            check(&word.collect::<Vec<_>>());
        }
    }
}

/// However the crate's hash tables happen to be ordered and its threads to run.
#[test]
fn the_same_music_gives_the_same_pairs_each_time() {
    let encoding = Spec::Multitrack(Default::default()).build(1).unwrap();
    let mut sample = Sample::new(3);
    for seed in 0..60 {
        let (score, _) = quantize(&song(seed, 8, 20), encoding.quantize_settings());
        sample.show(&encoding.encode(&score)[0]);
    }
    let learn = || {
        sample
            .learn(|_| true, &*encoding, &[-2, 0, 5], 600)
            .unwrap()
    };
    let first = learn();
    assert!(first.len() >= 600);
    for _ in 0..12 {
        assert_eq!(learn(), first);
    }
    // Of the pieces that it is told to learn from, and of nothing where there are none.
    assert_ne!(
        sample.learn(|i| i % 2 == 0, &*encoding, &[0], 600).unwrap(),
        first
    );
    assert_eq!(sample.learn(|_| false, &*encoding, &[0], 600).unwrap(), []);
}

#[test]
fn a_data_set_keeps_its_tokens_and_its_pairs() {
    let folder = tempfile::tempdir().unwrap();
    for encoder in ENCODERS {
        let plain = data_set(folder.path(), encoder, 0);
        let merged = data_set(folder.path(), encoder, 100);
        let bytes = || std::fs::read(merged.path()).unwrap();
        let before = bytes();
        data_set(folder.path(), encoder, 100);
        assert!(before == bytes(), "the same files give the same bytes");
        assert_eq!(merged.encoding().base(), plain.encoding());
        for i in 0..plain.len() {
            assert_eq!(plain.piece(i).unwrap(), merged.piece(i).unwrap());
        }
    }
}

/// A segment is what the same segment is with nothing merged, and then merged: transposition is
/// exact, and where there is no room for all of its bars, it has fewer.
#[test]
fn segments_are_cut_and_transposed_before_they_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    for encoder in ENCODERS {
        let plain = Music::read(&data_set(folder.path(), encoder, 0)).unwrap();
        let merged = Music::read(&data_set(folder.path(), encoder, 200)).unwrap();
        let encoding = &*merged.encoding;
        for max_seq_length in [4096, 60, 30] {
            let training = training::Config {
                max_seq_length,
                fill_in: 0.0,
                uses: training::Uses::none_wanted(),
                ..music::tiny()
            };
            let draw = |music: &Music| {
                let wide = training::Config {
                    max_seq_length: 4096,
                    ..training.clone()
                };
                let config = if std::ptr::eq(music, &plain) {
                    &wide
                } else {
                    &training
                };
                let draw = Draw::new(config, music, &music.train);
                draw.segments(Purpose::Step(1), |segments, _| segments >= 300)
            };
            let (mut cut, mut longest) = (0, 0);
            for (whole, seen) in std::iter::zip(draw(&plain), draw(&merged)) {
                assert!(seen.tokens.len() <= max_seq_length);
                longest = longest.max(seen.tokens.len());
                let (head, bars) = seen.tokens.split_at(seen.first);
                let bars = encoding.expand(bars);
                let kept = seen.asked_bars - seen.lost_bars;
                // Fewer bars than are said together make a window of their own.
                let whole_windows = |bars| kept > 0 && kept % bars == 0;
                if encoding.window_bars().is_none_or(whole_windows) {
                    assert!(whole.tokens[whole.first..].starts_with(&bars));
                }
                assert_eq!(encoding.decode(&seen.tokens).map(drop), Ok(()));
                let fits = bars.len() == whole.scored();
                assert_eq!(fits, seen.lost_bars == 0, "{whole:?} {seen:?}");
                assert_eq!(seen.asked_bars, whole.asked_bars);
                let bar = encoding.special().bar;
                let count = bars.iter().filter(|&&token| token == bar).count();
                // Where a first window is cut, its bars are said all the same.
                if kept > 0 || encoding.window_bars().is_none() {
                    assert_eq!(count, kept.max(1));
                }
                if seen.lost_bars < seen.asked_bars {
                    let again = [head, &bars].concat();
                    assert_eq!(encoding.merge(&again), seen.tokens, "it is merged whole");
                }
                // The head says what plays in the bars that are left.
                if head.len() > 2
                    && head[2..] != whole.tokens[2..3]
                    && encoder == EncoderType::Multitrack
                {
                    let given = encoding.instruments(&Body::default(), &bars);
                    let given = Conditioning {
                        genre: 0,
                        instruments: Some(given),
                        ..Conditioning::default()
                    };
                    assert_eq!(head[2..], encoding.head(&given)[2..]);
                }
                cut += usize::from(!fits);
            }
            assert_eq!(cut > 0, max_seq_length < 4096, "{encoder:?}");
            if cut > 0 {
                assert!(4 * longest >= 3 * max_seq_length, "{longest}");
            }
        }
    }
}

/// Each base token of a piece is in what is scored once, whatever the context.
#[test]
fn every_token_is_scored_once() {
    let folder = tempfile::tempdir().unwrap();
    // Those whose streams have their bars as a body has.
    for encoder in &ENCODERS[..3] {
        let data_set = data_set(folder.path(), *encoder, 200);
        let encoding = data_set.encoder().unwrap();
        let base = data_set.encoding().base().build(1).unwrap();
        for i in (0..data_set.len()).step_by(5) {
            let Piece { body, .. } = data_set.piece(i).unwrap();
            let given = Conditioning {
                genre: 0,
                instruments: Some(body.instruments),
                ..Conditioning::default()
            };
            for (tokens, bars) in [(40, 2), (64, 8), (128, 3), (300, 300), (4096, 300)] {
                let context = Context { tokens, bars };
                let scored = |encoding: &dyn Encoding| -> (Vec<Token>, usize) {
                    let windows = windows(0, &body, encoding, &given, context).unwrap();
                    let scored = windows.iter().flat_map(|window| {
                        assert!(window.tokens.len() <= tokens);
                        encoding.expand(&window.tokens[window.first..]).into_owned()
                    });
                    (scored.collect(), windows.len())
                };
                let (with, windows_with) = scored(&*encoding);
                let (_, windows_without) = scored(&*base);
                // In `event` an end whose note began before a window is not in it.
                if *encoder != EncoderType::Event || windows_with == 1 {
                    assert_eq!(with, body.tokens);
                }
                if tokens >= 300 {
                    assert!(windows_with <= windows_without, "a window holds more");
                }
                if tokens == 4096 {
                    let window = &windows(0, &body, &*encoding, &given, context).unwrap()[0];
                    let stream = [encoding.head(&given), body.tokens.clone()].concat();
                    assert_eq!(window.tokens, *encoding.merge(&stream));
                }
            }
        }
    }
}
