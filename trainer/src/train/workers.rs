//! Worker threads: gradients of micro-batches, sums over them, updates of weights.
//!
//! Each worker runs torch on one thread of its own. On the few cores of a desktop that is faster
//! than all cores on one operation after another, and does not suffer when others use a core too.

use std::collections::{BTreeMap, HashMap};

use famam_shared::encoding::Encoding;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Reduction, Tensor};

use crate::batches::Segment;
use crate::config::training::Config;
use crate::embeddings::{self, Autoencoder};
use crate::model::{Dropout, Model, Ragged};
use crate::optimizer::{self, Settings, Slot, Step};
use crate::parallel::each;

/// A model with its optimizer, and a replica for each thread.
pub struct Workers {
    replicas: Vec<Model>,
    slots: Vec<Slot>,
    /// What the embeddings learn by beside the model, where they do.
    autoencoder: Option<Autoencoder>,
}

impl Workers {
    /// `threads` workers on one model.
    pub fn new(model: Model, config: &Config, threads: usize) -> Self {
        let slots = optimizer::slots(config.optimizer, model.weights());
        let mut replicas: Vec<Model> = (1..threads).map(|_| model.replica()).collect();
        replicas.push(model);
        Self {
            replicas,
            slots,
            autoencoder: None,
        }
    }

    /// Where the config says so the embeddings go on learning by the autoencoder in `tensors`; the
    /// name of a tensor that does not fit otherwise.
    pub fn continue_embeddings(
        &mut self,
        config: &Config,
        tensors: &mut HashMap<String, Tensor>,
    ) -> Result<(), String> {
        let mut weights = self.model().weights().iter();
        if let Some((_, table)) = weights.find(|(name, _)| name == embeddings::TABLE)
            && config.continues_embeddings()
        {
            self.autoencoder = Some(Autoencoder::from_tensors(tensors, table)?);
        }
        Ok(())
    }

