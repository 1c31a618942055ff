//! Checkpoints: one `safetensors` file with weights and moments, and what else a run needs to go
//! on exactly, as JSON in its metadata; see `docs/formats.md`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use famam_shared::architecture::{Architecture, Transformer};
use famam_shared::bands::Bands;
use famam_shared::encoding;
use famam_shared::manifest::Context;
use famam_shared::vocabulary::Vocabulary;
use famam_shared::write_file;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Device, Tensor};

use crate::config::training::Config;
use crate::model::{Model, WeightsError, is_adapter};
use crate::pretrained::Origin;

pub(crate) mod pack;

/// The format's version that this build writes; older ones open, newer ones are refused.
pub const VERSION: u32 = 1;
/// The checkpoint that a run goes on from.
pub const LAST: &str = "last.safetensors";
/// The checkpoint with the lowest validation loss.
pub const BEST: &str = "best.safetensors";
/// More than any run counts up to; what is added to it is still a number.
const MOST_COUNTED: u64 = 1 << 53;
/// The metadata's key of the state.
const KEY: &str = "famam.checkpoint";

/// Everything of a run but its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Version of the format, [`VERSION`] when written.
    pub version: u32,
    /// How it is trained.
    pub config: Config,
    /// What the model computes.
    #[serde(deserialize_with = "architecture")]
    pub architecture: Architecture,
    /// The encoding and its settings.
    pub encoding: encoding::Spec,
    /// Genres.
    pub vocabulary: Vocabulary,
    /// Which instruments play together in each genre of the training split.
    #[serde(default)]
    pub bands: Bands,
    /// The model that it started from, where it did not start from nothing.
    #[serde(default)]
    pub from: Option<Origin>,
    /// What it is trained on.
    pub data_set: DataSet,
    /// Bars of a segment, as config and data set have it.
    pub segment_bars: Option<usize>,
    /// Where the run stands.
    pub progress: Progress,
}

/// An architecture; the first checkpoints have a Transformer's fields without their `kind`.
fn architecture<'de, D: Deserializer<'de>>(json: D) -> Result<Architecture, D::Error> {
    let json = serde_json::Value::deserialize(json)?;
    let read = if json.get("kind").is_some() {
        Architecture::deserialize(json)
    } else {
        Transformer::deserialize(json).map(Architecture::Transformer)
    };
    read.map_err(D::Error::custom)
}

/// What a model is trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSet {
    /// The data set's name.
    pub name: String,
    /// The file, as it was named.
    pub path: String,
    /// Its hash.
    pub hash: String,
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps done, those that were skipped included.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Sum of the training losses since the last validation.
    pub loss_sum: f64,
    /// Steps in that sum.
    pub loss_count: u64,
    /// Steps skipped because loss or gradients were not finite.
    pub skipped: u64,
    /// Those in a row.
    pub skipped_in_a_row: u64,
    /// The lowest validation loss.
    pub best: Option<f64>,
    /// What the validation loss must fall below, by the config's `early_stopping_min_delta`, to
    /// count as better: the last that did. Older checkpoints have none and take `best`.
    #[serde(default)]
    pub reference: Option<f64>,
    /// Validations since.
    pub stale: u64,
    /// Every validation.
    pub history: Vec<Record>,
}

impl Progress {
    /// Takes in a validation loss; whether it is the lowest so far.
    pub(crate) fn judge(&mut self, loss: f64, min_delta: f64) -> bool {
        let below = |limit: Option<f64>| limit.is_none_or(|limit| loss < limit);
        let reference = self.reference.or(self.best);
        // Small improvements add up: only one that counts moves what the next is compared with.
        if below(reference.map(|reference| reference - min_delta)) {
            (self.reference, self.stale) = (Some(loss), 0);
        } else {
            (self.reference, self.stale) = (reference, self.stale + 1);
        }
        let best = below(self.best);
        if best {
            self.best = Some(loss);
        }
        best
    }
}

/// One validation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Optimizer steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Mean training loss since the validation before, nats a token; the validation loss where there was no
    /// step.
    pub training_loss: f64,
    /// Validation loss, nats a token.
    pub validation_loss: f64,
    /// Share of the validation tokens of each kind that the model held for the likeliest.
    #[serde(default)]
    pub accuracy: BTreeMap<String, f64>,
}

/// A checkpoint in memory.
pub struct Checkpoint {
    /// Everything but the tensors.
    pub state: State,
    /// Weights and moments by name.
    pub tensors: HashMap<String, Tensor>,
}

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading the checkpoint {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
    /// Not a checkpoint, or one that is damaged.
    #[error("{path} is not a checkpoint of famam-trainer, or it is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Written by a later version.
    #[error(
        "the checkpoint {path} has format version {version}, this famam-trainer knows versions up \
         to {VERSION}: take a newer famam-trainer"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
    /// Its weights are not its architecture's.
    #[error("the checkpoint {path}: {source}")]
    Weights {
        /// The file.
        path: String,
        /// What is wrong.
        source: WeightsError,
    },
}

/// Writes a checkpoint beside `path` and puts it in its place, so that `path` is always whole.
pub fn write(path: &Path, state: &State, tensors: &[(String, Tensor)]) -> Result<(), Error> {
    let damaged = |what: String| Error::Damaged {
        path: path.display().to_string(),
        what,
    };
    let metadata = serde_json::to_string(state).map_err(|error| damaged(error.to_string()))?;
    let bytes = pack::pack(KEY, &metadata, tensors).map_err(damaged)?;
    Ok(write_file::write(path, &bytes)?)
}

