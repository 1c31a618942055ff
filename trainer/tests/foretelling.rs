//! What is learned from and what is scored: every token once, in streams that the grammar allows.

mod music;

use std::collections::{BTreeMap, BTreeSet};

use famam_shared::encoding::{Body, Conditioning, Spec, Token};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Context;
use famam_shared::quantize::quantize;
use famam_shared::score::Score;
use famam_trainer::batches::{Draw, Music, Purpose, Segment};
use famam_trainer::config::training::Config;
use famam_trainer::dataset::{Piece, Split};
use famam_trainer::evaluate::{Subject, evaluate};
use famam_trainer::model::Model;
use famam_trainer::scoring::{Scorer, windows};
use famam_trainer::train::Run;
use music::{check_grammar, data_set, music, piece, song, spec, tiny, vocabulary};

fn segments(config: &Config, step: u64, count: usize) -> Vec<Segment> {
    let music = music();
    let draw = Draw::new(config, &music, &music.train);
    draw.segments(Purpose::Step(step), |segments, _| segments >= count)
}

#[test]
fn segments_are_streams_of_whole_bars_and_fit() {
    let encoding = spec().build(3).unwrap();
    let special = encoding.special();
    for max_seq_length in [16, 64, 128, 1024] {
        let config = Config {
            max_seq_length,
            ..tiny()
        };
        let segments = segments(&config, 1, 400);
        let mut ends = 0;
        let mut conditioned_segments = 0;
        for segment in &segments {
            let tokens = &segment.tokens;
            assert!(tokens.len() <= max_seq_length, "{} tokens", tokens.len());
            assert_eq!(
                (tokens[0], tokens[segment.first]),
                (special.bos, special.bar)
            );
            let bars = tokens.iter().filter(|&&token| token == special.bar).count();
            assert!((1..=4).contains(&bars));
            let kept = segment.asked_bars - segment.lost_bars;
            assert!(segment.asked_bars <= 4 && bars == kept.max(1));
            // The instruments that are given are those that occur, no more and no fewer.
            let given = &tokens[2..segment.first];
            if given != &encoding.head(&Conditioning::default())[2..] {
                let occur = Conditioning {
                    genre: 0,
                    instruments: Some(
                        encoding.instruments(&Body::default(), &tokens[segment.first..]),
                    ),
                    ..Conditioning::default()
                };
                assert_eq!(given, &encoding.head(&occur)[2..]);
                conditioned_segments += 1;
            }
            check_grammar(&*encoding, tokens);
            ends += tokens.iter().filter(|&&token| token == special.eos).count();
            assert!(!tokens[..tokens.len() - 1].contains(&special.eos));
        }
        println!("{max_seq_length}: {ends} of {} end", segments.len());
        assert!(conditioned_segments > 100);
        let lost: usize = segments.iter().map(|segment| segment.lost_bars).sum();
        assert_eq!(lost == 0, max_seq_length == 1024, "{lost} bars lost");
        if max_seq_length == 1024 {
            assert!(ends > 40, "pieces end now and then");
            let conditioned =
                |what: &dyn Fn(&Segment) -> bool| segments.iter().filter(|s| what(s)).count();
            let genre = encoding.head(&Conditioning {
                genre: 1,
                instruments: None,
                ..Conditioning::default()
            })[1];
            let any = encoding.head(&Conditioning::default());
            assert!((60..200).contains(&conditioned(&|s| s.tokens[1] == genre)));
            assert!((100..280).contains(&conditioned(&|s| s.tokens[2] == any[2])));
            assert!(conditioned(&|s| s.tokens[..3] == any[..]) > 80);
        }
    }
}

#[test]
fn without_a_limit_on_bars_none_are_lost() {
    let config = Config {
        segment_bars: None,
        ..tiny()
    };
    for segment in segments(&config, 1, 200) {
        assert_eq!(segment.lost_bars, 0);
    }
}

