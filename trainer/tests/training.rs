//! A run's losses are a function of its config and its data, whatever happens to it.

mod music;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use famam_shared::midi;
use famam_trainer::checkpoint::{self, LAST, Record};
use famam_trainer::config::training::{Config, OptimizerKind, ScheduleKind};
use famam_trainer::train::{End, Error, Run};
use music::{data_set, music, tiny};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const FOLDER: &str = "FAMAM_TEST_FOLDER";

/// What a run in `folder` saw at each validation, without its times.
fn history(folder: &Path) -> Vec<Record> {
    let history = checkpoint::read(&folder.join(LAST))
        .unwrap()
        .state
        .progress
        .history;
    history
        .into_iter()
        .map(|record| Record {
            seconds: 0.0,
            ..record
        })
        .collect()
}

fn train(config: Config, folder: &Path, threads: usize) -> Result<End, Error> {
    let music = music();
    let mut run = Run::open(config, &music, data_set(), None, folder, threads)?;
    run.train(&AtomicBool::new(false), None)
}

#[test]
fn losses_fall_and_are_the_same_on_any_number_of_threads() {
    let histories: Vec<Vec<Record>> = [1, 2, 5]
        .map(|threads| {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(train(tiny(), folder.path(), threads).unwrap(), End::Steps);
            history(folder.path())
        })
        .into();
    assert_eq!(histories[0], histories[1]);
    assert_eq!(histories[0], histories[2]);
    let (first, last) = (&histories[0][0], &histories[0][9]);
    assert_eq!((first.step, last.step), (4, 40));
    assert!(
        last.validation_loss < first.validation_loss - 1.0,
        "{first:?} to {last:?}"
    );
    assert!(
        last.training_loss < first.training_loss - 1.0,
        "{first:?} to {last:?}"
    );
}

#[test]
fn every_optimizer_and_schedule_learns() {
    for (optimizer, learning_rate) in [
        (OptimizerKind::Adam, 0.01),
        (OptimizerKind::Adamw, 0.01),
        (OptimizerKind::Muon, 0.01),
        (OptimizerKind::Sgd, 0.3),
        (OptimizerKind::Rmsprop, 0.003),
    ] {
        for lr_schedule_type in [
            ScheduleKind::Cosine,
            ScheduleKind::Exponential,
            ScheduleKind::Constant,
            ScheduleKind::Transformer,
        ] {
            let config = Config {
                optimizer,
                learning_rate,
                momentum: 0.9,
                lr_schedule_type,
                final_learning_rate: 0.1,
                ..tiny()
            };
            let folder = tempfile::tempdir().unwrap();
            train(config, folder.path(), 2).unwrap();
            let history = history(folder.path());
            let fell = history[0].validation_loss - history[9].validation_loss;
            println!("{optimizer:?}, {lr_schedule_type:?}: fell by {fell:.3}");
            assert!(
                fell > 0.5,
                "{optimizer:?}, {lr_schedule_type:?}: {history:?}"
            );
        }
    }
}

#[test]
fn accumulated_batches_are_one_larger_batch() {
    let [whole, parts] = [(6, 1), (2, 3)].map(|(batch_size, accumulation_steps)| {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            batch_size,
            accumulation_steps,
            steps: Some(8),
            ..tiny()
        };
        train(config, folder.path(), 2).unwrap();
        history(folder.path())
    });
    assert_eq!(whole, parts);
}

#[test]
fn a_run_that_is_stopped_goes_on_as_if_it_had_not_been() {
    let whole = tempfile::tempdir().unwrap();
    train(tiny(), whole.path(), 2).unwrap();
    let parts = tempfile::tempdir().unwrap();
    let music = music();
    let mut sittings = 0;
    loop {
        let mut run = Run::open(tiny(), &music, data_set(), None, parts.path(), 2).unwrap();
        sittings += 1;
        let limit = Some(Duration::from_millis(40));
        if run.train(&AtomicBool::new(false), limit).unwrap() == End::Steps {
            break;
        }
    }
    assert!(sittings > 2, "only {sittings} sittings");
    assert_eq!(history(parts.path()), history(whole.path()));
}

/// Not a test: the process that the next test kills. Saves all the time.
#[test]
#[ignore = "run by another test"]
fn child() {
    let folder = std::env::var(FOLDER).unwrap();
    let config = Config {
        checkpoint_minutes: 1e-5,
        ..tiny()
    };
    train(config, Path::new(&folder), 2).unwrap();
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_as_if_it_had_not_been() {
    let whole = tempfile::tempdir().unwrap();
    train(tiny(), whole.path(), 2).unwrap();
    let killed = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut kills = 0;
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored"])
            .env(FOLDER, killed.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let patience = 100 + 150 * kills;
        std::thread::sleep(Duration::from_millis(rng.random_range(50..patience)));
        // SIGKILL on Unix.
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        kills += 1;
    }
    println!("killed {kills} times");
    assert!(kills > 2);
    assert_eq!(history(killed.path()), history(whole.path()));
}

#[test]
fn a_folder_keeps_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let short = Config {
        steps: Some(4),
        ..tiny()
    };
    train(short.clone(), folder.path(), 1).unwrap();
    let other = Config {
        d_model: 64,
        ..short.clone()
    };
    let error = train(other, folder.path(), 1).unwrap_err().to_string();
    assert!(error.contains("another config"), "{error}");
    let (music, mut data_set) = (music(), data_set());
    data_set.hash = "1".to_owned();
    let error = Run::open(short, &music, data_set, None, folder.path(), 1)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("another data set"), "{error}");
    // A longer run goes on.
    train(
        Config {
            steps: Some(8),
            ..tiny()
        },
        folder.path(),
        1,
    )
    .unwrap();
    assert_eq!(history(folder.path()).len(), 2);
}

