//! A model that knows nothing: its logits are a hash of the tokens in its cache, with something on top for each
//! kind of token.

#[path = "../manifest/mod.rs"]
mod manifest;

use famam_shared::encoding::{Spec, Token};
use famam_shared::engine::{Engine, EngineError, Stream};
use famam_shared::manifest::{Context, Manifest};
use ndarray::{Array3, ArrayView3};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The model.
pub struct Oracle {
    manifest: Manifest,
    /// What each token has on top.
    above: Vec<f32>,
    spent: Arc<Spent>,
}

/// Steps of one token, and the nanoseconds of all runs.
#[derive(Default)]
struct Spent(AtomicU64, AtomicU64);

impl Oracle {
    /// Steps of one token so far, and the microseconds that all runs took.
    #[allow(dead_code, reason = "asked for by the bench alone")]
    pub fn steps(&self) -> (u64, f64) {
        let Spent(steps, nanos) = &*self.spent;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(steps), load(nanos) as f64 / 1e3)
    }

    /// `above` by the kinds' names.
    pub fn new(encoding: Spec, context: Context, above: &dyn Fn(&str) -> f32) -> Self {
        let manifest = manifest::manifest(encoding, &["rock", "jazz"], context);
        let genres = manifest.vocabulary.genres.len();
        let built = manifest.encoding.build(genres).unwrap();
        let tokens = 0..built.vocabulary_size() as Token;
        Self {
            above: tokens.map(|token| above(built.kind(token))).collect(),
            spent: Arc::default(),
            manifest,
        }
    }
}

impl Engine for Oracle {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn name(&self) -> String {
        "oracle".to_owned()
    }
    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        Ok(Box::new(OracleStream {
            rows: vec![(SEED, 0); batch],
            capacity,
            logits: Array3::zeros((0, 0, 0)),
            above: self.above.clone(),
            spent: self.spent.clone(),
        }))
    }
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

struct OracleStream {
    /// A hash of what is in each row's cache, and its length.
    rows: Vec<(u64, usize)>,
    capacity: usize,
    logits: Array3<f32>,
    above: Vec<f32>,
    spent: Arc<Spent>,
}

fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl Stream for OracleStream {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let start = Instant::now();
        let longest = tokens.iter().map(|row| row.len()).max().unwrap_or(0);
        self.logits = Array3::zeros((tokens.len(), longest, self.above.len()));
        for (row, tokens) in tokens.iter().enumerate() {
            for (i, &token) in tokens.iter().enumerate() {
                let (hash, length) = &mut self.rows[row];
                (*hash, *length) = (mix(*hash, u64::from(token) + 1), *length + 1);
                assert!(*length <= self.capacity, "the context is kept");
                for (other, above) in self.above.iter().enumerate() {
                    let random = (mix(*hash, other as u64) >> 40) as f32 / (1u64 << 24) as f32;
                    self.logits[(row, i, other)] = 4.0 * random + above;
                }
            }
        }
        let Spent(steps, nanos) = &*self.spent;
        steps.fetch_add(u64::from(longest == 1), Ordering::Relaxed);
        nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        Ok(self.logits.view())
    }
    fn condition(&mut self, _: &[&[Token]]) -> Result<(), EngineError> {
        Ok(())
    }
    fn keep(&mut self, lengths: &[usize]) {
        let rows = self.rows.iter_mut().zip(lengths);
        let longer = rows.filter(|(row, length)| row.1 > **length);
        longer.for_each(|(row, _)| *row = (SEED, 0));
    }
    fn reorder(&mut self, from: &[usize]) -> Result<(), EngineError> {
        self.rows = from.iter().map(|&row| self.rows[row]).collect();
        Ok(())
    }
    fn clear(&mut self) {
        self.rows.fill((SEED, 0));
    }
    fn len(&self, row: usize) -> usize {
        self.rows[row].1
    }
    fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.1 == 0)
    }
}
