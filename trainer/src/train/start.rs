//! How a run starts: anew, from a model, or where it stopped.

use std::path::Path;

use super::Error;
use super::workers::Workers;
use crate::batches::Music;
use crate::checkpoint::{self, DataSet, LAST, Progress, State};
use crate::config;
use crate::config::training::{Config, Precision};
use crate::device::Machine;
use crate::embeddings::{self, Embeddings};
use crate::model::Model;
use crate::pretrained::Pretrained;

/// What a run trains on, where, and where it writes.
pub struct Setting<'a> {
    pub music: &'a Music,
    pub data_set: DataSet,
    pub folder: &'a Path,
    pub machine: Machine,
}

impl Setting<'_> {
    /// The run that stands in the folder, if it is the one that is asked for.
    pub fn resume(
        self,
        mut config: Config,
        from: Option<Pretrained>,
    ) -> Result<(State, Workers), Error> {
        let Machine { device, threads } = self.machine;
        let last = self.folder.join(LAST);
        let mut stored = checkpoint::read(&last)?;
        let state = stored.state.clone();
        let another = |what| Error::Another {
            folder: self.folder.display().to_string(),
            what,
        };
        if state.from != from.map(|from| from.origin) {
            return Err(another("model that it started from (--from)"));
        }
        if config.precision == Precision::Auto {
            // A run that began on another device stays what it is.
            config.precision = state.config.precision.on(device);
        }
        if !same_run(&state.config, &config) {
            return Err(another("config"));
        }
        let same_words =
            state.encoding == self.music.spec && state.vocabulary == self.music.vocabulary;
        if state.data_set.hash != self.data_set.hash || !same_words {
            return Err(another("data set"));
        }
        let wrong = |what: String| Error::Tensors {
            path: last.display().to_string(),
            what,
        };
        let model = stored.model_in_training();
        let model = model.map_err(|error| wrong(error.to_string()))?;
        let model = model.with_precision(config.precision).to_device(device);
        let mut workers = Workers::new(model, &config, threads);
        workers
            .restore(&mut stored.tensors)
            .and_then(|()| workers.continue_embeddings(&state.config, &mut stored.tensors))
            .map_err(|name| wrong(format!("{name} is missing or has another shape")))?;
        let state = State {
            config,
            bands: self.music.bands().or(state.bands),
            data_set: self.data_set,
            ..state
        };
        Ok((state, workers))
    }

    /// A new run: random weights, those of `from`, or embeddings that were trained before.
    pub fn begin(
        self,
        mut config: Config,
        from: Option<Pretrained>,
    ) -> Result<(State, Workers), Error> {
        let Machine { device, threads } = self.machine;
        if from.is_some() && config.embeddings.is_some() {
            return Err(Error::TwoEmbeddings);
        }
        let (model, origin, bands) = match from {
            Some(from) => {
                let (origin, bands) = (from.origin.clone(), from.bands.clone());
                let grown = from.grown;
                let mut model = from.model()?;
                if let Some(lora) = &config.lora {
                    model = model.adapt(lora, grown, config.random_seed)?;
                }
                (model, Some(origin), self.music.bands().or(bands))
            }
            None if config.lora.is_some() => return Err(Error::NothingToAdapt),
            None => {
                let architecture = config.architecture(self.music.encoding.vocabulary_size());
                let model = Model::new(&architecture, config.random_seed, tch::Device::Cpu);
                (model, None, self.music.bands())
            }
        };
        config.precision = config.precision.on(device);
        let architecture = model.architecture().clone();
        let embeddings = config.embeddings.as_ref();
        let embeddings = embeddings.map(|chosen| -> Result<_, embeddings::Error> {
            let path = config::expand(&chosen.file)?;
            let embeddings = Embeddings::read(&path)?;
            let d_model = Some(architecture.ends().d_model);
            embeddings.fit(&path, &self.music.spec, &self.music.vocabulary, d_model)?;
            embeddings.put(&model);
            Ok((path, embeddings.tensors))
        });
        let embeddings = embeddings.transpose()?;
        let model = model.with_precision(config.precision).to_device(device);
        let mut workers = Workers::new(model, &config, threads);
        if let Some((path, mut tensors)) = embeddings {
            let continued = workers.continue_embeddings(&config, &mut tensors);
            continued.map_err(|name| embeddings::Error::Damaged {
                path: path.display().to_string(),
                what: format!("{name} is missing or has another shape"),
            })?;
        }
        let state = State {
            version: checkpoint::VERSION,
            segment_bars: config.segment_bars.or(self.music.reading.segment_bars),
            config,
            architecture,
            encoding: self.music.spec.clone(),
            vocabulary: self.music.vocabulary.clone(),
            bands,
            from: origin,
            data_set: self.data_set,
            progress: Progress::default(),
        };
        Ok((state, workers))
    }
}

/// Whether two configs make the same run; where it is saved, how long it is and how it ends may
/// differ.
fn same_run(a: &Config, b: &Config) -> bool {
    let same = |config: &Config| Config {
        output_dir: String::new(),
        save_history: true,
        use_tensorboard: false,
        tensorboard_log_dir: String::new(),
        sample_every_epochs: None,
        checkpoint_minutes: 1.0,
        gradient_checkpointing: false,
        epochs: 1,
        steps: None,
        use_early_stopping: true,
        early_stopping_patience: 0,
        ..config.clone()
    };
    same(a) == same(b)
}
