//! The Transformer of [`famam_shared::architecture`].

use std::rc::Rc;

use famam_shared::architecture::{self, Activation, Positions};
use tch::{Device, Kind, Tensor};

use super::norm::Norm;
use super::{Backbone, Dropout, Linear, Named, Tape};

/// Standard deviation of a fresh weight (Radford et al. 2019, *GPT-2*).
const INIT_STD: f64 = 0.02;

struct Layer {
    attention_norm: Norm,
    qkv: Linear,
    relative: Option<Tensor>,
    out: Linear,
    feed_forward_norm: Norm,
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
}

/// The blocks, their norms and their positions.
pub(super) struct Transformer {
    architecture: architecture::Transformer,
    /// Learned absolute positions.
    positions: Option<Tensor>,
    layers: Vec<Layer>,
    final_norm: Norm,
}

/// A fresh weight: normal with deviation 0.02, those that end a residual branch divided by
/// sqrt(2 layers); norms 1 and 0.
pub(super) fn fresh(
    t: &architecture::Transformer,
    name: &str,
    shape: &[i64],
    options: (Kind, Device),
) -> Tensor {
    let branch = INIT_STD / (2.0 * t.layers as f64).sqrt();
    if name.ends_with("norm.weight") {
        Tensor::ones(shape, options)
    } else if name.ends_with(".bias") {
        Tensor::zeros(shape, options)
    } else if name.ends_with("out.weight") || name.ends_with("down.weight") {
        Tensor::randn(shape, options) * branch
    } else {
        Tensor::randn(shape, options) * INIT_STD
    }
}

impl Transformer {
    pub(super) fn new(t: &architecture::Transformer, named: &Named) -> Self {
        let norm = |name: &str| Norm::new(named, name);
        let layers = (0..t.layers).map(|l| Layer {
            attention_norm: norm(&format!("layers.{l}.attention_norm")),
            qkv: named.linear(&format!("layers.{l}.qkv.weight")),
            relative: named.find(&format!("layers.{l}.relative.weight")),
            out: named.linear(&format!("layers.{l}.out.weight")),
            feed_forward_norm: norm(&format!("layers.{l}.feed_forward_norm")),
            gate: named.find_linear(&format!("layers.{l}.gate.weight")),
            up: named.linear(&format!("layers.{l}.up.weight")),
            down: named.linear(&format!("layers.{l}.down.weight")),
        });
        Self {
            architecture: t.clone(),
            positions: named.find("positions.weight"),
            layers: layers.collect(),
            final_norm: norm("final_norm"),
        }
    }
}

impl Backbone for Transformer {
    /// Dropout falls on the embeddings with their positions and on what each branch adds (Vaswani et
    /// al. 2017, section 5.4).
    fn hidden<'a>(
        &'a self,
        mut x: Tensor,
        lengths: &'a [i64],
        kind: Kind,
        dropout: &mut Dropout,
        tape: &mut Tape<'a>,
    ) -> Tensor {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rotation = match self.architecture.positions {
            Positions::Rotary { theta } => {
                let rotation = self.rotation(f64::from(theta), lengths, longest, x.device());
                Some(Rc::new(rotation))
            }
            _ => None,
        };
        if let Some(table) = self.absolute(longest, x.device()) {
            x = &x + ragged(&table, lengths);
        }
        x = dropout.apply(x);
        for layer in &self.layers {
            let rotation = rotation.clone();
            x = tape.layer(x, dropout, move |x, dropout| {
                self.layer(layer, x, lengths, rotation.as_deref(), kind, dropout)
            });
        }
        self.final_norm.apply(&x)
    }
}

impl Transformer {
    /// Hidden states after a layer, of those before it.
    fn layer(
        &self,
        layer: &Layer,
        x: &Tensor,
        lengths: &[i64],
        rotation: Option<&(Tensor, Tensor)>,
        kind: Kind,
        dropout: &mut Dropout,
    ) -> Tensor {
        let h = layer.attention_norm.apply(x);
        let attended = self.attention(layer, &h, lengths, rotation, kind, dropout);
        let branch = layer.out.apply(&attended, kind, dropout);
        let x = x + dropout.apply(branch.to_kind(Kind::Float));
        let h = layer.feed_forward_norm.apply(&x);
        let up = layer.up.apply(&h, kind, dropout);
        let inner = match (&layer.gate, self.architecture.activation) {
            (Some(gate), Activation::SwiGlu) => gate.apply(&h, kind, dropout).silu() * up,
            _ => up.gelu("none"),
        };
        let branch = layer.down.apply(&inner, kind, dropout);
        x + dropout.apply(branch.to_kind(Kind::Float))
    }

