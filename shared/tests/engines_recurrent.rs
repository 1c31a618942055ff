//! What the engines compute of a model whose state has a fixed size, against its formulas: as a prompt,
//! step by step, alone and in a ragged batch, at the same cost however long it runs.

mod model;

use famam_shared::architecture::{Architecture, Lstm, Rwkv};
use famam_shared::bundle::{self, Bundle};
use famam_shared::encoding::{Conditioning, Token};
use famam_shared::engine::{Engine, EngineError};
use famam_shared::generation::{Generator, Request};
use famam_shared::graph;
use famam_shared::manifest::Precision;
use famam_shared::score::Metre;
use model::lstm::{self, attentive, lstm};
use model::rwkv::{self, rwkv};
use model::{Weights, choices, engine, manifest, run, tokens, weights};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const FP32: Precision = Precision::Fp32;
const INT8: Precision = Precision::Int8;

/// A model of each kind.
fn models() -> [Architecture; 3] {
    [lstm().into(), attentive().into(), rwkv().into()]
}

/// The smallest of each kind.
fn tiny() -> [Architecture; 2] {
    [lstm::tiny().into(), rwkv::tiny().into()]
}

/// A model of each kind whose sizes fill no vector register.
fn odd() -> [Architecture; 2] {
    let lstm = Lstm {
        d_model: 27,
        units: vec![35, 21],
        ..attentive()
    };
    let rwkv = Rwkv {
        d_model: 27,
        d_ff: 37,
        ..rwkv()
    };
    [lstm.into(), rwkv.into()]
}

