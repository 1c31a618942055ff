//! What grammar, filters and sampler together cost a token, beside a step of the default model: over music
//! that random logits make in the encoding `grid`, and with no grammar, all tokens allowed. And what all but
//! the model costs a token of songs of eight tracks of which nothing is asked, and of which all is.
//!
//! ```sh
//! cargo bench -p famam-shared --bench sampling
//! ```

use std::sync::Arc;
use std::time::Instant;

mod measure;
#[path = "../tests/model/mod.rs"]
mod model;
#[path = "../tests/song/oracle.rs"]
mod oracle;

use famam_shared::encoding::{Encoding, Spec, Token, TokenSet, grid};
use famam_shared::engine::{self, Choice};
use famam_shared::generation::song::{Composer, Song, SongBar, SongTrack, compose};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Context;
use famam_shared::quantize;
use famam_shared::sampling::{Biases, Candidates, Filter, Kinds, Repetition, Settings, Words};
use famam_shared::score::Ticks;
use famam_shared::theory::rules::{Hold, Limits};
use measure::{default_model, median, timed};
use oracle::Oracle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const TOKENS: usize = 20_000;
/// Tokens that the default model has read where its step is measured, and steps whose median is taken.
const CONTEXT: usize = 512;
const STEPS: usize = 200;

fn main() {
    let encoding = Spec::Grid(grid::Settings::default()).build(40);
    let encoding = encoding.expect("an encoding");
    let plain = Settings::default();
    let all = Settings {
        top_k: 200,
        top_k_offset: 1,
        min_p: 1e-3,
        token_penalty: 1.2,
        repetition: Repetition {
            strength: 2.0,
            decay: 0.9,
        },
        more_notes: 1.0,
        kinds: Kinds {
            pitch: Filter {
                temperature: Some(0.9),
                ..Filter::default()
            },
            ..Kinds::default()
        },
        ..plain
    };
    let size = encoding.vocabulary_size();
    let step = step();
    println!("a step of the default model at context {CONTEXT}: {step:.0} microseconds");
    println!("vocabulary of {size} tokens, microseconds a token, mean of {TOKENS}, the least of 5");
    for (name, settings) in [("default", plain), ("all settings", all)] {
        for (tokens, free) in [("of the grammar", false), ("all tokens", true)] {
            let times = (0..5).map(|_| mean(&*encoding, &settings, free));
            let time = times.fold(f64::INFINITY, f64::min);
            println!("  {name}, {tokens}: {time:.1}");
            if !free {
                println!(
                    "figure | grammar, filters and sampler, {name} | {} | below 5",
                    share(time, step)
                );
            }
        }
    }
    songs(step);
}

/// What a step of the default model takes on one thread, in microseconds.
fn step() -> f64 {
    let engine = engine::load(&default_model(), 1, Choice::Auto).expect("an engine");
    let mut stream = engine.open(1, CONTEXT + STEPS).expect("a stream");
    for piece in vec![1; CONTEXT].chunks(128) {
        stream.run(&[piece]).expect("a prompt");
    }
    let times = (0..STEPS).map(|_| timed(|| stream.run(&[&[2]]).map(drop).expect("a step")).1);
    1e3 * median(&times.collect::<Vec<_>>())
}

/// What `time` is of a `step`, both in microseconds.
fn share(time: f64, step: f64) -> String {
    let of = "of a step of the default model";
    format!("{:.1} % {of}, {:.2} ms", 100.0 * time / step, step / 1e3)
}

