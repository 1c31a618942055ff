//! The step graph of a model, in standard operators of ONNX that ONNX Runtime and rten both run.
//!
//! One graph serves prompts, single steps and batches: `ids` `[batch, time]` and the state before
//! them go in, `logits` `[batch, time, vocabulary]` and the state after them come out. What else a
//! backbone's graph takes, its file says; of a model that adds its conditions to every token,
//! [`CONDITIONS`] `[batch, conditions]` go in, too.
//!
//! In [`Precision::Int8`] an engine's logits are the same bits however a prompt is cut, whatever the
//! batch, the capacity and the number of threads.

mod builder;
mod each_time;
mod ends;
mod linear;
mod lstm;
mod norm;
mod rwkv;
mod transformer;
mod weights;

use std::collections::HashMap;

use crate::architecture::Architecture;
use crate::manifest::{Precision, StateTensor};
use crate::onnx::{self, Graph, Model, OperatorSet};
pub(crate) use transformer::{angles, sinusoids};
use weights::{Form, Stored};

/// The position in `kpos` of a slot that holds no key: greater than any token's.
pub const EMPTY: usize = 1 << 20;

/// The input of what a model adds to every token: the conditions of each sequence as tokens, PAD
/// after the last.
pub const CONDITIONS: &str = "conditions";

/// Where a graph's weights come from: the values of the weight named in
/// [`Architecture::weights`], row by row.
pub type Weights<'a> = dyn Fn(&str) -> Option<&'a [f32]> + 'a;

/// The whole model of `architecture` with the values that `weights` gives. A graph that has tables of
/// positions knows `positions` of them, the context of the model.
///
/// # Errors
/// A size outside the limits of `docs/formats.md`, a weight that is missing, not finite or of
/// another length.
pub fn build(
    architecture: &Architecture,
    weights: &Weights,
    precision: Precision,
    positions: usize,
) -> Result<Model, GraphError> {
    check(architecture, precision, positions)?;
    let lengths = architecture
        .weights()
        .into_iter()
        .map(|(name, shape)| (name, shape.iter().product()));
    for (name, expected) in lengths {
        let values = weights(&name).ok_or_else(|| GraphError::Missing { name: name.clone() })?;
        if values.len() != expected {
            let found = values.len();
            return Err(GraphError::Length {
                name,
                expected,
                found,
            });
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(GraphError::NotFinite { name });
        }
    }
    let Skeleton {
        mut graph,
        weights: free,
    } = skeleton(architecture, precision, positions);
    for Weight {
        initializer,
        stored,
    } in free
    {
        let values = stored
            .names
            .iter()
            .filter_map(|name| weights(name))
            .flatten()
            .copied();
        let tensor = &mut graph.initializers[initializer];
        tensor.raw = stored.form.bytes(values.collect(), &tensor.dims);
    }
    Ok(model(graph))
}

/// The state of the graph, in the order of its inputs.
pub fn state(architecture: &Architecture) -> Vec<StateTensor> {
    match architecture {
        Architecture::Transformer(t) => transformer::state(t),
        Architecture::Lstm(l) => lstm::state(l),
        Architecture::Rwkv(r) => rwkv::state(r),
    }
}

fn past(what: &str, layer: usize) -> String {
    format!("past_{what}.{layer}")
}

fn present(what: &str, layer: usize) -> String {
    format!("present_{what}.{layer}")
}

/// A graph whose weights have names, types and shapes, and no values yet.
pub(crate) struct Skeleton {
    /// The graph; constants have their values.
    pub(crate) graph: Graph,
    /// The initializers that have none, in their order.
    pub(crate) weights: Vec<Weight>,
}

/// An initializer whose values are the model's.
pub(crate) struct Weight {
    /// Its index.
    pub(crate) initializer: usize,
    stored: Stored,
}

/// The graph without values; `architecture` must have passed [`check`].
pub(crate) fn skeleton(
    architecture: &Architecture,
    precision: Precision,
    positions: usize,
) -> Skeleton {
    let ends = architecture.ends();
    match architecture {
        Architecture::Transformer(t) => transformer::skeleton(t, ends, precision, positions),
        Architecture::Lstm(l) => lstm::skeleton(l, ends, precision),
        Architecture::Rwkv(r) => rwkv::skeleton(r, ends, precision),
    }
}

/// Weights as a file has them, stacked along their output channels.
pub(crate) struct Stacked {
    /// Their names in [`crate::architecture`].
    pub(crate) names: Vec<String>,
    /// Row by row; those in 8 bits as integers.
    pub(crate) values: Vec<f32>,
    /// What each row of integers is to be multiplied by.
    pub(crate) scales: Option<Vec<f32>>,
}