/// All pitches of the songs are above 27, so that none can be 100 higher.
#[test]
fn a_shift_out_of_midis_range_is_left_out() {
    let shifted = |by| Config {
        transpose: Some((by, by)),
        ..tiny()
    };
    let segments = |config: Config| segments(&config, 1, 200);
    assert_eq!(segments(shifted(100)), segments(shifted(0)));
    assert_eq!(segments(shifted(-81)), segments(shifted(0)));
    assert_ne!(segments(shifted(3)), segments(shifted(0)));
}

#[test]
fn weights_that_leave_nothing_to_draw_are_refused() {
    let music = music();
    let open = |weights: [f64; 2]| {
        let folder = tempfile::tempdir().unwrap();
        let sources = ["arranged", "band"].map(str::to_owned);
        let config = Config {
            source_weights: std::iter::zip(sources, weights).collect(),
            ..tiny()
        };
        let run = Run::open(config, &music, data_set(), None, folder.path(), 1);
        run.map(|_| ()).map_err(|error| error.to_string())
    };
    open([1.0, 0.0]).unwrap();
    let error = open([0.0, 0.0]).unwrap_err();
    assert!(
        error.contains("source_weights") && error.contains("arranged, band"),
        "{error}"
    );
}

#[test]
fn segments_are_a_function_of_the_step() {
    let config = tiny();
    assert_eq!(segments(&config, 3, 10), segments(&config, 3, 10));
    assert_ne!(segments(&config, 3, 10), segments(&config, 4, 10));
    let reseeded = Config {
        random_seed: 1,
        ..tiny()
    };
    assert_ne!(segments(&config, 3, 10), segments(&reseeded, 3, 10));
}

#[test]
fn shifts_move_pitches_and_leave_drums() {
    let encoding = spec().build(3).unwrap();
    let still = Config {
        transpose: Some((0, 0)),
        ..tiny()
    };
    let fifth = Config {
        transpose: Some((7, 7)),
        ..tiny()
    };
    let pitches = |score: &Score, drums: bool| -> Vec<i32> {
        let tracks = score
            .tracks
            .iter()
            .filter(|track| track.instrument.is_drums() == drums);
        tracks
            .flat_map(|track| &track.notes)
            .map(|note| i32::from(note.pitch))
            .collect()
    };
    for (a, b) in std::iter::zip(segments(&still, 1, 100), segments(&fifth, 1, 100)) {
        let (a, b) = (encoding.decode(&a.tokens), encoding.decode(&b.tokens));
        // A segment may be cut inside of a note.
        let (Ok(a), Ok(b)) = (a, b) else { continue };
        assert_eq!(pitches(&a, true), pitches(&b, true));
        let up: Vec<i32> = pitches(&a, false).iter().map(|pitch| pitch + 7).collect();
        assert_eq!(up, pitches(&b, false));
    }
}

/// The tokens that the windows of a body score, and what is right about each window.
fn scored(body: &Body, context: Context, conditioning: &Conditioning) -> Vec<Token> {
    let encoding = spec().build(3).unwrap();
    let mut scored = Vec::new();
    let windows = windows(0, body, &*encoding, conditioning, context).unwrap();
    for (i, window) in windows.iter().enumerate() {
        let tokens = &window.tokens;
        assert!(
            tokens.len() <= context.tokens,
            "{} tokens in {context:?}",
            tokens.len()
        );
        // A smaller window may have to begin inside of a chord.
        if context.tokens >= 300 {
            check_grammar(&*encoding, tokens);
        }
        let head = encoding.head(conditioning);
        assert_eq!(tokens[..head.len()], head);
        if i == 0 {
            assert_eq!(window.first, head.len(), "nothing of the music is given");
        }
        assert!(window.first < tokens.len());
        scored.extend_from_slice(&tokens[window.first..]);
    }
    scored
}

