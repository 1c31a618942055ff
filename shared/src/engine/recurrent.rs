//! Streams of models whose state has a fixed size: it goes into the graph whole and comes out whole,
//! and a token costs the same however many came before it.
//!
//! Rows that get the same number of tokens run together, others one group after another: there is no
//! padding, which would change the state of the rows that have it.

use std::collections::BTreeMap;

use ndarray::ArrayView3;

use super::rows::{Rows, copy_rows, select_rows};
use super::{EngineError, Stream};
use crate::encoding::Token;
use crate::manifest::Manifest;

/// What an engine does for such a stream.
pub(super) trait Graph: Send {
    /// Runs `ids` `[batch, time]` after `state` (by the manifest's order, each `[batch, width]` row by
    /// row): the logits `[batch, time, vocabulary]`, and then the state behind them. `rows` knows what
    /// the rows of the batch, `chosen` of all, are conditioned on.
    fn run(
        &self,
        ids: &[Token],
        rows: &Rows,
        chosen: &[usize],
        state: Vec<Vec<f32>>,
    ) -> Result<Vec<Vec<f32>>, EngineError>;
}

/// The state of a batch of sequences.
pub(super) struct Recurrent<G> {
    graph: G,
    rows: Rows,
    vocabulary: usize,
    /// Numbers of each state tensor for one row.
    widths: Vec<usize>,
    /// By the manifest's order, `[batch, width]`.
    state: Vec<Vec<f32>>,
    /// Of the last run, `[batch, time, vocabulary]`.
    logits: Vec<f32>,
}

/// Whether the model of `manifest` is run by [`Recurrent`].
pub(super) fn is_recurrent(manifest: &Manifest) -> bool {
    !manifest.state.iter().any(|state| state.is_cache())
}

impl<G: Graph> Recurrent<G> {
    pub(super) fn new(graph: G, manifest: &Manifest, rows: Rows) -> Self {
        let tensors = manifest.state.iter();
        let widths: Vec<usize> = tensors.map(|s| s.shape(1, 1).iter().product()).collect();
        let zeros = |width: &usize| vec![0.0; rows.batch() * width];
        Self {
            graph,
            vocabulary: manifest.architecture.vocabulary(),
            state: widths.iter().map(zeros).collect(),
            widths,
            rows,
            logits: Vec::new(),
        }
    }
}

impl<G: Graph> Stream for Recurrent<G> {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let (time, _) = self.rows.plan(tokens, 0)?;
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, tokens) in tokens.iter().enumerate().filter(|(_, t)| !t.is_empty()) {
            groups.entry(tokens.len()).or_default().push(row);
        }
        // Nothing is changed before every group has run.
        let mut state = self.state.clone();
        let shape = [self.rows.batch(), time, self.vocabulary];
        let mut logits = vec![0.0; shape.iter().product()];
        for (length, rows) in groups {
            let ids: Vec<Token> = rows.iter().flat_map(|&row| tokens[row]).copied().collect();
            let tensors = std::iter::zip(&self.state, &self.widths);
            let of_rows = |(all, &width): (&Vec<f32>, &usize)| -> Vec<f32> {
                let row = |&row: &usize| &all[row * width..][..width];
                rows.iter().flat_map(row).copied().collect()
            };
            let before: Vec<Vec<f32>> = tensors.map(of_rows).collect();
            let mut outputs = self.graph.run(&ids, &self.rows, &rows, before)?.into_iter();
            let of_group = outputs.next().unwrap_or_default();
            give(
                &of_group,
                &mut logits,
                &rows,
                length * self.vocabulary,
                time * self.vocabulary,
            );
            for ((of_group, all), &width) in outputs.zip(&mut state).zip(&self.widths) {
                give(&of_group, all, &rows, width, width);
            }
        }
        (self.state, self.logits) = (state, logits);
        self.rows.advance(tokens);
        ArrayView3::from_shape(shape, &self.logits).map_err(|error| EngineError::Runtime {
            engine: "the stream",
            doing: "return its logits".to_owned(),
            why: error.to_string(),
        })
    }

    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        self.rows.condition(conditions)
    }

    fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.rows.reorder(rows)?;
        self.state
            .iter_mut()
            .for_each(|state| copy_rows(state, rows));
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        let selected = self.rows.select(rows)?;
        for (state, width) in self.state.iter_mut().zip(&self.widths) {
            let mut fewer = vec![0.0; rows.len() * width];
            select_rows(state, self.rows.batch(), rows, &mut fewer);
            *state = fewer;
        }
        self.rows = selected;
        Ok(())
    }

    fn keep(&mut self, lengths: &[usize]) {
        // A state is of all tokens: without some of them it is none.
        let kept = |(row, &length): (usize, &usize)| match self.rows.len(row) > length {
            true => 0,
            false => length,
        };
        let kept: Vec<usize> = lengths.iter().enumerate().map(kept).collect();
        for (row, _) in kept.iter().enumerate().filter(|(_, kept)| **kept == 0) {
            for (state, &width) in self.state.iter_mut().zip(&self.widths) {
                state[row * width..][..width].fill(0.0);
            }
        }
        self.rows.keep(&kept);
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.state.iter_mut().for_each(|state| state.fill(0.0));
    }

    fn len(&self, row: usize) -> usize {
        self.rows.len(row)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Copies the `size` numbers of each of a group's rows to the places of those `rows`, which lie
/// `stride` apart.
fn give(group: &[f32], all: &mut [f32], rows: &[usize], size: usize, stride: usize) {
    for (numbers, &row) in group.chunks_exact(size).zip(rows) {
        all[row * stride..][..size].copy_from_slice(numbers);
    }
}
