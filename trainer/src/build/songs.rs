//! Which files are versions of one song, and where each song belongs.
//!
//! All files of a song go into one split: else what validation measures is what training learned
//! by heart. Files are of one song by name or table, and by what they say, whatever name or table
//! says: by equal tokens (*exact* duplicates), by equal pitched notes in whatever key, tempo and
//! instruments, or by most of their bars ([`near`](super::near)) (*near* duplicates). Where each
//! part is a piece, files that share a part are of one song, too, and no duplicates.

use std::collections::{BTreeSet, HashMap};

use famam_shared::encoding::Body;
use famam_shared::score::{Score, Track};
use sha2::{Digest, Sha256};

use super::near::{Index, Sketch};
use crate::config::dataset::DropDuplicates;
use crate::dataset::Split;

/// A digest of what a piece says.
pub type Fingerprint = [u8; 16];

/// Pieces with fewer notes are too alike to be told apart by their intervals.
const NOTES_OF_A_TUNE: usize = 16;

/// What makes two files the same song, beside their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Equal for files of equal tokens.
    pub content: Fingerprint,
    /// Equal for files of equal pitched notes in whatever key, tempo and instruments.
    pub tune: Option<Fingerprint>,
    /// Alike for files that share bars.
    pub sketch: Sketch,
    /// Where each part is a piece, equal for parts of equal notes in whatever key, tempo and
    /// instrument.
    pub parts: Vec<Fingerprint>,
}

/// Equal for files of equal tokens.
pub fn content(bodies: &[Body]) -> Fingerprint {
    let mut bytes = Vec::with_capacity(bodies.iter().map(|body| 2 * body.tokens.len()).sum());
    for body in bodies {
        bytes.extend(body.tokens.iter().flat_map(|token| token.to_le_bytes()));
    }
    digest(&bytes)
}

impl Fingerprints {
    /// Of a quantized score and its bodies.
    pub fn new(score: &Score, bodies: &[Body]) -> Self {
        let tracks = || score.tracks.iter();
        let notes = notes(tracks().filter(|track| !track.instrument.is_drums()));
        let parts = match bodies.len() == score.tracks.len() {
            true => tracks()
                .filter_map(|track| tune(&self::notes([track])))
                .collect(),
            false => Vec::new(),
        };
        Self {
            content: content(bodies),
            tune: tune(&notes),
            sketch: Sketch::new(score, &notes),
            parts,
        }
    }

    /// The memory that they hold.
    pub fn bytes(&self) -> usize {
        self.sketch.bytes() + size_of_val(&self.parts[..])
    }
}

/// Starts in ticks and pitches of what some tracks play together, ascending, each once.
fn notes<'a>(tracks: impl IntoIterator<Item = &'a Track>) -> Vec<(u32, u8)> {
    let notes = tracks.into_iter().flat_map(|track| &track.notes);
    let mut notes: Vec<_> = notes.map(|note| (note.start.0, note.pitch)).collect();
    notes.sort_unstable();
    notes.dedup();
    notes
}

/// Equal for notes that are the same, seen from the first of them; `None` for few.
fn tune(notes: &[(u32, u8)]) -> Option<Fingerprint> {
    let &(at, pitch) = notes.first().filter(|_| notes.len() >= NOTES_OF_A_TUNE)?;
    let mut bytes = Vec::with_capacity(5 * notes.len());
    for &(start, key) in notes {
        bytes.extend((start - at).to_le_bytes());
        bytes.push(key.wrapping_sub(pitch));
    }
    Some(digest(&bytes))
}

fn digest(bytes: &[u8]) -> Fingerprint {
    let whole = Sha256::digest(bytes);
    std::array::from_fn(|i| whole[i])
}

/// What a file is of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duplicate {
    /// Of the same tokens.
    Exact,
    /// Of the same music.
    Near,
}

impl DropDuplicates {
    /// Whether it leaves such a file out.
    pub fn drops(self, duplicate: Duplicate) -> bool {
        match duplicate {
            Duplicate::Exact => self >= Self::Exact,
            Duplicate::Near => self >= Self::Near,
        }
    }
}

/// The songs of files that come one by one.
#[derive(Default)]
pub struct Songs {
    /// Each file's next one on the way to its song's first; its own index there.
    parents: Vec<u32>,
    /// Pieces of each file; none of one that is left out.
    pieces: Vec<u32>,
    /// The first file of each key, content and tune.
    by_key: HashMap<String, u32>,
    by_content: HashMap<Fingerprint, u32>,
    by_tune: HashMap<Fingerprint, u32>,
    by_part: HashMap<Fingerprint, u32>,
    /// All files but those whose content came before.
    sketches: Index,
    /// Which file each of them is.
    sketched: Vec<u32>,
}

