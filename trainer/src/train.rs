//! `train`: a data set to checkpoints.
//!
//! A step draws its segments, deals them out in micro-batches to worker threads that each own the
//! gradients of a replica, adds the gradients up in the order of the micro-batches, and updates.
//! So the losses of a run are a function of its config and data set alone: the same with any number
//! of threads, and the same after it was killed and resumed. [`ranks`] has how several processes make
//! one run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::batches::Music;
use crate::checkpoint::{self, BEST, DataSet};
use crate::config::training::Config;
use crate::dataset::{self, Dataset};
use crate::model::WeightsError;
use crate::pretrained::{self, Pretrained};
use crate::{config, device, embeddings, memory, stop};

mod curves;
mod epoch;
mod forecast;
mod log;
mod need;
mod prefetch;
mod progress;
pub mod ranks;
mod rescue;
mod run;
mod start;
mod tensorboard;
mod workers;

pub use forecast::{Forecast, forecast};
pub use need::{Need, TooMuch};
use ranks::Ranks;
pub use run::Run;
pub use workers::{Gradients, Workers};

/// Steps in a row that may be skipped because loss or gradients were not finite.
const MOST_SKIPPED: u64 = 10;

/// Arguments of `famam-trainer train`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How to train (JSON, see configs/model_training)
    pub config: PathBuf,
    /// The data set (HDF5, from `famam-trainer build`)
    #[arg(long)]
    pub dataset: PathBuf,
    /// Starts from this model: a bundle (.onnx), a checkpoint, or the folder of a run. Its architecture is
    /// kept, whatever the config says; genres that it lacks are added
    #[arg(long, value_name = "MODEL")]
    pub from: Option<PathBuf>,
    /// Folder for checkpoints; goes on where a run of the same config stopped in it [default: the config's output_dir]
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// What to train on: auto takes a CUDA GPU where there is one; mps, a Mac's GPU, is untested
    #[arg(long, value_enum, default_value_t)]
    pub device: device::Choice,
    /// Threads on the processor [default: all cores; of several ranks on a machine each takes its part of them]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Stops after so many minutes, to go on another time
    #[arg(long)]
    pub max_minutes: Option<f64>,
}

/// Why training ended without a model, or before its time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config.
    #[error(transparent)]
    Config(#[from] config::training::Error),
    /// A path of the config.
    #[error(transparent)]
    Path(#[from] config::UnsetVariable),
    /// The device.
    #[error(transparent)]
    Device(#[from] device::Error),
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The model to start from.
    #[error(transparent)]
    Pretrained(#[from] pretrained::Error),
    /// The embeddings to start with.
    #[error(transparent)]
    Embeddings(#[from] embeddings::Error),
    /// A model that has embeddings was named, too.
    #[error(
        "embeddings are for a fresh model, one that is there (--from) has its own: leave one of them out"
    )]
    TwoEmbeddings,
    /// Adapters of no model.
    #[error(
        "lora adapts a model that was trained before: name it by --from, or leave lora out of the config"
    )]
    NothingToAdapt,
    /// Adapters that do not fit the model.
    #[error(transparent)]
    Adapters(#[from] WeightsError),
    /// A split has no pieces.
    #[error("the data set {path} has no {split} pieces: build it from more songs")]
    Empty {
        /// The data set.
        path: String,
        /// The split.
        split: &'static str,
    },
    /// Weights leave nothing to draw.
    #[error(
        "source_weights leave none of the {split} pieces to draw: give one of their sources a weight above 0 \
         ({sources})"
    )]
    Weightless {
        /// The split.
        split: &'static str,
        /// The sources of its pieces.
        sources: String,
    },
    /// The folder holds another run.
    #[error(
        "{folder} holds a run with another {what}: name another folder by --output, or go on with the old"
    )]
    Another {
        /// The folder.
        folder: String,
        /// `config` or `data set`.
        what: &'static str,
    },
    /// The checkpoint's tensors are not the model's.
    #[error("the checkpoint {path}: {what}")]
    Tensors {
        /// The checkpoint.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The loss is no number.
    #[error(
        "at step {step} the loss was no finite number, nor {MOST_SKIPPED} steps before or on other music: \
         take a lower learning_rate or a longer warmup_steps; {folder} keeps the last good checkpoint"
    )]
    NotFinite {
        /// The last step.
        step: u64,
        /// Where the checkpoint is.
        folder: String,
    },
    /// A step would take more memory than there is.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// A step took more memory than there is.
    #[error(
        "memory ran out in step {step}: of half of it, {advice}; {folder} keeps the last checkpoint"
    )]
    Exhausted {
        /// The step.
        step: u64,
        /// What would take half of it.
        advice: String,
        /// Where the checkpoint is.
        folder: String,
    },
    /// The ranks of an MPI job do not come together, or one is lost.
    #[error(transparent)]
    Ranks(#[from] ranks::Error),
    /// Of several ranks, not the first.
    #[error("rank {rank}: {source}")]
    OfRank {
        /// Its number.
        rank: usize,
        /// What went wrong there.
        source: Box<Error>,
    },
    /// The folder cannot be made.
    #[error("making the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All steps are done.
    Steps,
    /// The validation loss no longer falls.
    EarlyStop,
    /// Asked to, by Ctrl+C or `--max-minutes`; the run can go on.
    Interrupted,
}

