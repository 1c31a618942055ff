//! Which pieces share most of their bars, whatever their key, tempo, velocities, instruments and
//! drums.
//!
//! Broder, "On the resemblance and containment of documents" (SEQUENCES 1997): a piece is the set
//! of its *shingles*, which here are its bars, each seen from its own lowest first note; of the
//! shingles' hashes the smallest are kept (section 4, the min-s sketch), and two pieces are compared
//! by the share of the smaller set that is in the other, its *containment*, so that an excerpt is
//! found, too.

use std::collections::HashMap;

use famam_shared::score::Score;

/// Bars with fewer notes are much the same in all music.
const NOTES_OF_A_BAR: usize = 6;
/// Hashes kept of a piece: all of most pieces.
const SKETCH: usize = 256;
/// Bars that two pieces must share at least: a riff makes no piece.
const SHARED_BARS: usize = 8;
/// Earlier pieces that a bar leads to. One that more have says little.
const PIECES_OF_A_BAR: usize = 32;

/// The smallest hashes of a piece's bars, ascending, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch(Vec<u32>);

impl Sketch {
    /// Of the pitched notes of a quantized score: their starts in ticks and pitches, ascending.
    pub fn new(score: &Score, notes: &[(u32, u8)]) -> Self {
        let mut ahead = notes;
        let mut hashes = Vec::new();
        for bar in score.bars() {
            let inside = ahead.iter().take_while(|(start, _)| *start < bar.end.0);
            let (inside, after) = ahead.split_at(inside.count());
            ahead = after;
            match inside.first() {
                Some(&(_, low)) if inside.len() >= NOTES_OF_A_BAR => {
                    let seen = inside
                        .iter()
                        .map(|&(start, pitch)| (start - bar.start.0, pitch.wrapping_sub(low)));
                    hashes.push(hash(seen));
                }
                _ => {}
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        hashes.truncate(SKETCH);
        Self(hashes)
    }

    /// The memory that it holds.
    pub fn bytes(&self) -> usize {
        4 * self.0.capacity()
    }
}

/// FNV-1a (Fowler, Noll and Vo 1991) over starts and pitches, the upper half of it.
fn hash(notes: impl Iterator<Item = (u32, u8)>) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for (start, pitch) in notes {
        let [a, b, ..] = start.to_le_bytes();
        for byte in [a, b, pitch] {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    (hash >> 32) as u32
}

/// A bar of a piece that came.
struct Entry {
    hash: u32,
    piece: u32,
    /// The entry of the same hash before it.
    before: Option<u32>,
}

/// The sketches of pieces that come one by one.
#[derive(Default)]
pub struct Index {
    /// By piece, and ascending in each.
    entries: Vec<Entry>,
    /// Where each piece's entries end.
    ends: Vec<u32>,
    /// The last entry of each hash.
    last: HashMap<u32, u32>,
}

impl Index {
    /// Takes the next piece; says which earlier ones are near duplicates of it. Pieces are counted
    /// as they come.
    pub fn push(&mut self, sketch: &Sketch) -> Vec<u32> {
        let near = self.near(sketch);
        let piece = self.ends.len() as u32;
        for &hash in &sketch.0 {
            let entry = self.entries.len() as u32;
            let before = self.last.insert(hash, entry);
            self.entries.push(Entry {
                hash,
                piece,
                before,
            });
        }
        self.ends.push(self.entries.len() as u32);
        near
    }

    /// The earlier pieces that share most bars with `sketch`.
    fn near(&self, sketch: &Sketch) -> Vec<u32> {
        if sketch.0.len() < SHARED_BARS {
            return Vec::new();
        }
        let mut shared: HashMap<u32, usize> = HashMap::new();
        for hash in &sketch.0 {
            let mut next = self.last.get(hash).copied();
            for _ in 0..PIECES_OF_A_BAR {
                let Some(entry) = next.and_then(|i| self.entries.get(i as usize)) else {
                    break;
                };
                *shared.entry(entry.piece).or_default() += 1;
                next = entry.before;
            }
        }
        let mut near: Vec<u32> = shared
            .into_iter()
            .filter(|&(_, bars)| bars >= SHARED_BARS / 2)
            .map(|(piece, _)| piece)
            .filter(|&piece| contained(&sketch.0, &self.hashes(piece)))
            .collect();
        near.sort_unstable();
        near
    }

    fn hashes(&self, piece: u32) -> Vec<u32> {
        let end = |piece: usize| self.ends[piece] as usize;
        let start = (piece as usize).checked_sub(1).map_or(0, end);
        let entries = &self.entries[start..end(piece as usize)];
        entries.iter().map(|entry| entry.hash).collect()
    }
}

/// Whether most of the smaller one is in the other, as far as both sketches reach.
fn contained(a: &[u32], b: &[u32]) -> bool {
    let reach = |sketch: &[u32]| match sketch.last() {
        Some(&last) if sketch.len() == SKETCH => last,
        _ => u32::MAX,
    };
    let reach = reach(a).min(reach(b));
    let within = |sketch: &[u32]| sketch.partition_point(|&hash| hash <= reach);
    let (a, b) = (&a[..within(a)], &b[..within(b)]);
    let shared = a
        .iter()
        .filter(|hash| b.binary_search(hash).is_ok())
        .count();
    shared >= SHARED_BARS && 2 * shared > a.len().min(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sketch of a piece of these bars.
    fn sketch(bars: impl IntoIterator<Item = u32>) -> Sketch {
        // Spread like hashes: the multiplier is odd, so that no two fall together.
        let spread = |bar: u32| bar.wrapping_mul(0x9e37_79b1);
        let mut hashes: Vec<u32> = bars.into_iter().map(spread).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.truncate(SKETCH);
        Sketch(hashes)
    }

    #[test]
    fn pieces_are_near_where_most_of_the_smaller_one_is_shared() {
        for (other, near) in [
            (0..40, true),
            (15..40, true),
            (20..60, false),
            (19..59, true),
            (30..46, true),
            (33..41, false),
            (32..40, true),
            (32..48, false),
            (30..300, false),
            (10..300, true),
        ] {
            for (first, second) in [(0..40, other.clone()), (other.clone(), 0..40)] {
                let mut index = Index::default();
                assert!(index.push(&sketch(500_000..500_040)).is_empty());
                assert!(index.push(&sketch(first)).is_empty());
                let found = index.push(&sketch(second));
                assert_eq!(found, if near { vec![1] } else { vec![] }, "{other:?}");
            }
        }
    }

    #[test]
    fn sketches_of_long_pieces_are_compared_as_far_as_they_reach() {
        for (other, near) in [(0..3000, true), (1000..4000, true), (2000..5000, false)] {
            let mut index = Index::default();
            index.push(&sketch(0..3000));
            let found = index.push(&sketch(other.clone()));
            assert_eq!(!found.is_empty(), near, "{other:?}");
        }
    }

    #[test]
    fn a_bar_that_all_have_joins_none() {
        let mut index = Index::default();
        for piece in 0..200 {
            let own = 1000 * (piece + 1)..1000 * (piece + 1) + 12;
            let found = index.push(&sketch((0..10).chain(own)));
            assert!(found.is_empty(), "{piece}");
        }
    }
}
