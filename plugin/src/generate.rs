//! `famam generate`: a request becomes MIDI files and a table of what is in them.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use famam_plugin::band;
use famam_plugin::clip::{Clip, Origin};
use famam_plugin::model::{ModelError, Source};
use famam_shared::encoding::Conditioning;
use famam_shared::engine::{self, Choice, Engine, EngineError};
use famam_shared::generation::{GenerationError, Generator, Request, Verdict, retry};
use famam_shared::instrument::{InstrumentSet, UnknownInstrument};
use famam_shared::manifest::Manifest;
use famam_shared::sampling;
use famam_shared::say::say;
use famam_shared::score::{Metre, Ticks};
use famam_shared::{midi, write_file};

mod asked;

pub use asked::asked;

/// Writes MIDI files: the same request with the same seed gives the same notes.
#[derive(Debug, Parser)]
#[command(name = "famam generate", version)]
pub struct Options {
    /// The genre, by its name in the model
    #[arg(long, default_value = "any")]
    genre: String,
    /// Bars
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    bars: u32,
    /// Groups (drums, bass, guitar, keys, strings and pads, lead), classes, General MIDI names or
    /// programs (128 is drums), separated by commas; the model chooses where none is given
    #[arg(long)]
    instruments: Option<String>,
    /// The seed of the first file; those that follow count on. A new one where none is given
    #[arg(long)]
    seed: Option<u64>,
    /// The model: a bundle (.onnx); the built-in one where none is given
    #[arg(long)]
    model: Option<PathBuf>,
    /// Divides the logits: lower is safer, higher bolder, 0 takes the likeliest
    #[arg(long, value_parser = at_least_zero)]
    temperature: Option<f32>,
    /// Draws among the k likeliest tokens; 0 is off
    #[arg(long)]
    top_k: Option<usize>,
    /// Leaves out so many of the likeliest tokens before top-k counts
    #[arg(long)]
    top_k_offset: Option<usize>,
    /// Draws among the likeliest tokens that together reach this probability; 1 is off
    #[arg(long, value_parser = at_least_zero)]
    top_p: Option<f32>,
    /// Draws among the tokens at least so many times as likely as the likeliest, 0 to 1; 0 is off
    #[arg(long, value_parser = at_least_zero)]
    min_p: Option<f32>,
    /// What a bar loses that goes on repeating one 1, 2, 4 or 8 bars before, in nats a token: 1 to 5;
    /// below 0 it is invited to; 0 is off
    #[arg(long, allow_negative_numbers = true)]
    repetition: Option<f32>,
    /// What is left of that with each bar that lies between, 0 to 1
    #[arg(long, value_parser = at_least_zero)]
    repetition_decay: Option<f32>,
    /// Divides the logits of tokens that were said before: 1.1 to 1.5; 1 is off
    #[arg(long)]
    token_penalty: Option<f32>,
    /// More notes and fewer rests, in nats between the two: -3 to 3; 0 is neither
    #[arg(long, allow_negative_numbers = true)]
    more_notes: Option<f32>,
    /// Filters of tokens that say when, in place of those above: temperature=0.8,top-k=5,top-k-offset=1,
    /// top-p=0.9,min-p=0.1, each or some
    #[arg(long)]
    rhythm: Option<sampling::Filter>,
    /// The same of pitches and drums
    #[arg(long)]
    pitch: Option<sampling::Filter>,
    /// The same of velocities
    #[arg(long)]
    velocity: Option<sampling::Filter>,
    /// Writes each bar by beam search of this width, 1 to 10, the same for every seed; 0 is off
    #[arg(long)]
    beam: Option<u8>,
    /// How much further the music goes where genre and instruments lead, at the cost of a second run
    /// of the model: 2 to 4; 1 is off
    #[arg(long, value_parser = guidance)]
    guidance: Option<f32>,
    /// How often a piece is tried again, with another seed, that has music in less than half of its bars
    /// or more than half of its notes in common with one of those before
    #[arg(long, default_value_t = 0)]
    retries: u32,
    /// Ends each piece with the bar in which this many tokens were drawn
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Quarters a minute
    #[arg(long, default_value_t = 120.0, value_parser = tempo)]
    tempo: f64,
    /// The metre
    #[arg(long, default_value = "4/4", value_parser = metre)]
    metre: Metre,
    /// Files to write
    #[arg(short = 'n', long = "count", default_value_t = 1)]
    count: u64,
    /// The file to write; with several files, the first part of their names
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// How the names of files begin; the seed follows
    #[arg(long, default_value = "famam")]
    prefix: String,
    /// The folder for files that have no other
    #[arg(long, default_value = ".")]
    output_dir: PathBuf,
    /// Threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// What runs the model
    #[arg(long, value_enum, default_value = "auto")]
    engine: EngineName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EngineName {
    /// ONNX Runtime where it is found, otherwise the built-in engine
    Auto,
    /// ONNX Runtime
    Ort,
    /// The built-in engine
    Rten,
}

fn at_least_zero(text: &str) -> Result<f32, String> {
    let number = f32::from_str(text).map_err(|error| error.to_string())?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err("expected 0 or more".into())
    }
}

