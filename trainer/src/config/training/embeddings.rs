//! Embeddings that a model starts from.

use serde::{Deserialize, Serialize};

use super::{Config, Error};

/// Which embeddings, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embeddings {
    /// The file, from `famam-trainer pretrain-embeddings`; `~` and `$NAME` are replaced.
    pub file: String,
    /// What becomes of them.
    #[serde(default)]
    pub mode: Mode,
}

/// What becomes of embeddings while a model is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They learn with the model, and their autoencoder goes on beside it.
    Continue,
    /// They stay as they are; with `tied` so does the head.
    Frozen,
    /// They learn with the model, as all its weights do.
    #[default]
    Train,
}

impl Config {
    /// Whether the embeddings are left as they are.
    pub fn freezes_embeddings(&self) -> bool {
        self.mode() == Some(Mode::Frozen)
    }

    /// Whether their autoencoder goes on learning.
    pub fn continues_embeddings(&self) -> bool {
        self.mode() == Some(Mode::Continue)
    }

    fn mode(&self) -> Option<Mode> {
        self.embeddings.as_ref().map(|embeddings| embeddings.mode)
    }

    /// Refuses a file without a name.
    pub(super) fn check_embeddings(&self) -> Result<(), Error> {
        match &self.embeddings {
            Some(Embeddings { file, .. }) if file.is_empty() => Err(Error::Value {
                field: "embeddings.file",
                value: "\"\"".to_owned(),
                expected: "a file that famam-trainer pretrain-embeddings wrote".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}
