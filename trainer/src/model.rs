//! The Transformer of [`famam_shared::architecture`] in `tch`, for training and for checking exports.
//!
//! A batch is *ragged*: the tokens of all its sequences stand one after another in one tensor
//! `[tokens]`, with the lengths beside it. Linear maps, norms and the loss see no padding at all;
//! only attention looks at one sequence at a time, so that positions start at 0 in each.

use famam_shared::architecture::{Activation, Positions, Transformer};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor};

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
        x.layer_norm(&width[..], Some(&self.weight), Some(&self.bias), NORM_EPS, false)
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
    /// Fresh weights from torch's global generator: normal with deviation 0.02, those that end a
    /// residual branch divided by sqrt(2 layers); norms 1 and 0.
    pub fn new(architecture: &Transformer, device: Device) -> Self {
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
                return Err(WeightsError::Shape { name, found, expected });
            }
            weights.push((name, weight.to_device(device).to_kind(Kind::Float)));
        }
        Ok(Self::assemble(architecture, weights))
    }

    /// `weights` are those of the architecture, in its order.
    fn assemble(architecture: &Transformer, weights: Vec<(String, Tensor)>) -> Self {
        let weights: Vec<(String, Tensor)> =
            weights.into_iter().map(|(name, weight)| (name, weight.set_requires_grad(true))).collect();
        let find = |name: &str| {
            weights.iter().find(|(other, _)| other == name).map(|(_, weight)| weight.shallow_clone())
        };
        let get = |name: &str| find(name).expect("the architecture names every weight");
        let norm =
            |name: &str| Norm { weight: get(&format!("{name}.weight")), bias: get(&format!("{name}.bias")) };
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
            layers: layers.collect(),
            final_norm: norm("final_norm"),
            head: find("head.weight").unwrap_or_else(|| embedding.shallow_clone()),
            embedding,
            weights,
        }
    }

    /// The same weights in the same memory, with gradients of its own: for another thread.
    pub fn replica(&self) -> Self {
        let weights = self.weights.iter().map(|(name, weight)| (name.clone(), weight.detach()));
        Self::assemble(&self.architecture, weights.collect())
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
            x = x * f64::from(self.architecture.embedding_scale);
        }
        x = dropout.apply(x);
        for layer in &self.layers {
            let h = layer.attention_norm.apply(&x);
            let attended = self.attention(layer, &h, lengths, rotation.as_ref());
            x = x + dropout.apply(attended.linear::<&Tensor>(&layer.out, None));
            let h = layer.feed_forward_norm.apply(&x);
            let up = h.linear::<&Tensor>(&layer.up, None);
            let inner = match (&layer.gate, self.architecture.activation) {
                (Some(gate), Activation::SwiGlu) => h.linear::<&Tensor>(gate, None).silu() * up,
                _ => up.gelu("none"),
            };
            x = x + dropout.apply(inner.linear::<&Tensor>(&layer.down, None));
        }
        self.final_norm.apply(&x)
    }

    /// Logits `[.., vocabulary]` of last hidden states.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.linear::<&Tensor>(&self.head, None)
    }

    /// The sum over `scored` (indices into the batch's tokens, `[n]`) of the cross-entropy of
    /// `targets` `[n]`, in nats; with label smoothing, that of the smoothed targets.
    pub fn loss(&self, batch: &Ragged, dropout: &mut Dropout, label_smoothing: f64) -> Tensor {
        let hidden = self.hidden(&batch.ids, &batch.lengths, dropout);
        self.logits(&hidden.index_select(0, &batch.scored)).cross_entropy_loss::<&Tensor>(
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
            let parts: Vec<Tensor> = lengths.iter().map(|&length| table.narrow(0, 0, length)).collect();
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
        let (heads, kv) = (self.architecture.heads as i64, self.architecture.kv_heads as i64);
        let (width, group) = (self.architecture.head_dim() as i64, heads / kv);
        let tokens = h.size()[0];
        let qkv = h.linear::<&Tensor>(&layer.qkv, None).view([tokens, heads + 2 * kv, width]);
        let parts = qkv.split_with_sizes([heads + kv, kv], 1);
        let (mut qk, v) = (parts[0].shallow_clone(), &parts[1]);
        if let Some((cos, sin)) = rotation {
            // Halves change places; the sign is in the sines.
            qk = (&qk * cos).addcmul(&qk.roll([width / 2], [2]), sin);
        }
        let qk = qk.split_with_sizes([heads, kv], 1);
        // Each key/value head for every query head that reads it.
        let spread = |x: &Tensor| {
            if group == 1 {
                return x.shallow_clone();
            }
            x.unsqueeze(2).expand([tokens, kv, group, width], false).reshape([tokens, heads, width])
        };
        let sequences = |x: Tensor| x.split_with_sizes(lengths, 0);
        let (q, k, v) = (sequences(qk[0].shallow_clone()), sequences(spread(&qk[1])), sequences(spread(v)));
        let read: Vec<Tensor> = (0..lengths.len())
            .map(|i| {
                let by_head = |x: &Tensor| x.unsqueeze(0).transpose(1, 2);
                let (q, k, v) = (by_head(&q[i]), by_head(&k[i]), by_head(&v[i]));
                let bias = layer.relative.as_ref().map(|table| relative_bias(&q, table));
                let causal = bias.is_none();
                let read =
                    Tensor::scaled_dot_product_attention(&q, &k, &v, bias.as_ref(), 0.0, causal, None, false);
                read.transpose(1, 2).reshape([lengths[i], heads * width])
            })
            .collect();
        Tensor::cat(&read, 0)
    }
}

/// The bias `[1, heads, time, time]` that relative attention adds to scaled scores, -inf after the
/// diagonal, of queries `[1, heads, time, head_dim]` and a table `[kv_heads, max_distance + 1, head_dim]`.
///
/// Skewing as in Huang et al. 2018, section 3.4.1: column `c` of `q·Erᵀ` is the distance
/// `time - 1 - c`; a column of padding and a view of other strides shift row `i` by `i`.
fn relative_bias(q: &Tensor, table: &Tensor) -> Tensor {
    let (heads, time, width) = (q.size()[1], q.size()[2], q.size()[3]);
    let (kv, furthest) = (table.size()[0], table.size()[1] - 1);
    let distances = (Tensor::arange(time, (Kind::Int64, q.device())) * -1 + (time - 1)).clamp_max(furthest);
    let table = table.index_select(1, &distances);
    let table = table.unsqueeze(1).expand([kv, heads / kv, time, width], false);
    let table = table.reshape([1, heads, time, width]);
    let scores = q.matmul(&table.transpose(2, 3)) * (width as f64).powf(-0.5);
    let skewed = scores.constant_pad_nd([1, 0]).view([1, heads, time + 1, time]).narrow(2, 1, time);
    let later = Tensor::ones([time, time], (Kind::Bool, q.device())).triu(1);
    skewed.masked_fill(&later, f64::NEG_INFINITY)
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

    fn apply(&mut self, x: Tensor) -> Tensor {
        if self.rate == 0.0 {
            return x;
        }
        let mut drawn = vec![0i16; x.numel()];
        self.rng.fill(&mut drawn[..]);
        let lowest = f64::from(i16::MIN) + (self.rate * 65_536.0).round();
        let kept = Tensor::from_slice(&drawn).ge(lowest).view(&x.size()[..]).to_device(x.device());
        x * kept * (1.0 / (1.0 - self.rate))
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
