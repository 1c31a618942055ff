//! `analyze`: what is in folders of MIDI files, before a data set is built from them.
//!
//! Each file is read once, in parallel: its [`facts`], and its length in each encoding's [`tokens`]. The
//! report is text, JSON, and a [`page`] of plots. Files are read only.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use famam_shared::encoding::{Encoding, SettingsError};
use famam_shared::midi;
use famam_shared::quantize::quantize;
use famam_shared::say::say;
use famam_shared::write_file;
use serde::Serialize;

use crate::build::files::{Found, Inputs};
use crate::build::progress::Progress;
use crate::build::songs::{self, Fingerprint};
use crate::build::{self, ordered};
use crate::config::dataset::Config;
use crate::parallel;
use crate::words::listed;

mod facts;
mod page;
mod tokens;

pub use facts::Facts;
pub use tokens::{Lengths, Tokens};

/// Says what is in folders of MIDI files: tempos, lengths, metres, keys, instruments, genres, duplicates, what
/// cannot be read, and how long the music is in tokens.
///
///   famam-trainer analyze DIR... -o report.json --page report.html
///
/// Genres come from genre.tsv in a folder (a line for each file: path, tab, genre), or from --genres. Nothing
/// is changed.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Folders of MIDI files
    #[arg(required = true, value_name = "DIR")]
    pub inputs: Vec<PathBuf>,
    /// Writes all that was found as JSON
    #[arg(short, long, value_name = "FILE.json")]
    pub output: Option<PathBuf>,
    /// Writes a page of plots, which any browser opens without a network
    #[arg(long, value_name = "FILE.html")]
    pub page: Option<PathBuf>,
    /// Genres of the files (path, tab, genre) where their folders have no genre.tsv
    #[arg(long, value_name = "FILE.tsv")]
    pub genres: Option<PathBuf>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Folders or genres cannot be read.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// An encoding refuses its settings.
    #[error("an encoding: {0}")]
    Encoding(#[from] SettingsError),
    /// The report cannot be written.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// MIDI files found.
    pub found: usize,
    /// What is in each that could be read.
    pub files: Vec<Facts>,
    /// The others, with the reason.
    pub unreadable: Vec<Unreadable>,
    /// Lengths in tokens, by encoding.
    pub tokens: BTreeMap<&'static str, Tokens>,
}

/// A file that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unreadable {
    /// Its path in its folder.
    pub name: String,
    /// What the reader says.
    pub why: String,
}

/// Runs `famam-trainer analyze`.
pub fn run(args: &Args) -> Result<(), Error> {
    let threads = args.threads.map_or_else(parallel::cores, NonZero::get);
    let report = analyze(&args.inputs, args.genres.as_deref(), threads)?;
    say(&report);
    write(&report, args.output.as_deref(), args.page.as_deref())
}

/// Writes a report as JSON and as a page of plots.
pub fn write(report: &Report, json: Option<&Path>, page: Option<&Path>) -> Result<(), Error> {
    if let Some(path) = json {
        let text = format!("{:#}\n", serde_json::json!(report));
        write_file::write(path, text.as_bytes())?;
    }
    if let Some(path) = page {
        write_file::write(path, page::page(report).as_bytes())?;
    }
    Ok(())
}

/// Reads all MIDI files of `roots` on `threads` threads.
pub fn analyze(roots: &[PathBuf], genres: Option<&Path>, threads: usize) -> Result<Report, Error> {
    let config = Config {
        genre_tsv_path: genres.map(|path| path.display().to_string()),
        ..Config::default()
    };
    let Inputs { folders, files } = build::found(roots)?;
    let labels = build::genre_labels(&config, &folders, &files)?;
    let encodings = tokens::encodings()?;
    let mut report = Report {
        found: files.len(),
        files: Vec::new(),
        unreadable: Vec::new(),
        tokens: BTreeMap::new(),
    };
    let mut counts: Vec<_> = encodings
        .iter()
        .map(|(_, encoding)| tokens::Counts::new(&**encoding))
        .collect();
    let mut contents: BTreeMap<Fingerprint, String> = BTreeMap::new();
    let mut progress = Progress::new(files.len(), true);
    let jobs: Vec<_> = std::iter::zip(&files, &labels).collect();
    ordered::map(
        &jobs,
        threads,
        |(file, genre)| read(file, genre.as_deref(), &encodings),
        |_| 4096,
        |i, result| {
            progress.done(i);
            match result {
                Err(why) => report.unreadable.push(Unreadable {
                    name: files[i].name.clone(),
                    why,
                }),
                Ok(mut file) => {
                    for (counts, of_file) in std::iter::zip(&mut counts, file.tokens) {
                        counts.take(of_file);
                    }
                    let name = file.facts.name.clone();
                    let first = contents.entry(file.content).or_insert_with(|| name.clone());
                    file.facts.duplicate_of = (*first != name).then(|| first.clone());
                    report.files.push(file.facts);
                }
            }
            Ok::<(), Error>(())
        },
    )?;
    progress.finish();
    for ((name, _), counts) in std::iter::zip(&encodings, counts) {
        report.tokens.insert(name, counts.finish());
    }
    Ok(report)
}

