//! `famam-trainer`: a folder of MIDI files to a model that the plugin plays.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand};
use famam_trainer::config::dataset::Config;
use famam_trainer::{build, train};

/// Trains Famam's models: MIDI files to a data set (build), a data set to a model (train), a model
/// to a bundle for the plugin (export), and how good it is (evaluate).
///
///   famam-trainer build ~/midi -o mine.h5
///   famam-trainer train configs/model_training/default.json --dataset mine.h5 --output run
///   famam-trainer export run/best -o mine.onnx --int8
///   famam-trainer evaluate mine.onnx --dataset mine.h5
///
/// Then open mine.onnx in the plugin.
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(BuildArgs),
    Train(train::Args),
}

/// Builds a data set (one HDF5 file) from folders of MIDI files.
///
///   famam-trainer build CONFIG.json             what the config says
///   famam-trainer build DIR... -o FILE.h5       every .mid, .midi and .kar below, with defaults
///   famam-trainer build CONFIG.json DIR...      the config, with other input folders
///
/// A config is Famam's MusicDatasetConfig as JSON; its fields and ours are in docs/formats.md, and
/// examples in configs/music_dataset. Genres come from genre.tsv in an input folder (a line for
/// each file: path, tab, genre), from the config's genre_tsv_path, or with "genre_from": "folder"
/// from the names of the folders. Songs are split into train, validation and test; files of one
/// song stay together: by song.tsv (path, tab, song) where there is one, else by folder, name and
/// content.
///
/// Files that cannot be read are named, counted and left out. No file is ever changed. The data
/// set appears when it is whole; Ctrl+C leaves nothing behind. The same files and config give the
/// same bytes.
#[derive(Args)]
#[command(verbatim_doc_comment)]
struct BuildArgs {
    /// A config (.json), folders of MIDI files, or a config and folders in place of its own.
    #[arg(required = true, value_name = "CONFIG.json | DIR")]
    inputs: Vec<PathBuf>,
    /// The data set to write, in place of the config's output_path.
    #[arg(short, long, value_name = "FILE.h5")]
    output: Option<PathBuf>,
    /// Threads that read and encode; as many as the machine has where it is not said.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What `build DIR…` does where no config says otherwise.
const DEFAULT_CONFIG: &str = include_str!("../../configs/music_dataset/default.json");

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Build(args) => run_build(args),
        Command::Train(args) => train::run(&args).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("famam-trainer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_build(args: BuildArgs) -> Result<(), Box<dyn std::error::Error>> {
    let is_config = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let config = args.inputs.first().filter(is_config);
    let mut inputs = args.inputs.iter().skip(usize::from(config.is_some())).peekable();
    let mut config = match config {
        Some(path) => Config::read(path)?,
        None => serde_json::from_str(DEFAULT_CONFIG)?,
    };
    if inputs.peek().is_some() {
        config.input_dirs = inputs.map(|path| path.display().to_string()).collect();
    }
    if let Some(output) = args.output {
        config.output_path = output.display().to_string();
    }
    let threads = args.threads.map_or_else(std::thread::available_parallelism, |threads| {
        std::num::NonZero::new(threads).ok_or_else(|| std::io::Error::other("--threads is 0"))
    })?;
    let stop = stopped_by_ctrl_c()?;
    let summary = build::build(&config, threads.get(), &stop)?;
    if config.verbose {
        println!("{summary}\nwritten     {}", config.output_path);
    }
    Ok(())
}

/// A flag that Ctrl+C sets.
fn stopped_by_ctrl_c() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
    Ok(stop)
}
