//! What the model computes, what its checkpoints and bundles hold.

mod music;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use famam_shared::architecture::Activation;
use famam_shared::bundle::Bundle;
use famam_shared::manifest::Precision;
use famam_trainer::checkpoint::{self, BEST, LAST};
use famam_trainer::config::training::{Config, PositionsKind};
use famam_trainer::model::{Dropout, Model};
use famam_trainer::train::Run;
use famam_trainer::{config, export};
use music::{data_set, music, tiny};
use tch::{Device, Kind, Tensor};

/// Every kind of architecture.
fn configs() -> Vec<Config> {
    let relative = Config {
        positions: Some(PositionsKind::Relative),
        max_relative_position: 100,
        kv_heads: None,
        ..tiny()
    };
    let swiglu = Config {
        activation: Activation::SwiGlu,
        tied: false,
        num_layers: 2,
        ..tiny()
    };
    vec![
        tiny(),
        swiglu.clone(),
        relative.clone(),
        Config {
            kv_heads: Some(2),
            embedding_scale: None,
            ..relative
        },
        Config {
            kv_heads: Some(1),
            ..swiglu
        },
    ]
}

/// A fresh model of `config` whose weights are large enough to tell mistakes.
fn model(config: &Config) -> Model {
    let vocabulary = music().encoding.vocabulary_size();
    let model = Model::new(&config.architecture(vocabulary), 1, Device::Cpu);
    tch::no_grad(|| {
        for (name, weight) in model.weights() {
            let noise = Tensor::randn_like(weight) * if name.contains("norm") { 0.3 } else { 0.15 };
            let _ = weight.shallow_clone().g_add_(&noise);
        }
    });
    model
}

fn tokens(count: i64, model: &Model) -> Tensor {
    Tensor::randint(
        model.architecture().vocabulary as i64,
        [count],
        (Kind::Int64, Device::Cpu),
    )
}

fn logits(model: &Model, ids: &Tensor, lengths: &[i64]) -> Tensor {
    tch::no_grad(|| model.logits(&model.hidden(ids, lengths, &mut Dropout::none())))
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn sequences_of_a_batch_do_not_see_one_another_nor_the_future() {
    for config in configs() {
        let model = model(&config);
        // Shorter and longer than a block of queries.
        let lengths = [5, 300, 1, 256, 40];
        let ids = tokens(lengths.iter().sum(), &model);
        let together = logits(&model, &ids, &lengths);
        let mut begin = 0;
        for length in lengths {
            let alone = logits(&model, &ids.narrow(0, begin, length), &[length]);
            let part = together.narrow(0, begin, length);
            assert!(difference(&alone, &part) < 1e-4, "{config:?}, {length}");
            begin += length;
        }
        let changed = ids.narrow(0, 5, 300).copy();
        let before = logits(&model, &changed, &[300]);
        changed.narrow(0, 270, 30).copy_(&tokens(30, &model));
        let after = logits(&model, &changed, &[300]);
        let past = |logits: &Tensor| logits.narrow(0, 0, 270);
        assert!(
            difference(&past(&before), &past(&after)) < 1e-5,
            "{config:?}"
        );
        assert!(difference(&before, &after) > 1e-2, "{config:?}");
    }
}

/// `famam-trainer export` itself checks a bundle's logits against libtorch on both engines, and
/// engines against themselves in 8 bits.
#[test]
fn checkpoints_of_every_architecture_become_bundles() {
    for config in configs() {
        let architecture = config.architecture(100);
        let same = Config::default().with_architecture(&architecture);
        assert_eq!(same.architecture(100), architecture);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(BEST);
        let music = music();
        let config = Config {
            steps: Some(4),
            dropout_rate: 0.0,
            ..config
        };
        let mut run =
            Run::open(config.clone(), &music, data_set(), None, folder.path(), 2).unwrap();
        run.train(&AtomicBool::new(false), None).unwrap();
        // Weights that are large enough to tell mistakes.
        let mut stored = checkpoint::read(&path).unwrap();
        let large = model(&config);
        let tensors: Vec<_> = stored
            .tensors
            .drain()
            .map(|(name, tensor)| {
                let large = large.weights().iter().find(|(other, _)| *other == name);
                (name, large.map_or(tensor, |(_, weight)| weight.detach()))
            })
            .collect();
        checkpoint::write(&path, &stored.state, &tensors).unwrap();

        let output = folder.path().join("model.onnx");
        let args = export::Args {
            checkpoint: folder.path().to_owned(),
            output: output.clone(),
            int8: false,
            dataset: None,
            name: Some("Test".to_owned()),
            licence: "CC0".to_owned(),
            threads: Some(1),
        };
        export::run(&args).unwrap_or_else(|error| panic!("{config:?}: {error}"));
        let manifest = Bundle::read(&std::fs::read(&output).unwrap())
            .unwrap()
            .manifest;
        assert_eq!(
            (manifest.name.as_str(), manifest.precision),
            ("Test", Precision::Fp32)
        );
        assert_eq!((manifest.context.tokens, manifest.context.bars), (128, 4));
        assert_eq!(manifest.provenance.steps, 4);
        assert!(manifest.provenance.validation_loss.is_some());

        // In 8 bits the loss must be measured.
        let int8 = export::Args {
            int8: true,
            output: folder.path().join("int8.onnx"),
            ..args
        };
        let error = export::run(&int8).unwrap_err().to_string();
        assert!(error.contains("--dataset"), "{error}");
        assert!(!int8.output.exists());
    }
}

#[test]
fn a_newer_checkpoint_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let music = music();
    let config = Config {
        steps: Some(1),
        ..tiny()
    };
    Run::open(config, &music, data_set(), None, folder.path(), 1)
        .unwrap()
        .train(&AtomicBool::new(false), None)
        .unwrap();
    let path = folder.path().join(LAST);
    let mut state = checkpoint::read(&path).unwrap().state;
    state.version += 1;
    checkpoint::write(&path, &state, &[]).unwrap();
    let error = checkpoint::read(&path).err().unwrap().to_string();
    assert!(error.contains("take a newer famam-trainer"), "{error}");
}

