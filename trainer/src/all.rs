//! `all`: a folder of MIDI files to a bundle that plays, in one command.
//!
//! Each step is the command of its name with a config that was chosen for the data and the machine ([`choose`]);
//! what was chosen stands in a folder beside the bundle, so that each can be repeated and changed
//! by hand. What is there already is not made again: so a run that was stopped goes on.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Parser;
use famam_shared::prompts::arguments::quoted;
use famam_shared::write_file;

use crate::batches::Music;
use crate::checkpoint::LAST;
use crate::config::{dataset, training};
use crate::dataset::Dataset;
use crate::train::{End, forecast};
use crate::{analyze, build, device, export, memory, parallel, train};

mod choose;
mod samples;

/// Trains a model on a folder of MIDI files, from nothing to a bundle, in one command.
///
///   famam-trainer all ~/midi -o mine.onnx
///
/// Looks at the files, builds a data set, trains with settings chosen for the music and the machine, exports the
/// model and writes what it plays to mine-1.mid and so on. All else goes to the folder mine-training/: configs,
/// data set, a page of plots (analysis.html) and the run. It tells what it chose and why, how long it will take,
/// and which commands do the same step by step. Stopped with Ctrl+C (or killed), it goes on when the same command
/// is given again; the configs may be changed in between.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Folders of MIDI files, glob patterns in quotes, or lists of files (.txt, a path a line)
    #[arg(required = true, value_name = "DIR | PATTERN | LIST.txt")]
    pub inputs: Vec<PathBuf>,
    /// The bundle to write
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: PathBuf,
    /// Passes over the music [default: by how much there is]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// MIDI files that the model writes at the end
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub samples: usize,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
    /// Stops training after so many minutes, to go on another time
    #[arg(long, value_name = "M")]
    pub max_minutes: Option<f64>,
}

