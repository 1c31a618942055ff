//! Engines: what runs a bundle's step graph.
//!
//! Three stand behind one small trait: Famam's own (`native`), which runs Transformers several times as fast as
//! the others and on x86-64 alone; ONNX Runtime ([`ort`]), loaded at run time; and [`rten`], pure Rust, compiled
//! in. An [`Engine`] is a loaded model, shared by all; a [`Stream`] is one cache.

mod lanes;
mod library;
#[cfg(target_arch = "x86_64")]
mod native;
mod ort;
mod recurrent;
mod rows;
mod rten;

use std::sync::Arc;
use std::task::Poll;

use ndarray::ArrayView3;

use crate::bundle::Bundle;
use crate::encoding::Token;
use crate::manifest::Manifest;

pub use lanes::{Lanes, alone};
pub use library::find as find_onnxruntime;
pub use ort::environment as onnxruntime;

/// A loaded model.
pub trait Engine: Send + Sync {
    /// The bundle's manifest.
    fn manifest(&self) -> &Manifest;
    /// Which engine this is, with its version: `ONNX Runtime 1.31.1`, `rten 0.27.0`.
    fn name(&self) -> String;
    /// Why this is not ONNX Runtime, where [`Choice::Auto`] asked for it.
    fn fallback(&self) -> Option<&str> {
        None
    }
    /// So many streams may well be run at once, each on a thread of the caller's.
    fn side_by_side(&self) -> usize {
        1
    }
    /// A new cache for `batch` sequences, empty, for at most `capacity` tokens in each.
    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError>;
}

/// The cache of a batch of sequences.
pub trait Stream: Send {
    /// Appends `tokens[row]` to each row (rows may differ in length; at least one token in one row)
    /// and returns the logits `[batch, time, vocabulary]`, valid at `[row, i]` for `i < tokens[row].len()`.
    /// After an error the rows are as they were, unless [`EngineError::Lost`] says that they are empty.
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError>;
    /// As [`Stream::run`], of a stream that is run together with others: pending until these have asked for a run,
    /// too.
    fn poll_run(&mut self, tokens: &[&[Token]]) -> Poll<Result<ArrayView3<'_, f32>, EngineError>> {
        Poll::Ready(self.run(tokens))
    }
    /// What each row is conditioned on from here on, where the model adds that to every token
    /// ([`Ends::split`]); nothing before this is called. Without effect on other models.
    ///
    /// # Errors
    /// Another number of rows than the stream's, a token that the model does not know.
    ///
    /// [`Ends::split`]: crate::architecture::Ends::split
    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError>;
    /// Has each row go on from what row `rows[row]` holds now, tokens and conditions.
    ///
    /// # Errors
    /// Another number of rows than the stream's, a row that it lacks, [`EngineError::Fixed`] where an
    /// engine cannot do it.
    fn reorder(&mut self, _rows: &[usize]) -> Result<(), EngineError> {
        Err(EngineError::Fixed)
    }
    /// Goes on with these of its rows only, in this order, which then are all that it has.
    ///
    /// # Errors
    /// No row, one that it lacks, [`EngineError::Fixed`] where an engine cannot do it.
    fn select(&mut self, _rows: &[usize]) -> Result<(), EngineError> {
        Err(EngineError::Fixed)
    }
    /// Has each row forget all behind its first `lengths[row]` tokens. A stream whose state cannot be
    /// shortened forgets all of it instead.
    fn keep(&mut self, lengths: &[usize]);
    /// Forgets all tokens, not what they are conditioned on.
    fn clear(&mut self);
    /// Tokens in the cache of `row`.
    fn len(&self, row: usize) -> usize;
    /// Whether no row has a token.
    fn is_empty(&self) -> bool;
}

/// Which engine to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Famam's own engine where it runs the model; else ONNX Runtime where its library is found, otherwise
    /// rten, and [`Engine::fallback`] says why.
    #[default]
    Auto,
    /// Famam's own engine or an error.
    Native,
    /// ONNX Runtime or an error.
    Ort,
    /// rten.
    Rten,
}

/// Loads `bundle` into an engine that computes on `threads` threads.
///
/// # Errors
/// The engine's library is missing (never with [`Choice::Auto`]) or the engine refuses the model.
pub fn load(
    bundle: &Bundle,
    threads: usize,
    choice: Choice,
) -> Result<Arc<dyn Engine>, EngineError> {
    let threads = threads.max(1);
    let rten =
        |fallback| Ok(Arc::new(rten::Rten::load(bundle, threads, fallback)?) as Arc<dyn Engine>);
    if choice == Choice::Rten {
        return rten(None);
    }
    if choice != Choice::Ort {
        let native = native(bundle, threads);
        if native.is_ok() || choice == Choice::Native {
            return native;
        }
    }
    match ort::Ort::load(bundle, threads) {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(error) if choice == Choice::Auto => rten(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Loads `bundle` into Famam's own engine.
fn native(bundle: &Bundle, threads: usize) -> Result<Arc<dyn Engine>, EngineError> {
    #[cfg(target_arch = "x86_64")]
    return Ok(Arc::new(native::Native::load(bundle, threads)?));
    #[cfg(not(target_arch = "x86_64"))]
    Err(EngineError::Runtime {
        engine: "Famam's engine",
        doing: "load the model".to_owned(),
        why: "it runs on x86-64 alone".to_owned(),
    })
}

/// Why an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// ONNX Runtime's library is not where it is looked for.
    #[error(
        "ONNX Runtime 1.31.1 was not found (looked for {looked}): put its library there, or set {} to its path",
        library::VARIABLE
    )]
    Missing {
        /// The files that were tried.
        looked: String,
    },
    /// ONNX Runtime's library is there and does not start.
    #[error("ONNX Runtime could not be started from {path}: {why}")]
    Library {
        /// The library.
        path: String,
        /// What it said.
        why: String,
    },
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
    /// A step failed in an engine that owns the cache while it runs; all rows are empty now.
    #[error("{engine} failed and the cache is lost: {why}. Run the prompt again")]
    Lost {
        /// The engine.
        engine: &'static str,
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
    /// A stream of no rows, no capacity, or more positions than the model knows.
    #[error(
        "no stream of {batch} rows and {capacity} tokens: this model takes from 1 to {most} tokens"
    )]
    Size {
        /// Rows.
        batch: usize,
        /// Tokens.
        capacity: usize,
        /// The model's positions.
        most: usize,
    },
    /// Another number of rows than the stream was opened for.
    #[error("a stream of {batch} rows was given {rows}")]
    Batch {
        /// Rows of the stream.
        batch: usize,
        /// Rows given.
        rows: usize,
    },
    /// Rows that should go on from others, in an engine that cannot copy them.
    #[error("this engine cannot copy the rows of a stream: take another for beam search")]
    Fixed,
    /// Nothing to run.
    #[error("a run needs at least one token")]
    NoToken,
    /// A token that the model does not know.
    #[error("token {token} is outside the model's vocabulary of {vocabulary}")]
    Token {
        /// The token.
        token: Token,
        /// Tokens of the model.
        vocabulary: usize,
    },
}
