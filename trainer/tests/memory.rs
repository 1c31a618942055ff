//! What a step is said to take is about what it takes, and what is said to fit does.
#![cfg(target_os = "linux")]

mod music;

use std::process::Command;

use famam_trainer::batches::{Draw, Purpose, Segment};
use famam_trainer::config::training::{Config, Lora, ModelType, OptimizerKind, PositionsKind};
use famam_trainer::model::Model;
use famam_trainer::train::{Need, Workers};
use music::{music, tiny};
use serde_json::json;
use tch::Device;

const CONFIG: &str = "FAMAM_TEST_CONFIG";
const THREADS: usize = 2;

/// Models of some size, in whose steps each of the parts is the largest once.
fn configs() -> Vec<(&'static str, Config)> {
    let base = Config {
        num_layers: 8,
        d_model: 128,
        d_ff: 512,
        max_seq_length: 512,
        micro_batch_tokens: 1024,
        segment_bars: None,
        batch_size: 12,
        optimizer: OptimizerKind::Adamw,
        ..tiny()
    };
    let relative = Config {
        positions: Some(PositionsKind::Relative),
        ..base.clone()
    };
    let checkpointing = Config {
        gradient_checkpointing: true,
        num_layers: 16,
        ..base.clone()
    };
    let wide = Config {
        d_model: 768,
        d_ff: 3072,
        num_layers: 3,
        micro_batch_tokens: 256,
        max_seq_length: 128,
        batch_size: 24,
        ..base.clone()
    };
    let adapters = Config {
        lora: Some(Lora::default()),
        ..wide.clone()
    };
    let lstm = Config {
        model_type: ModelType::Lstm,
        lstm_units: vec![256; 4],
        micro_batch_tokens: 2048,
        ..base.clone()
    };
    vec![
        ("base", base),
        ("relative", relative),
        ("checkpointing", checkpointing),
        ("wide", wide),
        ("adapters", adapters),
        ("lstm", lstm),
    ]
}

fn segments(config: &Config) -> Vec<Segment> {
    let music = music();
    let draw = Draw::new(config, &music, &music.train);
    draw.segments(Purpose::Step(1), |segments, _| {
        segments >= config.batch_size
    })
}

fn need(config: &Config) -> (Need, u64) {
    let vocabulary = music().encoding.vocabulary_size();
    let need = Need::new(config, &config.architecture(vocabulary), THREADS);
    let segments = segments(config);
    let tokens: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
    (need, tokens as u64)
}

/// Not a test: a process whose memory the next test looks at.
#[test]
#[ignore = "run by another test"]
fn child() {
    tch::set_num_threads(1);
    let config: Config = serde_json::from_str(&std::env::var(CONFIG).unwrap()).unwrap();
    let segments = segments(&config);
    let vocabulary = music().encoding.vocabulary_size();
    let before = peak();
    let mut model = Model::new(&config.architecture(vocabulary), 1, Device::Cpu);
    if let Some(lora) = &config.lora {
        model = model.adapt(lora, 0, 1).unwrap();
    }
    let mut workers = Workers::new(model, &config, THREADS);
    for number in 1..=2 {
        workers.step(&config, &segments, number, 1e-3).unwrap();
    }
    println!("PEAK {}", peak() - before);
}

/// The most memory that this process had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1);
    1024 * number.unwrap().parse::<u64>().unwrap()
}

#[test]
fn a_step_takes_about_what_is_estimated() {
    for (name, config) in configs() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(CONFIG, json!(config).to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = said.split_whitespace().skip_while(|&word| word != "PEAK");
        let found: u64 = words
            .nth(1)
            .unwrap_or_else(|| panic!("{said}"))
            .parse()
            .unwrap();
        let (need, tokens) = need(&config);
        let share = need.of(tokens) as f64 / found as f64;
        println!(
            "{name}: {} MB estimated for {tokens} tokens, {} MB taken, {share:.2}",
            need.of(tokens) / 1_000_000,
            found / 1_000_000,
        );
        assert!((0.7..2.0).contains(&share), "{name}: {share}");
    }
}

/// The batch that is advised fits by the same estimate, and one more does not.
#[test]
fn the_batch_that_would_fit_is_the_largest() {
    for (name, config) in configs() {
        let (need, tokens) = need(&config);
        let all = need.of(tokens);
        need.check(&config, tokens, all).unwrap();
        let least = need.of(tokens / config.batch_size as u64);
        for share in [0.1, 0.5, 0.9] {
            let free = least + (share * (all - least) as f64) as u64;
            let error = need.check(&config, tokens, free).unwrap_err().to_string();
            let said = error.split("batch_size ").nth(1).unwrap();
            let batch: u64 = said.split(' ').next().unwrap().parse().unwrap();
            let of = |batch: u64| need.of((tokens * batch).div_ceil(config.batch_size as u64));
            assert!(of(batch) <= free && free < of(batch + 1), "{name}: {error}");
        }
        let error = need.check(&config, tokens, least / 2).unwrap_err();
        assert!(error.to_string().contains("no batch_size would fit"));
        let by_tokens = Config {
            batch_tokens: Some(tokens as usize),
            ..config
        };
        let error = need.check(&by_tokens, tokens, (least + all) / 2);
        assert!(error.unwrap_err().to_string().contains("batch_tokens "));
    }
}