#[test]
fn every_token_of_a_piece_is_scored_once() {
    let encoding = spec().build(3).unwrap();
    for (seed, bars, density) in [(1, 1, 3), (2, 3, 40), (3, 40, 12), (4, 17, 90), (5, 9, 600)] {
        let piece = piece(&song(seed, bars, density), 0, Split::Test);
        for tokens in [24, 60, 128, 300, 1024] {
            for bars in [1, 2, 3, 8, 300] {
                let given = Conditioning {
                    genre: 1,
                    instruments: Some(piece.body.instruments),
                    ..Conditioning::default()
                };
                for conditioning in [Conditioning::default(), given] {
                    let scored = scored(&piece.body, Context { tokens, bars }, &conditioning);
                    assert!(
                        scored == piece.body.tokens,
                        "{seed}: {tokens} tokens, {bars} bars"
                    );
                }
            }
        }
        // Where bars fit, half of a window's bars stand before what it scores.
        let context = Context {
            tokens: 100_000,
            bars: 8,
        };
        let nothing = Conditioning::default();
        let windows = windows(0, &piece.body, &*encoding, &nothing, context).unwrap();
        for window in windows.iter().skip(1) {
            let past = &window.tokens[..window.first];
            let bar = encoding.special().bar;
            assert!(past.iter().filter(|&&token| token == bar).count() >= 4);
        }
    }
}

/// Monophonic encodings: a segment says its instrument even where it rests, and every token is
/// scored once, but for the ends of notes that a window does not see begin.
#[test]
fn parts_are_learned_and_scored_by_their_instruments() {
    for spec in [Spec::Remi, Spec::Event].map(|spec| spec(Default::default())) {
        let encoding = spec.build(3).unwrap();
        let bodies = |seed: u64| {
            let score = song(seed, 9 + seed as u32, 30);
            encoding.encode(&quantize(&score, encoding.quantize_settings()).0)
        };
        let pieces = |seeds: std::ops::Range<u64>| -> Vec<Piece> {
            let piece = |body| Piece {
                body,
                ..piece(&song(1, 4, 12), 1, Split::Train)
            };
            seeds.flat_map(bodies).map(piece).collect()
        };
        let music = Music {
            encoding: spec.build(3).unwrap(),
            spec: spec.clone(),
            train: pieces(0..4),
            ..music()
        };
        let config = Config {
            max_seq_length: 200,
            ..tiny()
        };
        let draw = Draw::new(&config, &music, &music.train);
        let segments = draw.segments(Purpose::Step(1), |segments, _| segments >= 300);
        let mut heads = BTreeSet::new();
        for segment in &segments {
            check_grammar(&*encoding, &segment.tokens);
            heads.insert(encoding.name(segment.tokens[segment.first - 1]));
        }
        let drums = "instrument Drums".to_owned();
        assert!(heads.len() == 4 && heads.contains(&drums), "{heads:?}");
        for body in music.train.iter().map(|piece| &piece.body) {
            let given = Conditioning {
                genre: 1,
                instruments: Some(body.instruments),
                ..Conditioning::default()
            };
            for (tokens, bars) in [(40, 2), (64, 8), (300, 4), (1024, 300)] {
                let context = Context { tokens, bars };
                let windows = windows(0, body, &*encoding, &given, context).unwrap();
                let mut scored = Vec::new();
                for window in &windows {
                    assert!(window.tokens.len() <= tokens);
                    if tokens >= 300 {
                        check_grammar(&*encoding, &window.tokens);
                    }
                    scored.extend_from_slice(&window.tokens[window.first..]);
                }
                let of = |tokens: &[Token], ends: bool| -> Vec<Token> {
                    let end = |token| matches!(encoding.kind(token), "note end" | "time shift");
                    tokens.iter().copied().filter(|&t| end(t) == ends).collect()
                };
                assert_eq!(of(&scored, false), of(&body.tokens, false));
                let (some, all) = (of(&scored, true).len(), of(&body.tokens, true).len());
                assert!(some <= all && 10 * some >= 8 * all, "{some} of {all}");
                if tokens == 1024 {
                    assert_eq!(scored, body.tokens);
                }
            }
        }
    }
}

