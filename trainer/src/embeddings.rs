//! Embeddings that were pre-trained: a file that a model of any backbone starts from, and what goes on
//! with them while it is trained; see `docs/formats.md`.

use std::collections::HashMap;
use std::path::Path;

use famam_shared::encoding;
use famam_shared::vocabulary::Vocabulary;
use famam_shared::write_file;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::checkpoint::pack;
use crate::config;
use crate::model::Model;

pub mod autoencoder;
pub mod command;

pub use autoencoder::{Autoencoder, Measured, Sizes};

/// The format's version that this build writes; older ones open, newer ones are refused.
pub const VERSION: u32 = 1;
/// The metadata's key of [`About`].
const KEY: &str = "famam.embeddings";
/// The tensor of the embeddings, as in a model.
pub const TABLE: &str = "embedding.weight";

/// What a file says of its embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of the format, [`VERSION`] when written.
    pub version: u32,
    /// The encoding and its settings.
    pub encoding: encoding::Spec,
    /// Genres.
    pub vocabulary: Vocabulary,
    /// Name of the data set that they learned from.
    pub data_set: String,
    /// Steps that they learned for, of all rounds.
    pub steps: u64,
    /// Loss on the validation split, nats a token.
    pub loss: f64,
    /// Share of the tokens of the validation split that are said again right.
    pub accuracy: f64,
}

/// Embeddings with the autoencoder that they learned by.
pub struct Embeddings {
    /// What the file says of them.
    pub about: About,
    /// `[vocabulary, width]`.
    pub table: Tensor,
    /// The autoencoder's weights, by name.
    pub tensors: HashMap<String, Tensor>,
}

/// Why embeddings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading the embeddings {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
    /// Not embeddings, or damaged ones.
    #[error(
        "{path} has no embeddings of famam-trainer, or it is damaged ({what}): make it anew with \
         famam-trainer pretrain-embeddings"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Written by a later version.
    #[error(
        "the embeddings {path} have format version {version}, this famam-trainer knows versions up to \
         {VERSION}: take a newer famam-trainer"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
    /// Of other tokens.
    #[error(
        "the embeddings {path} are of another vocabulary than the data set: they have {found}, it has \
         {expected}; pre-train embeddings on this data set"
    )]
    Vocabulary {
        /// The file.
        path: String,
        /// Its encoding and genres.
        found: String,
        /// The data set's.
        expected: String,
    },
    /// Of another width.
    #[error(
        "the embeddings {path} are {found} numbers wide, the model's d_model is {expected}: set d_model to \
         {found}, or pre-train embeddings with --width {expected}"
    )]
    Width {
        /// The file.
        path: String,
        /// Their width.
        found: usize,
        /// The model's.
        expected: usize,
    },
    /// A path of the config.
    #[error(transparent)]
    Path(#[from] config::UnsetVariable),
}

impl Embeddings {
    /// Writes them beside `path` and puts them in its place.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let damaged = |what| Error::Damaged {
            path: path.display().to_string(),
            what,
        };
        let text = serde_json::to_string(&self.about).map_err(|e| damaged(e.to_string()))?;
        let mut tensors = vec![(TABLE.to_owned(), self.table.shallow_clone())];
        let others = self.tensors.iter();
        tensors.extend(others.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        let bytes = pack::pack(KEY, &text, &tensors).map_err(damaged)?;
        Ok(write_file::write(path, &bytes)?)
    }

    /// Reads embeddings; nothing in the file is believed before it is checked.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| Error::Read {
            path: name(),
            source,
        })?;
        let damaged = |what: String| Error::Damaged { path: name(), what };
        let text = pack::text(KEY, &bytes).map_err(damaged)?;
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unread = |error: serde_json::Error| damaged(error.to_string());
        let Version { version } = serde_json::from_str(&text).map_err(unread)?;
        if version > VERSION {
            return Err(Error::Newer {
                path: name(),
                version,
            });
        }
        let about: About = serde_json::from_str(&text).map_err(unread)?;
        let encoding = about.encoding.build(about.vocabulary.genres.len());
        let encoding = encoding.map_err(|error| damaged(error.to_string()))?;
        let size = encoding.vocabulary_size();
        let mut tensors = pack::tensors(&text, &bytes).map_err(damaged)?;
        let finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) == 1;
        match tensors.remove(TABLE) {
            Some(table)
                if matches!(table.size()[..], [rows, width] if rows == size as i64 && width > 0)
                    && finite(&table) =>
            {
                Ok(Self {
                    about,
                    table,
                    tensors,
                })
            }
            _ => Err(damaged(format!(
                "{TABLE} is not finite numbers for each of {size} tokens"
            ))),
        }
    }

    /// Refuses embeddings of other tokens, or of another width than a model with `d_model` has.
    pub fn fit(
        &self,
        path: &Path,
        spec: &encoding::Spec,
        vocabulary: &Vocabulary,
        d_model: Option<usize>,
    ) -> Result<(), Error> {
        let path = || path.display().to_string();
        if self.about.encoding != *spec || self.about.vocabulary != *vocabulary {
            let said = |spec: &encoding::Spec, vocabulary: &Vocabulary| {
                let settings = serde_json::to_string(spec).unwrap_or_default();
                format!("{settings} and the genres {}", vocabulary.genres.join(", "))
            };
            return Err(Error::Vocabulary {
                path: path(),
                found: said(&self.about.encoding, &self.about.vocabulary),
                expected: said(spec, vocabulary),
            });
        }
        let found = self.table.size()[1] as usize;
        match d_model {
            Some(expected) if expected != found => Err(Error::Width {
                path: path(),
                found,
                expected,
            }),
            _ => Ok(()),
        }
    }

    /// Puts them into a model that they fit.
    pub fn put(&self, model: &Model) {
        if let Some((_, weight)) = model.weights().iter().find(|(name, _)| name == TABLE) {
            let mut memory = weight.detach();
            memory.copy_(&self.table);
        }
    }
}
