//! `famam`: the plugin as a program of its own, and `famam generate …`, which writes MIDI files
//! without a window; alone, on a terminal, it asks what for.

mod generate;

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;
use famam_shared::prompts;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if arguments.get(1).is_some_and(|first| first == "generate") {
        if arguments.len() == 2 && prompts::terminal() {
            return ended(generate::asked());
        }
        // `famam generate` is the name of the program that these arguments are for.
        let options = generate::Options::parse_from(&arguments[1..]);
        return ended(generate::run(&options));
    }
    standalone(arguments)
}

fn ended(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("famam: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "standalone")]
fn standalone(arguments: Vec<String>) -> ExitCode {
    use famam_plugin::{Famam, params};

    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("famam generate --help tells how to write MIDI files without a window.\n");
    }
    // What is behind it expects the parts to choose their sounds.
    params::SEND_PROGRAMS.store(true, std::sync::atomic::Ordering::Relaxed);
    let ended = nih_plug::prelude::nice_export_standalone_with_args::<Famam, _>(arguments);
    if ended {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(not(feature = "standalone"))]
fn standalone(_: Vec<String>) -> ExitCode {
    eprintln!("famam: this build has no window; famam generate --help tells what it can do");
    ExitCode::FAILURE
}
