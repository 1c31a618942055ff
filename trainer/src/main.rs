//! `famam-trainer`: a folder of MIDI files to a model that the plugin plays.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use famam_trainer::{analyze, build, embeddings, evaluate, export, info, train};

/// Trains Famam's models: what MIDI files hold (analyze), MIDI files to a data set (build), a data
/// set to a model (train), a model to a bundle for the plugin (export), how good it is (evaluate),
/// and what a file is (info).
///
///   famam-trainer analyze ~/midi
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
    Analyze(analyze::Args),
    Build(build::command::Args),
    PretrainEmbeddings(embeddings::command::Args),
    Train(train::Args),
    Export(export::Args),
    Evaluate(evaluate::Args),
    Info(info::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Analyze(args) => analyze::run(&args).map_err(Box::<dyn Error>::from),
        Command::Build(args) => build::command::run(&args).map_err(Box::<dyn Error>::from),
        Command::PretrainEmbeddings(args) => embeddings::command::run(&args).map_err(Into::into),
        Command::Train(args) => train::run(&args).map_err(Into::into),
        Command::Export(args) => export::run(&args).map_err(Into::into),
        Command::Evaluate(args) => evaluate::run(&args).map_err(Into::into),
        Command::Info(args) => info::run(&args).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("famam-trainer: {error}");
            ExitCode::FAILURE
        }
    }
}
