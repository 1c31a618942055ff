//! LSTMs with random weights, and what they compute by the formulas of `architecture/lstm.rs`.

use famam_shared::architecture::Lstm;
use famam_shared::encoding::Token;

use super::{Weights, dot, medium, rotary, softmax};

/// Three layers of different widths.
pub fn lstm() -> Lstm {
    Lstm {
        vocabulary: medium(rotary()).vocabulary,
        d_model: 32,
        units: vec![40, 24, 56],
        attention_window: None,
        tied: false,
        embedding_scale: 5.0,
        logit_scale: 0.8,
        conditioning_scale: None,
    }
}

/// Two layers of 16 units, with what [`lstm`] has not.
pub fn tiny() -> Lstm {
    Lstm {
        d_model: 16,
        units: vec![16, 16],
        tied: true,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        ..lstm()
    }
}

/// Two layers and attention over 40 outputs.
pub fn attentive() -> Lstm {
    Lstm {
        units: vec![40, 24],
        attention_window: Some(40),
        ..lstm()
    }
}

/// The logits of every token.
pub fn reference(lstm: &Lstm, weights: &Weights, tokens: &[Token]) -> Vec<Vec<f64>> {
    let linear = |x: &[f64], name: &str| -> Vec<f64> {
        let rows = weights[name].chunks_exact(x.len());
        rows.map(|row| dot(x, row)).collect()
    };
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let mut state: Vec<[Vec<f64>; 2]> = lstm
        .units
        .iter()
        .map(|&units| [vec![0.0; units], vec![0.0; units]])
        .collect();
    let (mut logits, mut outputs) = (Vec::new(), Vec::new());
    for &token in tokens {
        let d = lstm.d_model;
        let row = &weights["embedding.weight"][usize::from(token) * d..][..d];
        let scale = f64::from(lstm.embedding_scale);
        let mut x: Vec<f64> = row.iter().map(|&w| f64::from(w) * scale).collect();
        for (l, [h, c]) in state.iter_mut().enumerate() {
            let from_x = linear(&x, &format!("layers.{l}.input.weight"));
            let from_h = linear(h, &format!("layers.{l}.recurrent.weight"));
            let bias = &weights[&format!("layers.{l}.bias")];
            let units = h.len();
            for unit in 0..units {
                let [i, o, f, g] = [0, 1, 2, 3].map(|gate| {
                    let at = gate * units + unit;
                    from_x[at] + from_h[at] + f64::from(bias[at])
                });
                c[unit] = sigmoid(f) * c[unit] + sigmoid(i) * g.tanh();
                h[unit] = sigmoid(o) * c[unit].tanh();
            }
            x.clone_from(h);
        }
        outputs.push(x.clone());
        if let Some(window) = lstm.attention_window {
            let query = linear(&x, "attention.score.weight");
            let last = &outputs[outputs.len().saturating_sub(window)..];
            let score = |output: &Vec<f64>| {
                let products = std::iter::zip(&query, output).map(|(a, b)| a * b);
                products.sum::<f64>() / (query.len() as f64).sqrt()
            };
            let shares = softmax(&last.iter().map(score).collect::<Vec<f64>>());
            let mut both: Vec<f64> = (0..x.len())
                .map(|i| {
                    std::iter::zip(&shares, last)
                        .map(|(share, h)| share * h[i])
                        .sum()
                })
                .collect();
            both.extend(&x);
            x = linear(&both, "attention.combine.weight");
            x.iter_mut().for_each(|x| *x = x.tanh());
        }
        let x = linear(&x, "projection.weight");
        let head = if lstm.tied {
            "embedding.weight"
        } else {
            "head.weight"
        };
        let row = linear(&x, head).into_iter();
        logits.push(row.map(|v| v * f64::from(lstm.logit_scale)).collect());
    }
    logits
}
