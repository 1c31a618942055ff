//! Checkpoints that are cut, changed and made to do harm, with the hash broken and with it mended:
//! an error or a model, never a crash. They are opened in a child process, because libtorch is
//! written in C++.

mod music;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use famam_trainer::checkpoint::{self, LAST};
use famam_trainer::config::training::{Config, OptimizerKind};
use famam_trainer::train::Run;
use music::{data_set, music, tiny};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Set in the child.
const CHILD: &str = "FAMAM_TEST_CHILD";
const MUTATIONS: u64 = 2000;
const TRUNCATIONS: usize = 200;
/// What the child may use, libtorch included, kB.
const MEMORY: u64 = 1_000_000;

fn config() -> Config {
    Config {
        d_model: 4,
        num_heads: 2,
        kv_heads: Some(1),
        d_ff: 4,
        optimizer: OptimizerKind::Adamw,
        steps: Some(2),
        validation_every: Some(1),
        ..tiny()
    }
}

/// A small checkpoint.
fn file() -> Vec<u8> {
    let (folder, music) = (tempfile::tempdir().unwrap(), music());
    let mut run = Run::open(config(), &music, data_set(), None, folder.path(), 1).unwrap();
    run.train(&AtomicBool::new(false), None).unwrap();
    std::fs::read(folder.path().join(LAST)).unwrap()
}

/// The header as JSON and the tensors' bytes, of a file that has both.
fn parts(file: &[u8]) -> Option<(Value, &[u8])> {
    let (length, rest) = file.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let header = serde_json::from_slice(rest.get(..length)?).ok()?;
    Some((header, &rest[length..]))
}

fn joined(header: &Value, tensors: &[u8]) -> Vec<u8> {
    let mut text = header.to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let length = (text.len() as u64).to_le_bytes();
    [&length[..], text.as_bytes(), tensors].concat()
}

/// The file with the hash that its contents have, as `docs/formats.md` says it; as it is where it
/// has no contents to speak of.
fn mend(file: Vec<u8>) -> Vec<u8> {
    let mended = || {
        let (mut header, tensors) = parts(&file)?;
        let mut hash = Sha256::new();
        let mut take = |length: usize, bytes: &[u8]| {
            hash.update((length as u64).to_le_bytes());
            hash.update(bytes);
        };
        let state = header["__metadata__"]["famam.checkpoint"].as_str()?;
        take(state.len(), state.as_bytes());
        let mut entries: Vec<_> = header.as_object()?.iter().collect();
        entries.sort_by_key(|&(name, _)| name);
        for (name, entry) in entries {
            if name == "__metadata__" {
                continue;
            }
            let numbers = |field: &str| -> Option<Vec<u64>> {
                entry[field].as_array()?.iter().map(Value::as_u64).collect()
            };
            let (shape, offsets) = (numbers("shape")?, numbers("data_offsets")?);
            let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
            let bytes = tensors.get(*offsets.first()? as usize..*offsets.get(1)? as usize)?;
            take(name.len(), name.as_bytes());
            take(shape.len(), &sizes);
            take(bytes.len(), bytes);
        }
        let digits = hash.finalize();
        let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
        header["__metadata__"]["famam.hash"] = digits.into();
        Some(joined(&header, tensors))
    };
    mended().unwrap_or(file)
}

/// The hash that a file states.
fn stated_hash(file: &[u8]) -> Option<String> {
    let (header, _) = parts(file)?;
    let stated = header["__metadata__"]["famam.hash"].as_str();
    stated.map(str::to_owned)
}

/// Checkpoints from before there was a second architecture say a Transformer's sizes alone.
#[test]
fn a_checkpoint_of_the_first_days_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LAST);
    let file = file();
    std::fs::write(&path, &file).unwrap();
    let written = checkpoint::read(&path).unwrap().state;
    let (mut header, tensors) = parts(&file).unwrap();
    let state = &mut header["__metadata__"]["famam.checkpoint"];
    let mut parsed: Value = serde_json::from_str(state.as_str().unwrap()).unwrap();
    let mut remove = |of: &str, field: &str| parsed[of].as_object_mut().unwrap().remove(field);
    assert_eq!(remove("architecture", "kind"), Some(json!("transformer")));
    remove("architecture", "logit_scale").unwrap();
    remove("config", "logit_scale").unwrap();
    *state = parsed.to_string().into();
    std::fs::write(&path, mend(joined(&header, tensors))).unwrap();
    assert_eq!(checkpoint::read(&path).unwrap().state, written);
}

#[test]
fn a_flipped_bit_of_a_weight_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LAST);
    let read = |file: &[u8]| {
        std::fs::write(&path, file).unwrap();
        checkpoint::read(&path)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let file = file();
    read(&file).unwrap();
    let mut damaged = file.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let error = read(&damaged).unwrap_err();
    assert!(error.contains("its hash does not match"), "{error}");
    // With the hash mended it is another model, and without one a model of the first days.
    read(&mend(damaged.clone())).unwrap();
    let (mut header, tensors) = parts(&damaged).unwrap();
    let metadata = header["__metadata__"].as_object_mut().unwrap();
    metadata.remove("famam.hash").unwrap();
    read(&joined(&header, tensors)).unwrap();
}

