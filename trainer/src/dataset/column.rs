//! Arrays of a data set's file: flat ones, and *ragged* ones (flat values with offsets).
//!
//! Written in order, a chunk at a time, so that memory stays flat; uncompressed, so that a crop
//! is read at the disk's speed and no stated size can exceed the file's own. An array that fits
//! into one chunk is stored in one piece, which keeps small files small.

use std::ops::Range;

use hdf5::{File, H5Type};
use sha2::{Digest, Sha256};

use super::Error;

/// Elements in a chunk, and in a block when a whole array is read.
const CHUNK: usize = 1 << 16;

/// What an array holds.
pub(super) trait Element: H5Type + Copy {
    /// Takes the elements into a hash, little-endian.
    fn hash(elements: &[Self], hash: &mut Sha256);
}

macro_rules! element {
    ($($type:ty),*) => {$(
        impl Element for $type {
            fn hash(elements: &[Self], hash: &mut Sha256) {
                let mut bytes = Vec::with_capacity(size_of_val(elements));
                elements.iter().for_each(|element| bytes.extend(element.to_le_bytes()));
                hash.update(bytes);
            }
        }
    )*};
}
element!(u8, u16, u32, u64);

/// A flat array that is being written.
pub(super) struct Column<T> {
    name: String,
    pending: Vec<T>,
    array: Option<hdf5::Dataset>,
    written: usize,
    hash: Sha256,
}

impl<T: Element> Column<T> {
    /// An empty array.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pending: Vec::new(),
            array: None,
            written: 0,
            hash: Sha256::new(),
        }
    }

    /// Appends `elements`.
    pub fn extend(&mut self, file: &File, elements: &[T]) -> hdf5::Result<()> {
        self.pending.extend_from_slice(elements);
        if self.pending.len() < CHUNK {
            return Ok(());
        }
        let whole = self.pending.len() / CHUNK * CHUNK;
        self.flush(file, whole)
    }

    /// Writes the first `count` pending elements, which fill chunks or end the array.
    fn flush(&mut self, file: &File, count: usize) -> hdf5::Result<()> {
        let array = match &self.array {
            Some(array) => array,
            None => self.array.insert(
                file.new_dataset::<T>()
                    .obj_track_times(false)
                    .chunk(CHUNK)
                    .shape(0..)
                    .create(self.name.as_str())?,
            ),
        };
        let elements = &self.pending[..count];
        T::hash(elements, &mut self.hash);
        array.resize(self.written + count)?;
        array.write_slice(elements, self.written..self.written + count)?;
        self.written += count;
        self.pending.drain(..count);
        Ok(())
    }

    /// Writes what is pending; takes name, length and content into `hash`.
    pub fn finish(mut self, file: &File, hash: &mut Sha256) -> hdf5::Result<()> {
        if self.array.is_some() {
            self.flush(file, self.pending.len())?;
        } else {
            T::hash(&self.pending, &mut self.hash);
            self.written = self.pending.len();
            file.new_dataset_builder()
                .obj_track_times(false)
                .with_data(&self.pending)
                .create(self.name.as_str())?;
        }
        hash_array(hash, &self.name, self.written, self.hash);
        Ok(())
    }
}

/// How one array goes into the hash of its data set.
fn hash_array(hash: &mut Sha256, name: &str, length: usize, content: Sha256) {
    hash.update(name.as_bytes());
    hash.update((length as u64).to_le_bytes());
    hash.update(content.finalize());
}

/// A ragged array that is being written: `name` and `name_offsets`.
pub(super) struct Ragged<T> {
    values: Column<T>,
    offsets: Column<u64>,
    length: u64,
}

impl<T: Element> Ragged<T> {
    /// An array of no rows.
    pub fn new(name: &str) -> Self {
        let mut offsets = Column::new(&format!("{name}_offsets"));
        offsets.pending.push(0);
        Self { values: Column::new(name), offsets, length: 0 }
    }

    /// Appends a row.
    pub fn push(&mut self, file: &File, row: &[T]) -> hdf5::Result<()> {
        self.values.extend(file, row)?;
        self.length += row.len() as u64;
        self.offsets.extend(file, &[self.length])
    }

