//! Writes a small bundle with random weights: what the plugin is compiled with before a model is
//! trained, and a model for tests that must not depend on the one that is shipped.
//!
//! `cargo run -p famam-shared --example random_bundle -- models/famam.onnx`

use std::collections::HashMap;
use std::error::Error;

use famam_shared::architecture::{Activation, Positions, Transformer};
use famam_shared::bands::Bands;
use famam_shared::encoding::Spec;
use famam_shared::manifest::{Architecture, Context, Manifest, Precision, Provenance, VERSION};
use famam_shared::vocabulary::Vocabulary;
use famam_shared::{bundle, quantize, sampling, write_file};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const GENRES: [&str; 6] = ["classical", "folk", "jazz", "latin", "pop", "rock"];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("name the file to write")?;
    let encoding = Spec::Multitrack(quantize::Settings {
        positions_per_bar: 48,
        max_duration_bars: 4,
        max_metre_bars: 2,
        velocity_bins: 32,
        ..quantize::Settings::default()
    });
    let vocabulary = Vocabulary::new(GENRES.map(str::to_owned));
    let t = Transformer {
        vocabulary: encoding.build(vocabulary.genres.len())?.vocabulary_size(),
        layers: 4,
        d_model: 64,
        heads: 4,
        kv_heads: 2,
        d_ff: 256,
        positions: Positions::Rotary { theta: 10_000.0 },
        activation: Activation::Gelu,
        tied: true,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        conditioning_scale: None,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut random = move |scale: f32| (rng.next_u32() as f32 / u32::MAX as f32 - 0.5) * scale;
    let weights: HashMap<String, Vec<f32>> = t
        .weights()
        .into_iter()
        .map(|(name, shape)| {
            let length = shape.iter().product();
            let values = match name.as_str() {
                name if name.ends_with("norm.weight") => vec![1.0; length],
                name if name.ends_with(".bias") => vec![0.0; length],
                _ => (0..length).map(|_| random(0.3)).collect(),
            };
            (name, values)
        })
        .collect();
    let manifest = Manifest {
        version: VERSION,
        name: "random weights".to_owned(),
        hash: String::new(),
        encoding,
        vocabulary,
        bands: Bands::default(),
        architecture: Architecture::Transformer(t),
        precision: Precision::Int8,
        context: Context {
            tokens: 1024,
            bars: 8,
        },
        state: Vec::new(),
        sampling: sampling::Settings::default(),
        provenance: Provenance::default(),
    };
    let bytes = bundle::write(&manifest, &|name| weights.get(name).map(Vec::as_slice))?;
    write_file::write(path, &bytes)?;
    Ok(())
}
