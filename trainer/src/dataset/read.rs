//! Reading a data set, of which nothing is believed before it is checked.

use std::path::{Path, PathBuf};

use famam_shared::encoding::{self, BarState, Body, Special, Token};
use famam_shared::instrument::Instrument;
use famam_shared::vocabulary::Vocabulary;
use hdf5::File;
use hdf5::types::VarLenUnicode;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::column::{Stored, StoredRagged, failed};
use super::{Error, Header, Piece, Split, VERSION};
use crate::config::dataset::Config;

/// The `format` attribute of every data set.
pub(super) const FORMAT: &str = "famam data set";

/// The digest in hexadecimal.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An open data set. Pieces are read when they are asked for; what says where they lie is kept.
pub struct Dataset {
    path: PathBuf,
    header: Header,
    hash: String,
    special: Special,
    vocabulary_size: usize,
    tokens: StoredRagged<Token>,
    bars: StoredRagged<u32>,
    metres: Stored<Token>,
    tempos: Stored<Token>,
    instruments: StoredRagged<u8>,
    genre: Vec<u16>,
    notes: Vec<u32>,
    source: StoredRagged<u8>,
    name: StoredRagged<u8>,
    song: StoredRagged<u8>,
    split: Vec<u8>,
}

impl Dataset {
    /// Opens a data set and reads it through once to check its hash.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let damaged = |what: String| Error::Damaged { path: name(), what };
        let bytes = std::fs::metadata(path)
            .map_err(|source| Error::Io { doing: "opening", path: name(), source })?
            .len();
        let file =
            File::open(path).map_err(|error| damaged(format!("HDF5 cannot open it ({error})")))?;
        if text(&file, "format").map_err(damaged)? != FORMAT {
            return Err(damaged("its format is another".to_owned()));
        }
        let version = file.attr("version").and_then(|version| version.read_scalar::<u32>());
        let version = version.map_err(|error| damaged(format!("no version ({error})")))?;
        if version > VERSION {
            return Err(Error::Newer { path: name(), version });
        }
        Self::read(path, &file, bytes).map_err(damaged)
    }

    fn read(path: &Path, file: &File, bytes: u64) -> Result<Self, String> {
        let mut hash = Sha256::new();
        let vocabulary: Vocabulary = attribute(file, "vocabulary", &mut hash)?;
        let encoding: encoding::Spec = attribute(file, "encoding", &mut hash)?;
        let config: Config = attribute(file, "config", &mut hash)?;
        if vocabulary.genres.first().is_none_or(|genre| genre != "any") {
            return Err("the vocabulary does not begin with \"any\"".to_owned());
        }
        config.check_reading().map_err(|error| format!("its config: {error}"))?;
        let encoder =
            encoding.build(vocabulary.genres.len()).map_err(|error| error.to_string())?;
        let mut data_set = Self {
            path: path.to_owned(),
            hash: text(file, "hash")?,
            special: encoder.special(),
            vocabulary_size: encoder.vocabulary_size(),
            header: Header { vocabulary, encoding, config },
            tokens: StoredRagged::open(file, "tokens", bytes, &mut hash)?,
            bars: StoredRagged::open(file, "bars", bytes, &mut hash)?,
            metres: scanned(file, "metres", bytes, &mut hash)?,
            tempos: scanned(file, "tempos", bytes, &mut hash)?,
            instruments: StoredRagged::open(file, "instruments", bytes, &mut hash)?,
            genre: whole(file, "genre", bytes, &mut hash)?,
            notes: whole(file, "notes", bytes, &mut hash)?,
            source: StoredRagged::open(file, "source", bytes, &mut hash)?,
            name: StoredRagged::open(file, "name", bytes, &mut hash)?,
            song: StoredRagged::open(file, "song", bytes, &mut hash)?,
            split: Vec::new(),
        };
        data_set.split = whole(file, "split", bytes, &mut hash)?;
        let found = hex(hash);
        if found != data_set.hash {
            return Err(format!("its hash is {}, that of what it holds {found}", data_set.hash));
        }
        data_set.check()?;
        Ok(data_set)
    }

    /// Whether the arrays fit one another.
    fn check(&self) -> Result<(), String> {
        let rows = [
            ("bars", self.bars.rows()),
            ("instruments", self.instruments.rows()),
            ("genre", self.genre.len()),
            ("notes", self.notes.len()),
            ("source", self.source.rows()),
            ("name", self.name.rows()),
            ("song", self.song.rows()),
            ("split", self.split.len()),
        ];
        for (name, rows) in rows {
            if rows != self.len() {
                return Err(format!("{name} has {rows} rows for {} pieces", self.len()));
            }
        }
        let bars = self.bars.range(self.len().saturating_sub(1)).end;
        if self.metres.len() != bars || self.tempos.len() != bars {
            return Err("metres and tempos are not one for each bar".to_owned());
        }
        let genres = self.header.vocabulary.genres.len();
        if self.genre.iter().any(|&genre| usize::from(genre) >= genres) {
            return Err("a piece has a genre that the vocabulary lacks".to_owned());
        }
        if self.split.iter().any(|&split| usize::from(split) >= Split::ALL.len()) {
            return Err("a piece is in no split".to_owned());
        }
        Ok(())
    }

    /// The genres.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.header.vocabulary
    }

    /// The encoding and its settings.
    pub fn encoding(&self) -> &encoding::Spec {
        &self.header.encoding
    }

    /// What it was built from, and how it is to be read.
    pub fn config(&self) -> &Config {
        &self.header.config
    }

    /// SHA-256 of all that is in it, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The number of pieces.
    pub fn len(&self) -> usize {
        self.tokens.rows()
    }

    /// Whether it has no pieces.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces of a split, ascending.
    pub fn pieces(&self, split: Split) -> Vec<usize> {
        (0..self.len()).filter(|&i| self.split[i] == split as u8).collect()
    }

    /// Reads piece `i`.
    ///
    /// # Panics
    /// Where there are not more than `i` pieces.
    pub fn piece(&self, i: usize) -> Result<Piece, Error> {
        let failed = failed("reading", &self.path);
        let damaged = |what: &str| Error::Damaged {
            path: self.path.display().to_string(),
            what: format!("piece {i}: {what}"),
        };
        let text = |rows: &StoredRagged<u8>| {
            String::from_utf8(rows.read(i).map_err(&failed)?)
                .map_err(|_| damaged("a name is not UTF-8"))
        };
        let bars = self.bars.range(i);
        let metres = self.metres.read(bars.clone()).map_err(&failed)?;
        let tempos = self.tempos.read(bars).map_err(&failed)?;
        let body = Body {
            tokens: self.tokens.read(i).map_err(&failed)?,
            bars: self.bars.read(i).map_err(&failed)?,
            states: std::iter::zip(metres, tempos)
                .map(|(metre, tempo)| BarState { metre, tempo })
                .collect(),
        };
        self.check_body(&body).map_err(damaged)?;
        let instruments = self.instruments.read(i).map_err(&failed)?;
        Ok(Piece {
            body,
            genre: self.genre[i],
            instruments: instruments
                .into_iter()
                .map(|index| Instrument::new(index).ok_or_else(|| damaged("no such instrument")))
                .collect::<Result<_, _>>()?,
            song: text(&self.song)?,
            split: Split::ALL[usize::from(self.split[i])],
            notes: self.notes[i],
            source: text(&self.source)?,
            name: text(&self.name)?,
        })
    }

    /// Whether the bars of a body are where they are said to be and its tokens are tokens.
    fn check_body(&self, body: &Body) -> Result<(), &'static str> {
        let tokens = &body.tokens;
        let known = |token: Token| usize::from(token) < self.vocabulary_size;
        if !tokens.iter().all(|&token| known(token)) {
            return Err("a token is outside of the vocabulary");
        }
        if !body.states.iter().all(|state| known(state.metre) && known(state.tempo)) {
            return Err("a metre or tempo is outside of the vocabulary");
        }
        if body.bars.first() != Some(&0) || !body.bars.is_sorted_by(|a, b| a < b) {
            return Err("its bars are not in order");
        }
        if body.bars.iter().any(|&bar| tokens.get(bar as usize) != Some(&self.special.bar)) {
            return Err("a bar does not begin with BAR");
        }
        if tokens.last() != Some(&self.special.eos) {
            return Err("it does not end on EOS");
        }
        Ok(())
    }
}