/// Runs `famam-trainer train`; why it ended.
pub fn run(args: &Args) -> Result<End, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let ranks = Ranks::join(stop.clone())?;
    let rank = ranks.rank();
    run_among(ranks, args, stop).map_err(|error| match rank {
        0 => error,
        rank => Error::OfRank {
            rank,
            source: Box::new(error),
        },
    })
}

fn run_among(ranks: Ranks, args: &Args, stop: Arc<AtomicBool>) -> Result<End, Error> {
    let leads = ranks.leads();
    let say = |line: String| {
        if leads {
            eprintln!("{line}");
        }
    };
    // Before the first tensor.
    let threads = args.threads.unwrap_or_else(|| ranks.cores()).max(1);
    let machine = args.device.open(threads, ranks.local_rank())?;
    let mut config = Config::load(&args.config)?.of_ranks(ranks.count());
    for warning in config.warnings() {
        say(format!("note: {warning}"));
    }
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => config::expand(&config.output_dir)?,
    };
    let data_set = Dataset::open(&args.dataset)?;
    for note in data_set.config().without_effect(config.max_seq_length) {
        say(format!("note: of the data set's config {note}"));
    }
    let mut music = Music::read(&data_set)?;
    let mut from = args.from.as_deref().map(Pretrained::open).transpose()?;
    if let Some(model) = &mut from {
        config = config.with_architecture(&model.architecture);
        model.meet(&music.spec, &music.vocabulary)?;
        if model.spec != music.spec {
            eprintln!(
                "note: byte pairs are merged as the model that is trained on merges them ({} pairs), not as the \
                 data set does ({})",
                model.spec.merges().len(),
                music.spec.merges().len()
            );
        }
        music
            .adopt(&model.spec, &model.vocabulary)
            .map_err(pretrained::Error::from)?;
    }
    let named = DataSet {
        name: data_set.config().name.clone(),
        path: args.dataset.display().to_string(),
        hash: data_set.hash().to_owned(),
    };
    let _asked = stop_on_signal(&ranks, stop.clone());
    let limit = args.max_minutes.map(minutes);
    memory::silence_exhaustion();
    let mut run = Run::open_among(ranks, config, &music, named, from, &folder, machine)?;
    let end = run.train(&stop, limit)?;
    run.finish();
    say(match end {
        End::Steps => format!("done; export {}", folder.join(BEST).display()),
        End::EarlyStop => format!(
            "the validation loss no longer falls; export {}",
            folder.join(BEST).display()
        ),
        End::Interrupted => "stopped and saved; the same command goes on".to_owned(),
    });
    Ok(end)
}

/// A length of time; what is longer than can be said is as good as for ever.
fn minutes(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(minutes.max(0.0) * 60.0).unwrap_or(Duration::MAX)
}

/// Has Ctrl+C (or a request to terminate) set the flag, while what is returned lives; a second one ends the
/// process. Of several ranks those that can save at once: another one may have died, after which mpirun gives
/// them a second.
fn stop_on_signal(ranks: &Ranks, stop: Arc<AtomicBool>) -> stop::Stop {
    let (rank, alone) = (ranks.rank(), ranks.count() == 1);
    let rescue = ranks.rescue().clone();
    stop::on_signal_with(stop, move || match rescue.save() {
        _ if alone => eprintln!("\nstopping after this step; again to stop at once"),
        Ok(Some(step)) => eprintln!("\nrank {rank} was told to stop: saved after step {step}"),
        Ok(None) => {}
        Err(error) => eprintln!("\nrank {rank} was told to stop, but could not save: {error}"),
    })
}
