//! RWKV with random weights, and what it computes by the formulas of `architecture/rwkv.rs`.

use famam_shared::architecture::Rwkv;
use famam_shared::encoding::Token;

use super::{Weights, dot, medium, rotary};

/// Three layers.
pub fn rwkv() -> Rwkv {
    Rwkv {
        vocabulary: medium(rotary()).vocabulary,
        layers: 3,
        d_model: 32,
        d_ff: 72,
        tied: false,
        embedding_scale: 5.0,
        logit_scale: 0.8,
        conditioning_scale: None,
    }
}

/// One layer of 16 channels, with what [`rwkv`] has not.
pub fn tiny() -> Rwkv {
    Rwkv {
        layers: 1,
        d_model: 16,
        d_ff: 24,
        tied: true,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        ..rwkv()
    }
}

/// What a layer carries.
#[derive(Clone)]
struct State {
    time_mixing: Vec<f64>,
    channel_mixing: Vec<f64>,
    /// Numerator and denominator of WKV, unscaled.
    sums: Vec<[f64; 2]>,
}

/// The logits of every token.
pub fn reference(rwkv: &Rwkv, weights: &Weights, tokens: &[Token]) -> Vec<Vec<f64>> {
    let d = rwkv.d_model;
    let linear = |x: &[f64], name: &str| -> Vec<f64> {
        let rows = weights[name].chunks_exact(x.len());
        rows.map(|row| dot(x, row)).collect()
    };
    let norm = |x: &[f64], name: &str| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / d as f64;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / d as f64;
        let weight = &weights[&format!("{name}.weight")];
        let bias = &weights[&format!("{name}.bias")];
        (0..d)
            .map(|i| {
                let unit = (x[i] - mean) / (variance + 1e-5).sqrt();
                unit * f64::from(weight[i]) + f64::from(bias[i])
            })
            .collect()
    };
    let shift = |h: &[f64], before: &[f64], name: &str| -> Vec<f64> {
        let mix = weights[name].iter().map(|&mix| f64::from(mix));
        std::iter::zip(h, before)
            .zip(mix)
            .map(|((h, before), mix)| h * mix + before * (1.0 - mix))
            .collect()
    };
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let empty = State {
        time_mixing: vec![0.0; d],
        channel_mixing: vec![0.0; d],
        sums: vec![[0.0; 2]; d],
    };
    let mut state = vec![empty; rwkv.layers];
    let mut logits = Vec::new();
    for &token in tokens {
        let row = &weights["embedding.weight"][usize::from(token) * d..][..d];
        let scale = f64::from(rwkv.embedding_scale);
        let x: Vec<f64> = row.iter().map(|&w| f64::from(w) * scale).collect();
        let mut x = norm(&x, "embedding_norm");
        for (l, state) in state.iter_mut().enumerate() {
            let time = format!("layers.{l}.time_mixing");
            let h = norm(&x, &format!("{time}_norm"));
            let [r, k, v] = ["receptance", "key", "value"].map(|part| {
                let mixed = shift(&h, &state.time_mixing, &format!("{time}.mix_{part}"));
                linear(&mixed, &format!("{time}.{part}.weight"))
            });
            state.time_mixing = h;
            let read: Vec<f64> = (0..d)
                .map(|i| {
                    let of = |part: &str| f64::from(weights[&format!("{time}.{part}")][i]);
                    let fading = (-of("decay").exp()).exp();
                    let now = (of("bonus") + k[i]).exp();
                    let [above, below] = &mut state.sums[i];
                    let wkv = (*above + now * v[i]) / (*below + now);
                    *above = *above * fading + k[i].exp() * v[i];
                    *below = *below * fading + k[i].exp();
                    sigmoid(r[i]) * wkv
                })
                .collect();
            let read = linear(&read, &format!("{time}.output.weight"));
            x.iter_mut().zip(read).for_each(|(x, read)| *x += read);

            let channel = format!("layers.{l}.channel_mixing");
            let h = norm(&x, &format!("{channel}_norm"));
            let [r, k] = ["receptance", "key"].map(|part| {
                let mixed = shift(&h, &state.channel_mixing, &format!("{channel}.mix_{part}"));
                linear(&mixed, &format!("{channel}.{part}.weight"))
            });
            state.channel_mixing = h;
            let k: Vec<f64> = k.iter().map(|k| k.max(0.0).powi(2)).collect();
            let v = linear(&k, &format!("{channel}.value.weight"));
            for i in 0..d {
                x[i] += sigmoid(r[i]) * v[i];
            }
        }
        let x = norm(&x, "final_norm");
        let head = if rwkv.tied {
            "embedding.weight"
        } else {
            "head.weight"
        };
        let row = linear(&x, head).into_iter();
        logits.push(row.map(|v| v * f64::from(rwkv.logit_scale)).collect());
    }
    logits
}
