//! Famam's own engine: Transformers with rotary, sinusoidal or learned positions, on processors of x86-64 with
//! AVX2. It computes what the step graph says ([`crate::graph`]), from the same weights, without the cost of
//! some hundred operators a step and without padding: each sequence has caches of its own, and only what it has
//! is read.
//!
//! What comes of a token depends on what its sequence has before it and on nothing else, to the bit: not on how a
//! prompt is cut, the batch, the capacity, the number of threads, in 8 bits and in 32.

mod attention;
mod elementwise;
mod isa;
mod matrix;
mod model;

use std::sync::Arc;

use ndarray::{Array3, ArrayView3};
use rayon::ThreadPool;
use rayon::prelude::*;

use self::isa::Isa;
use self::model::{Model, Part, Place, Sequence};
use super::rows::Rows;
use super::{Engine, EngineError, Stream};
use crate::bundle::Bundle;
use crate::encoding::Token;
use crate::manifest::Manifest;

const NAME: &str = "Famam's engine";

/// As many tokens at least does a thread get: fewer are done sooner than it wakes.
const SHARE: usize = 4;

/// A model in this engine.
pub(super) struct Native {
    shared: Arc<Shared>,
}

struct Shared {
    manifest: Manifest,
    model: Model,
    threads: usize,
    /// Where there is more than one.
    pool: Option<ThreadPool>,
}

impl Native {
    pub(super) fn load(bundle: &Bundle, threads: usize) -> Result<Self, EngineError> {
        let failed = |why: String| EngineError::Runtime {
            engine: NAME,
            doing: "load the model".to_owned(),
            why,
        };
        let isa = Isa::detect();
        let isa = isa.ok_or_else(|| failed("this processor lacks AVX2 or FMA".to_owned()))?;
        let model = Model::new(bundle, isa).map_err(failed)?;
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = (threads > 1).then(pool).transpose();
        let shared = Shared {
            manifest: bundle.manifest.clone(),
            model,
            threads,
            pool: pool.map_err(|error| failed(error.to_string()))?,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl Engine for Native {
    fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn side_by_side(&self) -> usize {
        self.shared.threads
    }

    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        let shared = self.shared.clone();
        Ok(Box::new(NativeStream {
            rows: Rows::new(&shared.manifest, batch, capacity)?,
            sequences: vec![shared.model.sequence(); batch],
            parts: Vec::new(),
            logits: Array3::default([0; 3]),
            shared,
        }))
    }
}

struct NativeStream {
    shared: Arc<Shared>,
    rows: Rows,
    /// One a row.
    sequences: Vec<Sequence>,
    /// What threads compute in.
    parts: Vec<Part>,
    logits: Array3<f32>,
}

impl NativeStream {
    /// Has the sequences be copies of these.
    fn take(&mut self, rows: &[usize]) {
        let mut all = std::mem::take(&mut self.sequences);
        let taken = rows.iter().enumerate().map(|(to, row)| {
            // Where none needs it any more it need not be copied.
            match rows[to + 1..].contains(row) {
                true => all[*row].clone(),
                false => std::mem::take(&mut all[*row]),
            }
        });
        self.sequences = taken.collect();
    }
}

impl Stream for NativeStream {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let (time, _) = self.rows.plan(tokens, 0)?;
        let Self {
            shared,
            rows,
            sequences,
            parts,
            logits,
        } = self;
        let Shared { model, pool, .. } = &**shared;
        let places: Vec<Place> = (tokens.iter().enumerate())
            .flat_map(|(row, tokens)| {
                let first = rows.len(row);
                let places = tokens.iter().enumerate();
                places.map(move |(index, &token)| Place {
                    row,
                    index,
                    position: first + index,
                    token,
                })
            })
            .collect();
        let most = (places.len() / SHARE).clamp(1, shared.threads);
        let chunks = places.chunks(places.len().div_ceil(most));
        parts.resize_with(chunks.len(), Part::default);
        for (part, places) in parts.iter_mut().zip(chunks) {
            part.take(places);
        }
        let mut compute = || {
            each(pool.as_ref(), parts, |part| part.begin(model, rows));
            for layer in 0..model.layers() {
                for part in &*parts {
                    part.store(model, layer, sequences);
                }
                each(pool.as_ref(), parts, |part| {
                    part.layer(model, layer, sequences);
                });
            }
        };
        match pool {
            Some(pool) if most > 1 => pool.install(compute),
            _ => compute(),
        }
        let shape = (
            tokens.len(),
            time,
            shared.manifest.architecture.vocabulary(),
        );
        if logits.dim() != shape {
            *logits = Array3::zeros(shape);
        }
        for part in &*parts {
            for (place, of) in part.logits(model) {
                let mut to = logits.slice_mut(ndarray::s![place.row, place.index, ..]);
                to.as_slice_mut().unwrap_or_default().copy_from_slice(of);
            }
        }
        rows.advance(tokens);
        Ok(logits.view())
    }

    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        self.rows.condition(conditions)
    }

    fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.rows.reorder(rows)?;
        self.take(rows);
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.rows = self.rows.select(rows)?;
        self.take(rows);
        Ok(())
    }

    fn keep(&mut self, lengths: &[usize]) {
        self.rows.keep(lengths);
    }

    fn clear(&mut self) {
        self.rows.clear();
    }

    fn len(&self, row: usize) -> usize {
        self.rows.len(row)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// `work` on each of the parts, on threads where there are several.
fn each(pool: Option<&ThreadPool>, parts: &mut [Part], work: impl Fn(&mut Part) + Send + Sync) {
    match (pool, parts) {
        (Some(_), parts @ [_, _, ..]) => parts.par_iter_mut().for_each(work),
        (_, parts) => parts.iter_mut().for_each(work),
    }
}

#[cfg(test)]
mod tests {
    use super::attention::{Head, Query, Scratch, attend};
    use super::elementwise::{gelu, norm, softmax};
    use super::isa::{Isa, LANES, Lanes};
    use super::matrix::{Matrix, Quantized};

    /// What a clip is made of must not depend on how wide a processor computes.
    #[test]
    fn kinds_of_processors_agree_to_the_bit() {
        if Isa::detect() != Some(Isa::Avx512) {
            eprintln!("skipped: this processor has one kind of instructions alone");
            return;
        }
        let numbers = |seed: usize, count: usize| -> Vec<f32> {
            let number = |i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 300.0 - 3.3;
            (0..count).map(number).collect()
        };
        for (rows, width) in [(1, 4), (3, 36), (5, 320), (8, 101)] {
            let (x, weight) = (numbers(1, rows * width), numbers(2, 70 * width));
            let integers: Vec<f32> = weight.iter().map(|x| (x * 15.0).round()).collect();
            let scales = numbers(3, 70);
            let of = |isa| -> Vec<u32> {
                let mut all = vec![0.0; x.len()];
                norm(isa, &x, &weight[..width], &x[..width], &mut all);
                let mut gelus = x.clone();
                gelu(isa, &mut gelus);
                all.extend(gelus);
                let mut scores: Vec<Lanes> = vec![Lanes([0.3; LANES]); width.div_ceil(LANES)];
                for (i, x) in x[..width].iter().enumerate() {
                    scores[i / LANES][i % LANES] = *x;
                }
                let mut total = 0.0;
                softmax(isa, &mut scores, width, &mut total);
                all.extend(scores.iter().flat_map(|lanes| lanes.0).chain([total]));
                for (weight, scales) in [(&weight, None), (&integers, Some(&scales[..]))] {
                    let (mut y, mut quantized) = (Vec::new(), Quantized::default());
                    let matrix = Matrix::new(weight, width, scales);
                    matrix.apply(isa, &x, &mut quantized, &mut y);
                    all.extend(y);
                }
                for halves in [false, true] {
                    let mut head = Head::new(halves);
                    for (slot, of) in x.chunks_exact(width).enumerate() {
                        head.store(isa, slot, of, &weight[slot..][..width]);
                    }
                    let mut mixed = vec![0.0; width];
                    let (query, seen) = (&weight[..width], rows);
                    let mut queries = [Query {
                        query,
                        seen,
                        mixed: &mut mixed,
                    }];
                    attend(isa, &head, &mut queries, &mut Scratch::default());
                    all.extend(mixed);
                }
                all.into_iter().map(f32::to_bits).collect()
            };
            assert!(of(Isa::Avx2) == of(Isa::Avx512), "{rows} of {width}");
        }
    }
}
