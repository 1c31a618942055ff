//! Which files are versions of one song, and where each song belongs.
//!
//! All files of a song go into one split: else what validation measures is what training learned
//! by heart.

use std::collections::{BTreeSet, HashMap};

use famam_shared::score::Score;
use sha2::{Digest, Sha256};

use crate::dataset::Split;

/// A digest of what a piece says.
pub type Fingerprint = [u8; 16];

/// Pieces with fewer notes are too alike to be told apart by their intervals.
const NOTES_OF_A_TUNE: usize = 16;

/// What makes two files the same song, beside their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Equal for files of equal tokens.
    pub content: Fingerprint,
    /// Equal for files of equal pitched notes in whatever key, tempo and instruments.
    pub tune: Option<Fingerprint>,
}

impl Fingerprints {
    /// Of a quantized score and the tokens of all its bodies.
    pub fn new<'t>(score: &Score, tokens: impl Iterator<Item = &'t u16>) -> Self {
        let content = digest(tokens.flat_map(|token| token.to_le_bytes()).collect());
        let pitched = score
            .tracks
            .iter()
            .filter(|track| !track.instrument.is_drums());
        let mut notes: Vec<(u32, u8)> = pitched
            .flat_map(|track| &track.notes)
            .map(|note| (note.start.0, note.pitch))
            .collect();
        notes.sort_unstable();
        notes.dedup();
        let tune = notes
            .first()
            .filter(|_| notes.len() >= NOTES_OF_A_TUNE)
            .map(|&(at, pitch)| {
                let relative = |&(start, key): &(u32, u8)| {
                    let [a, b, c, d] = (start - at).to_le_bytes();
                    [a, b, c, d, key.wrapping_sub(pitch)]
                };
                digest(notes.iter().flat_map(relative).collect())
            });
        Self { content, tune }
    }
}

fn digest(bytes: Vec<u8>) -> Fingerprint {
    let whole = Sha256::digest(bytes);
    std::array::from_fn(|i| whole[i])
}

/// The songs of pieces that come one by one.
#[derive(Default)]
pub struct Songs {
    /// Each piece's next one on the way to its song's first; its own index there.
    parents: Vec<u32>,
    /// The first piece of each key, content and tune.
    by_key: HashMap<String, u32>,
    by_content: HashMap<Fingerprint, u32>,
    by_tune: HashMap<Fingerprint, u32>,
}

impl Songs {
    /// Takes the next piece, of the song `key` by a table or by its name. Equal content makes it
    /// the same song as another, whatever table or name says.
    pub fn push(&mut self, key: String, fingerprints: Fingerprints) {
        let piece = self.parents.len() as u32;
        self.parents.push(piece);
        let Fingerprints { content, tune } = fingerprints;
        let by_key = *self.by_key.entry(key).or_insert(piece);
        let by_content = *self.by_content.entry(content).or_insert(piece);
        let by_tune = tune.map(|tune| *self.by_tune.entry(tune).or_insert(piece));
        for other in [by_key, by_content].into_iter().chain(by_tune) {
            let (a, b) = (self.first(other), self.first(piece));
            self.parents[a.max(b) as usize] = a.min(b);
        }
    }

    fn first(&mut self, mut piece: u32) -> u32 {
        loop {
            let next = self.parents[piece as usize];
            if next == piece {
                return piece;
            }
            self.parents[piece as usize] = self.parents[next as usize];
            piece = next;
        }
    }

    /// Draws the split. The shares are of songs; which ones is decided by `seed` and their names.
    pub fn split(mut self, validation: f64, test: f64, seed: u64) -> Drawn {
        let pieces = 0..self.parents.len() as u32;
        let firsts: Vec<u32> = pieces.map(|piece| self.first(piece)).collect();
        // A song's first piece is also the first of its own key, which names the song.
        let names: HashMap<u32, String> = self
            .by_key
            .into_iter()
            .map(|(key, piece)| (piece, key))
            .collect();
        let mut songs: Vec<u32> = firsts
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        songs.sort_by_cached_key(|song| {
            let mut hash = Sha256::new();
            hash.update(seed.to_le_bytes());
            hash.update(names[song].as_bytes());
            <[u8; 32]>::from(hash.finalize())
        });
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
            names,
            places,
        }
    }
}

/// Which piece is of which song, and where each song belongs.
pub struct Drawn {
    /// The first piece of each piece's song.
    firsts: Vec<u32>,
    /// Names by the song's first piece.
    names: HashMap<u32, String>,
    /// Splits by the song's first piece.
    places: HashMap<u32, Split>,
}

impl Drawn {
    /// Each piece's song and split.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, Split)> {
        self.firsts
            .iter()
            .map(|first| (self.names[first].as_str(), self.places[first]))
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
        }
    }

    #[test]
    fn names_content_and_tunes_join_across_one_another() {
        let mut songs = Songs::default();
        songs.push("a".into(), prints(1, 0));
        songs.push("b".into(), prints(2, 5));
        songs.push("c".into(), prints(3, 0));
        songs.push("b".into(), prints(4, 0));
        songs.push("d".into(), prints(4, 6));
        songs.push("e".into(), prints(1, 6));
        songs.push("f".into(), prints(7, 0));
        let drawn = songs.split(0.0, 0.0, 0);
        let names: Vec<_> = drawn.pieces().map(|(song, _)| song).collect();
        assert_eq!(names, ["a", "a", "c", "a", "a", "a", "f"]);
    }

    #[test]
    fn shares_are_of_songs_and_the_seed_draws_them() {
        let make = |seed| {
            let mut songs = Songs::default();
            (0..1000).for_each(|i| songs.push(format!("song {}", i / 2), prints(i, 0)));
            songs.split(0.1, 0.05, seed)
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
        let mut songs = Songs::default();
        songs.push("only".into(), prints(1, 0));
        assert_eq!(songs.split(0.5, 0.5, 0).songs(Split::Train), 1);
        let mut songs = Songs::default();
        (0..3).for_each(|i| songs.push(i.to_string(), prints(i, 0)));
        let drawn = songs.split(0.01, 0.01, 0);
        assert_eq!(Split::ALL.map(|split| drawn.songs(split)), [1, 1, 1]);
    }
}
