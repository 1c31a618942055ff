//! How to train: Famam's `TrainingConfig` as JSON, with our own fields beside its own.
//!
//! Famam's files load unchanged. A field whose meaning is not supported yet is refused by name
//! where it would change the model or the loss, and named in [`Config::warnings`] where it would not.

use std::collections::BTreeMap;
use std::path::Path;

use famam_shared::architecture::{Activation, Architecture, Lstm, Positions, Rwkv, Transformer};
use serde::{Deserialize, Serialize};

use super::JsonError;

mod check;
pub mod embeddings;
mod lora;
mod uses;

pub use lora::Lora;
pub use uses::Uses;

/// What is watched.
const VAL_LOSS: &str = "val_loss";

/// How a model is trained. The fields up to `batch_size_per_replica` are Famam's, with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model's name.
    pub model_name: String,
    /// The backbone.
    pub model_type: ModelType,
    /// Tokens that the model sees at once, the head included.
    pub max_seq_length: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Dropout on the embeddings and on what each branch, or layer of an LSTM, adds.
    pub dropout_rate: f64,
    /// Blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Width inside the feed-forward network.
    pub d_ff: usize,
    /// Relative attention rather than rotary positions; `positions` overrides it.
    pub use_relative_attention: bool,
    /// The largest distance that relative attention tells from larger ones.
    pub max_relative_position: usize,
    /// Units of each layer of an LSTM.
    pub lstm_units: Vec<usize>,
    /// Refused for an LSTM: it would see the tokens that it has to foretell.
    pub bidirectional: bool,
    /// Dropout on what an LSTM's layers recall, one mask a sequence.
    pub recurrent_dropout: f64,
    /// Segments in a step, of each rank where there are several; `batch_tokens` overrides it.
    pub batch_size: usize,
    /// Passes over as many tokens as the training split has; `steps` overrides it.
    pub epochs: u64,
    /// The highest learning rate. The schedule `transformer` takes its own from `d_model`.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises.
    pub warmup_steps: u64,
    /// Share of all steps over which it rises; overrides `warmup_steps`.
    pub warmup_ratio: Option<f64>,
    /// Share of the target that is spread over the whole vocabulary.
    pub label_smoothing: f64,
    /// What turns gradients into steps.
    pub optimizer: OptimizerKind,
    /// Decoupled weight decay (adamw, muon); never of norms, biases and embeddings.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Keeps the divisor of Adam and RMSprop from 0.
    pub epsilon: f64,
    /// Momentum of sgd and rmsprop.
    pub momentum: f64,
    /// Decay of RMSprop's mean of squares.
    pub rho: f64,
    /// Without it the learning rate is constant from the first step on.
    pub use_lr_schedule: bool,
    /// The course of the learning rate.
    pub lr_schedule_type: ScheduleKind,
    /// Whether gradients are clipped.
    pub use_gradient_clipping: bool,
    /// The largest norm of all gradients together.
    pub gradient_clip_value: f64,
    /// Whether training ends when the validation loss no longer falls.
    pub use_early_stopping: bool,
    /// Validations without a better loss before training ends.
    pub early_stopping_patience: u64,
    /// What counts as better, in nats a token.
    pub early_stopping_min_delta: f64,
    /// Always `val_loss`.
    pub early_stopping_monitor: String,
    /// Checkpoints are always written.
    pub use_checkpointing: bool,
    /// Always `val_loss`.
    pub checkpoint_monitor: String,
    /// Best and last are kept, no others.
    pub save_best_only: bool,
    /// Whether event files for TensorBoard are written.
    pub use_tensorboard: bool,
    /// Their folder, seen from the checkpoints'.
    pub tensorboard_log_dir: String,
    /// Where checkpoints go, unless `--output` says so.
    pub output_dir: String,
    /// Whether `history.json` and the picture `curves.svg` are written.
    pub save_history: bool,
    /// The last checkpoint is always written.
    pub save_final_model: bool,
    /// Seed of the weights, the batches and dropout.
    pub random_seed: u64,
    /// Segments are always drawn at random.
    pub shuffle: bool,
    /// Segments are drawn from the whole data set.
    pub shuffle_buffer_size: usize,
    /// `none`; others are not supported yet.
    pub distribution_strategy: Distribution,
    /// Of the other strategies.
    pub batch_size_per_replica: Option<usize>,

    /// Positions; overrides `use_relative_attention`. `learned` knows `max_seq_length` of them.
    pub positions: Option<PositionsKind>,
    /// The base of rotary angles.
    pub rotary_theta: f32,
    /// Key/value heads; as many as query heads where nothing is said.
    pub kv_heads: Option<usize>,
    /// The feed-forward network's nonlinearity.
    pub activation: Activation,
    /// How many of its last outputs an LSTM reads by attention; it has none where nothing is said.
    pub attention_window: Option<usize>,
    /// Whether the head's weights are the embedding's.
    pub tied: bool,
    /// What embeddings are multiplied by; sqrt(d_model), as in Famam, where nothing is said.
    pub embedding_scale: Option<f32>,
    /// What logits are multiplied by.
    pub logit_scale: f32,
    /// How the model is told what music is conditioned on.
    pub conditioning: ConditioningKind,
    /// What the conditions' embeddings are multiplied by where they are added to every token's.
    pub conditioning_scale: f32,
    /// Embeddings that were trained before, for the model to start with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<embeddings::Embeddings>,
    /// Bars of a segment; the data set's where nothing is said, and as many as fit where that
    /// says nothing either.
    pub segment_bars: Option<usize>,
    /// Tokens of a step, about, of each rank where there are several; overrides `batch_size`.
    pub batch_tokens: Option<usize>,
    /// Batches whose gradients are added up into one step.
    pub accumulation_steps: usize,
    /// Tokens that one thread works on at a time.
    pub micro_batch_tokens: usize,
    /// What the blocks multiply in; all else, the weights and the head are 32-bit.
    pub precision: Precision,
    /// Runs each layer again when its gradients are taken instead of keeping what it computed: less
    /// memory, more time, the same losses.
    pub gradient_checkpointing: bool,
    /// Trains low-rank adapters of a model that was trained before, not its weights.
    pub lora: Option<Lora>,
    /// Optimizer steps; overrides `epochs`.
    pub steps: Option<u64>,
    /// Share of `learning_rate` at which cosine and exponential end.
    pub final_learning_rate: f64,
    /// Semitones by which segments are shifted, drawn from lowest to highest; the data set's where
    /// nothing is said.
    pub transpose: Option<(i32, i32)>,
    /// Probability that the model does not see a token, which it has to foretell all the same.
    pub token_dropout: f64,
    /// Probability that a segment is conditioned on nothing.
    pub unconditioned: f64,
    /// Probability that the genre is *any*, where it is not so already.
    pub genre_dropout: f64,
    /// Probability that the instruments are *any*, where they are not so already.
    pub instrument_dropout: f64,
    /// Probability that the metre is *any*, in data sets whose heads say it.
    pub metre_dropout: f64,
    /// Probability that the tempo is *any*, in data sets whose heads say it.
    pub tempo_dropout: f64,
    /// Probability that a segment begins where its piece does; others begin at any bar.
    pub piece_start: f64,
    /// How often bars of a segment are left open and filled in after all others, where the encoding can
    /// say that.
    pub fill_in: f64,
    /// What segments are for, in encodings that say wanted cells behind all that is known.
    pub uses: Uses,
    /// Probability that no key is given, in encodings whose heads say it.
    pub key_dropout: f64,
    /// Probability that nothing is asked of tracks, in encodings whose heads say it. Of the other segments
    /// each says a share of its own of what can be said.
    pub track_dropout: f64,
    /// Probability that a segment says no chords, where they may be left out.
    pub chord_dropout: f64,
    /// 0: genres are drawn by how much music they have; 1: all alike.
    pub genre_balance: f64,
    /// 0: pieces of a genre are drawn by how much music they have; 1: all alike.
    pub piece_balance: f64,
    /// Weights of the data set's sources; 1 where nothing is said.
    pub source_weights: BTreeMap<String, f64>,
    /// Steps between validations; an epoch where nothing is said.
    pub validation_every: Option<u64>,
    /// Epochs between samples, eight bars each, in the folder `samples`; none where nothing is said.
    pub sample_every_epochs: Option<u64>,
    /// Segments that a validation looks at.
    pub validation_segments: usize,
    /// Minutes between checkpoints, beside those at validations.
    pub checkpoint_minutes: f64,
}

