//! Files a second of `famam-trainer build` over a corpus, with the resident memory that it needs:
//! for every encoding, with near duplicates looked for, and over the corpus ten times.
//!
//! `FAMAM_DATA` is a folder with `train/`. Two threads, no augmentation, warm cache.
//!
//! ```sh
//! cargo bench -p famam-trainer --bench build
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Runs, of which the median is taken.
const ROUNDS: usize = 5;
/// How often the corpus is there in the large run.
const TIMES: usize = 10;
const ENCODINGS: [&str; 5] = ["multitrack", "remi", "event", "mmm", "grid"];

fn main() -> Result<(), Box<dyn Error>> {
    // Only `cargo bench` measures; `cargo test --all-targets` passes by.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let Some(data) = env::var_os("FAMAM_DATA") else {
        println!("build: skipped, FAMAM_DATA names no folder with train/");
        return Ok(());
    };
    let train = fs::canonicalize(Path::new(&data).join("train"))?;
    let folder = tempfile::tempdir()?;
    let once = std::slice::from_ref(&train);
    for encoding in ENCODINGS {
        let run = measure(folder.path(), encoding, once, "none", ROUNDS)?;
        row(
            &format!("build of train, {encoding}, 2 threads"),
            &run,
            "at least 3,000 files/s, below 300 MB",
        );
    }
    let one = measure(folder.path(), ENCODINGS[0], once, "none", 1)?;
    let near = measure(folder.path(), ENCODINGS[0], once, "near", ROUNDS)?;
    row("the same, near duplicates left out", &near, "stated");
    // The same files by other names, as many files to list, to sort and to tell apart.
    let names = (0..TIMES).map(|i| folder.path().join(format!("train-{i}")));
    let names: Vec<PathBuf> = names.collect();
    for name in &names {
        std::os::unix::fs::symlink(&train, name)?;
    }
    let ten = measure(folder.path(), ENCODINGS[0], &names, "none", 1)?;
    row(
        &format!(
            "build of train {TIMES} times, {:.2} times the memory of once",
            ten.kilobytes as f64 / one.kilobytes as f64
        ),
        &ten,
        "below 300 MB, at most 1.2 times",
    );
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("build: load {}", load.trim());
    Ok(())
}

/// What builds took.
struct Run {
    files: f64,
    /// The median.
    seconds: f64,
    /// The most that a process had resident.
    kilobytes: u64,
}

fn row(what: &str, run: &Run, reach: &str) {
    println!(
        "figure | {what} | {:.0} files/s, {} MB | {reach}",
        run.files / run.seconds,
        run.kilobytes / 1000,
    );
}

/// Builds `rounds` times, and once before to warm the cache.
fn measure(
    folder: &Path,
    encoding: &str,
    inputs: &[PathBuf],
    duplicates: &str,
    rounds: usize,
) -> Result<Run, Box<dyn Error>> {
    let output = folder.join("built.h5");
    let config = folder.join("config.json");
    let text = serde_json::json!({
        "input_dirs": inputs,
        "output_path": output,
        "encoder_type": encoding,
        "drop_duplicates": duplicates,
    });
    fs::write(&config, text.to_string())?;
    let (mut times, mut kilobytes) = (Vec::new(), 0);
    for round in 0..=rounds {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_famam-trainer"))
            .arg("build")
            .arg(&config)
            .args(["--threads", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let status = loop {
            kilobytes = kilobytes.max(peak_kilobytes(child.id()).unwrap_or(0));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            thread::sleep(Duration::from_millis(2));
        };
        if !status.success() {
            return Err(format!("the build ended with {status}").into());
        }
        if round > 0 {
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    let files = inputs.iter().map(|input| count(input));
    Ok(Run {
        files: files.sum::<std::io::Result<usize>>()? as f64,
        seconds: times[rounds / 2],
        kilobytes,
    })
}

/// The most memory that a process has had resident, as the kernel counts it.
fn peak_kilobytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn count(folder: &Path) -> std::io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_midi = |extension: &std::ffi::OsStr| {
            extension.eq_ignore_ascii_case("mid") || extension.eq_ignore_ascii_case("midi")
        };
        if path.is_dir() {
            files += count(&path)?;
        } else {
            files += usize::from(path.extension().is_some_and(is_midi));
        }
    }
    Ok(files)
}