/// Songs of eight tracks: free ones, and those that hold all that can be asked; new ones, and every other bar
/// of each track between the others.
fn songs(step: f64) {
    let multitrack = quantize::Settings {
        positions_per_bar: 48,
        ..quantize::Settings::default()
    };
    let specs = [
        Spec::Grid(grid::Settings::default()),
        Spec::Multitrack(multitrack),
    ];
    for spec in specs {
        let (name, context) = (
            spec.name(),
            Context {
                tokens: 8192,
                bars: 16,
            },
        );
        let oracle = Oracle::new(spec, context, &|kind| match kind {
            "instrument" | "position" => 2.5,
            _ => 0.0,
        });
        for (what, asked) in [("free", false), ("all that can be asked", true)] {
            let new = song(asked);
            let report = |what: String, song: &Song| {
                // The least of some: what else the machine does is no part of it.
                let times = (0..5).map(|_| beside(&oracle, song));
                let time = times.fold(f64::INFINITY, f64::min);
                println!("  {what}: {time:.1}");
                println!(
                    "figure | all but the model, {what} | {} | below 5",
                    share(time, step)
                );
            };
            report(format!("songs in {name}, {what}"), &new);
            if name == "grid" {
                let known = compose(&oracle, new.clone(), Arc::default()).expect("a song");
                let cells = (0..new.length).flat_map(|bar| {
                    let tracks = new.tracks.iter().enumerate();
                    let wanted = tracks.filter(move |(i, _)| (bar as usize + i).is_multiple_of(2));
                    wanted.map(move |(_, track)| (bar, track.instrument))
                });
                let filled = Song {
                    wanted: Some(cells.collect()),
                    known,
                    ..new.clone()
                };
                report(format!("cells in {name}, {what}"), &filled);
            }
        }
    }
}

fn song(asked: bool) -> Song {
    let band = [128, 33, 0, 24, 25, 48, 61, 73];
    let track = |index: u8| {
        let mut track = SongTrack::new(Instrument::new(index).expect("one of 129"));
        if asked {
            track.limits = Limits {
                pitches: 36..=84,
                polyphony: 1..=4,
                lengths: Ticks(80)..=Ticks(3840),
                density: 4..=7,
                ..Limits::default()
            };
        }
        track
    };
    Song {
        tracks: band.map(track).to_vec(),
        key: asked.then(|| ("A minor".parse().expect("a scale"), Hold::Locked)),
        chords: asked.then(|| ("Am F C-G Em".parse().expect("chords"), Hold::Locked)),
        seed: 1,
        ..Song::new(64, SongBar::default())
    }
}

/// What a token takes beside the model, in microseconds.
fn beside(oracle: &Oracle, song: &Song) -> f64 {
    let (start, steps) = (Instant::now(), oracle.steps());
    let composer = Composer::new(oracle, song.clone(), Arc::default(), None);
    let bars = composer
        .expect("a song that can be")
        .map(|bar| bar.expect("a bar"));
    assert!(bars.map(|bar| bar.notes.len()).sum::<usize>() > 0);
    let all = start.elapsed().as_secs_f64() * 1e6;
    let (tokens, model) = oracle.steps();
    let tokens = (tokens - steps.0) as f64;
    (all - (model - steps.1)) / tokens
}

/// What a token takes, in microseconds; `free` of the grammar or by it.
fn mean(encoding: &dyn Encoding, settings: &Settings, free: bool) -> f64 {
    let size = encoding.vocabulary_size();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut biases = Biases::new(settings, Arc::new(Words::new(encoding)));
    let (mut grammar, mut candidates) = (encoding.grammar(), Candidates::default());
    let mut allowed = TokenSet::new(size);
    let (mut drawn, mut time) = (0, 0.0);
    let mut logits = vec![0.0; size];
    while drawn < TOKENS {
        // Spread as widely as those of a model that has learned.
        let mut logit = || (rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
        logits
            .iter_mut()
            .for_each(|at| *at = 12.0 * logit() * logit());
        let start = Instant::now();
        match free {
            true => allowed.insert_range(0..size as Token),
            false => grammar.allowed(&mut allowed),
        }
        match biases.is_empty() {
            true => candidates.fill(&logits, &allowed),
            false => {
                candidates.fill_by(&logits, &allowed, |token, logit| biases.moved(token, logit))
            }
        }
        candidates.filter(settings, |token| biases.words().class(token));
        let Some(token) = candidates.draw(&mut rng) else {
            // A piece has ended.
            grammar = encoding.grammar();
            biases.clear();
            continue;
        };
        if !free {
            grammar.accept(token).expect("what is allowed");
        }
        biases.read(&encoding.expand(&[token]));
        time += start.elapsed().as_secs_f64() * 1e6;
        drawn += 1;
    }
    time / TOKENS as f64
}
