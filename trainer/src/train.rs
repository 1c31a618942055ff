//! `train`: a data set to checkpoints.
//!
//! A step draws its segments, deals them out in micro-batches to worker threads that each own the
//! gradients of a replica, adds the gradients up in the order of the micro-batches, and updates.
//! So the losses of a run are a function of its config and data set alone: the same with any number
//! of threads, and the same after it was killed and resumed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use famam_shared::encoding::Encoding;

use crate::batches::{Draw, Music, Purpose, Segment};
use crate::checkpoint::{self, BEST, DataSet, LAST, Progress, Record, State};
use crate::config;
use crate::config::training::Config;
use crate::dataset::{self, Dataset};
use crate::embeddings::{self, Embeddings};
use crate::model::Model;
use crate::pretrained::{self, Pretrained};
use crate::{parallel, schedule};

mod curves;
mod log;
mod progress;
mod tensorboard;
mod workers;

use log::Log;
use progress::Display;
pub use workers::Workers;

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
    /// Threads [default: all cores]
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
    #[error("embeddings are for a fresh model, one that is there (--from) has its own: leave one of them out")]
    TwoEmbeddings,
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

/// Runs `famam-trainer train`.
pub fn run(args: &Args) -> Result<(), Error> {
    let mut config = Config::load(&args.config)?;
    for warning in config.warnings() {
        eprintln!("note: {warning}");
    }
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => config::expand(&config.output_dir)?,
    };
    let data_set = Dataset::open(&args.dataset)?;
    for note in data_set.config().without_effect(config.max_seq_length) {
        eprintln!("note: of the data set's config {note}");
    }
    let mut music = Music::read(&data_set)?;
    let mut from = args.from.as_deref().map(Pretrained::open).transpose()?;
    if let Some(model) = &mut from {
        config = config.with_architecture(&model.architecture);
        model.meet(&music.spec, &music.vocabulary)?;
        music
            .adopt(&model.vocabulary)
            .map_err(pretrained::Error::from)?;
    }
    let named = DataSet {
        name: data_set.config().name.clone(),
        path: args.dataset.display().to_string(),
        hash: data_set.hash().to_owned(),
    };
    let stop = stop_on_signal();
    let limit = args.max_minutes.map(minutes);
    let threads = args.threads.unwrap_or_else(parallel::cores).max(1);
    let end = Run::open(config, &music, named, from, &folder, threads)?.train(&stop, limit)?;
    match end {
        End::Steps => eprintln!("done; export {}", folder.join(BEST).display()),
        End::EarlyStop => {
            eprintln!(
                "the validation loss no longer falls; export {}",
                folder.join(BEST).display()
            );
        }
        End::Interrupted => eprintln!("stopped and saved; the same command goes on"),
    }
    Ok(())
}

/// A length of time; what is longer than can be said is as good as for ever.
fn minutes(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(minutes.max(0.0) * 60.0).unwrap_or(Duration::MAX)
}

/// A flag that Ctrl+C (or a request to terminate) sets; a second one ends the process.
pub(crate) fn stop_on_signal() -> std::sync::Arc<AtomicBool> {
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; again to stop at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("note: Ctrl+C will not save ({error})");
    }
    stop
}

/// A run: its model, its optimizer and where it stands.
pub struct Run<'a> {
    state: State,
    folder: PathBuf,
    draw: Draw<'a>,
    validation: Vec<Segment>,
    encoding: &'a dyn Encoding,
    workers: Workers,
    log: Log,
    steps: u64,
    validation_every: u64,
    sample_every: Option<u64>,
}