/// Reads a checkpoint; nothing in it is believed before it is checked.
pub fn read(path: &Path) -> Result<Checkpoint, Error> {
    of_bytes(path, &bytes(path)?)
}

/// The model of a checkpoint, as [`find`] and [`Checkpoint::model`] have it, and its state.
pub fn open(name: &Path) -> Result<(State, Model), Error> {
    let path = find(name);
    let mut stored = read(&path)?;
    let model = stored.model().map_err(|source| Error::Weights {
        path: path.display().to_string(),
        source,
    })?;
    Ok((stored.state, model))
}

/// The bytes of the file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.display().to_string(),
        source,
    })
}

/// The checkpoint in the bytes of the file `path`.
pub(crate) fn of_bytes(path: &Path, bytes: &[u8]) -> Result<Checkpoint, Error> {
    let name = || path.display().to_string();
    parse(bytes).map_err(|what| match what {
        Wrong::Newer(version) => Error::Newer {
            path: name(),
            version,
        },
        Wrong::Damaged(what) => Error::Damaged { path: name(), what },
    })
}

impl Checkpoint {
    /// The model, its adapters merged into its weights where it has some. Both are taken out of the
    /// tensors.
    pub fn model(&mut self) -> Result<Model, WeightsError> {
        let model = self.model_in_training()?;
        Ok(match self.state.config.lora {
            Some(_) => model.merged(),
            None => model,
        })
    }

    /// The model as training has it, with its adapters beside its weights.
    pub fn model_in_training(&mut self) -> Result<Model, WeightsError> {
        let names = self
            .state
            .architecture
            .weights()
            .into_iter()
            .map(|(name, _)| name);
        let weights = names
            .filter_map(|name| self.tensors.remove_entry(&name))
            .collect();
        let model = Model::from_weights(&self.state.architecture, weights, Device::Cpu)?;
        match &self.state.config.lora {
            Some(lora) => {
                let adapters = self.tensors.extract_if(|name, _| is_adapter(name));
                model.with_adapters(lora, adapters.collect())
            }
            None => Ok(model),
        }
    }
}

/// The checkpoint that a command names: the file, the file without its ending, or the best one of
/// a run's folder; the last where none was validated yet.
pub fn find(name: &Path) -> PathBuf {
    if name.is_dir() {
        let of_run = [BEST, LAST].map(|file| name.join(file));
        let found = of_run.iter().find(|path| path.exists());
        return found.unwrap_or(&of_run[0]).clone();
    }
    let ended = PathBuf::from(format!("{}.safetensors", name.display()));
    if !name.exists() && ended.exists() {
        ended
    } else {
        name.to_owned()
    }
}

enum Wrong {
    Newer(u32),
    Damaged(String),
}

fn parse(bytes: &[u8]) -> Result<Checkpoint, Wrong> {
    let damaged = |error: serde_json::Error| Wrong::Damaged(error.to_string());
    let text = pack::text(KEY, bytes).map_err(Wrong::Damaged)?;
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_str(&text).map_err(damaged)?;
    if version > VERSION {
        return Err(Wrong::Newer(version));
    }
    let state: State = serde_json::from_str(&text).map_err(damaged)?;
    state.check().map_err(Wrong::Damaged)?;
    let tensors = pack::tensors(&text, bytes).map_err(Wrong::Damaged)?;
    Ok(Checkpoint { state, tensors })
}

impl State {
    /// What the model was trained to see at once. Without a limit on bars they are bounded by the
    /// tokens, of which a bar has three at least (BAR, and a note's two) where it is not empty.
    pub fn context(&self) -> Context {
        let tokens = self.config.max_seq_length;
        Context {
            tokens,
            bars: self.segment_bars.unwrap_or(tokens / 3).min(tokens),
        }
    }

    /// Whether its parts fit one another.
    fn check(&self) -> Result<(), String> {
        self.config.check().map_err(|error| error.to_string())?;
        let encoding = self.encoding.build(self.vocabulary.genres.len());
        let encoding = encoding.map_err(|error| error.to_string())?;
        let expected = self.config.architecture(encoding.vocabulary_size());
        if self.architecture != expected {
            return Err("its architecture is not its config's".to_owned());
        }
        if self.segment_bars == Some(0) {
            return Err("its segments have no bars".to_owned());
        }
        let progress = &self.progress;
        let counts = [
            progress.step,
            progress.tokens,
            progress.loss_count,
            progress.skipped,
            progress.skipped_in_a_row,
            progress.stale,
        ];
        if counts.iter().any(|&count| count > MOST_COUNTED) {
            return Err("its progress is more than can have been".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_improvements_add_up() {
        let mut progress = Progress::default();
        let mut stale = Vec::new();
        for i in 0..8 {
            assert!(progress.judge(3.0 - 0.008 * f64::from(i), 0.01));
            stale.push(progress.stale);
        }
        assert_eq!(stale, [0, 1, 0, 1, 0, 1, 0, 1]);
        // It rises, and falls again by less than what counts.
        assert!(!progress.judge(3.0, 0.01));
        assert!(progress.judge(2.943, 0.01));
        assert_eq!((progress.best, progress.stale), (Some(2.943), 3));
        // A checkpoint from before there was a reference compares with its best.
        let older = r#"{"step":0,"tokens":0,"seconds":0,"loss_sum":0,"loss_count":0,"skipped":0,
            "skipped_in_a_row":0,"best":2.0,"stale":1,"history":[]}"#;
        let mut older: Progress = serde_json::from_str(older).unwrap();
        older.judge(1.995, 0.01);
        assert_eq!((older.best, older.stale), (Some(1.995), 2));
        older.judge(1.989, 0.01);
        assert_eq!((older.reference, older.stale), (Some(1.989), 0));
    }
}
