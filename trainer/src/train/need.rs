//! How much memory a step takes, and which batch would fit into what there is.
//!
//! An estimate, for a sentence before the run instead of a process that is killed in it: weights,
//! moments, a gradient for each micro-batch, and the activations that each thread keeps of the one
//! that it works on.

use std::collections::BTreeMap;

use famam_shared::architecture::Architecture;

use crate::config::training::{Config, OptimizerKind, Precision};

/// Bytes of a number.
const NUMBER: u64 = 4;
/// Numbers that are kept for each that a linear map takes or gives: what norms, nonlinearities, dropout
/// and gradients add.
const KEPT: u64 = 2;
/// The same for each logit: the logits, their logarithms, and the gradients of both.
const KEPT_OF_LOGITS: u64 = 4;

/// What a step of a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes, whatever the batch.
    fixed: u64,
    /// Bytes for each micro-batch.
    gradients: u64,
    /// Bytes for each token of a micro-batch that is worked on.
    activations: u64,
    /// Tokens of a micro-batch.
    micro: u64,
    threads: u64,
}

/// There is too little memory.
#[derive(Debug, thiserror::Error)]
#[error("a step takes about {} of memory, and {} are free: {advice}", bytes(*.needed), bytes(*.free))]
pub struct TooMuch {
    /// What a step takes.
    pub needed: u64,
    /// What there is.
    pub free: u64,
    /// What would fit.
    pub advice: String,
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

impl Need {
    /// That of a model in training on so many threads.
    pub fn new(config: &Config, architecture: &Architecture, threads: usize) -> Self {
        let threads = threads as u64;
        let weights = architecture.weights();
        let all = architecture.parameters() as u64;
        // What the linear maps of each part take and give, by layer.
        let mut parts = BTreeMap::<String, (u64, u64)>::new();
        let rank = config.lora.as_ref().map_or(0, |lora| lora.rank as u64);
        for (name, shape) in &weights {
            let outer = ["embedding.", "positions.", "head."];
            if let [out, input] = shape[..]
                && !outer.iter().any(|begin| name.starts_with(begin))
            {
                let layer: Vec<&str> = name.split('.').take(2).collect();
                let (numbers, adapters) = parts.entry(layer.join(".")).or_default();
                *numbers += (out + input) as u64;
                *adapters += rank * (out + input) as u64;
            }
        }
        let trained = match config.lora {
            Some(_) => parts.values().map(|(_, adapters)| adapters).sum(),
            None => all,
        };
        let attention = match architecture {
            // Half of the products are above the diagonal, and some are there twice for a while.
            Architecture::Transformer(t) => (t.heads * config.max_seq_length) as u64,
            _ => 0,
        };
        let layers = parts
            .values()
            .map(|(numbers, _)| KEPT * numbers + attention);
        let ends = architecture.ends();
        let (width, vocabulary) = (ends.d_model as u64, ends.vocabulary as u64);
        let kept = if config.gradient_checkpointing {
            parts.len() as u64 * width + layers.max().unwrap_or(0)
        } else {
            layers.sum()
        };
        let moments = match config.optimizer {
            OptimizerKind::Adam | OptimizerKind::Adamw | OptimizerKind::Rmsprop => 2,
            OptimizerKind::Muon | OptimizerKind::Sgd => 1,
        };
        let halves = match config.precision {
            Precision::Bf16 => all * threads / 2,
            Precision::Fp32 | Precision::Auto => 0,
        };
        Self {
            fixed: NUMBER * (all + (moments + threads) * trained + halves),
            gradients: NUMBER * trained,
            activations: NUMBER * (kept + KEPT_OF_LOGITS * vocabulary),
            micro: config.micro_batch_tokens.max(config.max_seq_length) as u64,
            threads,
        }
    }

    /// Bytes for a step of so many tokens.
    pub fn of(&self, tokens: u64) -> u64 {
        let micro = self.micro.min(tokens).max(1);
        let batches = tokens.div_ceil(micro);
        self.fixed + batches * self.gradients + batches.min(self.threads) * micro * self.activations
    }

    /// Whether a step of `tokens` tokens, with the batch that the config says, fits into `free` bytes.
    ///
    /// # Errors
    /// A sentence with the batch that would fit.
    pub fn check(&self, config: &Config, tokens: u64, free: u64) -> Result<(), TooMuch> {
        let needed = self.of(tokens);
        if needed <= free {
            return Ok(());
        }
        let advice = self.advice(config, tokens, free);
        Err(TooMuch {
            needed,
            free,
            advice,
        })
    }

    /// What to do for a step that takes `free` bytes at most instead of what one of `tokens` tokens
    /// does.
    pub fn advice(&self, config: &Config, tokens: u64, free: u64) -> String {
        let (field, asked) = match config.batch_tokens {
            Some(tokens) => ("batch_tokens", tokens),
            None => ("batch_size", config.batch_size),
        };
        let fits = |batch: u64| self.of((tokens * batch).div_ceil(asked as u64)) <= free;
        // The largest that fits: what a step takes rises with its batch.
        let (mut fitting, mut too_large) = (0, asked as u64);
        while too_large - fitting > 1 {
            let middle = fitting.midpoint(too_large);
            match fits(middle) {
                true => fitting = middle,
                false => too_large = middle,
            }
        }
        // A batch holds a segment at least.
        let least = config
            .batch_tokens
            .map_or(1, |_| config.max_seq_length as u64);
        let mut advice = match fitting >= least {
            true => format!("{field} {fitting} would fit"),
            false => format!("no {field} would fit; take a smaller model or max_seq_length"),
        };
        if !config.gradient_checkpointing {
            advice += ", and more with gradient_checkpointing";
        }
        if self.threads > 1 {
            advice += ", and with fewer --threads";
        }
        advice
    }
}
