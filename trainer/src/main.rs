//! `famam-trainer`: a folder of MIDI files to a model that the plugin plays.

use std::error::Error;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use famam_shared::prompts;
use famam_shared::prompts::arguments::quoted;
use famam_trainer::{all, analyze, build, embeddings, evaluate, export, info, menu, train};

/// Trains Famam's models: what MIDI files hold (analyze), MIDI files to a data set (build), a data
/// set to a model (train), a model to a bundle for the plugin (export), how good it is (evaluate),
/// and what a file is (info); or all of it at once (all). Alone, on a terminal, it asks what to do.
///
///   famam-trainer all ~/midi -o mine.onnx
///
/// or step by step
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
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    All(all::Args),
    Analyze(analyze::Args),
    Build(build::command::Args),
    PretrainEmbeddings(embeddings::command::Args),
    Train(train::Args),
    Export(export::Args),
    Evaluate(evaluate::Args),
    Info(info::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Some(command) => ended(run(command)),
        None if prompts::terminal() => asked(),
        None => {
            // As clap does where a command is missing.
            eprintln!("{}", Cli::command().render_help());
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::All(args) => all::run(&args).map_err(Into::into),
        Command::Analyze(args) => analyze::run(&args).map_err(Box::<dyn Error>::from),
        Command::Build(args) => build::command::run(&args).map_err(Box::<dyn Error>::from),
        Command::PretrainEmbeddings(args) => embeddings::command::run(&args).map_err(Into::into),
        Command::Train(args) => train::run(&args).map(drop).map_err(Into::into),
        Command::Export(args) => export::run(&args).map_err(Into::into),
        Command::Evaluate(args) => evaluate::run(&args).map_err(Into::into),
        Command::Info(args) => info::run(&args).map_err(Into::into),
    }
}

fn ended(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("famam-trainer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the user chooses, until they leave.
fn asked() -> ExitCode {
    loop {
        let words = match menu::ask(&Cli::command()) {
            Ok(Some(words)) => words,
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => return ended(Err(error.into())),
        };
        eprintln!("$ famam-trainer {}", quoted(&words));
        let name = "famam-trainer".to_owned();
        match Cli::try_parse_from([vec![name], words].concat()) {
            Ok(Cli {
                command: Some(command),
            }) => {
                let _ = ended(run(command));
            }
            Ok(Cli { command: None }) => {}
            Err(error) => eprintln!("{error}"),
        }
    }
}
