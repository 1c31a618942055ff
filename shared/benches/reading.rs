//! Reading MIDI files into Scores, one thread, warm cache, beside symusic (a C++ reader behind a
//! Python wheel) in the same run, in turns. The figure: at least symusic's files a second.
//!
//! `FAMAM_DATA` is a folder with `train/`; `FAMAM_PYTHON` a Python that has symusic 0.6
//! (`python3` where it is not set). CPU time of the thread where the system tells it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

use famam_shared::midi;

#[path = "peer/mod.rs"]
mod peer;

use peer::Peer;

const ROUNDS: usize = 7;

const PEER: &str = r#"
import sys, time
import symusic
files = open(sys.argv[1]).read().splitlines()
print("ready", flush=True)
for _ in sys.stdin:
    start = time.thread_time()
    for file in files:
        symusic.Score(file)
    print(time.thread_time() - start, flush=True)
"#;

fn main() -> Result<(), Box<dyn Error>> {
    // Only `cargo bench` measures; `cargo test --all-targets` passes by.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let Some(data) = env::var_os("FAMAM_DATA") else {
        println!("reading: skipped, FAMAM_DATA names no folder with train/");
        return Ok(());
    };
    let mut files = Vec::new();
    midi_files(&Path::new(&data).join("train"), &mut files)?;
    files.sort();
    // What one of the two cannot read is for tests, not for a race.
    files.retain(|file| midi::read_file(file).is_ok());

    let folder = tempfile::tempdir()?;
    let list = folder.path().join("files");
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    fs::write(&list, names.join("\n"))?;
    let mut peer = Peer::start(PEER, list.as_os_str(), "symusic");
    if let Err(error) = &peer {
        println!("reading: no symusic to compare with ({error})");
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Clock::start();
        for file in &files {
            std::hint::black_box(midi::read_file(file)?);
        }
        ours.push(start.seconds());
        if let Ok(peer) = &mut peer {
            theirs.push(peer.ask("")?);
        }
    }
    let rate = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        files.len() as f64 / times[times.len() / 2]
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "reading: {} files, median of {ROUNDS} rounds, load {}",
        files.len(),
        load.trim()
    );
    let famam = rate(&mut ours);
    println!("reading: famam {famam:.0} files/s");
    if !theirs.is_empty() {
        let symusic = rate(&mut theirs);
        println!(
            "reading: symusic {symusic:.0} files/s; famam / symusic = {:.2}",
            famam / symusic
        );
        println!(
            "figure | reading MIDI files, one thread | {famam:.0} files/s, {:.2} times symusic | at least 1",
            famam / symusic
        );
    }
    Ok(())
}

/// CPU time of this thread in seconds, wall time where the system tells only that.
struct Clock {
    cpu: Option<f64>,
    wall: Instant,
}

impl Clock {
    fn start() -> Self {
        Self {
            cpu: thread_seconds(),
            wall: Instant::now(),
        }
    }

    fn seconds(&self) -> f64 {
        match (self.cpu, thread_seconds()) {
            (Some(start), Some(now)) => now - start,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn thread_seconds() -> Option<f64> {
    let times = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(times.split(' ').next()?.parse::<f64>().ok()? * 1e-9)
}

fn midi_files(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            midi_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "mid") {
            files.push(path);
        }
    }
    Ok(())
}