#[test]
fn a_context_with_hardly_any_room_is_refused_and_one_without_a_limit_is_not() {
    let encoding = spec().build(3).unwrap();
    let piece = piece(&song(5, 9, 600), 0, Split::Test);
    let bars = usize::MAX;
    for instruments in 0..=10 {
        let conditioning = Conditioning {
            genre: 1,
            instruments: Some((0..instruments).filter_map(Instrument::new).collect()),
            ..Conditioning::default()
        };
        let head = encoding.head(&conditioning).len();
        let mut seen = 0;
        for tokens in 0..40 {
            let context = Context { tokens, bars };
            match windows(0, &piece.body, &*encoding, &conditioning, context) {
                Ok(_) => {
                    seen += 1;
                    let scored = scored(&piece.body, context, &conditioning);
                    assert!(scored == piece.body.tokens, "{tokens} tokens");
                }
                Err(error) => {
                    assert_eq!(seen, 0, "what is wider is wide enough");
                    let least = format!("but {} at least", head + 9);
                    assert!(error.to_string().contains(&least), "{error}");
                }
            }
        }
        assert_eq!(seen, 40 - head - 9);
    }
}

/// A model that foretells nothing needs log2 of the vocabulary for each token, and log2 of what the
/// grammar allows with it.
#[test]
fn a_model_that_knows_nothing_costs_what_chance_costs() {
    let music = music();
    let vocabulary_size = music.encoding.vocabulary_size();
    let model = Model::new(&tiny().architecture(vocabulary_size), 1, tch::Device::Cpu);
    tch::no_grad(|| {
        let (_, embedding) = &model.weights()[0];
        let _ = embedding.shallow_clone().zero_();
    });
    let pieces: Vec<_> = (0..5)
        .map(|i| piece(&song(i, 12, 20), i as usize, Split::Test))
        .collect();
    let mut subject = Subject {
        scorers: vec![
            Scorer::Torch(model.replica().into()),
            Scorer::Torch(model.into()),
        ],
        spec: spec(),
        vocabulary: vocabulary(),
        context: Context {
            tokens: 128,
            bars: 4,
        },
        engine: "libtorch".to_owned(),
    };
    let report = evaluate(&mut subject, &vocabulary(), &pieces, 0).unwrap();
    let tokens: usize = pieces.iter().map(|piece| piece.body.tokens.len()).sum();
    let notes: u64 = pieces.iter().map(|piece| u64::from(piece.notes)).sum();
    assert_eq!(
        (report.free.all.tokens, report.notes),
        (tokens as u64, notes)
    );
    let chance = tokens as f64 * (vocabulary_size as f64).log2() / notes as f64;
    // All of a piece in one window: by hand, what the grammar allows before each of its tokens.
    subject.context = Context {
        tokens: 1 << 16,
        bars: 1 << 16,
    };
    let whole = evaluate(&mut subject, &vocabulary(), &pieces, 0).unwrap();
    for (figures, given) in [(&whole.free, false), (&whole.conditioned, true)] {
        let conditioning = |piece: &Piece| match given {
            false => Conditioning::default(),
            true => Conditioning {
                genre: piece.genre,
                instruments: Some(piece.body.instruments),
                ..Conditioning::default()
            },
        };
        let mut bits = 0.0;
        for piece in &pieces {
            let mut grammar = music.encoding.grammar();
            for token in music.encoding.head(&conditioning(piece)) {
                grammar.accept(token).unwrap();
            }
            let mut allowed = famam_shared::encoding::TokenSet::new(vocabulary_size);
            for &token in &piece.body.tokens {
                grammar.allowed(&mut allowed);
                bits += (allowed.len() as f64).log2();
                grammar.accept(token).unwrap();
            }
        }
        let expected = bits / notes as f64;
        assert!(
            (figures.all.bits_a_note - expected).abs() < 1e-6 * expected,
            "{} instead of {expected}",
            figures.all.bits_a_note
        );
    }
    for figures in [
        &report.free,
        &report.conditioned,
        &whole.free,
        &whole.conditioned,
    ] {
        let all = &figures.all;
        assert!((all.bits_a_note_without_grammar - chance).abs() < 1e-3);
        let sum: f64 = figures.kinds.values().map(|kind| kind.bits_a_note).sum();
        assert!((sum - all.bits_a_note).abs() < 1e-9);
        assert!(all.interval.0 <= all.bits_a_note && all.bits_a_note <= all.interval.1);
        assert!((all.perplexity - vocabulary_size as f64).abs() < 1e-2);
    }
    assert!(report.songs == 3 && report.free.sources.len() == 2 && report.free.genres.len() == 3);
}

