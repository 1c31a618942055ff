//! MIDI files that the tests make: by hand, byte for byte, and at random.

#![allow(dead_code, reason = "each test file takes what it needs")]

use std::collections::BTreeSet;

use famam_shared::instrument::Instrument;
use famam_shared::score::{Key, Metre, Note, Score, Tempo, Ticks, Track};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The event that ends a track.
pub const END: [u8; 4] = [0, 0xFF, 0x2F, 0];

/// An MTrk chunk of `events`, which end with [`END`] if they are to.
pub fn chunk(events: &[u8]) -> Vec<u8> {
    let length = u32::try_from(events.len()).unwrap();
    [b"MTrk".as_slice(), &length.to_be_bytes(), events].concat()
}

/// A file of `chunks`.
pub fn file(format: u16, division: u16, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"MThd\0\0\0\x06".to_vec();
    for field in [format, chunks.len() as u16, division] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend(chunks.concat());
    bytes
}

/// A file of format 1 and 480 ticks a quarter, each of `tracks` ended.
pub fn parallel(tracks: &[&[u8]]) -> Vec<u8> {
    let chunks: Vec<_> = tracks
        .iter()
        .map(|events| chunk(&[*events, &END].concat()))
        .collect();
    file(1, 480, &chunks)
}

/// The score as it is read again after it was written: a track without a name has its instrument's.
pub fn named(mut score: Score) -> Score {
    for track in &mut score.tracks {
        if track.name.is_empty() {
            track.name = track.instrument.name().to_owned();
        }
    }
    score
}

/// A score as quantization gives them, and then some: parts in any order, any grid position, names
/// of all kinds, up to 15 pitched instruments and drums.
pub fn random_score(seed: u64) -> Score {
    const STEP: u32 = 120;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut instruments = BTreeSet::new();
    for _ in 0..rng.random_range(0..=15) {
        instruments.insert(rng.random_range(0..128));
    }
    let mut tracks: Vec<Track> = instruments
        .into_iter()
        .chain(rng.random_bool(0.5).then_some(128))
        .map(|instrument| random_track(&mut rng, Instrument::new(instrument).unwrap(), STEP))
        .collect();
    let turn = rng.random_range(0..tracks.len().max(1));
    tracks.rotate_left(turn);
    let mut places = |count: usize| -> BTreeSet<u32> {
        (0..rng.random_range(0..=count))
            .map(|_| rng.random_range(0..400) * STEP)
            .collect()
    };
    let (tempos, metres, keys) = (places(6), places(4), places(3));
    let last = tracks
        .iter()
        .flat_map(|track| &track.notes)
        .map(Note::end)
        .max();
    let changed = [&tempos, &metres, &keys]
        .into_iter()
        .flatten()
        .max()
        .copied();
    let end = last.unwrap_or_default().max(Ticks(changed.unwrap_or(0)));
    Score {
        tracks,
        tempos: tempos
            .into_iter()
            .map(|at| Tempo {
                at: Ticks(at),
                micros_per_quarter: rng.random_range(1..1 << 24),
            })
            .collect(),
        metres: metres
            .into_iter()
            .map(|at| Metre {
                at: Ticks(at),
                numerator: rng.random_range(1..=255),
                denominator: 1 << rng.random_range(0..8),
            })
            .collect(),
        keys: keys
            .into_iter()
            .map(|at| Key {
                at: Ticks(at),
                fifths: rng.random_range(-7..=7),
                minor: rng.random_bool(0.5),
            })
            .collect(),
        end: Ticks(end.0 + STEP * rng.random_range(0..64)),
    }
}

fn random_track(rng: &mut ChaCha8Rng, instrument: Instrument, step: u32) -> Track {
    let mut notes = Vec::new();
    for pitch in 0..128 {
        // Few pitches play, and on each a note may begin the moment that the last one ends.
        if !rng.random_bool(0.1) {
            continue;
        }
        let mut at = 0;
        for _ in 0..rng.random_range(1..12) {
            at += step * rng.random_range(0..32) * u32::from(rng.random_bool(0.5));
            let duration = step * rng.random_range(1..64);
            let velocity = rng.random_range(1..128);
            notes.push(Note {
                start: Ticks(at),
                pitch,
                duration: Ticks(duration),
                velocity,
            });
            at += duration;
        }
    }
    if notes.is_empty() {
        // A track without notes is none in a MIDI file.
        notes.push(Note {
            start: Ticks(0),
            pitch: 60,
            duration: Ticks(step),
            velocity: 64,
        });
    }
    notes.sort_unstable();
    let name = match rng.random_range(0..4) {
        0 => String::new(),
        1 => instrument.name().to_owned(),
        2 => "Großmutters Cembalo — 大正琴".to_owned(),
        _ => "x".repeat(rng.random_range(1..=256)),
    };
    Track {
        instrument,
        name,
        notes,
    }
}
