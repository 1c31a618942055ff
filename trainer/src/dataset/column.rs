//! Arrays that are being written to a data set's file: flat ones, and *ragged* ones (flat values
//! with offsets).
//!
//! They grow side by side, so each waits in a nameless file until its length is known and it can
//! be stored in one piece, uncompressed: a crop is read at the disk's speed, and no stated size
//! can exceed the file's own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hdf5::H5Type;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;

/// Bytes that wait in memory, and that are read at once.
pub(super) const BLOCK: usize = 1 << 16;

/// What an array holds; little-endian in files and hashes.
pub(super) trait Element: H5Type + Copy {
    /// Its name in a [`Directory`].
    const TYPE: &str;
    /// Appends the elements' bytes.
    fn to_bytes(elements: &[Self], bytes: &mut Vec<u8>);
    /// The elements of whole bytes.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($($type:ident),*) => {$(
        impl Element for $type {
            const TYPE: &str = stringify!($type);

            fn to_bytes(elements: &[Self], bytes: &mut Vec<u8>) {
                elements.iter().for_each(|element| bytes.extend(element.to_le_bytes()));
            }

            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                let (elements, _) = bytes.as_chunks();
                elements.iter().map(|&element| Self::from_le_bytes(element)).collect()
            }
        }
    )*};
}
element!(u8, u16, u32, u64);

/// Where everything in a data set's file lies, as JSON in its user block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Directory {
    /// [`super::FORMAT`].
    pub format: String,
    /// [`super::VERSION`] when written.
    pub version: u32,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 over all arrays, in hexadecimal.
    pub hash: String,
    /// The arrays.
    pub arrays: Vec<Entry>,
}

/// Where an array lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its name in the file.
    pub name: String,
    /// [`Element::TYPE`].
    pub r#type: String,
    /// Offset of its first byte in the file.
    pub at: u64,
    /// Its number of elements.
    pub length: u64,
}

/// How one array goes into the hash of its data set.
pub(super) fn hash_array(hash: &mut Sha256, name: &str, length: u64, content: Sha256) {
    hash.update(name.as_bytes());
    hash.update(length.to_le_bytes());
    hash.update(content.finalize());
}

/// The file that is being finished, its directory so far, and its hash.
pub(super) struct Place<'a> {
    /// The data set, for errors.
    pub path: &'a Path,
    /// Its file.
    pub file: &'a hdf5::File,
    /// The arrays in it.
    pub arrays: Vec<Entry>,
    /// Over all of them.
    pub hash: Sha256,
}

impl Place<'_> {
    fn io(&self, source: io::Error) -> Error {
        Error::Io {
            doing: "writing",
            path: self.path.display().to_string(),
            source,
        }
    }

    fn hdf5(&self, source: hdf5::Error) -> Error {
        Error::Hdf5 {
            doing: "writing",
            path: self.path.display().to_string(),
            source,
        }
    }

    /// Stores an array of `length` elements whose bytes `content` gives.
    fn store<T: Element>(
        &mut self,
        name: &str,
        length: u64,
        content: &mut impl Read,
    ) -> Result<(), Error> {
        let array = self
            .file
            .new_dataset::<T>()
            .obj_track_times(false)
            .shape(length as usize)
            .create(name)
            .map_err(|error| self.hdf5(error))?;
        let mut written = 0;
        let mut bytes = vec![0; BLOCK];
        while written < length as usize {
            let count = (BLOCK / size_of::<T>()).min(length as usize - written);
            let block = &mut bytes[..count * size_of::<T>()];
            content.read_exact(block).map_err(|error| self.io(error))?;
            let elements = T::from_bytes(block);
            array
                .write_slice(&elements, written..written + count)
                .map_err(|error| self.hdf5(error))?;
            written += count;
        }
        let at = array.offset().unwrap_or(0);
        self.arrays.push(Entry {
            name: name.to_owned(),
            r#type: T::TYPE.to_owned(),
            at,
            length,
        });
        Ok(())
    }

    /// Stores a text.
    pub fn text(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.hash.update(text.as_bytes());
        self.store::<u8>(name, text.len() as u64, &mut text.as_bytes())
    }
}

/// A flat array that is being written.
pub(super) struct Column<T> {
    name: String,
    /// Where the nameless file is made.
    folder: PathBuf,
    pending: Vec<u8>,
    spool: Option<File>,
    length: u64,
    hash: Sha256,
    elements: std::marker::PhantomData<T>,
}

impl<T: Element> Column<T> {
    /// An empty array of a data set in `folder`.
    pub fn new(name: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            pending: Vec::new(),
            spool: None,
            length: 0,
            hash: Sha256::new(),
            elements: std::marker::PhantomData,
        }
    }

    /// Appends `elements`.
    pub fn extend(&mut self, elements: &[T]) -> io::Result<()> {
        T::to_bytes(elements, &mut self.pending);
        self.length += elements.len() as u64;
        if self.pending.len() < BLOCK {
            return Ok(());
        }
        let spool = match &mut self.spool {
            Some(spool) => spool,
            None => self.spool.insert(tempfile::tempfile_in(&self.folder)?),
        };
        spool.write_all(&self.pending)?;
        self.hash.update(&self.pending);
        self.pending.clear();
        Ok(())
    }

    /// Stores it.
    pub fn finish(mut self, place: &mut Place) -> Result<(), Error> {
        self.hash.update(&self.pending);
        match self.spool {
            None => place.store::<T>(&self.name, self.length, &mut self.pending.as_slice())?,
            Some(mut spool) => {
                spool
                    .seek(SeekFrom::Start(0))
                    .map_err(|error| place.io(error))?;
                let mut content = spool.chain(self.pending.as_slice());
                place.store::<T>(&self.name, self.length, &mut content)?;
            }
        }
        hash_array(&mut place.hash, &self.name, self.length, self.hash);
        Ok(())
    }
}

/// A ragged array that is being written: `name` and `name_offsets`.
pub(super) struct Ragged<T> {
    values: Column<T>,
    offsets: Column<u64>,
}

impl<T: Element> Ragged<T> {
    /// An array of no rows of a data set in `folder`.
    pub fn new(name: &str, folder: &Path) -> Self {
        let mut offsets = Column::new(&format!("{name}_offsets"), folder);
        u64::to_bytes(&[0], &mut offsets.pending);
        offsets.length = 1;
        Self {
            values: Column::new(name, folder),
            offsets,
        }
    }

    /// Appends a row.
    pub fn push(&mut self, row: &[T]) -> io::Result<()> {
        self.values.extend(row)?;
        self.offsets.extend(&[self.values.length])
    }

    /// Stores it.
    pub fn finish(self, place: &mut Place) -> Result<(), Error> {
        self.values.finish(place)?;
        self.offsets.finish(place)
    }
}
