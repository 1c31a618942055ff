//! A training step by two ranks of one thread each, on one machine, beside the same step by one process
//! with two threads, in turns. The losses of both must agree.
//!
//! ```sh
//! cargo bench -p famam-trainer --features mpi --bench ranks
//! ```

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use famam_trainer::train::Workers;
use famam_trainer::train::ranks::Ranks;

#[path = "../task/mod.rs"]
mod task;

use task::{BATCH, RATE, TIME, task};

/// Turns, of which the median is taken.
const ROUNDS: usize = 15;
/// Set for the processes that mpirun starts: the folder in which they are told to begin a step.
const FOLDER: &str = "FAMAM_BENCH_RANKS";

fn main() -> Result<(), Box<dyn Error>> {
    // Only `cargo bench` measures; `cargo test --all-targets` passes by.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    match env::var_os(FOLDER) {
        Some(folder) => rank(&PathBuf::from(folder)),
        None => measure(),
    }
}

/// One of the two: a step for each file that appears in `folder`; the first prints loss and seconds.
fn rank(folder: &Path) -> Result<(), Box<dyn Error>> {
    let ranks = Ranks::join(Arc::default())?;
    let (config, model, segments) = task()?;
    let mut workers = Workers::new(model, &config, 1);
    for number in 1.. {
        // Asleep, so that it takes nothing from the other turn.
        while !folder.join(number.to_string()).exists() {
            if folder.join("end").exists() {
                ranks.finish();
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        let gradients = workers.gradients(&config, &segments, number, &ranks)?;
        let gradients = gradients.ok_or("the loss is no number")?;
        let loss = gradients.loss;
        workers.update(&config, number, RATE, gradients);
        if ranks.leads() {
            println!("{loss} {}", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn measure() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut job = Command::new("mpirun")
        .args(["-n", "2", "--allow-run-as-root", "--oversubscribe"])
        .args(["--bind-to", "none"])
        .arg(env::current_exe()?)
        .arg("--bench")
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("mpirun: {error}"))?;
    let mut answers = BufReader::new(job.stdout.take().ok_or("no output")?).lines();
    let (config, model, segments) = task()?;
    let mut workers = Workers::new(model, &config, 2);
    let mut times = [const { Vec::new() }; 2];
    for number in 1..=ROUNDS as u64 + 2 {
        let start = Instant::now();
        let loss = workers.step(&config, &segments, number, RATE);
        let loss = loss.ok_or("the loss is no number")?;
        let threads = start.elapsed().as_secs_f64();

        fs::File::create(folder.path().join(number.to_string()))?.flush()?;
        let answer = answers.next().ok_or("the ranks have ended")??;
        let (other, ranks) = answer.split_once(' ').ok_or("no answer")?;
        let other: f64 = other.parse()?;
        if (loss - other).abs() > 1e-4 {
            return Err(format!("losses differ: {loss} and, of two ranks, {other}").into());
        }
        // The first steps warm up.
        if number > 2 {
            times[0].push(threads);
            times[1].push(ranks.parse()?);
        }
    }
    fs::File::create(folder.path().join("end"))?;
    job.wait()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("ranks: load {}", load.trim());
    let [threads, ranks] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        (BATCH * TIME) as f64 / times[ROUNDS / 2]
    });
    println!(
        "figure | training step by two ranks (MPI, one machine) beside one process with two threads | {ranks:.0} and \
         {threads:.0} tokens/s, {:.2} times | at least 0.85",
        ranks / threads
    );
    Ok(())
}