/// Losses and right guesses by kind of token and by genre, counted by hand from the logits.
#[test]
fn figures_of_parts_are_those_of_their_tokens() {
    let music = music();
    let encoding = &*music.encoding;
    let model = Model::new(
        &tiny().architecture(encoding.vocabulary_size()),
        1,
        tch::Device::Cpu,
    );
    let pieces: Vec<_> = (0..8)
        .map(|i| piece(&song(i, 8, 20), i as usize, Split::Test))
        .collect();
    let context = Context {
        tokens: 128,
        bars: 4,
    };
    let mut counts = BTreeMap::<String, (u64, u64, f64)>::new();
    let mut scorer = Scorer::Torch(model.replica().into());
    for (i, piece) in pieces.iter().enumerate() {
        let nothing = Conditioning::default();
        let windows = windows(i, &piece.body, encoding, &nothing, context).unwrap();
        let genre = &vocabulary().genres[usize::from(piece.genre)];
        let mut count = |w: usize, at: usize, logits: &[f32]| {
            let token = usize::from(windows[w].tokens[at]);
            let right = logits.iter().all(|&logit| logit <= logits[token]);
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            let loss = sum.ln() - f64::from(logits[token]);
            let kind = encoding.kind(windows[w].tokens[at]);
            for part in ["all", kind, genre] {
                let (tokens, rights, losses) = counts.entry(part.to_owned()).or_default();
                (*tokens, *rights, *losses) =
                    (*tokens + 1, *rights + u64::from(right), *losses + loss);
            }
        };
        scorer.run(&windows, &mut count).unwrap();
    }
    let mut subject = Subject {
        scorers: vec![Scorer::Torch(model.into())],
        spec: spec(),
        vocabulary: vocabulary(),
        context,
        engine: "libtorch".to_owned(),
    };
    let report = evaluate(&mut subject, &vocabulary(), &pieces, 0).unwrap();
    let kinds = report.free.kinds.iter().map(|(&name, all)| (name, all));
    let genres = report
        .free
        .genres
        .iter()
        .map(|(name, part)| (&name[..], &part.all));
    let parts = kinds.chain(genres).chain([("all", &report.free.all)]);
    let mut seen = 0;
    for (name, measures) in parts {
        let (tokens, rights, losses) = counts[name];
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{name}: {a} instead of {b}");
        assert_eq!(measures.tokens, tokens, "{name}");
        near(measures.accuracy, rights as f64 / tokens as f64);
        near(measures.loss, losses / tokens as f64);
        near(measures.perplexity.ln(), measures.loss);
        for (value, (low, high)) in [
            (measures.accuracy, measures.accuracy_interval),
            (measures.loss, measures.loss_interval),
        ] {
            assert!(
                low <= value && value <= high,
                "{name}: {low} {value} {high}"
            );
        }
        seen += 1;
    }
    assert_eq!(seen, counts.len());
    assert!(report.free.all.loss_interval.0 < report.free.all.loss_interval.1);
}
