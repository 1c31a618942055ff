//! The engine that is compiled in: rten, which gets the caches as owned tensors, writes them in
//! place and hands them back. A state of fixed size is an input and an output like any other.

use std::sync::Arc;

use ndarray::ArrayView3;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use super::recurrent::{self, Recurrent};
use super::rows::{Inputs, Rows, carry, copy_rows, select_rows};
use super::{Engine, EngineError, Stream};
use crate::bundle::Bundle;
use crate::encoding::Token;
use crate::graph::{CONDITIONS, EMPTY};
use crate::manifest::{Manifest, StateTensor};

const NAME: &str = "rten";

/// A model in rten.
pub(super) struct Rten {
    shared: Arc<Shared>,
    fallback: Option<String>,
}

struct Shared {
    manifest: Manifest,
    model: Model,
    /// `ids`, and where there are caches `pos`, `slot`, `kpos`.
    inputs: Vec<NodeId>,
    /// What is added to every token, of a model that does.
    conditions: Option<NodeId>,
    /// The state before, in the order of [`crate::graph::state`].
    past: Vec<NodeId>,
    /// The logits, then the state behind them.
    outputs: Vec<NodeId>,
    options: RunOptions,
}

impl Shared {
    /// The input of what `chosen` rows are conditioned on, of a model that has one.
    fn conditions(&self, rows: &Rows, chosen: &[usize]) -> Option<(NodeId, ValueOrView<'static>)> {
        let (shape, ids) = rows.conditions::<i32>(chosen)?;
        Some((self.conditions?, Tensor::from_data(&shape[..], ids).into()))
    }
}

impl Rten {
    pub(super) fn load(
        bundle: &Bundle,
        threads: usize,
        fallback: Option<String>,
    ) -> Result<Self, EngineError> {
        let failed = |why: String| EngineError::Runtime {
            engine: NAME,
            doing: "load the model".to_owned(),
            why,
        };
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = options
            .load(bundle.model.clone())
            .map_err(|e| failed(e.to_string()))?;
        let node = |name: &str| model.node_id(name).map_err(|e| failed(e.to_string()));
        let state = &bundle.manifest.state;
        let integers: &[&str] = if recurrent::is_recurrent(&bundle.manifest) {
            &["ids"]
        } else {
            &["ids", "pos", "slot", "kpos"]
        };
        let shared = Shared {
            inputs: integers
                .iter()
                .map(|name| node(name))
                .collect::<Result<_, _>>()?,
            conditions: (bundle.manifest.architecture.ends().conditioning_scale)
                .map(|_| node(CONDITIONS))
                .transpose()?,
            past: state
                .iter()
                .map(|s| node(&s.input))
                .collect::<Result<_, _>>()?,
            outputs: std::iter::once(node("logits"))
                .chain(state.iter().map(|s| node(&s.output)))
                .collect::<Result<_, _>>()?,
            options: RunOptions::default()
                .with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(threads)))),
            manifest: bundle.manifest.clone(),
            model,
        };
        Ok(Self {
            shared: Arc::new(shared),
            fallback,
        })
    }
}

impl Engine for Rten {
    fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    fn name(&self) -> String {
        "rten 0.27.0".to_owned()
    }

    fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        let rows = Rows::new(&self.shared.manifest, batch, capacity)?;
        if recurrent::is_recurrent(&self.shared.manifest) {
            let shared = self.shared.clone();
            return Ok(Box::new(Recurrent::new(
                shared,
                &self.shared.manifest,
                rows,
            )));
        }
        let mut stream = RtenStream {
            shared: self.shared.clone(),
            kpos: Vec::new(),
            slots: 0,
            caches: Vec::new(),
            logits: Tensor::zeros(&[0, 0, 0]),
            rows,
        };
        stream.reset();
        Ok(Box::new(stream))
    }
}

struct RtenStream {
    shared: Arc<Shared>,
    rows: Rows,
    /// `[batch, slots]`.
    kpos: Vec<i32>,
    slots: usize,
    /// Keys and values of every layer, `[batch, kv_heads, slots, head_dim]`.
    caches: Vec<Tensor<f32>>,
    logits: Tensor<f32>,
}

impl RtenStream {
    /// Empty caches of the first size.
    fn reset(&mut self) {
        self.rows.clear();
        self.caches.clear();
        self.resize(self.rows.first_slots());
    }

    /// Caches of `slots` slots, with what is in them.
    fn resize(&mut self, slots: usize) {
        let old = std::mem::take(&mut self.caches);
        let new = |(i, state): (usize, &StateTensor)| {
            let shape = state.shape(self.rows.batch(), slots);
            let mut data = vec![0.0; shape.iter().product()];
            if let Some(old) = old.get(i).and_then(|old: &Tensor<f32>| old.data()) {
                carry(old, &mut data, shape.iter().take(2).product());
            }
            Tensor::from_data(&shape[..], data)
        };
        self.caches = self
            .shared
            .manifest
            .state
            .iter()
            .enumerate()
            .map(new)
            .collect();
        self.slots = slots;
        self.kpos = vec![EMPTY as i32; self.rows.batch() * slots];
        self.rows.mark(&mut self.kpos);
    }
}

