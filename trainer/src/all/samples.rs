//! What a bundle plays, as MIDI files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use famam_shared::encoding::Conditioning;
use famam_shared::engine::{self, Choice, EngineError};
use famam_shared::generation::{GenerationError, Generator, Request};
use famam_shared::score::{Metre, Tempo};
use famam_shared::{midi, write_file};

use crate::bundle;

/// Bars of a sample.
const BARS: u32 = 16;

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The music.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The file.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
}

/// Writes `count` pieces of 16 bars by the model of a bundle, one genre after the other, to `stem-1.mid` and so on.
pub(super) fn write(path: &Path, stem: &Path, count: usize, threads: usize) -> Result<(), Error> {
    let bundle = bundle::read(path)?;
    let engine = engine::load(&bundle, threads, Choice::Auto)?;
    let genres = &bundle.manifest.vocabulary.genres;
    for i in 0..count {
        // Any is the first, and asked for where there is no other.
        let genre = match genres.len() {
            0 | 1 => 0,
            genres => 1 + i % (genres - 1),
        };
        let request = Request {
            conditioning: Conditioning {
                genre: genre as u16,
                ..Conditioning::default()
            },
            bars: BARS,
            metre: Metre::COMMON,
            micros_per_quarter: Tempo::DEFAULT_MICROS,
            seed: i as u64 + 1,
            sampling: bundle.manifest.sampling,
            max_tokens: None,
        };
        let never = Arc::new(AtomicBool::new(false));
        let mut generator = Generator::new(&*engine, request, never)?;
        generator.by_ref().try_for_each(|bar| bar.map(drop))?;
        let score = generator.score();
        let file = format!("{}-{}.mid", stem.display(), i + 1);
        write_file::write(&file, &midi::write(&score))?;
        let genre = genres.get(genre).map_or("any", String::as_str);
        eprintln!(
            "  {file}: {genre}, {BARS} bars, {} notes",
            score.note_count()
        );
    }
    Ok(())
}
