//! Writing a data set: piece by piece, beside its place, and into it when it is whole.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use famam_shared::encoding;
use famam_shared::instrument::Instrument;
use hdf5::File;
use sha2::{Digest, Sha256};

use super::column::{Column, Directory, Place, Ragged};
use super::{Error, FORMAT, Header, Piece, Split, USER_BLOCK, VERSION, hex};

/// A data set that is being written. Dropped unfinished, it leaves nothing behind.
pub struct Writer {
    path: PathBuf,
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
}

/// The file beside a data set's place, in the moment when it is put together; removed where that
/// fails.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone where it was put in its place. Nothing can be done about one that stays;
        // the next build overwrites it.
        let _ = fs::remove_file(&self.0);
    }
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

impl Writer {
    /// Begins the data set `path`, which stays as it is until [`Writer::finish`].
    pub fn create(path: &Path, header: Header) -> Result<Self, Error> {
        let folder = folder(path);
        // A folder that cannot be written to is told before the work, not after it.
        fs::create_dir_all(folder)
            .and_then(|()| tempfile::tempfile_in(folder))
            .map_err(|source| Error::Io {
                doing: "beginning",
                path: path.display().to_string(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            header,
            tokens: Ragged::new("tokens", folder),
            bars: Ragged::new("bars", folder),
            metres: Column::new("metres", folder),
            tempos: Column::new("tempos", folder),
            instruments: Ragged::new("instruments", folder),
            genre: Column::new("genre", folder),
            notes: Column::new("notes", folder),
            source: Ragged::new("source", folder),
            name: Ragged::new("name", folder),
        })
    }

    /// Says in place of the header how its tokens are encoded, which may take all of them to know.
    pub fn encode_as(&mut self, encoding: encoding::Spec) {
        self.header.encoding = encoding;
    }

    /// Appends a piece, all but its song and split, which [`Writer::finish`] takes.
    pub fn push(&mut self, piece: &Piece) -> Result<(), Error> {
        self.append(piece).map_err(|source| self.failed(source))
    }

    fn append(&mut self, piece: &Piece) -> std::io::Result<()> {
        let body = &piece.body;
        let (metres, tempos): (Vec<_>, Vec<_>) = body
            .states
            .iter()
            .map(|state| (state.metre, state.tempo))
            .unzip();
        let instruments: Vec<u8> = body.instruments.iter().map(Instrument::index).collect();
        self.tokens.push(&body.tokens)?;
        self.bars.push(&body.bars)?;
        self.metres.extend(&metres)?;
        self.tempos.extend(&tempos)?;
        self.instruments.push(&instruments)?;
        self.genre.extend(&[piece.genre])?;
        self.notes.extend(&[piece.notes])?;
        self.source.push(piece.source.as_bytes())?;
        self.name.push(piece.name.as_bytes())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Io {
            doing: "writing",
            path: self.path.display().to_string(),
            source,
        }
    }

    /// Writes song and split of each piece, in the order in which they were pushed, and puts the
    /// data set in its place.
    pub fn finish<S: AsRef<str>>(
        self,
        songs: impl IntoIterator<Item = (S, Split)>,
    ) -> Result<(), Error> {
        let path = self.path.clone();
        let failed = |source| Error::Io {
            doing: "writing",
            path: path.display().to_string(),
            source,
        };
        let mut song = Ragged::new("song", folder(&path));
        let mut split = Column::new("split", folder(&path));
        for (key, place) in songs {
            song.push(key.as_ref().as_bytes()).map_err(failed)?;
            split.extend(&[place as u8]).map_err(failed)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = Part(path.with_file_name(format!(".{name}.part")));
        let refused = |source| Error::Hdf5 {
            doing: "writing",
            path: path.display().to_string(),
            source,
        };
        let file = File::with_options()
            .with_fcpl(|plist| plist.obj_track_times(false).userblock(USER_BLOCK as u64))
            .create(&part.0)
            .map_err(refused)?;
        let mut place = Place {
            path: &path,
            file: &file,
            arrays: Vec::new(),
            hash: Sha256::new(),
        };
        place.text(
            "vocabulary",
            &json(&self.header.vocabulary).map_err(failed)?,
        )?;
        place.text("encoding", &json(&self.header.encoding).map_err(failed)?)?;
        place.text("config", &json(&self.header.config).map_err(failed)?)?;
        self.tokens.finish(&mut place)?;
        self.bars.finish(&mut place)?;
        self.metres.finish(&mut place)?;
        self.tempos.finish(&mut place)?;
        self.instruments.finish(&mut place)?;
        self.genre.finish(&mut place)?;
        self.notes.finish(&mut place)?;
        self.source.finish(&mut place)?;
        self.name.finish(&mut place)?;
        song.finish(&mut place)?;
        split.finish(&mut place)?;
        let Place { arrays, hash, .. } = place;
        file.close().map_err(refused)?;
        let directory = Directory {
            format: FORMAT.to_owned(),
            version: VERSION,
            bytes: fs::metadata(&part.0).map_err(failed)?.len(),
            hash: hex(hash),
            arrays,
        };
        put(&part.0, &path, &json(&directory).map_err(failed)?).map_err(failed)
    }
}

/// Writes the user block of `part`, syncs it, and moves it to `path`.
fn put(part: &Path, path: &Path, directory: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(part)?;
    if directory.len() > USER_BLOCK {
        return Err(std::io::Error::other("its directory is too long"));
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(directory.as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(part, path)?;
    // Some network file systems cannot sync a folder; they hold the file all the same.
    let _ = fs::File::open(folder(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Writes a whole data set of `pieces` at once.
pub fn write(path: &Path, header: Header, pieces: &[Piece]) -> Result<(), Error> {
    let mut writer = Writer::create(path, header)?;
    for piece in pieces {
        writer.push(piece)?;
    }
    writer.finish(pieces.iter().map(|piece| (&piece.song, piece.split)))
}

fn json(value: &impl serde::Serialize) -> std::io::Result<String> {
    Ok(serde_json::to_string(value)?)
}
