//! What the engines compute of a model whose state has a fixed size, against its formulas: as a prompt,
//! step by step, alone and in a ragged batch, at the same cost however long it runs.

mod model;

use std::time::Instant;

use famam_shared::architecture::{Architecture, Lstm};
use famam_shared::bundle::{self, Bundle};
use famam_shared::encoding::{Conditioning, Token};
use famam_shared::engine::EngineError;
use famam_shared::generation::{Generator, Request};
use famam_shared::graph;
use famam_shared::manifest::Precision;
use famam_shared::score::Metre;
use model::lstm::{lstm, reference, tiny};
use model::{choices, engine, manifest, run, tokens, weights};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const FP32: Precision = Precision::Fp32;

/// The largest difference of two tables of logits of one size.
#[track_caller]
fn difference<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[Vec<A>], b: &[Vec<B>]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.fold(0.0, |worst: f64, (&a, &b)| {
        let difference = (a.into() - b.into()).abs();
        assert!(difference.is_finite());
        worst.max(difference)
    })
}

#[test]
fn fp32_is_the_architecture() {
    for lstm in [lstm(), tiny()] {
        let weights = weights(&lstm, 1);
        let tokens = tokens(&lstm, 300, 2);
        let expected = reference(&lstm, &weights, &tokens);
        let spread = difference(&expected[1..2], &expected[250..251]);
        assert!(spread > 0.1, "logits that differ: {spread}");
        for choice in choices() {
            for threads in [1, 2] {
                let engine = engine(&lstm, &weights, FP32, threads, choice);
                let mut stream = engine.open(1, 300).expect("a stream");
                for pieces in [&[300][..], &[1], &[100, 1, 1, 128, 7, 1, 2]] {
                    stream.clear();
                    let mut pieces = pieces.iter().cycle();
                    let logits = run(&mut *stream, &tokens, || *pieces.next().unwrap_or(&1));
                    let worst = difference(&logits, &expected);
                    println!("{}: {worst:.1e} from the formulas", engine.name());
                    assert!(worst < 1e-4, "{choice:?}: {worst}");
                }
            }
        }
    }
}

/// Eight rows that start, end and advance apart, each against itself alone.
#[test]
fn rows_of_a_batch_are_as_each_alone() {
    let lstm = lstm();
    let weights = weights(&lstm, 3);
    let tokens = tokens(&lstm, 300, 4);
    for choice in choices() {
        let engine = engine(&lstm, &weights, FP32, 1, choice);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let rows: Vec<&[Token]> = (0..8).map(|row| &tokens[row * 5..][..150]).collect();
        let mut stream = engine.open(8, 150).expect("a stream");
        let mut logits = vec![Vec::new(); 8];
        while (0..8).any(|row| stream.len(row) < rows[row].len()) {
            let most = [2, 3, 40][rng.next_u32() as usize % 3];
            let pieces: Vec<&[Token]> = (0..8)
                .map(|row| {
                    let rest = &rows[row][stream.len(row)..];
                    &rest[..rest.len().min(rng.next_u32() as usize % most)]
                })
                .collect();
            if pieces.iter().all(|piece| piece.is_empty()) {
                assert!(matches!(stream.run(&pieces), Err(EngineError::NoToken)));
                continue;
            }
            let view = stream.run(&pieces).expect("logits");
            for (row, piece) in pieces.iter().enumerate() {
                let new = (0..piece.len()).map(|i| view.slice(ndarray::s![row, i, ..]).to_vec());
                logits[row].extend(new);
            }
        }
        for (row, logits) in logits.iter().enumerate() {
            let expected = reference(&lstm, &weights, rows[row]);
            let worst = difference(logits, &expected);
            assert!(worst < 1e-4, "{choice:?}, row {row}: {worst}");
        }
    }
}

#[test]
fn streams_refuse_what_is_not_theirs_and_go_on() {
    let lstm = tiny();
    let weights = weights(&lstm, 3);
    let tokens = tokens(&lstm, 20, 4);
    let expected = reference(&lstm, &weights, &tokens);
    for choice in choices() {
        let engine = engine(&lstm, &weights, FP32, 1, choice);
        assert!(engine.open(0, 10).is_err() && engine.open(1, 0).is_err());
        let mut stream = engine.open(2, 20).expect("a stream");
        stream.run(&[&tokens[..10], &[]]).expect("ten tokens");
        assert!(stream.run(&[&[1]]).is_err(), "a row is missing");
        let foreign = lstm.vocabulary as Token;
        assert!(stream.run(&[&[1], &[1, foreign]]).is_err(), "no such token");
        assert!(stream.run(&[&[1; 11], &[1]]).is_err(), "too many");
        let logits = stream.run(&[&tokens[10..], &[]]).expect("the others");
        let rest: Vec<_> = (0..10)
            .map(|i| logits.slice(ndarray::s![0, i, ..]).to_vec())
            .collect();
        assert!(difference(&rest, &expected[10..]) < 1e-4);
        assert_eq!([stream.len(0), stream.len(1)], [20, 0]);
    }
}

