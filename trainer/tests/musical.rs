//! `evaluate --musical` from MIDI files to figures, with the default model.

mod music;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use famam_shared::midi;
use famam_shared::score::Score;
use music::song;
use serde_json::Value;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/famam.onnx");
const SONGS: u64 = 6;

/// A folder of songs of two genres.
fn songs(folder: &Path) {
    let mut genres = String::new();
    for i in 0..SONGS {
        let name = format!("{i}.mid");
        midi::write_file(folder.join(&name), &song(i, 12, 12)).unwrap();
        genres += &format!("{name}\t{}\n", ["funk", "waltz"][i as usize % 2]);
    }
    std::fs::write(folder.join("genre.tsv"), genres).unwrap();
}

fn evaluate(folder: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_famam-trainer"))
        .current_dir(folder)
        .args([&["evaluate", MODEL, "midi"], options].concat())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn a_generated_piece_for_each_segment_is_compared_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("midi")).unwrap();
    songs(&folder.join("midi"));
    let figures = |threads: &str, keep: &str| -> Value {
        let options = [
            "--musical",
            "--bars",
            "2",
            "--training",
            "midi",
            "--json",
            "figures.json",
            "--threads",
            threads,
            "--keep",
            keep,
            "--seed",
            "7",
        ];
        let output = evaluate(folder, &options);
        assert!(output.status.success(), "{}", said(&output));
        for words in ["groove consistency", "Longest run of notes", "waltz"] {
            assert!(said(&output).contains(words), "{words}: {}", said(&output));
        }
        let json = std::fs::read(folder.join("figures.json")).unwrap();
        serde_json::from_slice(&json).unwrap()
    };
    let one = figures("1", "kept");
    assert_eq!(one["pieces"], SONGS);
    assert_eq!(one["bars"], 2);
    // The same seeds, the same pieces, however many threads.
    assert_eq!(one, figures("2", "again"));

    let mut genres = BTreeSet::new();
    for (i, file) in sorted(&folder.join("kept")).into_iter().enumerate() {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with(&format!("{:04}-", 7 + i)), "{name}");
        genres.insert(name[5..].to_owned());
        let score = midi::read_file(&file).unwrap();
        assert!(score.bars().count() <= 2, "{name}");
        let asked = [128, 33, 0];
        let played = |score: &Score| {
            let mut tracks = score.tracks.iter();
            tracks.all(|track| asked.contains(&track.instrument.index()))
        };
        assert!(played(&score), "{name}");
    }
    assert_eq!(genres, ["funk.mid", "waltz.mid"].map(str::to_owned).into());

    // All of a segment stands in the training music, which is the same here.
    let runs = |of: &str| one["training"][of]["median"].as_u64().unwrap();
    assert!(runs("real_runs") > 4, "{one}");
    assert!(runs("generated_runs") < runs("real_runs"), "{one}");
    assert_eq!(one["training"]["pieces"], SONGS);
    assert_eq!(
        one["training"]["genres"]["genres"]["waltz"]["pieces"],
        SONGS / 2
    );

    // The real songs' figures are what they are whatever is generated.
    let empty = &one["figures"].as_array().unwrap().iter();
    let empty = empty.clone().find(|figure| figure["name"] == "empty bars");
    assert_eq!(empty.unwrap()["real"]["mean"], 0.0);
}

fn sorted(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("midi")).unwrap();
    songs(&folder.join("midi"));
    for (options, words) in [
        (&["--bars", "2"][..], "--musical"),
        (&["--musical", "--bars", "65"], "1..=64"),
        (
            &[
                "--musical",
                "--limit",
                "1",
                "--bars",
                "1",
                "--training",
                "nowhere",
            ],
            "nowhere",
        ),
    ] {
        let output = evaluate(folder, options);
        assert!(!output.status.success());
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    let output = Command::new(env!("CARGO_BIN_EXE_famam-trainer"))
        .current_dir(folder)
        .args(["evaluate", "run", "midi", "--musical"])
        .output()
        .unwrap();
    assert!(said(&output).contains("export"), "{}", said(&output));
}
