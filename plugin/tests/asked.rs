//! `famam generate` alone, on a terminal, as a person uses it.
#![cfg(unix)]

use std::process::Command;
use std::time::Duration;

use famam_shared::midi;
use rexpect::session::{PtySession, spawn_command};

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
fn what_is_chosen_is_generated() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_famam"));
    command
        .arg("generate")
        .current_dir(folder.path())
        .env("TERM", "xterm")
        .env("XDG_DATA_HOME", folder.path());
    let mut terminal = spawn_command(command, Some(120_000)).unwrap();
    answer(&mut terminal, "--model", "");
    answer(&mut terminal, "--genre", "jazz");
    answer(&mut terminal, "--instruments", "drums,bass");
    let form = "(Escape leaves)";
    answer(&mut terminal, form, "--bars");
    // clap's own refusal, then another answer.
    answer(&mut terminal, "--bars", "00");
    terminal.exp_string("1600 is not in 1..=1024").unwrap();
    answer(&mut terminal, "--bars", "\x7f\x7f2");
    answer(&mut terminal, form, "--seed");
    answer(&mut terminal, "--seed", "7");
    answer(&mut terminal, form, "");
    terminal
        .exp_string("$ famam generate --genre=jazz --bars=2 --instruments=drums,bass --seed=7")
        .unwrap();
    terminal.exp_string("2 bars").unwrap();
    terminal.exp_string(form).unwrap();
    terminal.send_control('[').unwrap();
    terminal.exp_eof().unwrap();
    let asked = std::fs::read(folder.path().join("famam-7.mid")).unwrap();
    assert!(midi::read(&asked).is_ok());
}
