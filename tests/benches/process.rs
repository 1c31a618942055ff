//! `process` with 200 sounding notes, as CLAP and as VST3.
//!
//! ```sh
//! cargo bench -p famam-tests --bench process
//! ```

use std::error::Error;
use std::fs;

use famam_tests::host::Format;
use famam_tests::process_time::{FRAMES, LIMIT, SAMPLE_RATE, Struck, measure};

fn main() -> Result<(), Box<dyn Error>> {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "process, {FRAMES} frames at {SAMPLE_RATE} Hz, CPU time; load {}",
        load.trim()
    );
    let mut worst = 0.0f64;
    for format in Format::ALL {
        for struck in [Struck::InTurn, Struck::Together] {
            let times = measure(format, struck)?;
            println!("  {format:?}, notes struck {struck:?}: {times:?}");
            worst = worst.max(times.percentile.as_secs_f64());
        }
    }
    let share = worst / LIMIT.as_secs_f64() * 5.0;
    println!(
        "figure | process, 200 notes: 99.99 % of blocks | {:.0} µs, {share:.1} % of the block | below 5 %",
        worst * 1e6
    );
    Ok(())
}
