//! Building a data set: folders of MIDI files to one HDF5 file.
//!
//! 1. [`files`]: every MIDI file of the inputs, in one order; a subset of their songs.
//! 2. [`genres`]: each one's genre from the tables beside it; some are left out for it.
//! 3. [`mod@prepare`]: each one read, filtered ([`filter`]), quantized, trimmed ([`trim`]) and encoded,
//!    in parallel ([`ordered`]).
//! 4. Versions of one song found ([`songs`], [`near`]); what stays is written in order, one file at
//!    a time, beside the data set's place.
//! 5. Songs split; byte pairs learned from a sample of the training split, where they are merged
//!    ([`crate::merges`]); the file put in its place.
//!
//! Memory holds the files' names and about a kilobyte for each piece, never the music.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use famam_shared::encoding::SettingsError;
use famam_shared::encoding::controls::Densities;
use famam_shared::vocabulary::{Labels, LabelsError};

use crate::config;
use crate::config::dataset::{Config, GenreFrom};
use crate::dataset::{self, Header, Piece, Split, Writer};
use crate::merges::Sample;

pub mod command;
pub mod files;
pub mod filter;
pub mod genres;
pub mod near;
pub mod ordered;
pub mod prepare;
pub mod progress;
pub mod songs;
pub mod summary;
pub mod trim;