impl Stacked {
    /// The floats that they stand for; of integers those that are nearest to it, each moved by `dither` of a step.
    pub(crate) fn floats(&self, mut dither: impl FnMut() -> f32) -> Vec<f32> {
        let mut values = self.values.clone();
        let scales = self.scales.as_deref().unwrap_or_default();
        let width = values.len() / scales.len().max(1);
        for (row, scale) in std::iter::zip(values.chunks_exact_mut(width.max(1)), scales) {
            row.iter_mut()
                .for_each(|value| *value = (*value + dither()) * scale);
        }
        values
    }
}

/// The weights from the bytes that `raw` gives for an initializer.
pub(crate) fn stacked<'a>(
    architecture: &Architecture,
    precision: Precision,
    positions: usize,
    raw: impl Fn(usize) -> &'a [u8],
) -> Vec<Stacked> {
    let Skeleton { graph, weights } = skeleton(architecture, precision, positions);
    let read = |weight: &Weight| {
        let shape = &graph.initializers[weight.initializer].dims;
        weight.stored.form.values(raw(weight.initializer), shape)
    };
    let (scales, matrices): (Vec<&Weight>, Vec<&Weight>) = weights
        .iter()
        .partition(|weight| weight.stored.form == Form::Scales);
    let scales: HashMap<&[String], Vec<f32>> = scales
        .into_iter()
        .map(|weight| (&weight.stored.names[..], read(weight)))
        .collect();
    let stacked = |weight: &Weight| {
        let names = weight.stored.names.clone();
        let integers = matches!(weight.stored.form, Form::Rows | Form::Columns);
        Stacked {
            values: read(weight),
            scales: scales.get(&names[..]).filter(|_| integers).cloned(),
            names,
        }
    };
    matrices.into_iter().map(stacked).collect()
}

/// The model around a graph.
pub(crate) fn model(graph: Graph) -> Model {
    Model {
        ir_version: onnx::IR_VERSION,
        producer: "famam".to_owned(),
        graph: Some(graph),
        opsets: vec![OperatorSet {
            domain: String::new(),
            version: onnx::OPSET,
        }],
        metadata: Vec::new(),
    }
}

/// Refuses sizes that no model of ours has or that would not compute what was trained.
pub(crate) fn check(
    architecture: &Architecture,
    precision: Precision,
    positions: usize,
) -> Result<(), GraphError> {
    let ends = architecture.ends();
    limit(&[
        ("vocabulary", ends.vocabulary, 1 << 16),
        ("d_model", ends.d_model, 1 << 13),
        ("context", positions, 1 << 16),
    ])?;
    if !ends.embedding_scale.is_finite() || !ends.logit_scale.is_finite() {
        return refuse("embedding_scale and logit_scale must be finite numbers");
    }
    if ends
        .conditioning_scale
        .is_some_and(|scale| !scale.is_finite())
    {
        return refuse("conditioning_scale must be a finite number");
    }
    match architecture {
        Architecture::Transformer(t) => transformer::check(t, precision, positions),
        Architecture::Lstm(l) => lstm::check(l),
        Architecture::Rwkv(r) => rwkv::check(r),
    }
}

/// Refuses the first of the sizes, by name, that is 0 or above its limit.
fn limit(sizes: &[(&'static str, usize, usize)]) -> Result<(), GraphError> {
    let wrong = |(_, size, most): &&(_, usize, usize)| !(1..=*most).contains(size);
    match sizes.iter().find(wrong) {
        Some(&(name, size, most)) => Err(GraphError::Size { name, size, most }),
        None => Ok(()),
    }
}

fn refuse(why: &str) -> Result<(), GraphError> {
    Err(GraphError::Architecture {
        why: why.to_owned(),
    })
}

/// The bytes that weights and tables take at least.
pub(crate) fn least_bytes(
    architecture: &Architecture,
    precision: Precision,
    positions: usize,
) -> usize {
    let weights = architecture.parameters() * if precision == Precision::Int8 { 1 } else { 4 };
    let tables = match architecture {
        Architecture::Transformer(t) => transformer::table_bytes(t, positions),
        Architecture::Lstm(_) | Architecture::Rwkv(_) => 0,
    };
    weights + tables
}

/// Why a model has no graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A size is 0 or too large.
    #[error("{name} is {size}, which must be from 1 to {most}")]
    Size {
        /// The field.
        name: &'static str,
        /// Its value.
        size: usize,
        /// The limit.
        most: usize,
    },
    /// The architecture makes no sense or is not supported.
    #[error("the architecture has no graph: {why}")]
    Architecture {
        /// Reason and what to do.
        why: String,
    },
    /// A weight is missing.
    #[error("the weight {name} is missing; is the checkpoint of this architecture?")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A weight has another length than the architecture says.
    #[error(
        "the weight {name} has {found} values instead of {expected}; is the checkpoint of this architecture?"
    )]
    Length {
        /// Its name.
        name: String,
        /// Values by the architecture.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// A weight has a value that is infinite or not a number.
    #[error(
        "the weight {name} has values that are not finite; the training has diverged, use an earlier checkpoint"
    )]
    NotFinite {
        /// Its name.
        name: String,
    },
}
