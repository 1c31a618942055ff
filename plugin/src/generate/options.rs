//! The options of `famam generate`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use famam_plugin::harmony::{AskedChords, AskedKey};
use famam_plugin::sampling::Sampling;
use famam_plugin::tracks::AskedTracks;
use famam_shared::engine::Choice;
use famam_shared::score::{Metre, Ticks};

use super::cells::AskedCells;
use super::sections::Sections;

/// Writes MIDI files: the same request with the same seed gives the same notes.
#[derive(Debug, Parser)]
#[command(name = "famam generate", version)]
pub struct Options {
    /// The genre, by its name in the model
    #[arg(long, default_value = "any")]
    pub genre: String,
    /// Bars: of a song, or of what follows the file that is continued
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub bars: u32,
    /// As many whole bars as fill so many seconds, in place of --bars
    #[arg(long, value_parser = seconds, conflicts_with = "bars")]
    pub seconds: Option<f64>,
    /// Groups (drums, bass, guitar, keys, strings and pads, lead), classes, General MIDI names or
    /// programs (128 is drums), separated by commas; the genre's own where none is given
    #[arg(long)]
    pub instruments: Option<String>,
    /// The same with what is asked of each: "drums; 33 pitch=28-50 polyphony=1 density=7; piano lengths=1/4-2
    /// rests=-2"
    #[arg(long, conflicts_with = "instruments")]
    pub tracks: Option<AskedTracks>,
    /// How many of the genre's most common instruments play, where no others are named
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=16),
          conflicts_with_all = ["instruments", "tracks", "style"])]
    pub top_instruments: u16,
    /// Named presets of tracks, chords and sampling, separated by commas: melody, chords, bass, those of your own,
    /// or random
    #[arg(long)]
    pub style: Option<String>,
    /// A file of your own styles, beside styles.json in the folder of Famam's models
    #[arg(long)]
    pub styles: Option<PathBuf>,
    /// The key or scale: "A minor", "D dorian", "Bb blues"; with ~2 behind it leant towards by 2 nats
    #[arg(long, visible_alias = "scale")]
    pub key: Option<AskedKey>,
    /// The chords, a bar each: "Am F C G", "Am F-G", "i VI III VII"; drawn by the seed, or from the file that is
    /// continued; with ~2 behind leant towards by 2 nats
    #[arg(long)]
    pub chords: Option<AskedChords>,
    /// The metre; 4/4, or the file's, where none is given
    #[arg(long, value_parser = metre)]
    pub metre: Option<Metre>,
    /// Quarters a minute; 120, or the file's, where none is given
    #[arg(long, value_parser = tempo)]
    pub tempo: Option<f64>,
    /// The form: a letter for each section, as in ABAB; a letter that comes again is a variation
    #[arg(long, conflicts_with_all = ["bars", "seconds", "from", "from_tokens", "max_tokens"])]
    pub sections: Option<Sections>,
    /// Bars of a section
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub section_bars: u32,
    /// A MIDI file that the music goes on from
    #[arg(id = "from", long = "continue")]
    pub from: Option<PathBuf>,
    /// The same as a line of tokens, such as --tokens prints
    #[arg(id = "from_tokens", long = "continue-tokens", conflicts_with = "from")]
    pub from_tokens: Option<PathBuf>,
    /// Goes on behind so many bars of the file
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub from_bar: Option<u32>,
    /// Goes on behind as many bars of the file as so many tokens say
    #[arg(long, conflicts_with = "from_bar")]
    pub first_tokens: Option<usize>,
    /// Cells of the file to be written anew, or of an instrument that it lacks, with all others as they are:
    /// "33:5-8, drums:2, piano"
    #[arg(long, conflicts_with_all = ["bars", "seconds", "from_bar", "first_tokens", "max_tokens"])]
    pub fill: Option<AskedCells>,
    /// Cells of the file that stay as they are; all others are written anew: "drums, 33:1-4"
    #[arg(long, conflicts_with_all = ["bars", "seconds", "from_bar", "first_tokens", "max_tokens"])]
    pub lock: Option<AskedCells>,
    /// What is written to the file: all of it, or only what is new
    #[arg(id = "return", long, value_enum, default_value = "all")]
    pub returned: Returned,
    /// Prints the tokens of what is written, a line for each file
    #[arg(long)]
    pub tokens: bool,
    /// The seed of the first file; those that follow count on. A new one where none is given
    #[arg(long)]
    pub seed: Option<u64>,
    /// The model: a bundle (.onnx); the built-in one where none is given
    #[arg(long)]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub sampling: Sampling,
    /// How often a piece is tried again, with another seed, that has music in less than half of its bars
    /// or more than half of its notes in common with one of those before
    #[arg(long, default_value_t = 0)]
    pub retries: u32,
    /// Ends each piece with the bar in which this many tokens were drawn
    #[arg(long)]
    pub max_tokens: Option<usize>,
    /// Files to write, each with a seed of its own: variations of one request
    #[arg(
        short = 'n',
        long = "count",
        visible_alias = "variations",
        default_value_t = 1
    )]
    pub count: u64,
    /// So many files in each of the 24 keys, in folders by key
    #[arg(long, conflicts_with_all = ["key", "output"])]
    pub all_keys: bool,
    /// So many files in each of the model's genres, in folders by genre
    #[arg(long, conflicts_with_all = ["genre", "output"])]
    pub all_genres: bool,
    /// The file to write; with several files, the first part of their names
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// How the names of files begin; the seed follows
    #[arg(long, default_value = "famam")]
    pub prefix: String,
    /// The folder for files that have no other
    #[arg(long, default_value = ".")]
    pub output_dir: PathBuf,
    /// Threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// What runs the model
    #[arg(long, value_enum, default_value = "auto")]
    pub engine: EngineName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EngineName {
    /// The fastest that runs the model: native, ort where it is found, otherwise rten
    Auto,
    /// Famam's own, for Transformers on x86-64
    Native,
    /// ONNX Runtime
    Ort,
    /// rten
    Rten,
}

impl EngineName {
    pub fn choice(self) -> Choice {
        match self {
            EngineName::Auto => Choice::Auto,
            EngineName::Native => Choice::Native,
            EngineName::Ort => Choice::Ort,
            EngineName::Rten => Choice::Rten,
        }
    }
}

/// What of a song is written to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Returned {
    /// What was known and what was written
    All,
    /// What was written; behind a file that was continued it begins with the first bar
    New,
}

fn tempo(text: &str) -> Result<f64, String> {
    let tempo = f64::from_str(text).map_err(|error| error.to_string())?;
    if (10.0..=1000.0).contains(&tempo) {
        Ok(tempo)
    } else {
        Err("expected 10 to 1000".into())
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = f64::from_str(text).map_err(|error| error.to_string())?;
    if seconds > 0.0 && seconds <= 36_000.0 {
        Ok(seconds)
    } else {
        Err("expected more than 0, up to 36000".into())
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
