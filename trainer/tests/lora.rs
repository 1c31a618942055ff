//! Low-rank adapters: what they change, what they leave alone, and that nothing of them is seen once
//! they are merged.

mod music;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use famam_shared::architecture::Activation;
use famam_shared::bundle::Bundle;
use famam_shared::vocabulary::Vocabulary;
use famam_trainer::batches::{Draw, Music, Purpose, Segment};
use famam_trainer::checkpoint::{self, LAST, Record};
use famam_trainer::config::training::{Config, Lora, ModelType, PositionsKind};
use famam_trainer::export;
use famam_trainer::model::{Dropout, Model, Ragged};
use famam_trainer::pretrained::Pretrained;
use famam_trainer::train::{End, Error, Run, Workers};
use music::{data_set, music, noise_like, tiny};
use tch::{Device, Kind, Tensor};

/// A backbone of each kind, with every kind of linear map.
fn configs() -> [Config; 4] {
    [
        Config {
            activation: Activation::SwiGlu,
            num_layers: 2,
            ..tiny()
        },
        Config {
            positions: Some(PositionsKind::Relative),
            tied: false,
            ..tiny()
        },
        Config {
            model_type: ModelType::Lstm,
            lstm_units: vec![40, 24],
            recurrent_dropout: 0.1,
            attention_window: Some(20),
            ..tiny()
        },
        Config {
            model_type: ModelType::Rwkv,
            num_layers: 2,
            ..tiny()
        },
    ]
}

fn lora() -> Lora {
    Lora {
        rank: 3,
        alpha: 6.0,
        dropout: 0.1,
        ..Lora::default()
    }
}

fn base(config: &Config) -> Model {
    tch::set_num_threads(1);
    let vocabulary = music().encoding.vocabulary_size();
    Model::new(&config.architecture(vocabulary), 1, Device::Cpu)
}

fn adapted(config: &Config, lora: &Lora) -> Model {
    base(config).adapt(lora, 0, 1).unwrap()
}

/// Adds noise to all that is trained, as training would.
fn shake(model: &Model) {
    tch::no_grad(|| {
        for (seed, (_, tensor)) in (0..).zip(model.trained()) {
            let noise = noise_like(tensor, seed) * 0.2;
            let _ = tensor.shallow_clone().g_add_(&noise);
        }
    });
}

