//! Models with random weights, and what they compute: the formulas of `architecture/` in plain
//! 64-bit Rust, one token and one head after the other.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod hostile;
pub mod lstm;
pub mod rwkv;

use std::collections::HashMap;
use std::sync::Arc;

use famam_shared::architecture::{Activation, Positions, Transformer};
use famam_shared::bands::Bands;
use famam_shared::bundle::{self, Bundle};
use famam_shared::encoding::{Spec, Token};
use famam_shared::engine::{self, Choice, Engine, Stream};
use famam_shared::manifest::{Architecture, Context, Manifest, Precision, Provenance};
use famam_shared::sampling;
use famam_shared::vocabulary::Vocabulary;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// Weights by name.
pub type Weights = HashMap<String, Vec<f32>>;

pub fn rotary() -> Positions {
    Positions::Rotary { theta: 10_000.0 }
}

pub fn relative() -> Positions {
    Positions::Relative { max_distance: 255 }
}

pub fn learned() -> Positions {
    Positions::Learned { length: 1030 }
}

pub fn labels() -> (Spec, Vocabulary) {
    let genres = ["rock", "jazz", "pop"].map(str::to_owned);
    (
        Spec::Multitrack(Default::default()),
        Vocabulary::new(genres),
    )
}

/// 4 layers, d = 256, 4 query and 2 key/value heads.
pub fn medium(positions: Positions) -> Transformer {
    let (spec, vocabulary) = labels();
    let size = spec
        .build(vocabulary.genres.len())
        .expect("the default settings")
        .vocabulary_size();
    Transformer {
        vocabulary: size,
        layers: 4,
        d_model: 256,
        heads: 4,
        kv_heads: 2,
        d_ff: 1024,
        positions,
        activation: Activation::Gelu,
        tied: true,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        conditioning_scale: None,
    }
}

/// 2 layers, d = 32, with what [`medium`] has not.
pub fn small(positions: Positions) -> Transformer {
    Transformer {
        layers: 2,
        d_model: 32,
        d_ff: 48,
        activation: Activation::SwiGlu,
        tied: false,
        embedding_scale: 5.0,
        logit_scale: 0.8,
        ..medium(positions)
    }
}

/// Weights such that logits spread over some nats, as those of a trained model do.
pub fn weights<A: Clone + Into<Architecture>>(model: &A, seed: u64) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = move || (rng.next_u32() as f32 / u32::MAX as f32) * 2.0 - 1.0;
    let mut values = |name: &str, shape: &[usize]| -> Vec<f32> {
        let (base, spread) = match name {
            _ if name.ends_with("norm.weight") => (1.0, 0.2),
            _ if name.ends_with("norm.bias") => (0.0, 0.1),
            _ if name.ends_with(".bias") => (0.0, 1.0),
            _ if name.contains(".mix_") => (0.5, 0.5),
            _ if name.ends_with(".decay") => (-2.0, 3.0),
            _ if name.ends_with(".bonus") => (0.0, 2.0),
            "embedding.weight" => (0.0, 0.15),
            "positions.weight" => (0.0, 0.5),
            _ => (0.0, 2.0 / (*shape.last().expect("a shape") as f32).sqrt()),
        };
        (0..shape.iter().product())
            .map(|_| base + spread * uniform())
            .collect()
    };
    let architecture: Architecture = model.clone().into();
    architecture
        .weights()
        .into_iter()
        .map(|(name, shape)| (name.clone(), values(&name, &shape)))
        .collect()
}

pub fn manifest<A: Clone + Into<Architecture>>(
    model: &A,
    precision: Precision,
    context: usize,
) -> Manifest {
    let (encoding, vocabulary) = labels();
    Manifest {
        version: 0,
        name: "random".to_owned(),
        hash: String::new(),
        encoding,
        vocabulary,
        bands: Bands::default(),
        architecture: model.clone().into(),
        precision,
        context: Context {
            tokens: context,
            bars: 8,
        },
        state: Vec::new(),
        sampling: sampling::Settings::default(),
        provenance: Provenance::default(),
    }
}

pub fn file<A: Clone + Into<Architecture>>(
    model: &A,
    weights: &Weights,
    precision: Precision,
    context: usize,
) -> Vec<u8> {
    let values = |name: &str| weights.get(name).map(Vec::as_slice);
    bundle::write(&manifest(model, precision, context), &values).expect("a bundle")
}

pub fn engine<A: Clone + Into<Architecture>>(
    model: &A,
    weights: &Weights,
    precision: Precision,
    threads: usize,
    choice: Choice,
) -> Arc<dyn Engine> {
    let bundle = Bundle::read(&file(model, weights, precision, 1024)).expect("what was written");
    engine::load(&bundle, threads, choice).expect("an engine")
}