/// A backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
    /// [`Transformer`].
    Transformer,
    /// [`Lstm`].
    Lstm,
    /// [`Rwkv`].
    Rwkv,
}

/// What turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
    /// Muon (Jordan 2024) for the matrices of the blocks, AdamW for all else.
    Muon,
    /// Stochastic gradient descent, with momentum (Polyak 1964) where the config has some.
    Sgd,
    /// RMSprop (Tieleman and Hinton 2012, lecture 6e), with momentum where the config has some.
    Rmsprop,
}

/// The course of the learning rate after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Falls with the root of the step (Vaswani et al. 2017, section 5.3).
    Transformer,
    /// Half a cosine down to `final_learning_rate` at the last step.
    Cosine,
    /// Falls by the same share at every step, to `final_learning_rate` at the last.
    Exponential,
    /// Level.
    Constant,
}

/// Training on several devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// One.
    None,
    /// Not supported yet.
    Mirrored,
    /// Not supported yet.
    MultiWorkerMirrored,
}

/// A kind of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionsKind {
    /// Learned embeddings of the distance.
    Relative,
    /// Rotated queries and keys.
    Rotary,
    /// Sines and cosines added to the embeddings.
    Sinusoidal,
    /// Learned embeddings of the position, added to the token's.
    Learned,
}

