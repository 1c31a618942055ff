//! Writing a data set: piece by piece, beside its place, and into it when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use famam_shared::instrument::Instrument;
use hdf5::File;
use hdf5::types::VarLenUnicode;
use sha2::{Digest, Sha256};

use super::column::{Column, Ragged, failed};
use super::{Error, Header, Piece, Split, VERSION};
use crate::dataset::read::FORMAT;

const WRITING: &str = "writing";

/// A data set that is being written. Dropped unfinished, it leaves nothing behind.
pub struct Writer {
    path: PathBuf,
    part: Part,
    header: Header,
    tokens: Ragged<u16>,
    bars: Ragged<u32>,
    metres: Column<u16>,
    tempos: Column<u16>,
    instruments: Ragged<u8>,
    genre: Column<u16>,
    notes: Column<u32>,
    source: Ragged<u8>,
    name: Ragged<u8>,
    pieces: usize,
}

/// The file beside a data set's place while it grows; removed unless it is put there.
struct Part {
    /// Closed before the file is moved or removed.
    file: Option<File>,
    path: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nothing can be done about one that stays; the next build overwrites it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Writer {
    /// Begins the data set `path`, which stays as it is until [`Writer::finish`].
    pub fn create(path: &Path, header: Header) -> Result<Self, Error> {
        let part = path.with_file_name(format!(
            ".{}.part",
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| Error::Io {
                doing: "making the folder of",
                path: path.display().to_string(),
                source,
            })?;
        }
        let file = File::with_options()
            .with_fcpl(|plist| plist.obj_track_times(false))
            .create(&part)
            .map_err(failed(WRITING, path))?;
        Ok(Self {
            path: path.to_owned(),
            part: Part { file: Some(file), path: part },
            header,
            tokens: Ragged::new("tokens"),
            bars: Ragged::new("bars"),
            metres: Column::new("metres"),
            tempos: Column::new("tempos"),
            instruments: Ragged::new("instruments"),
            genre: Column::new("genre"),
            notes: Column::new("notes"),
            source: Ragged::new("source"),
            name: Ragged::new("name"),
            pieces: 0,
        })
    }

    /// Appends a piece, all but its song and split, which [`Writer::finish`] takes.
    pub fn push(&mut self, piece: &Piece) -> Result<(), Error> {
        self.append(piece).map_err(failed(WRITING, &self.path))
    }

    fn append(&mut self, piece: &Piece) -> hdf5::Result<()> {
        let Some(file) = &self.part.file else { return Ok(()) };
        let body = &piece.body;
        let (metres, tempos): (Vec<_>, Vec<_>) =
            body.states.iter().map(|state| (state.metre, state.tempo)).unzip();
        let instruments: Vec<u8> = piece.instruments.iter().map(Instrument::index).collect();
        self.tokens.push(file, &body.tokens)?;
        self.bars.push(file, &body.bars)?;
        self.metres.extend(file, &metres)?;
        self.tempos.extend(file, &tempos)?;
        self.instruments.push(file, &instruments)?;
        self.genre.extend(file, &[piece.genre])?;
        self.notes.extend(file, &[piece.notes])?;
        self.source.push(file, piece.source.as_bytes())?;
        self.name.push(file, piece.name.as_bytes())?;
        self.pieces += 1;
        Ok(())
    }

    /// Writes song and split of each piece, in the order in which they were pushed, and puts the
    /// data set in its place.
    pub fn finish<S: AsRef<str>>(
        mut self,
        songs: impl IntoIterator<Item = (S, Split)>,
    ) -> Result<(), Error> {
        let path = self.path.clone();
        let io = |source| Error::Io { doing: WRITING, path: path.display().to_string(), source };
        let Some(file) = self.part.file.take() else { return Ok(()) };
        // Until the move has succeeded, dropping `unfinished` removes the file.
        let part = self.part.path.clone();
        let mut unfinished = Part { file: Some(file), path: part.clone() };
        if let Some(file) = &unfinished.file {
            self.close(file, songs).map_err(failed(WRITING, &path))?;
        }
        fs::File::open(&part).and_then(|file| file.sync_all()).map_err(io)?;
        fs::rename(&part, &path).map_err(io)?;
        unfinished.file = None;
        // A folder that cannot be synced (some network file systems) still holds the file.
        if let Some(folder) = path.parent().and_then(|folder| fs::File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    fn close<S: AsRef<str>>(
        self,
        file: &File,
        songs: impl IntoIterator<Item = (S, Split)>,
    ) -> hdf5::Result<()> {
        let mut song = Ragged::new("song");
        let mut split = Column::new("split");
        for (key, place) in songs {
            song.push(file, key.as_ref().as_bytes())?;
            split.extend(file, &[place as u8])?;
        }
        let mut hash = Sha256::new();
        let header = [
            ("vocabulary", json(&self.header.vocabulary)?),
            ("encoding", json(&self.header.encoding)?),
            ("config", json(&self.header.config)?),
        ];
        for (name, text) in &header {
            hash.update(text.as_bytes());
            attribute(file, name, text)?;
        }
        self.tokens.finish(file, &mut hash)?;
        self.bars.finish(file, &mut hash)?;
        self.metres.finish(file, &mut hash)?;
        self.tempos.finish(file, &mut hash)?;
        self.instruments.finish(file, &mut hash)?;
        self.genre.finish(file, &mut hash)?;
        self.notes.finish(file, &mut hash)?;
        self.source.finish(file, &mut hash)?;
        self.name.finish(file, &mut hash)?;
        song.finish(file, &mut hash)?;
        split.finish(file, &mut hash)?;
        attribute(file, "format", FORMAT)?;
        attribute(file, "hash", &super::read::hex(hash))?;
        file.new_attr::<u32>().create("version")?.write_scalar(&VERSION)?;
        file.flush()
    }
}

/// Writes a whole data set of `pieces` at once.
pub fn write(path: &Path, header: Header, pieces: &[Piece]) -> Result<(), Error> {
    let mut writer = Writer::create(path, header)?;
    for piece in pieces {
        writer.push(piece)?;
    }
    writer.finish(pieces.iter().map(|piece| (&piece.song, piece.split)))
}

fn json(value: &impl serde::Serialize) -> hdf5::Result<String> {
    serde_json::to_string(value).map_err(|error| hdf5::Error::from(error.to_string()))
}

fn attribute(file: &File, name: &str, text: &str) -> hdf5::Result<()> {
    let text: VarLenUnicode =
        text.parse().map_err(|error| hdf5::Error::from(format!("attribute {name}: {error:?}")))?;
    file.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text)
}
