//! The program, run as a user does, and what is read from the files that it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use famam_shared::midi;
use famam_shared::score::{Note, Score};

pub const BAR: u32 = 3840;

/// Runs it; single quotes keep words together.
pub fn famam(folder: &Path, arguments: &str) -> Output {
    let mut words = Vec::new();
    for (i, part) in arguments.split('\'').enumerate() {
        match i % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    Command::new(env!("CARGO_BIN_EXE_famam"))
        .arg("generate")
        .args(words)
        .current_dir(folder)
        .env("XDG_DATA_HOME", folder.join("data"))
        .env("APPDATA", folder.join("data"))
        .output()
        .unwrap()
}

pub fn said(folder: &Path, arguments: &str) -> String {
    let output = famam(folder, arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What is written for these arguments.
pub fn score(folder: &Path, arguments: &str) -> Score {
    said(folder, &format!("{arguments} --seed 5 -o song.mid"));
    midi::read(&std::fs::read(folder.join("song.mid")).unwrap()).unwrap()
}

pub fn players(score: &Score) -> BTreeSet<u8> {
    score
        .tracks
        .iter()
        .map(|track| track.instrument.index())
        .collect()
}

pub fn notes(score: &Score, by: u8) -> Vec<Note> {
    let tracks = score
        .tracks
        .iter()
        .filter(|track| track.instrument.index() == by);
    tracks
        .flat_map(|track| track.notes.iter().copied())
        .collect()
}

pub fn pitched(score: &Score) -> impl Iterator<Item = &Note> {
    let tracks = score
        .tracks
        .iter()
        .filter(|track| !track.instrument.is_drums());
    tracks.flat_map(|track| &track.notes)
}

/// Notes by cell.
pub fn cells(score: &Score) -> BTreeMap<(u32, u8), Vec<Note>> {
    let mut cells: BTreeMap<(u32, u8), Vec<Note>> = BTreeMap::new();
    for track in &score.tracks {
        for note in &track.notes {
            let cell = (note.start.0 / BAR, track.instrument.index());
            cells.entry(cell).or_default().push(*note);
        }
    }
    cells
}