impl Songs {
    /// Takes the next file, of the song `key` by a table or by its name, without pieces yet; says
    /// what it is of an earlier one.
    pub fn push(&mut self, key: String, fingerprints: &Fingerprints) -> Option<Duplicate> {
        let file = self.parents.len() as u32;
        self.parents.push(file);
        self.pieces.push(0);
        let by_key = *self.by_key.entry(key).or_insert(file);
        self.join(by_key, file);
        let by_content = *self.by_content.entry(fingerprints.content).or_insert(file);
        if by_content != file {
            self.join(by_content, file);
            return Some(Duplicate::Exact);
        }
        for &part in &fingerprints.parts {
            let by_part = *self.by_part.entry(part).or_insert(file);
            self.join(by_part, file);
        }
        let by_tune = fingerprints
            .tune
            .map(|tune| *self.by_tune.entry(tune).or_insert(file));
        let by_bars = self.sketches.push(&fingerprints.sketch);
        self.sketched.push(file);
        let by_bars = by_bars.into_iter().map(|near| self.sketched[near as usize]);
        let near: Vec<u32> = by_tune
            .into_iter()
            .filter(|&other| other != file)
            .chain(by_bars)
            .collect();
        near.iter().for_each(|&other| self.join(other, file));
        (!near.is_empty()).then_some(Duplicate::Near)
    }

