//! Any bytes give a score or an error: never a panic, never a score that breaks its own rules.
//!
//! `FAMAM_DATA`, a folder with `hard/`, adds other people's broken files.

mod midi_bytes;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use famam_shared::midi;
use famam_shared::score::Score;
use midi_bytes::{END, chunk, file, named, random_score};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Reads `bytes`, holds the score to what its types promise, and writes and reads it again.
fn examine(bytes: &[u8]) -> Option<Score> {
    let score = midi::read(bytes).ok()?;
    for track in &score.tracks {
        assert!(track.notes.is_sorted() && !track.notes.is_empty());
        for note in &track.notes {
            assert!(note.pitch < 128 && (1..128).contains(&note.velocity));
            assert!(note.duration.0 > 0 && note.end() <= score.end);
        }
    }
    assert!(score.tempos.is_sorted_by(|a, b| a.at < b.at));
    assert!(score.metres.is_sorted_by(|a, b| a.at < b.at));
    assert!(score.keys.is_sorted_by(|a, b| a.at < b.at));
    assert!(
        score
            .tempos
            .iter()
            .all(|tempo| tempo.micros_per_quarter > 0)
    );
    assert!(score.metres.iter().all(|metre| metre.bar().0 > 0));
    // The very last tick may be one too far to be read again.
    if u64::from(score.end.0) <= midi::MAX_TICKS {
        let again = midi::read(&midi::write(&score));
        assert_eq!(again, Ok(named(score.clone())));
    }
    Some(score)
}

/// Ten good files: eight that Famam wrote, and two of other formats with events it never writes.
fn good_files() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = (0..8)
        .map(|seed| midi::write(&random_score(seed)))
        .collect();
    let events = [
        &[0, 0xFF, 3, 4][..],
        b"Band",
        &[
            0, 0xF0, 5, 0x7E, 0x7F, 9, 1, 0xF7, 0, 0xB0, 7, 100, 10, 64, 127, 0, 0xE0, 0, 64,
        ],
        &[
            0, 0xC0, 24, 0, 0x90, 60, 100, 0x83, 0x60, 0xC0, 30, 0, 0x90, 64, 90, 0, 0xA0, 64, 5,
        ],
        &[
            0, 0xFF, 5, 2, b'l', b'a', 0x81, 0, 0x80, 60, 0, 0, 0xD0, 9, 0, 0x99, 36, 80, 9, 36, 0,
        ],
        &END,
    ]
    .concat();
    files.push(file(0, 96, &[chunk(&events)]));
    files.push(file(2, 0xE728, &[chunk(&events), chunk(&events)]));
    files
}

#[test]
fn every_truncation_is_read_or_refused() {
    let mut read = 0;
    let mut all = 0;
    for bytes in good_files() {
        assert!(examine(&bytes).is_some());
        for length in 0..bytes.len() {
            all += 1;
            read += usize::from(examine(&bytes[..length]).is_some());
        }
    }
    println!("{read} of {all} truncated files gave a score");
}

#[test]
fn every_mutation_is_read_or_refused() {
    let count = 100_000;
    let files = good_files();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut read = 0;
    for i in 0..count {
        let mut bytes = files[i % files.len()].clone();
        for _ in 0..rng.random_range(1..=8) {
            mutate(&mut bytes, &mut rng);
        }
        read += usize::from(examine(&bytes).is_some());
    }
    println!("{read} of {count} mutated files gave a score");
    assert!(read > count / 10, "hardly a mutation gets past the header");
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    // Headers are few bytes among many: they get a share of their own.
    let near = if rng.random_bool(0.2) {
        bytes.len().min(40)
    } else {
        bytes.len()
    };
    let at = rng.random_range(0..near.max(1)).min(bytes.len());
    let to = (at + rng.random_range(1..64)).min(bytes.len());
    match rng.random_range(0..5) {
        0 if at < bytes.len() => bytes[at] = rng.random(),
        1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        2 => bytes.insert(at, rng.random()),
        3 => drop(bytes.drain(at..to)),
        _ => {
            let copy = bytes[at..to].to_vec();
            let place = rng.random_range(0..=bytes.len());
            bytes.splice(place..place, copy);
        }
    }
}

#[test]
fn noise_behind_a_header_is_read_or_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..2_000 {
        let events: Vec<u8> = (0..rng.random_range(0..400))
            .map(|_| rng.random())
            .collect();
        examine(&file(
            rng.random_range(0..3),
            rng.random(),
            &[chunk(&events), chunk(&events)],
        ));
    }
}

#[test]
fn other_peoples_broken_files_are_read_or_refused() {
    let Some(data) = env::var_os("FAMAM_DATA") else {
        println!("skipped: FAMAM_DATA names no folder with hard/");
        return;
    };
    let mut files = Vec::new();
    midi_files(&Path::new(&data).join("hard"), &mut files);
    assert!(!files.is_empty(), "FAMAM_DATA has no MIDI files in hard/");
    let (mut read, mut notes) = (0, 0);
    for path in &files {
        match examine(&fs::read(path).unwrap()) {
            Some(score) => (read, notes) = (read + 1, notes + score.note_count()),
            None => println!("{}", midi::read_file(path).unwrap_err()),
        }
    }
    println!(
        "{read} of {} hard files gave a score, {notes} notes",
        files.len()
    );
}

fn midi_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            midi_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "mid") {
            files.push(path);
        }
    }
}
