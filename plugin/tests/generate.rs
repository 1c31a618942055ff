//! `famam generate`, run as a user does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use famam_shared::instrument::{Group, Instrument};
use famam_shared::midi;
use famam_shared::score::Score;

const BAR: u32 = 3840;

fn famam(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_famam"))
        .arg("generate")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap()
}

/// What it says where all goes well.
fn said(folder: &Path, arguments: &str) -> String {
    let output = famam(folder, arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn instruments(score: &Score) -> BTreeSet<u8> {
    let tracks = score.tracks.iter().filter(|track| !track.notes.is_empty());
    tracks.map(|track| track.instrument.index()).collect()
}

/// The bars in which notes begin are the first `bars`, and the piece ends no sooner.
fn check_bars(score: &Score, bars: u32) {
    let starts = score.tracks.iter().flat_map(|track| &track.notes);
    assert!(starts.clone().count() > 0, "no music");
    assert!(starts.clone().all(|note| note.start.0 < bars * BAR));
    assert!(score.end.0 >= bars * BAR || score.bars().count() >= bars as usize);
}

#[test]
fn one_request_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["a", "b"] {
        let arguments = format!("--genre rock --bars 4 --seed 7 --tempo 90 -o {name}.mid");
        let told = said(here, &arguments);
        assert!(
            told.contains("rock, seed 7") && told.contains("4 bars"),
            "{told}"
        );
    }
    let [a, b] = ["a.mid", "b.mid"].map(|name| std::fs::read(here.join(name)).unwrap());
    assert!(a == b, "one request, two pieces");
    let score = midi::read(&a).unwrap();
    check_bars(&score, 4);
    assert_eq!(score.tempos[0].micros_per_quarter, 666_667);
    said(here, "--genre rock --bars 4 --seed 8 --tempo 90 -o c.mid");
    assert!(
        a != std::fs::read(here.join("c.mid")).unwrap(),
        "two seeds, one piece"
    );
}

#[test]
fn guidance_of_1_changes_nothing_and_more_of_it_the_notes() {
    let folder = tempfile::tempdir().unwrap();
    let piece = |guidance: &str| {
        let request = "--genre rock --bars 2 --seed 7 -o piece.mid";
        said(folder.path(), &format!("{request} {guidance}"));
        std::fs::read(folder.path().join("piece.mid")).unwrap()
    };
    let plain = piece("");
    assert!(piece("--guidance 1") == plain);
    assert!(piece("--guidance 3") != plain);
}

#[test]
fn several_files_with_the_instruments_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let what = "--bars 2 --instruments drums,33,keys --temperature 1";
    said(
        here,
        &format!("{what} --seed 3 -n 2 --output-dir made/here --prefix x"),
    );
    let read = |name: &str| std::fs::read(here.join(name)).unwrap();
    let files = std::fs::read_dir(here.join("made/here")).unwrap();
    assert_eq!(files.count(), 2);
    let [first, second] = ["made/here/x-3.mid", "made/here/x-4.mid"].map(read);
    assert!(first != second);
    for file in [&first, &second] {
        let score = midi::read(file).unwrap();
        check_bars(&score, 2);
        // One of the keys, which the model chooses.
        let keys = |&index: &u8| Instrument::new(index).is_some_and(|i| i.group() == Group::Keys);
        let (keys, others): (BTreeSet<u8>, BTreeSet<u8>) =
            instruments(&score).into_iter().partition(keys);
        assert!(keys.len() <= 1, "{keys:?}");
        assert!(others.is_subset(&BTreeSet::from([33, 128])), "{others:?}");
    }
    // The second of two is the first of its own seed.
    said(here, &format!("{what} --seed 4 -o alone.mid"));
    assert!(second == read("alone.mid"));
}

#[test]
fn tokens_end_a_piece_with_their_bar() {
    let folder = tempfile::tempdir().unwrap();
    let told = said(
        folder.path(),
        "--bars 8 --seed 1 --max-tokens 1 -o short.mid",
    );
    assert!(told.contains(" 1 bars"), "{told}");
}

#[test]
fn what_cannot_be_is_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("broken.onnx"), "no model").unwrap();
    for (arguments, words) in [
        ("--genre zydeco", "knows no genre \"zydeco\"; it knows any"),
        ("--model missing.onnx", "missing.onnx"),
        ("--model broken.onnx", "cannot use the model broken.onnx"),
        ("--instruments drums,kazoo", "kazoo"),
        ("--bars 0", "--bars"),
        ("--tempo fast", "--tempo"),
        ("--top-p=-1", "--top-p"),
    ] {
        let output = famam(here, &format!("{arguments} -o none.mid"));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments}");
        assert!(told.contains(words), "{arguments}: {told}");
        assert!(!told.contains("panicked"), "{arguments}: {told}");
        assert!(!here.join("none.mid").exists());
    }
}
