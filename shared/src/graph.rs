//! The step graph of a model, in standard operators of ONNX that ONNX Runtime and rten both run.
//!
//! One graph serves prompts, single steps and batches. Its inputs are `ids`, `pos` and `slot`
//! `[batch, time]`, `kpos` `[batch, capacity]` and two caches for each layer,
//! `past_key.l` and `past_value.l` `[batch, kv_heads, capacity, head_dim]`; its outputs are
//! `logits` `[batch, time, vocabulary]` and the caches as `present_key.l` and `present_value.l`.
//!
//! In [`Precision::Int8`] an engine's logits are the same bits however a prompt is cut, whatever the
//! batch, the capacity and the number of threads.

mod builder;
mod linear;
mod transformer;
mod weights;

use std::collections::HashMap;

use crate::architecture::{Positions, Transformer};
use crate::manifest::{Dimension, Precision, StateTensor};
use crate::onnx::{self, Graph, Model, OperatorSet};
use weights::{Form, Stored};

/// The position in `kpos` of a slot that holds no key: greater than any token's.
pub const EMPTY: usize = 1 << 20;

/// Where a graph's weights come from: the values of the weight named in
/// [`Transformer::weights`], row by row.
pub type Weights<'a> = dyn Fn(&str) -> Option<&'a [f32]> + 'a;

/// The whole model of `t` with the values that `weights` gives. With rotary positions the graph
/// knows `positions` of them, the context of the model.
///
/// # Errors
/// A size outside the limits of `docs/formats.md`, a weight that is missing, not finite or of
/// another length.
pub fn transformer(
    t: &Transformer,
    weights: &Weights,
    precision: Precision,
    positions: usize,
) -> Result<Model, GraphError> {
    check(t, precision, positions)?;
    let lengths = t
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
    } = skeleton(t, precision, positions);
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

/// The caches of `t`'s graph, in the order of its inputs.
pub fn state(t: &Transformer) -> Vec<StateTensor> {
    let shape = vec![
        Dimension::Named("batch".to_owned()),
        Dimension::Fixed(t.kv_heads),
        Dimension::Named("capacity".to_owned()),
        Dimension::Fixed(t.head_dim()),
    ];
    let tensor = |l, what| StateTensor {
        input: past(what, l),
        output: present(what, l),
        shape: shape.clone(),
    };
    (0..t.layers)
        .flat_map(|l| [tensor(l, "key"), tensor(l, "value")])
        .collect()
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

/// The graph of `t` without values; `t` must have passed [`check`].
pub(crate) fn skeleton(t: &Transformer, precision: Precision, positions: usize) -> Skeleton {
    transformer::skeleton(t, precision, positions)
}

/// The weights of `t`, by name, from the bytes that `raw` gives for an initializer; those in 8 bits
/// as the floats nearest to what they stand for.
pub(crate) fn values<'a>(
    t: &Transformer,
    precision: Precision,
    positions: usize,
    raw: impl Fn(usize) -> &'a [u8],
) -> HashMap<String, Vec<f32>> {
    let Skeleton { graph, weights } = skeleton(t, precision, positions);
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
    let lengths: HashMap<String, usize> = t
        .weights()
        .into_iter()
        .map(|(name, shape)| (name, shape.iter().product()))
        .collect();
    let mut found = HashMap::new();
    for weight in matrices {
        let names = &weight.stored.names;
        let mut values = read(weight);
        if let (Form::Rows | Form::Columns, Some(scales)) =
            (weight.stored.form, scales.get(&names[..]))
        {
            let width = values.len() / scales.len().max(1);
            for (row, scale) in std::iter::zip(values.chunks_exact_mut(width.max(1)), scales) {
                row.iter_mut().for_each(|value| *value *= scale);
            }
        }
        let mut rest = &values[..];
        for name in names {
            let (own, others) =
                rest.split_at(lengths.get(name).copied().unwrap_or(0).min(rest.len()));
            found.insert(name.clone(), own.to_vec());
            rest = others;
        }
    }
    found
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
    t: &Transformer,
    precision: Precision,
    positions: usize,
) -> Result<(), GraphError> {
    let mut limits = vec![
        ("vocabulary", t.vocabulary, 1 << 16),
        ("layers", t.layers, 128),
        ("d_model", t.d_model, 1 << 13),
        ("heads", t.heads, 128),
        ("kv_heads", t.kv_heads, t.heads),
        ("d_ff", t.d_ff, 1 << 15),
        ("context", positions, 1 << 16),
    ];
    if let Positions::Relative { max_distance } = t.positions {
        limits.push(("max_distance", max_distance, 1 << 16));
    }
    if let Some(&(name, size, most)) = limits
        .iter()
        .find(|(_, size, most)| !(1..=*most).contains(size))
    {
        return Err(GraphError::Size { name, size, most });
    }
    let refuse = |why: &str| {
        Err(GraphError::Architecture {
            why: why.to_owned(),
        })
    };
    if !t.d_model.is_multiple_of(t.heads) || !t.head_dim().is_multiple_of(2) {
        return refuse("d_model must be a multiple of heads, and the width of a head even");
    }
    if !t.heads.is_multiple_of(t.kv_heads) {
        return refuse("heads must be a multiple of kv_heads");
    }
    if !t.embedding_scale.is_finite() {
        return refuse("embedding_scale must be a finite number");
    }
    if let Positions::Rotary { theta } = t.positions
        && !(theta.is_finite() && theta > 0.0)
    {
        return refuse("theta must be a positive finite number");
    }
    if precision == Precision::Int8 && (t.kv_heads < 2 || t.heads / t.kv_heads < 2) {
        return refuse(
            "8-bit models need at least 2 key/value heads and at least 2 heads for each of them: with \
             fewer, engines sum in another order for one token than for many. Export it without --int8",
        );
    }
    Ok(())
}

/// The bytes that the weights and tables of `t` take at least.
pub(crate) fn least_bytes(t: &Transformer, precision: Precision, positions: usize) -> usize {
    let weights = t.parameters() * if precision == Precision::Int8 { 1 } else { 4 };
    match t.positions {
        Positions::Relative { .. } => weights,
        Positions::Rotary { .. } => weights + 8 * positions * t.head_dim(),
    }
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
