//! Models in `tch`, for training and for checking exports: what all backbones share, and a file for
//! each backbone of [`famam_shared::architecture`].
//!
//! A batch is *ragged*: the tokens of all its sequences stand one after another in one tensor
//! `[tokens]`, with the lengths beside it. Linear maps, norms and the loss see no padding at all;
//! only the backbones look at one sequence at a time, each of which starts at position 0.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use famam_shared::architecture::{Architecture, Ends};
use tch::{Device, Kind, Reduction, Tensor};

use crate::config::training::Precision;

mod dropout;
mod lora;
mod lstm;
mod norm;
mod ragged;
mod recompute;
mod rwkv;
mod transformer;
mod wkv;

pub use dropout::Dropout;
pub use lora::is_adapter;
use lora::{Adapters, Linear, Table};
use lstm::Lstm;
pub use ragged::{Conditions, Ragged};
use recompute::Tape;
use rwkv::Rwkv;
use transformer::Transformer;

/// A model with its weights.
pub struct Model {
    architecture: Architecture,
    precision: Precision,
    weights: Vec<(String, Tensor)>,
    adapters: Option<Adapters>,
    /// Names of the backbone's linear maps.
    linear_maps: Vec<String>,
    embedding: Table,
    backbone: Box<dyn Backbone>,
    head: Table,
}

/// What stands between the embedding and the head.
trait Backbone: Send {
    /// The last hidden states `[tokens, d_model]` of embeddings `x` `[tokens, d_model]` of sequences of
    /// `lengths` tokens, multiplied in `kind`; its layers run on `tape`.
    fn hidden<'a>(
        &'a self,
        x: Tensor,
        lengths: &'a [i64],
        kind: Kind,
        dropout: &mut Dropout,
        tape: &mut Tape<'a>,
    ) -> Tensor;
}

/// Weights that are not an architecture's.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// One is not there.
    #[error("the weight {name} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// One has another shape.
    #[error("the weight {name} has the shape {found:?}, the architecture asks for {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape that it has.
        found: Vec<i64>,
        /// The shape that it should have.
        expected: Vec<i64>,
    },
    /// Adapters of what is not there.
    #[error("lora.matrices is {pattern}, which names no linear map of the model: it has {maps}")]
    Unmatched {
        /// What the config says.
        pattern: String,
        /// The names, with a star for numbers.
        maps: String,
    },
}

impl Model {
    /// Fresh weights, a function of `seed`.
    pub fn new(architecture: &Architecture, seed: u64, device: Device) -> Self {
        let _alone = seeded(seed);
        let options = (Kind::Float, device);
        let weights = architecture.weights().into_iter().map(|(name, shape)| {
            let shape: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
            let weight = match architecture {
                Architecture::Transformer(t) => transformer::fresh(t, &name, &shape, options),
                Architecture::Lstm(_) => lstm::fresh(&name, &shape, options),
                Architecture::Rwkv(r) => rwkv::fresh(r, &name, &shape, options),
            };
            (name, weight)
        });
        Self::assemble(architecture, weights.collect(), None)
    }

    /// The model with these weights, by name; more than it needs may be given.
    pub fn from_weights(
        architecture: &Architecture,
        mut given: HashMap<String, Tensor>,
        device: Device,
    ) -> Result<Self, WeightsError> {
        let mut weights = Vec::new();
        for (name, shape) in architecture.weights() {
            let expected: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
            let Some(weight) = given.remove(&name) else {
                return Err(WeightsError::Missing { name });
            };
            let found = weight.size();
            if found != expected {
                return Err(WeightsError::Shape {
                    name,
                    found,
                    expected,
                });
            }
            weights.push((name, weight.to_device(device).to_kind(Kind::Float)));
        }
        Ok(Self::assemble(architecture, weights, None))
    }

    /// `weights` are those of the architecture, in its order. Adapters, where there are some, are
    /// what is trained, the weights otherwise.
    fn assemble(
        architecture: &Architecture,
        weights: Vec<(String, Tensor)>,
        adapters: Option<Adapters>,
    ) -> Self {
        let trained = |tensors: Vec<(String, Tensor)>, trained: bool| {
            let tensors = tensors.into_iter();
            tensors
                .map(|(name, tensor)| (name, tensor.set_requires_grad(trained)))
                .collect::<Vec<_>>()
        };
        let weights = trained(weights, adapters.is_none());
        let adapters = adapters.map(|Adapters { scale, tensors }| Adapters {
            scale,
            tensors: trained(tensors, true),
        });
        let named = Named {
            weights: &weights,
            adapters: adapters.as_ref(),
            linear_maps: RefCell::default(),
        };
        let backbone: Box<dyn Backbone> = match architecture {
            Architecture::Transformer(t) => Box::new(Transformer::new(t, &named)),
            Architecture::Lstm(lstm) => Box::new(Lstm::new(lstm, &named)),
            Architecture::Rwkv(rwkv) => Box::new(Rwkv::new(rwkv, &named)),
        };
        let head = match architecture.ends().tied {
            true => "embedding.weight",
            false => "head.weight",
        };
        Self {
            architecture: architecture.clone(),
            precision: Precision::Fp32,
            backbone,
            head: named.table(head),
            embedding: named.table("embedding.weight"),
            linear_maps: named.linear_maps.into_inner(),
            weights,
            adapters,
        }
    }

    /// The same weights in the same memory, with gradients of its own: for another thread.
    pub fn replica(&self) -> Self {
        self.with_weights(Tensor::detach)
    }

