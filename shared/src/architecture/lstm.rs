//! The LSTM: Hochreiter and Schmidhuber 1997, *Long Short-Term Memory*, with the forget gate of Gers
//! et al. 2000. For inputs `x` `[batch, time, width]`, one time after another:
//!
//! ```text
//! x = (embedding[ids] + conditioning_scale * sum(embedding[conditions])) * embedding_scale
//! for each layer l of units.l, with h = c = 0 before a sequence:
//!     i, o, f, g = split(x · inputᵀ + h · recurrentᵀ + bias)
//!     c = sigmoid(f) * c + sigmoid(i) * tanh(g)
//!     h = sigmoid(o) * tanh(c)
//!     x = h
//! with an attention_window, of the last layer's h and its units:
//!     s[t, i] = (h[t] · attention.scoreᵀ) · h[i] / sqrt(units)     for t - attention_window < i <= t
//!     x[t] = tanh(concat(Σ softmax(s[t])[i] h[i], h[t]) · attention.combineᵀ)
//! logits = (x · projectionᵀ) · headᵀ * logit_scale
//! ```
//!
//! The gates stand in the order of ONNX's operator `LSTM`. What a layer carries from one token to
//! the next, `h` and `c`, has a fixed size, so a token costs the same however many came before.
//!
//! The attention is that of Luong et al. 2015, *Effective Approaches to Attention-based Neural Machine
//! Translation*, section 3.1 (equation 5, and the score *general*), over the model's own last outputs rather
//! than a source's; scaled as in Vaswani et al. 2017. Its window bounds what has to be carried: the last
//! `attention_window` outputs.

use serde::{Deserialize, Serialize};

use super::Ends;

/// A stack of LSTM layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lstm {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Width of the embeddings and of what the head reads.
    pub d_model: usize,
    /// Units of each layer.
    pub units: Vec<usize>,
    /// Of how many last outputs, its own too, each reads; none without attention, as in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_window: Option<usize>,
    /// Whether the head's weights are the embedding's.
    pub tied: bool,
    /// What embeddings are multiplied by (1, or sqrt(d_model)).
    pub embedding_scale: f32,
    /// What logits are multiplied by.
    pub logit_scale: f32,
    /// What the conditions' embeddings, added to every token's, are multiplied by; none where the
    /// conditions are tokens before the music.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditioning_scale: Option<f32>,
}

impl Lstm {
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

    /// Units and width of the input of every layer.
    pub fn layers(&self) -> impl Iterator<Item = (usize, usize)> {
        let inputs = std::iter::once(self.d_model).chain(self.units.iter().copied());
        std::iter::zip(self.units.iter().copied(), inputs)
    }

    /// Units of the last layer.
    pub fn width(&self) -> usize {
        self.units.last().copied().unwrap_or(self.d_model)
    }

    /// Every weight's name and shape, in the order of a checkpoint; the four gates are stacked.
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        let d = self.d_model;
        let mut weights = vec![("embedding.weight".to_owned(), vec![self.vocabulary, d])];
        for (l, (units, input)) in self.layers().enumerate() {
            weights.push((format!("layers.{l}.input.weight"), vec![4 * units, input]));
            weights.push((
                format!("layers.{l}.recurrent.weight"),
                vec![4 * units, units],
            ));
            weights.push((format!("layers.{l}.bias"), vec![4 * units]));
        }
        let last = self.width();
        if self.attention_window.is_some() {
            weights.push(("attention.score.weight".to_owned(), vec![last, last]));
            weights.push(("attention.combine.weight".to_owned(), vec![last, 2 * last]));
        }
        weights.push(("projection.weight".to_owned(), vec![d, last]));
        if !self.tied {
            weights.push(("head.weight".to_owned(), vec![self.vocabulary, d]));
        }
        weights
    }
}