    /// Cosines and signed sines `[tokens, 1, head_dim]` of each token's position.
    fn rotation(
        &self,
        theta: f64,
        lengths: &[i64],
        longest: i64,
        device: Device,
    ) -> (Tensor, Tensor) {
        let options = (Kind::Float, device);
        let half = self.architecture.head_dim() as i64 / 2;
        let exponents = Tensor::arange(half, options) * (-2.0 * theta.ln() / (2 * half) as f64);
        let angles = Tensor::arange(longest, options).outer(&exponents.exp());
        let (cos, sin) = (angles.cos(), angles.sin());
        let cos = Tensor::cat(&[&cos, &cos], 1);
        let sin = Tensor::cat(&[&-&sin, &sin], 1);
        let each = |table| ragged(table, lengths).unsqueeze(1);
        (each(&cos), each(&sin))
    }

    /// What is added to the embeddings at the positions before `longest`, `[longest, d_model]`.
    fn absolute(&self, longest: i64, device: Device) -> Option<Tensor> {
        match self.architecture.positions {
            Positions::Sinusoidal => {
                let options = (Kind::Double, device);
                let width = self.architecture.d_model as i64;
                let exponents = -10_000f64.ln() * 2.0 / width as f64;
                let frequencies = (Tensor::arange(width / 2, options) * exponents).exp();
                let angles = Tensor::arange(longest, options).outer(&frequencies);
                let pairs = Tensor::stack(&[angles.sin(), angles.cos()], 2);
                Some(pairs.view([longest, width]).to_kind(Kind::Float))
            }
            Positions::Learned { .. } => self
                .positions
                .as_ref()
                .map(|table| table.narrow(0, 0, longest)),
            Positions::Relative { .. } | Positions::Rotary { .. } => None,
        }
    }

    /// What attention reads `[tokens, d_model]`, before the output map.
    fn attention(
        &self,
        layer: &Layer,
        h: &Tensor,
        lengths: &[i64],
        rotation: Option<&(Tensor, Tensor)>,
        kind: Kind,
        dropout: &mut Dropout,
    ) -> Tensor {
        let (heads, kv) = (
            self.architecture.heads as i64,
            self.architecture.kv_heads as i64,
        );
        let (width, group) = (self.architecture.head_dim() as i64, heads / kv);
        let tokens = h.size()[0];
        let qkv = layer.qkv.apply(h, kind, dropout).to_kind(Kind::Float);
        let qkv = qkv.view([tokens, heads + 2 * kv, width]);
        let parts = qkv.split_with_sizes([heads + kv, kv], 1);
        let (mut qk, v) = (parts[0].shallow_clone(), &parts[1]);
        if let Some((cos, sin)) = rotation {
            // Halves change places; the sign is in the sines.
            qk = (&qk * cos).addcmul(&qk.roll([width / 2], [2]), sin);
        }
        let qk = qk.split_with_sizes([heads, kv], 1);
        if layer.relative.is_none() && h.device().is_cuda() {
            let [q, k, v] = [&qk[0], &qk[1], v].map(|x| x.to_kind(kind));
            return fused_attention(&q, &k, &v, lengths);
        }
        let q = &qk[0] * (width as f64).powf(-0.5);
        let sequences = |x: &Tensor| x.to_kind(kind).split_with_sizes(lengths, 0);
        let (q, k, v) = (sequences(&q), sequences(&qk[1]), sequences(v));
        let read: Vec<Tensor> = (0..lengths.len())
            .map(|i| {
                let q = q[i]
                    .view([lengths[i], kv, group, width])
                    .permute([1, 2, 0, 3]);
                let bias = layer
                    .relative
                    .as_ref()
                    .map(|table| relative_bias(&q, table));
                let (k, v) = (k[i].transpose(0, 1), v[i].transpose(0, 1));
                causal_attention(&q, &k, &v, bias.as_ref())
            })
            .collect();
        Tensor::cat(&read, 0)
    }
}

/// The rows of `table` at the positions of every token of a ragged batch.
fn ragged(table: &Tensor, lengths: &[i64]) -> Tensor {
    let parts: Vec<Tensor> = lengths
        .iter()
        .map(|&length| table.narrow(0, 0, length))
        .collect();
    Tensor::cat(&parts, 0)
}

/// What all sequences read `[tokens, heads · head_dim]` with queries `[tokens, heads, head_dim]`, keys and
/// values `[tokens, kv_heads, head_dim]`, without a bias: by torch's fused kernels (Dao 2023,
/// *FlashAttention-2*), which compute no score above the diagonal and keep none. Sequences are filled up
/// to the longest at their ends, which no token before sees.
fn fused_attention(q: &Tensor, k: &Tensor, v: &Tensor, lengths: &[i64]) -> Tensor {
    let batch = |x: &Tensor| {
        let sequences = x.split_with_sizes(lengths, 0);
        Tensor::pad_sequence(&sequences, true, 0.0, "right").transpose(1, 2)
    };
    let (heads, kv) = (q.size()[1], k.size()[1]);
    let read = Tensor::scaled_dot_product_attention::<&Tensor>(
        &batch(q),
        &batch(k),
        &batch(v),
        None,
        0.0,
        true,
        None,
        heads != kv,
    );
    let read = read.transpose(1, 2).flatten(2, 3);
    let sequences = std::iter::zip(0.., lengths);
    let sequences: Vec<Tensor> = sequences
        .map(|(i, &length)| read.get(i).narrow(0, 0, length))
        .collect();
    Tensor::cat(&sequences, 0)
}

