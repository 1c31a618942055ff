//! Sections, styles and sets.

use std::collections::{BTreeMap, BTreeSet};

use famam_shared::bundle::Bundle;
use famam_shared::manifest::Manifest;
use famam_shared::midi;
use famam_shared::score::{Note, Ticks};
use famam_shared::theory::Scale;

use crate::known::write_known;
use crate::program::*;

#[test]
fn a_section_that_comes_again_is_alike_and_not_equal() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let section = |cells: &BTreeMap<(u32, u8), Vec<Note>>, number: u32| {
        let own = cells.iter().filter(|((bar, _), _)| bar / 4 == number);
        let moved = own.map(|(&(bar, by), notes)| {
            let notes = notes
                .iter()
                .map(|note| (note.start.0 - number * 4 * BAR, note.pitch));
            ((bar % 4, by), notes.collect::<Vec<_>>())
        });
        moved.collect::<BTreeMap<_, _>>()
    };
    let score = score(
        here,
        "--genre rock --top-instruments 3 --sections ABAB --section-bars 4 --chords drawn",
    );
    assert_eq!(score.end, Ticks(16 * BAR));
    let cells = cells(&score);
    let [a, b, again] = [0, 1, 2].map(|number| section(&cells, number));
    assert_ne!(a, b);
    assert_ne!(a, again);
    // What is anew: the last bar and one track.
    let kept = a.iter().filter(|((bar, _), _)| *bar < 3);
    let same = |(cell, notes): &(&(u32, u8), &Vec<_>)| again.get(*cell) == Some(*notes);
    assert!(kept.clone().filter(same).count() >= kept.count() / 2);
    // One progression for each letter.
    let told = said(
        here,
        "--sections ABAB --section-bars 4 --chords drawn --seed 2 --tracks 33 -o x.mid",
    );
    let line = told.lines().next().unwrap();
    let chords: Vec<&str> = line.rsplit(", ").next().unwrap().split(' ').collect();
    assert_eq!(chords.len(), 16, "{line}");
    assert_eq!(chords[..8], chords[8..], "{line}");
}

#[test]
fn styles_are_presets_and_the_users_own_are_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let three = score(here, "--style melody,chords,bass --bars 4");
    assert_eq!(three.tracks.len(), 3);
    let told = said(
        here,
        "--style melody,bass --bars 1 --key 'A minor' --seed 1 -o x.mid",
    );
    assert!(
        told.contains(", A minor, "),
        "the chords that were drawn: {told}"
    );
    let other = said(here, "--style melody,bass --bars 1 --seed 1 -o x.mid");
    let again = said(here, "--style melody,bass --bars 1 --seed 2 -o x.mid");
    let key = |told: &str| told.split(", ").nth(2).map(str::to_owned);
    assert_ne!(key(&other), key(&again), "keys are drawn");
    let styles = r#"{"version": 1, "styles": {"night": {"tracks": "4; 32 pitch=28-50", "tempo": 80, "key": "D dorian"}}}"#;
    std::fs::write(here.join("mine.json"), styles).unwrap();
    let night = score(here, "--styles mine.json --style night --bars 3");
    assert!(players(&night).is_subset(&BTreeSet::from([4, 32])));
    assert_eq!(night.tempos[0].micros_per_quarter, 750_000);
    let tones = "D dorian".parse::<Scale>().unwrap().tones();
    assert!(pitched(&night).all(|note| tones.contains(note.pitch)));
    // What is said beside it decides.
    let fast = score(
        here,
        "--styles mine.json --style night --bars 1 --tempo 160",
    );
    assert_eq!(fast.tempos[0].micros_per_quarter, 375_000);
    // The same file where Famam looks for it.
    let data = here.join(if cfg!(target_os = "macos") {
        "none"
    } else {
        "data/famam"
    });
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("styles.json"), styles).unwrap();
    if cfg!(not(target_os = "macos")) {
        assert_eq!(score(here, "--style night --bars 3"), night);
    }
}

#[test]
fn sets_are_in_folders_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let told = said(
        here,
        "--all-keys --variations 2 --bars 1 --instruments piano --seed 3 --output-dir out",
    );
    assert!(told.contains("48 files in 24 folders under out"), "{told}");
    for key in ["A minor", "C major", "F# major", "G# minor"] {
        let tones = key.parse::<Scale>().unwrap().tones();
        for seed in [3, 4] {
            let file = here.join(format!("out/key/{key}/famam-{seed}.mid"));
            let score = midi::read(&std::fs::read(file).unwrap()).unwrap();
            assert!(
                pitched(&score).all(|note| tones.contains(note.pitch)),
                "{key}"
            );
        }
    }
    // Chords of each key: those that a file plays, those that are written, numerals.
    write_known(here);
    for (asked, minor, major) in [
        ("--continue mine.mid --chords from", "Am F C G", "F#m D A E"),
        (
            "--instruments piano --chords 'Am F C G'",
            "Am F C G",
            "F#m D A E",
        ),
        ("--instruments piano --chords 'ii V'", "Bm E", "Bm E"),
    ] {
        let request = "--all-keys --bars 1 --seed 3 --output-dir out";
        let told = said(here, &format!("{request} {asked}"));
        for (key, chords) in [("A minor", minor), ("A major", major)] {
            let line = told.lines().find(|line| line.contains(&format!("{key},")));
            let of = line.and_then(|line| line.rsplit(", ").next());
            assert_eq!(of, Some(chords), "{asked} {key}");
        }
    }
    let Manifest {
        vocabulary, bands, ..
    } = Bundle::read(include_bytes!("../../../models/famam.onnx"))
        .unwrap()
        .manifest;
    said(
        here,
        "--all-genres --top-instruments 3 -n 1 --bars 1 --seed 3 --output-dir out",
    );
    for (number, genre) in (0..).zip(&vocabulary.genres).skip(1) {
        let file = here.join(format!("out/genre/{genre}/famam-3.mid"));
        let score = midi::read(&std::fs::read(file).unwrap()).unwrap();
        let band = bands.top(number, 3);
        assert!(
            score
                .tracks
                .iter()
                .all(|track| band.contains(track.instrument)),
            "{genre}"
        );
    }
}