/// The engines of this machine that run `model`.
pub fn choices_of<A: Clone + Into<Architecture>>(model: &A) -> Vec<Choice> {
    let relative = |t: &Transformer| matches!(t.positions, Positions::Relative { .. });
    let native = match model.clone().into() {
        Architecture::Transformer(t) => native() && !relative(&t),
        Architecture::Lstm(_) | Architecture::Rwkv(_) => false,
    };
    let native = native.then_some(Choice::Native);
    native.into_iter().chain(choices()).collect()
}

/// Whether this processor has what Famam's own engine needs.
#[cfg(target_arch = "x86_64")]
fn native() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(not(target_arch = "x86_64"))]
fn native() -> bool {
    false
}

/// The engines of this machine that run every model; says so where ONNX Runtime is missing.
pub fn choices() -> Vec<Choice> {
    match engine::find_onnxruntime() {
        Ok(_) => vec![Choice::Ort, Choice::Rten],
        Err(error) => {
            eprintln!("ONNX Runtime's part is skipped: {error}");
            vec![Choice::Rten]
        }
    }
}

pub fn tokens<A: Clone + Into<Architecture>>(model: &A, count: usize, seed: u64) -> Vec<Token> {
    let vocabulary = Into::<Architecture>::into(model.clone()).vocabulary();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| (rng.next_u32() as usize % vocabulary) as Token)
        .collect()
}

/// The logits of `tokens`, run in pieces of the lengths that `pieces` gives.
pub fn run(
    stream: &mut dyn Stream,
    tokens: &[Token],
    mut pieces: impl FnMut() -> usize,
) -> Vec<Vec<f32>> {
    let (mut logits, mut rest) = (Vec::new(), tokens);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces().clamp(1, rest.len()));
        let view = stream.run(&[piece]).expect("logits");
        logits.extend((0..piece.len()).map(|i| view.slice(ndarray::s![0, i, ..]).to_vec()));
        rest = after;
    }
    logits
}

/// The logits of every token by the formulas of `architecture/transformer.rs`.
pub fn reference(t: &Transformer, weights: &Weights, tokens: &[Token]) -> Vec<Vec<f64>> {
    let (d, hd, group) = (t.d_model, t.head_dim(), t.heads / t.kv_heads);
    let weight = |name: String| &weights[&name];
    let linear = |x: &[f64], name: String| -> Vec<f64> {
        weight(name)
            .chunks_exact(x.len())
            .map(|row| dot(x, row))
            .collect()
    };
    let norm = |x: &[f64], name: String| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let (weight, bias) = (
            weight(format!("{name}.weight")),
            weight(format!("{name}.bias")),
        );
        let scaled = x.iter().map(|v| (v - mean) / (variance + 1e-5).sqrt());
        scaled
            .zip(weight)
            .zip(bias)
            .map(|((v, &w), &b)| v * f64::from(w) + f64::from(b))
            .collect()
    };
    let rotate = |x: &mut [f64], pos: usize| {
        if let Positions::Rotary { theta } = t.positions {
            for i in 0..hd / 2 {
                let angle = pos as f64 * f64::from(theta).powf(-2.0 * i as f64 / hd as f64);
                let (a, b) = (x[i], x[i + hd / 2]);
                x[i] = a * angle.cos() - b * angle.sin();
                x[i + hd / 2] = b * angle.cos() + a * angle.sin();
            }
        }
    };

    let mut keys: Vec<Vec<Vec<f64>>> = vec![Vec::new(); t.layers];
    let mut values = keys.clone();
    let mut logits = Vec::new();
    for (pos, &token) in tokens.iter().enumerate() {
        let row = &weights["embedding.weight"][usize::from(token) * d..][..d];
        let mut x: Vec<f64> = row
            .iter()
            .map(|&w| f64::from(w) * f64::from(t.embedding_scale))
            .collect();
        for (i, x) in x.iter_mut().enumerate() {
            let angle = pos as f64 / 10_000f64.powf((i / 2 * 2) as f64 / d as f64);
            *x += match t.positions {
                Positions::Sinusoidal if i % 2 == 0 => angle.sin(),
                Positions::Sinusoidal => angle.cos(),
                Positions::Learned { .. } => f64::from(weights["positions.weight"][pos * d + i]),
                Positions::Relative { .. } | Positions::Rotary { .. } => 0.0,
            };
        }
        for l in 0..t.layers {
            let h = norm(&x, format!("layers.{l}.attention_norm"));
            let mut qkv = linear(&h, format!("layers.{l}.qkv.weight"));
            qkv[..(t.heads + t.kv_heads) * hd]
                .chunks_exact_mut(hd)
                .for_each(|head| rotate(head, pos));
            let (q, kv) = qkv.split_at(t.heads * hd);
            let (k, v) = kv.split_at(t.kv_heads * hd);
            keys[l].push(k.to_vec());
            values[l].push(v.to_vec());
            let mut mixed = Vec::new();
            for (head, q) in q.chunks_exact(hd).enumerate() {
                let at = head / group;
                let score = |past: usize| {
                    let k = &keys[l][past][at * hd..][..hd];
                    let mut score: f64 = q.iter().zip(k).map(|(a, b)| a * b).sum();
                    if let Positions::Relative { max_distance } = t.positions {
                        let distance = (pos - past).min(max_distance);
                        let table = &weights[&format!("layers.{l}.relative.weight")];
                        score += dot(q, &table[(at * (max_distance + 1) + distance) * hd..][..hd]);
                    }
                    score / (hd as f64).sqrt()
                };
                let scores: Vec<f64> = (0..=pos).map(score).collect();
                let shares = softmax(&scores);
                mixed.extend((0..hd).map(|i| {
                    shares
                        .iter()
                        .zip(&values[l])
                        .map(|(share, v)| share * v[at * hd + i])
                        .sum::<f64>()
                }));
            }
            add(&mut x, &linear(&mixed, format!("layers.{l}.out.weight")));
            let h = norm(&x, format!("layers.{l}.feed_forward_norm"));
            let up = linear(&h, format!("layers.{l}.up.weight"));
            let h: Vec<f64> = match t.activation {
                Activation::Gelu => up
                    .iter()
                    .map(|&v| v * 0.5 * (1.0 + libm::erf(v / std::f64::consts::SQRT_2)))
                    .collect(),
                Activation::SwiGlu => {
                    let gate = linear(&h, format!("layers.{l}.gate.weight"));
                    gate.iter()
                        .zip(&up)
                        .map(|(&g, u)| g / (1.0 + (-g).exp()) * u)
                        .collect()
                }
            };
            add(&mut x, &linear(&h, format!("layers.{l}.down.weight")));
        }
        let h = norm(&x, "final_norm".to_owned());
        let head = if t.tied { "embedding" } else { "head" };
        let mut row = linear(&h, format!("{head}.weight"));
        row.iter_mut()
            .for_each(|logit| *logit *= f64::from(t.logit_scale));
        logits.push(row);
    }
    logits
}