fn logits(model: &Model) -> Tensor {
    let vocabulary = model.architecture().vocabulary() as i64;
    let ids = (Tensor::arange(90, (Kind::Int64, Device::Cpu)) * 7).remainder(vocabulary);
    let batch = Ragged::unscored(&ids, &[50, 40]);
    tch::no_grad(|| model.logits(&model.hidden(&batch, &mut Dropout::none())))
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

fn segments(config: &Config) -> Vec<Segment> {
    let music = music();
    let draw = Draw::new(config, &music, &music.train);
    draw.segments(Purpose::Step(1), |segments, _| segments >= 4)
}

fn names(model: &Model) -> Vec<&str> {
    let trained = model.trained().iter();
    trained.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn adapters_begin_without_a_change_and_merge_into_the_same_model() {
    for config in configs() {
        let (base, adapted) = (base(&config), adapted(&config, &lora()));
        assert_eq!(difference(&logits(&base), &logits(&adapted)), 0.0);
        shake(&adapted);
        let (changed, merged) = (logits(&adapted), adapted.merged());
        let size = changed.abs().max().double_value(&[]);
        assert!(difference(&logits(&base), &changed) > 0.1 * size);
        let apart = difference(&changed, &logits(&merged));
        println!("{:?}: merged {apart:.1e} apart", config.model_type);
        assert!(apart < 1e-5, "{apart}");
        assert_eq!(difference(&changed, &logits(&adapted.replica())), 0.0);
        let of = |model: &Model| model.trained().len();
        assert_eq!(of(&merged), base.weights().len());
    }
}

#[test]
fn training_moves_adapters_and_no_weight_by_a_bit() {
    for config in configs() {
        let config = Config {
            lora: Some(lora()),
            ..config
        };
        let before = base(&config);
        let mut workers = Workers::new(adapted(&config, &lora()), &config, 2);
        let segments = segments(&config);
        let mut losses = Vec::new();
        for number in 1..=20 {
            losses.push(workers.step(&config, &segments, number, 0.01).unwrap());
        }
        let (first, last) = (losses[0], losses[19]);
        assert!(last < first, "{first} to {last}");
        let after = workers.model();
        for ((name, before), (_, after)) in std::iter::zip(before.weights(), after.weights()) {
            assert_eq!(before, after, "{name}");
        }
        let fresh = adapted(&config, &lora());
        for ((name, before), (_, after)) in std::iter::zip(fresh.trained(), after.trained()) {
            assert_ne!(before, after, "{name}");
        }
        // What is merged is what was trained.
        assert!(difference(&logits(after), &logits(&after.merged())) < 1e-5);
    }
}

#[test]
fn each_field_changes_what_it_names() {
    let [config, _, lstm, rwkv] = configs();
    let shapes = |lora: &Lora| {
        let model = adapted(&config, lora);
        let trained = model.trained().iter();
        trained
            .map(|(name, tensor)| (name.clone(), tensor.size()))
            .collect::<Vec<_>>()
    };
    for (name, size) in shapes(&lora()) {
        let rank = if name.ends_with(".a") {
            size[0]
        } else {
            size[1]
        };
        assert_eq!(rank, 3, "{name}");
    }
    assert_eq!(shapes(&Lora { rank: 7, ..lora() })[0].1[0], 7);

    // With twice the alpha the same adapters add twice as much: to the merged weights.
    let added = |alpha: f64| {
        let model = adapted(&config, &Lora { alpha, ..lora() });
        tch::no_grad(|| {
            for (_, tensor) in model.trained() {
                let _ = tensor.shallow_clone().fill_(0.5);
            }
        });
        let of = |model: &Model| model.weights()[3].1.detach();
        of(&model.merged()) - of(&model)
    };
    assert!(difference(&(added(6.0) * 2.0), &added(12.0)) < 1e-5);
    assert!(added(6.0).abs().max().double_value(&[]) > 0.1);

    let loss = |dropout: f64| {
        let lora = Lora { dropout, ..lora() };
        let config = Config {
            dropout_rate: 0.0,
            lora: Some(lora.clone()),
            ..config.clone()
        };
        let model = adapted(&config, &lora);
        shake(&model);
        let mut workers = Workers::new(model, &config, 1);
        workers.step(&config, &segments(&config), 1, 0.01).unwrap()
    };
    assert_eq!(loss(0.3), loss(0.3));
    assert_ne!(loss(0.0), loss(0.3));

    let chosen = |config: &Config, matrices: &[&str]| {
        let matrices = matrices.iter().map(|&name| name.to_owned()).collect();
        let model = adapted(config, &Lora { matrices, ..lora() });
        let names = names(&model);
        let weights = names.iter().map(|name| {
            let name = name.strip_prefix("lora.").unwrap();
            name.rsplit_once('.').unwrap().0.to_owned()
        });
        weights.collect::<BTreeSet<String>>()
    };
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let qkv = ["layers.0.qkv.weight", "layers.1.qkv.weight"];
    assert_eq!(chosen(&config, &["layers.*.qkv.weight"]), set(&qkv));
    assert_eq!(chosen(&config, &qkv[1..]), set(&qkv[1..]));
    let both = chosen(&config, &["*.qkv.*", "layers.0.*"]);
    let of_first = ["qkv", "out", "gate", "up", "down"].map(|n| format!("layers.0.{n}.weight"));
    let mut expected: BTreeSet<String> = of_first.into();
    expected.insert(qkv[1].to_owned());
    assert_eq!(both, expected);
    let recurrent = chosen(&lstm, &["*.recurrent.weight", "projection.weight"]);
    let names = ["layers.0.recurrent.weight", "layers.1.recurrent.weight"];
    assert_eq!(
        recurrent,
        set(&[&names[..], &["projection.weight"]].concat())
    );
    let mixing = ["receptance", "key", "value"];
    let mixing = mixing.map(|name| format!("layers.1.channel_mixing.{name}.weight"));
    let of_second = chosen(&rwkv, &["layers.1.channel_mixing.*"]);
    assert_eq!(of_second, mixing.into());
}

#[test]
fn what_means_nothing_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    for (field, block) in [
        ("lora.rank", r#"{"rank": 0}"#),
        ("lora.alpha", r#"{"alpha": -1}"#),
        ("lora.dropout", r#"{"dropout": 1}"#),
        ("lora.matrices", r#"{"matrices": []}"#),
        ("lora.matrices", r#"{"matrices": ["a***b"]}"#),
        ("ranks", r#"{"ranks": 2}"#),
    ] {
        std::fs::write(&path, format!("{{\"lora\": {block}}}")).unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let lora = Lora {
        matrices: vec!["layers.*.query.weight".to_owned()],
        ..lora()
    };
    let error = base(&tiny()).adapt(&lora, 0, 1).err().unwrap().to_string();
    assert!(
        error.contains("lora.matrices is layers.*.query.weight")
            && error.contains("layers.*.qkv.weight"),
        "{error}"
    );
    let config = Config {
        lora: Some(lora),
        ..tiny()
    };
    let music = music();
    let run = Run::open(config, &music, data_set(), None, folder.path(), 1);
    let error = run.err().unwrap().to_string();
    assert!(error.contains("--from"), "{error}");
}

/// The folder of a model that was trained a little.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        steps: Some(12),
        ..tiny()
    };
    let music = music();
    let run = Run::open(config, &music, data_set(), None, folder.path(), 2);
    run.unwrap().train(&AtomicBool::new(false), None).unwrap();
    folder
}

/// Music in genres of which the model does not know the last.
fn more_music() -> Music {
    let mut music = music();
    let genres = ["rock", "waltz", "polka"].map(str::to_owned);
    let spec = music.spec.clone();
    music.adopt(&spec, &Vocabulary::new(genres)).unwrap();
    for (i, piece) in music.train.iter_mut().enumerate() {
        piece.genre = (i % 4) as u16;
    }
    music
}

fn tune() -> Config {
    Config {
        lora: Some(lora()),
        steps: Some(16),
        genre_dropout: 0.0,
        unconditioned: 0.0,
        ..tiny()
    }
}

/// Fine-tunes the model in `from`, in sittings no longer than `limit`, and says how many there were.
fn fine_tune(from: &Path, into: &Path, limit: Option<Duration>) -> Result<usize, Error> {
    let music = more_music();
    for sitting in 1.. {
        let mut model = Pretrained::open(from)?;
        let config = tune().with_architecture(&model.architecture);
        model.meet(&music.spec, &music.vocabulary)?;
        let mut run = Run::open(config, &music, data_set(), Some(model), into, 2)?;
        if run.train(&AtomicBool::new(false), limit)? == End::Steps {
            return Ok(sitting);
        }
    }
    unreachable!()
}

fn history(folder: &Path) -> Vec<Record> {
    let state = checkpoint::read(&folder.join(LAST)).unwrap().state;
    let records = state.progress.history.into_iter();
    records
        .map(|record| Record {
            seconds: 0.0,
            ..record
        })
        .collect()
}

#[test]
fn a_run_with_adapters_grows_goes_on_exports_and_is_gone_on_from() {
    let from = trained();
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fine_tune(from.path(), whole.path(), None).unwrap();
    let sittings = fine_tune(from.path(), parts.path(), Some(Duration::from_millis(40))).unwrap();
    assert!(sittings > 2, "only {sittings} sittings");
    assert_eq!(history(whole.path()), history(parts.path()));
    let read = |folder: &Path| checkpoint::read(&folder.join(LAST)).unwrap();
    let (mut a, b) = (read(whole.path()), read(parts.path()));
    assert_eq!(a.tensors.len(), b.tensors.len());
    for (name, tensor) in &a.tensors {
        assert_eq!(*tensor, b.tensors[name], "{name}");
    }

    // The weights are those that it started from, with a row for the new genre, which was learned.
    let origin = Pretrained::open(from.path()).unwrap().model().unwrap();
    for (name, weight) in origin.weights() {
        let now = a.tensors[name].narrow(0, 0, weight.size()[0]);
        assert_eq!(now, *weight, "{name}");
    }
    let rows = &a.tensors["lora.embedding.weight.rows"];
    let before = a.tensors["embedding.weight"].shallow_clone();
    let known = before.size()[0] - 1;
    assert_eq!(rows.size(), [1, 32]);
    assert!(difference(rows, &before.narrow(0, known, 1)) > 1e-3);
    let rows = rows.shallow_clone();
    let merged = a.model().unwrap();
    let embedding = merged.weights()[0].1.detach();
    assert_eq!(embedding.narrow(0, known, 1), rows);
    assert_eq!(embedding.narrow(0, 0, known), before.narrow(0, 0, known));

    // Export compares it with libtorch on every engine; what goes on from it begins where it ended.
    let path = whole.path().join(LAST);
    let args = export::Args {
        checkpoint: path.clone(),
        output: whole.path().join("model.onnx"),
        int8: false,
        dataset: None,
        name: None,
        licence: String::new(),
        threads: Some(1),
    };
    export::run(&args).unwrap();
    let bundle = Bundle::read(&std::fs::read(&args.output).unwrap()).unwrap();
    let weights = bundle.weights().unwrap();
    for (name, weight) in merged.weights() {
        let values = Tensor::from_slice(&weights[name]).view(&weight.size()[..]);
        assert_eq!(values, *weight, "{name}");
    }
    let again = tempfile::tempdir().unwrap();
    fine_tune(&path, again.path(), None).unwrap();
    let (end, start) = (history(whole.path()), history(again.path()));
    let apart = end.last().unwrap().validation_loss - start[0].validation_loss;
    assert!(apart.abs() < 1e-5, "{apart}");
}

#[test]
fn a_checkpoint_without_its_adapters_is_refused() {
    let (from, into) = (trained(), tempfile::tempdir().unwrap());
    fine_tune(from.path(), into.path(), None).unwrap();
    let path = into.path().join(LAST);
    let change = |change: &dyn Fn(&str, Tensor) -> Option<Tensor>| {
        let mut stored = checkpoint::read(&path).unwrap();
        let tensors = stored.tensors.drain();
        let tensors =
            tensors.filter_map(|(name, tensor)| Some((name.clone(), change(&name, tensor)?)));
        let changed = into.path().join("changed.safetensors");
        checkpoint::write(&changed, &stored.state, &tensors.collect::<Vec<_>>()).unwrap();
        let mut stored = checkpoint::read(&changed).unwrap();
        stored.model().err().map(|error| error.to_string())
    };
    let name = "lora.layers.0.up.weight.b";
    let error = change(&|this, tensor| (this != name).then_some(tensor)).unwrap();
    assert!(error.contains(name) && error.contains("missing"), "{error}");
    for name in [name, "lora.embedding.weight.rows"] {
        let error = change(&|this, tensor| {
            Some(if this == name {
                tensor.tr().copy()
            } else {
                tensor
            })
        });
        let error = error.unwrap();
        assert!(error.contains(name) && error.contains("shape"), "{error}");
    }
    assert_eq!(change(&|_, tensor| Some(tensor)), None);
}
