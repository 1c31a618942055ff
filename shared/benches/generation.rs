//! How fast a model makes music: the first bar, and notes a second over 64 bars.
//!
//! ```sh
//! cargo bench -p famam-shared --bench generation [BUNDLE.onnx]
//! ```

use std::time::Instant;

use famam_shared::bundle::Bundle;
use famam_shared::encoding::Conditioning;
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::generation::{Generator, Request};
use famam_shared::instrument::{Instrument, InstrumentSet};
use famam_shared::score::{Metre, Tempo};

const GENRES: [&str; 5] = ["rock", "jazz", "funk", "pop", "latin"];
const SEEDS: u64 = 20;
/// Fewer notes than these make no bar that counts.
const FEW: usize = 8;

fn main() {
    let path = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let path = path
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../models/famam.onnx").to_owned());
    let bytes = std::fs::read(&path).expect("the bundle");
    let bundle = Bundle::read(&bytes).expect("a bundle");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{path}; load {}",
        load.split(' ').next().unwrap_or("unknown")
    );
    for choice in [Choice::Ort, Choice::Rten] {
        match (
            engine::load(&bundle, 2, choice),
            engine::load(&bundle, 1, choice),
        ) {
            (Ok(two), Ok(one)) => {
                println!("{}", two.name());
                first_bar(&*two);
                sustained(&*one);
            }
            (Err(error), _) | (_, Err(error)) => println!("{choice:?}: {error}"),
        }
    }
}

/// Drums, bass, guitar and piano in `genre`.
fn request(engine: &dyn Engine, genre: &str, bars: u32, seed: u64) -> Request {
    let manifest = engine.manifest();
    let band = [33, 27, 0].into_iter().filter_map(Instrument::new);
    let instruments: InstrumentSet = band.chain([Instrument::DRUMS]).collect();
    let genre = manifest.vocabulary.genre(genre).unwrap_or(0);
    Request {
        conditioning: Conditioning {
            genre,
            instruments: Some(instruments),
            ..Conditioning::default()
        },
        bars,
        metre: Metre::COMMON,
        micros_per_quarter: Tempo::DEFAULT_MICROS,
        seed,
        sampling: manifest.sampling,
        max_tokens: None,
    }
}

/// Wall time from the request to the first whole bar, cache empty.
fn first_bar(engine: &dyn Engine) {
    let (mut times, mut sparse) = (Vec::new(), Vec::new());
    for genre in GENRES {
        for seed in 0..SEEDS {
            let request = request(engine, genre, 16, seed);
            let start = Instant::now();
            let mut generator =
                Generator::new(engine, request, Default::default()).expect("a request");
            let bar = generator.next().expect("a bar").expect("a bar");
            let time = start.elapsed().as_secs_f64() * 1e3;
            if bar.notes.len() < FEW {
                &mut sparse
            } else {
                &mut times
            }
            .push(time);
        }
    }
    for (what, mut times) in [("", times), (" of fewer than 8 notes", sparse)] {
        times.sort_by(f64::total_cmp);
        if let (Some(median), Some(late)) = (
            times.get(times.len() / 2),
            times.get(times.len() * 95 / 100),
        ) {
            let count = times.len();
            println!("  first bar{what}: median {median:.0} ms, 95 % {late:.0} ms ({count} bars)");
        }
    }
}

/// Notes and tokens a second of wall time, over 64 bars of each genre.
fn sustained(engine: &dyn Engine) {
    let (mut notes, mut tokens, mut seconds) = (0, 0, 0.0);
    for genre in GENRES {
        let request = request(engine, genre, 64, 1);
        let start = Instant::now();
        let mut generator = Generator::new(engine, request, Default::default()).expect("a request");
        notes += generator
            .by_ref()
            .map(|bar| bar.expect("a bar").notes.len())
            .sum::<usize>();
        tokens += generator.tokens_drawn();
        seconds += start.elapsed().as_secs_f64();
    }
    let (per_note, per_token) = (notes as f64 / seconds, tokens as f64 / seconds);
    println!(
        "  sustained, one thread: {per_note:.0} notes/s, {per_token:.0} tokens/s ({notes} notes)"
    );
    let name = engine.name();
    println!(
        "figure | notes a second, sustained, {name} | {per_note:.0} ({:.1} times real time) | at least 64",
        per_note / 16.0
    );
}
