//! The vocabulary of labels: *any* and the genres, in the order of their indices; and the files
//! that give music its labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// Genres by index; index 0 is *any*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Names, `"any"` first.
    pub genres: Vec<String>,
}

impl Vocabulary {
    /// *Any* and `genres`, sorted, each once.
    pub fn new(genres: impl IntoIterator<Item = String>) -> Self {
        let mut genres: Vec<String> = genres.into_iter().filter(|genre| genre != "any").collect();
        genres.sort();
        genres.dedup();
        genres.insert(0, "any".to_owned());
        Self { genres }
    }

    /// The index of `genre`, whatever its case.
    pub fn genre(&self, genre: &str) -> Option<u16> {
        self.genres
            .iter()
            .position(|name| name.eq_ignore_ascii_case(genre))
            .map(|i| i as u16)
    }
}

/// What `genre.tsv` and `song.tsv` say: a label for each of many files or songs.
///
/// A line is `path<TAB>label` or `Artist/Song<TAB>label`. Fields may stand in double quotes, lines
/// may end in CRLF, the file may begin with a byte order mark; there are no comments and no header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    labels: BTreeMap<String, String>,
}

/// Why a file gives no labels.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// The system did not give it.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is not `key<TAB>label`.
    #[error("{}, line {line}: {why}; expected a path or Artist/Song, a tab and a label", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Labels {
    /// Reads the labels of a file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LabelsError> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|source| LabelsError::Io {
            path: path.to_owned(),
            source,
        })?;
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        let mut labels = BTreeMap::new();
        for (i, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let refuse = |why| LabelsError::Line {
                path: path.to_owned(),
                line: i + 1,
                why,
            };
            let line = str::from_utf8(line).map_err(|_| refuse("it is not UTF-8"))?;
            if line.trim().is_empty() {
                continue;
            }
            let (key, label) = line.split_once('\t').ok_or(refuse("it has no tab"))?;
            let (key, label) = (unquote(key), unquote(label));
            if label.contains('\t') {
                return Err(refuse("it has more than one tab"));
            }
            if key.is_empty() || label.is_empty() {
                return Err(refuse("a field is empty"));
            }
            let key = key.replace('\\', "/");
            match labels.insert(key, label.clone()) {
                Some(other) if other != label => {
                    return Err(refuse("another line gives the same file another label"));
                }
                _ => {}
            }
        }
        Ok(Self { labels })
    }

    /// The label of a file: of its path, relative to the folder that the labels speak of, else of
    /// its folder and name without extension, as `Artist/Song`, at last without a version suffix
    /// (`Artist/Song.2.mid` is `Artist/Song`, too).
    pub fn lookup(&self, relative_path: &str) -> Option<&str> {
        let path = relative_path.replace('\\', "/");
        let path = path.trim_start_matches("./");
        let song = match path.rsplit_once('.') {
            Some((stem, extension)) if !extension.contains('/') => stem,
            _ => path,
        };
        let song = match song.rmatch_indices('/').nth(1) {
            Some((slash, _)) => &song[slash + 1..],
            None => song,
        };
        let unversioned = match song.rsplit_once('.') {
            Some((name, version)) if !version.is_empty() && is_number(version) => name,
            _ => song,
        };
        let label = [path, song, unversioned]
            .into_iter()
            .find_map(|key| self.labels.get(key));
        label.map(String::as_str)
    }

    /// All labels, as often as they are given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.labels.values().map(String::as_str)
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A field without the spaces and the double quotes around it.
fn unquote(field: &str) -> String {
    let field = field.trim();
    match field
        .strip_prefix('"')
        .and_then(|field| field.strip_suffix('"'))
    {
        Some(inner) => inner.replace("\"\"", "\""),
        None => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(bytes: &[u8]) -> Result<Labels, LabelsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genre.tsv");
        fs::write(&path, bytes).unwrap();
        Labels::read(path)
    }

    #[test]
    fn a_file_is_found_by_its_path_and_by_its_song() {
        let labels = labels(
            b"\xEF\xBB\xBFrock/a-b.mid\trock\r\nDavid Bowie/\"Heroes\"\tArt Rock\r\n\
              \"AC/DC \"\"live\"\"\"\t\"Hard Rock\"\n\nBach\\Air\tbaroque\nX/Opus.2\ttwo\nX/Opus\tone",
        )
        .unwrap();
        for (path, label) in [
            ("rock/a-b.mid", Some("rock")),
            ("./rock/a-b.mid", Some("rock")),
            ("lakh/David Bowie/\"Heroes\".3.mid", Some("Art Rock")),
            ("David Bowie/\"Heroes\".mid", Some("Art Rock")),
            ("AC/DC \"live\".12.MID", Some("Hard Rock")),
            ("Bach\\Air.midi", Some("baroque")),
            ("X/Opus.2.mid", Some("two")),
            ("X/Opus.3.mid", Some("one")),
            ("rock/a-c.mid", None),
            ("Heroes.mid", None),
        ] {
            assert_eq!(labels.lookup(path), label, "{path}");
        }
        assert_eq!(labels.iter().count(), 6);
    }

    #[test]
    fn a_malformed_line_is_named() {
        for (bytes, line, why) in [
            (b"a.mid\trock\nb.mid rock\n" as &[u8], 2, "no tab"),
            (b"a.mid\trock\tpop", 1, "more than one tab"),
            (b"\n\na.mid\t\xFF", 3, "UTF-8"),
            (b"\trock", 1, "empty"),
            (b"a.mid\t\r\n", 1, "empty"),
            (b"a.mid\trock\r\na.mid\trock\r\na.mid\tpop", 3, "another"),
        ] {
            let message = labels(bytes).unwrap_err().to_string();
            assert!(
                message.contains(&format!("genre.tsv, line {line}: ")),
                "{message}"
            );
            assert!(message.contains(why), "{message}");
        }
    }
}