    /// Counts a piece of the file that came last.
    pub fn piece(&mut self) {
        if let Some(pieces) = self.pieces.last_mut() {
            *pieces += 1;
        }
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first(a), self.first(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    fn first(&mut self, mut file: u32) -> u32 {
        loop {
            let next = self.parents[file as usize];
            if next == file {
                return file;
            }
            self.parents[file as usize] = self.parents[next as usize];
            file = next;
        }
    }

    /// Draws the split. The shares are of songs; which ones is decided by `seed` and their names.
    pub fn split(mut self, validation: f64, test: f64, seed: u64) -> Drawn {
        let files = 0..self.parents.len() as u32;
        let firsts: Vec<u32> = files.map(|file| self.first(file)).collect();
        // A song's first file is also the first of its own key, which names the song.
        let names: HashMap<u32, String> = self
            .by_key
            .into_iter()
            .map(|(key, file)| (file, key))
            .collect();
        let mut songs: Vec<u32> = firsts
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        songs.sort_by_cached_key(|song| lot(&names[song], seed));
        let share = |fraction: f64, rest: usize| {
            let count = (fraction * songs.len() as f64).round() as usize;
            // A split that is asked for is not empty, unless training would be.
            count.max(usize::from(fraction > 0.0)).min(rest)
        };
        let rest = songs.len().saturating_sub(1);
        let validations = share(validation, rest);
        let tests = share(test, rest - validations);
        let place = |rank| match rank {
            rank if rank < validations => Split::Validation,
            rank if rank < validations + tests => Split::Test,
            _ => Split::Train,
        };
        let places = songs
            .iter()
            .enumerate()
            .map(|(rank, &song)| (song, place(rank)))
            .collect();
        Drawn {
            firsts,
            pieces: self.pieces,
            names,
            places,
        }
    }
}

/// Where `seed` puts a song among others: the first ones are drawn first.
fn lot(song: &str, seed: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(song.as_bytes());
    hash.finalize().into()
}

/// Whether each of the files of the songs `keys` is in a subset: of a share of the songs, where
/// `subset` is below 1, else of so many.
pub fn drawn(keys: &[String], subset: f64, seed: u64) -> Vec<bool> {
    let songs: BTreeSet<&String> = keys.iter().collect();
    let mut songs: Vec<&String> = songs.into_iter().collect();
    songs.sort_by_cached_key(|song| lot(song, seed));
    let count = match subset {
        share if share < 1.0 => (share * songs.len() as f64).round().max(1.0),
        count => count,
    };
    songs.truncate(count as usize);
    songs.sort_unstable();
    keys.iter()
        .map(|key| songs.binary_search(&key).is_ok())
        .collect()
}

/// Which piece is of which song, and where each song belongs.
pub struct Drawn {
    /// The first file of each file's song.
    firsts: Vec<u32>,
    /// Pieces of each file.
    pieces: Vec<u32>,
    /// Names by the song's first file.
    names: HashMap<u32, String>,
    /// Splits by the song's first file.
    places: HashMap<u32, Split>,
}

impl Drawn {
    /// Each piece's song and split.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, Split)> {
        std::iter::zip(&self.firsts, &self.pieces).flat_map(|(first, &pieces)| {
            let piece = (self.names[first].as_str(), self.places[first]);
            std::iter::repeat_n(piece, pieces as usize)
        })
    }

    /// The number of songs in a split.
    pub fn songs(&self, split: Split) -> usize {
        self.places
            .values()
            .filter(|&&place| place == split)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prints(content: u16, tune: u8) -> Fingerprints {
        let [a, b] = content.to_le_bytes();
        let content = std::array::from_fn(|i| if i % 2 == 0 { a } else { b });
        Fingerprints {
            content,
            tune: (tune > 0).then_some([tune; 16]),
            sketch: Sketch::default(),
            parts: Vec::new(),
        }
    }

    /// The songs of files of one piece each.
    fn songs(files: impl IntoIterator<Item = (String, Fingerprints)>) -> Songs {
        let mut songs = Songs::default();
        for (key, prints) in files {
            songs.push(key, &prints);
            songs.piece();
        }
        songs
    }

    #[test]
    fn names_content_and_tunes_join_across_one_another() {
        let files = [
            ("a", prints(1, 0)),
            ("b", prints(2, 5)),
            ("c", prints(3, 0)),
            ("b", prints(4, 6)),
            ("d", prints(4, 6)),
            ("e", prints(8, 6)),
            ("e", prints(1, 0)),
            ("f", prints(7, 0)),
        ];
        let drawn = songs(files.map(|(key, prints)| (key.to_owned(), prints))).split(0.0, 0.0, 0);
        let names: Vec<_> = drawn.pieces().map(|(song, _)| song).collect();
        assert_eq!(names, ["a", "a", "c", "a", "a", "a", "a", "f"]);
    }

    #[test]
    fn what_a_file_is_of_an_earlier_one_is_said_and_what_is_left_out_still_joins() {
        let mut songs = Songs::default();
        let mut take = |key: &str, prints, stays| {
            let duplicate = songs.push(key.to_owned(), &prints);
            (0..if stays { 2 } else { 0 }).for_each(|_| songs.piece());
            duplicate
        };
        assert_eq!(take("a", prints(1, 1), true), None);
        assert_eq!(take("b", prints(2, 2), true), None);
        assert_eq!(take("a", prints(3, 2), false), Some(Duplicate::Near));
        assert_eq!(take("c", prints(2, 2), false), Some(Duplicate::Exact));
        assert_eq!(take("c", prints(4, 4), true), None);
        let drawn = songs.split(0.0, 0.0, 0);
        let names: Vec<_> = drawn.pieces().map(|(song, _)| song).collect();
        assert_eq!(names, ["a"; 6], "two pieces of each file that stays");
    }

    #[test]
    fn a_subset_is_of_whole_songs_and_a_larger_one_holds_it() {
        let keys: Vec<String> = (0..900).map(|i| format!("song {}", i / 3)).collect();
        let count = |subset, seed| {
            let drawn = drawn(&keys, subset, seed);
            assert!(drawn.chunks(3).all(|song| song[0] == song[2]));
            drawn.iter().filter(|&&drawn| drawn).count() / 3
        };
        for (subset, songs) in [
            (0.1, 30),
            (0.0001, 1),
            (1.0, 1),
            (250.0, 250),
            (1000.0, 300),
        ] {
            assert_eq!(count(subset, 1), songs);
        }
        let (less, more) = (drawn(&keys, 20.0, 1), drawn(&keys, 0.5, 1));
        assert!(std::iter::zip(&less, &more).all(|(less, more)| less <= more));
        assert_ne!(less, drawn(&keys, 20.0, 2));
    }

    #[test]
    fn shares_are_of_songs_and_the_seed_draws_them() {
        let make = |seed| {
            let files = (0..1000).map(|i| (format!("song {}", i / 2), prints(i, 0)));
            songs(files).split(0.1, 0.05, seed)
        };
        let splits = |drawn: &Drawn| drawn.pieces().map(|(_, split)| split).collect::<Vec<_>>();
        let drawn = make(1);
        let count = |split| drawn.songs(split);
        assert_eq!((count(Split::Validation), count(Split::Test)), (50, 25));
        assert!(
            splits(&drawn).chunks(2).all(|pair| pair[0] == pair[1]),
            "a song is in one split"
        );
        assert_eq!(splits(&drawn), splits(&make(1)));
        assert_ne!(splits(&drawn), splits(&make(2)));
    }

    #[test]
    fn few_songs_leave_something_to_train_on() {
        let only = songs([("only".to_owned(), prints(1, 0))]);
        assert_eq!(only.split(0.5, 0.5, 0).songs(Split::Train), 1);
        let three = songs((0..3).map(|i| (i.to_string(), prints(i, 0))));
        let drawn = three.split(0.01, 0.01, 0);
        assert_eq!(Split::ALL.map(|split| drawn.songs(split)), [1, 1, 1]);
    }
}
