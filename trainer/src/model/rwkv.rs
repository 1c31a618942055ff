//! RWKV of [`famam_shared::architecture`].

use famam_shared::architecture;
use tch::{Device, Kind, Tensor};

use super::norm::Norm;
use super::wkv::wkv;
use super::{Backbone, Dropout, Linear, Named, Tape};

/// The largest value of a fresh embedding: small, so that its norm lets it move far at first (Peng et
/// al. 2023, section 3.4, *small init embedding*).
const EMBEDDING_REACH: f64 = 1e-4;

struct Layer {
    time_mixing_norm: Norm,
    time_mixing: TimeMixing,
    channel_mixing_norm: Norm,
    channel_mixing: ChannelMixing,
}

/// Mixes, decay and bonus `[d_model]`, the others `[d_model, d_model]`.
struct TimeMixing {
    mix_receptance: Tensor,
    mix_key: Tensor,
    mix_value: Tensor,
    decay: Tensor,
    bonus: Tensor,
    receptance: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

/// Mixes `[d_model]`.
struct ChannelMixing {
    mix_receptance: Tensor,
    mix_key: Tensor,
    /// `[d_model, d_model]`.
    receptance: Linear,
    /// `[d_ff, d_model]`.
    key: Linear,
    /// `[d_model, d_ff]`.
    value: Linear,
}

/// The blocks and their norms.
pub(super) struct Rwkv {
    embedding_norm: Norm,
    layers: Vec<Layer>,
    final_norm: Norm,
}

/// A fresh weight as in Peng et al. 2023, section 3.4 and its appendices on initialisation: matrices in
/// the blocks 0 except values of the time mixing and keys of the channel mixing, which are normal with deviation
/// 1/sqrt(width of their input); decays from slow to fast over the channels, the slower the deeper; mixes
/// that look back the less the higher the channel and the deeper the layer.
pub(super) fn fresh(
    rwkv: &architecture::Rwkv,
    name: &str,
    shape: &[i64],
    options: (Kind, Device),
) -> Tensor {
    let layer = name.split('.').nth(1).and_then(|l| l.parse().ok());
    let layer: f64 = layer.unwrap_or(0.0);
    // 0 to 1 from the first layer to the last, and 1 to almost 0.
    let depth = layer / (rwkv.layers.max(2) - 1) as f64;
    let rest = 1.0 - layer / rwkv.layers as f64;
    let width = *shape.last().unwrap_or(&1);
    let channels = || Tensor::arange(width, options);
    match name.rsplit('.').next().unwrap_or(name) {
        "mix_value" => (channels() / width as f64).pow_tensor_scalar(rest) + 0.3 * depth,
        "mix_receptance" if name.contains("time_mixing") => {
            (channels() / width as f64).pow_tensor_scalar(0.5 * rest)
        }
        "mix_receptance" | "mix_key" => (channels() / width as f64).pow_tensor_scalar(rest),
        "decay" => {
            let share = channels() / (width.max(2) - 1) as f64;
            share.pow_tensor_scalar(0.7 + 1.3 * depth) * 8.0 - 5.0
        }
        "bonus" => ((channels() + 1.0).fmod(3.0) - 1.0) * 0.5 + 0.3f64.ln(),
        "bias" => Tensor::zeros(shape, options),
        _ if name.ends_with("norm.weight") => Tensor::ones(shape, options),
        _ if name == "embedding.weight" => {
            (Tensor::rand(shape, options) * 2.0 - 1.0) * EMBEDDING_REACH
        }
        _ if name.ends_with("time_mixing.value.weight")
            || name.ends_with("channel_mixing.key.weight")
            || name == "head.weight" =>
        {
            Tensor::randn(shape, options) * (width as f64).powf(-0.5)
        }
        _ => Tensor::zeros(shape, options),
    }
}

impl Rwkv {
    pub(super) fn new(rwkv: &architecture::Rwkv, named: &Named) -> Self {
        let layers = (0..rwkv.layers).map(|l| {
            let time = |part: &str| named.get(&format!("layers.{l}.time_mixing.{part}"));
            let time_map = |part: &str| {
                let name = format!("layers.{l}.time_mixing.{part}.weight");
                named.linear(&name)
            };
            let channel_map = |part: &str| {
                let name = format!("layers.{l}.channel_mixing.{part}.weight");
                named.linear(&name)
            };
            let channel = |part: &str| named.get(&format!("layers.{l}.channel_mixing.{part}"));
            Layer {
                time_mixing_norm: Norm::new(named, &format!("layers.{l}.time_mixing_norm")),
                time_mixing: TimeMixing {
                    mix_receptance: time("mix_receptance"),
                    mix_key: time("mix_key"),
                    mix_value: time("mix_value"),
                    decay: time("decay"),
                    bonus: time("bonus"),
                    receptance: time_map("receptance"),
                    key: time_map("key"),
                    value: time_map("value"),
                    output: time_map("output"),
                },
                channel_mixing_norm: Norm::new(named, &format!("layers.{l}.channel_mixing_norm")),
                channel_mixing: ChannelMixing {
                    mix_receptance: channel("mix_receptance"),
                    mix_key: channel("mix_key"),
                    receptance: channel_map("receptance"),
                    key: channel_map("key"),
                    value: channel_map("value"),
                },
            }
        });
        Self {
            embedding_norm: Norm::new(named, "embedding_norm"),
            layers: layers.collect(),
            final_norm: Norm::new(named, "final_norm"),
        }
    }
}

impl Backbone for Rwkv {
    /// Dropout falls on the embeddings and on what each mixing adds.
    fn hidden<'a>(
        &'a self,
        x: Tensor,
        lengths: &'a [i64],
        kind: Kind,
        dropout: &mut Dropout,
        tape: &mut Tape<'a>,
    ) -> Tensor {
        let first = first(lengths, x.device());
        let mut x = dropout.apply(self.embedding_norm.apply(&x));
        for layer in &self.layers {
            let first = first.shallow_clone();
            x = tape.layer(x, dropout, move |x, dropout| {
                let h = layer.time_mixing_norm.apply(x);
                let read = layer.time_mixing.apply(&h, &first, kind, dropout);
                let x = x + dropout.apply(read);
                let h = layer.channel_mixing_norm.apply(&x);
                let read = layer.channel_mixing.apply(&h, &first, kind, dropout);
                x + dropout.apply(read)
            });
        }
        self.final_norm.apply(&x)
    }
}

