//! Every field of a training config changes what it names, and nothing that it does not name.

mod music;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use famam_shared::architecture::Architecture;
use famam_shared::encoding::{Spec, grid, mmm};
use famam_shared::midi;
use famam_shared::quantize;
use famam_trainer::batches::{Draw, Music, Purpose, Segment};
use famam_trainer::build::build;
use famam_trainer::checkpoint::{BEST, LAST, Record};
use famam_trainer::config;
use famam_trainer::config::training::Config;
use famam_trainer::model::Model;
use famam_trainer::optimizer::{self, Settings, Step};
use famam_trainer::pretrained::Pretrained;
use famam_trainer::train::{self, End, Need, Run, Workers};
use music::{data_set, music_in, song, tiny};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

/// What can be seen of a config.
struct Seen<'a> {
    config: Config,
    music: &'a Music,
    /// Where its run goes.
    folder: PathBuf,
    architecture: Architecture,
    /// Fresh ones.
    weights: Vec<f32>,
    /// Names and shapes of what is trained.
    trained: Vec<(String, Vec<i64>)>,
    /// Segments to learn from, and to look at.
    training: Vec<Segment>,
    validation: Vec<Segment>,
    /// Of the fresh weights on the first of these segments.
    loss: Option<f64>,
    /// What the optimizer makes of weights and gradients that are always the same.
    update: Vec<f32>,
    /// What a step makes of the fresh weights.
    learned: Vec<f32>,
    ran: OnceCell<Ran>,
}

/// What can be seen of a run.
struct Ran {
    name: String,
    end: (End, u64),
    records: Vec<Record>,
    /// Files that it leaves, by their paths in its folder, without numbers.
    files: BTreeSet<String>,
}

impl<'a> Seen<'a> {
    fn of(config: Config, music: &'a Music, folder: PathBuf) -> Self {
        let architecture = config.architecture(music.encoding.vocabulary_size());
        let model = Model::new(&architecture, config.random_seed, Device::Cpu);
        let model = model.with_precision(config.precision);
        let weights = values(model.weights());
        let model = match &config.lora {
            Some(lora) => model.adapt(lora, 0, config.random_seed).unwrap(),
            None => model,
        };
        let trained = model.trained().iter();
        let trained = trained.map(|(name, tensor)| (name.clone(), tensor.size()));
        let trained = trained.collect();
        let draw = Draw::new(&config, music, &music.train);
        // So many that a small difference of the pieces' weights draws some others.
        let training = draw.segments(Purpose::Step(1), |segments, _| segments >= 512);
        let count = config.validation_segments;
        let draw = Draw::new(&config, music, &music.validation).unshifted();
        let validation = draw.segments(Purpose::Validation, |segments, _| segments >= count);
        let mut workers = Workers::new(model, &config, 1);
        Self {
            loss: workers.step(&config, &training[..8], 1, 0.01),
            learned: values(workers.model().merged().weights()),
            update: update(&config),
            ran: OnceCell::new(),
            config,
            music,
            folder,
            architecture,
            weights,
            trained,
            training,
            validation,
        }
    }

    fn need(&self) -> Need {
        Need::new(&self.config, &self.architecture, 1)
    }

