//! `famam-host`: loads the plugin without a window, has it make music and play it, and writes down
//! what came out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use famam_shared::bundle::Bundle;
use famam_shared::midi;
use famam_shared::score::Score;
use famam_tests::host::Format;
use famam_tests::performance::{self, Made, Recording, Settings};

/// Plays the plugin without a window.
#[derive(Debug, Parser)]
#[command(name = "famam-host")]
struct Options {
    /// The plugin: a .clap
    plugin: PathBuf,
    /// The genre, by its name in the model
    #[arg(long, default_value = "any")]
    genre: String,
    /// Bars
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    bars: u32,
    /// The seed, 1 to 9999
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9999))]
    seed: u32,
    /// Quarters a minute
    #[arg(long, default_value_t = 120.0)]
    tempo: f64,
    /// Samples a second
    #[arg(long, default_value_t = 48_000.0)]
    sample_rate: f64,
    /// Samples in a block
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=8192))]
    frames: u32,
    /// The MIDI file that is written
    #[arg(long, default_value = "famam-demo.mid")]
    out: PathBuf,
}

/// The model that is compiled into the plugin.
static MODEL: &[u8] = include_bytes!("../../models/famam.onnx");

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("famam-host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let &Options {
        bars,
        sample_rate,
        frames,
        tempo,
        ..
    } = options;
    let settings = Settings {
        sample_rate,
        frames,
        tempo,
    };
    let mut host = Format::Clap.open(&options.plugin)?;
    let (bar_count, seed) = (bars.to_string(), options.seed.to_string());
    let parameters = [
        ("genre", options.genre.as_str()),
        ("bars", &bar_count),
        ("seed", &seed),
        ("program_changes", "On"),
    ];
    let made = performance::make(host.as_mut(), settings, &parameters)?;
    let recording = performance::play(host.as_mut(), settings, f64::from(bars * 4))?;
    midi::write_file(&options.out, &recording.score)?;
    print_table(&recording);
    print_speed(&made, tokens(&recording.score)?);
    println!("wrote {}", options.out.display());
    Ok(())
}

fn print_table(recording: &Recording) {
    println!("channel  instrument                  notes  bars");
    for (channel, track) in recording.channels.iter().zip(&recording.score.tracks) {
        let bars: BTreeSet<_> = track.notes.iter().map(|note| note.start.0 / 3840).collect();
        let (channel, notes) = (channel + 1, track.notes.len());
        println!(
            "{channel:>7}  {:<26}  {notes:>5}  {:>4}",
            track.name,
            bars.len()
        );
    }
}

fn print_speed(made: &Made, tokens: usize) {
    let seconds = made.complete.as_secs_f64();
    let notes = made.clip.notes.len();
    println!(
        "first bar after {:.0} ms",
        made.first_bar.as_secs_f64() * 1e3
    );
    println!(
        "{notes} notes in {seconds:.1} s: {:.0} tokens/s, {:.0} notes/s",
        tokens as f64 / seconds,
        notes as f64 / seconds,
    );
}

/// The tokens that the model wrote for this music.
fn tokens(score: &Score) -> Result<usize, Box<dyn std::error::Error>> {
    let manifest = Bundle::read(MODEL)?.manifest;
    let encoding = manifest.encoding.build(manifest.vocabulary.genres.len())?;
    let (quantized, _) = famam_shared::quantize::quantize(score, encoding.quantize_settings());
    Ok(encoding
        .encode(&quantized)
        .iter()
        .map(|body| body.tokens.len())
        .sum())
}