    /// Weights and moments, by name, the autoencoder's among them where there is one.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let weights = self.replicas[0].weights().iter();
        let weights = weights.map(|(name, weight)| (name.clone(), weight.detach()));
        let moments = self.slots.iter().flat_map(Slot::moments);
        let autoencoder = self.autoencoder.iter();
        let autoencoder = autoencoder.flat_map(|a| a.weights().chain(a.moments()));
        weights
            .chain(moments.map(|(name, moment)| (name, moment.shallow_clone())))
            .chain(autoencoder)
            .collect()
    }

    /// Takes the moments out of `tensors`; the name of one that does not fit otherwise.
    pub fn restore(&mut self, tensors: &mut HashMap<String, Tensor>) -> Result<(), String> {
        self.slots
            .iter_mut()
            .try_for_each(|slot| slot.restore(tensors))
    }

    /// One step on `segments`: the mean loss, in nats a token; `None`, and nothing done, where loss
    /// or gradients are not finite.
    pub fn step(
        &mut self,
        config: &Config,
        segments: &[Segment],
        number: u64,
        rate: f64,
    ) -> Option<f64> {
        let scored: usize = segments.iter().map(Segment::scored).sum();
        let share = 1.0 / scored.max(1) as f64;
        let micro = micro_batches(segments, config.micro_batch_tokens);
        let micro = micro.into_iter().enumerate().collect();
        let mut parts = each(&mut self.replicas, micro, |model, (i, segments)| {
            let mut rng = ChaCha8Rng::seed_from_u64(!config.random_seed);
            rng.set_stream(number << 20 | i as u64);
            let mut dropout =
                Dropout::new(config.dropout_rate, rng).with_recurrent(config.recurrent_dropout);
            let mut batch = Ragged::new(
                model.architecture().ends(),
                segments.iter().map(|s| (&s.tokens[..], s.first, s.first)),
                model.device(),
            );
            dropout.hide(&mut batch.ids, config.token_dropout);
            let loss = model.loss(&batch, &mut dropout, config.label_smoothing) * share;
            loss.backward();
            let gradients = model
                .weights()
                .iter()
                .map(|(name, weight)| {
                    let gradient = taken(weight);
                    // No optimizer moves what has a gradient of 0.
                    match config.freezes_embeddings() && name == embeddings::TABLE {
                        true => gradient.zeros_like(),
                        false => gradient,
                    }
                })
                .collect();
            (loss.double_value(&[]), gradients)
        });
        let loss: f64 = parts.iter().map(|(loss, _)| loss).sum();

        let mut by_weight: Vec<Vec<Tensor>> = Vec::new();
        by_weight.resize_with(self.slots.len(), Vec::new);
        for (_, gradients) in &mut parts {
            let gradients: &mut Vec<Tensor> = gradients;
            for (list, gradient) in std::iter::zip(&mut by_weight, gradients.drain(..)) {
                list.push(gradient);
            }
        }
        let sums = each(&mut self.replicas, by_weight, |_, parts| {
            let sum = parts.into_iter().reduce(|mut sum, part| sum.g_add_(&part));
            let sum = sum.unwrap_or_default();
            (optimizer::sum_of_squares(&sum), sum)
        });
        let norm = sums.iter().map(|(square, _)| square).sum::<f64>().sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            return None;
        }
        let clip = config.use_gradient_clipping && norm > config.gradient_clip_value;
        let scale = if clip {
            config.gradient_clip_value / norm
        } else {
            1.0
        };
        let settings = Settings::new(config);
        let step = Step {
            number,
            rate,
            scale,
        };
        let work = std::iter::zip(&mut self.slots, sums).collect();
        each(&mut self.replicas, work, |_, (slot, (_, gradient))| {
            tch::no_grad(|| slot.update(&settings, step, &gradient));
        });
        if let Some(autoencoder) = &mut self.autoencoder {
            autoencoder.go_on(segments, number, config.random_seed);
        }
        Some(loss)
    }

    /// How well `segments` are foretold, without dropout and label smoothing.
    pub fn evaluate(
        &mut self,
        config: &Config,
        segments: &[Segment],
        encoding: &dyn Encoding,
    ) -> Evaluation {
        let micro = micro_batches(segments, config.micro_batch_tokens);
        let parts = each(&mut self.replicas, micro, |model, segments| {
            let batch = Ragged::new(
                model.architecture().ends(),
                segments.iter().map(|s| (&s.tokens[..], s.first, s.first)),
                model.device(),
            );
            tch::no_grad(|| {
                let hidden = model.hidden(&batch, &mut Dropout::none());
                let logits = model.logits(&hidden.index_select(0, &batch.scored));
                let right = logits.argmax(-1, false).eq_tensor(&batch.targets);
                let mut hits = vec![false; right.numel()];
                right.copy_data(&mut hits, right.numel());
                let loss = logits.cross_entropy_loss::<&Tensor>(
                    &batch.targets,
                    None,
                    Reduction::Sum,
                    -100,
                    0.0,
                );
                (loss.double_value(&[]), hits)
            })
        });
        let targets = segments.iter().flat_map(|s| &s.tokens[s.first..]);
        let hits = parts.iter().flat_map(|(_, hits)| hits);
        let mut counts = BTreeMap::<&str, (u64, u64)>::new();
        for (&token, &hit) in std::iter::zip(targets, hits) {
            let (right, all) = counts.entry(encoding.kind(token)).or_default();
            (*right, *all) = (*right + u64::from(hit), *all + 1);
        }
        let scored: usize = segments.iter().map(Segment::scored).sum();
        let shares = counts.into_iter();
        Evaluation {
            loss: parts.iter().map(|(loss, _)| loss).sum::<f64>() / scored.max(1) as f64,
            accuracy: shares
                .map(|(kind, (right, all))| (kind.to_owned(), right as f64 / all as f64))
                .collect(),
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.replicas[0]
    }
}

/// How well a model foretells music.
pub struct Evaluation {
    /// Mean loss, nats a token.
    pub loss: f64,
    /// Share of the tokens of each kind that the model held for the likeliest.
    pub accuracy: BTreeMap<String, f64>,
}

/// Neighbouring segments, together about as long as `tokens` and no longer where they are several.
fn micro_batches(segments: &[Segment], tokens: usize) -> Vec<&[Segment]> {
    let mut batches = Vec::new();
    let (mut begin, mut sum) = (0, 0);
    for (i, segment) in segments.iter().enumerate() {
        if i > begin && sum + segment.tokens.len() > tokens {
            batches.push(&segments[begin..i]);
            (begin, sum) = (i, 0);
        }
        sum += segment.tokens.len();
    }
    if begin < segments.len() {
        batches.push(&segments[begin..]);
    }
    batches
}

/// The gradient of a weight, which is left without one.
fn taken(weight: &Tensor) -> Tensor {
    let gradient = weight.grad();
    let taken = gradient.copy();
    let _ = gradient.shallow_clone().zero_();
    taken
}