#[test]
fn early_stopping_waits_for_its_patience() {
    let config = Config {
        use_early_stopping: true,
        early_stopping_patience: 3,
        early_stopping_min_delta: 100.0,
        steps: Some(1000),
        ..tiny()
    };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(train(config, folder.path(), 1).unwrap(), End::EarlyStop);
    assert_eq!(
        history(folder.path()).len(),
        4,
        "the first is the best, three are not"
    );
}

#[test]
fn a_run_whose_losses_are_no_numbers_ends_with_its_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let good = Config {
        steps: Some(8),
        ..tiny()
    };
    train(good, folder.path(), 1).unwrap();
    let before = std::fs::read(folder.path().join(LAST)).unwrap();
    // As if the weights had been damaged in memory: every loss is NaN, that of the validation too.
    let mut stored = checkpoint::read(&folder.path().join(LAST)).unwrap();
    let damaged = tempfile::tempdir().unwrap();
    let tensors: Vec<_> = stored
        .tensors
        .drain()
        .map(|(name, tensor)| (name, tensor * 1e30))
        .collect();
    checkpoint::write(&damaged.path().join(LAST), &stored.state, &tensors).unwrap();
    let bytes = std::fs::read(damaged.path().join(LAST)).unwrap();
    let error = train(tiny(), damaged.path(), 1).unwrap_err();
    assert!(
        matches!(error, Error::NotFinite { step: 12, .. }),
        "{error}"
    );
    assert_eq!(
        std::fs::read(damaged.path().join(LAST)).unwrap(),
        bytes,
        "nothing was saved over it"
    );
    assert_eq!(std::fs::read(folder.path().join(LAST)).unwrap(), before);
}

/// Weights whose losses are numbers and whose gradients are none.
#[test]
fn a_step_that_is_skipped_is_validated_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let of = |steps| Config {
        steps: Some(steps),
        ..tiny()
    };
    train(of(8), folder.path(), 1).unwrap();
    let path = folder.path().join(LAST);
    let mut stored = checkpoint::read(&path).unwrap();
    let tensors: Vec<_> = stored
        .tensors
        .drain()
        .map(|(name, tensor)| match name.as_str() {
            "final_norm.weight" => (name, tensor * 1e22),
            _ => (name, tensor),
        })
        .collect();
    checkpoint::write(&path, &stored.state, &tensors).unwrap();
    // Twelve is a multiple of four, fourteen is the end.
    assert_eq!(train(of(14), folder.path(), 1).unwrap(), End::Steps);
    let progress = checkpoint::read(&path).unwrap().state.progress;
    assert_eq!((progress.step, progress.skipped), (14, 6));
    let steps: Vec<u64> = progress.history.iter().map(|record| record.step).collect();
    assert_eq!(steps, [4, 8, 12, 14]);
}

#[test]
fn a_run_is_written_down_to_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = Config {
        use_tensorboard: true,
        sample_every_epochs: Some(1),
        ..tiny()
    };
    train(config, folder.path(), 2).unwrap();
    let history = history(folder.path());

    let (first, last) = (&history[0].accuracy, &history[9].accuracy);
    assert!(last.values().all(|share| (0.0..=1.0).contains(share)));
    let better = |(kind, share): (&String, &f64)| *share > first[kind] + 0.1;
    assert!(last.iter().any(better), "{first:?} to {last:?}");
    assert!(last.contains_key("pitch") && !last.contains_key("bos"));

    let text = std::fs::read_to_string(at("history.json")).unwrap();
    let written: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(written.len(), 10);
    assert_eq!(written[9].accuracy, *last);
    let picture = std::fs::read_to_string(at("curves.svg")).unwrap();
    assert!(picture.contains("<polyline") && picture.ends_with("</svg>\n"));

    let events: Vec<_> = std::fs::read_dir(at("logs")).unwrap().collect();
    let events = std::fs::read(events[0].as_ref().unwrap().path()).unwrap();
    let said = String::from_utf8_lossy(&events);
    for (tag, times) in [
        ("loss/training", 40),
        ("loss/validation", 10),
        ("accuracy/pitch", 10),
    ] {
        assert_eq!(said.matches(tag).count(), times, "{tag}");
    }

    let samples = std::fs::read_dir(at("samples")).unwrap();
    let samples: Vec<_> = samples.map(|file| file.unwrap().path()).collect();
    assert!(!samples.is_empty());
    for sample in samples {
        let score = midi::read_file(&sample).unwrap();
        assert_eq!(score.metres[0].numerator, 4, "{}", sample.display());
    }
}

#[test]
fn a_log_that_cannot_be_written_does_not_end_a_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("logs"),
        "a file where the folder should be",
    )
    .unwrap();
    std::fs::create_dir(folder.path().join("history.json")).unwrap();
    std::fs::write(folder.path().join("samples"), "the same").unwrap();
    let config = Config {
        use_tensorboard: true,
        sample_every_epochs: Some(1),
        ..tiny()
    };
    assert_eq!(train(config, folder.path(), 2).unwrap(), End::Steps);
    assert_eq!(history(folder.path()).len(), 10);
}
