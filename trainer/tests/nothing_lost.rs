//! Full disks, folders that cannot be written to, files of a later version and of another model: each
//! command says so in a sentence, and what was there before is there after.

#![cfg(unix)]

mod music;
mod tunes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use famam_trainer::checkpoint::{self, BEST, LAST, Record};
use famam_trainer::config::training::{Config, ModelType, ScheduleKind};
use famam_trainer::dataset::Dataset;
use music::tiny;
use serde_json::json;
use tunes::{built, put, tune};

/// A model of a moment. What was learned does not depend on how many steps are to come.
fn config(steps: u64) -> Config {
    Config {
        steps: Some(steps),
        lr_schedule_type: ScheduleKind::Constant,
        ..tiny()
    }
}

/// A folder with music, a data set of it, and a run that can go on.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for i in 0..12 {
            put(&place.at("midi"), &format!("{i}.mid"), &tune(i, 12));
        }
        let config = tunes::config(&place.at("midi"), &place.at("set.h5"));
        built(&famam_trainer::config::dataset::Config {
            validation_fraction: 0.2,
            ..config
        });
        place.train_to("run", 8);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes what asks for so many steps into `train.json`.
    fn ask(&self, steps: u64) {
        self.write("train.json", &config(steps));
    }

    fn write(&self, name: &str, config: &Config) {
        fs::write(self.at(name), json!(config).to_string()).unwrap();
    }

    fn train_to(&self, run: &str, steps: u64) {
        self.ask(steps);
        let line = format!("train train.json --dataset set.h5 --output {run}");
        let (worked, said) = self.run(&line, None);
        assert!(worked, "{said}");
    }

    /// Runs a command: whether it worked, and what it said. It can write no file that is longer than
    /// so many blocks of 512 bytes: to it the disk is full then.
    fn run(&self, line: &str, blocks: Option<u32>) -> (bool, String) {
        let limit = blocks.map_or("unlimited".to_owned(), |blocks| blocks.to_string());
        // A write beyond the limit is refused like one to a full disk, where the signal is ignored.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_famam-trainer")])
            .args(line.split(' '))
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            matches!(output.status.code(), Some(0 | 1)) && !said.contains("panicked"),
            "{line}: {}: {said}",
            output.status
        );
        (output.status.success(), said)
    }

    /// The sentence that a command is refused with, and nothing else has happened.
    fn refused(&self, line: &str, blocks: Option<u32>) -> String {
        let before = self.files();
        let (worked, said) = self.run(line, blocks);
        assert!(!worked, "{line}: {said}");
        let after = self.files();
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| Vec::from_iter(files.keys().cloned());
        assert_eq!(names(&before), names(&after), "{line}: {said}");
        assert!(before == after, "{line} changed a file: {said}");
        said
    }

    /// All files but a run's log.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.0.path(), &mut files);
        files
    }

    /// What a run saw at each validation, without its times.
    fn history(&self, run: &str) -> Vec<Record> {
        let state = checkpoint::read(&self.at(run).join(LAST)).unwrap().state;
        let records = state.progress.history.into_iter();
        let timeless = |record| Record {
            seconds: 0.0,
            ..record
        };
        records.map(timeless).collect()
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if !path.ends_with("history.json") && !path.ends_with("curves.svg") {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
}

/// The commands that write, each with the file that it is to write as `OUT`.
const WRITERS: [&str; 6] = [
    "build midi -o OUT",
    "train train.json --dataset set.h5 --output OUT",
    "export run -o OUT.onnx",
    "analyze midi -o OUT",
    "analyze midi --page OUT",
    "evaluate run --dataset set.h5 --json OUT",
];

/// All of it at once, which begins with `analyze`.
const ALL: &str = "all midi -o OUT.onnx";

#[test]
fn a_full_disk_is_told_and_what_was_there_stays() {
    let place = Place::new();
    for command in WRITERS
        .into_iter()
        .filter(|line| !line.starts_with("train"))
    {
        let old = command.replace("OUT", "old");
        let (worked, said) = place.run(&old, None);
        assert!(worked, "{said}");
        // Full from the first byte on, and in the middle.
        for (line, blocks) in [(command.replace("OUT", "new"), 0), (old, 2)] {
            let said = place.refused(&line, Some(blocks));
            assert!(said.contains("File too large"), "{line}: {said}");
        }
        for file in ["old", "old.onnx"] {
            let _ = fs::remove_file(place.at(file));
        }
    }
    let said = place.refused(&ALL.replace("OUT", "new"), Some(2));
    assert!(said.contains("File too large"), "{said}");
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_run_keeps_the_checkpoints() {
    let place = Place::new();
    place.ask(12);
    for blocks in [0, 2] {
        let line = "train train.json --dataset set.h5 --output run";
        let said = place.refused(line, Some(blocks));
        assert!(said.contains("going on at step 8 of 12"), "{said}");
        let sentence = said.lines().last().unwrap();
        assert!(
            sentence.contains("run/") && sentence.contains("File too large"),
            "{said}"
        );
    }
    // With room again it goes on as if nothing had been.
    place.train_to("run", 12);
    place.train_to("whole", 12);
    assert_eq!(place.history("run").len(), 3);
    assert_eq!(place.history("run"), place.history("whole"));
}

#[test]
fn a_place_that_cannot_be_written_to_is_told() {
    let place = Place::new();
    fs::write(place.at("file"), "no folder").unwrap();
    fs::create_dir_all(place.at("folder.onnx/inside")).unwrap();
    fs::create_dir_all(place.at("folder/inside")).unwrap();
    for command in WRITERS.into_iter().chain([ALL]) {
        // Below a file, where nobody can write, root neither; and where a folder stands.
        for out in ["file/out", "/proc/out", "folder"] {
            // A run goes into a folder; the other trains first.
            let late = command.starts_with("train") || command == ALL;
            if out == "folder" && late || out == "/proc/out" && !cfg!(target_os = "linux") {
                continue;
            }
            let said = place.refused(&command.replace("OUT", out), None);
            assert!(said.contains(out), "{command}, {out}: {said}");
        }
    }
}

/// The data set with the number of a later version in it.
fn renumbered(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes());
    let at = at.unwrap();
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

#[test]
fn files_of_a_later_version_are_refused_by_every_command() {
    let place = Place::new();
    let (worked, said) = place.run("export run -o model.onnx", None);
    assert!(worked, "{said}");
    let read = |name: &str| fs::read(place.at(name)).unwrap();
    let later = |from: &str, to: &str, number: (&str, &str)| {
        fs::write(place.at(to), renumbered(&read(from), number.0, number.1)).unwrap();
    };
    later("set.h5", "later.h5", ("\"version\":1,", "\"version\":9,"));
    fs::create_dir(place.at("later")).unwrap();
    for name in [BEST, LAST] {
        let version = ("\\\"version\\\":1,", "\\\"version\\\":9,");
        later(&format!("run/{name}"), &format!("later/{name}"), version);
    }
    later(
        "model.onnx",
        "later.onnx",
        ("\"version\":1,", "\"version\":9,"),
    );
    for (line, file) in [
        (
            "train train.json --dataset later.h5 --output run",
            "later.h5",
        ),
        (
            "train train.json --dataset later.h5 --output new",
            "later.h5",
        ),
        (
            "export run -o new.onnx --int8 --dataset later.h5",
            "later.h5",
        ),
        ("evaluate run --dataset later.h5", "later.h5"),
        ("info later.h5", "later.h5"),
        (
            "train train.json --dataset set.h5 --output later",
            "later/last",
        ),
        (
            "train train.json --dataset set.h5 --output new --from later",
            "later/best",
        ),
        ("export later -o new.onnx", "later/best"),
        ("evaluate later --dataset set.h5", "later/best"),
        ("info later", "later/best"),
        (
            "train train.json --dataset set.h5 --output new --from later.onnx",
            "later.onnx",
        ),
        ("evaluate later.onnx --dataset set.h5", "later.onnx"),
        ("info later.onnx", "later.onnx"),
    ] {
        let said = place.refused(line, None);
        assert!(
            said.contains(file) && said.contains("version 9"),
            "{line}: {said}"
        );
        let what_to_do = ["newer famam-trainer", "update Famam"];
        assert!(
            what_to_do.iter().any(|what| said.contains(what)),
            "{line}: {said}"
        );
    }
}

#[test]
fn a_checkpoint_of_another_architecture_is_told_and_stays() {
    let place = Place::new();
    let wider = Config {
        d_model: 64,
        ..config(12)
    };
    place.write("wider.json", &wider);
    let said = place.refused("train wider.json --dataset set.h5 --output run", None);
    assert!(
        said.contains("run holds a run with another config"),
        "{said}"
    );
    assert!(said.contains("--output"), "{said}");

    // It says that it is an LSTM, and its tensors are a Transformer's.
    fs::create_dir(place.at("other")).unwrap();
    let vocabulary = Dataset::open(&place.at("set.h5")).unwrap();
    let encoding = vocabulary
        .encoding()
        .build(vocabulary.vocabulary().genres.len())
        .unwrap();
    for name in [BEST, LAST] {
        let stored = checkpoint::read(&place.at("run").join(name)).unwrap();
        let mut state = stored.state;
        state.config.model_type = ModelType::Lstm;
        state.architecture = state.config.architecture(encoding.vocabulary_size());
        let tensors: Vec<_> = stored.tensors.into_iter().collect();
        checkpoint::write(&place.at("other").join(name), &state, &tensors).unwrap();
    }
    let lstm = Config {
        model_type: ModelType::Lstm,
        ..config(12)
    };
    place.write("lstm.json", &lstm);
    for (line, file) in [
        (
            "train lstm.json --dataset set.h5 --output other",
            "other/last",
        ),
        (
            "train lstm.json --dataset set.h5 --output new --from other",
            "the model",
        ),
        ("export other -o new.onnx", "other/best"),
        ("evaluate other --dataset set.h5", "other/best"),
    ] {
        let said = place.refused(line, None);
        assert!(said.contains(file), "{line}: {said}");
        assert!(said.contains("layers.0.input.weight"), "{line}: {said}");
    }
}
