//! What a song keeps of an instance besides its parameters: the model's name and hash, the genre's
//! name, and the clip. Versioned JSON; the format is in `docs/formats.md`.
//!
//! An older state opens, a newer one is refused with a sentence, and whatever else comes in is an
//! error that the window shows, never a panic. The clip plays even where its model is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use famam_shared::instrument::Instrument;
use famam_shared::score::{Metre, Ticks};
use nih_plug::plugin::ParamValue;
use nih_plug::prelude::PluginState;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::clip::{self, Clip, ClipNote, MAX_BARS, MAX_NOTES, Origin};
use crate::model::Source;
use crate::snapshot::Commands;
use crate::worker::Command;

/// The format that this build writes.
pub const VERSION: u32 = 1;
/// The field of the host's state that holds it.
pub const FIELD: &str = "famam";
/// The id of the parameter that the genre's name goes with.
const GENRE: &str = "genre";
/// The longest bar and the latest note, in ticks: far beyond any song, and sums cannot overflow.
const MAX_TICKS: u32 = 1 << 24;

/// A state as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Saved {
    version: u32,
    /// The bundle's file; absent for the one that is compiled in.
    #[serde(default)]
    bundle: Option<PathBuf>,
    /// The bundle's name and hash; empty where none was loaded.
    #[serde(default)]
    model: String,
    #[serde(default)]
    hash: String,
    /// The genre's name.
    #[serde(default)]
    genre: String,
    #[serde(default)]
    clip: Option<SavedClip>,
}

/// A [`Clip`] as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedClip {
    bars: u32,
    /// Numerator, denominator.
    metre: (u8, u8),
    micros_per_quarter: u32,
    origin: Origin,
    /// In the order of their channels' assignment.
    instruments: Vec<u8>,
    /// Start, duration (ticks), instrument (index into `instruments`), pitch, velocity.
    notes: Vec<(u32, u32, u8, u8, u8)>,
}

/// Why a state does not open.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is not JSON, or not of this form.
    #[error(
        "this song's state of Famam is damaged ({0}); the parameters were kept, the clip was not"
    )]
    Damaged(#[from] serde_json::Error),
    /// A newer Famam wrote it.
    #[error(
        "this song was saved by a newer Famam (state {version}, this one reads up to {VERSION}): \
         update Famam to get its clip back"
    )]
    Newer {
        /// The state's version.
        version: u32,
    },
    /// The clip is none.
    #[error("the clip in this song's state is damaged ({0}); the parameters were kept")]
    Clip(&'static str),
}

/// What was read from a state.
#[derive(Debug)]
pub struct Restored {
    /// The bundle in use when it was saved.
    pub source: Source,
    /// The bundle's name, to be told where it is gone.
    pub model: String,
    /// The bundle's hash.
    pub hash: String,
    /// The genre's name.
    pub genre: String,
    /// The clip.
    pub clip: Option<Clip>,
}

/// What the worker knows and a state must say: the worker writes it, the host's main thread reads.
#[derive(Debug, Default)]
pub struct Kept {
    /// The bundle in use.
    pub source: Source,
    /// Its name.
    pub model: String,
    /// Its hash.
    pub hash: String,
    /// Its genres; empty until it was loaded.
    pub genres: Arc<Vec<String>>,
    /// The genre of the song's state, index and name: what it is called until the genres are known,
    /// which may be never, if the model is gone.
    pub genre: Option<(u16, String)>,
    /// The newest clip that is complete.
    pub clip: Option<Arc<Clip>>,
}

/// The door between the host's state and the worker.
#[derive(Clone)]
pub struct Session {
    /// Shared with the worker.
    pub kept: Arc<RwLock<Kept>>,
    commands: Commands,
}

impl Session {
    /// A state that tells what it reads to the instance of `commands`.
    pub fn new(kept: Arc<RwLock<Kept>>, commands: Commands) -> Self {
        Self { kept, commands }
    }

    /// The fields of the host's state.
    pub(crate) fn write(&self, genre: u16) -> BTreeMap<String, String> {
        let genre = self.genre_name(genre).unwrap_or_default();
        let kept = self.kept.read();
        let bundle = match &kept.source {
            Source::BuiltIn => None,
            Source::File(path) => Some(path.clone()),
        };
        let saved = Saved {
            version: VERSION,
            bundle,
            model: kept.model.clone(),
            hash: kept.hash.clone(),
            genre,
            clip: kept.clip.as_deref().map(SavedClip::of),
        };
        let text = serde_json::to_string(&saved).ok();
        text.map(|text| (FIELD.to_owned(), text))
            .into_iter()
            .collect()
    }

    /// Reads the fields of the host's state. Whatever they are, the worker gets a sentence or a
    /// clip.
    pub(crate) fn read(&self, fields: &BTreeMap<String, String>) {
        if let Some(text) = fields.get(FIELD) {
            self.commands
                .send(Command::Restore(parse(text).map(Box::new)));
        }
    }

    /// The bundle's genres; before it was loaded, those of the one that is compiled in.
    fn genres(&self) -> Arc<Vec<String>> {
        let genres = self.kept.read().genres.clone();
        if genres.is_empty() {
            Source::BuiltIn.genres().unwrap_or_default()
        } else {
            genres
        }
    }