fn guidance(text: &str) -> Result<f32, String> {
    let number = f32::from_str(text).map_err(|error| error.to_string())?;
    if (1.0..=20.0).contains(&number) {
        Ok(number)
    } else {
        Err("expected 1 to 20".into())
    }
}

fn tempo(text: &str) -> Result<f64, String> {
    let tempo = f64::from_str(text).map_err(|error| error.to_string())?;
    if (10.0..=1000.0).contains(&tempo) {
        Ok(tempo)
    } else {
        Err("expected 10 to 1000".into())
    }
}

fn metre(text: &str) -> Result<Metre, String> {
    let parts = text
        .split_once('/')
        .and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)));
    match parts {
        Some((numerator @ 1.., denominator @ (1 | 2 | 4 | 8 | 16 | 32))) => Ok(Metre {
            at: Ticks(0),
            numerator,
            denominator,
        }),
        _ => Err("expected beats and their value, as in 7/8".into()),
    }
}

/// Why nothing, or not all, was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the model cannot be started: {0}")]
    Engine(#[from] EngineError),
    #[error("the model knows no genre \"{genre}\"; it knows {known}")]
    Genre { genre: String, known: String },
    #[error(transparent)]
    Instruments(#[from] UnknownInstrument),
    #[error(transparent)]
    Generation(#[from] GenerationError),
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Writes all files.
pub fn run(options: &Options) -> Result<(), GenerateError> {
    let source = options.model.clone().map_or(Source::BuiltIn, Source::File);
    let choice = match options.engine {
        EngineName::Auto => Choice::Auto,
        EngineName::Ort => Choice::Ort,
        EngineName::Rten => Choice::Rten,
    };
    let engine = engine::load(&source.open()?, usize::from(options.threads), choice)?;
    let request = options.request(engine.manifest())?;
    if let Some(why) = engine.fallback() {
        eprintln!("famam: {why}");
    }
    std::fs::create_dir_all(&options.output_dir).map_err(|source| GenerateError::Folder {
        path: options.output_dir.clone(),
        source,
    })?;
    let first = options.seed.unwrap_or_else(|| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0) % 9999 + 1
    });
    let mut before = Vec::new();
    for seed in (0..options.count.max(1)).map(|i| first.wrapping_add(i)) {
        let make = |seed| generate(&*engine, Request { seed, ..request });
        let judge = |piece: &Piece| Verdict::of(&piece.clip.score(), &bars(&piece.clip), &before);
        let tried = retry(seed, options.retries, make, judge)?;
        let (piece, path) = (tried.result, options.path(seed));
        let score = piece.clip.score();
        write_file::write(&path, &midi::write(&score))?;
        report(&piece, &path, &*engine, options.threads);
        if options.retries > 0 {
            let Verdict { filled, own } = tried.verdict;
            say(format_args!(
                "  try {} of {}: score {:.2} (bars with music {filled:.2}, notes of its own {own:.2})",
                tried.attempts,
                options.retries.saturating_add(1),
                tried.verdict.score(),
            ));
            before.push(score);
        }
    }
    Ok(())
}

impl Options {
    fn request(&self, manifest: &Manifest) -> Result<Request, GenerateError> {
        let vocabulary = &manifest.vocabulary;
        let genre = vocabulary
            .genre(&self.genre)
            .ok_or_else(|| GenerateError::Genre {
                genre: self.genre.clone(),
                known: vocabulary.genres.join(", "),
            })?;
        let words = self.instruments.as_deref();
        let instruments = words
            .map(InstrumentSet::parse)
            .transpose()?
            .map(|set| band::of(&set, &manifest.bands, genre));
        Ok(Request {
            conditioning: Conditioning {
                genre,
                instruments,
                ..Conditioning::default()
            },
            bars: self.bars,
            metre: self.metre,
            micros_per_quarter: (60e6 / self.tempo).round() as u32,
            seed: 0,
            sampling: self.sampling(manifest.sampling),
            max_tokens: self.max_tokens,
        })
    }

    /// How tokens are drawn: as the model's settings say where nothing else is asked.
    fn sampling(&self, defaults: sampling::Settings) -> sampling::Settings {
        sampling::Settings {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_k_offset: self.top_k_offset.unwrap_or(defaults.top_k_offset),
            top_p: self.top_p.unwrap_or(defaults.top_p).min(1.0),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            guidance: self.guidance.unwrap_or(defaults.guidance),
            token_penalty: self.token_penalty.unwrap_or(defaults.token_penalty),
            repetition: sampling::Repetition {
                strength: self.repetition.unwrap_or(defaults.repetition.strength),
                decay: self.repetition_decay.unwrap_or(defaults.repetition.decay),
            },
            more_notes: self.more_notes.unwrap_or(defaults.more_notes),
            kinds: sampling::Kinds {
                rhythm: self.rhythm.unwrap_or(defaults.kinds.rhythm),
                pitch: self.pitch.unwrap_or(defaults.kinds.pitch),
                velocity: self.velocity.unwrap_or(defaults.kinds.velocity),
            },
            beam: self.beam.unwrap_or(defaults.beam),
        }
    }

    /// The file for `seed`.
    fn path(&self, seed: u64) -> PathBuf {
        match &self.output {
            Some(path) if self.count <= 1 => path.clone(),
            Some(path) => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                path.with_file_name(format!("{stem}-{seed}.mid"))
            }
            None => self.output_dir.join(format!("{}-{seed}.mid", self.prefix)),
        }
    }
}

