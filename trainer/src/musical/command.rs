//! `evaluate --musical`: a generated piece for each real one, and how like they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use famam_shared::encoding::Encoding;
use famam_shared::engine::{Engine, EngineError};
use famam_shared::generation::GenerationError;
use famam_shared::quantize::Settings;
use famam_shared::score::Score;
use famam_shared::vocabulary::Vocabulary;
use famam_shared::{midi, write_file};
use indicatif::{ProgressBar, ProgressStyle};

use super::comparison::Comparison;
use super::copies::{self, Step};
use super::excerpt::Excerpt;
use super::figures::FIGURES;
use super::genres::{self, Example, Question};
use super::report::{Report, Runs, Training};
use super::segments::Segment;
use super::training;
use crate::dataset::Piece;
use crate::parallel;

/// Bars where nothing is said.
const BARS: u32 = 8;

/// How musical figures are made.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Generates a piece for a segment of each one, and compares them by figures of the literature
    #[arg(long)]
    pub musical: bool,
    /// Bars of the segments and the generated pieces [default: 8]
    #[arg(long, value_name = "N", requires = "musical", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub bars: Option<u32>,
    /// Seed of the first generated piece, from which the others count on [default: 0]
    #[arg(long, value_name = "N", requires = "musical")]
    pub seed: Option<u64>,
    /// What the model learned from, a data set (.h5) or a folder of MIDI files: how much is copied from it,
    /// and whether the genres are told apart
    #[arg(long, value_name = "PATH", requires = "musical")]
    pub training: Option<PathBuf>,
    /// Writes the generated pieces as MIDI files into this folder
    #[arg(long, value_name = "DIR", requires = "musical")]
    pub keep: Option<PathBuf>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only a bundle generates.
    #[error(
        "{path} is no bundle: musical figures are of music that a bundle plays; make one with famam-trainer export"
    )]
    NoBundle {
        /// What was given.
        path: String,
    },
    /// No piece has bars to compare with.
    #[error("none of the {pieces} pieces has bars in one metre in which anything sounds")]
    NoSegments {
        /// How many there are.
        pieces: usize,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The music.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The music to look for copies in.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// No folder for the pieces.
    #[error("making the folder {path} for the generated pieces: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A piece cannot be written.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
    /// Ctrl+C.
    #[error("stopped: without all pieces there are no figures")]
    Stopped,
}

/// The figures of `pieces`, whose genres are those of `vocabulary`, and of the music that a model makes in their
/// place. `engines` run the same bundle, one on each thread; `stop` ends the work in order.
pub fn compare(
    engines: &mut [Arc<dyn Engine>],
    encoding: &dyn Encoding,
    vocabulary: &Vocabulary,
    pieces: &[Piece],
    options: &Options,
    stop: &Arc<AtomicBool>,
) -> Result<Report, Error> {
    let bars = options.bars.unwrap_or(BARS) as usize;
    let seed = options.seed.unwrap_or(0);
    let segments: Vec<Segment> = (0..)
        .zip(pieces)
        .filter_map(|(i, piece)| Segment::of(piece, encoding, vocabulary, bars, i))
        .collect();
    if segments.is_empty() {
        let pieces = pieces.len();
        return Err(Error::NoSegments { pieces });
    }
    if let Some(folder) = &options.keep {
        std::fs::create_dir_all(folder).map_err(|source| Error::Folder {
            path: folder.display().to_string(),
            source,
        })?;
    }
    let generated = generate(engines, &segments, seed, options.keep.as_deref(), stop)?;
    let points = |of: &dyn Fn(usize) -> Option<Vec<f64>>| -> Vec<Vec<f64>> {
        (0..segments.len()).filter_map(of).collect()
    };
    let figures = FIGURES.iter().map(|figure| {
        let real = points(&|i| figure.of(&segments[i].music));
        let ours = points(&|i| figure.of(&generated[i]));
        Comparison::new(figure, &real, &ours)
    });
    let threads = engines.len();
    Ok(Report {
        engine: engines
            .first()
            .map_or(String::new(), |engine| engine.name()),
        pieces: segments.len(),
        left_out: pieces.len() - segments.len(),
        bars,
        empty: (generated.iter())
            .filter(|piece| piece.score().note_count() == 0)
            .count(),
        figures: figures.collect(),
        training: match &options.training {
            None => None,
            Some(path) => {
                let read = Read {
                    bars,
                    threads,
                    stop,
                };
                let settings = encoding.quantize_settings();
                Some(read.training(path, settings, &segments, &generated)?)
            }
        },
    })
}

/// How the training music is read.
struct Read<'a> {
    bars: usize,
    threads: usize,
    stop: &'a AtomicBool,
}

/// What is taken of a training piece.
struct Taken {
    examples: Vec<Example>,
    runs: Vec<Vec<Step>>,
}

impl Read<'_> {
    /// What the training music says of the segments and what was generated in their place.
    fn training(
        &self,
        path: &Path,
        settings: &Settings,
        segments: &[Segment],
        generated: &[Excerpt],
    ) -> Result<Training, Error> {
        let real = segments.iter().map(|segment| &segment.music);
        let both = real
            .chain(generated)
            .map(|piece| copies::runs(piece.score()));
        let mut shared = copies::Runs::of(&both.collect::<Vec<_>>());
        let mut examples = Vec::new();
        let mut pieces = 0;
        let of = |genre: Option<&str>, score: &Score| {
            let piece = Excerpt::new(score.clone(), usize::MAX);
            let examples = genre.map(|genre| genres::examples(genre, &piece, self.bars));
            Taken {
                examples: examples.unwrap_or_default(),
                runs: copies::runs(score),
            }
        };
        let take = |taken: Taken| {
            shared.look_in(&taken.runs);
            examples.extend(taken.examples);
            pieces += 1;
        };
        let unread = training::each(path, settings, self.threads, self.stop, of, take)?;
        let mut real_runs = shared.longest();
        let generated_runs = real_runs.split_off(segments.len());
        let questions: Vec<Question> = std::iter::zip(segments, generated)
            .map(|(segment, generated)| Question {
                genre: &segment.genre,
                piece: &segment.piece,
                real: &segment.music,
                generated,
            })
            .collect();
        Ok(Training {
            pieces,
            unread,
            real_runs: Runs::of(real_runs),
            generated_runs: Runs::of(generated_runs),
            genres: genres::recognize(&examples, &questions, self.bars),
        })
    }
}

/// A piece for each segment, in their order.
fn generate(
    engines: &mut [Arc<dyn Engine>],
    segments: &[Segment],
    seed: u64,
    keep: Option<&Path>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Excerpt>, Error> {
    let style = ProgressStyle::with_template("{pos}/{len} pieces {wide_bar} {eta} left");
    let bar = ProgressBar::new(segments.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let work: Vec<(u64, &Segment)> = (seed..).zip(segments).collect();
    let pieces = parallel::each(engines, work, |engine, (seed, segment)| {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let piece = match segment.generate(&**engine, seed, stop.clone()) {
            Err(GenerationError::Cancelled) => return Err(Error::Stopped),
            piece => piece?,
        };
        if let Some(folder) = keep {
            let letters = |c: char| if c.is_alphanumeric() { c } else { '-' };
            let genre: String = segment.genre.chars().map(letters).collect();
            let path = folder.join(format!("{seed:04}-{genre}.mid"));
            write_file::write(&path, &midi::write(piece.score()))?;
        }
        bar.inc(1);
        Ok(piece)
    });
    bar.finish_and_clear();
    pieces.into_iter().collect()
}
