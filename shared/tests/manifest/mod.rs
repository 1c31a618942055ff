//! What a model says of itself of which nothing but the manifest is there.

use famam_shared::architecture::{Activation, Positions, Transformer};
use famam_shared::bands::Bands;
use famam_shared::encoding::Spec;
use famam_shared::manifest::{Context, Manifest, Precision, Provenance, VERSION};
use famam_shared::sampling;
use famam_shared::vocabulary::Vocabulary;

/// Of a transformer of one layer.
pub fn manifest(encoding: Spec, genres: &[&str], context: Context) -> Manifest {
    let vocabulary = Vocabulary::new(genres.iter().map(|&genre| genre.to_owned()));
    let built = encoding.build(vocabulary.genres.len());
    let transformer = Transformer {
        vocabulary: built.expect("an encoding").vocabulary_size(),
        layers: 1,
        d_model: 4,
        heads: 1,
        kv_heads: 1,
        d_ff: 4,
        positions: Positions::Rotary { theta: 1e4 },
        activation: Activation::Gelu,
        tied: true,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        conditioning_scale: None,
    };
    Manifest {
        version: VERSION,
        name: "no weights".to_owned(),
        hash: String::new(),
        encoding,
        vocabulary,
        bands: Bands::default(),
        architecture: transformer.into(),
        precision: Precision::Fp32,
        context,
        state: Vec::new(),
        sampling: sampling::Settings::default(),
        provenance: Provenance::default(),
    }
}
