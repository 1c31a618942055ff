//! Files a second of `famam-trainer build` over a corpus, with the resident memory that it needs.
//!
//! `FAMAM_DATA` is a folder with `train/`. Two threads, no augmentation, warm cache.
//!
//! ```sh
//! cargo bench -p famam-trainer --bench build
//! ```

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Runs, of which the median is taken.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(data) = env::var_os("FAMAM_DATA") else {
        println!("build: skipped, FAMAM_DATA names no folder with train/");
        return Ok(());
    };
    let train = Path::new(&data).join("train");
    let files = count(&train)?;
    let folder = tempfile::tempdir()?;
    let (mut times, mut most) = (Vec::new(), 0);
    // The first warms the cache.
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_famam-trainer"))
            .arg("build")
            .arg(&train)
            .args(["--threads", "2", "-o"])
            .arg(folder.path().join(format!("{round}.h5")))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let status = loop {
            most = most.max(peak_kilobytes(child.id()).unwrap_or(0));
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
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "build: {files} files, seconds {times:.2?}; load {}",
        load.trim()
    );
    println!(
        "figure | build of train, 2 threads | {:.0} files/s, {} MB | at least 3,000 files/s, below 300 MB",
        files as f64 / times[ROUNDS / 2],
        most / 1000,
    );
    Ok(())
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
