//! Models that add what music is conditioned on to every token: what the engines compute, against the
//! formulas, alone and in batches, and that in int8 it is the same to the bit.

mod model;

use std::sync::Arc;

use famam_shared::architecture::{Architecture, Lstm, Rwkv, Transformer};
use famam_shared::encoding::{PAD, Token};
use famam_shared::engine::{Engine, EngineError};
use famam_shared::manifest::Precision;
use model::{Weights, choices_of, engine, medium, reference, relative, rotary, run, small, tokens};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const SCALE: f32 = 0.5;

fn transformers() -> [Transformer; 2] {
    [small(rotary()), medium(relative())].map(|t| Transformer {
        layers: 1,
        conditioning_scale: Some(SCALE),
        ..t
    })
}

fn lstms() -> [Lstm; 2] {
    [model::lstm::lstm(), model::lstm::tiny()].map(|lstm| Lstm {
        conditioning_scale: Some(SCALE),
        ..lstm
    })
}

/// Nothing, one condition, a dozen, and more than there are instruments.
fn conditions<A: Clone + Into<Architecture>>(model: &A) -> [Vec<Token>; 4] {
    [0, 1, 12, 150].map(|count| {
        let drawn = tokens(model, count, 7 + count as u64);
        drawn.into_iter().map(|token| token.max(PAD + 1)).collect()
    })
}

/// The weights of a model that reads no conditions and computes what one with `weights` does under
/// `conditions`: its embeddings have them in. The head keeps what it has.
fn under(weights: &Weights, conditions: &[Token], d: usize) -> Weights {
    let mut weights = weights.clone();
    let embedding = weights["embedding.weight"].clone();
    weights
        .entry("head.weight".to_owned())
        .or_insert_with(|| embedding.clone());
    let row = |token: usize| &embedding[token * d..][..d];
    let sum = |i: usize| -> f32 { conditions.iter().map(|&c| row(usize::from(c))[i]).sum() };
    let sums: Vec<f32> = (0..d).map(|i| SCALE * sum(i)).collect();
    let added = embedding
        .chunks_exact(d)
        .flat_map(|row| std::iter::zip(row, &sums).map(|(a, b)| a + b));
    weights.insert("embedding.weight".to_owned(), added.collect());
    weights
}

#[track_caller]
fn assert_close(what: &str, logits: &[Vec<f32>], expected: &[Vec<f64>]) {
    assert_eq!(logits.len(), expected.len());
    let pairs = logits.iter().flatten().zip(expected.iter().flatten());
    let differences = pairs.map(|(&a, b)| (f64::from(a) - b).abs());
    let worst = differences.fold(0.0, f64::max);
    assert!(worst < 1e-3, "{what}: {worst}");
}

/// Calls `claim` with each engine of `model`.
fn engines<A: Clone + Into<Architecture>>(
    model: &A,
    weights: &Weights,
    precision: Precision,
    claim: impl Fn(&str, Arc<dyn Engine>),
) {
    for choice in choices_of(model) {
        let engine = engine(model, weights, precision, 2, choice);
        claim(&engine.name(), engine.clone());
    }
}

/// As a prompt, step by step, and after another condition.
#[track_caller]
fn assert_computes(
    what: &str,
    engine: &dyn Engine,
    conditions: &[Vec<Token>],
    tokens: &[Token],
    expected: impl Fn(&[Token]) -> Vec<Vec<f64>>,
) {
    let mut stream = engine.open(1, tokens.len()).expect("a stream");
    for conditions in conditions {
        let expected = expected(conditions);
        stream.condition(&[conditions]).expect("known tokens");
        for pieces in [&[100][..], &[1], &[7, 1, 30]] {
            stream.clear();
            let mut pieces = pieces.iter().cycle();
            let logits = run(&mut *stream, tokens, || *pieces.next().unwrap_or(&1));
            assert_close(what, &logits, &expected);
        }
    }
    let (with, without) = (expected(&conditions[2]), expected(&conditions[0]));
    let pairs = with.iter().flatten().zip(without.iter().flatten());
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart > 0.02, "{what}: conditions that matter, {apart}");
}

#[test]
fn conditions_are_added_to_every_token() {
    for t in transformers() {
        let weights = model::weights(&t, 1);
        let tokens = tokens(&t, 40, 2);
        engines(&t, &weights, Precision::Fp32, |name, engine| {
            assert_computes(name, &*engine, &conditions(&t), &tokens, |conditions| {
                let plain = Transformer {
                    tied: false,
                    ..t.clone()
                };
                reference(&plain, &under(&weights, conditions, t.d_model), &tokens)
            });
        });
    }
    for lstm in lstms() {
        let weights = model::weights(&lstm, 1);
        let tokens = tokens(&lstm, 40, 2);
        engines(&lstm, &weights, Precision::Fp32, |name, engine| {
            assert_computes(name, &*engine, &conditions(&lstm), &tokens, |conditions| {
                let plain = Lstm {
                    tied: false,
                    ..lstm.clone()
                };
                let weights = under(&weights, conditions, lstm.d_model);
                model::lstm::reference(&plain, &weights, &tokens)
            });
        });
    }
}