impl Stream for RtenStream {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let (time, slots) = self.rows.plan(tokens, self.slots)?;
        if slots != self.slots {
            self.resize(slots);
        }
        let batch = self.rows.batch();
        let mut integers: [Vec<i32>; 3] = std::array::from_fn(|_| vec![0; batch * time]);
        let [ids, pos, slot] = &mut integers;
        self.rows.fill(
            tokens,
            Inputs {
                ids,
                pos,
                slot,
                kpos: &mut self.kpos,
            },
        );

        let shared = self.shared.clone();
        let [ids, pos, slot] = integers.map(|data| Tensor::from_data(&[batch, time][..], data));
        let kpos = Tensor::from_data(&[batch, self.slots][..], std::mem::take(&mut self.kpos));
        let mut inputs: Vec<(NodeId, ValueOrView)> = Vec::with_capacity(5 + shared.past.len());
        let all: Vec<usize> = (0..batch).collect();
        inputs.extend(shared.conditions(&self.rows, &all));
        for (&id, tensor) in shared.inputs.iter().zip([&ids, &pos, &slot, &kpos]) {
            inputs.push((id, tensor.view().into()));
        }
        let caches = self.caches.drain(..);
        inputs.extend(
            shared
                .past
                .iter()
                .zip(caches)
                .map(|(&id, cache)| (id, cache.into())),
        );
        let result = shared
            .model
            .run(inputs, &shared.outputs, Some(shared.options.clone()));
        self.kpos = kpos.into_data();

        let outputs: Option<Vec<Tensor<f32>>> = match result {
            Ok(values) => values.into_iter().map(Value::into_tensor).collect(),
            Err(error) => {
                self.reset();
                return Err(EngineError::Lost {
                    engine: NAME,
                    why: error.to_string(),
                });
            }
        };
        let mut outputs = outputs.unwrap_or_default().into_iter();
        let logits = outputs.next();
        self.caches.extend(outputs);
        let shape = [batch, time, shared.manifest.architecture.vocabulary()];
        match logits {
            Some(logits) if self.caches.len() == shared.past.len() => self.logits = logits,
            _ => {
                self.reset();
                let why = "its outputs are not those of the graph".to_owned();
                return Err(EngineError::Lost { engine: NAME, why });
            }
        }
        self.rows.advance(tokens);
        let logits = self.logits.data().unwrap_or_default();
        ArrayView3::from_shape(shape, logits).map_err(|error| EngineError::Runtime {
            engine: NAME,
            doing: "return its logits".to_owned(),
            why: error.to_string(),
        })
    }

    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        self.rows.condition(conditions)
    }

    fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.rows.reorder(rows)?;
        for cache in &mut self.caches {
            // What a run gave may lie in another order than it is said in.
            if cache.data_mut().is_none() {
                *cache = cache.to_contiguous().to_tensor();
            }
            copy_rows(cache.data_mut().unwrap_or_default(), rows);
        }
        self.rows.mark(&mut self.kpos);
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        let selected = self.rows.select(rows)?;
        let batch = self.rows.batch();
        let states = &self.shared.manifest.state;
        for (cache, state) in self.caches.iter_mut().zip(states) {
            let shape = state.shape(rows.len(), self.slots);
            let mut data = vec![0.0; shape.iter().product()];
            select_rows(&cache.to_vec(), batch, rows, &mut data);
            *cache = Tensor::from_data(&shape[..], data);
        }
        self.rows = selected;
        self.kpos = vec![EMPTY as i32; rows.len() * self.slots];
        self.rows.mark(&mut self.kpos);
        Ok(())
    }

    fn keep(&mut self, lengths: &[usize]) {
        self.rows.keep(lengths);
        self.rows.mark(&mut self.kpos);
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.rows.mark(&mut self.kpos);
    }

    fn len(&self, row: usize) -> usize {
        self.rows.len(row)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl recurrent::Graph for Arc<Shared> {
    fn run(
        &self,
        ids: &[Token],
        rows: &Rows,
        chosen: &[usize],
        state: Vec<Vec<f32>>,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let batch = chosen.len();
        let ids: Vec<i32> = ids.iter().map(|&id| i32::from(id)).collect();
        let ids = Tensor::from_data(&[batch, ids.len() / batch][..], ids);
        let mut inputs: Vec<(NodeId, ValueOrView)> = vec![(self.inputs[0], ids.into())];
        inputs.extend(self.conditions(rows, chosen));
        let tensors = self.manifest.state.iter().zip(state);
        inputs.extend(
            self.past
                .iter()
                .zip(tensors)
                .map(|(&id, (described, values))| {
                    let shape = described.shape(batch, 0);
                    (id, Tensor::from_data(&shape[..], values).into())
                }),
        );
        let failed = |why: String| EngineError::Runtime {
            engine: NAME,
            doing: "run the model".to_owned(),
            why,
        };
        let outputs = self
            .model
            .run(inputs, &self.outputs, Some(self.options.clone()))
            .map_err(|error| failed(error.to_string()))?;
        let floats = outputs.into_iter().map(|value| {
            let tensor: Option<Tensor<f32>> = value.into_tensor();
            tensor.map(|tensor| tensor.into_data())
        });
        floats
            .collect::<Option<_>>()
            .ok_or_else(|| failed("its outputs are not floats".to_owned()))
    }
}
