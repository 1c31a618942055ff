//! A small network that names the class of numbers: one hidden layer, dropout, cross-entropy.
//!
//! ```text
//! x = clip((features - mean) / deviation, -4, 4)        [examples, features]
//! h = dropout(relu(dropout(x) · hiddenᵀ + bias))        [examples, units]
//! logits = h · outputᵀ + bias                           [examples, classes]
//! ```
//!
//! Each class weighs the same, however many examples it has. AdamW (Loshchilov and Hutter 2019). The same
//! examples give the same network on one machine: it learns on one thread, with random numbers of its own (libtorch has one
//! generator for all that a process does).

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::nn::{Module, OptimizerConfig};
use tch::{Device, Kind, Reduction, Tensor, nn};

const UNITS: i64 = 128;
const EPOCHS: usize = 30;
const BATCH: usize = 128;
const LEARNING_RATE: f64 = 1e-3;
const WEIGHT_DECAY: f64 = 0.05;
/// Of the numbers, and of the hidden units.
const DROPOUT: [f64; 2] = [0.2, 0.5];
/// Deviations at which a number is cut: rare ones are not to speak louder than all others.
const CLIP: f64 = 4.0;

/// Numbers to classes.
pub struct Classifier {
    mean: Tensor,
    deviation: Tensor,
    hidden: nn::Linear,
    output: nn::Linear,
}

/// `[examples, features]`, all of one length.
fn matrix(examples: &[&[f32]]) -> Tensor {
    let features = examples.first().map_or(0, |example| example.len());
    let all = examples.concat();
    Tensor::from_slice(&all).view([examples.len() as i64, features as i64])
}

/// A linear map from `inputs` to `outputs` numbers, its weights uniform up to `1 / sqrt(inputs)` as
/// PyTorch's.
fn linear(path: nn::Path, inputs: i64, outputs: i64, rng: &mut impl Rng) -> nn::Linear {
    let reach = 1.0 / (inputs.max(1) as f32).sqrt();
    let mut uniform = |shape: &[i64]| {
        let count = shape.iter().product::<i64>();
        let values: Vec<f32> = (0..count)
            .map(|_| rng.random_range(-reach..reach))
            .collect();
        Tensor::from_slice(&values).view(shape)
    };
    nn::Linear {
        ws: path.var_copy("weight", &uniform(&[outputs, inputs])),
        bs: Some(path.var_copy("bias", &uniform(&[outputs]))),
    }
}

/// `x` with so many of its numbers at 0, the others the larger.
fn dropped(x: &Tensor, rate: f64, rng: &mut impl Rng) -> Tensor {
    let left = 1.0 / (1.0 - rate as f32);
    let mask = (0..x.numel()).map(|_| if rng.random_bool(rate) { 0.0 } else { left });
    x * Tensor::from_slice(&mask.collect::<Vec<f32>>()).view_as(x)
}

impl Classifier {
    /// Learns the class, below `classes`, of each example. There is at least one.
    pub fn learn(examples: &[&[f32]], of: &[usize], classes: usize) -> Self {
        tch::set_num_threads(1);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let x = matrix(examples);
        let features = x.size()[1];
        let store = nn::VarStore::new(Device::Cpu);
        let root = store.root();
        let classifier = Self {
            mean: x.mean_dim(0, false, Kind::Float),
            deviation: x.std_dim(0, false, false).clamp_min(1e-4),
            hidden: linear(&root / "hidden", features, UNITS, &mut rng),
            output: linear(&root / "output", UNITS, classes as i64, &mut rng),
        };
        let x = classifier.standardized(&x);
        let mut counts = vec![0usize; classes];
        for class in of {
            counts[*class] += 1;
        }
        let weight = |count: &usize| of.len() as f32 / (classes * count.max(&1)) as f32;
        let weights: Vec<f32> = counts.iter().map(weight).collect();
        let weights = Tensor::from_slice(&weights);
        let labels: Vec<i64> = of.iter().map(|class| *class as i64).collect();
        let labels = Tensor::from_slice(&labels);
        let settings = nn::AdamW {
            wd: WEIGHT_DECAY,
            ..Default::default()
        };
        let Ok(mut optimizer) = settings.build(&store, LEARNING_RATE) else {
            return classifier;
        };
        let mut order: Vec<i64> = (0..labels.size()[0]).collect();
        let [numbers, units] = DROPOUT;
        for epoch in 0..EPOCHS {
            // Down to nothing, as half a cosine.
            let part = std::f64::consts::PI * epoch as f64 / EPOCHS as f64;
            optimizer.set_lr(LEARNING_RATE * (1.0 + part.cos()) / 2.0);
            order.shuffle(&mut rng);
            for batch in order.chunks(BATCH) {
                let batch = Tensor::from_slice(batch);
                let seen = dropped(&x.index_select(0, &batch), numbers, &mut rng);
                let hidden = dropped(&classifier.hidden(&seen), units, &mut rng);
                let logits = classifier.output.forward(&hidden);
                let labels = labels.index_select(0, &batch);
                let mean = Reduction::Mean;
                let loss = logits.cross_entropy_loss(&labels, Some(&weights), mean, -100, 0.1);
                optimizer.backward_step(&loss);
            }
        }
        classifier
    }

    fn standardized(&self, x: &Tensor) -> Tensor {
        ((x - &self.mean) / &self.deviation).clamp(-CLIP, CLIP)
    }

    fn hidden(&self, x: &Tensor) -> Tensor {
        self.hidden.forward(x).relu()
    }

    /// Of each example the logarithm of each class's probability.
    pub fn log_probabilities(&self, examples: &[&[f32]]) -> Vec<Vec<f64>> {
        if examples.is_empty() {
            return Vec::new();
        }
        let x = self.standardized(&matrix(examples));
        let logits = tch::no_grad(|| self.output.forward(&self.hidden(&x)));
        let all = logits.log_softmax(-1, Kind::Double);
        let rows = 0..examples.len() as i64;
        rows.map(|row| Vec::<f64>::try_from(all.get(row)).unwrap_or_default())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes that lie apart in two of twenty numbers, the last of them rare.
    fn examples(seed: u64, sizes: [usize; 3]) -> (Vec<Vec<f32>>, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let of: Vec<usize> = (0..3).flat_map(|class| vec![class; sizes[class]]).collect();
        let example = |class: &usize| {
            let mut numbers: Vec<f32> = (0..20).map(|_| rng.random_range(-1.0..1.0)).collect();
            numbers[3] += [0.0, 2.5, 0.0][*class];
            numbers[7] += [0.0, 0.0, 2.5][*class];
            numbers
        };
        (of.iter().map(example).collect(), of)
    }

    #[test]
    fn classes_that_can_be_told_apart_are() {
        let (train, of) = examples(1, [2000, 2000, 300]);
        let train: Vec<&[f32]> = train.iter().map(Vec::as_slice).collect();
        let classifier = Classifier::learn(&train, &of, 3);
        let (test, of) = examples(2, [100, 100, 100]);
        let test: Vec<&[f32]> = test.iter().map(Vec::as_slice).collect();
        let named = classifier.log_probabilities(&test);
        for class in 0..3 {
            let own = std::iter::zip(&named, &of).filter(|(_, of)| **of == class);
            let right = own.filter(|(named, _)| named.iter().all(|other| *other <= named[class]));
            let right = right.count();
            assert!(right >= 75, "class {class}: {right}");
        }
        let again = Classifier::learn(&train, &examples(1, [2000, 2000, 300]).1, 3);
        assert_eq!(again.log_probabilities(&test), named);
    }
}
