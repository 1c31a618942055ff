//! Arrays of a data set's file that is being read: by where its directory says they lie, without
//! the HDF5 library, which trusts what a damaged file says of itself.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::column::{BLOCK, Directory, Element, hash_array};

/// Why an array cannot be read, in words.
type Wrong = String;

/// A data set's file and what it says of itself.
pub(super) struct Archive {
    file: Arc<Mutex<File>>,
    /// Its size in bytes.
    size: u64,
    directory: Directory,
    /// Over all that was opened so far.
    pub hash: Sha256,
}

impl Archive {
    /// A file of `size` bytes with this directory.
    pub fn new(file: File, size: u64, directory: Directory) -> Self {
        Self {
            file: Arc::new(Mutex::new(file)),
            size,
            directory,
            hash: Sha256::new(),
        }
    }

    /// The array `name`, if it lies in the file.
    fn find<T: Element>(&self, name: &str) -> Result<Stored<T>, Wrong> {
        let entry = self
            .directory
            .arrays
            .iter()
            .find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| format!("it has no {name}"))?;
        if entry.r#type != T::TYPE {
            return Err(format!(
                "{name} is of type {} instead of {}",
                entry.r#type,
                T::TYPE
            ));
        }
        // Nothing is compressed, so what does not fit into the file is a lie.
        let bytes = entry.length.checked_mul(size_of::<T>() as u64);
        let end = bytes.and_then(|bytes| bytes.checked_add(entry.at));
        match (end, usize::try_from(entry.length)) {
            (Some(end), Ok(length)) if end <= self.size => Ok(Stored {
                file: self.file.clone(),
                at: entry.at,
                length,
                elements: PhantomData,
            }),
            _ => Err(format!("{name} is said to lie beyond the end of the file")),
        }
    }

    /// The array `name`; its elements go to `look`, block by block, and into the hash.
    fn scan<T: Element>(
        &mut self,
        name: &str,
        mut look: impl FnMut(&[T]),
    ) -> Result<Stored<T>, Wrong> {
        let array: Stored<T> = self.find(name)?;
        let mut content = Sha256::new();
        for start in (0..array.length).step_by(BLOCK) {
            let bytes = array.bytes(start..array.length.min(start + BLOCK));
            let bytes = bytes.map_err(|error| format!("{name} cannot be read ({error})"))?;
            content.update(&bytes);
            look(&T::from_bytes(&bytes));
        }
        hash_array(&mut self.hash, name, array.length as u64, content);
        Ok(array)
    }

    /// A flat array that stays in the file.
    pub fn flat<T: Element>(&mut self, name: &str) -> Result<Stored<T>, Wrong> {
        self.scan(name, |_| {})
    }

    /// A flat array, whole.
    pub fn whole<T: Element>(&mut self, name: &str) -> Result<Vec<T>, Wrong> {
        let mut elements = Vec::new();
        self.scan(name, |block| elements.extend_from_slice(block))?;
        Ok(elements)
    }

    /// A ragged array: its offsets are checked and kept, its values stay in the file.
    pub fn ragged<T: Element>(&mut self, name: &str) -> Result<StoredRagged<T>, Wrong> {
        let values: Stored<T> = self.flat(name)?;
        let offsets: Vec<u64> = self.whole(&format!("{name}_offsets"))?;
        let whole = offsets.first() == Some(&0) && offsets.last() == Some(&(values.length as u64));
        if !whole || !offsets.is_sorted() {
            return Err(format!("the offsets of {name} are not in order"));
        }
        Ok(StoredRagged { values, offsets })
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Result<String, Wrong> {
        let array: Stored<u8> = self.find(name)?;
        let bytes = array.read(0..array.length);
        let bytes = bytes.map_err(|error| format!("{name} cannot be read ({error})"))?;
        self.hash.update(&bytes);
        String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))
    }

    /// The hash that the directory states.
    pub fn stated_hash(&self) -> &str {
        &self.directory.hash
    }
}

/// A flat array in a file.
pub(super) struct Stored<T> {
    file: Arc<Mutex<File>>,
    at: u64,
    length: usize,
    elements: PhantomData<T>,
}

impl<T: Element> Stored<T> {
    /// Its number of elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Some of its elements.
    pub fn read(&self, range: Range<usize>) -> io::Result<Vec<T>> {
        Ok(T::from_bytes(&self.bytes(range)?))
    }

    fn bytes(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let range = range.start.min(self.length)..range.end.min(self.length);
        let mut bytes = vec![0; range.len() * size_of::<T>()];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(
            self.at + (range.start * size_of::<T>()) as u64,
        ))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A ragged array in a file.
pub(super) struct StoredRagged<T> {
    values: Stored<T>,
    /// Where each row starts, and where the last one ends.
    offsets: Vec<u64>,
}

impl<T: Element> StoredRagged<T> {
    /// Its number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Its number of values.
    pub fn values(&self) -> usize {
        self.values.len()
    }

    /// The values of row `row`, which must be less than [`Self::rows`].
    pub fn range(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// One row.
    pub fn read(&self, row: usize) -> io::Result<Vec<T>> {
        self.values.read(self.range(row))
    }
}
