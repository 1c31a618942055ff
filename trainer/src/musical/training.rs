//! Music that a model may have learned from: a folder of MIDI files or a data set, read once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use famam_shared::midi;
use famam_shared::quantize::{Settings, quantize};
use famam_shared::score::Score;

use crate::build::progress::Progress;
use crate::build::{self, ordered};
use crate::config::dataset::Config;
use crate::dataset::{self, Dataset, Split};

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder.
    #[error("the training music: {0}")]
    Folder(#[from] build::Error),
    /// The data set.
    #[error("the training music: {0}")]
    Dataset(#[from] dataset::Error),
    /// Ctrl+C.
    #[error("stopped while reading the training music: nothing was changed")]
    Stopped,
}

/// Reads all of it on `threads` threads and gives `take`, in order, what `of` makes of each piece: of its
/// genre, where it has one, and its score, quantized by `settings`. Of a data set the pieces of the train
/// split. Returns how many files could not be read.
pub fn each<T: Send>(
    path: &Path,
    settings: &Settings,
    threads: usize,
    stop: &AtomicBool,
    of: impl Fn(Option<&str>, &Score) -> T + Sync,
    mut take: impl FnMut(T),
) -> Result<usize, Error> {
    let of = |genre: Option<&str>, score: &Score| of(genre, &quantize(score, settings).0);
    let mut unread = 0;
    let mut taken = |progress: &mut Progress, i: usize, result: Option<T>| {
        progress.done(i + 1);
        match result {
            Some(result) => take(result),
            None => unread += 1,
        }
        match stop.load(Ordering::Relaxed) {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    };
    if path.extension().is_some_and(|ending| ending == "h5") {
        let data = Dataset::open(path)?;
        let encoding = data.encoder()?;
        let pieces = data.pieces(Split::Train);
        let mut progress = Progress::new(pieces.len(), true);
        let genres = &data.vocabulary().genres;
        let read = |i: &usize| {
            let piece = data.piece(*i).ok()?;
            let genre = genres.get(usize::from(piece.genre));
            // The first stands for what has no genre.
            let genre = genre.filter(|_| piece.genre > 0).map(String::as_str);
            Some(of(genre, &piece.score(&*encoding)?))
        };
        let taken = |i, result| taken(&mut progress, i, result);
        ordered::map(&pieces, threads, read, |_| 4096, taken)?;
        progress.finish();
        return Ok(unread);
    }
    let inputs = build::found(&[PathBuf::from(path)])?;
    let labels = build::genre_labels(&Config::default(), &inputs.folders, &inputs.files)?;
    let mut progress = Progress::new(inputs.files.len(), true);
    let files: Vec<_> = std::iter::zip(&inputs.files, &labels).collect();
    let read = |(file, genre): &(&build::files::Found, &Option<String>)| {
        let score = midi::read_file(&file.path).ok()?;
        Some(of(genre.as_deref(), &score))
    };
    let taken = |i, result| taken(&mut progress, i, result);
    ordered::map(&files, threads, read, |_| 4096, taken)?;
    progress.finish();
    Ok(unread)
}
