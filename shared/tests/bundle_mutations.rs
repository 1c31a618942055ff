//! Bundles with bits flipped, pieces cut out, doubled and exchanged, with the hash broken and with it
//! mended: an error or a model, never a crash. They are opened in a child process, because what is
//! still a model goes into engines, one of them written in C++.

mod model;

use famam_shared::bundle::Bundle;
use famam_shared::engine;
use model::{hostile, mend};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Set in the child.
const CHILD: &str = "FAMAM_TEST_CHILD";
const MUTATIONS: u64 = 2000;
const TRUNCATIONS: usize = 200;
/// What the child may use, engines included, kB.
const MEMORY: u64 = 400_000;

#[test]
fn mutations_are_an_error_or_a_model() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let binary = std::env::current_exe().expect("this binary");
    let arguments = [
        "mutations_are_an_error_or_a_model",
        "--nocapture",
        "--exact",
    ];
    let output = std::process::Command::new(binary)
        .args(arguments)
        .env(CHILD, "1")
        .output();
    let output = output.expect("a child process");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().find(|line| line.starts_with("opened"));
    println!("{}", told.unwrap_or("nothing was told"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.is_some(),
        "{}: {text}\n{errors}",
        output.status
    );
}

fn child() {
    let mut models = 0;
    let mut open = |file: Vec<u8>| {
        for file in [mend(file.clone()), file] {
            models += usize::from(is_a_model(&file));
        }
    };
    for (file, most) in [
        (hostile::file(), 50_000),
        (hostile::lstm(), 100_000),
        (hostile::rwkv(), 50_000),
    ] {
        assert!(file.len() <= most, "{} bytes", file.len());
        open(file.clone());
        for cut in 0..TRUNCATIONS {
            open(file[..file.len() * cut / TRUNCATIONS].to_vec());
        }
        for seed in 0..MUTATIONS {
            open(mutated(&file, &mut ChaCha8Rng::seed_from_u64(seed)));
        }
    }
    for (_, file) in hostile::graphs() {
        open(file);
    }
    let peak = peak_memory();
    println!(
        "opened {models} models; {} MB at most",
        peak.unwrap_or(0) / 1000
    );
    assert!(
        models > 10,
        "mutations of weights whose hash was mended are models"
    );
    assert!(peak.is_none_or(|peak| peak < MEMORY), "{peak:?} kB");
}

/// Whether `file` opens; a model that does runs on every engine.
fn is_a_model(file: &[u8]) -> bool {
    let Ok(bundle) = Bundle::read(file) else {
        return false;
    };
    for choice in model::choices_of(&bundle.manifest.architecture) {
        let Ok(engine) = engine::load(&bundle, 1, choice) else {
            continue;
        };
        if let Ok(mut stream) = engine.open(1, 16) {
            let _ = stream.run(&[&[0, 1, 2]]).map(drop);
        }
    }
    true
}

/// One to three changes.
fn mutated(file: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..1 + rng.next_u32() % 3 {
        // The manifest stands at the end and is a twentieth of the file: take it as often as the rest.
        let from = if rng.next_u32() & 1 == 0 {
            0
        } else {
            file.len().saturating_sub(1500)
        };
        let at = from + rng.next_u32() as usize % (file.len() - from);
        let length = (1 + rng.next_u32() as usize % 64).min(file.len() - at);
        let other = rng.next_u32() as usize % (file.len() - length + 1);
        match rng.next_u32() % 7 {
            0 | 1 => file[at] ^= 1 << (rng.next_u32() % 8),
            2 => file[at] = [0, 0x7f, 0x80, 0xff, b'9', b'-', b'"'][rng.next_u32() as usize % 7],
            3 => drop(file.drain(at..at + length)),
            4 => {
                let piece = file[other..other + length].to_vec();
                file.splice(at..at, piece);
            }
            5 => file.copy_within(other..other + length, at),
            _ => {
                file.splice(at..at, [0xff; 9].into_iter().take(length));
            }
        }
    }
    file
}

/// The largest memory that this process had, kB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