    /// The genre's name of the song's state, where `fits` and its bundle's genres are not known.
    fn saved_genre(&self, fits: impl Fn(u16, &str) -> bool) -> Option<(u16, String)> {
        let kept = self.kept.read();
        let saved = kept.genre.clone().filter(|_| kept.genres.is_empty());
        saved.filter(|(index, name)| fits(*index, name))
    }

    fn genre_name(&self, index: u16) -> Option<String> {
        let saved = self.saved_genre(|saved, _| saved == index);
        saved
            .map(|(_, name)| name)
            .or_else(|| self.genres().get(usize::from(index)).cloned())
    }

    /// The genre at `index` in words.
    pub(crate) fn genre_text(&self, index: i32) -> String {
        let name = u16::try_from(index).ok().and_then(|i| self.genre_name(i));
        name.unwrap_or_else(|| {
            if index == 0 {
                "any".to_owned()
            } else {
                format!("genre {index}")
            }
        })
    }

    /// The index of a genre in words.
    pub(crate) fn genre_index(&self, text: &str) -> Option<i32> {
        let text = text.trim();
        let saved = self.saved_genre(|_, name| name.eq_ignore_ascii_case(text));
        if let Some((index, _)) = saved {
            return Some(i32::from(index));
        }
        let named = |name: &String| name.eq_ignore_ascii_case(text);
        let index = self
            .genres()
            .iter()
            .position(named)
            .map(|index| index as i32);
        index.or_else(|| text.strip_prefix("genre ").unwrap_or(text).parse().ok())
    }
}

/// Reads a state.
fn parse(text: &str) -> Result<Restored, StateError> {
    let saved = versioned(text)?;
    Ok(Restored {
        source: saved.bundle.map_or(Source::BuiltIn, Source::File),
        model: saved.model,
        hash: saved.hash,
        genre: saved.genre,
        clip: saved.clip.map(SavedClip::clip).transpose()?,
    })
}

fn versioned(text: &str) -> Result<Saved, StateError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_str(text)?;
    if version > VERSION {
        return Err(StateError::Newer { version });
    }
    Ok(serde_json::from_str(text)?)
}

/// Puts the genre's parameter where the state's genre stands in its bundle's vocabulary today: the
/// name is what the state means, the index was the bundle's of that day.
pub fn follow_genre(state: &mut PluginState) {
    let Some(Ok(saved)) = state.fields.get(FIELD).map(|text| versioned(text)) else {
        return;
    };
    if saved.genre.is_empty() {
        return;
    }
    let source = saved.bundle.map_or(Source::BuiltIn, Source::File);
    if let Some(index) = source.genres().and_then(|genres| {
        genres
            .iter()
            .position(|name| name.eq_ignore_ascii_case(&saved.genre))
    }) {
        state
            .params
            .insert(GENRE.to_owned(), ParamValue::I32(index as i32));
    }
}

impl SavedClip {
    fn of(clip: &Clip) -> Self {
        Self {
            bars: clip.bars,
            metre: (clip.metre.numerator, clip.metre.denominator),
            micros_per_quarter: clip.micros_per_quarter,
            origin: clip.origin.clone(),
            instruments: clip
                .parts
                .iter()
                .map(|part| part.instrument.index())
                .collect(),
            notes: clip
                .notes
                .iter()
                .map(|n| (n.start.0, n.duration.0, n.part, n.pitch, n.velocity))
                .collect(),
        }
    }

    /// The clip, if it is one; its number is the worker's to give.
    fn clip(self) -> Result<Clip, StateError> {
        let fail = |why| Err(StateError::Clip(why));
        let (numerator, denominator) = self.metre;
        if numerator == 0 || !denominator.is_power_of_two() {
            return fail("its metre");
        }
        let metre = Metre {
            at: Ticks(0),
            numerator,
            denominator,
        };
        if self.bars == 0 || self.bars > MAX_BARS {
            return fail("its bars");
        }
        let instruments: Option<Vec<_>> = self
            .instruments
            .iter()
            .map(|&index| Instrument::new(index))
            .collect();
        let Some(instruments) = instruments.filter(|list| {
            list.iter().collect::<std::collections::HashSet<_>>().len() == list.len()
        }) else {
            return fail("its instruments");
        };
        let length = self.bars * metre.bar().0;
        let sound = |&(start, duration, part, pitch, velocity): &(u32, u32, u8, u8, u8)| {
            start < length
                && (1..=MAX_TICKS).contains(&duration)
                && usize::from(part) < instruments.len()
                && pitch < 128
                && (1..128).contains(&velocity)
        };
        if self.notes.len() > MAX_NOTES || !self.notes.iter().all(sound) {
            return fail("its notes");
        }
        let mut notes: Vec<_> = self
            .notes
            .into_iter()
            .map(|(start, duration, part, pitch, velocity)| ClipNote {
                start: Ticks(start),
                part,
                pitch,
                duration: Ticks(duration),
                velocity,
            })
            .collect();
        notes.sort_unstable();
        Ok(Clip {
            id: 0,
            bars: self.bars,
            done: self.bars,
            metre,
            micros_per_quarter: self.micros_per_quarter.max(1),
            parts: clip::assign(instruments),
            notes,
            origin: self.origin,
        })
    }
}