    /// See [`Column::finish`].
    pub fn finish(self, file: &File, hash: &mut Sha256) -> hdf5::Result<()> {
        self.values.finish(file, hash)?;
        self.offsets.finish(file, hash)
    }
}

/// A flat array of an open file.
pub(super) struct Stored<T> {
    array: hdf5::Dataset,
    name: String,
    length: usize,
    elements: std::marker::PhantomData<T>,
}

impl<T: Element> Stored<T> {
    /// The array `name` of a file of `bytes` bytes; refuses one that [`Column`] would not write.
    pub fn open(file: &File, name: &str, bytes: u64) -> Result<Self, String> {
        let array = file.dataset(name).map_err(|error| format!("no array {name} ({error})"))?;
        let shape = array.shape();
        let &[length] = shape.as_slice() else {
            return Err(format!("the array {name} has {} dimensions instead of 1", shape.len()));
        };
        let plain = array.dcpl().is_ok_and(|plist| {
            let external = plist.get_external().map_or(true, |external| !external.is_empty());
            plist.filters().is_empty() && !external && plist.get_virtual_map().is_err()
        });
        if !array.dtype().is_ok_and(|dtype| dtype.is::<T>()) || !plain {
            return Err(format!("the array {name} is stored as no data set is"));
        }
        // Nothing is compressed, so a larger array than the file is a lie.
        if (length as u64).saturating_mul(size_of::<T>() as u64) > bytes {
            return Err(format!("the array {name} states {length} elements: more than the file"));
        }
        Ok(Self { array, name: name.to_owned(), length, elements: std::marker::PhantomData })
    }

    /// Its number of elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Some of its elements.
    pub fn read(&self, range: Range<usize>) -> hdf5::Result<Vec<T>> {
        if range.start >= range.end || range.end > self.length {
            return Ok(Vec::new());
        }
        Ok(self.array.read_slice_1d::<T, _>(range)?.into_raw_vec_and_offset().0)
    }

    /// Reads the whole array block by block; takes it into `hash` as [`Column::finish`] does.
    pub fn scan(&self, hash: &mut Sha256, mut look: impl FnMut(&[T])) -> hdf5::Result<()> {
        let mut content = Sha256::new();
        for start in (0..self.length).step_by(CHUNK) {
            let block = self.read(start..self.length.min(start + CHUNK))?;
            T::hash(&block, &mut content);
            look(&block);
        }
        hash_array(hash, &self.name, self.length, content);
        Ok(())
    }
}

/// A ragged array of an open file.
pub(super) struct StoredRagged<T> {
    values: Stored<T>,
    /// Where each row starts, and where the last one ends.
    offsets: Vec<u64>,
}

impl<T: Element> StoredRagged<T> {
    /// The array `name`; see [`Stored::open`]. Its offsets are read, checked and kept.
    pub fn open(file: &File, name: &str, bytes: u64, hash: &mut Sha256) -> Result<Self, String> {
        let values: Stored<T> = Stored::open(file, name, bytes)?;
        let stored: Stored<u64> = Stored::open(file, &format!("{name}_offsets"), bytes)?;
        let unreadable = |error| format!("the array {name} cannot be read ({error})");
        values.scan(hash, |_| {}).map_err(unreadable)?;
        let mut offsets = Vec::with_capacity(stored.len());
        stored.scan(hash, |block| offsets.extend_from_slice(block)).map_err(unreadable)?;
        let whole = offsets.first() == Some(&0) && offsets.last() == Some(&(values.len() as u64));
        if !whole || !offsets.is_sorted() {
            return Err(format!("the offsets of {name} are not in order"));
        }
        Ok(Self { values, offsets })
    }

    /// Its number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The elements of row `row`, which must be less than [`Self::rows`].
    pub fn range(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// One row.
    pub fn read(&self, row: usize) -> hdf5::Result<Vec<T>> {
        self.values.read(self.range(row))
    }
}

/// What went wrong with which file, from HDF5's error.
pub(super) fn failed<'a>(
    doing: &'static str,
    path: &'a std::path::Path,
) -> impl Fn(hdf5::Error) -> Error + use<'a> {
    move |source| Error::Hdf5 { doing, path: path.display().to_string(), source }
}
