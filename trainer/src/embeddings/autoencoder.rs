//! The variational autoencoder (Kingma and Welling 2014) that embeddings learn by: it says a window of
//! tokens again after squeezing it through a normal distribution, so tokens that stand in for one
//! another come to lie near one another. For windows `ids` `[windows, window]`, with
//! `table = embedding * EMBEDDING_SCALE`:
//!
//! ```text
//! h = concat(table[ids])                        [windows, window * width]
//! for each hidden layer:  h = gelu(h · encoderᵀ + bias)
//! mean, log_variance = split(h · posteriorᵀ + bias)
//! z = mean + exp(log_variance / 2) * noise      [windows, latent]; without noise when measured
//! for each hidden layer:  z = gelu(z · decoderᵀ + bias)
//! logits = split(z · outputᵀ + bias) · tableᵀ / sqrt(width)
//! loss = cross-entropy(logits, ids) + KL_WEIGHT * KL(mean, log_variance)     equation 10, a token
//! ```

use std::collections::HashMap;

use famam_shared::encoding::Token;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor};

use crate::batches::Segment;
use crate::config::training::{Config, OptimizerKind};
use crate::optimizer::{self, Settings, Slot, Step};
use crate::parallel::each;

/// Standard deviation of a fresh embedding, as in the backbones (Radford et al. 2019, *GPT-2*).
const EMBEDDING_STD: f64 = 0.02;
/// Brings embeddings to a deviation of 1; also how much slower they learn than all else.
const EMBEDDING_SCALE: f64 = 1.0 / EMBEDDING_STD;
/// Of the divergence from the standard normal distribution (Higgins et al. 2017, *beta-VAE*); below 1,
/// as it is the embeddings that are wanted, not samples.
const KL_WEIGHT: f64 = 0.1;
/// Of variances, as their logarithm.
const MOST_LOG_VARIANCE: f64 = 10.0;
/// Learning rate beside a model's.
const CONTINUED_RATE: f64 = 1e-4;
/// Windows of a step beside a model's.
const CONTINUED_WINDOWS: usize = 64;
/// What its weights' names begin with.
const PREFIX: &str = "autoencoder.";

/// How large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Tokens that it says again.
    pub window: usize,
    /// Hidden layers of each half.
    pub layers: usize,
    /// Units of each.
    pub hidden: usize,
    /// Numbers that a window is squeezed into.
    pub latent: usize,
}

impl Sizes {
    /// Names and shapes of the weights for embeddings of `width` numbers, biases after their matrices.
    fn weights(&self, width: usize) -> Vec<(String, Vec<i64>)> {
        let Self {
            window,
            layers,
            hidden,
            latent,
        } = *self;
        let mut maps = Vec::new();
        for (half, input) in [("encoder", window * width), ("decoder", latent)] {
            for l in 0..layers {
                let input = if l == 0 { input } else { hidden };
                maps.push((format!("{half}.{l}"), [hidden, input]));
            }
        }
        maps.push(("posterior".to_owned(), [2 * latent, hidden]));
        maps.push(("output".to_owned(), [window * width, hidden]));
        let both = maps.into_iter().flat_map(|(name, [out, input])| {
            [
                (
                    format!("{PREFIX}{name}.weight"),
                    vec![out as i64, input as i64],
                ),
                (format!("{PREFIX}{name}.bias"), vec![out as i64]),
            ]
        });
        both.collect()
    }

    /// Those of the autoencoder whose weights are among `tensors`, for embeddings of `width` numbers.
    fn of(tensors: &HashMap<String, Tensor>, width: usize) -> Option<Self> {
        let size = |name: &str| {
            let tensor = tensors.get(&format!("{PREFIX}{name}.weight"))?;
            tensor.size2().ok().map(|(a, b)| (a as usize, b as usize))
        };
        let (output, hidden) = size("output")?;
        let (posterior, _) = size("posterior")?;
        let layers = (0..).take_while(|l| size(&format!("encoder.{l}")).is_some());
        Some(Self {
            window: output / width.max(1),
            layers: layers.count(),
            hidden,
            latent: posterior / 2,
        })
    }
}

/// The autoencoder, the embeddings that it learns with, and its optimizer (Adam).
pub struct Autoencoder {
    sizes: Sizes,
    /// In the order of [`Sizes::weights`], then the embeddings `[vocabulary, width]`.
    weights: Vec<(String, Tensor)>,
    slots: Vec<Slot>,
}

/// How well windows are said again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Cross-entropy, nats a token.
    pub loss: f64,
    /// Share of the tokens that are right.
    pub accuracy: f64,
    /// What always saying the most frequent token would get right.
    pub chance: f64,
}