#[test]
fn mutations_are_an_error_or_a_model() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let arguments = [
        "mutations_are_an_error_or_a_model",
        "--nocapture",
        "--exact",
    ];
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().find(|line| line.starts_with("opened"));
    println!("{}", told.unwrap_or("nothing was told"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = errors.lines().rev().take(40).collect();
    assert!(
        output.status.success() && told.is_some(),
        "{}: {text}\n{errors:#?}",
        output.status
    );
}

fn child() {
    let file = file();
    assert!(file.len() <= 50_000, "{} bytes", file.len());
    let (folder, music) = (tempfile::tempdir().unwrap(), music());
    // With the hash broken, and with it mended: models, and runs that go on.
    let mut opened = [(0, 0); 2];
    let mut open = |file: Vec<u8>| {
        for (i, file) in [file.clone(), mend(file)].into_iter().enumerate() {
            std::fs::write(folder.path().join(LAST), &file).unwrap();
            if is_a_model(folder.path()) {
                let stated = stated_hash(&file);
                let right = stated.is_none() || stated == stated_hash(&mend(file));
                assert!(right, "a file with a broken hash was opened");
                opened[i].0 += 1;
                let run = Run::open(config(), &music, data_set(), None, folder.path(), 1);
                opened[i].1 += u64::from(run.is_ok());
            }
        }
    };
    open(file.clone());
    for cut in 0..TRUNCATIONS {
        open(file[..file.len() * cut / TRUNCATIONS].to_vec());
    }
    for seed in 0..MUTATIONS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        open(match seed % 4 {
            0 => with_another_header(&file, &mut rng),
            1 => with_another_state(&file, &mut rng),
            _ => mutated(&file, &mut rng),
        });
    }
    let peak = peak_memory();
    let [(broken, _), (models, runs)] = opened;
    println!(
        "opened {broken} whose hash was lost or still right; mended {models} models, {runs} runs; {} MB at most",
        peak.unwrap_or(0) / 1000
    );
    assert!(models > 200 && runs > 100);
    assert!(peak.is_none_or(|peak| peak < MEMORY), "{peak:?} kB");
}

fn is_a_model(folder: &Path) -> bool {
    let stored = checkpoint::read(&folder.join(LAST));
    stored.is_ok_and(|mut stored| stored.model().is_ok())
}

/// One to three changes of bytes.
fn mutated(file: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..rng.random_range(1..4) {
        // The header is a small part, take it as often as the rest.
        let limit = match rng.random_bool(0.5) {
            true => file.len().min(5000),
            false => file.len(),
        };
        let at = rng.random_range(0..limit);
        let length = rng.random_range(1..64).min(file.len() - at);
        let other = rng.random_range(0..=file.len() - length);
        match rng.random_range(0..7) {
            0 | 1 => file[at] ^= 1 << rng.random_range(0..8),
            2 => file[at] = [0, 0x7f, 0x80, 0xff, b'9', b'-', b'"'][rng.random_range(0..7)],
            3 => drop(file.drain(at..at + length)),
            4 => {
                let piece = file[other..other + length].to_vec();
                file.splice(at..at, piece);
            }
            5 => file.copy_within(other..other + length, at),
            _ => {
                file.splice(at..at, [b'9'; 9].into_iter().take(length));
            }
        }
    }
    file
}

/// Shapes, offsets and names that the tensors do not have.
fn with_another_header(file: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (mut header, tensors) = parts(file).unwrap();
    for _ in 0..rng.random_range(1..3) {
        change(&mut header, rng);
    }
    joined(&header, tensors)
}

/// A config, an architecture and a progress that the run does not have.
fn with_another_state(file: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (mut header, tensors) = parts(file).unwrap();
    let state = &mut header["__metadata__"]["famam.checkpoint"];
    let mut parsed: Value = serde_json::from_str(state.as_str().unwrap()).unwrap();
    for _ in 0..rng.random_range(1..3) {
        change(&mut parsed, rng);
    }
    *state = parsed.to_string().into();
    joined(&header, tensors)
}

/// Changes one value somewhere in `value`, or takes it out, or doubles it.
fn change(value: &mut Value, rng: &mut ChaCha8Rng) {
    let below = |count: usize, rng: &mut ChaCha8Rng| rng.random_range(0..count.max(1));
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(below(map.len(), rng)).unwrap().clone();
            match rng.random_range(0..12) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(format!("{key}2"), map[&key].clone())),
                _ => change(&mut map[&key], rng),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let i = below(list.len(), rng);
            match rng.random_range(0..8) {
                0 => drop(list.remove(i)),
                1 => list.insert(i, list[i].clone()),
                2 => list.reverse(),
                _ => change(&mut list[i], rng),
            }
        }
        value => {
            let absurd = [
                json!(0),
                json!(1),
                json!(-1),
                json!(7),
                json!(1_u64 << 31),
                json!(1_u64 << 53),
                json!(u64::MAX),
                json!(i64::MIN),
                json!(1e300),
                json!(0.5),
                json!(null),
                json!(true),
                json!("F64"),
                json!([]),
            ];
            *value = absurd[below(absurd.len(), rng)].clone();
        }
    }
}

/// The largest memory that this process had, kB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
