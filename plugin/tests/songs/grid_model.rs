//! A bundle with random weights whose encoding is grid: it can write cells among known ones.

use std::collections::HashMap;
use std::path::Path;

use famam_shared::architecture::{Activation, Positions, Transformer};
use famam_shared::bands::Bands;
use famam_shared::bundle;
use famam_shared::encoding::{Spec, grid};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::{Architecture, Context, Manifest, Precision, Provenance, VERSION};
use famam_shared::sampling;
use famam_shared::vocabulary::Vocabulary;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Writes it to a file.
pub fn write(path: &Path) {
    let encoding = Spec::Grid(grid::Settings::default());
    let vocabulary = Vocabulary::new(["jazz".to_owned(), "rock".to_owned()]);
    let size = encoding.build(vocabulary.genres.len()).unwrap();
    let architecture = Architecture::Transformer(Transformer {
        vocabulary: size.vocabulary_size(),
        layers: 1,
        d_model: 32,
        heads: 2,
        kv_heads: 1,
        d_ff: 32,
        positions: Positions::Rotary { theta: 10_000.0 },
        activation: Activation::Gelu,
        tied: true,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        conditioning_scale: None,
    });
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut weights: HashMap<String, Vec<f32>> = HashMap::new();
    for (name, shape) in architecture.weights() {
        let mut uniform = || rng.next_u32() as f32 / u32::MAX as f32 - 0.5;
        let values = (0..shape.iter().product()).map(|_| match name.ends_with("norm.weight") {
            true => 1.0,
            false => 0.5 * uniform(),
        });
        weights.insert(name.clone(), values.collect());
    }
    let band = |by: &[u8]| by.iter().filter_map(|&by| Instrument::new(by)).collect();
    let manifest = Manifest {
        version: VERSION,
        name: "random".to_owned(),
        hash: String::new(),
        bands: Bands::count(3, [(1, band(&[0, 32, 128])), (2, band(&[30, 33, 128]))]),
        encoding,
        vocabulary,
        architecture,
        precision: Precision::Fp32,
        context: Context {
            tokens: 1024,
            bars: 16,
        },
        state: Vec::new(),
        sampling: sampling::Settings::default(),
        provenance: Provenance::default(),
    };
    let values = |name: &str| weights.get(name).map(Vec::as_slice);
    std::fs::write(path, bundle::write(&manifest, &values).unwrap()).unwrap();
}
