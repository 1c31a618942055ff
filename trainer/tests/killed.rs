//! The trainer itself, killed and told to go on: by the commands that people type, on a machine with
//! little memory, on a device that is not there.
#![cfg(unix)]

mod music;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use famam_shared::midi;
use famam_trainer::checkpoint::{self, LAST, Record};
use famam_trainer::config::training::Config;
use music::{song, tiny};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tch::Tensor;

const TRAINER: &str = env!("CARGO_BIN_EXE_famam-trainer");

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A folder with the data set `set.h5` and the config `train.json`.
fn built(config: &Config) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("midi")).unwrap();
    for i in 0..24 {
        midi::write_file(at(&format!("midi/{i}.mid")), &song(i, 8, 12)).unwrap();
    }
    let build = json!({
        "input_dirs": ["midi"], "output_path": "set.h5", "segment_bars": 4,
        "validation_fraction": 0.2, "test_fraction": 0.0,
    });
    std::fs::write(at("build.json"), build.to_string()).unwrap();
    std::fs::write(at("train.json"), json!(config).to_string()).unwrap();
    let mut command = Command::new(TRAINER);
    let output = command.args(["build", "build.json"]).current_dir(&folder);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    folder
}

fn train(folder: &Path, output: &str) -> Command {
    let mut command = Command::new(TRAINER);
    let arguments = ["train", "train.json", "--dataset", "set.h5"];
    command
        .args(arguments)
        .args(["--output", output, "--threads", "2"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// What a run saw, without its times, and all its tensors in the order of their names.
fn end(folder: &Path) -> (Vec<Record>, Vec<(String, Tensor)>) {
    let stored = checkpoint::read(&folder.join(LAST)).unwrap();
    let records = stored.state.progress.history.into_iter();
    let records = records.map(|record| Record {
        seconds: 0.0,
        ..record
    });
    let mut tensors: Vec<_> = stored.tensors.into_iter().collect();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    (records.collect(), tensors)
}

/// Three times, or ten where `FAMAM_LONG` is set.
#[test]
fn a_run_that_is_killed_at_random_moments_ends_as_one_that_never_was() {
    let kills = match std::env::var_os("FAMAM_LONG") {
        Some(_) => 10,
        None => 3,
    };
    let steps = 80 * kills;
    let config = Config {
        steps: Some(steps),
        validation_every: Some(20),
        checkpoint_minutes: 1e-5,
        gradient_checkpointing: true,
        ..tiny()
    };
    let folder = built(&config);
    let folder = folder.path();
    let output = train(folder, "whole")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));

    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let last = folder.join("killed").join(LAST);
    let step = || checkpoint::read(&last).map_or(0, |last| last.state.progress.step);
    let mut killed = Vec::new();
    for kill in 0..kills {
        // At some moment after some step, none of them near the end.
        let after = rng.random_range(50 * kill..50 * (kill + 1));
        let moment = Duration::from_micros(rng.random_range(0..20_000));
        let mut child = train(folder, "killed")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while step() < after && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(moment);
        // SIGKILL.
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it ended before");
        killed.push(step());
    }
    println!("killed after steps {killed:?} of {steps}");
    let mut left = train(folder, "killed");
    let output = left.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let (whole, killed) = (end(&folder.join("whole")), end(&folder.join("killed")));
    assert_eq!(whole.0, killed.0);
    assert_eq!(whole.1, killed.1);
}

#[test]
fn a_run_that_cannot_fit_is_refused_before_it_begins() {
    let config = Config {
        num_layers: 24,
        d_model: 2048,
        d_ff: 8192,
        batch_size: 4096,
        micro_batch_tokens: 512,
        ..tiny()
    };
    let folder = built(&config);
    let folder = folder.path();
    // 16 GiB of address space, whatever the machine has.
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -v 16777216; exec {TRAINER} train train.json --dataset set.h5 --output run --device cpu"
        ))
        .current_dir(folder)
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["a step takes about", " GB of memory, and ", "batch_size"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!folder.join("run").join(LAST).exists());
}

/// Where there is a GPU, this says nothing.
#[test]
fn a_device_that_is_not_there_is_named_with_what_to_do() {
    let folder = built(&tiny());
    let mut command = train(folder.path(), "run");
    let output = command.args(["--device", "cuda", "--max-minutes", "0"]);
    let output = output.stderr(Stdio::piped()).output().unwrap();
    let said = said(&output);
    if output.status.success() {
        println!("skipped: there is a GPU");
        return;
    }
    for part in ["--device cuda: ", "LIBTORCH", "--device cpu"] {
        assert!(said.contains(part), "{said}");
    }
}