use files::{Found, Inputs};
use filter::Filter;
use genres::Genres;
use prepare::{Prepared, Reason, prepare};
use progress::Progress;
use songs::{Duplicate, Songs};
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
    /// An input cannot be read.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The inputs hold no MIDI file.
    #[error("no file ending in .mid, .midi or .kar in {0}")]
    NoFiles(String),
    /// Every file was left out.
    #[error("none of the files can be used:\n{0}")]
    NothingLeft(Box<Summary>),
    /// Byte pairs cannot be learned.
    #[error("learning the byte pairs that are merged: {0}; with merges 0 none are")]
    Merges(#[source] tokenizers::Error),
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
    let inputs: Vec<PathBuf> = config
        .input_dirs
        .iter()
        .map(|input| config::expand(input))
        .collect::<Result<_, _>>()?;
    let Inputs { folders, mut files } = found(&inputs)?;
    if let Some(most) = config.max_samples {
        files.truncate(most);
    }
    let found = files.len();
    let song_tables = tables(&folders, "song.tsv")?;
    let song = |file: &Found| {
        let said = label(&song_tables[file.root], file);
        said.map_or_else(|| own_song(file), str::to_owned)
    };
    let seed = config.random_seed.unwrap_or(0);
    if let Some(subset) = config.subset {
        let keys: Vec<String> = files.iter().map(song).collect();
        let mut drawn = songs::drawn(&keys, subset, seed).into_iter();
        files.retain(|_| drawn.next().unwrap_or(false));
    }
    let Genres {
        vocabulary,
        files: genres,
    } = Genres::new(&genre_labels(config, &folders, &files)?, config);
    let encoding = config.encoding();
    let genre_count = vocabulary.genres.len();
    let encoder = encoding.build(genre_count)?;
    let filter = Filter::new(config);

    let header = Header {
        vocabulary,
        encoding,
        config: config.without_places(),
    };
    let mut summary = Summary::new(found, &header.vocabulary);
    summary.leave_out(Reason::NotDrawn, found - files.len());
    let mut writer = Writer::create(&output, header)?;
    let mut songs = Songs::default();
    let mut sample = (config.merges > 0).then(|| Sample::new(seed));
    let mut densities = Vec::new();
    let mut progress = Progress::new(files.len(), config.verbose);
    let jobs: Vec<_> = std::iter::zip(&files, &genres).collect();
    ordered::map(
        &jobs,
        threads,
        |(file, genre)| match genre {
            Err(reason) => Err((*reason, String::new())),
            Ok(genre) => {
                let prepared = prepare(&file.path, &*encoder, config, &filter);
                prepared.map(|prepared| (*genre, prepared))
            }
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
                    summary.leave_out(reason, 1);
                    if reason == Reason::Unreadable {
                        progress.say(&format!("left out: {words}"));
                    }
                }
                Ok((genre, prepared)) => {
                    let duplicate = songs.push(song(file), &prepared.fingerprints);
                    if let Some(duplicate) = duplicate {
                        if config.drop_duplicates.drops(duplicate) {
                            summary.leave_out(duplicate.into(), 1);
                            return Ok(());
                        }
                        *summary.duplicates.entry(duplicate).or_default() += 1;
                    }
                    summary.used += 1;
                    summary.losses += prepared.losses;
                    summary.not_allowed += prepared.not_allowed;
                    summary.genres[usize::from(genre)].1 += 1;
                    for piece in pieces(file, genre, prepared, config) {
                        summary.take(&piece, config);
                        if let Some(sample) = &mut sample {
                            sample.show(&piece.body);
                        }
                        densities.push(encoder.densities(&piece.body));
                        writer.push(&piece)?;
                        songs.piece();
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
    let split = songs.split(config.validation_fraction, config.test_fraction, seed);
    summary.songs = Split::ALL.map(|place| split.songs(place));
    let splits: Vec<Split> = split.pieces().map(|(_, place)| place).collect();
    let trains = |piece: usize| splits.get(piece) == Some(&Split::Train);
    let mut encoding = config.encoding();
    if encoder.says_controls() {
        let learned_from = (0..).zip(densities).filter(|(piece, _)| trains(*piece));
        let densities = Densities::learn(learned_from.flat_map(|(_, counted)| counted));
        encoding = encoding.with_densities(densities);
        writer.encode_as(encoding.clone());
    }
    if let Some(sample) = sample {
        let merges = sample
            .learn(trains, &*encoder, &config.shifts(), config.merges)
            .map_err(Error::Merges)?;
        let encoding = encoding.with_merges(merges);
        let merged = encoding.build(genre_count)?;
        summary.merges = Some(sample.measured(&*merged));
        writer.encode_as(encoding);
    }
    writer.finish(split.pieces())?;
    summary.time = start.elapsed();
    Ok(summary)
}

/// The MIDI files of `inputs`, of which there must be some.
pub(crate) fn found(inputs: &[PathBuf]) -> Result<Inputs, Error> {
    let found = files::find(inputs)?;
    if found.files.is_empty() {
        let names: Vec<_> = inputs
            .iter()
            .map(|input| input.display().to_string())
            .collect();
        return Err(Error::NoFiles(names.join(", ")));
    }
    Ok(found)
}

impl From<Duplicate> for Reason {
    fn from(duplicate: Duplicate) -> Self {
        match duplicate {
            Duplicate::Exact => Reason::ExactDuplicate,
            Duplicate::Near => Reason::NearDuplicate,
        }
    }
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
    let source = prefix(file, config).unwrap_or(file.stem());
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

/// What stands in a file's name before the first separator, where there is one.
fn prefix<'a>(file: &'a Found, config: &Config) -> Option<&'a str> {
    let parts = file.stem().split_once(config.source_separator.as_str());
    parts.map(|(prefix, _)| prefix)
}

/// The genre that is said of each file: by the config's table, by the one in its input folder, by
/// its folders or its name.
pub(crate) fn genre_labels(
    config: &Config,
    folders: &[PathBuf],
    files: &[Found],
) -> Result<Vec<Option<String>>, Error> {
    let own = match &config.genre_tsv_path {
        None => None,
        Some(path) => Some(Labels::read(config::expand(path)?)?),
    };
    let beside = tables(folders, "genre.tsv")?;
    let genre = |file: &Found| {
        let said = label(&own, file).or_else(|| label(&beside[file.root], file));
        let elsewhere = || match config.genre_from {
            GenreFrom::Table => None,
            GenreFrom::Folder => Some(file.folder()),
            GenreFrom::Composer => match file.name.split_once('/') {
                Some((outermost, _)) => Some(outermost),
                None => Some(file.folder()),
            },
            GenreFrom::Prefix => prefix(file, config),
        };
        said.or_else(elsewhere)
            .map(str::trim)
            .filter(|genre| !genre.is_empty())
            .map(str::to_owned)
    };
    Ok(files.iter().map(genre).collect())
}

/// The table `name` in each input folder that has one.
fn tables(folders: &[PathBuf], name: &str) -> Result<Vec<Option<Labels>>, Error> {
    let table = |folder: &PathBuf| {
        let path = folder.join(name);
        path.is_file().then(|| Labels::read(path)).transpose()
    };
    Ok(folders.iter().map(table).collect::<Result<_, _>>()?)
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
