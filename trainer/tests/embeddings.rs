//! Embeddings that an autoencoder pre-trains: that it learns to say music again, and what becomes of
//! them in a model.

mod music;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use famam_trainer::batches::Music;
use famam_trainer::build::build;
use famam_trainer::checkpoint::{self, LAST};
use famam_trainer::config::dataset;
use famam_trainer::config::training::embeddings::{Embeddings as Chosen, Mode};
use famam_trainer::config::training::{Config, ModelType};
use famam_trainer::dataset::Dataset;
use famam_trainer::embeddings::command::{Args, learn};
use famam_trainer::embeddings::{Embeddings, TABLE};
use famam_trainer::train::{self, Run};
use music::{data_set, music, tiny};
use tch::Tensor;

/// A small autoencoder for models as wide as [`tiny`].
fn args() -> Args {
    Args {
        dataset: "made up".into(),
        output: PathBuf::new(),
        from: None,
        width: 32,
        window: 8,
        latent: 24,
        hidden: 48,
        hidden_layers: 1,
        steps: 4,
        batch_size: 16,
        learning_rate: 3e-3,
        seed: 1,
    }
}

fn learned(args: &Args, music: &Music) -> Embeddings {
    learn(args, music, &AtomicBool::new(false)).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Learns for a while from `music`, and says what it has not seen again better than before, and than by
/// chance: its most frequent token is one in twelve.
#[track_caller]
fn assert_learns(music: &Music) {
    let after = |steps| {
        let args = Args {
            steps,
            window: 4,
            batch_size: 128,
            learning_rate: 5e-3,
            ..args()
        };
        let about = learned(&args, music).about;
        (about.loss, about.accuracy)
    };
    let (before, learned) = (after(0), after(400));
    println!("{before:?} at first, then {learned:?}");
    assert!(learned.0 < 0.6 * before.0, "the loss falls");
    assert!(learned.1 > 0.3, "better than chance");
}

#[test]
fn an_autoencoder_learns_to_say_music_again() {
    assert_learns(&music());
}

#[test]
fn an_autoencoder_learns_to_say_real_music_again() {
    let Some(data) = std::env::var_os("FAMAM_DATA").map(PathBuf::from) else {
        eprintln!("skipped: FAMAM_DATA is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("music.h5");
    let config = dataset::Config {
        input_dirs: vec![data.join("test").display().to_string()],
        output_path: path.display().to_string(),
        encoder_type: dataset::EncoderType::Multitrack,
        max_samples: Some(30),
        validation_fraction: 0.2,
        verbose: false,
        ..Default::default()
    };
    build(&config, 2, &AtomicBool::new(false)).unwrap();
    let music = Music::read(&Dataset::open(&path).unwrap()).unwrap();
    assert_learns(&music);
}

#[test]
fn embeddings_are_a_function_of_the_seed_and_go_on_from_a_file() {
    let (folder, music) = (tempfile::tempdir().unwrap(), music());
    let path = folder.path().join("embeddings.safetensors");
    let all = |args: &Args| {
        learned(args, &music).write(&path).unwrap();
        let Embeddings { table, tensors, .. } = Embeddings::read(&path).unwrap();
        let tensors = tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), bits(tensor)));
        let mut tensors: Vec<_> = tensors.collect();
        tensors.sort();
        (bits(&table), tensors)
    };
    let other = all(&Args { seed: 2, ..args() });
    let one = all(&args());
    assert!(one.0 != other.0 && one.1 != other.1);
    assert!(all(&args()) == one, "the same bits");
    let bytes = std::fs::read(&path).unwrap();
    let from = Args {
        from: Some(path.clone()),
        ..args()
    };
    let (before, after) = (Embeddings::read(&path).unwrap(), learned(&from, &music));
    assert_eq!((before.about.steps, after.about.steps), (4, 8));
    assert!(bits(&before.table) != bits(&after.table));
    let none = Args { steps: 0, ..from };
    assert_eq!(bits(&before.table), bits(&learned(&none, &music).table));

    let damaged = folder.path().join("damaged");
    for at in [0, 9, 200, bytes.len() / 2, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        std::fs::write(&damaged, bytes).unwrap();
        let error = Embeddings::read(&damaged).err().map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("damaged")), "byte {at}");
    }
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    assert!(Embeddings::read(&damaged).is_err());
}

/// A model that starts from the embeddings in `file`.
fn config(file: &Path, mode: Mode) -> Config {
    Config {
        embeddings: Some(Chosen {
            file: file.display().to_string(),
            mode,
        }),
        steps: Some(6),
        validation_every: Some(3),
        ..tiny()
    }
}

fn trained(folder: &Path, config: Config) -> Vec<(String, Vec<u32>)> {
    let music = music();
    let mut run = Run::open(config, &music, data_set(), None, folder, 2).unwrap();
    run.train(&AtomicBool::new(false), None).unwrap();
    let stored = checkpoint::read(&folder.join(LAST)).unwrap().tensors;
    let tensors = stored
        .iter()
        .map(|(name, tensor)| (name.clone(), bits(tensor)));
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort();
    tensors
}

