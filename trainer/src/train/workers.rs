//! Worker threads: gradients of micro-batches, sums over them, updates of weights.
//!
//! Each worker runs torch on one thread of its own. On the few cores of a desktop that is faster
//! than all cores on one operation after another, and does not suffer when others use a core too.

use std::collections::{BTreeMap, HashMap};

use famam_shared::encoding::{Encoding, Token};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Reduction, Tensor};

use super::ranks::{self, Ranks};
use crate::batches::Segment;
use crate::config::training::Config;
use crate::embeddings::{self, Autoencoder};
use crate::model::{Dropout, Model, Ragged};
use crate::optimizer::{self, Settings, Slot, Step};
use crate::parallel::each;

/// The sum of a step's gradients, all that it takes to change the weights.
pub struct Gradients {
    /// The mean loss, in nats a token.
    pub loss: f64,
    /// What the sums are multiplied by.
    scale: f64,
    /// By weight.
    sums: Vec<Tensor>,
}

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
        let slots = optimizer::slots(config.optimizer, model.trained());
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

    /// Weights, adapters and moments, by name, the autoencoder's among them where there is one.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let weights = self.replicas[0].tensors();
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

    /// One step on `segments` by one process: the mean loss, in nats a token; `None`, and nothing
    /// done, where loss or gradients are not finite.
    pub fn step(
        &mut self,
        config: &Config,
        segments: &[Segment],
        number: u64,
        rate: f64,
    ) -> Option<f64> {
        let gradients = self.gradients(config, segments, number, &Ranks::alone());
        let gradients = gradients.ok().flatten()?;
        let loss = gradients.loss;
        self.update(config, number, rate, gradients);
        self.go_on(config, segments, number);
        Some(loss)
    }

    /// The gradients of the mean loss of `segments`, of which each rank works on its share; `None`
    /// where loss or gradients are not finite.
    pub fn gradients(
        &mut self,
        config: &Config,
        segments: &[Segment],
        number: u64,
        ranks: &Ranks,
    ) -> Result<Option<Gradients>, ranks::Error> {
        let shares = ranks.shares(segments);
        let (before, own) = (&shares[..ranks.rank()], shares[ranks.rank()]);
        let scored: usize = own.iter().map(Segment::scored).sum();
        let scored: f64 = ranks.sum(&[scored as f64])?.iter().sum();
        let share = 1.0 / scored.max(1.0);
        let micro = |share| micro_batches(share, config.micro_batch_tokens);
        let before: usize = before.iter().map(|&share| micro(share).len()).sum();
        let micro = std::iter::zip(before.., micro(own)).collect();
        let mut parts = each(&mut self.replicas, micro, |model, (i, segments)| {
            let mut rng = ChaCha8Rng::seed_from_u64(!config.random_seed);
            rng.set_stream(number << 20 | i as u64);
            let adapters = config.lora.as_ref().map_or(0.0, |lora| lora.dropout);
            let mut dropout = Dropout::new(config.dropout_rate, rng)
                .with_recurrent(config.recurrent_dropout)
                .with_adapters(adapters);
            let mut batch = Ragged::new(
                model.architecture().ends(),
                segments.iter().map(|s| (&s.tokens[..], s.first, s.first)),
                model.device(),
            );
            dropout.hide(&mut batch.ids, config.token_dropout);
            let loss = model.backward(
                &batch,
                &mut dropout,
                config.label_smoothing,
                share,
                config.gradient_checkpointing,
            );
            let gradients = model.trained().iter().map(|(name, weight)| {
                let gradient = taken(weight);
                // No optimizer moves what has a gradient of 0.
                match config.freezes_embeddings() && name == embeddings::TABLE {
                    true => gradient.zeros_like(),
                    false => gradient,
                }
            });
            (loss, gradients.collect())
        });
        let loss: f64 = parts.iter().map(|(loss, _)| loss).sum();
        let loss: f64 = ranks.sum(&[loss])?.iter().sum();

        let mut by_weight: Vec<Vec<Tensor>> = Vec::new();
        by_weight.resize_with(self.slots.len(), Vec::new);
        for (_, gradients) in &mut parts {
            let gradients: &mut Vec<Tensor> = gradients;
            for (list, gradient) in std::iter::zip(&mut by_weight, gradients.drain(..)) {
                list.push(gradient);
            }
        }
        let mut sums = each(&mut self.replicas, by_weight, |_, parts| {
            let sum = parts.into_iter().reduce(|mut sum, part| sum.g_add_(&part));
            sum.unwrap_or_default()
        });
        if parts.is_empty() {
            // A rank without a share.
            sums = self.slots.iter().map(Slot::no_gradient).collect();
        }
        ranks.sum_gradients(&mut sums)?;
        let sums = each(&mut self.replicas, sums, |_, sum| {
            (optimizer::sum_of_squares(&sum), sum)
        });
        let norm = sums.iter().map(|(square, _)| square).sum::<f64>().sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            return Ok(None);
        }
        let clip = config.use_gradient_clipping && norm > config.gradient_clip_value;
        let scale = if clip {
            config.gradient_clip_value / norm
        } else {
            1.0
        };
        let sums = sums.into_iter().map(|(_, sum)| sum).collect();
        Ok(Some(Gradients { loss, scale, sums }))
    }

    /// Changes the weights by the gradients of step `number`.
    pub fn update(&mut self, config: &Config, number: u64, rate: f64, gradients: Gradients) {
        let settings = Settings::new(config);
        let step = Step {
            number,
            rate,
            scale: gradients.scale,
        };
        let work = std::iter::zip(&mut self.slots, gradients.sums).collect();
        each(&mut self.replicas, work, |_, (slot, gradient)| {
            tch::no_grad(|| slot.update(&settings, step, &gradient));
        });
    }

    /// Where embeddings go on learning by their autoencoder, a step of it on the segments of step
    /// `number`: on every rank the same one.
    pub fn go_on(&mut self, config: &Config, segments: &[Segment], number: u64) {
        if let Some(autoencoder) = &mut self.autoencoder {
            autoencoder.go_on(segments, number, config.random_seed);
        }
    }

    /// How well `segments` are foretold, without dropout and label smoothing; each rank looks at its
    /// share of them.
    pub fn evaluate(
        &mut self,
        config: &Config,
        segments: &[Segment],
        encoding: &dyn Encoding,
        ranks: &Ranks,
    ) -> Result<Evaluation, ranks::Error> {
        let own = ranks.shares(segments)[ranks.rank()];
        let micro = micro_batches(own, config.micro_batch_tokens);
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
        let targets = |segments: &[Segment]| -> Vec<Token> {
            let targets = segments.iter().flat_map(|s| &s.tokens[s.first..]);
            targets.copied().collect()
        };
        let mut counts = BTreeMap::<&str, (f64, f64)>::new();
        for token in targets(segments) {
            counts.entry(encoding.kind(token)).or_default().1 += 1.0;
        }
        let hits = parts.iter().flat_map(|(_, hits)| hits);
        for (token, &hit) in std::iter::zip(targets(own), hits) {
            counts.entry(encoding.kind(token)).or_default().0 += f64::from(hit);
        }
        // Every rank knows the kinds of all segments, so that all send the same list.
        let loss = parts.iter().map(|(loss, _)| loss).sum::<f64>();
        let right = counts.values().map(|(right, _)| *right);
        let sums = ranks.sum(&Vec::from_iter(std::iter::once(loss).chain(right)))?;
        let scored: usize = segments.iter().map(Segment::scored).sum();
        let shares = std::iter::zip(counts, sums.iter().skip(1));
        Ok(Evaluation {
            loss: sums.first().copied().unwrap_or_default() / scored.max(1) as f64,
            accuracy: shares
                .map(|((kind, (_, all)), right)| (kind.to_owned(), right / all))
                .collect(),
        })
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