/// Queries of a block of causal attention: the products above the diagonal that are computed in
/// vain are a block wide.
const QUERY_BLOCK: i64 = 256;

/// What one sequence reads `[time, heads · head_dim]` with queries `[kv_heads, group, time, head_dim]`,
/// scaled, keys and values `[kv_heads, time, head_dim]` and a bias `[kv_heads, group, time, time]`
/// that is -inf after the diagonal.
///
/// The heads that share a key/value head are one product. On a CPU this takes half the time of
/// torch's `scaled_dot_product_attention` (which knows neither that nor fast bfloat16).
pub(super) fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    bias: Option<&Tensor>,
) -> Tensor {
    let size = q.size();
    let (kv, group, time, width) = (size[0], size[1], size[2], size[3]);
    let mut read = Vec::new();
    for begin in (0..time).step_by(QUERY_BLOCK as usize) {
        let rows = QUERY_BLOCK.min(time - begin);
        let end = begin + rows;
        let bias = match bias {
            Some(bias) => bias.narrow(2, begin, rows).narrow(3, 0, end),
            None => later([rows, end], begin + 1, q),
        };
        let queries = q.narrow(2, begin, rows).reshape([kv, group * rows, width]);
        let scores = queries.matmul(&k.narrow(1, 0, end).transpose(1, 2));
        let scores = scores.view([kv, group, rows, end]) + bias;
        let shares = scores.softmax(-1, q.kind()).view([kv, group * rows, end]);
        let block = shares
            .matmul(&v.narrow(1, 0, end))
            .view([kv, group, rows, width]);
        read.push(
            block
                .permute([2, 0, 1, 3])
                .reshape([rows, kv * group * width]),
        );
    }
    Tensor::cat(&read, 0)
}

/// -inf from `diagonal` on, 0 before it; like `tensor`.
fn later(shape: [i64; 2], diagonal: i64, tensor: &Tensor) -> Tensor {
    Tensor::full(shape, f64::NEG_INFINITY, (tensor.kind(), tensor.device())).triu(diagonal)
}

/// The bias `[kv_heads, group, time, time]` that relative attention adds to scores, -inf after the
/// diagonal, of scaled queries `[kv_heads, group, time, head_dim]` and a table
/// `[kv_heads, max_distance + 1, head_dim]`.
///
/// Skewing as in Huang et al. 2018, section 3.4.1: column `c` of `q·Erᵀ` is the distance
/// `time - 1 - c`; a column of padding and a view of other strides shift row `i` by `i`.
fn relative_bias(q: &Tensor, table: &Tensor) -> Tensor {
    let (size, furthest) = (q.size(), table.size()[1] - 1);
    let (kv, group, time) = (size[0], size[1], size[2]);
    let distances =
        (Tensor::arange(time, (Kind::Int64, q.device())) * -1 + (time - 1)).clamp_max(furthest);
    let table = table
        .index_select(1, &distances)
        .to_kind(q.kind())
        .unsqueeze(1);
    let scores = q.matmul(&table.transpose(2, 3));
    let padded = scores
        .constant_pad_nd([1, 0])
        .view([kv, group, time + 1, time]);
    padded.narrow(2, 1, time) + later([time, time], 1, q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_attention_is_the_same_attention() {
        let (lengths, width) = ([5, 300, 1, 40], 8);
        let tokens = lengths.iter().sum::<i64>();
        for (heads, kv) in [(4, 4), (4, 2), (4, 1)] {
            let draw = |heads: i64| {
                let drawn = Tensor::randn([tokens, heads, width], (Kind::Float, Device::Cpu));
                drawn.set_requires_grad(true)
            };
            let (q, k, v) = (draw(heads), draw(kv), draw(kv));
            let fused = fused_attention(&q, &k, &v, &lengths);
            let scaled = &q * (width as f64).powf(-0.5);
            let sequences = |x: &Tensor| x.split_with_sizes(lengths, 0);
            let (qs, ks, vs) = (sequences(&scaled), sequences(&k), sequences(&v));
            let own: Vec<Tensor> = std::iter::zip(0.., lengths)
                .map(|(i, length): (usize, i64)| {
                    let q = qs[i]
                        .view([length, kv, heads / kv, width])
                        .permute([1, 2, 0, 3]);
                    causal_attention(&q, &ks[i].transpose(0, 1), &vs[i].transpose(0, 1), None)
                })
                .collect();
            let own = Tensor::cat(&own, 0);
            let weights = own.detach().randn_like();
            let gradients = |read: &Tensor| {
                let sum = (read * &weights).sum(None);
                Tensor::run_backward(&[sum], &[&q, &k, &v], true, false)
            };
            let apart = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
            assert!(apart(&fused, &own) < 1e-5, "{heads} and {kv} heads");
            for (a, b) in std::iter::zip(gradients(&fused), gradients(&own)) {
                assert!(apart(&a, &b) < 1e-4, "{heads} and {kv} heads");
            }
        }
    }
}
