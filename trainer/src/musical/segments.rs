//! The real music that is compared with, and what a model makes of the same wishes.
//!
//! Of each piece one segment is taken: `bars` bars in one metre, in which anything sounds, drawn among those
//! that begin at a multiple of so many; of a shorter piece all of it. A model is asked for music of the same
//! genre, instruments, metre, tempo and number of bars, with a seed for each. Real music is seen through the
//! model's grid, as what it generates is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use famam_shared::encoding::Encoding;
use famam_shared::engine::Engine;
use famam_shared::generation::GenerationError;
use famam_shared::generation::song::{Song, SongBar, compose};
use famam_shared::score::{Bar, Metre, Ticks};
use famam_shared::vocabulary::Vocabulary;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::excerpt::Excerpt;
use crate::dataset::Piece;

/// A part of a real piece, and what is asked for in its place.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its genre.
    pub genre: String,
    /// The whole piece that it is of.
    pub piece: Excerpt,
    /// The part.
    pub music: Excerpt,
}

impl Segment {
    /// One of `piece`, whose genre is one of `vocabulary`, drawn by `seed`; `None` where it has none.
    pub fn of(
        piece: &Piece,
        encoding: &dyn Encoding,
        vocabulary: &Vocabulary,
        bars: usize,
        seed: u64,
    ) -> Option<Self> {
        let whole = Excerpt::new(piece.score(encoding)?, usize::MAX);
        let count = whole.bars().len();
        let mut starts: Vec<usize> = (0..count.max(bars) - bars + 1).step_by(bars).collect();
        starts.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let music = starts.into_iter().find_map(|start| {
            let window = whole.window(start, bars);
            let length = |bar: &Bar| bar.end - bar.start;
            let metre = window.bars()[0].metre;
            let even = window.bars().iter().all(|bar| {
                let same = (bar.metre.numerator, bar.metre.denominator)
                    == (metre.numerator, metre.denominator);
                same && length(bar) == metre.bar()
            });
            (even && window.score().note_count() > 0).then_some(window)
        })?;
        let genre = vocabulary.genres.get(usize::from(piece.genre));
        Some(Self {
            genre: genre.cloned().unwrap_or_default(),
            piece: whole,
            music,
        })
    }

    /// What `engine`'s model plays where it is asked for such music.
    pub fn generate(
        &self,
        engine: &dyn Engine,
        seed: u64,
        cancel: Arc<AtomicBool>,
    ) -> Result<Excerpt, GenerationError> {
        let manifest = engine.manifest();
        let (bars, score) = (self.music.bars(), self.music.score());
        let instruments = score.tracks.iter().map(|track| track.instrument);
        let bar = SongBar {
            metre: Metre {
                at: Ticks(0),
                ..bars[0].metre
            },
            micros_per_quarter: score.tempo_at(Ticks(0)),
        };
        let song = Song {
            // A genre that the model lacks is any.
            genre: manifest.vocabulary.genre(&self.genre).unwrap_or(0),
            seed,
            sampling: manifest.sampling,
            ..Song::new(bars.len() as u32, bar.nearest(manifest.encoding.settings()))
        };
        let song = song.band(instruments.collect());
        Ok(Excerpt::new(compose(engine, song, cancel)?, bars.len()))
    }
}
