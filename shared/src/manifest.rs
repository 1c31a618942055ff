//! The manifest: what a bundle says of itself, as JSON in its `famam.manifest` metadata.

use serde::{Deserialize, Serialize};

use crate::bands::Bands;
use crate::encoding;
use crate::sampling;
use crate::vocabulary::Vocabulary;

pub use crate::architecture::Architecture;

/// The format's version that this build writes; older ones open, newer ones are refused.
pub const VERSION: u32 = 1;

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format, [`VERSION`] when written.
    pub version: u32,
    /// The model's name, for people.
    pub name: String,
    /// SHA-256 of the bundle, in hexadecimal; see `docs/formats.md` for what it covers.
    pub hash: String,
    /// The encoding and its settings.
    pub encoding: encoding::Spec,
    /// Genres.
    pub vocabulary: Vocabulary,
    /// Which instruments play together in each genre; empty where nobody counted them.
    #[serde(default, skip_serializing_if = "Bands::is_empty")]
    pub bands: Bands,
    /// What the graph computes.
    pub architecture: Architecture,
    /// How the weights are stored.
    pub precision: Precision,
    /// What the model was trained to see at once.
    pub context: Context,
    /// Every state tensor of the graph, in the order of its inputs.
    pub state: Vec<StateTensor>,
    /// What to sample with where the user says nothing.
    pub sampling: sampling::Settings,
    /// How the model came to be.
    pub provenance: Provenance,
}

/// How the weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 8-bit integers in [-64, 63] with a scale for each output channel; activations with one
    /// scale a token.
    Int8,
}

/// What a model was trained to see at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Tokens, the head included.
    pub tokens: usize,
    /// Bars.
    pub bars: usize,
}

/// A tensor that carries the past from one run of the graph to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateTensor {
    /// Name of the graph's input.
    pub input: String,
    /// Name of the graph's output.
    pub output: String,
    /// Sizes; `"batch"` and `"capacity"` are chosen by the engine.
    pub shape: Vec<Dimension>,
}

impl StateTensor {
    /// Its shape for so many sequences and so many slots in each.
    pub fn shape(&self, batch: usize, capacity: usize) -> Vec<usize> {
        let size = |dimension: &Dimension| match dimension {
            Dimension::Fixed(size) => *size,
            Dimension::Named(name) if name == "batch" => batch,
            Dimension::Named(_) => capacity,
        };
        self.shape.iter().map(size).collect()
    }

    /// Whether it has a slot for each token; what has none is carried whole from run to run.
    pub fn is_cache(&self) -> bool {
        let capacity =
            |size: &Dimension| matches!(size, Dimension::Named(name) if name == "capacity");
        self.shape.iter().any(capacity)
    }
}

/// One size of a [`StateTensor`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dimension {
    /// A fixed size.
    Fixed(usize),
    /// `"batch"` or `"capacity"`.
    Named(String),
}

/// How a model came to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the data set.
    pub data_set: String,
    /// Licence of the model, with what its data asks for.
    pub licence: String,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Training loss at the end, nats a token.
    pub training_loss: Option<f64>,
    /// Validation loss of the exported weights, nats a token.
    pub validation_loss: Option<f64>,
}
