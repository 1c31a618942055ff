//! Optimizers, with their moments as tensors so that a checkpoint can hold them.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::config::training::{Config, OptimizerKind, Precision};

/// Momentum of Muon, as Jordan 2024 has it.
const MUON_MOMENTUM: f64 = 0.95;
/// Makes Muon's steps as large as AdamW's usual ones, so that both share one learning rate
/// (Liu et al. 2025, *Muon is scalable for LLM training*, section 2.2).
const MUON_SCALE: f64 = 0.2;

/// One weight with what the optimizer remembers of it.
pub struct Slot {
    name: String,
    weight: Tensor,
    rule: Rule,
    decays: bool,
    /// Adam's first moment, the others' momentum.
    first: Tensor,
    /// Adam's second moment, RMSprop's mean of squares.
    second: Option<Tensor>,
}

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Adam,
    Muon,
    Sgd,
    Rmsprop,
}

/// What a step does, the same for all weights.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// 1 for the first.
    pub number: u64,
    /// Learning rate.
    pub rate: f64,
    /// What gradients are multiplied by.
    pub scale: f64,
}

/// Numbers of the config.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    momentum: f64,
    rho: f64,
    weight_decay: f64,
    /// What Muon multiplies in.
    kind: Kind,
}

impl Settings {
    /// Those of a config.
    pub fn new(config: &Config) -> Self {
        Self {
            beta_1: config.beta_1,
            beta_2: config.beta_2,
            epsilon: config.epsilon,
            momentum: config.momentum,
            rho: config.rho,
            weight_decay: match config.optimizer {
                OptimizerKind::Adamw | OptimizerKind::Muon => config.weight_decay,
                OptimizerKind::Adam | OptimizerKind::Sgd | OptimizerKind::Rmsprop => 0.0,
            },
            kind: match config.precision {
                Precision::Fp32 | Precision::Auto => Kind::Float,
                Precision::Bf16 => Kind::BFloat16,
            },
        }
    }
}

/// A slot for each of what is trained: weights, or adapters and rows of tables.
pub fn slots(kind: OptimizerKind, weights: &[(String, Tensor)]) -> Vec<Slot> {
    weights
        .iter()
        .map(|(name, weight)| {
            let matrix = weight.dim() == 2;
            let rows = name.ends_with(".rows");
            let table = name == "embedding.weight" || name == "positions.weight" || rows;
            let outer = table || name == "head.weight";
            let rule = match kind {
                OptimizerKind::Muon if matrix && !outer => Rule::Muon,
                OptimizerKind::Adam | OptimizerKind::Adamw | OptimizerKind::Muon => Rule::Adam,
                OptimizerKind::Sgd => Rule::Sgd,
                OptimizerKind::Rmsprop => Rule::Rmsprop,
            };
            let squares = matches!(rule, Rule::Adam | Rule::Rmsprop);
            let weight = weight.detach();
            Slot {
                name: name.clone(),
                rule,
                decays: matrix && !table,
                first: weight.zeros_like(),
                second: squares.then(|| weight.zeros_like()),
                weight,
            }
        })
        .collect()
}

impl Slot {
    /// The moments with their names.
    pub fn moments(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let first = (format!("first.{}", self.name), &self.first);
        std::iter::once(first).chain(
            self.second
                .as_ref()
                .map(|second| (format!("second.{}", self.name), second)),
        )
    }

    /// Takes its moments out of `moments`, by the names of [`Slot::moments`]; the name of one that
    /// is missing or of another shape otherwise.
    pub fn restore(&mut self, moments: &mut HashMap<String, Tensor>) -> Result<(), String> {
        let Self {
            name,
            first,
            second,
            ..
        } = self;
        for (moment, kind) in
            std::iter::once((first, "first")).chain(second.iter_mut().map(|m| (m, "second")))
        {
            let name = format!("{kind}.{name}");
            match moments.remove(&name) {
                Some(stored) if stored.size() == moment.size() => {
                    *moment = stored.to_device(moment.device());
                }
                _ => return Err(name),
            }
        }
        Ok(())
    }