/// How a model is told what music is conditioned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditioningKind {
    /// As tokens before the music.
    Tokens,
    /// As embeddings added to those of every token, the scaled sum of them.
    Added,
}

/// What products are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// bfloat16 on a CUDA GPU, 32-bit floats elsewhere.
    Auto,
    /// 32-bit floats.
    Fp32,
    /// bfloat16: twice as fast where the processor has it (AVX512-BF16, AMX), slower where not.
    Bf16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_name: "music_model".to_owned(),
            model_type: ModelType::Transformer,
            max_seq_length: 2048,
            d_model: 512,
            dropout_rate: 0.1,
            num_layers: 6,
            num_heads: 8,
            d_ff: 2048,
            use_relative_attention: true,
            max_relative_position: 512,
            lstm_units: vec![512, 512],
            bidirectional: false,
            recurrent_dropout: 0.0,
            batch_size: 16,
            epochs: 100,
            learning_rate: 1e-4,
            warmup_steps: 4000,
            warmup_ratio: None,
            label_smoothing: 0.1,
            optimizer: OptimizerKind::Adam,
            weight_decay: 0.01,
            beta_1: 0.9,
            beta_2: 0.98,
            epsilon: 1e-9,
            momentum: 0.0,
            rho: 0.9,
            use_lr_schedule: true,
            lr_schedule_type: ScheduleKind::Transformer,
            use_gradient_clipping: true,
            gradient_clip_value: 1.0,
            use_early_stopping: true,
            early_stopping_patience: 10,
            early_stopping_min_delta: 1e-4,
            early_stopping_monitor: VAL_LOSS.to_owned(),
            use_checkpointing: true,
            checkpoint_monitor: VAL_LOSS.to_owned(),
            save_best_only: true,
            use_tensorboard: false,
            tensorboard_log_dir: "./logs".to_owned(),
            output_dir: "./models".to_owned(),
            save_history: true,
            save_final_model: true,
            random_seed: 42,
            shuffle: true,
            shuffle_buffer_size: 10_000,
            distribution_strategy: Distribution::None,
            batch_size_per_replica: None,
            positions: None,
            rotary_theta: 10_000.0,
            kv_heads: None,
            activation: Activation::Gelu,
            attention_window: None,
            tied: false,
            embedding_scale: None,
            logit_scale: 1.0,
            conditioning: ConditioningKind::Tokens,
            conditioning_scale: 0.25,
            embeddings: None,
            segment_bars: None,
            batch_tokens: None,
            accumulation_steps: 1,
            micro_batch_tokens: 2048,
            precision: Precision::Auto,
            gradient_checkpointing: false,
            lora: None,
            steps: None,
            final_learning_rate: 0.0,
            transpose: None,
            token_dropout: 0.0,
            unconditioned: 0.25,
            genre_dropout: 0.15,
            instrument_dropout: 0.25,
            metre_dropout: 0.25,
            tempo_dropout: 0.25,
            piece_start: 0.125,
            fill_in: 0.25,
            uses: Uses::default(),
            key_dropout: 0.5,
            track_dropout: 0.5,
            chord_dropout: 0.5,
            genre_balance: 0.5,
            piece_balance: 0.5,
            source_weights: BTreeMap::new(),
            sample_every_epochs: None,
            validation_every: None,
            validation_segments: 256,
            checkpoint_minutes: 10.0,
        }
    }
}

