//! States that no plugin wrote: truncated, with bits flipped, with numbers that cannot be. The
//! plugin says no or opens what can be opened; it never crashes, and a good state opens after all.

use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use famam_tests::built;
use famam_tests::host::{Block, Format, Host, ParameterId, Transport};
use famam_tests::state::{self, State};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const MUTATIONS: usize = 2000;
const TRUNCATIONS: usize = 200;
const FRAMES: u32 = 256;

/// A value somewhere in `value`, at random.
fn somewhere<'a>(value: &'a mut Value, rng: &mut ChaCha8Rng) -> &'a mut Value {
    let children = match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    if children == 0 || rng.random_range(0..8) == 0 {
        return value;
    }
    let index = rng.random_range(0..children);
    let child = match value {
        Value::Array(list) => list.get_mut(index),
        Value::Object(map) => map.values_mut().nth(index),
        _ => None,
    };
    somewhere(child.expect("counted above"), rng)
}

fn absurd(rng: &mut ChaCha8Rng) -> Value {
    let values = [
        Value::Null,
        Value::from(-1),
        Value::from(0),
        Value::from(u32::MAX),
        Value::from(u64::MAX),
        Value::from(1e300),
        Value::from("../../../etc/passwd"),
        Value::from("x".repeat(10_000)),
        Value::Array(vec![Value::from(255); 3]),
        Value::Object(serde_json::Map::new()),
    ];
    values[rng.random_range(0..values.len())].clone()
}

/// `good` with something wrong: bytes anywhere, or values inside the plugin's own part, whose JSON
/// stays whole.
fn mutated(good: &[u8], rng: &mut ChaCha8Rng) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = good.to_vec();
    if rng.random() {
        for _ in 0..rng.random_range(1..=8) {
            let index = rng.random_range(0..bytes.len());
            bytes[index] ^= 1 << rng.random_range(0..8u32);
        }
        return Ok(bytes);
    }
    let mut state = State::read(good)?;
    if rng.random_range(0..4) == 0 {
        *somewhere(&mut state.outer, rng) = absurd(rng);
        return Ok(state.write());
    }
    for _ in 0..rng.random_range(1..=3) {
        *somewhere(&mut state.own, rng) = absurd(rng);
    }
    Ok(state.write())
}

fn play(host: &mut dyn Host, quarters: f64) -> Result<(), Box<dyn Error>> {
    let transport = Transport {
        playing: true,
        quarters,
        ..Transport::default()
    };
    host.process(
        &Block {
            frames: FRAMES,
            transport,
            changes: Vec::new(),
        },
        &mut Vec::new(),
    )?;
    Ok(())
}

/// Has a bar made, if the state left a model that can, and waits as an offline render does: it must
/// not wait for ever.
fn make_a_bar(host: &mut dyn Host) -> Result<(), Box<dyn Error>> {
    host.set_offline(true)?;
    host.activate(48_000.0, FRAMES)?;
    let mut change = |id: &str, text: &str| -> Result<_, Box<dyn Error>> {
        let parameter = ParameterId::of(id);
        Ok((parameter, host.value(parameter, text)?))
    };
    let let_go = vec![change("bars", "1")?, change("generate", "Off")?];
    let press = vec![change("generate", "On")?];
    for changes in [let_go, press] {
        let block = Block {
            frames: FRAMES,
            changes,
            ..Block::default()
        };
        host.process(&block, &mut Vec::new())?;
        host.pump();
    }
    host.set_offline(false)?;
    Ok(host.activate(48_000.0, FRAMES)?)
}

fn hostile(format: Format) -> Result<(), Box<dyn Error>> {
    let mut host = format.open(&built::plugin())?;
    host.set_offline(true)?;
    host.activate(48_000.0, FRAMES)?;
    play(host.as_mut(), 0.0)?;
    let good = host.save()?;
    let clip = state::clip(&good)?.ok_or("no clip in the state")?;
    // Live from here on: a state whose model is gone must not hold up the test.
    host.set_offline(false)?;
    host.activate(48_000.0, FRAMES)?;

    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for number in 0..TRUNCATIONS {
        let length = number * good.len() / TRUNCATIONS;
        let taken = host.load(&good[..length]).is_ok();
        assert!(!taken, "{format:?}: taken though it breaks off at {length}");
        play(host.as_mut(), number as f64 / 8.0)?;
        host.pump();
    }
    let mut refused = 0;
    for number in 0..MUTATIONS {
        let state = mutated(&good, &mut rng)?;
        refused += usize::from(host.load(&state).is_err());
        play(host.as_mut(), number as f64 / 8.0)?;
        host.pump();
        if number % 40 == 0 {
            make_a_bar(host.as_mut())?;
            host.save()?;
        }
    }
    println!("{format:?}: {refused} mutations refused of {MUTATIONS}");

    host.load(&good)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while state::clip(&host.save()?)?.is_none_or(|now| now.notes != clip.notes) {
        assert!(Instant::now() < deadline, "a good state no longer opens");
        play(host.as_mut(), 0.0)?;
        host.pump();
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// One test, so that no other thread reads the environment while it is written.
#[test]
fn no_state_breaks_the_plugin() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    // SAFETY: no thread but this one is at work yet.
    unsafe { env::set_var("NICE_LOG", &log) };
    for format in Format::ALL {
        hostile(format)?;
    }
    let log = fs::read_to_string(&log)?;
    assert!(
        !log.is_empty(),
        "the plugin says nothing of the states that it refuses"
    );
    if let Some(panic) = log.lines().find(|line| line.contains("panicked")) {
        return Err(panic.into());
    }
    Ok(())
}