/// The time of each bar of a clip.
fn bars(clip: &Clip) -> Vec<std::ops::Range<Ticks>> {
    let length = clip.metre.bar().0;
    let at = |bar: u32| Ticks(bar * length);
    (0..clip.bars).map(|bar| at(bar)..at(bar + 1)).collect()
}

struct Piece {
    clip: Clip,
    tokens: usize,
    first_bar: Duration,
    took: Duration,
}

fn generate(engine: &dyn Engine, request: Request) -> Result<Piece, GenerateError> {
    let began = Instant::now();
    let mut generator = Generator::new(engine, request, Arc::new(AtomicBool::new(false)))?;
    let (mut bars, mut metre, mut first_bar) = (Vec::new(), request.metre, Duration::ZERO);
    let shown = std::io::stderr().is_terminal();
    while let Some(bar) = generator.next() {
        let bar = bar?;
        metre = bar.metre;
        bars.push(bar.notes);
        if bars.len() == 1 {
            first_bar = began.elapsed();
        }
        if shown {
            let speed = generator.tokens_drawn() as f64 / began.elapsed().as_secs_f64();
            eprint!(
                "\rbar {} of {}, {speed:.0} tokens/s ",
                bars.len(),
                request.bars
            );
            let _ = std::io::stderr().flush();
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    let (took, tokens) = (began.elapsed(), generator.tokens_drawn());
    let manifest = engine.manifest();
    let genre = manifest
        .vocabulary
        .genres
        .get(usize::from(request.conditioning.genre));
    let origin = Origin {
        model: manifest.name.clone(),
        hash: manifest.hash.clone(),
        genre: genre.cloned().unwrap_or_default(),
        seed: request.seed,
    };
    let (count, tempo) = (bars.len() as u32, request.micros_per_quarter);
    let clip = Clip::from_bars(0, count, metre, tempo, origin, &bars);
    Ok(Piece {
        clip,
        tokens,
        first_bar,
        took,
    })
}

fn report(piece: &Piece, path: &std::path::Path, engine: &dyn Engine, threads: u16) {
    let Piece {
        clip,
        tokens,
        first_bar,
        took,
    } = piece;
    say(format_args!(
        "{}: {}, seed {}",
        path.display(),
        clip.origin.genre,
        clip.origin.seed
    ));
    say(format_args!(
        "  {:>7}  {:<26} {:>6} {:>6}",
        "channel", "instrument", "notes", "bars"
    ));
    let bar = clip.metre.bar().0;
    for (index, part) in clip.parts.iter().enumerate() {
        let notes = clip
            .notes
            .iter()
            .filter(|note| usize::from(note.part) == index);
        let bars: BTreeSet<u32> = notes.clone().map(|note| note.start.0 / bar).collect();
        let (channel, name) = (part.channel + 1, part.instrument.name());
        say(format_args!(
            "  {channel:>7}  {name:<26} {:>6} {:>6}",
            notes.count(),
            bars.len()
        ));
    }
    let seconds = took.as_secs_f64().max(1e-9);
    let notes = clip.notes.len();
    say(format_args!(
        "  {} bars, {notes} notes, {tokens} tokens in {seconds:.2} s: {:.0} tokens/s, {:.0} notes/s, \
         first bar after {:.0} ms ({}, {threads} threads)",
        clip.bars,
        *tokens as f64 / seconds,
        notes as f64 / seconds,
        first_bar.as_secs_f64() * 1e3,
        engine.name(),
    ));
}
