//! `train`: a data set to checkpoints.
//!
//! A step draws its segments, deals them out in micro-batches to worker threads that each own the
//! gradients of a replica, adds the gradients up in the order of the micro-batches, and updates.
//! So the losses of a run are a function of its config and data set alone: the same with any number
//! of threads, and the same after it was killed and resumed. [`ranks`] has how several processes make
//! one run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use famam_shared::encoding::Encoding;

use crate::batches::{Draw, Music, Purpose, Segment};
use crate::checkpoint::{self, BEST, DataSet, LAST, Progress, Record, State};
use crate::config;
use crate::config::training::{Config, Precision};
use crate::dataset::{self, Dataset};
use crate::device::{self, Machine};
use crate::embeddings::{self, Embeddings};
use crate::model::{Model, WeightsError};
use crate::pretrained::{self, Pretrained};
use crate::{memory, schedule, stop};

mod curves;
mod forecast;
mod log;
mod need;
mod prefetch;
mod progress;
pub mod ranks;
mod rescue;
mod tensorboard;
mod workers;

pub use forecast::{Forecast, forecast};
use log::Log;
pub use need::{Need, TooMuch};
use prefetch::Prefetch;
use progress::Display;
use ranks::Ranks;
use rescue::Kept;
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
    let end = run.train(&stop, limit);
    if let Err(Error::Ranks(_)) = &end
        && let Some(step) = run.ranks.rescue().save()?
    {
        eprintln!("saved after step {step}");
    }
    let end = end?;
    run.ranks.finish();
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

/// A run: its model, its optimizer and where it stands.
pub struct Run<'a> {
    state: State,
    folder: PathBuf,
    draw: Arc<Draw<'a>>,
    validation: Vec<Segment>,
    encoding: &'a dyn Encoding,
    workers: Workers,
    ranks: Ranks,
    /// Of the rank that writes.
    log: Option<Log>,
    steps: u64,
    /// What a step takes of this process, and its tokens.
    need: (Need, u64),
    validation_every: u64,
    sample_every: Option<u64>,
}

impl<'a> Run<'a> {
    /// Begins a run of one process, or goes on with the one in `folder`.
    pub fn open(
        config: Config,
        music: &'a Music,
        data_set: DataSet,
        from: Option<Pretrained>,
        folder: &Path,
        machine: impl Into<Machine>,
    ) -> Result<Self, Error> {
        Self::open_among(
            Ranks::alone(),
            config,
            music,
            data_set,
            from,
            folder,
            machine.into(),
        )
    }

