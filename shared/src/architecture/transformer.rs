//! The Transformer: decoder-only and pre-norm. For hidden states `x` `[batch, time, d_model]`:
//!
//! ```text
//! x = (embedding[ids] + conditioning_scale * sum(embedding[conditions])) * embedding_scale
//! sinusoidal and learned:   x = x + positions[pos]
//! for each layer l:
//!     h = layer_norm(x; layers.l.attention_norm)
//!     q, k, v = split(h · qkvᵀ)             q: heads, k and v: kv_heads, each head_dim wide
//!     rotary:   q, k = rotate(q, pos), rotate(k, pos)
//!     s = (q·kᵀ + q·Erᵀ[clip(pos_q - pos_k, 0, max_distance)]) / sqrt(head_dim)   (Er: relative only)
//!     x = x + (softmax(causal(s)) · v) · outᵀ
//!     h = layer_norm(x; layers.l.feed_forward_norm)
//!     x = x + activation(h · upᵀ) · downᵀ            GELU (exact, erf)
//!       or    (silu(h · gateᵀ) * (h · upᵀ)) · downᵀ  SwiGLU (Shazeer 2020)
//! logits = layer_norm(x; final_norm) · headᵀ * logit_scale
//! ```
//!
//! Relative attention: Huang et al. 2018, *Music Transformer*, section 3.4; one table of embeddings
//! for each key/value head. Rotary positions: Su et al. 2021, *RoFormer*, section 3.4, halves
//! rotated (element `i` pairs with `i + head_dim/2`), angle `pos * theta^(-2i/head_dim)`.
//! Absolute positions: Vaswani et al. 2017, *Attention Is All You Need*, section 3.5; sinusoidal
//! `positions[pos, 2i] = sin(pos / 10000^(2i/d_model))`, `positions[pos, 2i+1]` its cosine.
//! Grouped key/value heads: Ainslie et al. 2023, *GQA*; query head `h` reads key/value head
//! `h / (heads / kv_heads)`. Layer norms have a weight and a bias and eps 1e-5; linear maps have no bias.

use serde::{Deserialize, Serialize};

use super::Ends;

/// How the model knows where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Positions {
    /// Learned embeddings of the distance, clipped at `max_distance`.
    Relative {
        /// The largest distance that is told from larger ones.
        max_distance: usize,
    },
    /// Queries and keys rotated by their position.
    Rotary {
        /// The base of the angles, 10,000 in the paper.
        theta: f32,
    },
    /// Sines and cosines of the position, added to the embeddings.
    Sinusoidal,
    /// A learned embedding of each position, added to the token's.
    Learned {
        /// Positions that have one, from 0.
        length: usize,
    },
}

/// The feed-forward network's nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `gelu(up(x))`, with the exact error function.
    Gelu,
    /// `silu(gate(x)) * up(x)`.
    SwiGlu,
}

/// A decoder-only Transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transformer {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Blocks.
    pub layers: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Query heads; `d_model / heads` is the width of each, which must be even.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width inside the feed-forward network.
    pub d_ff: usize,
    /// Positions.
    pub positions: Positions,
    /// Nonlinearity of the feed-forward network.
    pub activation: Activation,
    /// Whether the head's weights are the embedding's.
    pub tied: bool,
    /// What embeddings are multiplied by (1, or sqrt(d_model)).
    pub embedding_scale: f32,
    /// What logits are multiplied by; older files do not say it.
    #[serde(default = "super::one")]
    pub logit_scale: f32,
    /// What the conditions' embeddings, added to every token's, are multiplied by; none where the
    /// conditions are tokens before the music.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditioning_scale: Option<f32>,
}

impl Transformer {
    /// What stands around the layers.
    pub(super) fn ends(&self) -> Ends {
        Ends {
            vocabulary: self.vocabulary,
            d_model: self.d_model,
            tied: self.tied,
            embedding_scale: self.embedding_scale,
            logit_scale: self.logit_scale,
            conditioning_scale: self.conditioning_scale,
        }
    }

    /// Width of one head.
    pub fn head_dim(&self) -> usize {
        self.d_model / self.heads
    }

    /// Every weight's name and shape, in the order of a checkpoint. Linear maps are
    /// `[out, in]`; `qkv` stacks all query heads, then key heads, then value heads.
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        let (d, ff, hd) = (self.d_model, self.d_ff, self.head_dim());
        let mut weights = vec![("embedding.weight".to_owned(), vec![self.vocabulary, d])];
        if let Positions::Learned { length } = self.positions {
            weights.push(("positions.weight".to_owned(), vec![length, d]));
        }
        let norm = |weights: &mut Vec<(String, Vec<usize>)>, name: String| {
            weights.push((format!("{name}.weight"), vec![d]));
            weights.push((format!("{name}.bias"), vec![d]));
        };
        for l in 0..self.layers {
            norm(&mut weights, format!("layers.{l}.attention_norm"));
            let rows = (self.heads + 2 * self.kv_heads) * hd;
            weights.push((format!("layers.{l}.qkv.weight"), vec![rows, d]));
            if let Positions::Relative { max_distance } = self.positions {
                let shape = vec![self.kv_heads, max_distance + 1, hd];
                weights.push((format!("layers.{l}.relative.weight"), shape));
            }
            weights.push((format!("layers.{l}.out.weight"), vec![d, self.heads * hd]));
            norm(&mut weights, format!("layers.{l}.feed_forward_norm"));
            if self.activation == Activation::SwiGlu {
                weights.push((format!("layers.{l}.gate.weight"), vec![ff, d]));
            }
            weights.push((format!("layers.{l}.up.weight"), vec![ff, d]));
            weights.push((format!("layers.{l}.down.weight"), vec![d, ff]));
        }
        norm(&mut weights, "final_norm".to_owned());
        if !self.tied {
            weights.push(("head.weight".to_owned(), vec![self.vocabulary, d]));
        }
        weights
    }
}