    /// The gradient where nothing was learned.
    pub fn no_gradient(&self) -> Tensor {
        self.weight.zeros_like()
    }

    /// Changes the weight by its gradient.
    pub fn update(&mut self, settings: &Settings, step: Step, gradient: &Tensor) {
        let gradient = gradient * step.scale;
        if self.decays && settings.weight_decay > 0.0 {
            let _ = self
                .weight
                .g_mul_scalar_(1.0 - step.rate * settings.weight_decay);
        }
        let change = match (self.rule, &mut self.second) {
            (Rule::Adam, Some(second)) => {
                let bias = |beta: f64| 1.0 - beta.powf(step.number as f64);
                let _ = self.first.lerp_(&gradient, 1.0 - settings.beta_1);
                let _ = second.lerp_(&gradient.square(), 1.0 - settings.beta_2);
                let divisor = (&*second / bias(settings.beta_2)).sqrt() + settings.epsilon;
                &self.first / divisor * (step.rate / bias(settings.beta_1))
            }
            (Rule::Rmsprop, Some(second)) => {
                let _ = second.lerp_(&gradient.square(), 1.0 - settings.rho);
                let scaled = gradient / (second.sqrt() + settings.epsilon);
                rolling(&mut self.first, settings.momentum, &scaled) * step.rate
            }
            (Rule::Sgd, _) => rolling(&mut self.first, settings.momentum, &gradient) * step.rate,
            _ => {
                // Nesterov's momentum.
                let _ = self.first.g_mul_scalar_(MUON_MOMENTUM);
                let _ = self.first.g_add_(&gradient);
                let size = gradient.size();
                let longer = size[0].max(size[1]) as f64;
                let direction =
                    orthogonalize(&(gradient + &self.first * MUON_MOMENTUM), settings.kind);
                direction * (step.rate * MUON_SCALE * longer.sqrt())
            }
        };
        let _ = self.weight.g_sub_(&change);
    }
}

/// What rolls on: `velocity` times `momentum`, and `push`. Changes `velocity` into it.
fn rolling(velocity: &mut Tensor, momentum: f64, push: &Tensor) -> Tensor {
    let _ = velocity.g_mul_scalar_(momentum);
    velocity.g_add_(push)
}

/// The nearest semi-orthogonal matrix, about: five Newton-Schulz steps with the coefficients of
/// Jordan 2024, *Muon: an optimizer for hidden layers in neural networks*.
fn orthogonalize(matrix: &Tensor, kind: Kind) -> Tensor {
    let (a, b, c) = (3.4445, -4.7750, 2.0315);
    let size = matrix.size();
    let tall = size[0] > size[1];
    let mut x = if tall {
        matrix.tr()
    } else {
        matrix.shallow_clone()
    };
    x = (&x / (x.norm() + 1e-7)).to_kind(kind);
    for _ in 0..5 {
        let gram = x.matmul(&x.tr());
        let polynomial = &gram * b + gram.matmul(&gram) * c;
        x = &x * a + polynomial.matmul(&x);
    }
    let x = x.to_kind(Kind::Float);
    if tall { x.tr() } else { x }
}