impl Autoencoder {
    /// A fresh one for `embedding` `[vocabulary, width]`, whose memory it changes; a function of
    /// `seed`.
    pub fn new(sizes: Sizes, embedding: &Tensor, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let weights = sizes.weights(width(embedding));
        let fresh = |(name, shape): (String, Vec<i64>)| {
            let weight = match shape[..] {
                // He et al. 2015, equation 10.
                [_, input] => normals(&mut rng, &shape) * (2.0 / input as f64).sqrt(),
                _ => Tensor::zeros(&shape, (Kind::Float, Device::Cpu)),
            };
            (name, weight.to_device(embedding.device()))
        };
        let weights = weights.into_iter().map(fresh).collect();
        Self::assemble(sizes, weights, embedding)
    }

    /// The one among `tensors`, which are taken out, with its moments where they are there.
    ///
    /// # Errors
    /// The name of a tensor that is missing or has another shape.
    pub fn from_tensors(
        tensors: &mut HashMap<String, Tensor>,
        embedding: &Tensor,
    ) -> Result<Self, String> {
        let missing = || format!("{PREFIX}output.weight");
        let sizes = Sizes::of(tensors, width(embedding)).ok_or_else(missing)?;
        let weights = sizes.weights(width(embedding)).into_iter();
        let weights = weights.map(|(name, shape)| match tensors.remove(&name) {
            Some(weight) if weight.size() == shape => {
                Ok((name, weight.to_device(embedding.device())))
            }
            _ => Err(name),
        });
        let mut autoencoder = Self::assemble(sizes, weights.collect::<Result<_, _>>()?, embedding);
        if tensors.contains_key(&format!("first.{PREFIX}embedding")) {
            let mut slots = autoencoder.slots.iter_mut();
            slots.try_for_each(|slot| slot.restore(tensors))?;
        }
        Ok(autoencoder)
    }

    fn assemble(sizes: Sizes, weights: Vec<(String, Tensor)>, embedding: &Tensor) -> Self {
        let embedding = (format!("{PREFIX}embedding"), embedding.shallow_clone());
        let all = weights.into_iter().chain([embedding]);
        let weights: Vec<(String, Tensor)> = all
            .map(|(name, weight)| (name, weight.detach().set_requires_grad(true)))
            .collect();
        Self {
            sizes,
            slots: optimizer::slots(OptimizerKind::Adam, &weights),
            weights,
        }
    }

    /// How large it is.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Its weights by name, without the embeddings.
    pub fn weights(&self) -> impl Iterator<Item = (String, Tensor)> {
        let own = self.weights.iter().take(self.weights.len() - 1);
        own.map(|(name, weight)| (name.clone(), weight.detach()))
    }

    /// Its optimizer's moments by name, the embeddings' among them.
    pub fn moments(&self) -> impl Iterator<Item = (String, Tensor)> {
        let moments = self.slots.iter().flat_map(Slot::moments);
        moments.map(|(name, moment)| (name, moment.shallow_clone()))
    }

