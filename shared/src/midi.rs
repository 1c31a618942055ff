//! MIDI files in and out: the one place that reads them and the one that writes them.
//!
//! [`read`] takes bytes of formats 0, 1 and 2 to a [`Score`], [`write`] a score to bytes of format
//! 1; [`read_file`] and [`write_file`] do the same with files, and their errors name the file.
//! Source: Standard MIDI Files 1.0 (MMA, RP-001).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::score::Score;
use crate::write_file;

mod pairing;
mod program;
mod read;
mod repair;
mod write;

pub use read::{MAX_CHANGES, MAX_NOTES, MAX_TICKS, MAX_TRACKS, read};
pub use write::{channels, write};

/// The largest file that [`read_file`] opens, in bytes. Music of a million notes is smaller.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// Why bytes are no score. Tracks are counted from 1, as people do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no MIDI header.
    #[error("this is not a MIDI file: it has no MThd header")]
    NotMidi,
    /// The header says what no MIDI file can.
    #[error("the MIDI header is damaged: {0}")]
    Header(&'static str),
    /// Nothing follows the header.
    #[error("the MIDI file has a header, but no track")]
    NoTracks,
    /// A track broke off, and no note was read from any.
    #[error("track {track} is damaged at its byte {byte}, and no note can be read")]
    Damaged {
        /// The track.
        track: usize,
        /// Offset in the track's data of the first event that is none.
        byte: usize,
    },
    /// A position beyond [`MAX_TICKS`].
    #[error("track {track} is longer than {MAX_TICKS} ticks of 1/960 quarter: probably damaged")]
    TooLong {
        /// The track.
        track: usize,
    },
    /// More than [`MAX_NOTES`], [`MAX_TRACKS`] or [`MAX_CHANGES`].
    #[error("track {track} brings the file to more than {limit} {what}: probably no music")]
    TooMany {
        /// The track.
        track: usize,
        /// Of what there are too many.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {reason}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    #[source]
    pub reason: Reason,
}

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The system did not give its bytes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("it is larger than {MAX_FILE_BYTES} bytes, which no piece of music needs")]
    TooLarge,
    /// Its bytes are no score.
    #[error(transparent)]
    Midi(#[from] ReadError),
}

/// The score of a MIDI file.
pub fn read_file(path: impl AsRef<Path>) -> Result<Score, FileError> {
    let path = path.as_ref();
    file_bytes(path)
        .and_then(|bytes| Ok(read(&bytes)?))
        .map_err(|reason| FileError {
            path: path.to_owned(),
            reason,
        })
}

fn file_bytes(path: &Path) -> Result<Vec<u8>, Reason> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    // What a pipe or a growing file says of its size is no bound: `take` is.
    let mut bytes = Vec::with_capacity(size.min(MAX_FILE_BYTES) as usize + 1);
    file.by_ref()
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Reason::TooLarge);
    }
    Ok(bytes)
}

/// Writes `score` as a MIDI file, whole or not at all.
pub fn write_file(path: impl AsRef<Path>, score: &Score) -> Result<(), write_file::WriteError> {
    write_file::write(path, &write(score))
}
