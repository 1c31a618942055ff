//! Building a data set: folders of MIDI files to one HDF5 file.
//!
//! 1. [`files`]: every MIDI file below the input folders, in one order.
//! 2. [`genres`]: each one's genre from the tables beside it; some are left out for it.
//! 3. [`prepare`]: each one read, filtered, quantized and encoded, in parallel ([`ordered`]).
//! 4. Written in order, one at a time, beside the data set's place.
//! 5. [`songs`]: versions of one song found, songs split; the file put in its place.
//!
//! Memory holds the files' names and a few hundred bytes for each piece, never the music.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use famam_shared::encoding::SettingsError;
use famam_shared::vocabulary::{Labels, LabelsError};

use crate::config;
use crate::config::dataset::{Config, GenreFrom};
use crate::dataset::{self, Header, Piece, Split, Writer};

pub mod command;
pub mod files;
pub mod genres;
pub mod ordered;
pub mod prepare;
pub mod progress;
pub mod songs;
pub mod summary;

use files::Found;
use genres::Genres;
use prepare::{Prepared, Reason, prepare};
use progress::Progress;
use songs::Songs;
use summary::Summary;

/// Why a data set was not built. What stood in its place before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config cannot be used.
    #[error(transparent)]
    Config(#[from] config::dataset::Error),
    /// A path in the config cannot be expanded.
    #[error(transparent)]
    Path(#[from] config::UnsetVariable),
    /// The encoding refuses its settings.
    #[error("the config's encoding: {0}")]
    Encoding(#[from] SettingsError),
    /// A table of genres or songs cannot be read.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// An input folder cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The folder.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The input folders hold no MIDI file.
    #[error("no file ending in .mid, .midi or .kar in {0}")]
    NoFiles(String),
    /// Every file was left out.
    #[error("none of the files can be used:\n{0}")]
    NothingLeft(Box<Summary>),
    /// The data set cannot be written.
    #[error(transparent)]
    Write(#[from] dataset::Error),
    /// The user stopped it.
    #[error("stopped; nothing was written")]
    Stopped,
}

/// Builds the data set that `config` describes, on `threads` threads, unless `stop` is set
/// meanwhile.
pub fn build(config: &Config, threads: usize, stop: &AtomicBool) -> Result<Summary, Error> {
    let start = Instant::now();
    config.check()?;
    let output = config::expand(&config.output_path)?;
    let roots: Vec<PathBuf> = config
        .input_dirs
        .iter()
        .map(|root| config::expand(root))
        .collect::<Result<_, _>>()?;
    let mut files = found(&roots)?;
    if let Some(most) = config.max_samples {
        files.truncate(most);
    }
    let Genres {
        vocabulary,
        files: genres,
    } = Genres::new(&genre_labels(config, &roots, &files)?, config);
    let encoding = config.encoding();
    let encoder = encoding.build(vocabulary.genres.len())?;
    let song_tables = tables(&roots, "song.tsv")?;

    let header = Header {
        vocabulary,
        encoding,
        config: config.without_places(),
    };
    let mut summary = Summary::new(files.len(), &header.vocabulary);
    let mut writer = Writer::create(&output, header)?;
    let mut songs = Songs::default();
    let mut progress = Progress::new(files.len(), config.verbose);
    let jobs: Vec<_> = std::iter::zip(&files, &genres).collect();
    ordered::map(
        &jobs,
        threads,
        |(file, genre)| match genre {
            Err(reason) => Err((*reason, String::new())),
            Ok(genre) => prepare(&file.path, &*encoder, config).map(|prepared| (*genre, prepared)),
        },
        |result| result.as_ref().map_or(0, |(_, prepared)| prepared.bytes()),
        |i, result| {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            progress.done(i);
            let file = &files[i];
            match result {
                Err((reason, words)) => {
                    summary.leave_out(reason);
                    if reason == Reason::Unreadable {
                        progress.say(&format!("left out: {words}"));
                    }
                }
                Ok((genre, prepared)) => {
                    summary.used += 1;
                    summary.losses += prepared.losses;
                    summary.genres[usize::from(genre)].1 += 1;
                    let key = label(&song_tables[file.root], file);
                    let fingerprints = prepared.fingerprints;
                    for piece in pieces(file, genre, prepared, config) {
                        summary.take(&piece, config);
                        writer.push(&piece)?;
                        let key = key.map_or_else(|| own_song(file), str::to_owned);
                        songs.push(key, fingerprints);
                    }
                }
            }
            Ok(())
        },
    )?;
    progress.finish();
    if summary.pieces == 0 {
        return Err(Error::NothingLeft(Box::new(summary)));
    }
    let seed = config.random_seed.unwrap_or(0);
    let split = songs.split(config.validation_fraction, config.test_fraction, seed);
    summary.songs = Split::ALL.map(|place| split.songs(place));
    writer.finish(split.pieces())?;
    summary.time = start.elapsed();
    Ok(summary)
}

/// The MIDI files below `roots`, of which there must be some.
pub(crate) fn found(roots: &[PathBuf]) -> Result<Vec<Found>, Error> {
    let files = files::find(roots).map_err(|(path, source)| Error::Read {
        path: path.display().to_string(),
        source,
    })?;
    if files.is_empty() {
        let names: Vec<_> = roots
            .iter()
            .map(|root| root.display().to_string())
            .collect();
        return Err(Error::NoFiles(names.join(", ")));
    }
    Ok(files)
}

/// The song that a file is of by its own name.
fn own_song(file: &Found) -> String {
    format!("{}/{}", file.folder(), files::without_version(file.stem()))
}

/// A file's sequences as pieces.
fn pieces(
    file: &Found,
    genre: u16,
    prepared: Prepared,
    config: &Config,
) -> impl Iterator<Item = Piece> {
    let source = file
        .stem()
        .split(config.source_separator.as_str())
        .next()
        .unwrap_or_default();
    std::iter::zip(prepared.bodies, prepared.notes).map(move |(body, notes)| Piece {
        genre,
        body,
        song: String::new(),
        split: Split::Train,
        notes,
        source: source.to_owned(),
        name: file.name.clone(),
    })
}

/// The genre that is said of each file: by the config's table, by the one in its input folder, by
/// its folder.
pub(crate) fn genre_labels(
    config: &Config,
    roots: &[PathBuf],
    files: &[Found],
) -> Result<Vec<Option<String>>, Error> {
    let own = match &config.genre_tsv_path {
        None => None,
        Some(path) => Some(Labels::read(config::expand(path)?)?),
    };
    let beside = tables(roots, "genre.tsv")?;
    let genre = |file: &Found| {
        let said = label(&own, file).or_else(|| label(&beside[file.root], file));
        let folder = (config.genre_from == GenreFrom::Folder).then(|| file.folder());
        said.or(folder)
            .filter(|genre| !genre.is_empty())
            .map(str::to_owned)
    };
    Ok(files.iter().map(genre).collect())
}

/// The table `name` in each input folder that has one.
fn tables(roots: &[PathBuf], name: &str) -> Result<Vec<Option<Labels>>, Error> {
    let table = |root: &PathBuf| {
        let path = root.join(name);
        path.is_file().then(|| Labels::read(path)).transpose()
    };
    Ok(roots.iter().map(table).collect::<Result<_, _>>()?)
}

/// What a table says of a file, by its path in the input folder, or by its own folder and name
/// where the input folder is an artist's.
fn label<'a>(table: &'a Option<Labels>, file: &Found) -> Option<&'a str> {
    let table = table.as_ref()?;
    let by_folder = || {
        let name = file.name.rsplit('/').next().unwrap_or_default();
        table.lookup(&format!("{}/{name}", file.folder()))
    };
    table.lookup(&file.name).or_else(by_folder)
}