/// The sum of squares of a gradient.
pub fn sum_of_squares(gradient: &Tensor) -> f64 {
    gradient.square().sum(Kind::Double).double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn settings() -> Settings {
        Settings {
            beta_1: 0.9,
            beta_2: 0.98,
            epsilon: 1e-9,
            momentum: 0.8,
            rho: 0.7,
            weight_decay: 0.1,
            kind: Kind::Float,
        }
    }

    fn weight(name: &str, shape: [i64; 2]) -> (String, Tensor) {
        (
            name.to_owned(),
            Tensor::randn(shape, (Kind::Double, Device::Cpu)).to_kind(Kind::Float),
        )
    }

    /// Twenty steps change a weight as `formula` says: the learning rate times what it gives for the
    /// number of the step, the weight and its gradient.
    fn assert_follows(
        kind: OptimizerKind,
        settings: Settings,
        mut formula: impl FnMut(i32, f64, f64) -> f64,
    ) {
        let (rate, scale) = (0.01, 0.5);
        let (name, weight) = weight("layers.0.up.weight", [3, 2]);
        let mut w = weight.double_value(&[1, 1]);
        let mut slots = slots(kind, &[(name, weight.shallow_clone())]);
        for number in 1..=20 {
            let gradient = f64::from(number).sin();
            let step = Step {
                number: number as u64,
                rate,
                scale,
            };
            slots[0].update(&settings, step, &(weight.ones_like() * gradient));
            w -= rate * formula(number, w, scale * gradient);
        }
        let found = weight.double_value(&[1, 1]);
        assert!((found - w).abs() < 1e-5, "{kind:?}: {found} is not {w}");
    }

    #[test]
    fn adamw_is_its_paper() {
        let (mut m, mut v) = (0.0, 0.0);
        assert_follows(OptimizerKind::Adamw, settings(), |number, w, g| {
            m = 0.9 * m + 0.1 * g;
            v = 0.98 * v + 0.02 * g * g;
            let unbiased = |moment: f64, beta: f64| moment / (1.0 - beta.powi(number));
            0.1 * w + unbiased(m, 0.9) / (unbiased(v, 0.98).sqrt() + 1e-9)
        });
    }

    #[test]
    fn sgd_and_rmsprop_are_their_formulas() {
        for kind in [OptimizerKind::Sgd, OptimizerKind::Rmsprop] {
            let settings = Settings {
                weight_decay: 0.0,
                ..settings()
            };
            let (mut velocity, mut squares) = (0.0, 0.0);
            assert_follows(kind, settings, |_, _, g| {
                squares = 0.7 * squares + 0.3 * g * g;
                let push = match kind {
                    OptimizerKind::Sgd => g,
                    _ => g / (f64::sqrt(squares) + 1e-9),
                };
                velocity = 0.8 * velocity + push;
                velocity
            });
        }
    }

    #[test]
    fn only_matrices_of_blocks_decay() {
        for (name, decays) in [
            ("layers.0.up.weight", true),
            ("embedding.weight", false),
            ("head.weight", true),
        ] {
            for kind in [OptimizerKind::Adamw, OptimizerKind::Muon] {
                let (name, weight) = weight(name, [4, 3]);
                let mut slots = slots(kind, &[(name.clone(), weight.shallow_clone())]);
                let before = weight.abs().sum(Kind::Float).double_value(&[]);
                let step = Step {
                    number: 1,
                    rate: 0.1,
                    scale: 1.0,
                };
                slots[0].update(&settings(), step, &weight.zeros_like());
                let after = weight.abs().sum(Kind::Float).double_value(&[]);
                let expected = if decays { 0.99 * before } else { before };
                assert!((after - expected).abs() < 1e-4, "{name}, {kind:?}");
            }
        }
    }

    #[test]
    fn muon_steps_in_all_directions_alike() {
        for shape in [[64, 32], [32, 64], [48, 48]] {
            // A drawn square matrix may be all but singular: the directions are drawn, their
            // lengths are not.
            let drawn = Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let (left, _, right) = drawn.svd(true, true);
            let lengths = Tensor::linspace(
                0.05,
                1.0,
                shape[0].min(shape[1]),
                (Kind::Float, Device::Cpu),
            );
            let matrix = (left * lengths).matmul(&right.transpose(0, 1));
            let (_, values, _) = orthogonalize(&matrix, Kind::Float).svd(true, false);
            let (least, most) = (
                values.min().double_value(&[]),
                values.max().double_value(&[]),
            );
            // Jordan's coefficients trade exactness for speed.
            assert!(least > 0.3 && most < 1.3, "{shape:?}: {least} to {most}");
        }
    }
}