pub fn dot(x: &[f64], row: &[f32]) -> f64 {
    x.iter().zip(row).map(|(a, &b)| a * f64::from(b)).sum()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|v| (v - most).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// Set in a test binary that [`emulated`] started.
const EMULATED: &str = "FAMAM_TEST_EMULATED";

/// Whether the processor is emulated, a hundred times slower.
pub fn emulation() -> bool {
    std::env::var_os(EMULATED).is_some()
}

/// Runs this binary's tests whose names contain `tests` on an emulated processor with AVX2 and
/// without VNNI; says so where there is no emulator.
pub fn emulated(tests: &str) {
    if emulation() {
        return;
    }
    let binary = std::env::current_exe().expect("this binary");
    let mut command = std::process::Command::new("qemu-x86_64");
    command
        .args(["-cpu", "Haswell"])
        .arg(binary)
        .args([tests, "--nocapture", "--test-threads=1"]);
    match command.env(EMULATED, "1").output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("test result: ok"),
                "{text}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
            println!(
                "under qemu's Haswell: {}",
                text.lines()
                    .rev()
                    .find(|l| l.starts_with("test result"))
                    .unwrap_or_default()
            );
        }
        Err(error) if cfg!(target_arch = "x86_64") => eprintln!("skipped: qemu-x86_64: {error}"),
        Err(_) => eprintln!("skipped: not an x86-64 processor"),
    }
}

/// A model whose int8 bundle has less than 50 kB.
pub fn tiny() -> Transformer {
    let activation = Activation::Gelu;
    Transformer {
        layers: 1,
        d_model: 16,
        d_ff: 24,
        tied: true,
        activation,
        ..small(rotary())
    }
}

/// `file` with the hash that its bytes ask for in its last place for one.
pub fn mend(mut file: Vec<u8>) -> Vec<u8> {
    let key = b"\"hash\":\"";
    let at = file
        .windows(key.len())
        .rposition(|window| window == key)
        .map(|at| at + key.len());
    if let Some(at) = at.filter(|at| at + 64 <= file.len()) {
        file[at..at + 64].fill(b'0');
        let digits: String = Sha256::digest(&file)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        file[at..at + 64].copy_from_slice(digits.as_bytes());
    }
    file
}