    /// The windows of some streams, each next to the one before it, at most `most` of them,
    /// int64 `[windows, window]`; `None` where all streams are too short.
    pub fn windows<'a>(
        &self,
        streams: impl Iterator<Item = &'a [Token]>,
        most: usize,
    ) -> Option<Tensor> {
        let window = self.sizes.window;
        let windows = streams.flat_map(|stream| stream.chunks_exact(window));
        let ids: Vec<i64> = windows
            .take(most)
            .flatten()
            .map(|&t| i64::from(t))
            .collect();
        let shape = [(ids.len() / window) as i64, window as i64];
        let device = self.embedding().device();
        (!ids.is_empty()).then(|| Tensor::from_slice(&ids).view(shape).to_device(device))
    }

    /// Step `number` on `ids` `[windows, window]`, with noise from `rng`: the loss before it, in nats a
    /// token. Where that is not finite nothing is changed.
    pub fn step(&mut self, ids: &Tensor, number: u64, rate: f64, rng: &mut ChaCha8Rng) -> f64 {
        let loss = self.loss(ids, rng);
        loss.backward();
        let value = loss.double_value(&[]);
        let config = Config {
            optimizer: OptimizerKind::Adam,
            beta_2: 0.999,
            epsilon: 1e-8,
            ..Config::default()
        };
        let settings = Settings::new(&config);
        let embedding = self.weights.len() - 1;
        for (i, ((_, weight), slot)) in std::iter::zip(&self.weights, &mut self.slots).enumerate() {
            let mut gradient = weight.grad();
            if value.is_finite() {
                let rate = if i == embedding {
                    rate / EMBEDDING_SCALE
                } else {
                    rate
                };
                let step = Step {
                    number,
                    rate,
                    scale: 1.0,
                };
                tch::no_grad(|| slot.update(&settings, step, &gradient));
            }
            let _ = gradient.zero_();
        }
        value
    }

    /// A step on the segments of step `number` of a model in training, a function of both and of
    /// `seed`.
    pub fn go_on(&mut self, segments: &[Segment], number: u64, seed: u64) {
        let streams = segments.iter().map(|segment| &segment.tokens[..]);
        let Some(ids) = self.windows(streams, CONTINUED_WINDOWS) else {
            return;
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed.rotate_left(32));
        rng.set_stream(number);
        // On one thread, whatever the model has: the sums are the same then.
        each(&mut [self], vec![ids], |autoencoder, ids| {
            autoencoder.step(&ids, number, CONTINUED_RATE, &mut rng.clone())
        });
    }

    /// How well `ids` `[windows, window]` are said again, without noise.
    pub fn measure(&self, ids: &Tensor) -> Measured {
        let targets = ids.flatten(0, -1);
        let tokens = targets.numel() as f64;
        tch::no_grad(|| {
            let (mean, _) = self.posterior(ids);
            let logits = self.logits(mean);
            let right = logits.argmax(-1, false).eq_tensor(&targets);
            let counts = targets.bincount::<&Tensor>(None, 0);
            let loss = cross_entropy(&logits, &targets);
            Measured {
                loss: loss.double_value(&[]) / tokens,
                accuracy: right.sum(Kind::Int64).double_value(&[]) / tokens,
                chance: counts.max().double_value(&[]) / tokens,
            }
        })
    }

    fn loss(&self, ids: &Tensor, rng: &mut ChaCha8Rng) -> Tensor {
        let targets = ids.flatten(0, -1);
        let (mean, log_variance) = self.posterior(ids);
        let noise = normals(rng, &mean.size()).to_device(mean.device());
        let z = &mean + (&log_variance * 0.5).exp() * noise;
        let divergence = mean.square() + log_variance.exp() - 1.0 - &log_variance;
        let divergence = divergence.sum(Kind::Float) * 0.5;
        let sum = cross_entropy(&self.logits(z), &targets) + divergence * KL_WEIGHT;
        sum / targets.numel() as f64
    }

    /// Means and logarithms of variances `[windows, latent]`.
    fn posterior(&self, ids: &Tensor) -> (Tensor, Tensor) {
        let table = self.embedding() * EMBEDDING_SCALE;
        let embedded = table.index_select(0, &ids.flatten(0, -1));
        let h = self.hidden("encoder", embedded.view([ids.size()[0], -1]));
        let parts = self.linear("posterior", &h).chunk(2, 1);
        let log_variance = parts[1].clamp(-MOST_LOG_VARIANCE, MOST_LOG_VARIANCE);
        (parts[0].shallow_clone(), log_variance)
    }

    /// Logits `[windows * window, vocabulary]` of `z` `[windows, latent]`.
    fn logits(&self, z: Tensor) -> Tensor {
        let table = self.embedding() * EMBEDDING_SCALE;
        let width = width(&table) as i64;
        let y = self.linear("output", &self.hidden("decoder", z));
        y.view([-1, width]).matmul(&table.tr()) * (width as f64).powf(-0.5)
    }

    fn hidden(&self, half: &str, mut h: Tensor) -> Tensor {
        for l in 0..self.sizes.layers {
            h = self.linear(&format!("{half}.{l}"), &h).gelu("none");
        }
        h
    }

    fn linear(&self, name: &str, x: &Tensor) -> Tensor {
        let weight = |what| self.weight(&format!("{PREFIX}{name}.{what}"));
        x.linear(weight("weight"), Some(weight("bias")))
    }

    fn embedding(&self) -> &Tensor {
        self.weight(&format!("{PREFIX}embedding"))
    }

    fn weight(&self, name: &str) -> &Tensor {
        let mut weights = self.weights.iter();
        let found = weights.find(|(other, _)| other == name);
        &found.expect("one of Sizes::weights").1
    }
}

/// Fresh embeddings `[vocabulary, width]`.
pub fn fresh_embedding(vocabulary: usize, width: usize, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    normals(&mut rng, &[vocabulary as i64, width as i64]) * EMBEDDING_STD
}

fn width(table: &Tensor) -> usize {
    table.size().last().copied().unwrap_or(0) as usize
}

fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    logits.cross_entropy_loss::<&Tensor>(targets, None, Reduction::Sum, -100, 0.0)
}

/// Standard normal numbers (Box and Muller 1958), which torch's one generator has no part in.
fn normals(rng: &mut ChaCha8Rng, shape: &[i64]) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let mut numbers = Vec::with_capacity(count + 1);
    while numbers.len() < count {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        numbers.push((radius * angle.cos()) as f32);
        numbers.push((radius * angle.sin()) as f32);
    }
    numbers.truncate(count);
    Tensor::from_slice(&numbers).view(shape)
}
