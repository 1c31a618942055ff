//! `export`: a checkpoint to a bundle that the plugin plays.
//!
//! A bundle is written only after it was run: its logits on both engines against those of libtorch,
//! in 32 bits; in 8 bits then its engines against one another, its own against themselves however
//! they are computed, and its validation loss against that of the checkpoint.

use std::path::{Path, PathBuf};

use famam_shared::bundle::{self, Bundle, BundleError};
use famam_shared::engine::EngineError;
use famam_shared::manifest::{Manifest, Precision, Provenance};
use famam_shared::{sampling, write_file};
use tch::Tensor;

use crate::batches::{Draw, Music, Purpose};
use crate::checkpoint::{self, State};
use crate::dataset::{self, Dataset};
use crate::evaluate::{self, EngineName, Subject};
use crate::model::Model;
use crate::parallel;
use crate::scoring::{self, Scorer, Window};

mod check;

/// The most that the validation loss may rise in 8 bits, as a share of it.
const MOST_RISE: f64 = 0.01;

/// Writes a trained model as a bundle (.onnx) for the plugin.
///
///   famam-trainer export RUN -o model.onnx --int8
///
/// CHECKPOINT is the folder of a run (its best checkpoint is taken, or the last where none was
/// validated yet) or a .safetensors file. With --int8 the model is a quarter as large and several
/// times as fast; its validation loss is measured on the data set that it was trained on. The
/// bundle is run on ONNX Runtime (where it is found) and rten before it is written, and refused
/// where they do not agree.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The folder of a run, or a checkpoint
    pub checkpoint: PathBuf,
    /// The bundle to write
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: PathBuf,
    /// Stores weights in 8 bits
    #[arg(long)]
    pub int8: bool,
    /// The data set to measure the validation loss on [default: the one that it was trained on]
    #[arg(long, value_name = "FILE.h5")]
    pub dataset: Option<PathBuf>,
    /// The model's name in the plugin [default: the config's model_name]
    #[arg(long)]
    pub name: Option<String>,
    /// Licence of the model, with the credits that its music asks for
    #[arg(long, default_value = "")]
    pub licence: String,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Why no bundle was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The bundle cannot be made.
    #[error("making the bundle: {0}")]
    Bundle(#[from] BundleError),
    /// An engine fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data set.
    #[error("{source}; the validation loss is measured on it, name it by --dataset")]
    Dataset {
        /// What is wrong.
        source: dataset::Error,
    },
    /// The data set is another.
    #[error(
        "the data set {path} has another encoding or other genres than the checkpoint, or no validation pieces"
    )]
    Another {
        /// The data set.
        path: String,
    },
    /// The loss cannot be measured.
    #[error(transparent)]
    Evaluate(#[from] evaluate::Error),
    /// The bundle does not compute what the checkpoint does.
    #[error(
        "the bundle was not written: {what} {found:.2e}, at most {limit:.0e} is right. Please report this"
    )]
    Differs {
        /// What differs.
        what: String,
        /// By how much.
        found: f64,
        /// By how much it may.
        limit: f64,
    },
    /// The model loses too much in 8 bits.
    #[error(
        "the bundle was not written: in 8 bits the validation loss rises from {before:.4} to {after:.4} nats a \
         token, more than 1 %; export without --int8, or train longer"
    )]
    Loses {
        /// Validation loss of the checkpoint.
        before: f64,
        /// Of the bundle.
        after: f64,
    },
    /// The bundle cannot be written.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
}

/// Runs `famam-trainer export`.
pub fn run(args: &Args) -> Result<(), Error> {
    let threads = args.threads.unwrap_or_else(parallel::cores).max(1);
    let (state, model) = checkpoint::open(&args.checkpoint)?;
    let mut manifest = manifest(&state, Precision::Fp32);
    manifest.name = args.name.clone().unwrap_or(manifest.name);
    manifest.provenance.licence.clone_from(&args.licence);
    let mut bytes = write(&manifest, &model)?;
    // The graph is the checkpoint's in 32 bits, whatever its weights are stored in then.
    check::fp32(&Bundle::read(&bytes)?, &model)?;
    if args.int8 {
        manifest.precision = Precision::Int8;
        let data_set = args
            .dataset
            .clone()
            .unwrap_or_else(|| PathBuf::from(&state.data_set.path));
        let bundle = Bundle::read(&write(&manifest, &model)?)?;
        let windows = validation(&state, &data_set)?;
        check::int8(&bundle, &windows)?;
        let mut torch = Scorer::torch(&model, threads);
        let mut engines = Subject::of_bundle(&bundle, EngineName::Auto, threads)?;
        let before = loss(&mut torch, &state, &windows)?;
        let after = loss(&mut engines.scorers, &state, &windows)?;
        eprintln!(
            "validation loss {before:.4} in 32 bits, {after:.4} in 8 bits, on {}",
            engines.engine
        );
        if after > before * (1.0 + MOST_RISE) {
            return Err(Error::Loses { before, after });
        }
        manifest.provenance.validation_loss = Some(after);
        bytes = write(&manifest, &model)?;
    }
    write_file::write(&args.output, &bytes)?;
    eprintln!(
        "wrote {}, {:.1} MB",
        args.output.display(),
        bytes.len() as f64 / 1e6
    );
    Ok(())
}

