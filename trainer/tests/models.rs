//! What the model computes, what its checkpoints and bundles hold.

mod music;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use famam_shared::architecture::{Activation, Architecture, Lstm, Rwkv};
use famam_shared::bundle::Bundle;
use famam_shared::manifest::Precision;
use famam_trainer::checkpoint::{self, BEST, LAST};
use famam_trainer::config::training::{ConditioningKind, Config, ModelType, PositionsKind};
use famam_trainer::model::{Dropout, Model, Ragged};
use famam_trainer::train::Run;
use famam_trainer::{config, export};
use music::{data_set, music, noise_like, tiny};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

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
    let absolute = |positions| Config {
        positions: Some(positions),
        max_seq_length: 320,
        kv_heads: None,
        logit_scale: 0.7,
        ..tiny()
    };
    vec![
        tiny(),
        absolute(PositionsKind::Sinusoidal),
        absolute(PositionsKind::Learned),
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
        lstm(),
        attentive(),
        rwkv(),
        Config {
            tied: false,
            embedding_scale: None,
            num_layers: 2,
            logit_scale: 0.7,
            ..rwkv()
        },
        Config {
            lstm_units: vec![24],
            tied: false,
            embedding_scale: None,
            logit_scale: 0.7,
            ..lstm()
        },
        Config {
            conditioning: ConditioningKind::Added,
            ..tiny()
        },
        Config {
            conditioning: ConditioningKind::Added,
            conditioning_scale: 2.0,
            ..lstm()
        },
    ]
}

/// Two layers of different widths.
fn lstm() -> Config {
    Config {
        model_type: ModelType::Lstm,
        lstm_units: vec![40, 24],
        ..tiny()
    }
}

/// Attention over fewer outputs than sequences have.
fn attentive() -> Config {
    Config {
        attention_window: Some(20),
        ..lstm()
    }
}

fn rwkv() -> Config {
    Config {
        model_type: ModelType::Rwkv,
        ..tiny()
    }
}

/// A fresh model of `config` whose weights are large enough to tell mistakes.
fn model(config: &Config) -> Model {
    let vocabulary = music().encoding.vocabulary_size();
    let model = Model::new(&config.architecture(vocabulary), 1, Device::Cpu);
    tch::no_grad(|| {
        for (seed, (name, weight)) in (0..).zip(model.weights()) {
            let noise = noise_like(weight, seed) * if name.contains("norm") { 0.5 } else { 0.25 };
            let _ = weight.shallow_clone().g_add_(&noise);
        }
    });
    model
}

/// `count` tokens, the same each time for one `seed`.
fn tokens(seed: u64, count: i64, model: &Model) -> Tensor {
    let vocabulary = model.architecture().vocabulary() as i64;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let drawn: Vec<i64> = (0..count)
        .map(|_| rng.random_range(0..vocabulary))
        .collect();
    Tensor::from_slice(&drawn)
}

