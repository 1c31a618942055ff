//! The LSTM of [`famam_shared::architecture`].
//!
//! Time is a loop, as the recurrent products cannot be taken at once; a step takes all sequences
//! that are that long together. For that the tokens are put in the order of their times, the longest
//! sequence first: those that a step needs are then the first rows of what the step before gave.

use std::rc::Rc;

use famam_shared::architecture;
use tch::{Device, Kind, Tensor};

use super::transformer::causal_attention;
use super::{Backbone, Dropout, Linear, Named, Tape};

/// Standard deviation of a fresh embedding (Radford et al. 2019, *GPT-2*).
const EMBEDDING_STD: f64 = 0.02;

struct Layer {
    /// `[4 units, width]`, as all of them the gates i, o, f, g.
    input: Linear,
    /// `[4 units, units]`.
    recurrent: Linear,
    /// `[4 units]`.
    bias: Tensor,
}

/// What reads the last outputs.
struct Attention {
    window: i64,
    /// `[units, units]`.
    score: Linear,
    /// `[units, 2 units]`.
    combine: Linear,
}

/// The layers and the projection to the head.
pub(super) struct Lstm {
    layers: Vec<Layer>,
    attention: Option<Attention>,
    projection: Linear,
}

/// A fresh weight: normal, with deviation 1/sqrt(width of its input) in the layers. The forget gate's
/// bias is 1, so that a layer begins by remembering (Jozefowicz et al. 2015, section 3.2).
pub(super) fn fresh(name: &str, shape: &[i64], options: (Kind, Device)) -> Tensor {
    match *shape {
        [gates] => {
            let bias = Tensor::zeros(shape, options);
            let _ = bias.narrow(0, gates / 2, gates / 4).fill_(1.0);
            bias
        }
        [.., width]
            if name.starts_with("layers")
                || name.starts_with("attention")
                || name == "projection.weight" =>
        {
            Tensor::randn(shape, options) * (width as f64).powf(-0.5)
        }
        _ => Tensor::randn(shape, options) * EMBEDDING_STD,
    }
}

impl Lstm {
    pub(super) fn new(lstm: &architecture::Lstm, named: &Named) -> Self {
        let layers = (0..lstm.units.len()).map(|l| Layer {
            input: named.linear(&format!("layers.{l}.input.weight")),
            recurrent: named.linear(&format!("layers.{l}.recurrent.weight")),
            bias: named.get(&format!("layers.{l}.bias")),
        });
        let attention = lstm.attention_window.map(|window| Attention {
            window: window as i64,
            score: named.linear("attention.score.weight"),
            combine: named.linear("attention.combine.weight"),
        });
        Self {
            layers: layers.collect(),
            attention,
            projection: named.linear("projection.weight"),
        }
    }
}

impl Backbone for Lstm {
    /// Dropout falls on the embeddings and on what each layer and attention give, recurrent dropout on what
    /// layers recall.
    fn hidden<'a>(
        &'a self,
        x: Tensor,
        lengths: &'a [i64],
        kind: Kind,
        dropout: &mut Dropout,
        tape: &mut Tape<'a>,
    ) -> Tensor {
        let order = Rc::new(Order::new(lengths));
        let index = |places: &[i64]| Tensor::from_slice(places).to_device(x.device());
        let mut h = dropout.apply(x.index_select(0, &index(&order.by_time)));
        for layer in &self.layers {
            let order = order.clone();
            h = tape.layer(h, dropout, move |h, dropout| {
                let h = layer.hidden(h, &order.sequences, kind, dropout);
                dropout.apply(h)
            });
        }
        let mut h = h.index_select(0, &index(&order.back));
        if let Some(attention) = &self.attention {
            h = tape.layer(h, dropout, move |h, dropout| {
                let h = attention.hidden(h, lengths, kind, dropout);
                dropout.apply(h)
            });
        }
        self.projection
            .apply(&h, kind, dropout)
            .to_kind(Kind::Float)
    }
}

