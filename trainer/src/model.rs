//! Models in `tch`, for training and for checking exports: what all backbones share, and a file for
//! each backbone of [`famam_shared::architecture`].
//!
//! A batch is *ragged*: the tokens of all its sequences stand one after another in one tensor
//! `[tokens]`, with the lengths beside it. Linear maps, norms and the loss see no padding at all;
//! only the backbones look at one sequence at a time, each of which starts at position 0.

use std::collections::HashMap;

use famam_shared::architecture::{Architecture, Ends};
use tch::{Device, Kind, Reduction, Tensor};

use crate::config::training::Precision;

mod dropout;
mod lstm;
mod ragged;
mod transformer;

pub use dropout::Dropout;
use lstm::Lstm;
pub use ragged::{Conditions, Ragged};
use transformer::Transformer;

/// A model with its weights.
pub struct Model {
    architecture: Architecture,
    precision: Precision,
    weights: Vec<(String, Tensor)>,
    embedding: Tensor,
    backbone: Box<dyn Backbone>,
    head: Tensor,
}

/// What stands between the embedding and the head.
trait Backbone: Send {
    /// The last hidden states `[tokens, d_model]` of embeddings `x` `[tokens, d_model]` of sequences of
    /// `lengths` tokens, multiplied in `kind`.
    fn hidden(&self, x: Tensor, lengths: &[i64], kind: Kind, dropout: &mut Dropout) -> Tensor;
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
}

impl Model {
    /// Fresh weights, a function of `seed`.
    pub fn new(architecture: &Architecture, seed: u64, device: Device) -> Self {
        // Torch has one generator for the whole process.
        static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _alone = GENERATOR
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        tch::manual_seed(seed as i64);
        let options = (Kind::Float, device);
        let weights = architecture.weights().into_iter().map(|(name, shape)| {
            let shape: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
            let weight = match architecture {
                Architecture::Transformer(t) => transformer::fresh(t, &name, &shape, options),
                Architecture::Lstm(_) => lstm::fresh(&name, &shape, options),
            };
            (name, weight)
        });
        Self::assemble(architecture, weights.collect())
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
        Ok(Self::assemble(architecture, weights))
    }

    /// `weights` are those of the architecture, in its order.
    fn assemble(architecture: &Architecture, weights: Vec<(String, Tensor)>) -> Self {
        let weights: Vec<(String, Tensor)> = weights
            .into_iter()
            .map(|(name, weight)| (name, weight.set_requires_grad(true)))
            .collect();
        let named = Named(&weights);
        let backbone: Box<dyn Backbone> = match architecture {
            Architecture::Transformer(t) => Box::new(Transformer::new(t, &named)),
            Architecture::Lstm(lstm) => Box::new(Lstm::new(lstm, &named)),
        };
        let embedding = named.get("embedding.weight");
        Self {
            architecture: architecture.clone(),
            precision: Precision::Fp32,
            backbone,
            head: named
                .find("head.weight")
                .unwrap_or_else(|| embedding.shallow_clone()),
            embedding,
            weights,
        }
    }

    /// The same weights in the same memory, with gradients of its own: for another thread.
    pub fn replica(&self) -> Self {
        let weights = self
            .weights
            .iter()
            .map(|(name, weight)| (name.clone(), weight.detach()));
        Self::assemble(&self.architecture, weights.collect()).with_precision(self.precision)
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

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// The last hidden states `[tokens, d_model]` of a batch.
    pub fn hidden(&self, batch: &Ragged, dropout: &mut Dropout) -> Tensor {
        let Ends {
            embedding_scale: scale,
            conditioning_scale,
            ..
        } = self.architecture.ends();
        let mut x = Tensor::embedding(&self.embedding, &batch.ids, -1, false, false);
        if let (Some(scale), Some(conditions)) = (conditioning_scale, &batch.conditions) {
            x = x + conditions.sums(&self.embedding, batch.lengths.len()) * f64::from(scale);
        }
        if scale != 1.0 {
            x = &x * f64::from(scale);
        }
        let kind = match self.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        self.backbone.hidden(x, &batch.lengths, kind, dropout)
    }

    /// Logits `[.., vocabulary]` of last hidden states, always in 32 bits.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        let logits = hidden.linear::<&Tensor>(&self.head, None);
        match self.architecture.ends().logit_scale {
            1.0 => logits,
            scale => logits * f64::from(scale),
        }
    }

    /// The sum over `scored` (indices into the batch's tokens, `[n]`) of the cross-entropy of
    /// `targets` `[n]`, in nats; with label smoothing, that of the smoothed targets.
    pub fn loss(&self, batch: &Ragged, dropout: &mut Dropout, label_smoothing: f64) -> Tensor {
        let hidden = self.hidden(batch, dropout);
        self.logits(&hidden.index_select(0, &batch.scored))
            .cross_entropy_loss::<&Tensor>(
                &batch.targets,
                None,
                Reduction::Sum,
                -100,
                label_smoothing,
            )
    }
}

/// Weights by name.
struct Named<'a>(&'a [(String, Tensor)]);

impl Named<'_> {
    fn find(&self, name: &str) -> Option<Tensor> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, weight)| weight.shallow_clone())
    }

    fn get(&self, name: &str) -> Tensor {
        self.find(name)
            .expect("the architecture names every weight")
    }
}

/// A linear map, multiplied in `kind`.
fn linear(x: &Tensor, weight: &Tensor, kind: Kind) -> Tensor {
    x.to_kind(kind)
        .linear::<&Tensor>(&weight.to_kind(kind), None)
}