#[test]
fn conditions_are_added_to_every_token_of_rwkv() {
    let rwkv = Rwkv {
        conditioning_scale: Some(SCALE),
        ..model::rwkv::rwkv()
    };
    let weights = model::weights(&rwkv, 1);
    let tokens = tokens(&rwkv, 40, 2);
    engines(&rwkv, &weights, Precision::Fp32, |name, engine| {
        assert_computes(name, &*engine, &conditions(&rwkv), &tokens, |conditions| {
            let weights = under(&weights, conditions, rwkv.d_model);
            model::rwkv::reference(&rwkv, &weights, &tokens)
        });
    });
}

/// Rows that have other conditions and advance apart, each against itself alone.
#[test]
fn rows_of_a_batch_have_conditions_of_their_own() {
    let rows_are_themselves = |engine: &dyn Engine, conditions: &[Vec<Token>], all: &[Token]| {
        let rows: Vec<&[Token]> = (0..4).map(|row| &all[row * 3..][..40]).collect();
        let conditions: Vec<&[Token]> = conditions.iter().map(|row| &row[..]).collect();
        let mut stream = engine.open(4, 40).expect("a stream");
        stream.condition(&conditions).expect("known tokens");
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut logits = vec![Vec::new(); 4];
        while (0..4).any(|row| stream.len(row) < 40) {
            let mut piece = |row: usize| {
                let rest = &rows[row][stream.len(row)..];
                &rest[..rest.len().min(rng.next_u32() as usize % 9)]
            };
            let pieces: Vec<&[Token]> = (0..4).map(&mut piece).collect();
            if pieces.iter().all(|piece| piece.is_empty()) {
                continue;
            }
            let view = stream.run(&pieces).expect("logits");
            for (row, piece) in pieces.iter().enumerate() {
                let new = (0..piece.len()).map(|i| view.slice(ndarray::s![row, i, ..]).to_vec());
                logits[row].extend(new);
            }
        }
        let alone = |row: usize| {
            let mut stream = engine.open(1, 64).expect("a stream");
            stream.condition(&[conditions[row]]).expect("known tokens");
            run(&mut *stream, rows[row], || 11)
        };
        (logits, (0..4).map(alone).collect::<Vec<_>>())
    };
    for t in transformers() {
        let weights = model::weights(&t, 3);
        let tokens = tokens(&t, 60, 4);
        engines(&t, &weights, Precision::Int8, |name, engine| {
            let (batch, alone) = rows_are_themselves(&*engine, &conditions(&t), &tokens);
            assert!(batch == alone, "{name}: the same bits in int8");
        });
    }
    for lstm in lstms() {
        let weights = model::weights(&lstm, 3);
        let tokens = tokens(&lstm, 60, 4);
        engines(&lstm, &weights, Precision::Fp32, |name, engine| {
            let (batch, alone) = rows_are_themselves(&*engine, &conditions(&lstm), &tokens);
            for (batch, alone) in std::iter::zip(batch, alone) {
                let alone: Vec<Vec<f64>> = alone
                    .iter()
                    .map(|row| row.iter().map(|&v| f64::from(v)).collect())
                    .collect();
                assert_close(name, &batch, &alone);
            }
        });
    }
}

#[test]
fn foreign_conditions_are_refused_and_other_models_take_none() {
    let added = transformers()[0].clone();
    let plain = Transformer {
        conditioning_scale: None,
        ..added.clone()
    };
    let tokens = tokens(&added, 20, 4);
    for t in [&added, &plain] {
        let weights = model::weights(t, 3);
        engines(t, &weights, Precision::Fp32, |name, engine| {
            let mut stream = engine.open(1, 20).expect("a stream");
            let free = run(&mut *stream, &tokens, || 20);
            let foreign = t.vocabulary as Token;
            let unknown = stream.condition(&[&[1, foreign]]);
            assert!(matches!(unknown, Err(EngineError::Token { .. })), "{name}");
            let rows = stream.condition(&[&[1], &[2]]);
            assert!(matches!(rows, Err(EngineError::Batch { .. })), "{name}");
            stream.clear();
            assert!(run(&mut *stream, &tokens, || 20) == free, "{name}");
            stream.condition(&[&[5, 6]]).expect("known tokens");
            stream.clear();
            let same = run(&mut *stream, &tokens, || 20) == free;
            assert_eq!(same, t.conditioning_scale.is_none(), "{name}");
        });
    }
}

/// What does not say how it is conditioned is conditioned by tokens, in the very bytes of before.
#[test]
fn older_manifests_say_nothing_of_it() {
    let text = |t: &Transformer| {
        serde_json::to_string(&Architecture::from(t.clone())).expect("an architecture")
    };
    let plain = small(rotary());
    assert!(!text(&plain).contains("conditioning"));
    let read: Architecture = serde_json::from_str(&text(&plain)).expect("the same");
    assert_eq!(read.ends().conditioning_scale, None);
    let stream: Vec<Token> = (1..9).collect();
    let (conditions, sequence) = read.ends().split(&stream, 4);
    assert!(conditions.is_empty() && *sequence == stream);

    let added = Architecture::from(transformers()[0].clone());
    let (conditions, sequence) = added.ends().split(&stream, 4);
    assert_eq!(
        (conditions, &*sequence),
        (&stream[1..4], &[1, 5, 6, 7, 8][..])
    );
}
