//! Several processes that make one run, by the command that people type: `mpirun -n 2 famam-trainer
//! train`, over TCP.
#![cfg(feature = "mpi")]

mod music;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use famam_shared::midi;
use famam_trainer::checkpoint::{self, LAST, Record};
use famam_trainer::config::training::{Config, OptimizerKind, ScheduleKind};
use music::{song, tiny};
use serde_json::json;

const TRAINER: &str = env!("CARGO_BIN_EXE_famam-trainer");

/// Ranks that wait use their cores as well as those that work: two are as many as a test machine has.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// A folder with the data set `set.h5` of 16 songs.
fn built() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..16 {
        let path = folder.path().join(format!("midi/{i}.mid"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        midi::write_file(path, &song(i, 8, 12)).unwrap();
    }
    let config = json!({
        "input_dirs": ["midi"], "output_path": "set.h5", "segment_bars": 4, "validation_fraction": 0.25,
    });
    std::fs::write(folder.path().join("build.json"), config.to_string()).unwrap();
    let mut build = Command::new(TRAINER);
    build.args(["build", "build.json"]);
    let output = build.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    folder
}

/// Three segments a rank, six of one process; nothing that depends on how they are dealt out.
fn config(batch_size: usize) -> Config {
    Config {
        batch_size,
        dropout_rate: 0.0,
        optimizer: OptimizerKind::Adamw,
        ..tiny()
    }
}

fn mpirun(folder: &Path) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args([
            "--allow-run-as-root",
            "--oversubscribe",
            "--bind-to",
            "none",
        ])
        .args([
            "--mca",
            "btl",
            "tcp,self",
            "--mca",
            "btl_tcp_if_include",
            "lo",
        ])
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// The command that trains as `config` says, in the folder `run` of `folder`.
fn train(mut command: Command, folder: &Path, config: &Config, run: &str) -> Command {
    let name = format!("{run}.json");
    std::fs::write(folder.join(&name), json!(config).to_string()).unwrap();
    let arguments = ["train", &name, "--dataset", "set.h5", "--output", run];
    command.args(arguments).args(["--threads", "1"]);
    command.current_dir(folder);
    command
}

/// By two ranks.
fn two(folder: &Path, config: &Config, run: &str) -> Command {
    let mut command = mpirun(folder);
    command.args(["-n", "2", TRAINER]);
    train(command, folder, config, run)
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// What a command says, which must succeed.
fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// What the run saw at each validation, without its times.
fn history(folder: &Path, run: &str) -> Vec<Record> {
    let stored = checkpoint::read(&folder.join(run).join(LAST)).unwrap();
    let history = stored.state.progress.history.into_iter();
    history
        .map(|record| Record {
            seconds: 0.0,
            ..record
        })
        .collect()
}

#[test]
fn two_ranks_are_one_process_with_the_double_batch() {
    let (_alone, folder) = (alone(), built());
    let folder = folder.path();
    run(train(Command::new(TRAINER), folder, &config(6), "one"));
    let said = run(two(folder, &config(3), "two"));

    let (one, two) = (history(folder, "one"), history(folder, "two"));
    assert_eq!((one.len(), two.len()), (10, 10));
    assert!(one[9].validation_loss < one[0].validation_loss - 0.5);
    for (one, two) in std::iter::zip(one, two) {
        assert_eq!((one.step, one.tokens), (two.step, two.tokens));
        assert!(
            (one.training_loss - two.training_loss).abs() < 1e-4,
            "{one:?}, {two:?}"
        );
        assert!(
            (one.validation_loss - two.validation_loss).abs() < 1e-4,
            "{one:?}, {two:?}"
        );
        assert_eq!(one.accuracy.len(), two.accuracy.len());
    }

    // One of them speaks and writes.
    let lines = |begin: &str| said.lines().filter(|line| line.starts_with(begin)).count();
    assert_eq!(lines("step "), 10, "{said}");
    assert_eq!((lines("music_model: "), lines("done; ")), (1, 1), "{said}");
    assert!(said.contains("40 steps, 2 ranks"), "{said}");
    let files = std::fs::read_dir(folder.join("two")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(
        files,
        [
            "best.safetensors",
            "curves.svg",
            "history.json",
            "last.safetensors"
        ]
    );
    let text = std::fs::read_to_string(folder.join("two/history.json")).unwrap();
    let written: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(written.len(), 10);
}

#[test]
fn ranks_that_are_stopped_go_on_as_if_they_had_not_been() {
    let (_alone, folder) = (alone(), built());
    let folder = folder.path();
    let config = Config {
        batch_size: 3,
        ..tiny()
    };
    run(two(folder, &config, "whole"));
    let mut part = two(folder, &config, "parts");
    part.args(["--max-minutes", "0.002"]);
    assert!(run(part).contains("stopped and saved"));
    assert!(run(two(folder, &config, "parts")).contains("going on at step"));
    assert_eq!(history(folder, "whole"), history(folder, "parts"));
}

/// The process of a rank, which mpirun has started.
fn process_of(mpirun: &Child, rank: usize) -> u32 {
    let parent = format!("PPid:\t{}", mpirun.id());
    let variable = format!("OMPI_COMM_WORLD_RANK={rank}");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let read = |id: u32, file: &str| std::fs::read(format!("/proc/{id}/{file}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let is_it = |id: &u32| {
        let (Ok(status), Ok(environment)) = (read(*id, "status"), read(*id, "environ")) else {
            return false;
        };
        text(status).lines().any(|line| line == parent)
            && text(environment).split('\0').any(|set| set == variable)
    };
    ids.into_iter().find(is_it).expect("the rank runs")
}

#[test]
fn a_rank_that_dies_ends_all_with_a_checkpoint() {
    let (_alone, folder) = (alone(), built());
    let folder = folder.path();
    // Nothing is saved but on account of the death.
    let of = |steps| Config {
        lr_schedule_type: ScheduleKind::Constant,
        validation_every: Some(1_000_000),
        steps: Some(steps),
        ..config(3)
    };
    for rank in [0, 1] {
        let name = format!("killed_{rank}");
        let mut command = two(folder, &of(1_000_000), &name);
        let mut job = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut words = BufReader::new(job.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("1000000 steps, 2 ranks") {
            assert!(words.read_line(&mut said).unwrap() > 0, "{said}");
        }
        std::thread::sleep(Duration::from_secs(2));

        let id = process_of(&job, rank).to_string();
        let killed = Instant::now();
        assert!(
            Command::new("kill")
                .args(["-KILL", &id])
                .status()
                .unwrap()
                .success()
        );
        words.read_to_string(&mut said).unwrap();
        assert!(!job.wait().unwrap().success());
        let seconds = killed.elapsed().as_secs_f64();
        println!("rank {rank}: all ended after {seconds:.1} s");
        assert!(seconds < 20.0, "{seconds} s: {said}");
        let left = 1 - rank;
        let sentence = format!("rank {left} was told to stop: saved after step ");
        let step = said.split(&sentence).nth(1).expect(&said);
        let step: u64 = step.lines().next().unwrap().parse().unwrap();
        let stored = checkpoint::read(&folder.join(&name).join(LAST)).unwrap();
        assert_eq!(stored.state.progress.step, step);

        // The same command goes on from it, to the very same end.
        let steps = of(step + 4);
        assert!(run(two(folder, &steps, &name)).contains(&format!("going on at step {step}")));
        if rank == 1 {
            run(two(folder, &steps, "whole"));
            assert_eq!(history(folder, &name), history(folder, "whole"));
        }
    }
}

#[test]
fn ranks_that_begin_apart_are_refused() {
    let (_alone, folder) = (alone(), built());
    let folder = folder.path();
    let mut command = mpirun(folder);
    command.args(["-n", "1", TRAINER]);
    let mut command = train(command, folder, &config(3), "one");
    command.args([":", "-n", "1", TRAINER]);
    let other = Config {
        learning_rate: 0.5,
        ..config(3)
    };
    let output = train(command, folder, &other, "two").output().unwrap();
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("the ranks do not begin alike"), "{said}");
    assert!(!folder.join("one").join(LAST).exists());
}