/// Why there is no bundle. What was made by then is kept, and the same command goes on with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Looking at the files.
    #[error(transparent)]
    Analyze(#[from] analyze::Error),
    /// Building the data set.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The data set's config.
    #[error(transparent)]
    DatasetConfig(#[from] dataset::Error),
    /// Reading the data set.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::Error),
    /// The training config.
    #[error(transparent)]
    TrainingConfig(#[from] training::Error),
    /// The GPU.
    #[error(transparent)]
    Device(#[from] device::Error),
    /// Training.
    #[error(transparent)]
    Train(#[from] train::Error),
    /// Exporting.
    #[error(transparent)]
    Export(#[from] export::Error),
    /// A sample.
    #[error(transparent)]
    Sample(#[from] samples::Error),
    /// A config or a report cannot be written.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
    /// The folder cannot be made.
    #[error("making the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The output is named as no bundle is.
    #[error("the bundle {0} must end in .onnx: the plugin looks for such files")]
    Ending(String),
    /// Another music was begun with.
    #[error(
        "{folder} was begun with other music ({music}): name another output by -o, or remove that folder to begin \
         anew"
    )]
    OtherMusic {
        /// The folder beside the bundle.
        folder: String,
        /// The inputs that it was begun with.
        music: String,
    },
    /// A step cannot be told what to do.
    #[error("{0}")]
    Arguments(#[from] clap::Error),
}

/// Where everything lies.
struct Places {
    folder: PathBuf,
    dataset_config: PathBuf,
    dataset: PathBuf,
    training_config: PathBuf,
    run: PathBuf,
    /// The bundle without its ending.
    stem: PathBuf,
}

impl Places {
    fn new(output: &Path) -> Result<Self, Error> {
        if output.extension().is_none_or(|ending| ending != "onnx") {
            return Err(Error::Ending(output.display().to_string()));
        }
        let stem = output.with_extension("");
        let folder = PathBuf::from(format!("{}-training", stem.display()));
        fs::create_dir_all(&folder).map_err(|source| Error::Folder {
            path: folder.display().to_string(),
            source,
        })?;
        Ok(Self {
            dataset_config: folder.join("dataset.json"),
            dataset: folder.join("dataset.h5"),
            training_config: folder.join("training.json"),
            run: folder.join("run"),
            folder,
            stem,
        })
    }

    /// The model's name: that of its file.
    fn name(&self) -> String {
        let name = self.stem.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// Runs `famam-trainer all`.
pub fn run(args: &Args) -> Result<(), Error> {
    let places = Places::new(&args.output)?;
    let threads = args.threads.map_or_else(parallel::cores, NonZero::get);
    data_set(args, &places, threads)?;
    training_config(args, &places, threads)?;

    let mut words = vec![
        name(&places.training_config),
        format!("--dataset={}", places.dataset.display()),
        format!("--output={}", places.run.display()),
    ];
    words.extend(args.threads.map(|threads| format!("--threads={threads}")));
    let typed = words.clone();
    words.extend(
        args.max_minutes
            .map(|minutes| format!("--max-minutes={minutes}")),
    );
    step("3 of 5: training", "train", &typed);
    if train::run(&arguments(&words)?)? == End::Interrupted {
        eprintln!("stopped; the same command goes on here");
        return Ok(());
    }
    bundle(args, &places)?;
    if args.samples > 0 {
        step("5 of 5: what it plays", "", &[]);
        samples::write(&args.output, &places.stem, args.samples, threads)?;
    }
    eprintln!(
        "\ndone: {} is for the plugin (click the model's name there); `famam generate --model {}` plays more",
        args.output.display(),
        quoted(&[name(&args.output)])
    );
    Ok(())
}

/// Sees to it that the data set is there.
fn data_set(args: &Args, places: &Places, threads: usize) -> Result<(), Error> {
    let inputs: Vec<String> = args.inputs.iter().map(|input| absolute(input)).collect();
    if places.dataset_config.exists() {
        let begun = dataset::Config::read(&places.dataset_config)?;
        if begun.input_dirs != inputs {
            return Err(Error::OtherMusic {
                folder: places.folder.display().to_string(),
                music: begun.input_dirs.join(", "),
            });
        }
        eprintln!("going on in {}", places.folder.display());
    } else {
        step("1 of 5: looking at the music", "analyze", &inputs);
        let report = analyze::analyze(&args.inputs, None, threads)?;
        let [json, page] = ["analysis.json", "analysis.html"].map(|name| places.folder.join(name));
        analyze::write(&report, Some(&json), Some(&page))?;
        eprintln!("  {}", choose::music(&report));
        let chosen = choose::data_set(&report);
        eprintln!("  {}", chosen.why);
        let mut config = chosen.config;
        config.insert("name".to_owned(), places.name().into());
        config.insert("input_dirs".to_owned(), inputs.into());
        config.insert("output_path".to_owned(), absolute(&places.dataset).into());
        put(&places.dataset_config, &config)?;
    }
    if !places.dataset.exists() {
        let mut words = vec![name(&places.dataset_config)];
        step("2 of 5: building the data set", "build", &words);
        words.extend(args.threads.map(|threads| format!("--threads={threads}")));
        build::command::run(&arguments(&words)?)?;
    }
    Ok(())
}

/// Sees to it that the training config is there, and says what is ahead.
fn training_config(args: &Args, places: &Places, threads: usize) -> Result<(), Error> {
    let path = &places.training_config;
    if path.exists() {
        if let Some(epochs) = args.epochs {
            let mut config = choose::fields(&training::Config::load(path)?);
            config.insert("epochs".to_owned(), epochs.into());
            put(path, &config)?;
        }
        if places.run.join(LAST).exists() {
            return Ok(());
        }
    }
    let music = Music::read(&Dataset::open(&places.dataset)?)?;
    let machine = device::Choice::default().open(threads, 0)?;
    // A GPU's own is not known before it is full: training says then what would fit.
    let memory = memory::available().filter(|_| machine.device == tch::Device::Cpu);
    let memory = memory.map_or(u64::MAX, |free| free / 10 * 8);
    let foresee = |config: &training::Config| forecast(config, &music, machine, memory);
    if path.exists() {
        eprintln!(
            "  {}",
            choose::ahead(&foresee(&training::Config::load(path)?), threads)
        );
        return Ok(());
    }
    let context = choose::context(&places.folder.join("analysis.json"));
    let chosen = choose::training(
        &choose::Ground {
            name: places.name(),
            tokens: music.train_tokens(),
            context,
            epochs: args.epochs,
            threads,
            memory,
        },
        foresee,
    )?;
    eprintln!();
    for line in &chosen.why {
        eprintln!("  {line}");
    }
    put(path, &chosen.config)
}

/// Writes the bundle: in 8 bits where the model bears it.
fn bundle(args: &Args, places: &Places) -> Result<(), Error> {
    let mut words = vec![
        name(&places.run),
        format!("--output={}", args.output.display()),
    ];
    words.extend(args.threads.map(|threads| format!("--threads={threads}")));
    let exact = words.clone();
    words.push("--int8".to_owned());
    step("4 of 5: writing the bundle", "export", &words);
    match export::run(&arguments(&words)?) {
        Err(error @ export::Error::Loses { .. }) => {
            step(&format!("{error}: in 32 bits, then"), "export", &exact);
            export::run(&arguments(&exact)?)?;
        }
        result => result?,
    }
    Ok(())
}

/// A heading, and the command that does the same by itself.
fn step(title: &str, command: &str, words: &[String]) {
    eprintln!("\n{title}");
    if !command.is_empty() {
        eprintln!("  $ famam-trainer {command} {}", quoted(words));
    }
}

/// What a command makes of its arguments.
fn arguments<A: clap::Args>(words: &[String]) -> Result<A, clap::Error> {
    #[derive(Parser)]
    #[command(no_binary_name = true)]
    struct Line<A: clap::Args> {
        #[command(flatten)]
        args: A,
    }
    Line::try_parse_from(words).map(|line| line.args)
}

fn put(path: &Path, config: &serde_json::Map<String, serde_json::Value>) -> Result<(), Error> {
    let text = format!("{:#}\n", serde_json::json!(config));
    Ok(write_file::write(path, text.as_bytes())?)
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// A path that means the same wherever it is read; what a config replaces in it stays.
fn absolute(path: &Path) -> String {
    let name = name(path);
    if name.starts_with(['~', '$']) {
        return name;
    }
    std::path::absolute(path).map_or(name, |path| path.display().to_string())
}
