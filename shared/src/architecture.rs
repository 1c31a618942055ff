//! The architecture of a model: what the trainer builds with `tch` and the exporter writes as a
//! graph, in one description with the names and shapes of every weight.
//!
//! A backbone is a variant of [`Architecture`] and a file here, which has its formulas; a file in
//! `graph/`, which writes them in ONNX's operators; and a file in the trainer's `model/`, which
//! computes them with `tch`.

mod lstm;
mod rwkv;
mod transformer;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::encoding::Token;

pub use lstm::Lstm;
pub use rwkv::Rwkv;
pub use transformer::{Activation, Positions, Transformer};

/// What a model computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Architecture {
    /// [`Transformer`].
    Transformer(Transformer),
    /// [`Lstm`].
    Lstm(Lstm),
    /// [`Rwkv`].
    Rwkv(Rwkv),
}

/// What stands before and behind every backbone: a hidden state from a token, logits from the last.
///
/// ```text
/// x = (embedding[ids] + conditioning_scale * sum(embedding[conditions])) * embedding_scale
/// logits = (last hidden states) · headᵀ * logit_scale
/// ```
///
/// The conditions of a sequence are the tokens that would stand in its head, where the model adds
/// them to every token instead (`conditioning_scale`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ends {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Whether the head's weights are the embedding's.
    pub tied: bool,
    /// What embeddings are multiplied by.
    pub embedding_scale: f32,
    /// What logits are multiplied by.
    pub logit_scale: f32,
    /// Where the conditions of a sequence are not tokens before its music but embeddings added to
    /// every token's: what these are multiplied by beside the token's own.
    pub conditioning_scale: Option<f32>,
}

impl Ends {
    /// A stream whose head has `head` tokens as the model takes it: the conditions that it adds to
    /// every token, and the sequence, which then has nothing of the head but BOS.
    pub fn split<'s>(&self, stream: &'s [Token], head: usize) -> (&'s [Token], Cow<'s, [Token]>) {
        match (self.conditioning_scale, stream.get(1..head)) {
            (Some(_), Some(conditions)) => {
                let sequence = [&stream[..1], &stream[head..]].concat();
                (conditions, sequence.into())
            }
            _ => (&[], stream.into()),
        }
    }
}

impl Architecture {
    /// What stands around the backbone.
    pub fn ends(&self) -> Ends {
        match self {
            Self::Transformer(t) => t.ends(),
            Self::Lstm(l) => l.ends(),
            Self::Rwkv(r) => r.ends(),
        }
    }

    /// Whether its graph has tables of positions, and so knows no more of them than the context has.
    pub(crate) fn counts_positions(&self) -> bool {
        match self {
            Self::Transformer(t) => !matches!(t.positions, Positions::Relative { .. }),
            Self::Lstm(_) | Self::Rwkv(_) => false,
        }
    }

    /// Tokens in the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.ends().vocabulary
    }

    /// Every weight's name and shape, in the order of a checkpoint. Linear maps are `[out, in]`.
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Transformer(t) => t.weights(),
            Self::Lstm(l) => l.weights(),
            Self::Rwkv(r) => r.weights(),
        }
    }

    /// The number of parameters.
    pub fn parameters(&self) -> usize {
        let sizes = self.weights().into_iter();
        sizes
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }
}

impl From<Transformer> for Architecture {
    fn from(t: Transformer) -> Self {
        Self::Transformer(t)
    }
}

impl From<Lstm> for Architecture {
    fn from(lstm: Lstm) -> Self {
        Self::Lstm(lstm)
    }
}

impl From<Rwkv> for Architecture {
    fn from(rwkv: Rwkv) -> Self {
        Self::Rwkv(rwkv)
    }
}

/// Older files do not say by what logits are multiplied.
fn one() -> f32 {
    1.0
}
