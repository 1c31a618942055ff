//! A training step (4 layers, d = 256, sequence 512, batch 8, plain causal attention, AdamW, 32 bits, two threads)
//! beside the same model in Python with the same libtorch, in turns. The losses of both must agree.
//!
//! `FAMAM_PYTHON` names a Python with PyTorch 2.11 (`python3` where it is not set).
//!
//! ```sh
//! cargo bench -p famam-trainer --bench training_step
//! ```

use std::error::Error;
use std::time::Instant;
use std::{env, fs};

use famam_trainer::batches::Segment;
use famam_trainer::config::training::{Config, PositionsKind};
use famam_trainer::model::Model;
use famam_trainer::train::Workers;

#[path = "../../../shared/benches/peer/mod.rs"]
mod peer;

#[path = "../task/mod.rs"]
mod task;

use peer::Peer;
use task::{BATCH, RATE, TIME, VOCABULARY, task};

/// Turns, of which the median is taken.
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    // Only `cargo bench` measures; `cargo test --all-targets` passes by.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let (config, model, segments) = task()?;
    let folder = tempfile::tempdir()?;
    let given = folder.path().join("weights");
    fs::write(&given, weights_and_tokens(&model, &segments)?)?;
    let stepper = |config: Config, model: Model| {
        let mut workers = Workers::new(model, &config, 2);
        let (segments, mut number) = (&segments, 0);
        move || {
            number += 1;
            let loss = workers.step(&config, segments, number, RATE);
            loss.ok_or("the loss is no number")
        }
    };
    let relative = Config {
        positions: Some(PositionsKind::Relative),
        ..config.clone()
    };
    let relative_model = Model::new(&relative.architecture(VOCABULARY), 1, tch::Device::Cpu);
    let mut relative_step = stepper(relative, relative_model);
    let mut step = stepper(config, model);

    let mut peer = Peer::start(include_str!("peer.py"), given.as_os_str(), "PyTorch 2.11");
    if let Err(error) = &peer {
        println!("training_step: no PyTorch to compare with ({error})");
    }
    if let Ok(peer) = &mut peer {
        for _ in 0..3 {
            let (ours, theirs) = (step()?, peer.ask("loss")?);
            println!("training_step: loss {ours:.5} nats a token, PyTorch {theirs:.5}");
            if (ours - theirs).abs() > 1e-3 {
                return Err("the two do not compute the same".into());
            }
        }
    }
    let mut times = [const { Vec::new() }; 4];
    let timed = |step: &mut dyn FnMut() -> Result<f64, &'static str>| {
        let start = Instant::now();
        step().map(|_| start.elapsed().as_secs_f64())
    };
    timed(&mut relative_step)?;
    for _ in 0..ROUNDS {
        times[0].push(timed(&mut step)?);
        times[3].push(timed(&mut relative_step)?);
        if let Ok(peer) = &mut peer {
            times[1].push(peer.ask("plain")?);
            times[2].push(peer.ask("fused")?);
        }
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("training_step: load {}", load.trim());
    let speeds = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2);
        median.map(|seconds| (BATCH * TIME) as f64 / seconds)
    });
    if let [Some(ours), _, _, Some(relative)] = speeds {
        println!(
            "figure | the same with relative attention, 512 distances | {relative:.0} tokens/s, {:.2} times rotary positions | \
             at least 0.65",
            relative / ours
        );
    }
    if let [Some(ours), Some(plain), Some(fused), _] = speeds {
        println!(
            "figure | training step, 4 layers, d = 256, 8 x 512 tokens | {ours:.0} tokens/s, {:.2} times PyTorch's plain \
             attention, {:.2} times its fused | at least 0.95",
            ours / plain,
            ours / fused
        );
    } else if let Some(ours) = speeds[0] {
        println!("training_step: {ours:.0} tokens/s");
    }
    Ok(())
}

/// All weights (float32) in the architecture's order, then the tokens (int32), little-endian.
fn weights_and_tokens(model: &Model, segments: &[Segment]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    for (_, weight) in model.weights() {
        let numbers: Vec<f32> = weight.detach().view([-1]).try_into()?;
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    let tokens = segments.iter().flat_map(|segment| &segment.tokens);
    bytes.extend(tokens.flat_map(|&token| i32::from(token).to_le_bytes()));
    Ok(bytes)
}
