//! Tokens a second of the engine as shipped (8 bits, ONNX Runtime) against `generate()` of Python's
//! transformers in 32 bits with a model of the same shape, up to a context of 1024, in turns.
//!
//! `FAMAM_PYTHON` names a Python with PyTorch and transformers (`python3` where it is not set).
//!
//! ```sh
//! cargo bench -p famam-shared --bench peer_generate
//! ```

#[path = "../measure/mod.rs"]
mod measure;
#[path = "../../tests/model/mod.rs"]
mod model;
#[path = "../peer/mod.rs"]
mod peer;

use std::error::Error;

use famam_shared::architecture::{Activation, Architecture, Transformer};
use famam_shared::bundle::Bundle;
use famam_shared::encoding::{Token, TokenSet};
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::manifest::Precision;
use famam_shared::sampling::{Candidates, Settings, Words};
use measure::{load, median, timed};
use peer::Peer;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Where generation ends, and how many of the tokens before are timed.
const CONTEXT: usize = 1024;
const TOKENS: usize = 64;
/// Turns, of which the median is taken.
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    println!("the engine as shipped and transformers; load {}", load());
    let default = measure::default_model();
    let large = measure::large();
    let weights = model::weights(&large, 1);
    let random = Bundle::read(&model::file(&large, &weights, Precision::Int8, CONTEXT))?;
    let mut models = vec![("6 layers, d = 512", large, random)];
    if let Architecture::Transformer(shape) = default.manifest.architecture.clone() {
        models.insert(0, ("the default model", shape, default));
    }
    for (name, shape, bundle) in models {
        let asked = question(&shape);
        let needed = "PyTorch and transformers";
        let mut peer = match Peer::start(include_str!("peer.py"), asked.as_ref(), needed) {
            Ok(peer) => peer,
            Err(error) => {
                println!("skipped: {error}");
                return Ok(());
            }
        };
        for threads in [1, 2] {
            let engine = engine::load(&bundle, threads, Choice::Auto)?;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                ours.push(generate(&*engine, shape.vocabulary)?);
                theirs.push(peer.ask(&threads.to_string())?);
            }
            let ratios = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours);
            let ratio = median(&ratios.collect::<Vec<f64>>());
            let [ours, theirs] = [ours, theirs].map(|times| 1e3 / median(&times));
            println!(
                "figure | {name} as shipped against transformers' generate(), {threads} thread(s), up to context {CONTEXT} | \
                 {ours:.0} and {theirs:.0} tokens/s, {ratio:.2} times | at least 4"
            );
        }
    }
    Ok(())
}

/// What the peer is told: its shape, and what it is to time.
fn question(model: &Transformer) -> String {
    let gated = model.activation == Activation::SwiGlu;
    let Transformer {
        vocabulary,
        layers,
        d_model,
        heads,
        kv_heads,
        d_ff,
        tied,
        ..
    } = model;
    format!(
        r#"{{"vocabulary": {vocabulary}, "layers": {layers}, "width": {d_model}, "heads": {heads}, "kv_heads": {kv_heads},
            "inner": {d_ff}, "tied": {tied}, "gated": {gated}, "context": {CONTEXT}, "tokens": {TOKENS}}}"#
    )
}

/// Milliseconds a token, the prompt's apart. What is drawn is drawn of all tokens, as the peer draws.
fn generate(engine: &dyn Engine, vocabulary: usize) -> Result<f64, Box<dyn Error>> {
    let manifest = engine.manifest();
    let encoding = manifest.encoding.build(manifest.vocabulary.genres.len())?;
    let words = Words::new(&*encoding);
    let (settings, mut rng) = (Settings::default(), ChaCha8Rng::seed_from_u64(1));
    let (mut candidates, mut all) = (Candidates::default(), TokenSet::new(vocabulary));
    all.insert_range(0..vocabulary as Token);
    let mut stream = engine.open(1, CONTEXT)?;
    let prompt = vec![1; CONTEXT - TOKENS - 1];
    for piece in prompt.chunks(128) {
        stream.run(&[piece])?;
    }
    let (drawn, time) = timed(|| -> Result<Token, Box<dyn Error>> {
        (0..TOKENS).try_fold(1, |token, _| {
            let logits = stream.run(&[&[token]])?;
            let logits = logits.as_slice().ok_or("logits of one token")?;
            candidates.fill(logits, &all);
            candidates.filter(&settings, |token| words.class(token));
            Ok(candidates.draw(&mut rng).ok_or("a token")?)
        })
    });
    drawn?;
    Ok(time / TOKENS as f64)
}