    fn open(&self, folder: &Path) -> Run<'a> {
        let config = self.config.clone();
        Run::open(config, self.music, data_set(), None, folder, 1).unwrap()
    }

    fn ran(&self) -> &Ran {
        self.ran.get_or_init(|| {
            let mut run = self.open(&self.folder);
            let end = run.train(&AtomicBool::new(false), None).unwrap();
            let mut files = BTreeSet::new();
            list(&self.folder, "", &mut files);
            let progress = run.progress();
            Ran {
                name: Pretrained::open(&self.folder).unwrap().origin.name,
                end: (end, progress.step),
                records: progress.history.clone(),
                files,
            }
        })
    }

    fn records<T>(&self, what: impl Fn(&Record) -> T) -> Vec<T> {
        self.ran().records.iter().map(what).collect()
    }

    /// The step after which the first checkpoint is written: a folder stands in its place.
    fn saved(&self) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let mut run = self.open(folder.path());
        fs::create_dir_all(folder.path().join(LAST).join("in its place")).unwrap();
        run.train(&AtomicBool::new(false), None).unwrap_err();
        run.progress().step
    }

    /// What differs, and not by what differs already.
    fn differs(&self, other: &Self) -> BTreeSet<&'static str> {
        let place = |seen: &Self| config::expand(&seen.config.output_dir).unwrap();
        let (a, b) = (self, other);
        let stages: [&dyn Fn() -> Vec<(&'static str, bool)>; 7] = [
            &|| {
                vec![
                    ("place", place(a) == place(b)),
                    ("warnings", a.config.warnings() == b.config.warnings()),
                    ("architecture", a.architecture == b.architecture),
                ]
            },
            &|| {
                vec![
                    ("weights", a.weights == b.weights),
                    ("trained", a.trained == b.trained),
                    ("training segments", a.training == b.training),
                    ("validation segments", a.validation == b.validation),
                ]
            },
            &|| vec![("loss", a.loss == b.loss), ("update", a.update == b.update)],
            &|| {
                vec![
                    ("gradients", a.learned == b.learned),
                    ("memory", a.need() == b.need()),
                ]
            },
            &|| {
                let (a, b) = (a.ran(), b.ran());
                vec![
                    ("name", a.name == b.name),
                    ("end", a.end == b.end),
                    ("files", a.files == b.files),
                ]
            },
            &|| {
                let steps = |seen: &Self| seen.records(|record| (record.step, record.tokens));
                let rates = |seen: &Self| seen.records(|record| record.learning_rate);
                vec![
                    ("steps", steps(a) == steps(b)),
                    ("rates", rates(a) == rates(b)),
                ]
            },
            &|| vec![("saved", a.saved() == b.saved())],
        ];
        let differ = |stage: &dyn Fn() -> Vec<(&'static str, bool)>| -> BTreeSet<&'static str> {
            let differ = stage().into_iter().filter(|(_, same)| !same);
            differ.map(|(what, _)| what).collect()
        };
        let mut stages = stages.into_iter().map(differ);
        stages.find(|differ| !differ.is_empty()).unwrap_or_default()
    }
}

fn values(weights: &[(String, Tensor)]) -> Vec<f32> {
    let weights = weights.iter().map(|(_, weight)| weight.flatten(0, -1));
    weights
        .flat_map(|weight| Vec::<f32>::try_from(weight.detach()).unwrap())
        .collect()
}

fn update(config: &Config) -> Vec<f32> {
    let matrix = || {
        Tensor::arange(16, (Kind::Float, Device::Cpu))
            .sin()
            .view([4, 4])
    };
    let weights =
        ["embedding.weight", "layers.0.up.weight"].map(|name| (name.to_owned(), matrix()));
    for slot in &mut optimizer::slots(config.optimizer, &weights) {
        for number in 1..=3 {
            let step = Step {
                number,
                rate: 0.01,
                scale: 1.0,
            };
            slot.update(&Settings::new(config), step, &matrix());
        }
    }
    values(&weights)
}

/// The paths of all files below, each number in them as `#`.
fn list(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let name: String = name.split(|c: char| c.is_ascii_digit()).collect();
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            list(&path, &format!("{name}/"), files);
        } else {
            files.insert(name);
        }
    }
}

/// A config as its file says it, where `base` has other fields.
fn with(base: &Value, changes: &[&Map<String, Value>]) -> Value {
    let mut config = base.clone();
    for (field, value) in changes.iter().copied().flatten() {
        *field.split('.').fold(&mut config, |at, part| &mut at[part]) = value.clone();
    }
    config
}

