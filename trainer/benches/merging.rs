//! What byte pairs cost: in `build`, in the segments that training draws, and in a step of
//! generation's grammar.
//!
//! `FAMAM_DATA` is a folder with `train/`. Segments are drawn and filtered on one thread.
//!
//! ```sh
//! cargo bench -p famam-trainer --bench merging
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use std::{env, fs};

use famam_shared::encoding::{Token, TokenSet};
use famam_trainer::batches::{Draw, Music, Purpose, Segment};
use famam_trainer::build::build;
use famam_trainer::config::dataset::{Config, EncoderType};
use famam_trainer::config::training;
use famam_trainer::dataset::Dataset;

/// Byte pairs.
const MERGES: usize = 2000;
/// Segments that are drawn at a time.
const SEGMENTS: usize = 4000;
/// Times that each is measured, of which the best counts.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // Only `cargo bench` measures; `cargo test --all-targets` passes by.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let Some(data) = env::var_os("FAMAM_DATA") else {
        println!("merging: skipped, FAMAM_DATA names no folder with train/");
        return Ok(());
    };
    let train = Path::new(&data).join("train");
    let folder = tempfile::tempdir()?;
    for encoder_type in [
        EncoderType::Multitrack,
        EncoderType::Remi,
        EncoderType::Event,
    ] {
        let mut plain = None;
        for merges in [0, MERGES] {
            let path = folder.path().join("music.h5").display().to_string();
            let config = Config {
                input_dirs: vec![train.display().to_string()],
                output_path: path.clone(),
                max_tracks: 64,
                encoder_type,
                enable_transposition: true,
                segment_bars: Some(8),
                verbose: false,
                merges,
                ..Config::default()
            };
            let begun = Instant::now();
            build(&config, 2, &AtomicBool::new(false))?;
            let built = begun.elapsed().as_secs_f64();
            let music = Music::read(&Dataset::open(path.as_ref())?)?;
            let (rate, segments) = drawn(&music);
            println!(
                "{encoder_type:?}, {merges} merges: built in {built:.1} s, {rate:.1} M base tokens/s drawn"
            );
            let (built_plain, rate_plain) = *plain.get_or_insert((built, rate));
            if merges > 0 {
                println!(
                    "figure | {encoder_type:?}: {MERGES} merges learned; drawing with them, one thread | {:.1} s; {rate:.1} M tokens/s \
                     of {rate_plain:.1} M without | stated",
                    built - built_plain
                );
            }
            let (median, most) = filtered(&music, &segments);
            println!(
                "figure | {encoder_type:?}: grammar of a step, {merges} merges | {median:.1} us, 95 % below {most:.0} us | median below 100 us"
            );
        }
    }
    Ok(())
}

/// Million base tokens a second that are drawn, transposed, conditioned and merged, and some of the
/// segments.
fn drawn(music: &Music) -> (f64, Vec<Segment>) {
    let config = training::Config {
        max_seq_length: 1024,
        ..training::Config::default()
    };
    let draw = Draw::new(&config, music, &music.train);
    let mut best: f64 = 0.0;
    let mut segments = Vec::new();
    for round in 0..ROUNDS {
        let begun = on_processor();
        segments = draw.segments(Purpose::Step(round as u64), |count, _| count == SEGMENTS);
        let seconds = on_processor() - begun;
        let tokens = segments
            .iter()
            .map(|segment| music.encoding.expand(&segment.tokens).len());
        best = best.max(tokens.sum::<usize>() as f64 / seconds / 1e6);
    }
    (best, segments)
}

/// Seconds that this thread has had a processor, which others may want, too; where the system does
/// not say, that have gone by.
fn on_processor() -> f64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = times
        .split(' ')
        .next()
        .and_then(|time| time.parse::<u64>().ok());
    nanoseconds.map_or_else(|| BEGUN.elapsed().as_secs_f64(), |time| time as f64 / 1e9)
}

/// Microseconds that the grammar takes to say what may follow each token of some segments: their
/// median and 95th percentile.
fn filtered(music: &Music, segments: &[Segment]) -> (f64, f64) {
    let mut next = TokenSet::new(music.encoding.vocabulary_size());
    let mut times: Vec<f64> = Vec::new();
    for segment in segments.iter().take(20) {
        let mut grammar = music.encoding.grammar();
        for (i, &token) in segment.tokens.iter().enumerate() {
            let begun = Instant::now();
            grammar.allowed(&mut next);
            if i >= segment.first {
                times.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            let _: Result<(), _> = grammar.accept(token as Token);
        }
    }
    times.sort_by(f64::total_cmp);
    let quantile = |share: usize| times.get(times.len() * share / 100).copied();
    (quantile(50).unwrap_or(0.0), quantile(95).unwrap_or(0.0))
}
