//! What a bundle plays, as MIDI files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use famam_shared::engine::{self, Choice, EngineError};
use famam_shared::generation::GenerationError;
use famam_shared::generation::song::{Song, SongBar, compose};
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
        let bar = SongBar::default().nearest(bundle.manifest.encoding.settings());
        let song = Song {
            genre: genre as u16,
            seed: i as u64 + 1,
            sampling: bundle.manifest.sampling,
            ..Song::new(BARS, bar)
        };
        let score = compose(&*engine, song, Arc::new(AtomicBool::new(false)))?;
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