/// A text attribute. HDF5 hands out bytes up to the first zero, of whatever encoding.
fn text(file: &File, name: &str) -> Result<String, String> {
    let text = file.attr(name).and_then(|attribute| attribute.read_scalar::<VarLenUnicode>());
    let text = text.map_err(|error| format!("no attribute {name} ({error})"))?;
    String::from_utf8(text.as_bytes().to_vec())
        .map_err(|_| format!("the attribute {name} is not UTF-8"))
}

/// A JSON attribute, taken into `hash`.
fn attribute<T: DeserializeOwned>(
    file: &File,
    name: &str,
    hash: &mut Sha256,
) -> Result<T, String> {
    let text = text(file, name)?;
    hash.update(text.as_bytes());
    serde_json::from_str(&text).map_err(|error| format!("the attribute {name}: {error}"))
}

/// A flat array, taken into `hash`.
fn scanned<T: super::column::Element>(
    file: &File,
    name: &str,
    bytes: u64,
    hash: &mut Sha256,
) -> Result<Stored<T>, String> {
    let array: Stored<T> = Stored::open(file, name, bytes)?;
    array.scan(hash, |_| {}).map_err(|error| format!("the array {name} cannot be read ({error})"))?;
    Ok(array)
}

/// A flat array, taken into `hash` and read whole.
fn whole<T: super::column::Element>(
    file: &File,
    name: &str,
    bytes: u64,
    hash: &mut Sha256,
) -> Result<Vec<T>, String> {
    let array: Stored<T> = Stored::open(file, name, bytes)?;
    let mut elements = Vec::with_capacity(array.len());
    array
        .scan(hash, |block| elements.extend_from_slice(block))
        .map_err(|error| format!("the array {name} cannot be read ({error})"))?;
    Ok(elements)
}
