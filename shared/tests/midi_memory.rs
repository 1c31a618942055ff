//! No file makes the reader take more than 100 MB, the file's own bytes included. One test in its
//! own process, since it counts what the whole process allocates.

mod midi_bytes;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use famam_shared::midi;
use midi_bytes::{END, chunk, file};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(taken: usize, given: usize) {
    let now = NOW.fetch_add(taken, Ordering::Relaxed) + taken;
    PEAK.fetch_max(now, Ordering::Relaxed);
    NOW.fetch_sub(given, Ordering::Relaxed);
}

// SAFETY: everything is the system allocator's; counting touches atomics only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new live together while the bytes are moved.
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `events` over and over, in one chunk of about `size` bytes.
fn filled(size: usize, first: &[u8], events: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut all = first.to_vec();
    let mut i = 0;
    while all.len() < size {
        all.extend(events(i));
        i += 1;
    }
    chunk(&all)
}

#[test]
fn no_file_takes_more_than_100_mb() {
    const SMALL: usize = 4 << 20;
    const LARGE: usize = midi::MAX_FILE_BYTES as usize - 64;
    let key = |i: usize| (i % 128) as u8;
    let notes = |_: usize| vec![0, 60, 1];
    let pairs = |i: usize| vec![1, key(i), 1, 0, key(i), 0];
    let tempos = |i: usize| vec![1, 0xFF, 0x51, 3, 1, 2, key(i)];
    let metres = |i: usize| vec![1, 0xFF, 0x58, 4, 1 + key(i), 2, 24, 8];
    let programs = |i: usize| vec![1, 0xC0, key(i), 0, 0x90, 60, 1];
    // Tracks of one short note each, all of the longest name.
    let name = [&[0, 0xFF, 3, 0x82, 0][..], &[b'n'; 256]].concat();
    let named = chunk(&[&name[..], &[0, 0x90, 60, 1]].concat());
    let tiny = chunk(&[0, 0x90, 60, 1]);
    let mixed = [
        filled(LARGE / 2, &[0, 0x90, 60, 1], notes),
        filled(LARGE / 8, &[], tempos),
        filled(LARGE / 8, &[], metres),
        filled(LARGE / 8, &[], programs),
    ];
    // Notes to the limit, divided by programs that another track sets in turn.
    let shared = [
        filled(3 * midi::MAX_NOTES - 64, &[0, 0x90, 60, 1], |_| {
            vec![1, 60, 1]
        }),
        filled(3 * midi::MAX_CHANGES - 64, &[], |i| {
            vec![8, 0xC0, key(i % 2)]
        }),
    ];
    let mut claims = file(1, 960, &[chunk(&[0, 0x90, 60, 1])]);
    claims[18..22].copy_from_slice(&u32::MAX.to_be_bytes());
    claims.extend([0, 0xFF, 1, 0xFF, 0xFF, 0xFF, 0x7F, 0]);
    let files: [(&str, Vec<u8>); 13] = [
        (
            "4 MB of note-ons",
            file(1, 960, &[filled(SMALL, &[0, 0x90, 60, 1], notes)]),
        ),
        (
            "4 MB of notes",
            file(1, 960, &[filled(SMALL, &[0, 0x90, 60, 1], pairs)]),
        ),
        (
            "4 MB of programs",
            file(0, 960, &[filled(SMALL, &[], programs)]),
        ),
        (
            "16 MB of note-ons",
            file(1, 960, &[filled(LARGE, &[0, 0x90, 60, 1], notes)]),
        ),
        (
            "16 MB of notes",
            file(1, 960, &[filled(LARGE, &[0, 0x90, 60, 1], pairs)]),
        ),
        (
            "16 MB of tempos",
            file(1, 960, &[filled(LARGE, &[], tempos)]),
        ),
        (
            "16 MB of metres",
            file(1, 960, &[filled(LARGE, &[], metres)]),
        ),
        ("60,000 named tracks", file(1, 960, &vec![named; 60_000])),
        ("a million tracks", file(1, 960, &vec![tiny; 1_000_000])),
        ("a little of everything", file(1, 960, &mixed)),
        ("shared programs", file(1, 960, &shared)),
        ("16 MB of nothing", vec![b'M'; LARGE]),
        ("a chunk of 4 GB and a text of 256 MB", claims),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.mid");
    for (what, bytes) in files {
        std::fs::write(&path, &bytes).unwrap();
        assert!(bytes.len() as u64 <= midi::MAX_FILE_BYTES);
        drop(bytes);
        let started = std::time::Instant::now();
        let (peak, outcome) = measured(&path);
        println!(
            "{what}: {peak:.1} MB, {:.2} s: {outcome}",
            started.elapsed().as_secs_f64()
        );
        assert!(peak < 100.0, "{what} took {peak} MB");
    }
    assert!(midi::read(&file(1, 960, &[chunk(&END)])).is_ok());
    other_peoples_broken_files();
}

/// The most memory that reading a file took, MB, and what came of it.
fn measured(path: &Path) -> (f64, String) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = midi::read_file(path);
    let peak = (PEAK.load(Ordering::Relaxed) - before) as f64 / 1e6;
    let outcome = match &result {
        Ok(score) => {
            let (notes, tracks) = (score.note_count(), score.tracks.len());
            format!("{notes} notes, {tracks} tracks")
        }
        Err(error) => error.reason.to_string(),
    };
    (peak, outcome)
}

fn other_peoples_broken_files() {
    let Some(data) = std::env::var_os("FAMAM_DATA") else {
        println!("skipped: FAMAM_DATA names no folder with hard/");
        return;
    };
    let mut folders = vec![Path::new(&data).join("hard")];
    let (mut files, mut worst) = (0, 0.0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let (peak, outcome) = measured(&path);
                assert!(peak < 100.0, "{}: {peak} MB, {outcome}", path.display());
                files += 1;
                worst = f64::max(worst, peak);
            }
        }
    }
    println!("{files} files in hard/: {worst:.1} MB at most");
    assert!(files > 0, "FAMAM_DATA has no files in hard/");
}
