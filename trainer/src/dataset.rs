//! Data sets: whole pieces as tokens, in one HDF5 file; see `docs/formats.md`.
//!
//! A segment is a view of a piece (from bar a to bar b), so the file holds each piece once and
//! nothing of transposition or cropping. [`Writer`] makes one, [`Dataset::open`] reads one. Any
//! HDF5 tool opens the file; we read it by the directory in its user block, because the HDF5
//! library crashes and hangs on damaged files.

use famam_shared::encoding::{self, Body, Conditioning, Encoding};
use famam_shared::score::Score;
use famam_shared::vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::dataset::Config;

mod column;
mod read;
mod stored;
mod write;

pub use read::Dataset;
pub use write::{Writer, write};

/// The format's version that this build writes; older ones open, newer ones are refused.
pub const VERSION: u32 = 1;

/// What every data set says that it is.
const FORMAT: &str = "famam data set";

/// Bytes before the HDF5 part of the file, for the directory; a power of two from 512 on.
const USER_BLOCK: usize = 4096;

/// The digest in hexadecimal.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Which part of a data set a song belongs to; all its pieces are in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Learned from.
    Train,
    /// Looked at while learning, to stop in time.
    Validation,
    /// Reported on, once.
    Test,
}

impl Split {
    /// All of them, each at the index that stands for it in a file.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];
}

/// One piece of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its tokens, bars and their states, and what plays in it.
    pub body: Body,
    /// Index into the vocabulary's genres; 0 is *any*.
    pub genre: u16,
    /// The song that it is a version of.
    pub song: String,
    /// Where the song belongs.
    pub split: Split,
    /// Notes of the file as it was read, before `quantize`.
    pub notes: u32,
    /// The collection that it came from.
    pub source: String,
    /// The file's path in its input folder.
    pub name: String,
}

impl Piece {
    /// Its music, of tokens in `encoding`; `None` where it has no bars, or they are none of its own.
    pub fn score(&self, encoding: &dyn Encoding) -> Option<Score> {
        let first = *self.body.states.first()?;
        let tokens = &self.body.tokens;
        let stream = encoding.segment(&Conditioning::default(), tokens, first, 0)?;
        encoding.decode(&stream).ok()
    }
}

/// What holds for all pieces of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The genres.
    pub vocabulary: Vocabulary,
    /// The encoding and its settings.
    pub encoding: encoding::Spec,
    /// How it was built, and how it is to be read.
    pub config: Config,
}

/// Why a data set cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, written, or put in its place.
    #[error("{doing} the data set {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The data set.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// HDF5 refuses.
    #[error("{doing} the data set {path}: {source}")]
    Hdf5 {
        /// What was being done.
        doing: &'static str,
        /// The data set.
        path: String,
        /// What the library says.
        source: hdf5::Error,
    },
    /// Not a data set, or one that is damaged.
    #[error("{path} is not a data set of famam-trainer, or it is damaged: {what}; build it again")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Written by a later version.
    #[error(
        "the data set {path} has format version {version}, this famam-trainer knows versions up \
         to {VERSION}: take a newer famam-trainer or build the data set again"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
}