fn logits(model: &Model, ids: &Tensor, lengths: &[i64]) -> Tensor {
    let batch = Ragged::unscored(ids, lengths);
    tch::no_grad(|| model.logits(&model.hidden(&batch, &mut Dropout::none())))
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
        let ids = tokens(1, lengths.iter().sum(), &model);
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
        changed.narrow(0, 270, 30).copy_(&tokens(2, 30, &model));
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
        let context = (manifest.context.tokens, manifest.context.bars);
        assert_eq!(context, (config.max_seq_length, 4));
        assert_eq!(manifest.provenance.steps, 4);
        assert!(manifest.provenance.validation_loss.is_some());

        // In 8 bits the loss must be measured, of what has a graph in 8 bits.
        let exact = config.model_type != ModelType::Transformer || config.kv_heads == Some(2);
        let (needs, why) = if exact {
            ("--dataset", "measured")
        } else {
            ("without --int8", "no graph")
        };
        let int8 = export::Args {
            int8: true,
            output: folder.path().join("int8.onnx"),
            ..args
        };
        let error = export::run(&int8).unwrap_err().to_string();
        assert!(error.contains(needs) && error.contains(why), "{error}");
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
    let Architecture::Transformer(architecture) = config.architecture(461) else {
        panic!("not a Transformer");
    };
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
        ("recurrent_dropout", "1"),
        ("accumulation_steps", "0"),
        ("momentum", "1"),
        ("token_dropout", "-0.1"),
        ("warmup_ratio", "2"),
        ("distribution_strategy", r#""mirrored""#),
        ("epochs", "0"),
        ("steps", "0"),
        ("validation_every", "0"),
        ("d_model", "250"),
        ("logit_scale", "0"),
        ("conditioning_scale", "0"),
        ("metre_dropout", "1.5"),
        ("tempo_dropout", "-0.1"),
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
fn lstms_that_cannot_be_trained_are_refused_with_a_sentence() {
    for (field, value, why) in [
        ("bidirectional", "true", "would see the tokens"),
        ("lstm_units", "[]", "1 to 128 layers"),
        ("lstm_units", "[512, 0]", "1 to 128 layers"),
        ("attention_window", "1", "from 2 to max_seq_length"),
        ("attention_window", "2049", "from 2 to max_seq_length"),
    ] {
        let load = |kind| {
            let text = format!("{{\"model_type\": \"{kind}\", \"{field}\": {value}}}");
            load(&text).map_err(|error| error.to_string())
        };
        let error = load("lstm").unwrap_err();
        let named = error.starts_with(&format!("{field} is "));
        assert!(named && error.contains(why), "{error}");
        // A Transformer has no use for it.
        load("transformer").unwrap();
    }
    // Heads mean nothing to an LSTM.
    load(r#"{"model_type": "lstm", "num_heads": 7, "kv_heads": 3}"#).unwrap();
}

/// Famam's shipped `lstm_small` and `lstm_large`, under their names.
#[test]
fn famams_lstms_load_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/model_training");
    for (name, d_model, units) in [
        ("lstm_small", 256, vec![256; 2]),
        ("lstm_large", 512, vec![512; 3]),
    ] {
        let config = Config::load(&folder.join(format!("{name}.json"))).unwrap();
        assert_eq!((config.model_name.as_str(), config.beta_2), (name, 0.999));
        let expected = Lstm {
            vocabulary: 461,
            d_model,
            units,
            attention_window: None,
            tied: false,
            embedding_scale: (d_model as f32).sqrt(),
            logit_scale: 1.0,
            conditioning_scale: None,
        };
        assert_eq!(config.architecture(461), expected.into());
    }
}

/// RWKV of the sizes that the configs have, under their names.
#[test]
fn rwkvs_of_the_configs_are_as_large_as_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/model_training");
    for (name, layers, d_model, d_ff) in
        [("rwkv_small", 4, 256, 1024), ("rwkv_large", 24, 768, 3072)]
    {
        let config = Config::load(&folder.join(format!("{name}.json"))).unwrap();
        assert_eq!((config.model_name.as_str(), config.beta_2), (name, 0.99));
        let expected = Rwkv {
            vocabulary: 461,
            layers,
            d_model,
            d_ff,
            tied: false,
            embedding_scale: 1.0,
            logit_scale: 1.0,
            conditioning_scale: None,
        };
        assert_eq!(config.architecture(461), expected.into());
    }
}

/// Recurrent dropout and dropout each change the loss, the same way with the same seed.
#[test]
fn dropout_rates_of_the_config_reach_the_model() {
    let losses = |config: Config| {
        let music = music();
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            steps: Some(2),
            validation_every: Some(2),
            ..config
        };
        let mut run = Run::open(config, &music, data_set(), None, folder.path(), 1).unwrap();
        run.train(&AtomicBool::new(false), None).unwrap();
        run.progress().history[0].training_loss
    };
    for config in configs() {
        let of = |dropout_rate, recurrent_dropout| {
            losses(Config {
                dropout_rate,
                recurrent_dropout,
                ..config.clone()
            })
        };
        let none = of(0.0, 0.0);
        assert_ne!(of(0.4, 0.0), none, "{config:?}");
        assert_eq!(of(0.4, 0.0), of(0.4, 0.0), "{config:?}");
        let recurs = config.model_type == ModelType::Lstm;
        assert_eq!(of(0.0, 0.4) != none, recurs, "{config:?}");
    }
}

/// Four segments by heart, with nothing but them to learn.
#[test]
fn every_backbone_learns_a_few_segments_by_heart() {
    let backbones = [
        Config {
            positions: Some(PositionsKind::Learned),
            ..tiny()
        },
        Config {
            lstm_units: vec![128, 128],
            ..lstm()
        },
        Config {
            lstm_units: vec![128],
            ..attentive()
        },
        rwkv(),
    ];
    for backbone in backbones {
        let mut music = music();
        music.train.truncate(4);
        let config = Config {
            d_model: 64,
            d_ff: 256,
            num_layers: 2,
            segment_bars: Some(2),
            dropout_rate: 0.0,
            label_smoothing: 0.0,
            transpose: Some((0, 0)),
            unconditioned: 0.0,
            genre_dropout: 0.0,
            instrument_dropout: 0.0,
            piece_start: 1.0,
            genre_balance: 1.0,
            piece_balance: 1.0,
            batch_size: 8,
            micro_batch_tokens: 1024,
            steps: Some(240),
            validation_every: Some(60),
            validation_segments: 1,
            ..backbone
        };
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::open(config, &music, data_set(), None, folder.path(), 2).unwrap();
        run.train(&AtomicBool::new(false), None).unwrap();
        let loss = run.progress().history.last().unwrap().training_loss;
        println!("{loss:.3} nats a token");
        assert!(loss < 0.2, "{loss}");
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