/// Why a training config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading the training config {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not JSON of this kind; names the field.
    #[error("the training config {path}: {source}")]
    Json {
        /// The file.
        path: String,
        /// What is wrong, and where.
        source: JsonError,
    },
    /// Supported later.
    #[error("{field} is {value}, which is not supported yet: {instead}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What can be done.
        instead: &'static str,
    },
    /// A value that means nothing.
    #[error("{field} is {value}: expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: String,
    },
}

impl Config {
    /// Reads a config and checks it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: name(),
            source,
        })?;
        let config: Self = super::parse(&text).map_err(|source| Error::Json {
            path: name(),
            source,
        })?;
        config.check()?;
        Ok(config)
    }

    /// The config of one process that does what so many ranks with this one do together.
    pub fn of_ranks(self, ranks: usize) -> Self {
        Self {
            batch_size: self.batch_size.saturating_mul(ranks),
            batch_tokens: self.batch_tokens.map(|tokens| tokens.saturating_mul(ranks)),
            ..self
        }
    }

    /// The other way: the config that each of so many ranks was given.
    pub fn of_one_rank(self, ranks: usize) -> Self {
        Self {
            batch_size: self.batch_size / ranks,
            batch_tokens: self.batch_tokens.map(|tokens| tokens / ranks),
            ..self
        }
    }

    /// What the config asks for that changes neither model nor loss and is not done.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        let mut warn = |here: bool, warning| here.then(|| warnings.push(warning));
        warn(
            self.early_stopping_monitor != VAL_LOSS,
            "early_stopping_monitor is not val_loss, the validation loss is watched all the same",
        );
        warn(
            self.checkpoint_monitor != VAL_LOSS,
            "checkpoint_monitor is not val_loss, the best is that of the lowest validation loss all the same",
        );
        warn(
            !self.use_checkpointing,
            "use_checkpointing is off, checkpoints are written all the same",
        );
        warn(
            !self.save_best_only,
            "save_best_only is off, only best and last are kept all the same",
        );
        warn(
            !self.save_final_model,
            "save_final_model is off, the last is saved all the same",
        );
        warn(
            !self.shuffle,
            "shuffle is off, segments are drawn at random all the same",
        );
        warn(
            self.batch_size_per_replica.is_some(),
            "batch_size_per_replica has no effect without a distribution_strategy",
        );
        warnings
    }

    /// The model for a vocabulary of `vocabulary` tokens.
    pub fn architecture(&self, vocabulary: usize) -> Architecture {
        match self.model_type {
            ModelType::Transformer => self.transformer(vocabulary).into(),
            ModelType::Lstm => self.lstm(vocabulary).into(),
            ModelType::Rwkv => self.rwkv(vocabulary).into(),
        }
    }

    fn lstm(&self, vocabulary: usize) -> Lstm {
        Lstm {
            vocabulary,
            d_model: self.d_model,
            units: self.lstm_units.clone(),
            attention_window: self.attention_window,
            tied: self.tied,
            embedding_scale: self.scale(),
            logit_scale: self.logit_scale,
            conditioning_scale: self.added(),
        }
    }

    fn rwkv(&self, vocabulary: usize) -> Rwkv {
        Rwkv {
            vocabulary,
            layers: self.num_layers,
            d_model: self.d_model,
            d_ff: self.d_ff,
            tied: self.tied,
            embedding_scale: self.embedding_scale.unwrap_or(1.0),
            logit_scale: self.logit_scale,
            conditioning_scale: self.added(),
        }
    }

    fn scale(&self) -> f32 {
        self.embedding_scale.unwrap_or((self.d_model as f32).sqrt())
    }

    fn added(&self) -> Option<f32> {
        match self.conditioning {
            ConditioningKind::Tokens => None,
            ConditioningKind::Added => Some(self.conditioning_scale),
        }
    }

    fn transformer(&self, vocabulary: usize) -> Transformer {
        let famams = if self.use_relative_attention {
            PositionsKind::Relative
        } else {
            PositionsKind::Rotary
        };
        Transformer {
            vocabulary,
            layers: self.num_layers,
            d_model: self.d_model,
            heads: self.num_heads,
            kv_heads: self.kv_heads.unwrap_or(self.num_heads),
            d_ff: self.d_ff,
            positions: match self.positions.unwrap_or(famams) {
                PositionsKind::Relative => Positions::Relative {
                    max_distance: self.max_relative_position,
                },
                PositionsKind::Rotary => Positions::Rotary {
                    theta: self.rotary_theta,
                },
                PositionsKind::Sinusoidal => Positions::Sinusoidal,
                PositionsKind::Learned => Positions::Learned {
                    length: self.max_seq_length,
                },
            },
            activation: self.activation,
            tied: self.tied,
            embedding_scale: self.scale(),
            logit_scale: self.logit_scale,
            conditioning_scale: self.added(),
        }
    }

    /// This config for a model that is there: [`Config::architecture`] is `architecture`.
    pub fn with_architecture(self, architecture: &Architecture) -> Self {
        let ends = architecture.ends();
        let config = Self {
            d_model: ends.d_model,
            tied: ends.tied,
            embedding_scale: Some(ends.embedding_scale),
            logit_scale: ends.logit_scale,
            conditioning: match ends.conditioning_scale {
                None => ConditioningKind::Tokens,
                Some(_) => ConditioningKind::Added,
            },
            conditioning_scale: ends.conditioning_scale.unwrap_or(self.conditioning_scale),
            ..self
        };
        match architecture {
            Architecture::Transformer(t) => config.with_transformer(t),
            Architecture::Lstm(lstm) => Self {
                model_type: ModelType::Lstm,
                lstm_units: lstm.units.clone(),
                attention_window: lstm.attention_window,
                ..config
            },
            Architecture::Rwkv(rwkv) => Self {
                model_type: ModelType::Rwkv,
                num_layers: rwkv.layers,
                d_ff: rwkv.d_ff,
                ..config
            },
        }
    }

    fn with_transformer(self, t: &Transformer) -> Self {
        let mut config = Self {
            model_type: ModelType::Transformer,
            num_layers: t.layers,
            num_heads: t.heads,
            kv_heads: Some(t.kv_heads),
            d_ff: t.d_ff,
            activation: t.activation,
            ..self
        };
        config.positions = Some(match t.positions {
            Positions::Relative { max_distance } => {
                config.max_relative_position = max_distance;
                PositionsKind::Relative
            }
            Positions::Rotary { theta } => {
                config.rotary_theta = theta;
                PositionsKind::Rotary
            }
            Positions::Sinusoidal => PositionsKind::Sinusoidal,
            Positions::Learned { length } => {
                config.max_seq_length = length;
                PositionsKind::Learned
            }
        });
        config
    }
}