/// The logits of every token by the formulas.
fn reference(architecture: &Architecture, weights: &Weights, tokens: &[Token]) -> Vec<Vec<f64>> {
    match architecture {
        Architecture::Lstm(lstm) => lstm::reference(lstm, weights, tokens),
        Architecture::Rwkv(rwkv) => rwkv::reference(rwkv, weights, tokens),
        Architecture::Transformer(_) => panic!("its state grows"),
    }
}

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
    for model in models().into_iter().chain(tiny()) {
        let weights = weights(&model, 1);
        let tokens = tokens(&model, 300, 2);
        let expected = reference(&model, &weights, &tokens);
        let spread = difference(&expected[1..2], &expected[250..251]);
        assert!(spread > 0.1, "logits that differ: {spread}");
        for choice in choices() {
            for threads in [1, 2] {
                let engine = engine(&model, &weights, FP32, threads, choice);
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

/// Eight rows that start, end and advance apart, each against itself alone: close in 32 bits, the same bits in 8.
#[test]
fn rows_of_a_batch_are_as_each_alone() {
    for model in models().into_iter().chain(odd()) {
        let weights = weights(&model, 3);
        let tokens = tokens(&model, 300, 4);
        let rows: Vec<&[Token]> = (0..8).map(|row| &tokens[row * 5..][..150]).collect();
        let expected = rows.iter().map(|row| reference(&model, &weights, row));
        let expected: Vec<_> = expected.collect();
        for choice in choices() {
            let fp32 = engine(&model, &weights, FP32, 1, choice);
            for (row, logits) in apart(&*fp32, &rows).iter().enumerate() {
                let worst = difference(logits, &expected[row]);
                assert!(worst < 1e-4, "{choice:?}, row {row}: {worst}");
            }
            let int8 = engine(&model, &weights, INT8, 1, choice);
            for (row, logits) in apart(&*int8, &rows).iter().enumerate() {
                let mut stream = int8.open(1, 150).expect("a stream");
                assert!(*logits == run(&mut *stream, rows[row], || 128), "row {row}");
            }
        }
    }
}

/// The logits of each row in a batch whose rows get from no to 39 tokens at a time.
fn apart(engine: &dyn Engine, rows: &[&[Token]]) -> Vec<Vec<Vec<f32>>> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut stream = engine.open(rows.len(), 150).expect("a stream");
    let mut logits = vec![Vec::new(); rows.len()];
    while (0..rows.len()).any(|row| stream.len(row) < rows[row].len()) {
        let most = [2, 3, 40][rng.next_u32() as usize % 3];
        let pieces: Vec<&[Token]> = (0..rows.len())
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
    logits
}

/// The same bits as a prompt, in pieces and step by step, on one thread and on two; and close to the formulas.
#[test]
fn int8_is_exact_however_a_prompt_is_cut() {
    for model in models().into_iter().chain(odd()) {
        let weights = weights(&model, 6);
        let tokens = tokens(&model, 300, 7);
        let mean = |rows: &[Vec<f64>]| rows.concat().iter().map(|v| v.abs()).sum::<f64>();
        let expected = reference(&model, &weights, &tokens);
        for choice in choices() {
            let mut first = None;
            for threads in [1, 2] {
                let engine = engine(&model, &weights, INT8, threads, choice);
                let mut stream = engine.open(1, 300).expect("a stream");
                for pieces in [&[300][..], &[1], &[128], &[100, 1, 1, 128, 7, 1, 2]] {
                    stream.clear();
                    let mut pieces = pieces.iter().cycle();
                    let logits = run(&mut *stream, &tokens, || *pieces.next().unwrap_or(&1));
                    let first = first.get_or_insert_with(|| logits.clone());
                    assert!(*first == logits, "{choice:?}, {threads} threads");
                }
            }
            let found = first.unwrap_or_default();
            let errors: Vec<Vec<f64>> = std::iter::zip(&found, &expected)
                .map(|(a, b)| {
                    std::iter::zip(a, b)
                        .map(|(a, b)| f64::from(*a) - b)
                        .collect()
                })
                .collect();
            let share = mean(&errors) / mean(&expected);
            println!("{choice:?}: {share:.3} of the logits' mean from the formulas");
            assert!(share < 0.1, "{choice:?}: {share}");
        }
    }
}

#[test]
fn streams_refuse_what_is_not_theirs_and_go_on() {
    for model in tiny() {
        let weights = weights(&model, 3);
        let tokens = tokens(&model, 20, 4);
        let expected = reference(&model, &weights, &tokens);
        for choice in choices() {
            let engine = engine(&model, &weights, FP32, 1, choice);
            assert!(engine.open(0, 10).is_err() && engine.open(1, 0).is_err());
            let mut stream = engine.open(2, 20).expect("a stream");
            stream.run(&[&tokens[..10], &[]]).expect("ten tokens");
            assert!(stream.run(&[&[1]]).is_err(), "a row is missing");
            let foreign = model.vocabulary() as Token;
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
}

/// Music that is longer than the context, so that it is prompted anew on the way.
#[test]
fn music_is_a_function_of_request_and_seed() {
    let request = |seed| Request {
        conditioning: Conditioning::default(),
        bars: 20,
        metre: Metre::COMMON,
        micros_per_quarter: 500_000,
        seed,
        sampling: Default::default(),
        max_tokens: Some(2500),
    };
    for (model, choice) in models()
        .iter()
        .flat_map(|m| choices().into_iter().map(move |c| (m, c)))
    {
        let weights = weights(model, 3);
        let engine = engine(model, &weights, FP32, 1, choice);
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

/// A step's cost is that of its state, which has one size however long the music; `benches/step.rs` has the
/// times.
#[test]
fn a_state_has_one_size() {
    for model in models() {
        for state in graph::state(&model) {
            assert!(!state.is_cache(), "{}", state.input);
            assert_eq!(state.shape(1, 10), state.shape(1, 10_000));
        }
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

#[test]
fn rwkv_comes_back_and_no_other_is_opened() {
    let rwkv = rwkv();
    let weights = weights(&rwkv, 1);
    let values = |name: &str| weights.get(name).map(Vec::as_slice);
    for precision in [FP32, INT8] {
        let file = bundle::write(&manifest(&rwkv, precision, 64), &values).expect("a bundle");
        let bundle = Bundle::read(&file).expect("what was written");
        assert_eq!(bundle.model, file);
        let state = graph::state(&rwkv.clone().into());
        assert_eq!(bundle.manifest.state, state);
        assert_eq!(state.len(), 15);
        assert!(state.iter().all(|state| !state.is_cache()));
        let read = bundle.weights().expect("weights");
        for (name, values) in &weights {
            let worst = std::iter::zip(values, &read[name]).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0.0, f32::max);
            let most = if precision == FP32 { 0.0 } else { 0.01 };
            assert!(worst <= most, "{name}: {worst}");
        }
    }
    for (layers, d_ff) in [(0, 72), (129, 72), (3, 0), (3, 32_769), (3, 71), (4, 72)] {
        let other = Rwkv {
            layers,
            d_ff,
            ..rwkv.clone()
        };
        assert!(
            bundle::write(&manifest(&other, FP32, 64), &values).is_err(),
            "{other:?}"
        );
    }
}

#[test]
fn attention_is_carried_within_its_window() {
    let lstm = attentive();
    let weights = weights(&lstm, 1);
    let values = |name: &str| weights.get(name).map(Vec::as_slice);
    for precision in [FP32, INT8] {
        let file = bundle::write(&manifest(&lstm, precision, 64), &values).expect("a bundle");
        let state = Bundle::read(&file)
            .expect("what was written")
            .manifest
            .state;
        let shapes: Vec<Vec<usize>> = state.iter().map(|state| state.shape(2, 99)).collect();
        let expected = [[2, 40].to_vec(), [2, 40].to_vec(), [2, 24].to_vec()];
        assert_eq!(shapes[..3], expected);
        assert_eq!(shapes[4..], [[2, 40, 24].to_vec(), [2, 40].to_vec()]);
    }
    for window in [0, 1, 4097] {
        let other = Lstm {
            attention_window: Some(window),
            ..lstm.clone()
        };
        let error = bundle::write(&manifest(&other, FP32, 64), &values).unwrap_err();
        assert!(error.to_string().contains("attention_window"), "{error}");
    }
}
