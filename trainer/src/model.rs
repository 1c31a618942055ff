//! The Transformer of [`famam_shared::architecture`] in `tch`, for training and for checking exports.
//!
//! A batch is *ragged*: the tokens of all its sequences stand one after another in one tensor
//! `[tokens]`, with the lengths beside it. Linear maps, norms and the loss see no padding at all;
//! only attention looks at one sequence at a time, so that positions start at 0 in each.

use famam_shared::architecture::{Activation, Positions, Transformer};
use famam_shared::encoding::{PAD, Token};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor};

use crate::config::training::Precision;

/// The epsilon of all layer norms.
const NORM_EPS: f64 = 1e-5;
/// Standard deviation of a fresh weight (Radford et al. 2019, *GPT-2*).
const INIT_STD: f64 = 0.02;

/// Weight and bias of a layer norm.
struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    fn apply(&self, x: &Tensor) -> Tensor {
        let width = self.weight.size();
        x.layer_norm(
            &width[..],
            Some(&self.weight),
            Some(&self.bias),
            NORM_EPS,
            false,
        )
    }
}

struct Layer {
    attention_norm: Norm,
    qkv: Tensor,
    relative: Option<Tensor>,
    out: Tensor,
    feed_forward_norm: Norm,
    gate: Option<Tensor>,
    up: Tensor,
    down: Tensor,
}

/// A Transformer with its weights.
pub struct Model {
    architecture: Transformer,
    precision: Precision,
    weights: Vec<(String, Tensor)>,
    embedding: Tensor,
    layers: Vec<Layer>,
    final_norm: Norm,
    head: Tensor,
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
    /// Fresh weights, a function of `seed`: normal with deviation 0.02, those that end a
    /// residual branch divided by sqrt(2 layers); norms 1 and 0.
    pub fn new(architecture: &Transformer, seed: u64, device: Device) -> Self {
        // Torch has one generator for the whole process.
        static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _alone = GENERATOR
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        tch::manual_seed(seed as i64);
        let branch = INIT_STD / (2.0 * architecture.layers as f64).sqrt();
        let weights = architecture.weights().into_iter().map(|(name, shape)| {
            let shape: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
            let options = (Kind::Float, device);
            let weight = if name.ends_with("norm.weight") {
                Tensor::ones(&shape[..], options)
            } else if name.ends_with(".bias") {
                Tensor::zeros(&shape[..], options)
            } else if name.ends_with("out.weight") || name.ends_with("down.weight") {
                Tensor::randn(&shape[..], options) * branch
            } else {
                Tensor::randn(&shape[..], options) * INIT_STD
            };
            (name, weight)
        });
        Self::assemble(architecture, weights.collect())
    }

