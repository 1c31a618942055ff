//! First bar: wall time from a request until the audio thread can read the whole bar, through the
//! built plugin: bundle loaded, cache empty, a fresh instance each time, four instruments.
//!
//! ```sh
//! cargo bench -p famam-tests --bench first_bar
//! ```

use std::error::Error;
use std::fs;
use std::time::Duration;

use famam_tests::built;
use famam_tests::host::{Format, ParameterId};
use famam_tests::performance::{Settings, make};

const GENRES: [&str; 5] = ["rock", "jazz", "funk", "pop", "latin"];
const SEEDS: u32 = 20;
/// A bar of fewer notes is told apart.
const FEW: usize = 8;
const SETTINGS: Settings = Settings {
    sample_rate: 48_000.0,
    frames: 512,
    tempo: 120.0,
};

fn main() -> Result<(), Box<dyn Error>> {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "first bar through the plugin, wall time; load {}",
        load.trim()
    );
    // It keeps the model loaded, as another track of the song would.
    let mut other = Format::Clap.open(&built::plugin())?;
    make(other.as_mut(), SETTINGS, &[("bars", "1"), ("seed", "1")])?;
    let (mut times, mut few) = (Vec::new(), Vec::new());
    for genre in GENRES {
        for seed in 1..=SEEDS {
            let mut host = Format::Clap.open(&built::plugin())?;
            // A model that lacks the genre plays any.
            let known = host.value(ParameterId::of("genre"), genre).is_ok();
            let genre = if known { genre } else { "any" };
            let seed = seed.to_string();
            let parameters = [("genre", genre), ("bars", "1"), ("seed", seed.as_str())];
            let made = make(host.as_mut(), SETTINGS, &parameters)?;
            let list = if made.clip.notes.len() < FEW {
                &mut few
            } else {
                &mut times
            };
            list.push(made.first_bar);
        }
    }
    let few_count = few.len();
    times.sort_unstable();
    few.sort_unstable();
    for (what, times) in [("bars", &times), ("bars of few notes", &few)] {
        if let (Some(median), Some(late)) = (at(times, 0.5), at(times, 0.95)) {
            println!("  {} {what}: median {median:?}, 95 % {late:?}", times.len());
        }
    }
    if let (Some(median), Some(late)) = (at(&times, 0.5), at(&times, 0.95)) {
        println!(
            "figure | first bar, plugin ({} bars, {few_count} of few notes apart) | median {:.0} ms, 95 % {:.0} ms | at most 150 ms",
            times.len(),
            median.as_secs_f64() * 1e3,
            late.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

fn at(sorted: &[Duration], share: f64) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}