/// Famam's shipped `transformer_small`, as it writes itself.
const FAMAMS_SMALL: &str = r#"{
    "model_name": "transformer_small", "model_type": "transformer", "max_seq_length": 512,
    "d_model": 256, "dropout_rate": 0.1, "num_layers": 4, "num_heads": 4, "d_ff": 1024,
    "use_relative_attention": true, "max_relative_position": 256, "lstm_units": [512, 512],
    "bidirectional": false, "recurrent_dropout": 0.0, "batch_size": 16, "epochs": 100,
    "learning_rate": 0.0001, "warmup_steps": 2000, "label_smoothing": 0.1, "optimizer": "adam",
    "weight_decay": 0.01, "beta_1": 0.9, "beta_2": 0.98, "epsilon": 1e-9,
    "use_lr_schedule": true, "lr_schedule_type": "transformer", "use_gradient_clipping": true,
    "gradient_clip_value": 1.0, "use_early_stopping": true, "early_stopping_patience": 10,
    "early_stopping_min_delta": 0.0001, "early_stopping_monitor": "val_loss",
    "use_checkpointing": true, "checkpoint_monitor": "val_loss", "save_best_only": true,
    "use_tensorboard": true, "tensorboard_log_dir": "./logs", "output_dir": "./models",
    "save_history": true, "save_final_model": true, "random_seed": 42, "shuffle": true,
    "shuffle_buffer_size": 10000, "distribution_strategy": "none", "batch_size_per_replica": null
}"#;

fn load(text: &str) -> Result<Config, config::training::Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

#[test]
fn famams_config_loads_unchanged() {
    let config = load(FAMAMS_SMALL).unwrap();
    let architecture = config.architecture(461);
    assert_eq!(
        (
            architecture.layers,
            architecture.d_model,
            architecture.kv_heads
        ),
        (4, 256, 4)
    );
    assert_eq!(architecture.embedding_scale, 16.0);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert_eq!(load("{}").unwrap(), Config::default());
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (field, value) in [
        ("model_type", r#""lstm""#),
        ("accumulation_steps", "0"),
        ("momentum", "1"),
        ("token_dropout", "-0.1"),
        ("warmup_ratio", "2"),
        ("distribution_strategy", r#""mirrored""#),
        ("epochs", "0"),
        ("steps", "0"),
        ("validation_every", "0"),
        ("d_model", "250"),
        ("kv_heads", "3"),
        ("kv_heads", "0"),
        ("dropout_rate", "1.5"),
        ("learning_rate", "-1"),
        ("max_seq_length", "4"),
        ("transpose", "[3, 1]"),
        ("layers", "4"),
    ] {
        let error = load(&format!("{{\"{field}\": {value}}}"))
            .unwrap_err()
            .to_string();
        let named = error.starts_with(&format!("{field} is ")) || field == "layers";
        assert!(named && error.contains(field), "{field}: {error}");
    }
}

#[test]
fn what_changes_neither_model_nor_loss_is_warned_of() {
    for field in ["early_stopping_monitor", "checkpoint_monitor"] {
        let config = load(&format!("{{\"{field}\": \"accuracy\"}}")).unwrap();
        let warnings = config.warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with(field), "{warnings:?}");
    }
}

#[test]
fn shipped_configs_can_be_trained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/model_training");
    let mut count = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(
            config.warnings().is_empty(),
            "{}: {:?}",
            path.display(),
            config.warnings()
        );
        count += 1;
    }
    assert!(count >= 2);
}
