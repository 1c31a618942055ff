//! What a model has read: a stream, and the tokens that each of its rows has.
//!
//! Music that begins as the last did goes on from where the two part, so that what is known of a song is
//! read once, however often the rest of it is asked for. That changes no note where an engine's logits do
//! not depend on how a prompt is cut: in 8 bits on all engines, in 32 bits on
//! Famam's own and ONNX Runtime.

use std::future::poll_fn;

use ndarray::ArrayView3;

use crate::encoding::Token;
use crate::engine::{Engine, EngineError, Stream};

/// A stream and what it has read.
pub struct Cache {
    stream: Box<dyn Stream>,
    /// The hash of the bundle that reads.
    hash: String,
    rows: Vec<Vec<Token>>,
    /// What each row is conditioned on besides, of a model that adds it to every token.
    conditions: Vec<Vec<Token>>,
}

impl Cache {
    /// An empty one of so many rows, each as long as the model's context.
    pub(super) fn open(engine: &dyn Engine, rows: usize) -> Result<Self, EngineError> {
        let manifest = engine.manifest();
        Ok(Self {
            stream: engine.open(rows, manifest.context.tokens)?,
            hash: manifest.hash.clone(),
            rows: vec![Vec::new(); rows],
            conditions: vec![Vec::new(); rows],
        })
    }

    /// Whether it is of this model and has so many rows.
    pub(super) fn fits(&self, engine: &dyn Engine, rows: usize) -> bool {
        self.hash == engine.manifest().hash && self.rows.len() == rows
    }

    /// Tokens of the longest row.
    pub(super) fn len(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Has each row read `tokens[row]`, and `logits[row]` become those behind its last token; see [`Stream::run`].
    pub(super) async fn run(
        &mut self,
        tokens: &[&[Token]],
        logits: &mut [Vec<f32>],
    ) -> Result<(), EngineError> {
        let stream = &mut self.stream;
        let mut take = |all: ArrayView3<f32>| {
            let read = tokens
                .iter()
                .enumerate()
                .filter(|(_, tokens)| !tokens.is_empty());
            for (row, tokens) in read {
                let last = all.slice(ndarray::s![row, tokens.len() - 1, ..]);
                logits[row].clear();
                logits[row].extend(last.iter());
            }
        };
        let read = poll_fn(|_| stream.poll_run(tokens).map_ok(&mut take)).await;
        for (row, all) in self.rows.iter_mut().enumerate() {
            match &read {
                Ok(()) => all.extend_from_slice(tokens[row]),
                Err(_) => all.truncate(self.stream.len(row)),
            }
        }
        read
    }

    /// Has the rows begin `sequences`, on `conditions`: how much of each they have read already, less than all
    /// of it.
    pub(super) fn begin(
        &mut self,
        conditions: Vec<Vec<Token>>,
        sequences: &[&[Token]],
    ) -> Result<Vec<usize>, EngineError> {
        let common = |(read, sequence): (&Vec<Token>, &&[Token])| {
            let same = read.iter().zip(*sequence).take_while(|(a, b)| a == b);
            same.count().min(sequence.len().saturating_sub(1))
        };
        let common: Vec<usize> = self.rows.iter().zip(sequences).map(common).collect();
        let longest = sequences.iter().map(|sequence| sequence.len()).max();
        // A stream that is cleared takes only the room that it needs, which makes its steps cheaper.
        let worth = common.iter().max() >= longest.map(|longest| longest / 2).as_ref();
        match worth && self.conditions == conditions {
            true => self.stream.keep(&common),
            false => {
                self.stream.clear();
                let rows: Vec<&[Token]> = conditions.iter().map(Vec::as_slice).collect();
                self.stream.condition(&rows)?;
                self.conditions = conditions;
            }
        }
        for (row, read) in self.rows.iter_mut().enumerate() {
            read.truncate(self.stream.len(row));
        }
        Ok(self.rows.iter().map(Vec::len).collect())
    }

    /// Has each row go on from what row `rows[row]` holds now.
    pub(super) fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.stream.reorder(rows)?;
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        self.conditions = rows
            .iter()
            .map(|&row| self.conditions[row].clone())
            .collect();
        Ok(())
    }
}
