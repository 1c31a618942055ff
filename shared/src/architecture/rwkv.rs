//! RWKV: Peng et al. 2023, *RWKV: Reinventing RNNs for the Transformer Era* (its version 4), section 3.
//! For hidden states `x` `[batch, time, d_model]`, one time `t` after another:
//!
//! ```text
//! x = (embedding[ids] + conditioning_scale * sum(embedding[conditions])) * embedding_scale
//! x = layer_norm(x; embedding_norm)
//! for each layer l:
//!     time mixing (section 3.1.1 to 3.1.3):
//!     h = layer_norm(x; layers.l.time_mixing_norm)
//!     r, k, v = shift(h, mix_receptance) · receptanceᵀ, shift(h, mix_key) · keyᵀ, shift(h, mix_value) · valueᵀ
//!     wkv[t] = (Σ e^(k[i] - (t-1-i) w) v[i] + e^(u + k[t]) v[t]) / (Σ e^(k[i] - (t-1-i) w) + e^(u + k[t]))
//!                 each sum over all i < t; w = e^decay, u = bonus
//!     x = x + (sigmoid(r) * wkv) · outputᵀ
//!     channel mixing (section 3.1.4):
//!     h = layer_norm(x; layers.l.channel_mixing_norm)
//!     r, k = shift(h, mix_receptance) · receptanceᵀ, shift(h, mix_key) · keyᵀ
//!     x = x + sigmoid(r) * (relu(k)² · valueᵀ)
//! logits = layer_norm(x; final_norm) · headᵀ * logit_scale
//! ```
//!
//! `shift(h, mix)` is `h[t] * mix + h[t-1] * (1 - mix)`, with zeros before a sequence; the mixes, the decay
//! and the bonus have a value for each channel. Layer norms have a weight and a bias and eps 1e-5; linear maps
//! have no bias.
//!
//! What a layer carries from one token to the next has a fixed size: `h` of both mixings, the two sums, and
//! the greatest exponent in them, by which they are scaled so that nothing overflows (the paper's appendix on
//! numerical stability).

use serde::{Deserialize, Serialize};

use super::Ends;

/// A stack of RWKV blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rwkv {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Blocks.
    pub layers: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Width inside the channel mixing.
    pub d_ff: usize,
    /// Whether the head's weights are the embedding's.
    pub tied: bool,
    /// What embeddings are multiplied by before their norm.
    pub embedding_scale: f32,
    /// What logits are multiplied by.
    pub logit_scale: f32,
    /// What the conditions' embeddings, added to every token's, are multiplied by; none where the
    /// conditions are tokens before the music.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditioning_scale: Option<f32>,
}

impl Rwkv {
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

    /// Every weight's name and shape, in the order of a checkpoint. Linear maps are `[out, in]`.
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        let (d, ff) = (self.d_model, self.d_ff);
        let mut weights = vec![("embedding.weight".to_owned(), vec![self.vocabulary, d])];
        let mut add = |name: String, shape: &[usize]| weights.push((name, shape.to_vec()));
        add("embedding_norm.weight".to_owned(), &[d]);
        add("embedding_norm.bias".to_owned(), &[d]);
        for l in 0..self.layers {
            let time = format!("layers.{l}.time_mixing");
            add(format!("{time}_norm.weight"), &[d]);
            add(format!("{time}_norm.bias"), &[d]);
            for vector in ["mix_receptance", "mix_key", "mix_value", "decay", "bonus"] {
                add(format!("{time}.{vector}"), &[d]);
            }
            for matrix in ["receptance", "key", "value", "output"] {
                add(format!("{time}.{matrix}.weight"), &[d, d]);
            }
            let channel = format!("layers.{l}.channel_mixing");
            add(format!("{channel}_norm.weight"), &[d]);
            add(format!("{channel}_norm.bias"), &[d]);
            add(format!("{channel}.mix_receptance"), &[d]);
            add(format!("{channel}.mix_key"), &[d]);
            add(format!("{channel}.receptance.weight"), &[d, d]);
            add(format!("{channel}.key.weight"), &[ff, d]);
            add(format!("{channel}.value.weight"), &[d, ff]);
        }
        add("final_norm.weight".to_owned(), &[d]);
        add("final_norm.bias".to_owned(), &[d]);
        if !self.tied {
            add("head.weight".to_owned(), &[self.vocabulary, d]);
        }
        weights
    }
}