/// The bundle of a model in 32 bits, which nothing was run on yet.
pub(crate) fn unchecked(state: &State, model: &Model) -> Result<Vec<u8>, Error> {
    write(&manifest(state, Precision::Fp32), model)
}

/// What a bundle of the checkpoint says of itself.
fn manifest(state: &State, precision: Precision) -> Manifest {
    let record = state.progress.history.last();
    Manifest {
        version: famam_shared::manifest::VERSION,
        name: state.config.model_name.clone(),
        hash: String::new(),
        encoding: state.encoding.clone(),
        vocabulary: state.vocabulary.clone(),
        bands: state.bands.clone(),
        architecture: state.architecture.clone(),
        precision,
        context: state.context(),
        state: Vec::new(),
        sampling: sampling::Settings::default(),
        provenance: Provenance {
            data_set: state.data_set.name.clone(),
            licence: String::new(),
            steps: state.progress.step,
            tokens: state.progress.tokens,
            training_loss: record.map(|record| record.training_loss),
            validation_loss: record.map(|record| record.validation_loss),
        },
    }
}

/// The bytes of a bundle.
fn write(manifest: &Manifest, model: &Model) -> Result<Vec<u8>, Error> {
    let values = |weight: &Tensor| {
        let mut values = vec![0f32; weight.numel()];
        weight
            .detach()
            .contiguous()
            .copy_data(&mut values, weight.numel());
        values
    };
    let weights: std::collections::HashMap<&str, Vec<f32>> = model
        .weights()
        .iter()
        .map(|(name, weight)| (name.as_str(), values(weight)))
        .collect();
    Ok(bundle::write(manifest, &|name| {
        weights.get(name).map(Vec::as_slice)
    })?)
}

/// The segments that validation looks at in training.
fn validation(state: &State, path: &Path) -> Result<Vec<Window>, Error> {
    let failed = |source| Error::Dataset { source };
    let data_set = Dataset::open(path).map_err(failed)?;
    let mut music = Music::read(&data_set).map_err(failed)?;
    let known = |genre: &String| state.vocabulary.genre(genre).is_some();
    let same = music.spec.says_as(&state.encoding) && music.vocabulary.genres.iter().all(known);
    let another = || Error::Another {
        path: path.display().to_string(),
    };
    if !same || music.validation.is_empty() {
        return Err(another());
    }
    music
        .adopt(&state.encoding, &state.vocabulary)
        .map_err(evaluate::Error::from)?;
    let count = state.config.validation_segments;
    let draw = Draw::new(&state.config, &music, &music.validation).unshifted();
    if !draw.can_draw() {
        return Err(another());
    }
    let segments = draw.segments(Purpose::Validation, |segments, _| segments >= count);
    let windows = segments.into_iter().enumerate();
    Ok(windows
        .map(|(piece, s)| Window {
            piece,
            tokens: s.tokens,
            head: s.first,
            first: s.first,
        })
        .collect())
}

/// The mean loss on `windows`, nats a token.
fn loss(scorers: &mut [Scorer], state: &State, windows: &[Window]) -> Result<f64, Error> {
    let encoding = state.encoding.build(state.vocabulary.genres.len());
    let encoding = encoding.map_err(evaluate::Error::from)?;
    let (mut sum, mut tokens) = (0.0, 0u64);
    scoring::score(
        scorers,
        &*encoding,
        windows,
        |_| (),
        |_, _, nats| {
            sum += nats.free;
            tokens += 1;
        },
    )?;
    Ok(sum / tokens.max(1) as f64)
}