/// What a config's file is refused with.
fn load(config: &Value) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    fs::write(&path, config.to_string()).unwrap();
    Config::load(&path).map_err(|error| error.to_string())
}

/// The fields of a config, those of its blocks as `block.field`.
fn fields(config: &Value, block: &str) -> BTreeSet<String> {
    let own = config.as_object().into_iter().flatten();
    own.flat_map(|(name, value)| match value {
        // What it maps are names of sources.
        Value::Object(_) if name != "source_weights" => fields(value, &format!("{block}{name}.")),
        _ => [format!("{block}{name}")].into(),
    })
    .collect()
}

/// A run of a moment in which every field has something to change.
fn base() -> Value {
    let config = Config {
        output_dir: "here".to_owned(),
        batch_size: 3,
        steps: Some(4),
        warmup_steps: 1,
        validation_every: Some(2),
        ..tiny()
    };
    json!(config)
}

#[test]
fn every_field_changes_what_it_names() {
    let nothing = json!({});
    let lstm = json!({ "model_type": "lstm" });
    let relative = json!({ "positions": null });
    let rmsprop = json!({ "optimizer": "rmsprop" });
    let sgd = json!({ "optimizer": "sgd", "gradient_clip_value": 0.05 });
    let whole = json!({ "max_seq_length": 1024 });
    let told = json!({ "unconditioned": 0.0 });
    let told_whole = json!({ "max_seq_length": 1024, "unconditioned": 0.0 });
    let lora = json!({ "lora": {} });
    let added = json!({ "conditioning": "added" });
    // Without other dropout, whose masks would be others.
    let alone = json!({ "lora": {}, "dropout_rate": 0.0 });
    let logs = json!({ "use_tensorboard": true });
    let epoch = json!({ "steps": null, "epochs": 1, "validation_every": 8 });
    let impatient =
        json!({ "steps": 8, "early_stopping_patience": 1, "early_stopping_min_delta": 100.0 });
    let stopping = json!({ "steps": 8, "early_stopping_patience": 1, "use_early_stopping": true });
    let stopped = json!({
        "steps": 8, "early_stopping_patience": 1, "early_stopping_min_delta": 100.0, "use_early_stopping": true,
    });
    let segments = &["training segments", "validation segments"][..];
    let wanted = &["training segments"][..];
    // Field, value, the fields without which it has no effect, and what differs by it.
    let rows: Vec<(&str, Value, &Value, &[&str])> = vec![
        ("model_name", json!("other"), &nothing, &["name"]),
        ("model_type", json!("lstm"), &nothing, &["architecture"]),
        ("max_seq_length", json!(48), &nothing, segments),
        ("d_model", json!(64), &nothing, &["architecture"]),
        ("dropout_rate", json!(0.5), &nothing, &["loss"]),
        ("num_layers", json!(2), &nothing, &["architecture"]),
        ("num_heads", json!(2), &nothing, &["architecture"]),
        ("d_ff", json!(64), &nothing, &["architecture"]),
        (
            "use_relative_attention",
            json!(false),
            &relative,
            &["architecture"],
        ),
        (
            "max_relative_position",
            json!(9),
            &relative,
            &["architecture"],
        ),
        ("lstm_units", json!([16]), &lstm, &["architecture"]),
        ("bidirectional", json!(true), &lstm, &["refused"]),
        ("recurrent_dropout", json!(0.5), &lstm, &["loss"]),
        ("batch_size", json!(4), &nothing, &["steps"]),
        ("epochs", json!(2), &epoch, &["end"]),
        ("learning_rate", json!(0.02), &nothing, &["rates"]),
        ("warmup_steps", json!(4), &nothing, &["rates"]),
        ("warmup_ratio", json!(0.9), &nothing, &["rates"]),
        ("label_smoothing", json!(0.5), &nothing, &["loss"]),
        ("optimizer", json!("adam"), &nothing, &["update"]),
        ("weight_decay", json!(0.5), &nothing, &["update"]),
        ("beta_1", json!(0.5), &nothing, &["update"]),
        ("beta_2", json!(0.5), &nothing, &["update"]),
        ("epsilon", json!(0.1), &nothing, &["update"]),
        ("momentum", json!(0.5), &sgd, &["update"]),
        ("rho", json!(0.5), &rmsprop, &["update"]),
        ("use_lr_schedule", json!(false), &nothing, &["rates"]),
        ("lr_schedule_type", json!("constant"), &nothing, &["rates"]),
        ("use_gradient_clipping", json!(false), &sgd, &["gradients"]),
        ("gradient_clip_value", json!(0.01), &sgd, &["gradients"]),
        ("use_early_stopping", json!(true), &impatient, &["end"]),
        ("early_stopping_patience", json!(3), &stopped, &["end"]),
        (
            "early_stopping_min_delta",
            json!(100.0),
            &stopping,
            &["end"],
        ),
        // What is watched and kept is always the same.
        (
            "early_stopping_monitor",
            json!("loss"),
            &nothing,
            &["warnings"],
        ),
        ("use_checkpointing", json!(false), &nothing, &["warnings"]),
        ("checkpoint_monitor", json!("loss"), &nothing, &["warnings"]),
        ("save_best_only", json!(false), &nothing, &["warnings"]),
        ("use_tensorboard", json!(true), &nothing, &["files"]),
        ("tensorboard_log_dir", json!("events"), &logs, &["files"]),
        ("output_dir", json!("there"), &nothing, &["place"]),
        ("save_history", json!(false), &nothing, &["files"]),
        ("save_final_model", json!(false), &nothing, &["warnings"]),
        (
            "random_seed",
            json!(7),
            &nothing,
            &["training segments", "validation segments", "weights"],
        ),
        ("shuffle", json!(false), &nothing, &["warnings"]),
        // The whole data set is in memory.
        ("shuffle_buffer_size", json!(9), &nothing, &[]),
        (
            "distribution_strategy",
            json!("mirrored"),
            &nothing,
            &["refused"],
        ),
        ("batch_size_per_replica", json!(4), &nothing, &["warnings"]),
        ("positions", json!("learned"), &nothing, &["architecture"]),
        ("rotary_theta", json!(100.0), &nothing, &["architecture"]),
        ("kv_heads", json!(4), &nothing, &["architecture"]),
        ("activation", json!("swi_glu"), &nothing, &["architecture"]),
        ("tied", json!(false), &nothing, &["architecture"]),
        ("embedding_scale", json!(2.0), &nothing, &["architecture"]),
        ("logit_scale", json!(0.5), &nothing, &["architecture"]),
        ("conditioning", json!("added"), &nothing, &["architecture"]),
        ("conditioning_scale", json!(0.5), &added, &["architecture"]),
        ("segment_bars", json!(2), &nothing, segments),
        ("batch_tokens", json!(200), &nothing, &["steps"]),
        ("accumulation_steps", json!(2), &nothing, &["steps"]),
        // Each micro-batch draws its own dropout.
        ("micro_batch_tokens", json!(50), &nothing, &["loss"]),
        ("precision", json!("bf16"), &nothing, &["loss", "update"]),
        // That a step takes what it is said to take, tests/memory.rs proves.
        ("gradient_checkpointing", json!(true), &nothing, &["memory"]),
        ("lora", json!({}), &nothing, &["trained"]),
        ("lora.rank", json!(3), &lora, &["trained"]),
        ("lora.alpha", json!(9.0), &lora, &["gradients"]),
        ("lora.dropout", json!(0.5), &alone, &["gradients"]),
        (
            "lora.matrices",
            json!(["layers.*.up.weight"]),
            &lora,
            &["trained"],
        ),
        ("steps", json!(6), &nothing, &["end"]),
        ("final_learning_rate", json!(0.5), &nothing, &["rates"]),
        ("transpose", json!([0, 0]), &nothing, &["training segments"]),
        ("token_dropout", json!(0.5), &nothing, &["loss"]),
        ("unconditioned", json!(1.0), &nothing, segments),
        ("genre_dropout", json!(1.0), &told, segments),
        ("instrument_dropout", json!(1.0), &told, segments),
        ("metre_dropout", json!(1.0), &told, segments),
        ("tempo_dropout", json!(1.0), &told, segments),
        ("piece_start", json!(1.0), &nothing, segments),
        (
            "genre_balance",
            json!(0.0),
            &nothing,
            &["training segments"],
        ),
        (
            "piece_balance",
            json!(0.0),
            &nothing,
            &["training segments"],
        ),
        ("source_weights", json!({ "band": 0.0 }), &nothing, segments),
        ("validation_every", json!(1), &nothing, &["rates", "steps"]),
        ("sample_every_epochs", json!(1), &epoch, &["files"]),
        (
            "validation_segments",
            json!(3),
            &nothing,
            &["validation segments"],
        ),
        ("checkpoint_minutes", json!(1e-9), &nothing, &["saved"]),
        ("attention_window", json!(8), &lstm, &["architecture"]),
        ("fill_in", json!(1.0), &whole, &["training segments"]),
        ("uses.continuation", json!(9.0), &whole, wanted),
        ("uses.cells", json!(9.0), &whole, wanted),
        ("uses.bars", json!(9.0), &whole, wanted),
        ("uses.tracks", json!(9.0), &whole, wanted),
        ("uses.sections", json!(9.0), &whole, wanted),
        ("uses.ends", json!(9.0), &whole, wanted),
        ("key_dropout", json!(1.0), &told_whole, segments),
        ("track_dropout", json!(1.0), &told_whole, segments),
        ("chord_dropout", json!(1.0), &whole, segments),
    ];
    let (folder, base) = (tempfile::tempdir().unwrap(), base());
    let music = music::with_heads();
    let by_track = music_in(&Spec::Mmm(mmm::Settings {
        window_bars: 2,
        ..mmm::Settings::default()
    }));
    let cells = music_in(&Spec::Grid(grid::Settings::new(quantize::Settings {
        chords: true,
        ..grid::Settings::default().music
    })));
    let mut known = fields(&json!(Config::default()), "");
    let see = |changes: &[&Map<String, Value>], music, run: String| {
        let config = load(&with(&base, changes))?;
        Ok::<_, String>(Seen::of(config, music, folder.path().join(run)))
    };
    let (mut before, mut wrong) = (BTreeMap::new(), Vec::new());
    for (field, value, given, expected) in &rows {
        let given = given.as_object().unwrap();
        let row = Map::from_iter([((*field).to_owned(), value.clone())]);
        // Bars can be left open where they are said track by track.
        let music = match *field {
            "fill_in" => &by_track,
            "key_dropout" | "track_dropout" | "chord_dropout" => &cells,
            field if field.starts_with("uses.") => &cells,
            _ => &music,
        };
        let count = before.len();
        let before = before
            .entry((json!(given).to_string(), music.spec.name()))
            .or_insert_with(|| see(&[given], music, format!("before {count}")).unwrap());
        let differs = match see(&[given, &row], music, (*field).to_owned()) {
            Ok(after) => {
                known.extend(fields(&json!(after.config), ""));
                before.differs(&after)
            }
            Err(_) => ["refused"].into(),
        };
        if differs != expected.iter().copied().collect() {
            wrong.push(format!("{field}: {differs:?} differs, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let tested = rows.iter().map(|(field, ..)| (*field).to_owned()).collect();
    assert_eq!(known, tested, "each field has a row");
}

/// Field, value, the fields beside it, and what the sentence says would be right.
#[test]
fn a_wrong_value_is_refused_with_the_field_and_what_would_be_right() {
    let nothing = json!({});
    let lstm = json!({ "model_type": "lstm" });
    let exponential = json!({ "lr_schedule_type": "exponential" });
    let lora = json!({ "lora": {} });
    let useless =
        json!({ "uses": { "cells": 0, "bars": 0, "tracks": 0, "sections": 0, "ends": 0 } });
    let below_1 = "0 or more and below 1";
    let share = "a number from 0 to 1";
    let positive = "a number above 0";
    let rows: Vec<(&str, Value, &Value, &str)> = vec![
        ("max_seq_length", json!(0), &nothing, "1 to 65536"),
        ("max_seq_length", json!(15), &nothing, "at least 16"),
        ("d_model", json!(20_000), &nothing, "1 to 16384"),
        ("d_model", json!(36), &nothing, "a multiple of 2 num_heads"),
        ("num_layers", json!(0), &nothing, "1 to 256"),
        ("num_heads", json!(257), &nothing, "1 to 256"),
        ("kv_heads", json!(0), &nothing, "a divisor of num_heads"),
        ("kv_heads", json!(3), &nothing, "a divisor of num_heads"),
        ("d_ff", json!(0), &nothing, "1 to 65536"),
        ("max_relative_position", json!(0), &nothing, "1 to 65536"),
        (
            "lstm_units",
            json!([]),
            &lstm,
            "1 to 128 layers of 1 to 8,192 units each",
        ),
        (
            "lstm_units",
            json!([16, 0]),
            &lstm,
            "1 to 128 layers of 1 to 8,192 units each",
        ),
        (
            "attention_window",
            json!(1),
            &lstm,
            "from 2 to max_seq_length, at most 4,096",
        ),
        (
            "bidirectional",
            json!(true),
            &lstm,
            "false, as a model that reads backwards, too, would see the tokens that it has to foretell",
        ),
        ("dropout_rate", json!(1.0), &nothing, below_1),
        ("recurrent_dropout", json!(-0.1), &nothing, below_1),
        ("label_smoothing", json!(1.5), &nothing, below_1),
        ("beta_1", json!(1.0), &nothing, below_1),
        ("beta_2", json!(-1.0), &nothing, below_1),
        ("momentum", json!(1.0), &nothing, below_1),
        ("rho", json!(2.0), &nothing, below_1),
        ("token_dropout", json!(1.0), &nothing, below_1),
        ("unconditioned", json!(1.1), &nothing, share),
        ("genre_dropout", json!(-1.0), &nothing, share),
        ("instrument_dropout", json!(2.0), &nothing, share),
        ("piece_start", json!(1.5), &nothing, share),
        ("genre_balance", json!(1.5), &nothing, share),
        ("fill_in", json!(-0.5), &nothing, share),
        ("uses.cells", json!(-1.0), &nothing, "0 or more"),
        ("uses.ends", json!(-0.5), &nothing, "0 or more"),
        (
            "uses.continuation",
            json!(0.0),
            &useless,
            "above 0 where all other uses are 0",
        ),
        ("key_dropout", json!(1.5), &nothing, share),
        ("track_dropout", json!(-0.5), &nothing, share),
        ("chord_dropout", json!(2.0), &nothing, share),
        ("piece_balance", json!(-0.5), &nothing, share),
        ("warmup_ratio", json!(10.0), &nothing, share),
        ("final_learning_rate", json!(1.5), &nothing, share),
        (
            "final_learning_rate",
            json!(0.0),
            &exponential,
            "above 0 with the schedule exponential, which never reaches 0",
        ),
        ("lora.rank", json!(0), &lora, "1 to 4,096"),
        ("lora.alpha", json!(-1.0), &lora, positive),
        ("lora.dropout", json!(1.0), &lora, below_1),
        (
            "lora.matrices",
            json!(["a***b"]),
            &lora,
            "names or patterns of weights, like layers.*.qkv.weight",
        ),
        ("learning_rate", json!(0.0), &nothing, positive),
        ("epsilon", json!(-0.5), &nothing, positive),
        ("gradient_clip_value", json!(0.0), &nothing, positive),
        ("checkpoint_minutes", json!(0.0), &nothing, positive),
        ("rotary_theta", json!(0.0), &nothing, positive),
        ("logit_scale", json!(-1.0), &nothing, positive),
        ("embedding_scale", json!(0.0), &nothing, positive),
        ("weight_decay", json!(-0.1), &nothing, "0 or more"),
        (
            "early_stopping_min_delta",
            json!(-1.0),
            &nothing,
            "0 or more",
        ),
        ("batch_size", json!(0), &nothing, "1 to 1048576"),
        ("batch_tokens", json!(0), &nothing, "1 to 1073741824"),
        ("accumulation_steps", json!(0), &nothing, "1 to 1048576"),
        ("micro_batch_tokens", json!(0), &nothing, "1 to 1073741824"),
        ("segment_bars", json!(0), &nothing, "1 to 1048576"),
        ("validation_segments", json!(0), &nothing, "1 to 1048576"),
        ("epochs", json!(0), &nothing, "at least 1"),
        ("steps", json!(0), &nothing, "at least 1"),
        ("validation_every", json!(0), &nothing, "at least 1"),
        ("sample_every_epochs", json!(0), &nothing, "at least 1"),
        (
            "source_weights",
            json!({ "band": -1.0 }),
            &nothing,
            "0 or more each",
        ),
        (
            "transpose",
            json!([3, -3]),
            &nothing,
            "the lowest and the highest shift in semitones, -127 to 127, or null",
        ),
    ];
    let base = base();
    for (field, value, beside, expected) in rows {
        let row = Map::from_iter([(field.to_owned(), value.clone())]);
        let refused = load(&with(&base, &[beside.as_object().unwrap(), &row])).unwrap_err();
        // A number may be said without its `.0`.
        let value = value.to_string();
        let value = value.strip_suffix(".0").unwrap_or(&value);
        assert_eq!(refused, format!("{field} is {value}: expected {expected}"));
    }
}

#[test]
fn a_field_that_is_none_and_a_value_of_another_kind_are_named() {
    let base = base();
    let refused = |field: &str, value: Value| {
        let row = Map::from_iter([(field.to_owned(), value)]);
        load(&with(&base, &[&row])).unwrap_err()
    };
    let message = refused("learning_rat", json!(0.1));
    assert!(
        message.contains("unknown field `learning_rat`, expected one of"),
        "{message}"
    );
    assert!(message.contains("`learning_rate`"), "{message}");
    for field in fields(&base, "") {
        let message = refused(&field, json!({ "no": ["such"] }));
        assert!(
            message.contains("c.json: ") && message.contains("expected "),
            "{message}"
        );
        assert!(message.contains(&format!(": {field}")), "{message}");
    }
}

#[test]
fn without_another_word_a_run_goes_where_its_config_says() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: train::Args,
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("midi")).unwrap();
    for i in 0..6 {
        midi::write_file(at(&format!("midi/{i}.mid")), &song(i, 8, 12)).unwrap();
    }
    let set = config::dataset::Config {
        input_dirs: vec![at("midi")],
        output_path: at("set.h5"),
        encoder_type: config::dataset::EncoderType::Multitrack,
        verbose: false,
        ..Default::default()
    };
    build(&set, 2, &AtomicBool::new(false)).unwrap();
    for run in ["here", "there"] {
        let training = Config {
            output_dir: at(run),
            steps: Some(2),
            ..tiny()
        };
        fs::write(at("train.json"), json!(training).to_string()).unwrap();
        let line = [
            "train",
            &at("train.json"),
            "--dataset",
            &at("set.h5"),
            "--threads",
            "1",
        ];
        train::run(&<Line as clap::Parser>::parse_from(line).args).unwrap();
        assert!(folder.path().join(run).join(BEST).exists(), "{run}");
    }
}
