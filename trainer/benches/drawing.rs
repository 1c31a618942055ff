//! Tokens a second that one thread draws for training: segments cut, transposed, and their heads
//! made, of a data set in memory.
//!
//! `FAMAM_DATA` is a folder with `train/`.
//!
//! ```sh
//! cargo bench -p famam-trainer --bench drawing
//! ```

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use famam_trainer::batches::{Draw, Music, Purpose};
use famam_trainer::config::training::Config;
use famam_trainer::dataset::Dataset;

/// Steps that are drawn, and the tokens of each.
const STEPS: u64 = 200;
const STEP: usize = 32_768;
const ENCODINGS: [&str; 5] = ["multitrack", "remi", "event", "mmm", "grid"];

fn main() -> Result<(), Box<dyn Error>> {
    // Only `cargo bench` measures; `cargo test --all-targets` passes by.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let Some(data) = env::var_os("FAMAM_DATA") else {
        println!("drawing: skipped, FAMAM_DATA names no folder with train/");
        return Ok(());
    };
    let train = fs::canonicalize(Path::new(&data).join("train"))?;
    let folder = tempfile::tempdir()?;
    for encoding in ENCODINGS {
        let output = folder.path().join(encoding).with_extension("h5");
        let config = folder.path().join(encoding).with_extension("json");
        let text = serde_json::json!({
            "input_dirs": [train],
            "output_path": output,
            "encoder_type": encoding,
            "enable_transposition": true,
        });
        fs::write(&config, text.to_string())?;
        let built = Command::new(env!("CARGO_BIN_EXE_famam-trainer"))
            .arg("build")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !built.success() {
            return Err(format!("the build ended with {built}").into());
        }
        let music = Music::read(&Dataset::open(&output)?)?;
        let training: Config = serde_json::from_str(r#"{"max_seq_length": 1024}"#)?;
        let draw = Draw::new(&training, &music, &music.train);
        let begun = Instant::now();
        let mut tokens = 0;
        for step in 0..STEPS {
            let segments = draw.segments(Purpose::Step(step), |_, tokens| tokens >= STEP);
            tokens += segments
                .iter()
                .map(|segment| segment.tokens.len())
                .sum::<usize>();
        }
        let speed = tokens as f64 / begun.elapsed().as_secs_f64();
        println!(
            "figure | transposition and drawing, {encoding}, one thread | {:.1} M tokens/s | at least 5",
            speed / 1e6
        );
    }
    Ok(())
}
