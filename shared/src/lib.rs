//! What Famam's plugin and trainer share: scores, MIDI files, encodings, music theory, sampling,
//! generation, inference engines and model bundles.
//!
//! No GUI, no plugin API, no libtorch, no HDF5.

pub mod architecture;
pub mod bands;
pub mod bundle;
pub mod encoding;
pub mod engine;
pub mod generation;
pub mod graph;
pub mod instrument;
pub mod manifest;
pub mod midi;
pub mod onnx;
#[cfg(feature = "prompts")]
pub mod prompts;
pub mod quantize;
pub mod sampling;
pub mod say;
pub mod score;
pub mod theory;
pub mod vocabulary;
pub mod write_file;

pub use theory::{chord, key};
