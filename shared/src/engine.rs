//! Engines: what runs a bundle's step graph.
//!
//! Two stand behind one small trait: ONNX Runtime ([`ort`]), loaded at run time, and [`rten`], pure
//! Rust, compiled in. An [`Engine`] is a loaded model, shared by all; a [`Stream`] is one cache.

use ndarray::ArrayView3;

use crate::encoding::Token;
use crate::manifest::Manifest;

/// A loaded model.
pub trait Engine: Send + Sync {
    /// The bundle's manifest.
    fn manifest(&self) -> &Manifest;
    /// Which engine this is, with its version: `ONNX Runtime 1.31.1`, `rten 0.27.0`.
    fn name(&self) -> String;
    /// A new cache for `batch` sequences, empty, for at most `capacity` tokens in each.
    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError>;
}

/// The cache of a batch of sequences.
pub trait Stream: Send {
    /// Appends `tokens[row]` to each row (rows may differ in length; at least one token in one row)
    /// and returns the logits `[batch, time, vocabulary]`, valid at `[row, i]` for `i < tokens[row].len()`.
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError>;
    /// Forgets all tokens; keeps the memory.
    fn clear(&mut self);
    /// Tokens in the cache of `row`.
    fn len(&self, row: usize) -> usize;
    /// Whether no row has a token.
    fn is_empty(&self) -> bool;
}

/// Why an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime refused.
    #[error("{engine} could not {doing}: {why}")]
    Runtime {
        /// The engine.
        engine: &'static str,
        /// What was being done.
        doing: String,
        /// What it said.
        why: String,
    },
    /// More tokens than the stream's capacity.
    #[error("a stream of capacity {capacity} cannot take {tokens} more tokens after {len}")]
    Full {
        /// Capacity in tokens.
        capacity: usize,
        /// Tokens in the cache.
        len: usize,
        /// Tokens to append.
        tokens: usize,
    },
}
