//! Styles: named presets of what is asked of a song. Some are built in, others are the user's, in a file
//! whose format `docs/formats.md` says.
//!
//! Several styles together are a song of all their tracks; of what concerns all tracks the first that says it
//! decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::editor::user_folder;
use crate::harmony::{AskedChords, AskedKey};
use crate::sampling::Sampling;
use crate::tracks::AskedTracks;

/// The name that stands for any of the others.
pub const RANDOM: &str = "random";

/// The version of the file's format that this build reads.
const VERSION: u32 = 1;

/// What a style asks for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Style {
    /// Its tracks.
    pub tracks: AskedTracks,
    /// The genre, by its name in the model.
    pub genre: Option<String>,
    /// Key or scale.
    pub key: Option<AskedKey>,
    /// Chords.
    pub chords: Option<AskedChords>,
    /// Quarters a minute.
    pub tempo: Option<f64>,
    /// How tokens are drawn.
    pub sampling: Sampling,
}

impl Style {
    /// All tracks of both; what this one does not say is as `other` says it.
    pub fn and(self, other: &Self) -> Self {
        Self {
            tracks: self.tracks.and(&other.tracks),
            genre: self.genre.or_else(|| other.genre.clone()),
            key: self.key.or(other.key),
            chords: self.chords.or_else(|| other.chords.clone()),
            tempo: self.tempo.or(other.tempo),
            sampling: self.sampling.or(&other.sampling),
        }
    }
}

/// Why there are no styles, or not that one.
#[derive(Debug, thiserror::Error)]
pub enum StylesError {
    /// The file is not there, or cannot be read.
    #[error("cannot read the styles {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It says something else than styles.
    #[error("cannot use the styles {}: {why}; docs/formats.md says what stands there", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is none of this name.
    #[error("there is no style \"{name}\"; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
}

/// Styles by name.
#[derive(Clone, Debug)]
pub struct Styles(BTreeMap<String, Style>);

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    styles: BTreeMap<String, Style>,
}

impl Styles {
    /// Those that are built in.
    pub fn built_in() -> Self {
        let style = |(name, tracks): (&str, &str)| {
            let style = Style {
                tracks: tracks.parse().unwrap_or_default(),
                chords: "drawn".parse().ok(),
                ..Style::default()
            };
            (name.to_owned(), style)
        };
        let all = [
            ("bass", "bass pitch=28-52 polyphony=1"),
            (
                "chords",
                "keys/guitar pitch=45-81 polyphony=3-5 lengths=1/2-",
            ),
            ("melody", "lead pitch=60-88 polyphony=1"),
        ];
        Self(all.into_iter().map(style).collect())
    }

    /// The built-in ones and those of the user's file `styles.json` in the folder of the user's models, where there
    /// is one.
    ///
    /// # Errors
    /// As [`Styles::with`].
    pub fn of_user() -> Result<Self, StylesError> {
        let file = user_folder().map(|folder| folder.join("styles.json"));
        match file.filter(|file| file.is_file()) {
            Some(file) => Self::built_in().with(&file),
            None => Ok(Self::built_in()),
        }
    }

