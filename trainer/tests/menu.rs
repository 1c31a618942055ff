//! `famam-trainer` alone, on a terminal, as a person uses it.
#![cfg(unix)]

mod tunes;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rexpect::session::{PtySession, spawn_command};
use tunes::{put, tune};

/// Milliseconds that an answer may take.
const PATIENCE: u64 = 60_000;

fn trainer(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_famam-trainer"));
    command.current_dir(folder).env("TERM", "xterm");
    command
}

/// Waits for a question and types an answer once it is being read: what is typed before, a terminal would edit.
fn answer(terminal: &mut PtySession, question: &str, text: &str) {
    let waited = terminal.exp_string(question);
    assert!(waited.is_ok(), "no {question:?}: {waited:?}");
    std::thread::sleep(Duration::from_millis(500));
    terminal.send(text).unwrap();
    terminal.send("\r").unwrap();
    terminal.flush().unwrap();
}

#[test]
fn what_is_chosen_is_done_as_if_it_had_been_typed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for i in 0..6 {
        put(&here.join("midi"), &format!("{i}.mid"), &tune(i, 8));
    }
    let mut terminal = spawn_command(trainer(here), Some(PATIENCE)).unwrap();
    let next = "What next?";

    // A config: a field is changed, a wrong value is refused by the config's own sentence.
    answer(&mut terminal, next, "new config How to train");
    answer(&mut terminal, "Begin with", "");
    answer(&mut terminal, "The config", "num_layers");
    answer(&mut terminal, "num_layers", "\x7fmany");
    terminal.exp_string("invalid type").unwrap();
    answer(&mut terminal, "num_layers", "\x7f0");
    terminal.exp_string("num_layers is 0").unwrap();
    answer(&mut terminal, "The config", "num_layers");
    answer(&mut terminal, "num_layers", "\x7f3");
    answer(&mut terminal, "The config", "");
    answer(&mut terminal, "Write it to", "");
    terminal.exp_string("written: my_training.json").unwrap();
    let config = famam_trainer::config::training::Config::load(&here.join("my_training.json"));
    assert_eq!(config.unwrap().num_layers, 3);

    // A command: what it needs is asked, an option changed.
    answer(&mut terminal, next, "build Builds a data set");
    answer(&mut terminal, "inputs", "midi");
    answer(&mut terminal, "no more", "");
    answer(&mut terminal, "famam-trainer build", "--output");
    answer(&mut terminal, "--output", "set.h5");
    answer(&mut terminal, "famam-trainer build", "");
    terminal
        .exp_string("$ famam-trainer build --output=set.h5 midi")
        .unwrap();
    terminal.exp_string("written     set.h5").unwrap();

    // What is there is shown.
    answer(&mut terminal, "Here: 1 data set", "show set.h5");
    terminal.exp_string("a data set").unwrap();
    terminal.exp_string("genres").unwrap();
    answer(&mut terminal, next, "quit");
    terminal.exp_eof().unwrap();
}

#[test]
fn without_a_terminal_there_is_the_help() {
    let folder = tempfile::tempdir().unwrap();
    let output = trainer(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let help = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for command in [
        "all", "analyze", "build", "train", "export", "evaluate", "info",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
    }
}

/// `head` closes its end after the first line.
#[test]
fn whoever_reads_may_stop() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for i in 0..4 {
        put(&here.join("midi"), &format!("{i}.mid"), &tune(i, 8));
    }
    let run = |arguments: &[&str]| {
        let mut command = trainer(here);
        command.args(arguments).stdin(Stdio::null());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && !said.contains("panicked"),
            "{arguments:?}: {said}"
        );
    };
    run(&["build", "midi", "-o", "set.h5"]);
    run(&["info", "set.h5"]);
    // What it was asked to write is there all the same.
    run(&["analyze", "midi", "-o", "report.json"]);
    assert!(here.join("report.json").exists());
}
