//! What a run can start from: a model that was trained before.

use std::collections::HashMap;
use std::path::Path;

use famam_shared::architecture::Architecture;
use famam_shared::bands::Bands;
use famam_shared::encoding::{self, Conditioning, SettingsError};
use famam_shared::vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use crate::bundle;
use crate::checkpoint;
use crate::dataset;
use crate::model::{Model, WeightsError};

/// A model that was trained before.
pub struct Pretrained {
    /// Which one it is.
    pub origin: Origin,
    /// What it computes.
    pub architecture: Architecture,
    /// Its genres.
    pub vocabulary: Vocabulary,
    /// What plays together in them.
    pub bands: Bands,
    /// Tokens by which its vocabulary has grown, the last ones.
    pub grown: usize,
    /// Its encoding.
    pub spec: encoding::Spec,
    weights: HashMap<String, Tensor>,
}

/// Which model a run started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal.
    pub hash: String,
}

impl Origin {
    fn new(name: String, file: &[u8]) -> Self {
        let hash = dataset::hex(Sha256::new_with_prefix(file));
        Self { name, hash }
    }
}

/// Why a run cannot start from a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// Its weights are not its architecture's.
    #[error("the model {name}: {source}")]
    Weights {
        /// Its name.
        name: String,
        /// What is wrong.
        source: WeightsError,
    },
    /// It speaks otherwise than the data set.
    #[error(
        "the model {name} and the data set differ in the encoding or its settings: build the data set with those \
         that the model was trained with ({settings})"
    )]
    Encoding {
        /// The model's name.
        name: String,
        /// Its encoding as JSON.
        settings: String,
    },
    /// The vocabulary grows too large.
    #[error("the model and the data set together have too many genres: {0}")]
    Genres(#[from] SettingsError),
}

impl Pretrained {
    /// Reads a bundle (`.onnx`), a checkpoint, or the best checkpoint of a run's folder.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.extension().is_some_and(|ending| ending == "onnx") {
            return Self::of_bundle(path);
        }
        let path = checkpoint::find(path);
        let bytes = checkpoint::bytes(&path)?;
        let mut stored = checkpoint::of_bytes(&path, &bytes)?;
        let origin = Origin::new(stored.state.config.model_name.clone(), &bytes);
        let model = stored.model().map_err(|source| Error::Weights {
            name: origin.name.clone(),
            source,
        })?;
        let weights = model.weights().iter();
        Ok(Self {
            origin,
            weights: weights
                .map(|(name, weight)| (name.clone(), weight.detach()))
                .collect(),
            grown: 0,
            architecture: stored.state.architecture,
            vocabulary: stored.state.vocabulary,
            bands: stored.state.bands,
            spec: stored.state.encoding,
        })
    }

    fn of_bundle(path: &Path) -> Result<Self, Error> {
        let bundle = bundle::read(path)?;
        let values = bundle.dithered_weights();
        let values = values.map_err(|source| bundle::Error::Bundle {
            path: path.display().to_string(),
            source,
        })?;
        let manifest = bundle.manifest;
        let weights = manifest
            .architecture
            .weights()
            .into_iter()
            .filter_map(|(name, shape)| {
                let shape: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
                let tensor = Tensor::from_slice(values.get(&name)?)
                    .f_view(&shape[..])
                    .ok()?;
                Some((name, tensor))
            });
        Ok(Self {
            origin: Origin::new(manifest.name, &bundle.model),
            weights: weights.collect(),
            grown: 0,
            architecture: manifest.architecture,
            vocabulary: manifest.vocabulary,
            bands: manifest.bands,
            spec: manifest.encoding,
        })
    }

    /// Learns the names of the genres of `vocabulary` that it lacks: they come last and begin as
    /// *any*. Refuses a data set of another encoding; what is merged is the model's to say, as data
    /// sets keep their tokens unmerged.
    pub fn meet(&mut self, spec: &encoding::Spec, vocabulary: &Vocabulary) -> Result<(), Error> {
        if !self.spec.says_as(spec) {
            return Err(Error::Encoding {
                name: self.origin.name.clone(),
                settings: serde_json::json!(self.spec.base()).to_string(),
            });
        }
        let known = self.vocabulary.genres.len();
        let new = vocabulary.genres.iter();
        let new: Vec<String> = new
            .filter(|genre| self.vocabulary.genre(genre).is_none())
            .cloned()
            .collect();
        self.vocabulary.genres.extend(new.iter().cloned());
        let encoding = self.spec.build(self.vocabulary.genres.len())?;
        let any = encoding.head(&Conditioning::default())[1];
        debug_assert_eq!(encoding.kind(any), "genre");
        for name in ["embedding.weight", "head.weight"] {
            if let Some(rows) = self.weights.get_mut(name) {
                let any = rows.narrow(0, i64::from(any), 1);
                let more = any.expand([new.len() as i64, any.size()[1]], false);
                *rows = Tensor::cat(&[&*rows, &more], 0);
            }
        }
        let grown = encoding.vocabulary_size() - self.spec.build(known)?.vocabulary_size();
        match &mut self.architecture {
            Architecture::Transformer(t) => t.vocabulary += grown,
            Architecture::Lstm(l) => l.vocabulary += grown,
            Architecture::Rwkv(r) => r.vocabulary += grown,
        }
        self.grown += grown;
        Ok(())
    }

    /// The model.
    pub fn model(self) -> Result<Model, Error> {
        Model::from_weights(&self.architecture, self.weights, Device::Cpu).map_err(|source| {
            Error::Weights {
                name: self.origin.name,
                source,
            }
        })
    }
}