impl TimeMixing {
    fn apply(&self, h: &Tensor, first: &Tensor, kind: Kind, dropout: &mut Dropout) -> Tensor {
        let before = shift(h, first);
        let mut of = |mix: &Tensor, map: &Linear| {
            map.apply(&before.lerp_tensor(h, mix), kind, dropout)
                .to_kind(Kind::Float)
        };
        let r = of(&self.mix_receptance, &self.receptance).sigmoid();
        let k = of(&self.mix_key, &self.key);
        let v = of(&self.mix_value, &self.value);
        let read = r * wkv(&k, &v, &self.decay.exp(), &self.bonus, first);
        self.output.apply(&read, kind, dropout).to_kind(Kind::Float)
    }
}

impl ChannelMixing {
    fn apply(&self, h: &Tensor, first: &Tensor, kind: Kind, dropout: &mut Dropout) -> Tensor {
        let before = shift(h, first);
        let mut of =
            |mix: &Tensor, map: &Linear| map.apply(&before.lerp_tensor(h, mix), kind, dropout);
        let r = of(&self.mix_receptance, &self.receptance).sigmoid();
        let k = of(&self.mix_key, &self.key).relu().square();
        (r * self.value.apply(&k, kind, dropout)).to_kind(Kind::Float)
    }
}

/// Which tokens of a ragged batch begin a sequence, `[tokens, 1]`.
fn first(lengths: &[i64], device: Device) -> Tensor {
    let of = |&length: &i64| (0..length).map(|time| time == 0);
    let first: Vec<bool> = lengths.iter().flat_map(of).collect();
    Tensor::from_slice(&first).unsqueeze(1).to_device(device)
}

/// The token before each of `h` `[tokens, width]`; zeros before the `first` of a sequence.
fn shift(h: &Tensor, first: &Tensor) -> Tensor {
    h.roll([1], [0]).masked_fill(first, 0.0)
}