impl Attention {
    /// What the outputs `h` `[tokens, units]` of a ragged batch and those before them are combined to.
    fn hidden(&self, h: &Tensor, lengths: &[i64], kind: Kind, dropout: &mut Dropout) -> Tensor {
        let units = h.size()[1];
        let queries = self.score.apply(h, kind, dropout) * (units as f64).powf(-0.5);
        let sequences = |x: &Tensor| x.to_kind(kind).split_with_sizes(lengths, 0);
        let (queries, outputs) = (sequences(&queries), sequences(h));
        let read: Vec<Tensor> = std::iter::zip(queries, outputs)
            .map(|(queries, outputs)| {
                let time = outputs.size()[0];
                let bias = (time > self.window).then(|| {
                    // -inf after the diagonal, and from the window's begin back.
                    let none = Tensor::full(
                        [time, time],
                        f64::NEG_INFINITY,
                        (outputs.kind(), outputs.device()),
                    );
                    let bias = none.triu(1) + none.tril(-self.window);
                    bias.unsqueeze(0).unsqueeze(0)
                });
                let (q, kv) = (queries.view([1, 1, time, units]), outputs.unsqueeze(0));
                causal_attention(&q, &kv, &kv, bias.as_ref())
            })
            .collect();
        let both = Tensor::cat(&[Tensor::cat(&read, 0), h.to_kind(kind)], 1);
        self.combine
            .apply(&both, kind, dropout)
            .to_kind(Kind::Float)
            .tanh()
    }
}

impl Layer {
    /// Hidden states `[tokens, units]` for inputs `[tokens, width]`, time after time; `sequences` says
    /// how many each time has.
    fn hidden(&self, x: &Tensor, sequences: &[i64], kind: Kind, dropout: &mut Dropout) -> Tensor {
        let units = self.recurrent.input();
        let recurrent = self.recurrent.to_kind(kind);
        let from_x = self.input.apply(x, kind, dropout).to_kind(Kind::Float) + &self.bias;
        let first = sequences.first().copied().unwrap_or(0);
        let mut h = Tensor::zeros([first, units], (Kind::Float, x.device()));
        let mut c = h.shallow_clone();
        let mask = dropout.recurrent(&h);
        let times = from_x.split_with_sizes(sequences, 0).into_iter();
        let hidden = times.map(|from_x| {
            let rows = from_x.size()[0];
            let mut recalled = h.narrow(0, 0, rows);
            if let Some(mask) = &mask {
                recalled = &recalled * mask.narrow(0, 0, rows);
            }
            let gates = from_x
                + recurrent
                    .apply(&recalled, kind, dropout)
                    .to_kind(Kind::Float);
            let opened = gates.narrow(1, 0, 3 * units).sigmoid().chunk(3, 1);
            let [i, o, f] = [&opened[0], &opened[1], &opened[2]];
            let g = gates.narrow(1, 3 * units, units).tanh();
            c = f * c.narrow(0, 0, rows) + i * g;
            h = o * c.tanh();
            h.shallow_clone()
        });
        Tensor::cat(&hidden.collect::<Vec<_>>(), 0)
    }
}

/// The order of a ragged batch's tokens by their times.
struct Order {
    /// Sequences that have each time.
    sequences: Vec<i64>,
    /// Where each token stands in the ragged batch.
    by_time: Vec<i64>,
    /// Where each token of the ragged batch stands.
    back: Vec<i64>,
}

impl Order {
    fn new(lengths: &[i64]) -> Self {
        let mut begin = 0;
        let mut places: Vec<(i64, i64)> = lengths
            .iter()
            .map(|&length| {
                begin += length;
                (length, begin - length)
            })
            .collect();
        places.sort_by_key(|&(length, _)| -length);
        let longest = places.first().map_or(0, |&(length, _)| length);
        let (mut sequences, mut by_time) = (Vec::new(), Vec::new());
        for time in 0..longest {
            let here = places.iter().take_while(|&&(length, _)| length > time);
            let before = by_time.len();
            by_time.extend(here.map(|&(_, begin)| begin + time));
            sequences.push((by_time.len() - before) as i64);
        }
        let mut back = vec![0; by_time.len()];
        for (i, &place) in by_time.iter().enumerate() {
            back[place as usize] = i as i64;
        }
        Self {
            sequences,
            by_time,
            back,
        }
    }
}