impl<'a> Run<'a> {
    /// Begins a run, or goes on with the one in `folder`.
    pub fn open(
        config: Config,
        music: &'a Music,
        data_set: DataSet,
        from: Option<Pretrained>,
        folder: &Path,
        threads: usize,
    ) -> Result<Self, Error> {
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
        let (epoch, lost) = steps_of_an_epoch(&config, music, &draw);
        if lost > 0.0 {
            eprintln!(
                "note: {:.1} % of the bars that segments were to have are left out at their ends, as they would be \
                 longer than max_seq_length, {} tokens",
                100.0 * lost,
                config.max_seq_length
            );
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
            let model = stored.model().map_err(|error| wrong(error.to_string()))?;
            let model = model.with_precision(config.precision);
            let mut workers = Workers::new(model, &config, threads);
            workers
                .restore(&mut stored.tensors)
                .and_then(|()| workers.continue_embeddings(&state.config, &mut stored.tensors))
                .map_err(|name| wrong(format!("{name} is missing or has another shape")))?;
            eprintln!("going on at step {} of {steps}", state.progress.step);
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
                    (from.model()?, Some(origin), music.bands().or(bands))
                }
                None => {
                    let architecture = config.architecture(music.encoding.vocabulary_size());
                    let model = Model::new(&architecture, config.random_seed, tch::Device::Cpu);
                    (model, None, music.bands())
                }
            };
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
            let model = model.with_precision(config.precision);
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
        Ok(Self {
            log: Log::open(&state, folder),
            sample_every: state
                .config
                .sample_every_epochs
                .map(|epochs| epochs.saturating_mul(epoch)),
            state,
            folder: folder.to_owned(),
            draw,
            validation,
            encoding: &*music.encoding,
            workers,
            steps,
            validation_every,
        })
    }

    /// Where the run stands.
    pub fn progress(&self) -> &Progress {
        &self.state.progress
    }

    /// Trains until the end, `stop`, or `limit`.
    pub fn train(&mut self, stop: &AtomicBool, limit: Option<Duration>) -> Result<End, Error> {
        let begin = Instant::now();
        let mut saved = Instant::now();
        let every = minutes(self.state.config.checkpoint_minutes);
        let mut display = Display::new(&self.state, self.steps);
        if self.state.from.is_some() && self.state.progress.history.is_empty() {
            // What fine-tuning has to beat.
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
            if stop.load(Ordering::Relaxed) || limit.is_some_and(|limit| begin.elapsed() >= limit) {
                break End::Interrupted;
            }
            self.step(&mut display)?;
            let step = self.state.progress.step;
            if self
                .sample_every
                .is_some_and(|every| step.is_multiple_of(every))
            {
                self.log.sample(&self.state, self.workers.model());
            }
            // A step that was skipped changed nothing: what is validated is the last good model.
            if step.is_multiple_of(self.validation_every) || step == self.steps {
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

    fn step(&mut self, display: &mut Display) -> Result<(), Error> {
        let begin = Instant::now();
        let State {
            config, progress, ..
        } = &mut self.state;
        let number = progress.step + 1;
        let segments = segments_of_step(config, &self.draw, number);
        let rate = schedule::learning_rate(config, number, self.steps);
        let tokens: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
        let loss = self.workers.step(config, &segments, number, rate);
        progress.step = number;
        progress.tokens += tokens as u64;
        progress.seconds += begin.elapsed().as_secs_f64();
        match loss {
            Some(loss) => {
                progress.loss_sum += loss;
                progress.loss_count += 1;
                progress.skipped_in_a_row = 0;
                let speed = tokens as f64 / begin.elapsed().as_secs_f64().max(1e-9);
                self.log.step(number, loss, rate, speed);
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
        Ok(())
    }

    fn validate(&mut self, display: &mut Display) -> Result<(), Error> {
        let begin = Instant::now();
        let evaluation = self
            .workers
            .evaluate(&self.state.config, &self.validation, self.encoding);
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
        self.log.validation(&progress.history);
        if best {
            self.save(BEST)?;
        }
        self.save(LAST)
    }

    fn save(&self, name: &str) -> Result<(), Error> {
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

/// Steps that see as many tokens as the training split has, about, and the share of bars that
/// segments lose: measured on the first 20.
fn steps_of_an_epoch(config: &Config, music: &Music, draw: &Draw) -> (u64, f64) {
    let sample = 20;
    let (mut tokens, mut asked, mut lost) = (0, 0, 0);
    for segment in (1..=sample).flat_map(|step| segments_of_step(config, draw, step)) {
        tokens += segment.scored();
        asked += segment.asked_bars;
        lost += segment.lost_bars;
    }
    let steps = (music.train_tokens() * sample).div_ceil(tokens.max(1) as u64);
    (steps.max(1), lost as f64 / asked.max(1) as f64)
}
