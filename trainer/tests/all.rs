//! A folder of MIDI to a bundle by one command, which can be stopped.

mod tunes;

use std::fs;
use std::path::Path;
use std::process::Command;

use famam_shared::bundle::Bundle;
use famam_shared::midi;
use famam_trainer::config::{dataset, training};
use tunes::{put, tune};

/// What the command says, and whether it ended well.
fn trainer(folder: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_famam-trainer"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

fn done(folder: &Path, arguments: &str) -> String {
    let (well, said) = trainer(folder, arguments);
    assert!(well, "{arguments}: {said}");
    said
}

#[test]
fn a_folder_becomes_a_bundle_and_samples() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for i in 0..20 {
        let name = format!("{}/{i}.mid", ["folk", "jazz"][i % 2]);
        put(&here.join("midi"), &name, &tune(i as u64, 8));
    }
    fs::write(here.join("midi/folk/broken.mid"), "no music").unwrap();
    let all = "all midi -o out/mine.onnx --epochs 2 --samples 3";

    // Stopped before it learns: what is there by then stays, and is not made again.
    let said = done(here, &format!("{all} --max-minutes 0"));
    for words in [
        "20 files",
        "1 cannot be read",
        "folk, jazz",
        "about a minute",
        "M weights",
        "goes on here",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let at = |name: &str| here.join("out").join(name);
    assert!(!at("mine.onnx").exists());
    let built = fs::metadata(at("mine-training/dataset.h5"))
        .unwrap()
        .modified()
        .unwrap();
    let chosen = training::Config::load(&at("mine-training/training.json")).unwrap();
    assert_eq!((chosen.epochs, &chosen.model_name[..]), (2, "mine"));
    let said = done(here, all);
    assert!(said.contains("going on"), "{said}");
    let again = fs::metadata(at("mine-training/dataset.h5"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(built, again);

    let bundle = Bundle::read(&fs::read(at("mine.onnx")).unwrap()).unwrap();
    assert_eq!(bundle.manifest.name, "mine");
    assert_eq!(bundle.manifest.vocabulary.genres, ["any", "folk", "jazz"]);
    assert!(bundle.manifest.provenance.steps > 0);
    for sample in ["mine-1.mid", "mine-2.mid", "mine-3.mid"] {
        midi::read_file(at(sample)).unwrap();
    }
    assert!(!at("mine-4.mid").exists());
    assert!(at("mine-training/analysis.html").exists());

    // Each step by the single commands, as it was told: nothing is left to learn, and the same data set.
    let steps = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("$ famam-trainer "));
    let steps: Vec<&str> = steps.collect();
    let [train, export] = steps[..] else {
        panic!("{said}");
    };
    assert!(done(here, train).contains("done; export"));
    assert!(
        export.starts_with("export ") && export.ends_with(" --int8"),
        "{export}"
    );
    let config = dataset::Config::read(&at("mine-training/dataset.json")).unwrap();
    assert_eq!(config.genre_from, dataset::GenreFrom::Composer);
    let before = fs::read(at("mine-training/dataset.h5")).unwrap();
    done(here, "build out/mine-training/dataset.json");
    assert!(before == fs::read(at("mine-training/dataset.h5")).unwrap());

    // Other music under the same name is refused, and so is a name that no bundle has.
    fs::create_dir(here.join("other")).unwrap();
    let (well, said) = trainer(here, "all other -o out/mine.onnx");
    assert!(
        !well && said.contains("was begun with other music"),
        "{said}"
    );
    let (well, said) = trainer(here, "all midi -o mine.mid");
    assert!(!well && said.contains("must end in .onnx"), "{said}");
}
