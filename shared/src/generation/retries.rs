//! Retries: a request again with other seeds, where what came is nearly empty or a copy.

use std::collections::BTreeSet;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::score::{Score, Ticks};

/// The score from which on a result is taken as it is: music in half of its bars, and half of its notes
/// its own.
pub const GOOD_ENOUGH: f32 = 0.5;

/// What is wrong with a result, if anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The share of its bars in which a note begins, 0 to 1.
    pub filled: f32,
    /// The share of its notes that the most alike of the others lacks: those which it has not of the
    /// same instrument, at the same time, with the same pitch. 1 where there is no other or no note.
    pub own: f32,
}

impl Verdict {
    /// Of the notes of `score` in `bars`, beside those of `others`.
    pub fn of(score: &Score, bars: &[Range<Ticks>], others: &[Score]) -> Self {
        let notes = |score: &Score| -> BTreeSet<_> {
            let tracks = score.tracks.iter();
            let notes = tracks.flat_map(|track| {
                let by = track.instrument;
                (track.notes.iter()).map(move |note| (note.start, by, note.pitch))
            });
            let asked = |start: Ticks| bars.iter().any(|bar| bar.contains(&start));
            notes.filter(|(start, ..)| asked(*start)).collect()
        };
        let played = notes(score);
        let begins = |bar: &&Range<Ticks>| played.iter().any(|(start, ..)| bar.contains(start));
        let filled = bars.iter().filter(begins).count();
        let shared = others.iter().map(|other| {
            let other = notes(other);
            played.intersection(&other).count()
        });
        let share = |part: usize, whole: usize| part as f32 / whole.max(1) as f32;
        Self {
            filled: share(filled, bars.len()),
            own: 1.0 - share(shared.max().unwrap_or(0), played.len()),
        }
    }

    /// The lesser of the two, 0 to 1.
    pub fn score(&self) -> f32 {
        self.filled.min(self.own)
    }
}

/// The best of several results.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried<T> {
    /// What was made.
    pub result: T,
    /// The seed that made it.
    pub seed: u64,
    /// What was said of it.
    pub verdict: Verdict,
    /// How often it was tried, once at least.
    pub attempts: u32,
}

/// Makes a result with `seed` and, as long as none is [`GOOD_ENOUGH`], up to `retries` more with seeds
/// that follow from it; returns that with the best score, the earliest of equals.
///
/// # Errors
/// What `make` fails by.
pub fn retry<T, E>(
    seed: u64,
    retries: u32,
    mut make: impl FnMut(u64) -> Result<T, E>,
    judge: impl Fn(&T) -> Verdict,
) -> Result<Tried<T>, E> {
    let mut attempt = |seed, attempts| {
        let result = make(seed)?;
        let verdict = judge(&result);
        Ok(Tried {
            result,
            seed,
            verdict,
            attempts,
        })
    };
    let mut best = attempt(seed, 1)?;
    let mut seeds = ChaCha8Rng::seed_from_u64(seed);
    // Bars have the streams below 2^32.
    seeds.set_stream(u64::MAX);
    for again in 0..retries {
        if best.verdict.score() >= GOOD_ENOUGH {
            break;
        }
        let next = attempt(seeds.next_u32().into(), again + 2)?;
        best.attempts = next.attempts;
        if next.verdict.score() > best.verdict.score() {
            best = next;
        }
    }
    Ok(best)
}
