//! Gradient checkpointing changes memory and time, and nothing else.

mod music;

use std::process::Command;
use std::sync::atomic::AtomicBool;

use famam_trainer::batches::{Draw, Purpose, Segment};
use famam_trainer::checkpoint::{self, LAST};
use famam_trainer::config::training::{
    Config, Lora, ModelType, PositionsKind, Precision, ScheduleKind,
};
use famam_trainer::model::{Dropout, Model, Ragged};
use famam_trainer::train::Run;
use music::{data_set, music, tiny};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

/// Every kind of backbone, with every kind of dropout.
fn configs() -> Vec<Config> {
    let deep = Config {
        num_layers: 3,
        ..tiny()
    };
    let positions = |positions| Config {
        positions: Some(positions),
        ..deep.clone()
    };
    vec![
        deep.clone(),
        positions(PositionsKind::Relative),
        positions(PositionsKind::Learned),
        Config {
            precision: Precision::Bf16,
            ..deep.clone()
        },
        Config {
            lora: Some(Lora {
                dropout: 0.2,
                ..Lora::default()
            }),
            ..deep
        },
        Config {
            model_type: ModelType::Lstm,
            lstm_units: vec![40, 24, 32],
            recurrent_dropout: 0.2,
            attention_window: Some(20),
            ..tiny()
        },
        Config {
            model_type: ModelType::Rwkv,
            num_layers: 3,
            ..tiny()
        },
    ]
}

fn model(config: &Config) -> Model {
    let vocabulary = music().encoding.vocabulary_size();
    let model = Model::new(&config.architecture(vocabulary), 1, Device::Cpu);
    let model = match &config.lora {
        Some(lora) => model.adapt(lora, 2, 1).unwrap(),
        None => model,
    };
    model.with_precision(config.precision)
}

fn segments(config: &Config, count: usize) -> Vec<Segment> {
    let music = music();
    let draw = Draw::new(config, &music, &music.train);
    draw.segments(Purpose::Step(1), |segments, _| segments >= count)
}

#[test]
fn loss_and_gradients_are_the_same_to_the_bit_with_dropout_on() {
    for config in configs() {
        let gradients = |checkpointing: bool| {
            tch::set_num_threads(1);
            let model = model(&config);
            let mut dropout = Dropout::new(0.2, ChaCha8Rng::seed_from_u64(5))
                .with_recurrent(config.recurrent_dropout)
                .with_adapters(config.lora.as_ref().map_or(0.0, |lora| lora.dropout));
            let segments = segments(&config, 5);
            let streams = segments.iter().map(|s| (&s.tokens[..], s.first, s.first));
            let batch = Ragged::new(model.architecture().ends(), streams, Device::Cpu);
            let loss = model.backward(&batch, &mut dropout, 0.1, 0.01, checkpointing);
            let trained = model.trained().iter();
            let gradients = trained.map(|(name, weight)| (name.clone(), weight.grad()));
            (loss, gradients.collect::<Vec<(String, Tensor)>>())
        };
        let ((loss, kept), (again, recomputed)) = (gradients(false), gradients(true));
        assert_eq!(loss, again);
        for ((name, kept), (_, recomputed)) in std::iter::zip(&kept, &recomputed) {
            assert_eq!(kept, recomputed, "{name} of {config:?}");
        }
        assert!(kept.iter().any(|(_, gradient)| {
            let most = gradient.abs().max().double_value(&[]);
            most > 1e-4
        }));
    }
}

#[test]
fn a_run_has_the_same_losses_and_may_change_its_mind() {
    let music = music();
    let histories = [[false, false], [true, true], [true, false]].map(|sittings| {
        let folder = tempfile::tempdir().unwrap();
        for (steps, gradient_checkpointing) in std::iter::zip([4, 8], sittings) {
            let config = Config {
                gradient_checkpointing,
                steps: Some(steps),
                lr_schedule_type: ScheduleKind::Constant,
                ..tiny()
            };
            let run = Run::open(config, &music, data_set(), None, folder.path(), 2);
            run.unwrap().train(&AtomicBool::new(false), None).unwrap();
        }
        let state = checkpoint::read(&folder.path().join(LAST)).unwrap().state;
        let history = state.progress.history.into_iter();
        history
            .map(|record| (record.training_loss, record.validation_loss))
            .collect::<Vec<_>>()
    });
    assert_eq!(histories[0].len(), 2);
    assert_eq!(histories[0], histories[1]);
    assert_eq!(histories[0], histories[2]);
}

const CHECKPOINTING: &str = "FAMAM_TEST_CHECKPOINTING";

/// Not a test: a process whose memory the next test looks at.
#[test]
#[ignore = "run by another test"]
fn child() {
    tch::set_num_threads(1);
    let config = Config {
        num_layers: 12,
        d_model: 128,
        d_ff: 512,
        max_seq_length: 512,
        segment_bars: None,
        ..tiny()
    };
    let model = model(&config);
    let segments = segments(&config, 8);
    let streams = segments.iter().map(|s| (&s.tokens[..], s.first, s.first));
    let batch = Ragged::new(model.architecture().ends(), streams, Device::Cpu);
    let mut dropout = Dropout::new(0.1, ChaCha8Rng::seed_from_u64(5));
    let before = peak();
    let checkpointing = std::env::var(CHECKPOINTING).unwrap() == "true";
    let loss = model.backward(&batch, &mut dropout, 0.0, 0.01, checkpointing);
    println!("PEAK {} {loss}", peak().saturating_sub(before));
}

/// The most memory that this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn the_peak_of_memory_is_a_fraction() {
    let [kept, recomputed] = [false, true].map(|checkpointing| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(CHECKPOINTING, checkpointing.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = said.split_whitespace().skip_while(|&word| word != "PEAK");
        let peak: u64 = words
            .nth(1)
            .unwrap_or_else(|| panic!("{said}"))
            .parse()
            .unwrap();
        (peak, words.next().unwrap().to_owned())
    });
    println!(
        "a step adds {} MB, with gradient checkpointing {} MB",
        kept.0 / 1000,
        recomputed.0 / 1000
    );
    assert_eq!(kept.1, recomputed.1, "the losses");
    assert!(2 * recomputed.0 < kept.0, "{recomputed:?} and {kept:?} KiB");
}
