//! Reading a data set, of which nothing is believed before it is checked.

use std::io::Read;
use std::path::{Path, PathBuf};

use famam_shared::encoding::{self, BarState, Body, Encoding, Special, Token};
use famam_shared::instrument::Instrument;
use famam_shared::vocabulary::Vocabulary;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::column::Directory;
use super::stored::{Archive, Stored, StoredRagged};
use super::{Error, FORMAT, Header, Piece, Split, USER_BLOCK, VERSION, hex};
use crate::config::dataset::Config;

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
        let io = |source| Error::Io {
            doing: "opening",
            path: name(),
            source,
        };
        let damaged = |what: String| Error::Damaged { path: name(), what };
        let mut file = std::fs::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut block = Vec::new();
        file.by_ref()
            .take(USER_BLOCK as u64)
            .read_to_end(&mut block)
            .map_err(io)?;
        let end = block
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(block.len());
        let block = &block[..end];
        let kind: Kind = serde_json::from_slice(block)
            .map_err(|_| damaged("it does not begin with a directory".to_owned()))?;
        if kind.format != FORMAT {
            return Err(damaged(format!("its format is {:?}", kind.format)));
        }
        if kind.version > VERSION {
            return Err(Error::Newer {
                path: name(),
                version: kind.version,
            });
        }
        let directory: Directory = serde_json::from_slice(block)
            .map_err(|error| damaged(format!("its directory: {error}")))?;
        if directory.bytes != size {
            let whole = directory.bytes;
            return Err(damaged(format!("it has {size} bytes instead of {whole}")));
        }
        Self::read(path, Archive::new(file, size, directory)).map_err(damaged)
    }

    fn read(path: &Path, mut archive: Archive) -> Result<Self, String> {
        let vocabulary: Vocabulary = parsed(&mut archive, "vocabulary")?;
        let encoding: encoding::Spec = parsed(&mut archive, "encoding")?;
        let config: Config = parsed(&mut archive, "config")?;
        if vocabulary.genres.first().is_none_or(|genre| genre != "any") {
            return Err("the vocabulary does not begin with \"any\"".to_owned());
        }
        config
            .check_reading()
            .map_err(|error| format!("its config: {error}"))?;
        let encoder = encoding
            .build(vocabulary.genres.len())
            .map_err(|error| error.to_string())?;
        let data_set = Self {
            path: path.to_owned(),
            hash: archive.stated_hash().to_owned(),
            special: encoder.special(),
            // Pieces are kept with nothing merged.
            vocabulary_size: match encoder.merges() {
                Some(merges) => usize::from(merges.tokens().start),
                None => encoder.vocabulary_size(),
            },
            header: Header {
                vocabulary,
                encoding,
                config,
            },
            tokens: archive.ragged("tokens")?,
            bars: archive.ragged("bars")?,
            metres: archive.flat("metres")?,
            tempos: archive.flat("tempos")?,
            instruments: archive.ragged("instruments")?,
            genre: archive.whole("genre")?,
            notes: archive.whole("notes")?,
            source: archive.ragged("source")?,
            name: archive.ragged("name")?,
            song: archive.ragged("song")?,
            split: archive.whole("split")?,
        };
        let found = hex(archive.hash);
        if found != data_set.hash {
            return Err(format!(
                "its hash is {}, that of what it holds {found}",
                data_set.hash
            ));
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
        let bars = self.bars.values();
        if self.metres.len() != bars || self.tempos.len() != bars {
            return Err("metres and tempos are not one for each bar".to_owned());
        }
        let genres = self.header.vocabulary.genres.len();
        if self.genre.iter().any(|&genre| usize::from(genre) >= genres) {
            return Err("a piece has a genre that the vocabulary lacks".to_owned());
        }
        if self
            .split
            .iter()
            .any(|&split| usize::from(split) >= Split::ALL.len())
        {
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

    /// The encoding.
    pub fn encoder(&self) -> Result<Box<dyn Encoding>, Error> {
        let genres = self.header.vocabulary.genres.len();
        self.header
            .encoding
            .build(genres)
            .map_err(|error| Error::Damaged {
                path: self.path.display().to_string(),
                what: error.to_string(),
            })
    }

    /// How it was built, and how it is to be read; of paths it says nothing.
    pub fn config(&self) -> &Config {
        &self.header.config
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
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
        (0..self.len())
            .filter(|&i| self.split[i] == split as u8)
            .collect()
    }

    /// Reads piece `i`.
    ///
    /// # Panics
    /// Where there are not more than `i` pieces.
    pub fn piece(&self, i: usize) -> Result<Piece, Error> {
        let failed = |source| Error::Io {
            doing: "reading",
            path: self.path.display().to_string(),
            source,
        };
        let damaged = |what: &str| Error::Damaged {
            path: self.path.display().to_string(),
            what: format!("piece {i}: {what}"),
        };
        let text = |rows: &StoredRagged<u8>| {
            String::from_utf8(rows.read(i).map_err(failed)?)
                .map_err(|_| damaged("a name is not UTF-8"))
        };
        let bars = self.bars.range(i);
        let metres = self.metres.read(bars.clone()).map_err(failed)?;
        let tempos = self.tempos.read(bars).map_err(failed)?;
        let instruments = self.instruments.read(i).map_err(failed)?;
        let body = Body {
            tokens: self.tokens.read(i).map_err(failed)?,
            bars: self.bars.read(i).map_err(failed)?,
            states: std::iter::zip(metres, tempos)
                .map(|(metre, tempo)| BarState { metre, tempo })
                .collect(),
            instruments: instruments
                .into_iter()
                .map(|index| Instrument::new(index).ok_or_else(|| damaged("no such instrument")))
                .collect::<Result<_, _>>()?,
        };
        self.check_body(&body).map_err(damaged)?;
        Ok(Piece {
            body,
            genre: self.genre[i],
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
        if !body
            .states
            .iter()
            .all(|state| known(state.metre) && known(state.tempo))
        {
            return Err("a metre or tempo is outside of the vocabulary");
        }
        if body.bars.first() != Some(&0) || !body.bars.is_sorted_by(|a, b| a < b) {
            return Err("its bars are not in order");
        }
        if body
            .bars
            .iter()
            .any(|&bar| tokens.get(bar as usize) != Some(&self.special.bar))
        {
            return Err("a bar does not begin with BAR");
        }
        if tokens.last() != Some(&self.special.eos) {
            return Err("it does not end on EOS");
        }
        Ok(())
    }
}

/// What is read first, and of every version.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

/// A JSON text of the file.
fn parsed<T: DeserializeOwned>(archive: &mut Archive, name: &str) -> Result<T, String> {
    serde_json::from_str(&archive.text(name)?).map_err(|error| format!("its {name}: {error}"))
}