    /// The same model with what `of` makes of every weight and adapter, in its shape.
    pub fn with_weights(&self, of: impl Fn(&Tensor) -> Tensor) -> Self {
        let made = |tensors: &[(String, Tensor)]| {
            let tensors = tensors.iter();
            tensors
                .map(|(name, tensor)| (name.clone(), of(tensor)))
                .collect()
        };
        let adapters = self.adapters.as_ref().map(|adapters| Adapters {
            scale: adapters.scale,
            tensors: made(&adapters.tensors),
        });
        Self::assemble(&self.architecture, made(&self.weights), adapters)
            .with_precision(self.precision)
    }

    /// The model on another device.
    pub fn to_device(self, device: Device) -> Self {
        match device == self.device() {
            true => self,
            false => self.with_weights(|tensor| tensor.detach().to_device(device)),
        }
    }

    /// Multiplies in another precision; weights stay 32-bit.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// What the model computes.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Every weight with its name, in the architecture's order.
    pub fn weights(&self) -> &[(String, Tensor)] {
        &self.weights
    }

    /// What training changes, by name: the adapters where it has some, its weights otherwise.
    pub fn trained(&self) -> &[(String, Tensor)] {
        match &self.adapters {
            Some(adapters) => &adapters.tensors,
            None => &self.weights,
        }
    }

    /// Weights and adapters, by name.
    pub fn tensors(&self) -> impl Iterator<Item = &(String, Tensor)> {
        let adapters = self.adapters.iter().flat_map(|adapters| &adapters.tensors);
        self.weights.iter().chain(adapters)
    }

    /// A weight that is there.
    fn weight(&self, name: &str) -> &Tensor {
        let mut weights = self.weights.iter();
        let found = weights.find(|(other, _)| other == name);
        &found.expect("a weight of the architecture").1
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// The last hidden states `[tokens, d_model]` of a batch.
    pub fn hidden(&self, batch: &Ragged, dropout: &mut Dropout) -> Tensor {
        self.run(batch, dropout, &mut Tape::new(false))
    }

    fn run<'a>(&'a self, batch: &'a Ragged, dropout: &mut Dropout, tape: &mut Tape<'a>) -> Tensor {
        let Ends {
            embedding_scale: scale,
            conditioning_scale,
            ..
        } = self.architecture.ends();
        let table = self.embedding.rows();
        let mut x = Tensor::embedding(&table, &batch.ids, -1, false, false);
        if let (Some(scale), Some(conditions)) = (conditioning_scale, &batch.conditions) {
            x = conditions.sums(&table, batch.lengths.len()) * f64::from(scale) + x;
        }
        if scale != 1.0 {
            x = &x * f64::from(scale);
        }
        let kind = match self.precision {
            Precision::Fp32 | Precision::Auto => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        self.backbone.hidden(x, &batch.lengths, kind, dropout, tape)
    }

    /// Logits `[.., vocabulary]` of last hidden states, always in 32 bits.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        let logits = hidden.linear::<&Tensor>(&self.head.rows(), None);
        match self.architecture.ends().logit_scale {
            1.0 => logits,
            scale => logits * f64::from(scale),
        }
    }

    /// The sum over `scored` (indices into the batch's tokens, `[n]`) of the cross-entropy of
    /// `targets` `[n]`, in nats; with label smoothing, that of the smoothed targets.
    pub fn loss(&self, batch: &Ragged, dropout: &mut Dropout, label_smoothing: f64) -> Tensor {
        self.loss_on(&mut Tape::new(false), batch, dropout, label_smoothing)
    }

    fn loss_on<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        batch: &'a Ragged,
        dropout: &mut Dropout,
        label_smoothing: f64,
    ) -> Tensor {
        let hidden = self.run(batch, dropout, tape);
        self.logits(&hidden.index_select(0, &batch.scored))
            .cross_entropy_loss::<&Tensor>(
                &batch.targets,
                None,
                Reduction::Sum,
                -100,
                label_smoothing,
            )
    }

    /// `share` of [`Model::loss`], whose gradients it adds to those of what is trained; with
    /// gradient checkpointing where that is asked for.
    pub fn backward(
        &self,
        batch: &Ragged,
        dropout: &mut Dropout,
        label_smoothing: f64,
        share: f64,
        checkpointing: bool,
    ) -> f64 {
        let mut tape = Tape::new(checkpointing);
        let loss = self.loss_on(&mut tape, batch, dropout, label_smoothing) * share;
        loss.backward();
        tape.backward();
        loss.double_value(&[])
    }
}

/// Torch's generator, one for the whole process, begun by `seed` and held until this is dropped.
fn seeded(seed: u64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let alone = GENERATOR
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    tch::manual_seed(seed as i64);
    alone
}

/// Weights by name, with their adapters.
struct Named<'a> {
    weights: &'a [(String, Tensor)],
    adapters: Option<&'a Adapters>,
    /// The linear maps that were asked for.
    linear_maps: RefCell<Vec<String>>,
}

impl Named<'_> {
    fn find(&self, name: &str) -> Option<Tensor> {
        self.weights
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, weight)| weight.shallow_clone())
    }

    fn get(&self, name: &str) -> Tensor {
        self.find(name)
            .expect("the architecture names every weight")
    }

    fn find_linear(&self, name: &str) -> Option<Linear> {
        let weight = self.find(name)?;
        self.linear_maps.borrow_mut().push(name.to_owned());
        Some(Linear::new(name, weight, self.adapters))
    }

    fn linear(&self, name: &str) -> Linear {
        self.find_linear(name)
            .expect("the architecture names every weight")
    }

    fn table(&self, name: &str) -> Table {
        Table::new(name, self.get(name), self.adapters)
    }
}
