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
    /// Of a quantized score and its tokens.
    pub fn new(score: &Score, tokens: &[u16]) -> Self {
        let content = digest(
            tokens
                .iter()
                .flat_map(|token| token.to_le_bytes())
                .collect(),
        );
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
    /// Each piece's song by name.
    keys: Vec<String>,
    /// Each piece's next one on the way to its song's first; its own index there.
    parents: Vec<usize>,
    by_key: HashMap<String, usize>,
    by_content: HashMap<Fingerprint, usize>,
    by_tune: HashMap<Fingerprint, usize>,
}

impl Songs {
    /// Takes the next piece, of the song `key` by a table or by its name. Equal content makes it
    /// the same song as another, whatever table or name says.
    pub fn push(&mut self, key: String, fingerprints: Fingerprints) {
        let piece = self.parents.len();
        self.parents.push(piece);
        let Fingerprints { content, tune } = fingerprints;
        let by_key = *self.by_key.entry(key.clone()).or_insert(piece);
        let by_content = *self.by_content.entry(content).or_insert(piece);
        let by_tune = tune.map(|tune| *self.by_tune.entry(tune).or_insert(piece));
        self.keys.push(key);
        for other in [by_key, by_content].into_iter().chain(by_tune) {
            let (a, b) = (self.first(other), self.first(piece));
            self.parents[a.max(b)] = a.min(b);
        }
    }

    fn first(&mut self, mut piece: usize) -> usize {
        while self.parents[piece] != piece {
            self.parents[piece] = self.parents[self.parents[piece]];
            piece = self.parents[piece];
        }
        piece
    }

    /// Each piece's song and split. The shares are of songs; which ones is drawn by `seed`.
    pub fn split(mut self, validation: f64, test: f64, seed: u64) -> Vec<(String, Split)> {
        let firsts: Vec<usize> = (0..self.keys.len())
            .map(|piece| self.first(piece))
            .collect();
        let songs: BTreeSet<usize> = firsts.iter().copied().collect();
        let mut drawn: Vec<usize> = songs.into_iter().collect();
        drawn.sort_by_cached_key(|&song| {
            let mut hash = Sha256::new();
            hash.update(seed.to_le_bytes());
            hash.update(self.keys[song].as_bytes());
            <[u8; 32]>::from(hash.finalize())
        });
        let share = |fraction: f64, rest: usize| {
            let count = (fraction * drawn.len() as f64).round() as usize;
            // A split that is asked for is not empty, unless training would be.
            count.max(usize::from(fraction > 0.0)).min(rest)
        };
        let rest = drawn.len().saturating_sub(1);
        let validations = share(validation, rest);
        let tests = share(test, rest - validations);
        let places: HashMap<usize, Split> = drawn
            .iter()
            .enumerate()
            .map(|(i, &song)| {
                let place = if i < validations {
                    Split::Validation
                } else if i < validations + tests {
                    Split::Test
                } else {
                    Split::Train
                };
                (song, place)
            })
            .collect();
        firsts
            .iter()
            .map(|first| (self.keys[*first].clone(), places[first]))
            .collect()
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
        let split = songs.split(0.0, 0.0, 0);
        let names: Vec<_> = split.iter().map(|(song, _)| song.as_str()).collect();
        assert_eq!(names, ["a", "a", "c", "a", "a", "a", "f"]);
    }

    #[test]
    fn shares_are_of_songs_and_the_seed_draws_them() {
        let make = |seed| {
            let mut songs = Songs::default();
            (0..1000).for_each(|i| songs.push(format!("song {}", i / 2), prints(i, 0)));
            songs.split(0.1, 0.05, seed)
        };
        let split = make(1);
        let count = |place| split.iter().filter(|(_, split)| *split == place).count();
        assert_eq!((count(Split::Validation), count(Split::Test)), (100, 50));
        assert!(
            split.chunks(2).all(|pair| pair[0] == pair[1]),
            "a song is in one split"
        );
        assert_eq!(split, make(1));
        assert_ne!(split, make(2));
    }

    #[test]
    fn few_songs_leave_something_to_train_on() {
        let mut songs = Songs::default();
        songs.push("only".into(), prints(1, 0));
        assert_eq!(songs.split(0.5, 0.5, 0)[0].1, Split::Train);
        let mut songs = Songs::default();
        (0..3).for_each(|i| songs.push(i.to_string(), prints(i, 0)));
        let split = songs.split(0.01, 0.01, 0);
        for place in Split::ALL {
            assert_eq!(split.iter().filter(|(_, split)| *split == place).count(), 1);
        }
    }
}