/// Music that is longer than the context, so that it is prompted anew on the way.
#[test]
fn music_is_a_function_of_request_and_seed() {
    let lstm = lstm();
    let weights = weights(&lstm, 3);
    let request = |seed| Request {
        conditioning: Conditioning::default(),
        bars: 20,
        metre: Metre::COMMON,
        micros_per_quarter: 500_000,
        seed,
        sampling: Default::default(),
        max_tokens: Some(2500),
    };
    for choice in choices() {
        let engine = engine(&lstm, &weights, FP32, 1, choice);
        let bars = |seed| -> Vec<Vec<Token>> {
            let generator = Generator::new(&*engine, request(seed), Default::default());
            let bars = generator.expect("a generator");
            bars.map(|bar| bar.expect("a bar").tokens).collect()
        };
        let first = bars(1);
        let length: usize = first.iter().map(Vec::len).sum();
        println!("{}: {} bars of {length} tokens", engine.name(), first.len());
        assert!(first.len() > 8 || length > 1024);
        assert_eq!(first, bars(1));
        assert_ne!(first, bars(2));
    }
}

/// A step's cost is that of its state, which has one size: medians of steps taken in turns.
#[test]
fn a_step_costs_the_same_after_ten_thousand() {
    let lstm = Lstm {
        d_model: 256,
        units: vec![256, 256],
        ..lstm()
    };
    let weights = weights(&lstm, 3);
    for choice in choices() {
        let engine = engine(&lstm, &weights, FP32, 1, choice);
        let mut streams = [10, 10_000].map(|length| {
            let mut stream = engine.open(1, 11_000).expect("a stream");
            for piece in vec![1; length].chunks(128) {
                stream.run(&[piece]).expect("a prompt");
            }
            stream
        });
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..300 {
            for (stream, times) in streams.iter_mut().zip(&mut times) {
                let begin = Instant::now();
                stream.run(&[&[2]]).expect("a step");
                times.push(begin.elapsed());
            }
        }
        let [early, late] = times.map(|mut times| {
            times.sort();
            times[times.len() / 4].as_secs_f64() * 1e3
        });
        println!(
            "{}: {early:.3} ms at 10, {late:.3} ms at 10,000",
            engine.name()
        );
        assert!(
            (0.9..1.1).contains(&(late / early)),
            "{choice:?}: {late} to {early}"
        );
    }
}

#[test]
fn a_bundle_comes_back_and_no_other_is_opened() {
    let lstm = lstm();
    let weights = weights(&lstm, 1);
    let values = |name: &str| weights.get(name).map(Vec::as_slice);
    let file = bundle::write(&manifest(&lstm, FP32, 64), &values).expect("a bundle");
    let bundle = Bundle::read(&file).expect("what was written");
    assert_eq!(bundle.model, file);
    let state = graph::state(&lstm.clone().into());
    assert_eq!(bundle.manifest.state, state);
    assert_eq!(state.len(), 6);
    assert!(state.iter().all(|state| !state.is_cache()));

    let error = bundle::write(&manifest(&lstm, Precision::Int8, 64), &values).unwrap_err();
    assert!(error.to_string().contains("without --int8"), "{error}");
    for units in [
        vec![],
        vec![0],
        vec![40, 24, 8193],
        vec![1; 129],
        vec![40, 24, 57],
    ] {
        let other: Architecture = Lstm {
            units,
            ..lstm.clone()
        }
        .into();
        assert!(
            bundle::write(&manifest(&other, FP32, 64), &values).is_err(),
            "{other:?}"
        );
    }
    let scales = [(f32::NAN, 1.0), (1.0, f32::INFINITY)];
    for (embedding_scale, logit_scale) in scales {
        let other = Lstm {
            embedding_scale,
            logit_scale,
            ..lstm.clone()
        };
        assert!(bundle::write(&manifest(&other, FP32, 64), &values).is_err());
    }
}