    /// The model with these weights, by name; more than it needs may be given.
    pub fn from_weights(
        architecture: &Transformer,
        mut given: std::collections::HashMap<String, Tensor>,
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
    fn assemble(architecture: &Transformer, weights: Vec<(String, Tensor)>) -> Self {
        let weights: Vec<(String, Tensor)> = weights
            .into_iter()
            .map(|(name, weight)| (name, weight.set_requires_grad(true)))
            .collect();
        let find = |name: &str| {
            weights
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, weight)| weight.shallow_clone())
        };
        let get = |name: &str| find(name).expect("the architecture names every weight");
        let norm = |name: &str| Norm {
            weight: get(&format!("{name}.weight")),
            bias: get(&format!("{name}.bias")),
        };
        let layers = (0..architecture.layers).map(|l| Layer {
            attention_norm: norm(&format!("layers.{l}.attention_norm")),
            qkv: get(&format!("layers.{l}.qkv.weight")),
            relative: find(&format!("layers.{l}.relative.weight")),
            out: get(&format!("layers.{l}.out.weight")),
            feed_forward_norm: norm(&format!("layers.{l}.feed_forward_norm")),
            gate: find(&format!("layers.{l}.gate.weight")),
            up: get(&format!("layers.{l}.up.weight")),
            down: get(&format!("layers.{l}.down.weight")),
        });
        let embedding = get("embedding.weight");
        Self {
            architecture: architecture.clone(),
            precision: Precision::Fp32,
            layers: layers.collect(),
            final_norm: norm("final_norm"),
            head: find("head.weight").unwrap_or_else(|| embedding.shallow_clone()),
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
    pub fn architecture(&self) -> &Transformer {
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

    /// The last hidden states `[tokens, d_model]` of a ragged batch: `ids` `[tokens]` (int64) holds
    /// sequences of `lengths` tokens. Dropout falls on the embeddings and on what each branch adds.
    pub fn hidden(&self, ids: &Tensor, lengths: &[i64], dropout: &mut Dropout) -> Tensor {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rotation = match self.architecture.positions {
            Positions::Rotary { theta } => Some(self.rotation(f64::from(theta), lengths, longest)),
            Positions::Relative { .. } => None,
        };
        let mut x = Tensor::embedding(&self.embedding, ids, -1, false, false);
        if self.architecture.embedding_scale != 1.0 {
            x = &x * f64::from(self.architecture.embedding_scale);
        }
        x = dropout.apply(x);
        for layer in &self.layers {
            let h = layer.attention_norm.apply(&x);
            let attended = self.attention(layer, &h, lengths, rotation.as_ref());
            x = &x + dropout.apply(self.linear(&attended, &layer.out).to_kind(Kind::Float));
            let h = layer.feed_forward_norm.apply(&x);
            let up = self.linear(&h, &layer.up);
            let inner = match (&layer.gate, self.architecture.activation) {
                (Some(gate), Activation::SwiGlu) => self.linear(&h, gate).silu() * up,
                _ => up.gelu("none"),
            };
            x = &x + dropout.apply(self.linear(&inner, &layer.down).to_kind(Kind::Float));
        }
        self.final_norm.apply(&x)
    }

    /// A linear map of a block, in the model's precision.
    fn linear(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        x.to_kind(self.kind())
            .linear::<&Tensor>(&weight.to_kind(self.kind()), None)
    }

    /// Logits `[.., vocabulary]` of last hidden states, always in 32 bits.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.linear::<&Tensor>(&self.head, None)
    }

    /// The sum over `scored` (indices into the batch's tokens, `[n]`) of the cross-entropy of
    /// `targets` `[n]`, in nats; with label smoothing, that of the smoothed targets.
    pub fn loss(&self, batch: &Ragged, dropout: &mut Dropout, label_smoothing: f64) -> Tensor {
        let hidden = self.hidden(&batch.ids, &batch.lengths, dropout);
        self.logits(&hidden.index_select(0, &batch.scored))
            .cross_entropy_loss::<&Tensor>(
                &batch.targets,
                None,
                Reduction::Sum,
                -100,
                label_smoothing,
            )
    }

    /// Cosines and signed sines `[tokens, 1, head_dim]` of each token's position.
    fn rotation(&self, theta: f64, lengths: &[i64], longest: i64) -> (Tensor, Tensor) {
        let options = (Kind::Float, self.device());
        let half = self.architecture.head_dim() as i64 / 2;
        let exponents = Tensor::arange(half, options) * (-2.0 * theta.ln() / (2 * half) as f64);
        let angles = Tensor::arange(longest, options).outer(&exponents.exp());
        let (cos, sin) = (angles.cos(), angles.sin());
        let cos = Tensor::cat(&[&cos, &cos], 1);
        let sin = Tensor::cat(&[&-&sin, &sin], 1);
        let ragged = |table: Tensor| {
            let parts: Vec<Tensor> = lengths
                .iter()
                .map(|&length| table.narrow(0, 0, length))
                .collect();
            Tensor::cat(&parts, 0).unsqueeze(1)
        };
        (ragged(cos), ragged(sin))
    }

    /// What attention reads `[tokens, d_model]`, before the output map.
    fn attention(
        &self,
        layer: &Layer,
        h: &Tensor,
        lengths: &[i64],
        rotation: Option<&(Tensor, Tensor)>,
    ) -> Tensor {
        let (heads, kv) = (
            self.architecture.heads as i64,
            self.architecture.kv_heads as i64,
        );
        let (width, group) = (self.architecture.head_dim() as i64, heads / kv);
        let tokens = h.size()[0];
        let qkv = self.linear(h, &layer.qkv).to_kind(Kind::Float);
        let qkv = qkv.view([tokens, heads + 2 * kv, width]);
        let parts = qkv.split_with_sizes([heads + kv, kv], 1);
        let (mut qk, v) = (parts[0].shallow_clone(), &parts[1]);
        if let Some((cos, sin)) = rotation {
            // Halves change places; the sign is in the sines.
            qk = (&qk * cos).addcmul(&qk.roll([width / 2], [2]), sin);
        }
        let qk = qk.split_with_sizes([heads, kv], 1);
        let q = &qk[0] * (width as f64).powf(-0.5);
        let sequences = |x: &Tensor| x.to_kind(self.kind()).split_with_sizes(lengths, 0);
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

    /// What the blocks multiply in.
    fn kind(&self) -> Kind {
        match self.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }
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
fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor, bias: Option<&Tensor>) -> Tensor {
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

/// Dropout whose masks come from a generator of its own, so that a step is a function of its seed
/// whatever the number of threads (torch's generator is one for all of them).
pub struct Dropout {
    rate: f64,
    rng: ChaCha8Rng,
}

impl Dropout {
    /// Sets a share `rate` of elements to 0, drawn from `rng`.
    pub fn new(rate: f64, rng: ChaCha8Rng) -> Self {
        Self { rate, rng }
    }

    /// Keeps everything.
    pub fn none() -> Self {
        Self::new(0.0, rand::SeedableRng::seed_from_u64(0))
    }

    /// Puts PAD in the place of a share `rate` of the tokens `ids`.
    pub fn hide(&mut self, ids: &mut Tensor, rate: f64) {
        if rate > 0.0 {
            let hidden = self.kept(ids, rate).logical_not();
            let _ = ids.masked_fill_(&hidden, i64::from(PAD));
        }
    }

    fn apply(&mut self, x: Tensor) -> Tensor {
        if self.rate == 0.0 {
            return x;
        }
        let kept = self.kept(&x, self.rate);
        x * kept * (1.0 / (1.0 - self.rate))
    }

    /// True for all but a share `rate` of the elements of `x`.
    fn kept(&mut self, x: &Tensor, rate: f64) -> Tensor {
        let mut drawn = vec![0i16; x.numel()];
        self.rng.fill(&mut drawn[..]);
        let lowest = f64::from(i16::MIN) + (rate * 65_536.0).round();
        Tensor::from_slice(&drawn)
            .ge(lowest)
            .view(&x.size()[..])
            .to_device(x.device())
    }
}

/// A batch of sequences, one after another.
pub struct Ragged {
    /// All tokens, int64 `[tokens]`.
    pub ids: Tensor,
    /// Tokens of each sequence.
    pub lengths: Vec<i64>,
    /// Indices into `ids` whose next token is scored, int64 `[n]`.
    pub scored: Tensor,
    /// Those next tokens, int64 `[n]`.
    pub targets: Tensor,
}

impl Ragged {
    /// The batch of some streams, each with the index of its first token that is scored (not 0).
    /// A stream's last token is only a target.
    pub fn new<'a>(streams: impl Iterator<Item = (&'a [Token], usize)>, device: Device) -> Self {
        let (mut ids, mut lengths) = (Vec::new(), Vec::new());
        let (mut scored, mut targets) = (Vec::new(), Vec::new());
        for (tokens, first) in streams {
            let (begin, inputs) = (ids.len(), tokens.len() - 1);
            ids.extend(tokens[..inputs].iter().map(|&token| i64::from(token)));
            lengths.push(inputs as i64);
            scored.extend((first - 1..inputs).map(|i| (begin + i) as i64));
            targets.extend(tokens[first..].iter().map(|&token| i64::from(token)));
        }
        let tensor = |indices: Vec<i64>| Tensor::from_slice(&indices).to_device(device);
        Self {
            ids: tensor(ids),
            lengths,
            scored: tensor(scored),
            targets: tensor(targets),
        }
    }
}
