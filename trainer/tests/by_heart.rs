//! Every backbone learns four segments of every encoding by heart, becomes a bundle, and plays in
//! the built plugin.

mod music;

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use famam_shared::encoding::{Spec, grid, mmm, multitrack};
use famam_shared::quantize::quantize;
use famam_tests::built;
use famam_tests::host::Format;
use famam_tests::performance::{self, Settings};
use famam_tests::state::State;
use famam_trainer::batches::{Music, Reading};
use famam_trainer::checkpoint::LAST;
use famam_trainer::config::training::{Config, OptimizerKind, Precision, Uses};
use famam_trainer::dataset::{Piece, Split};
use famam_trainer::train::Run;
use music::{data_set, song, vocabulary};
use serde_json::json;

const BARS: u32 = 8;
/// Nats a token, and the steps in which they must be reached.
const LOSS: f64 = 0.2;
const STEPS: u64 = 1500;

/// A name, and what it changes in the config.
fn backbones() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("relative", json!({"positions": "relative"})),
        ("rotary", json!({"positions": "rotary"})),
        ("sinusoidal", json!({"positions": "sinusoidal"})),
        ("learned", json!({"positions": "learned"})),
        (
            "lstm",
            json!({"model_type": "lstm", "lstm_units": [256, 256]}),
        ),
        ("rwkv", json!({"model_type": "rwkv"})),
    ]
}

/// With the tracks that a stream has.
fn encodings() -> Vec<(Spec, usize)> {
    vec![
        (Spec::Multitrack(multitrack::Settings::default()), 3),
        (Spec::Remi(multitrack::Settings::default()), 1),
        (Spec::Event(multitrack::Settings::default()), 1),
        (Spec::Mmm(mmm::Settings::default()), 3),
        (Spec::Grid(grid::Settings::default()), 3),
    ]
}

/// Four segments to learn, of three tracks or of one, and another to look at.
fn music(spec: &Spec, tracks: usize) -> Music {
    let encoding = spec.build(vocabulary().genres.len()).expect("an encoding");
    let piece = |i: u64| {
        let mut score = song(i, BARS, (108 / tracks) as u32);
        score.tracks.rotate_left(i as usize % 3);
        score.tracks.truncate(tracks);
        let (quantized, losses) = quantize(&score, encoding.quantize_settings());
        Piece {
            body: encoding.encode(&quantized).remove(0),
            genre: (i % 2) as u16 + 1,
            song: i.to_string(),
            split: if i < 4 {
                Split::Train
            } else {
                Split::Validation
            },
            notes: losses.notes as u32,
            source: String::new(),
            name: format!("{i}.mid"),
        }
    };
    Music {
        vocabulary: vocabulary(),
        train: (0..4).map(piece).collect(),
        validation: vec![piece(4)],
        reading: Reading {
            segment_bars: None,
            shifts: vec![0],
            tempos: vec![0],
        },
        spec: spec.clone(),
        encoding,
    }
}

/// Learns, exports, plays; tells what it took.
fn learn(
    backbone: &serde_json::Value,
    spec: &Spec,
    tracks: usize,
) -> Result<String, Box<dyn Error>> {
    let music = music(spec, tracks);
    let tokens = music.train_tokens();
    assert!((3000..6000).contains(&tokens), "{tokens} tokens");
    let longest = music.train.iter().map(|piece| piece.body.tokens.len());
    let small = Config {
        max_seq_length: longest.max().unwrap_or(0) + 16,
        num_layers: 2,
        d_model: 128,
        num_heads: 4,
        d_ff: 512,
        dropout_rate: 0.0,
        label_smoothing: 0.0,
        // As the plugin asks when nobody chose anything.
        unconditioned: 1.0,
        uses: Uses::none_wanted(),
        piece_start: 1.0,
        batch_size: 4,
        micro_batch_tokens: 4096,
        precision: Precision::Fp32,
        optimizer: OptimizerKind::Muon,
        learning_rate: 0.01,
        warmup_steps: 10,
        steps: Some(STEPS),
        validation_every: Some(25),
        validation_segments: 1,
        use_early_stopping: false,
        ..Config::default()
    };
    let mut config = json!(small);
    let fields = config.as_object_mut().ok_or("no object")?;
    fields.extend(backbone.as_object().ok_or("no object")?.clone());
    let config: Config = serde_json::from_value(config)?;

    let folder = tempfile::tempdir()?;
    let begun = Instant::now();
    let mut run = Run::open(config, &music, data_set(), None, folder.path(), 2)?;
    let stop = AtomicBool::new(false);
    let (loss, steps) = loop {
        run.train(&stop, Some(Duration::from_secs(5)))?;
        let progress = run.progress();
        let loss = progress.history.last().map(|entry| entry.training_loss);
        let reached = loss.is_some_and(|loss| loss < LOSS);
        if reached || progress.step >= STEPS {
            break (loss.ok_or("no loss")?, progress.step);
        }
    };
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    assert!(loss < LOSS, "{loss} nats a token after {steps} steps");

    let bundle = folder.path().join("learned.onnx");
    let exported = Command::new(env!("CARGO_BIN_EXE_famam-trainer"))
        .arg("export")
        .arg(folder.path().join(LAST))
        .arg("-o")
        .arg(&bundle)
        .output()?;
    let said = String::from_utf8_lossy(&exported.stderr);
    assert!(exported.status.success(), "{said}");
    // How many steps it learns depends on the machine, and now and then a model ends a piece at once.
    let mut notes = 0;
    for seed in ["1", "2", "3"] {
        notes = notes.max(play(&bundle, seed)?);
    }
    assert!(notes > 0, "clips without notes");
    Ok(format!(
        "{tokens} tokens, {loss:.3} nats after {steps} steps, {minutes:.2} minutes; {notes} notes"
    ))
}

/// The notes of a clip that the plugin makes with a bundle.
fn play(bundle: &Path, seed: &str) -> Result<usize, Box<dyn Error>> {
    let mut host = Format::Clap.open(&built::plugin())?;
    let mut state = State::read(&host.save()?)?;
    state.own["bundle"] = json!(bundle);
    host.load(&state.write())?;
    let settings = Settings {
        sample_rate: 48_000.0,
        frames: 512,
        tempo: 120.0,
    };
    let made = performance::make(host.as_mut(), settings, &[("bars", "4"), ("seed", seed)])?;
    assert_eq!(made.clip.origin["model"], "music_model");
    Ok(made.clip.notes.len())
}

/// All pairs with `FAMAM_LONG`, else each backbone once.
#[test]
fn four_segments_are_learned_and_play_in_the_plugin() -> Result<(), Box<dyn Error>> {
    let all = std::env::var_os("FAMAM_LONG").is_some();
    let quick = [("rotary", "multitrack"), ("lstm", "event"), ("rwkv", "mmm")];
    for (name, backbone) in backbones() {
        for (spec, tracks) in encodings() {
            let pair = (name, spec.name());
            if all || quick.contains(&pair) {
                println!("{pair:?}: {}", learn(&backbone, &spec, tracks)?);
            }
        }
    }
    Ok(())
}