    /// The same for a run of several processes, of which this is one; `config` is that of all together
    /// ([`Config::of_ranks`]).
    pub fn open_among(
        ranks: Ranks,
        mut config: Config,
        music: &'a Music,
        data_set: DataSet,
        from: Option<Pretrained>,
        folder: &Path,
        machine: Machine,
    ) -> Result<Self, Error> {
        let Machine { device, threads } = machine;
        let empty = |split| Error::Empty {
            path: data_set.path.clone(),
            split,
        };
        if music.train.is_empty() {
            return Err(empty("training"));
        }
        if music.validation.is_empty() {
            return Err(empty("validation"));
        }
        let segment_bars = config.segment_bars.or(music.reading.segment_bars);
        if let (Some(bars), Some(window)) = (segment_bars, music.encoding.window_bars())
            && bars < 2 * window
        {
            return Err(config::training::Error::Value {
                field: "segment_bars",
                value: bars.to_string(),
                expected: "two windows (window_bars of the data set) at least, so that one is learned after another".to_owned(),
            }
            .into());
        }
        std::fs::create_dir_all(folder).map_err(|source| Error::Folder {
            path: folder.display().to_string(),
            source,
        })?;

        let draw = Draw::new(&config, music, &music.train);
        let validation = Draw::new(&config, music, &music.validation).unshifted();
        for (draw, pieces, split) in [
            (&draw, &music.train, "training"),
            (&validation, &music.validation, "validation"),
        ] {
            if !draw.can_draw() {
                let sources: BTreeSet<&str> =
                    pieces.iter().map(|piece| piece.source.as_str()).collect();
                return Err(Error::Weightless {
                    split,
                    sources: Vec::from_iter(sources).join(", "),
                });
            }
        }
        let count = config.validation_segments;
        let validation = validation.segments(Purpose::Validation, |segments, _| segments >= count);
        let Epoch {
            steps: epoch,
            lost,
            tokens,
        } = Epoch::measure(&config, music, &draw);
        let tokens = tokens.div_ceil(ranks.count() as u64);
        if lost > 0.0 && ranks.leads() {
            eprintln!(
                "note: {:.1} % of the bars that segments were to have are left out at their ends, as they would be \
                 longer than max_seq_length, {} tokens",
                100.0 * lost,
                config.max_seq_length
            );
        }
        let need = Need::new(
            &config,
            &config.architecture(music.encoding.vocabulary_size()),
            threads,
        );
        if device == tch::Device::Cpu
            && let Some(free) = memory::available()
        {
            need.check(&config.clone().of_one_rank(ranks.count()), tokens, free)?;
        }
        let steps = config.steps.unwrap_or(config.epochs.saturating_mul(epoch));
        let validation_every = config.validation_every.unwrap_or(epoch);

        let last = folder.join(LAST);
        let (state, workers) = if last.exists() {
            let mut stored = checkpoint::read(&last)?;
            let state = stored.state.clone();
            let another = |what| Error::Another {
                folder: folder.display().to_string(),
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
            let same_words = state.encoding == music.spec && state.vocabulary == music.vocabulary;
            if state.data_set.hash != data_set.hash || !same_words {
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
            if ranks.leads() {
                eprintln!("going on at step {} of {steps}", state.progress.step);
            }
            (
                State {
                    config,
                    bands: music.bands().or(state.bands),
                    data_set,
                    ..state
                },
                workers,
            )
        } else {
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
                    (model, Some(origin), music.bands().or(bands))
                }
                None if config.lora.is_some() => return Err(Error::NothingToAdapt),
                None => {
                    let architecture = config.architecture(music.encoding.vocabulary_size());
                    let model = Model::new(&architecture, config.random_seed, tch::Device::Cpu);
                    (model, None, music.bands())
                }
            };
            config.precision = config.precision.on(device);
            let architecture = model.architecture().clone();
            let embeddings = config.embeddings.as_ref();
            let embeddings = embeddings.map(|chosen| -> Result<_, embeddings::Error> {
                let path = config::expand(&chosen.file)?;
                let embeddings = Embeddings::read(&path)?;
                let d_model = Some(architecture.ends().d_model);
                embeddings.fit(&path, &music.spec, &music.vocabulary, d_model)?;
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
                segment_bars: config.segment_bars.or(music.reading.segment_bars),
                config,
                architecture,
                encoding: music.spec.clone(),
                vocabulary: music.vocabulary.clone(),
                bands,
                from: origin,
                data_set,
                progress: Progress::default(),
            };
            (state, workers)
        };
        ranks.agree(&serde_json::json!([state, steps]).to_string())?;
        Ok(Self {
            log: ranks.leads().then(|| Log::open(&state, folder)),
            sample_every: state
                .config
                .sample_every_epochs
                .map(|epochs| epochs.saturating_mul(epoch)),
            state,
            folder: folder.to_owned(),
            draw: Arc::new(draw),
            validation,
            encoding: &*music.encoding,
            workers,
            ranks,
            steps,
            need: (need, tokens),
            validation_every,
        })
    }

    /// Where the run stands.
    pub fn progress(&self) -> &Progress {
        &self.state.progress
    }

    /// Trains until the end, `stop`, or `limit`.
    pub fn train(&mut self, stop: &AtomicBool, limit: Option<Duration>) -> Result<End, Error> {
        let (draw, config) = (self.draw.clone(), self.state.config.clone());
        let segments = |step| segments_of_step(&config, &draw, step);
        let first = self.state.progress.step + 1;
        let run = || Prefetch::during(first, segments, |ahead| self.go(ahead, stop, limit));
        memory::guarded(run).unwrap_or_else(|memory::Exhausted| {
            let (need, tokens) = self.need;
            let step = self.state.progress.step + 1;
            let config = self.state.config.clone().of_one_rank(self.ranks.count());
            // The estimate was too low, or others took memory, too.
            let advice = need.advice(&config, tokens, need.of(tokens) / 2);
            Err(Error::Exhausted {
                step,
                advice,
                folder: self.folder.display().to_string(),
            })
        })
    }

    fn go(
        &mut self,
        ahead: &Prefetch<Vec<Segment>>,
        stop: &AtomicBool,
        limit: Option<Duration>,
    ) -> Result<End, Error> {
        let begin = Instant::now();
        let mut saved = Instant::now();
        let every = minutes(self.state.config.checkpoint_minutes);
        let mut display = Display::new(&self.state, self.steps, &self.ranks);
        let Progress { step, history, .. } = &self.state.progress;
        // What fine-tuning has to beat; and what was saved by a signal before it was validated.
        let due = match step {
            0 => self.state.from.is_some(),
            _ => self.is_validated(*step),
        };
        if due && history.last().is_none_or(|record| record.step != *step) {
            self.validate(&mut display)?;
        }
        let end = loop {
            let patience = self.state.config.early_stopping_patience.max(1);
            if self.state.config.use_early_stopping && self.state.progress.stale >= patience {
                break End::EarlyStop;
            }
            if self.state.progress.step >= self.steps {
                break End::Steps;
            }
            let enough = limit.is_some_and(|limit| begin.elapsed() >= limit);
            if self.ranks.any(enough || stop.load(Ordering::Relaxed))? {
                break End::Interrupted;
            }
            self.step(ahead.next(), &mut display)?;
            let step = self.state.progress.step;
            if self
                .sample_every
                .is_some_and(|every| step.is_multiple_of(every))
                && let Some(log) = &self.log
            {
                log.sample(&self.state, &self.workers.model().merged());
            }
            // A step that was skipped changed nothing: what is validated is the last good model.
            if self.is_validated(step) {
                self.validate(&mut display)?;
                saved = Instant::now();
            } else if saved.elapsed() >= every && self.state.progress.skipped_in_a_row == 0 {
                self.save(LAST)?;
                saved = Instant::now();
            }
        };
        self.save(LAST)?;
        display.finish();
        Ok(end)
    }

    fn is_validated(&self, step: u64) -> bool {
        step.is_multiple_of(self.validation_every) || step == self.steps
    }

    fn step(&mut self, segments: Vec<Segment>, display: &mut Display) -> Result<(), Error> {
        let begin = Instant::now();
        let State {
            config, progress, ..
        } = &mut self.state;
        let number = progress.step + 1;
        let rate = schedule::learning_rate(config, number, self.steps);
        let tokens: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
        let gradients = self
            .workers
            .gradients(config, &segments, number, &self.ranks)?;
        let rescue = self.ranks.rescue().clone();
        let mut kept = rescue.hold();
        let loss = gradients.map(|gradients| {
            let loss = gradients.loss;
            self.workers.update(config, number, rate, gradients);
            self.workers.go_on(config, &segments, number);
            loss
        });
        progress.step = number;
        progress.tokens += tokens as u64;
        progress.seconds += begin.elapsed().as_secs_f64();
        match loss {
            Some(loss) => {
                progress.loss_sum += loss;
                progress.loss_count += 1;
                progress.skipped_in_a_row = 0;
                let speed = tokens as f64 / begin.elapsed().as_secs_f64().max(1e-9);
                if let Some(log) = &mut self.log {
                    log.step(number, loss, rate, speed);
                }
            }
            None => {
                progress.skipped += 1;
                progress.skipped_in_a_row += 1;
                if progress.skipped_in_a_row >= MOST_SKIPPED {
                    let folder = self.folder.display().to_string();
                    return Err(Error::NotFinite {
                        step: number,
                        folder,
                    });
                }
            }
        }
        display.step(progress, loss, tokens, begin.elapsed());
        if loss.is_some() {
            *kept = self.kept();
        }
        Ok(())
    }

    fn validate(&mut self, display: &mut Display) -> Result<(), Error> {
        let begin = Instant::now();
        let evaluation = self.workers.evaluate(
            &self.state.config,
            &self.validation,
            self.encoding,
            &self.ranks,
        )?;
        if !evaluation.loss.is_finite() {
            let folder = self.folder.display().to_string();
            return Err(Error::NotFinite {
                step: self.state.progress.step,
                folder,
            });
        }
        let State {
            config, progress, ..
        } = &mut self.state;
        progress.seconds += begin.elapsed().as_secs_f64();
        let record = Record {
            step: progress.step,
            tokens: progress.tokens,
            seconds: progress.seconds,
            learning_rate: schedule::learning_rate(config, progress.step, self.steps),
            training_loss: match progress.loss_count {
                0 => evaluation.loss,
                count => progress.loss_sum / count as f64,
            },
            validation_loss: evaluation.loss,
            accuracy: evaluation.accuracy,
        };
        (progress.loss_sum, progress.loss_count) = (0.0, 0);
        let best = progress.judge(evaluation.loss, config.early_stopping_min_delta);
        display.validation(&record, best);
        progress.history.push(record);
        if let Some(log) = &mut self.log {
            log.validation(&progress.history);
        }
        *self.ranks.rescue().hold() = self.kept();
        if best {
            self.save(BEST)?;
        }
        self.save(LAST)
    }

    /// What a signal saves: of one process nothing, as it goes on to the end of its step; of several
    /// ranks the same by the first two, as one of them may be the one that died.
    fn kept(&self) -> Option<Kept> {
        (self.ranks.count() > 1 && self.ranks.rank() < 2).then(|| Kept {
            path: self.folder.join(LAST),
            state: self.state.clone(),
            tensors: self.workers.tensors(),
        })
    }

    fn save(&self, name: &str) -> Result<(), Error> {
        if !self.ranks.leads() {
            return Ok(());
        }
        Ok(checkpoint::write(
            &self.folder.join(name),
            &self.state,
            &self.workers.tensors(),
        )?)
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

fn segments_of_step(config: &Config, draw: &Draw, step: u64) -> Vec<Segment> {
    draw.segments(Purpose::Step(step), |segments, tokens| {
        let batches = config.accumulation_steps;
        match config.batch_tokens {
            Some(enough) => tokens >= enough.saturating_mul(batches),
            None => segments >= config.batch_size.saturating_mul(batches),
        }
    })
}

/// What the steps of a run are like: measured on the first 20.
struct Epoch {
    /// Steps that see as many tokens as the training split has, about.
    steps: u64,
    /// Share of bars that segments lose.
    lost: f64,
    /// Tokens of the largest step.
    tokens: u64,
}

impl Epoch {
    fn measure(config: &Config, music: &Music, draw: &Draw) -> Self {
        let sample = 20;
        let (mut scored, mut asked, mut lost, mut most) = (0, 0, 0, 0);
        for step in 1..=sample {
            let segments = segments_of_step(config, draw, step);
            for segment in &segments {
                // Pieces are counted with nothing merged.
                let learned = &segment.tokens[segment.first..];
                scored += music.encoding.expand(learned).len();
                asked += segment.asked_bars;
                lost += segment.lost_bars;
            }
            most = most.max(segments.iter().map(|segment| segment.tokens.len()).sum());
        }
        let steps = (music.train_tokens() * sample).div_ceil(scored.max(1) as u64);
        Self {
            steps: steps.max(1),
            lost: lost as f64 / asked.max(1) as f64,
            tokens: most as u64,
        }
    }
}