#[test]
fn a_mode_says_what_becomes_of_the_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embeddings.safetensors");
    let before = learned(&args(), &music());
    before.write(&file).unwrap();
    let of = |name: &str, tensors: &[(String, Vec<u32>)]| {
        let found = tensors.iter().find(|(other, _)| other == name);
        found.map(|(_, bits)| bits.clone())
    };
    for backbone in [ModelType::Transformer, ModelType::Lstm] {
        let trained = |mode| {
            let folder = tempfile::tempdir().unwrap();
            let config = Config {
                model_type: backbone,
                lstm_units: vec![24],
                ..config(&file, mode)
            };
            trained(folder.path(), config)
        };
        let [frozen, train, goes_on] = [Mode::Frozen, Mode::Train, Mode::Continue].map(trained);
        let start = Some(bits(&before.table));
        assert_eq!(of(TABLE, &frozen), start, "frozen embeddings do not move");
        for others in [&train, &goes_on] {
            assert!(of(TABLE, others).is_some() && of(TABLE, others) != start);
        }
        assert_ne!(of(TABLE, &train), of(TABLE, &goes_on));
        let output = "autoencoder.output.weight";
        assert_eq!([of(output, &frozen), of(output, &train)], [None, None]);
        assert!(
            of(output, &goes_on)
                .is_some_and(|bits| { bits != self::bits(&before.tensors[output]) })
        );
        // The others are trained in every mode, from the same start.
        let own = frozen.iter().filter(|(name, _)| name.starts_with("layers"));
        for (name, weight) in own {
            assert!(
                of(name, &train).is_some_and(|other| other != *weight),
                "{name}"
            );
        }
    }
}

/// Its autoencoder, too, goes on where it was.
#[test]
fn a_run_that_was_stopped_ends_like_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embeddings.safetensors");
    learned(&args(), &music()).write(&file).unwrap();
    for mode in [Mode::Continue, Mode::Frozen] {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let config = config(&file, mode);
        let whole = trained(folders[0].path(), config.clone());
        let part = Config {
            steps: Some(3),
            lr_schedule_type: famam_trainer::config::training::ScheduleKind::Constant,
            ..config.clone()
        };
        let constant = Config {
            lr_schedule_type: part.lr_schedule_type,
            ..config
        };
        let uninterrupted = tempfile::tempdir().unwrap();
        let uninterrupted = trained(uninterrupted.path(), constant.clone());
        assert!(uninterrupted != whole, "the schedule matters");
        trained(folders[1].path(), part);
        // The file is no longer needed.
        assert!(
            trained(folders[1].path(), constant) == uninterrupted,
            "{mode:?}"
        );
    }
}

#[test]
fn embeddings_that_do_not_fit_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("embeddings.safetensors");
    let embeddings = learned(&args(), &music());
    embeddings.write(&file).unwrap();
    let refused = |config: Config, music: &Music| -> String {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::open(config, music, data_set(), None, folder.path(), 1);
        run.err()
            .map(|error: train::Error| error.to_string())
            .unwrap()
    };
    let wide = Config {
        d_model: 64,
        ..config(&file, Mode::Train)
    };
    let error = refused(wide, &music());
    assert!(
        error.contains("32 numbers wide") && error.contains("--width 64"),
        "{error}"
    );

    let mut other = music();
    let genres = other.vocabulary.genres[1..].iter().cloned();
    let grown = famam_shared::vocabulary::Vocabulary::new(genres.chain(["polka".to_owned()]));
    let spec = other.spec.clone();
    other.adopt(&spec, &grown).unwrap();
    let error = refused(config(&file, Mode::Frozen), &other);
    assert!(
        error.contains("another vocabulary") && error.contains("polka"),
        "{error}"
    );

    let missing = folder.path().join("none");
    let error = refused(config(&missing, Mode::Frozen), &music());
    assert!(error.contains("reading the embeddings"), "{error}");

    let newer = folder.path().join("newer");
    let mut about = embeddings.about.clone();
    about.version += 1;
    Embeddings {
        about,
        ..embeddings
    }
    .write(&newer)
    .unwrap();
    let error = refused(config(&newer, Mode::Train), &music());
    assert!(error.contains("take a newer famam-trainer"), "{error}");

    for (json, named) in [
        (
            r#"{"embeddings": {"file": "", "mode": "train"}}"#,
            "embeddings.file",
        ),
        (
            r#"{"embeddings": {"file": "a", "mode": "thaw"}}"#,
            "continue",
        ),
        (r#"{"embeddings": {"mode": "train"}}"#, "file"),
        (
            r#"{"embeddings": {"file": "a", "mode": "train", "rate": 1}}"#,
            "rate",
        ),
    ] {
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let path = folder.path().join("config.json");
    std::fs::write(&path, r#"{"embeddings": {"file": "a"}}"#).unwrap();
    let chosen = Config::load(&path).unwrap().embeddings.unwrap();
    assert_eq!(chosen.mode, Mode::Train);
}
