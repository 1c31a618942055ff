//! A model that knows nothing: its logits are a hash of the last few tokens of each row.

#![allow(dead_code, reason = "each test uses a part")]

#[path = "../manifest/mod.rs"]
mod manifest;

use famam_shared::encoding::{Spec, Token};
use famam_shared::engine::{Engine, EngineError, Stream};
use famam_shared::manifest::{Context, Manifest};
use ndarray::{Array3, ArrayView3};

pub struct Hashing {
    pub manifest: Manifest,
    vocabulary: usize,
    /// The last tokens that its logits depend on.
    memory: usize,
    /// Logits lie from 0 to this.
    range: f32,
}

impl Hashing {
    pub fn new(encoding: Spec, memory: usize, range: f32) -> Self {
        let context = Context {
            tokens: 1024,
            bars: 8,
        };
        let manifest = manifest::manifest(encoding, &["rock"], context);
        Self {
            vocabulary: manifest.architecture.vocabulary(),
            manifest,
            memory,
            range,
        }
    }

    /// The logits behind `past`.
    pub fn logits(&self, past: &[Token]) -> Vec<f32> {
        logits(past, self.memory, self.range, self.vocabulary)
    }
}

/// FNV-1a over the last tokens, then over each token of the vocabulary.
fn logits(past: &[Token], memory: usize, range: f32, vocabulary: usize) -> Vec<f32> {
    let next = |hash: u64, value: u64| {
        (hash ^ value)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23)
    };
    let seen = &past[past.len().saturating_sub(memory)..];
    let seen = seen.iter().map(|&token| u64::from(token));
    let hash = seen.fold(0xcbf2_9ce4_8422_2325, next);
    let logit = |token| (next(next(hash, token), 7) >> 40) as f32 / (1u64 << 24) as f32 * range;
    (0..vocabulary as u64).map(logit).collect()
}

impl Engine for Hashing {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn name(&self) -> String {
        "hashing".to_owned()
    }
    fn open(&self, batch: usize, _capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        Ok(Box::new(Rows {
            rows: vec![Vec::new(); batch],
            memory: self.memory,
            range: self.range,
            logits: Array3::zeros((batch, 0, self.vocabulary)),
        }))
    }
}

struct Rows {
    rows: Vec<Vec<Token>>,
    memory: usize,
    range: f32,
    logits: Array3<f32>,
}

impl Stream for Rows {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let time = tokens.iter().map(|row| row.len()).max().unwrap();
        let size = self.logits.dim().2;
        self.logits = Array3::zeros((self.rows.len(), time, size));
        for (row, tokens) in tokens.iter().enumerate() {
            for (i, &token) in tokens.iter().enumerate() {
                self.rows[row].push(token);
                let logits = logits(&self.rows[row], self.memory, self.range, size);
                for (to, logit) in self
                    .logits
                    .slice_mut(ndarray::s![row, i, ..])
                    .iter_mut()
                    .zip(logits)
                {
                    *to = logit;
                }
            }
        }
        Ok(self.logits.view())
    }
    fn condition(&mut self, _conditions: &[&[Token]]) -> Result<(), EngineError> {
        Ok(())
    }
    fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        Ok(())
    }
    fn keep(&mut self, lengths: &[usize]) {
        let rows = self.rows.iter_mut().zip(lengths);
        rows.for_each(|(row, &length)| row.truncate(length));
    }
    fn clear(&mut self) {
        self.rows.iter_mut().for_each(Vec::clear);
    }
    fn len(&self, row: usize) -> usize {
        self.rows[row].len()
    }
    fn is_empty(&self) -> bool {
        self.rows.iter().all(Vec::is_empty)
    }
}
