//! `famam generate`: a request becomes MIDI files and a table of what is in them.
//!
//! [`options`] say what is asked for; [`plan`] makes the song of them that a seed has, [`piece`] writes it, bar by bar
//! or section by section, [`sets`] say to which files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use famam_plugin::model::{ModelError, Source};
use famam_plugin::styles::StylesError;
use famam_plugin::tracks::TracksError;
use famam_shared::encoding::SettingsError;
use famam_shared::engine::{self, EngineError};
use famam_shared::generation::{GenerationError, Verdict, retry};
use famam_shared::instrument::{Instrument, UnknownInstrument};
use famam_shared::say::say;
use famam_shared::score::Score;
use famam_shared::theory::progression::ProgressionError;
use famam_shared::{midi, write_file};

mod asked;
mod cells;
mod known;
mod options;
mod piece;
mod plan;
mod report;
mod sections;
mod sets;

pub use asked::asked;
pub use options::Options;

use cells::CellsError;
use known::KnownError;
use piece::Piece;
use plan::Plan;
use sets::Place;

/// So many variations are written side by side.
const TOGETHER: usize = 8;

/// Why nothing, or not all, was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the model cannot be started: {0}")]
    Engine(#[from] EngineError),
    #[error("the model's encoding cannot be used ({0}); export the model again")]
    Settings(#[from] SettingsError),
    #[error("the model knows no genre \"{genre}\"; it knows {known}")]
    Genre { genre: String, known: String },
    #[error(transparent)]
    Instruments(#[from] UnknownInstrument),
    #[error(transparent)]
    Tracks(#[from] TracksError),
    #[error(transparent)]
    Styles(#[from] StylesError),
    #[error(transparent)]
    Known(#[from] KnownError),
    #[error(transparent)]
    Cells(#[from] CellsError),
    #[error(transparent)]
    Chords(#[from] ProgressionError),
    #[error("{flag} is of music that is there already: name a file with --continue")]
    NothingKnown { flag: &'static str },
    #[error("all cells are locked, and nothing is left to write: name fewer with --lock")]
    AllLocked,
    #[error(
        "{0} is asked for, and none of its cells is wanted: name some with --fill, or leave the track out"
    )]
    Unwanted(Instrument),
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

fn make_folder(path: &Path) -> Result<(), GenerateError> {
    std::fs::create_dir_all(path).map_err(|source| GenerateError::Folder {
        path: path.to_owned(),
        source,
    })
}

/// Writes all files.
pub fn run(options: &Options) -> Result<(), GenerateError> {
    let source = options.model.clone().map_or(Source::BuiltIn, Source::File);
    let threads = usize::from(options.threads);
    let engine = engine::load(&source.open()?, threads, options.engine.choice())?;
    let manifest = engine.manifest();
    let encoding = manifest.encoding.build(manifest.vocabulary.genres.len())?;
    let plan = Plan::new(options, manifest, &*encoding)?;
    let first = options.seed.unwrap_or_else(|| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0) % 9999 + 1
    });
    if let Some(why) = engine.fallback() {
        eprintln!("famam: {why}");
    }
    let (began, mut files, mut notes) = (Instant::now(), 0, 0);
    let places = Place::all(options, manifest);
    // What may be tried again is compared with what was before.
    let together = match options.retries {
        0 => TOGETHER,
        _ => 1,
    };
    let write = |seeds: &[u64], place: &Place| -> Result<Vec<Piece>, GenerateError> {
        let songs = seeds.iter().map(|&seed| plan.song(seed, place));
        let songs = songs.collect::<Result<_, _>>()?;
        Ok(piece::write(&*engine, songs, options, encoding.fills())?)
    };
    for place in &places {
        let mut before = Vec::new();
        let count = options.count.max(1);
        for begin in (0..count).step_by(together) {
            let end = count.min(begin + together as u64);
            let seeds = (begin..end).map(|i| first.wrapping_add(i));
            let seeds: Vec<u64> = seeds.collect();
            let (pieces, tried) = match seeds[..] {
                [seed] if options.retries > 0 => {
                    let judge = |pieces: &Vec<Piece>| {
                        let of =
                            |piece: &Piece| Verdict::of(&piece.new_part(), &piece.bars(), &before);
                        let nothing = || Verdict::of(&Score::default(), &[], &[]);
                        pieces.first().map_or_else(nothing, of)
                    };
                    let make = |seed| write(&[seed], place);
                    let tried = retry(seed, options.retries, make, judge)?;
                    (tried.result, Some((tried.attempts, tried.verdict)))
                }
                _ => (write(&seeds, place)?, None),
            };
            make_folder(&place.folder(options))?;
            for (piece, seed) in std::iter::zip(pieces, seeds) {
                let (score, path) = (piece.returned(options), place.path(options, seed));
                write_file::write(&path, &midi::write(&score))?;
                report::report(&piece, &score, &path, &*engine, options);
                if let Some((attempts, verdict)) = tried {
                    report::tried(attempts, verdict, options);
                    before.push(piece.new_part());
                }
                if options.tokens {
                    say(report::tokens(&score, piece.song.genre, &*encoding));
                }
                (files, notes) = (files + 1, notes + score.note_count());
            }
        }
    }
    if places.len() > 1 {
        say(format_args!(
            "{files} files in {} folders under {}: {notes} notes in {:.0} s",
            places.len(),
            options.output_dir.display(),
            began.elapsed().as_secs_f64(),
        ));
    }
    Ok(())
}
