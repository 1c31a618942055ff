//! `famam`: the plugin as a program of its own, and `famam generate …`, which writes MIDI files
//! without a window.

mod generate;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if arguments.get(1).is_some_and(|first| first == "generate") {
        // `famam generate` is the name of the program that these arguments are for.
        let options = generate::Options::parse_from(&arguments[1..]);
        return match generate::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("famam: {error}");
                ExitCode::FAILURE
            }
        };
    }
    standalone(arguments)
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