    /// These and those of a file, which takes precedence.
    ///
    /// # Errors
    /// [`StylesError::Read`] and [`StylesError::Format`].
    pub fn with(mut self, path: &Path) -> Result<Self, StylesError> {
        let text = std::fs::read_to_string(path).map_err(|source| StylesError::Read {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |why: String| StylesError::Format {
            path: path.to_owned(),
            why,
        };
        let file: File = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if file.version != VERSION {
            let version = file.version;
            return Err(wrong(format!(
                "its version is {version}, and this Famam reads {VERSION}"
            )));
        }
        for (name, style) in file.styles {
            let simple = !name.is_empty() && !name.contains(',') && name.trim() == name;
            if !simple || name == RANDOM {
                return Err(wrong(format!(
                    "\"{name}\" is no name for a style: expected one without commas, other than {RANDOM}"
                )));
            }
            if let Some(tempo) = style.tempo.filter(|tempo| !(10.0..=1000.0).contains(tempo)) {
                return Err(wrong(format!(
                    "tempo of {name} is {tempo}: expected 10 to 1000"
                )));
            }
            self.0.insert(name, style);
        }
        Ok(self)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The style of the names, separated by commas; `draw` says which of so many `random` is.
    ///
    /// # Errors
    /// [`StylesError::Unknown`].
    pub fn named(&self, names: &str, draw: impl Fn(usize) -> usize) -> Result<Style, StylesError> {
        names.split(',').try_fold(Style::default(), |style, name| {
            let name = name.trim();
            let found = match name {
                RANDOM => self.0.values().nth(draw(self.0.len())),
                _ => self.0.get(name),
            };
            let found = found.ok_or_else(|| StylesError::Unknown {
                name: name.to_owned(),
                known: self.names().chain([RANDOM]).collect::<Vec<_>>().join(", "),
            })?;
            Ok(style.and(found))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_styles_have_one_track_each_and_together_three() {
        let styles = Styles::built_in();
        assert_eq!(
            styles.names().collect::<Vec<_>>(),
            ["bass", "chords", "melody"]
        );
        let bands = famam_shared::bands::Bands::default();
        for name in styles.names() {
            let style = styles.named(name, |_| 0).unwrap();
            assert_eq!(style.tracks.choose(&bands, 0).unwrap().len(), 1, "{name}");
            assert!(style.chords.is_some());
        }
        let all = styles.named("melody, chords,bass", |_| 0).unwrap();
        assert_eq!(all.tracks.choose(&bands, 0).unwrap().len(), 3);
        assert_eq!(
            styles.named("random", |_| 2).unwrap(),
            styles.named("melody", |_| 0).unwrap()
        );
        let none = styles.named("ska", |_| 0).unwrap_err().to_string();
        assert!(
            none.contains("there are bass, chords, melody, random"),
            "{none}"
        );
    }

    #[test]
    fn a_file_adds_styles_and_replaces_those_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("styles.json");
        let with = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Styles::built_in().with(&path)
        };
        let styles = with(
            r#"{"version": 1, "styles": {
                "night": {"tracks": "33; 4 polyphony=2-4", "key": "D dorian ~2", "chords": "i IV", "tempo": 84,
                          "genre": "jazz", "sampling": {"temperature": 0.8, "rhythm": {"top_k": 5}}},
                "bass": {"tracks": "38"}
            }}"#,
        );
        let styles = styles.unwrap();
        let night = styles.named("night,bass", |_| 0).unwrap();
        assert_eq!(night.tempo, Some(84.0));
        assert_eq!(night.sampling.temperature, Some(0.8));
        assert_eq!(night.sampling.rhythm.unwrap().top_k, Some(5));
        let tracks = night.tracks.choose(&Default::default(), 0).unwrap();
        assert_eq!(tracks[2].instrument.index(), 38);
        for (text, words) in [
            ("{", "EOF"),
            (r#"{"version": 2, "styles": {}}"#, "its version is 2"),
            (
                r#"{"version": 1, "styles": {"a": {"track": "33"}}}"#,
                "unknown field `track`",
            ),
            (
                r#"{"version": 1, "styles": {"a": {"tracks": "kazoo"}}}"#,
                "kazoo",
            ),
            (
                r#"{"version": 1, "styles": {"a": {"sampling": {"heat": 1}}}}"#,
                "heat",
            ),
            (
                r#"{"version": 1, "styles": {"a": {"tempo": 5}}}"#,
                "expected 10 to 1000",
            ),
            (
                r#"{"version": 1, "styles": {"a": {"chords": "Am Q"}}}"#,
                "Q",
            ),
            (
                r#"{"version": 1, "styles": {"random": {}}}"#,
                "other than random",
            ),
        ] {
            let error = with(text).unwrap_err().to_string();
            assert!(
                error.contains(words) && error.contains("styles.json"),
                "{text}: {error}"
            );
        }
        assert!(
            Styles::built_in()
                .with(&folder.path().join("none.json"))
                .is_err()
        );
    }
}