/// What is known of a file once it was read.
struct Read {
    facts: Facts,
    content: Fingerprint,
    tokens: Vec<tokens::OfFile>,
}

fn read(
    file: &Found,
    genre: Option<&str>,
    encodings: &[(&'static str, Box<dyn Encoding>)],
) -> Result<Read, String> {
    let score = midi::read_file(&file.path).map_err(|error| error.to_string())?;
    let facts = Facts::new(&score, file.name.clone(), genre.map(str::to_owned));
    let mut content = None;
    let mut quantized = None;
    let tokens = encodings.iter().map(|(_, encoding)| {
        let settings = encoding.quantize_settings();
        // Encodings of the same settings say the same score.
        let (_, (score, losses)) = match quantized.take() {
            Some(last @ (of, _)) if of == settings => quantized.insert(last),
            _ => quantized.insert((settings, quantize(&score, settings))),
        };
        let bodies = encoding.encode(score);
        content.get_or_insert_with(|| songs::content(&bodies));
        tokens::OfFile::new(&**encoding, &bodies, losses.kept())
    });
    let tokens = tokens.collect();
    Ok(Read {
        facts,
        content: content.unwrap_or_default(),
        tokens,
    })
}

impl Report {
    /// How many files have each of the values that `of` gives, most first.
    fn tally<'a, T: Into<String>>(
        &'a self,
        of: impl Fn(&'a Facts) -> Vec<T>,
    ) -> Vec<(String, usize)> {
        let mut counts = BTreeMap::<String, usize>::new();
        for value in self.files.iter().flat_map(of) {
            *counts.entry(value.into()).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// Files by genre.
    fn genres(&self) -> Vec<(String, usize)> {
        self.tally(|file| file.genre.clone().into_iter().collect())
    }

    /// Files by instrument.
    fn instruments(&self) -> Vec<(String, usize)> {
        self.tally(|file| file.instruments.to_vec())
    }

    /// Files by key: that which the file states, or the likely one.
    fn keys(&self) -> Vec<(String, usize)> {
        self.tally(|file| {
            file.key
                .iter()
                .chain(&file.likely_key)
                .take(1)
                .cloned()
                .collect()
        })
    }

    fn metres(&self) -> Vec<(String, usize)> {
        self.tally(|file| file.metres.clone())
    }

    fn sorted(&self, of: impl Fn(&Facts) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.files.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// The value of a sorted list below which a share of it lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = &self.files;
        writeln!(f, "files       {} found, {} read", self.found, files.len())?;
        for Unreadable { why, .. } in self.unreadable.iter().take(10) {
            writeln!(f, "            cannot be read: {why}")?;
        }
        if self.unreadable.len() > 10 {
            let more = self.unreadable.len() - 10;
            writeln!(f, "            and {more} more that cannot be read")?;
        }
        let again = files.iter().filter(|file| file.duplicate_of.is_some());
        writeln!(f, "duplicates  {}", again.count())?;
        let hours = files.iter().map(|file| file.seconds).sum::<f64>() / 3600.0;
        let bars: usize = files.iter().map(|file| file.bars).sum();
        let notes: usize = files.iter().map(|file| file.notes).sum();
        writeln!(f, "music       {hours:.1} h, {bars} bars, {notes} notes")?;
        let mut spread = |name: &str, unit: &str, of: &dyn Fn(&Facts) -> f64| {
            let sorted = self.sorted(of);
            let [least, low, middle, high, most] =
                [0.0, 0.05, 0.5, 0.95, 1.0].map(|share| quantile(&sorted, share));
            writeln!(
                f,
                "{name:<12}{middle:.0} {unit} (5 to 95 %: {low:.0} to {high:.0}; all: {least:.0} to {most:.0})"
            )
        };
        spread("tempo", "quarters a minute", &|file| file.tempo)?;
        spread("length", "s", &|file| file.seconds)?;
        spread("tracks", "", &|file| file.tracks as f64)?;
        spread("polyphony", "at most", &|file| {
            file.most_notes_at_once as f64
        })?;
        for (name, counts) in [
            ("metres", self.metres()),
            ("keys", self.keys()),
            ("genres", self.genres()),
            ("instruments", self.instruments()),
        ] {
            let most: Vec<_> = counts.iter().take(24).collect();
            let words = match most[..] {
                [] => "none named".to_owned(),
                _ => listed(&most, |(name, count)| format!("{name} {count}")),
            };
            writeln!(f, "{name:<12}{words}")?;
        }
        for (i, (name, tokens)) in self.tokens.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "tokens      {name}: {tokens}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_list() {
        let list: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&list, 0.95), 95.0);
        assert_eq!(quantile(&list, 0.0), 0.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn only_midi_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let error = analyze(&[folder.path().to_owned()], None, 1).unwrap_err();
        assert!(
            error.to_string().contains("no file ending in .mid"),
            "{error}"
        );
        assert!(
            crate::build::files::find(&[folder.path().to_owned()])
                .unwrap()
                .files
                .is_empty()
        );
    }
}
