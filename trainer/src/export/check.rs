//! Whether a bundle computes what it should, on both engines.

use std::sync::Arc;

use super::Error;
use crate::model::{Dropout, Model, Ragged};
use crate::scoring::Window;
use famam_shared::bundle::Bundle;
use famam_shared::encoding::{PAD, Token};
use famam_shared::engine::{self, Choice, Engine, EngineError};
use famam_shared::generation::PROMPT_CHUNK;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

/// The largest difference between an fp32 bundle's logits and libtorch's, where the model itself
/// does not make more of a rounding.
const MOST_DIFFERENCE: f64 = 1e-3;
/// How many times the difference that [`rounding`] makes is still called the same.
const ROUNDINGS: f64 = 16.0;
/// The largest mean Kullback-Leibler divergence between an int8 bundle's engines, nats a token.
const MOST_DIVERGENCE: f64 = 2e-3;
/// Tokens of a check, at most.
const LENGTH: usize = 400;
/// Of these, tokens that stand for a head.
const HEAD: usize = 6;
/// Tokens that are run one by one.
const STEPS: usize = 100;
/// Sequences of a check, and rows of its batch.
const ROWS: usize = 8;

/// The engines that are here; a missing ONNX Runtime is said once.
fn engines(bundle: &Bundle) -> Result<Vec<Arc<dyn Engine>>, Error> {
    let mut engines = vec![engine::load(bundle, 1, Choice::Rten)?];
    // It does not run every model.
    engines.extend(engine::load(bundle, 1, Choice::Native));
    match engine::load(bundle, 1, Choice::Ort) {
        Ok(engine) => engines.insert(0, engine),
        Err(error @ EngineError::Missing { .. }) => {
            eprintln!("note: checked without ONNX Runtime: {error}");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(engines)
}

/// The logits of a stream with a head of `head` tokens as rows, in pieces of `piece(i)` tokens, `i` counting them.
fn logits(
    engine: &dyn Engine,
    (tokens, head): (&[Token], usize),
    piece: impl Fn(usize) -> usize,
) -> Result<Vec<f32>, EngineError> {
    let ends = engine.manifest().architecture.ends();
    let (conditions, tokens) = ends.split(tokens, head);
    let mut stream = engine.open(1, tokens.len())?;
    stream.condition(&[conditions])?;
    let (mut logits, mut done) = (Vec::new(), 0);
    for i in 0.. {
        if done == tokens.len() {
            break;
        }
        let next = (done + piece(i)).min(tokens.len());
        logits.extend(stream.run(&[&tokens[done..next]])?.iter());
        done = next;
    }
    Ok(logits)
}

/// Whether the engines give libtorch's logits, as a prompt and step by step.
pub(super) fn fp32(bundle: &Bundle, model: &Model) -> Result<(), Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let length = LENGTH.min(bundle.manifest.context.tokens);
    let vocabulary = model.architecture().vocabulary();
    let tokens: Vec<Token> = (0..length)
        .map(|_| rng.random_range(0..vocabulary) as Token)
        .collect();
    let tokens = (&tokens[..], HEAD.min(length));
    let expected = torch(model, tokens);
    let mut limit = MOST_DIFFERENCE;
    let limits: Vec<f64> = differences(&torch(&rounding(model), tokens), &expected, vocabulary)
        .into_iter()
        .map(|difference| {
            limit = limit.max(ROUNDINGS * difference);
            limit
        })
        .collect();
    for engine in engines(bundle)? {
        let prompt = logits(&*engine, tokens, |_| PROMPT_CHUNK)?;
        let steps = logits(&*engine, tokens, |_| 1)?;
        for (how, found) in [("as a prompt", prompt), ("step by step", steps)] {
            let found = differences(&found, &expected, vocabulary);
            let what = format!(
                "logits of {} {how} differ from libtorch's by",
                engine.name()
            );
            let worst = found.iter().copied().fold(0.0, f64::max);
            eprintln!("{what} {worst:.1e}");
            let all = std::iter::zip(found.iter().copied(), limits.iter().copied());
            if let Some((found, limit)) = all.into_iter().find(|(found, limit)| found > limit) {
                return Err(Error::Differs { what, found, limit });
            }
        }
    }
    Ok(())
}

/// The largest difference of each token's logits; where one is missing or no number, without end.
fn differences(found: &[f32], expected: &[f32], vocabulary: usize) -> Vec<f64> {
    let difference = |(a, b): (&f32, &f32)| match f64::from((a - b).abs()) {
        difference if difference.is_nan() => f64::INFINITY,
        difference => difference,
    };
    let worst = |(t, expected): (usize, &[f32])| match found.get(t * vocabulary..) {
        Some(found) if found.len() >= vocabulary => std::iter::zip(found, expected)
            .map(difference)
            .fold(0.0, f64::max),
        _ => f64::INFINITY,
    };
    let rows = expected.chunks_exact(vocabulary).enumerate();
    rows.map(worst).collect()
}

/// The model with every weight off by what 32 bits cannot tell. A recurrent model may make more of
/// that at every token: then no two programs agree far from the first, and need not.
fn rounding(model: &Model) -> Model {
    tch::no_grad(|| {
        model.with_weights(|weight| {
            let options = (Kind::Float, weight.device());
            let signs = Tensor::arange(weight.numel() as i64, options).remainder(2.0) * 2.0 - 1.0;
            weight * (signs.view_as(weight) * f64::from(f32::EPSILON) + 1.0)
        })
    })
}

/// libtorch's logits as rows.
fn torch(model: &Model, (tokens, head): (&[Token], usize)) -> Vec<f32> {
    // The last token of a batch's streams is only a target.
    let tokens = [tokens, &[PAD]].concat();
    let stream = std::iter::once((&tokens[..], head, head));
    let batch = Ragged::new(model.architecture().ends(), stream, model.device());
    let logits = tch::no_grad(|| {
        let hidden = model.hidden(&batch, &mut Dropout::none());
        model.logits(&hidden)
    });
    let mut values = vec![0f32; logits.numel()];
    logits.contiguous().copy_data(&mut values, logits.numel());
    values
}

/// Whether each engine gives the same bits in a batch of 8 as for each row alone, and for a prompt
/// as step by step; and whether the two engines' distributions are close, on the first of
/// `windows`.
pub(super) fn int8(bundle: &Bundle, windows: &[Window]) -> Result<(), Error> {
    let rows: Vec<(&[Token], usize)> = windows
        .iter()
        .map(|window| {
            let end = window.tokens.len().min(LENGTH);
            (&window.tokens[..end], window.head)
        })
        .take(ROWS)
        .collect();
    let ends = bundle.manifest.architecture.ends();
    let split = rows.iter().map(|&(tokens, head)| ends.split(tokens, head));
    let (conditions, sequences): (Vec<_>, Vec<_>) = split.unzip();
    let sequences: Vec<&[Token]> = sequences.iter().map(|sequence| &**sequence).collect();
    let mut by_engine: Vec<Vec<f32>> = Vec::new();
    for engine in engines(bundle)? {
        let alone: Vec<Vec<f32>> = rows
            .iter()
            .map(|&row| logits(&*engine, row, |_| PROMPT_CHUNK))
            .collect::<Result<_, _>>()?;
        let name = engine.name();
        let (first, head) = rows[0];
        let steps = (&first[..first.len().min(STEPS)], head);
        same(
            &name,
            "a prompt and single steps",
            &logits(&*engine, steps, |_| 1)?,
            &alone[0],
        )?;
        let longest = sequences.iter().map(|row| row.len()).max().unwrap_or(1);
        let mut stream = engine.open(rows.len(), longest)?;
        stream.condition(&conditions)?;
        let batch = stream.run(&sequences)?;
        for (r, alone) in alone.iter().enumerate() {
            let row: Vec<f32> = batch
                .slice(ndarray::s![r, ..sequences[r].len(), ..])
                .iter()
                .copied()
                .collect();
            same(&name, "a batch of 8 and each row alone", &row, alone)?;
        }
        eprintln!(
            "{name}: the same bits as a prompt, step by step, alone and in a batch of {}",
            rows.len()
        );
        by_engine.push(alone.concat());
    }
    let (first, others) = by_engine.split_at(1);
    for (a, b) in first.iter().cycle().zip(others) {
        let vocabulary = bundle.manifest.architecture.vocabulary();
        let tokens = a.len() / vocabulary;
        let pairs = std::iter::zip(a.chunks_exact(vocabulary), b.chunks_exact(vocabulary));
        let mean = pairs.map(|(a, b)| divergence(a, b)).sum::<f64>() / tokens.max(1) as f64;
        eprintln!("mean divergence of the engines {mean:.1e} nats, over {tokens} tokens");
        // Not a number is no agreement either.
        if mean.is_nan() || mean >= MOST_DIVERGENCE {
            let what = "the mean divergence of two engines is".to_owned();
            return Err(Error::Differs {
                what,
                found: mean,
                limit: MOST_DIVERGENCE,
            });
        }
    }
    Ok(())
}

/// Refuses logits that differ in a bit, as far as both go.
fn same(engine: &str, what: &str, a: &[f32], b: &[f32]) -> Result<(), Error> {
    let differing = std::iter::zip(a, b).find(|(a, b)| a.to_bits() != b.to_bits());
    match differing {
        None => Ok(()),
        Some((a, b)) => Err(Error::Differs {
            what: format!("logits of {engine} for {what} differ by"),
            found: f64::from((a - b).abs()),
            limit: 0.0,
        }),
    }
}

/// The Kullback-Leibler divergence of the distributions of two rows of logits, in nats.
fn divergence(a: &[f32], b: &[f32]) -> f64 {
    let log_shares = |row: &[f32]| -> Vec<f64> {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponents = row.iter().map(|&logit| f64::from(logit - most));
        let sum = exponents.clone().map(f64::exp).sum::<f64>().ln();
        exponents.map(|exponent| exponent - sum).collect()
    };
    let (a, b) = (log_shares(a), log_shares(b));
    std::iter::zip(&a, &b).map(|(a, b)| a.exp() * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use famam_shared::encoding::Spec;
    use famam_shared::manifest::Precision;
    use famam_shared::vocabulary::Vocabulary;
    use tch::Device;

    use super::*;
    use crate::checkpoint::{DataSet, Progress, State, VERSION};
    use crate::config::training::Config;

    /// One weight of a matrix that is not the checkpoint's.
    #[test]
    fn a_bundle_of_other_weights_is_refused() {
        let config = Config {
            max_seq_length: 128,
            num_layers: 1,
            d_model: 32,
            num_heads: 4,
            d_ff: 48,
            ..Config::default()
        };
        let encoding = Spec::Multitrack(Default::default());
        let vocabulary = Vocabulary::new([]);
        let size = encoding.build(1).unwrap().vocabulary_size();
        let state = State {
            version: VERSION,
            architecture: config.architecture(size),
            config,
            encoding,
            vocabulary,
            bands: Default::default(),
            from: None,
            data_set: DataSet {
                name: String::new(),
                path: String::new(),
                hash: String::new(),
            },
            segment_bars: Some(4),
            progress: Progress::default(),
        };
        let manifest = super::super::manifest(&state, Precision::Fp32);
        let model = Model::new(&state.architecture, 1, Device::Cpu);
        let bundle = |model| Bundle::read(&super::super::write(&manifest, model).unwrap()).unwrap();
        fp32(&bundle(&model), &model).unwrap();

        let other = Model::new(&state.architecture, 1, Device::Cpu);
        for name in ["layers.0.qkv.weight", "head.weight"] {
            let weights = other.weights();
            let (_, weight) = weights.iter().find(|(other, _)| other == name).unwrap();
            let _ = tch::no_grad(|| weight.get(3).get(5).g_add_scalar_(20.0));
            let error = fp32(&bundle(&other), &model).unwrap_err();
            assert!(matches!(error, Error::Differs { .. }), "{name}: {error}");
        }
    }
}
