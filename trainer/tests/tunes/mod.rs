//! Tunes that tests write as MIDI files and build data sets from.

// Each test takes what it needs.
#![allow(dead_code, reason = "each test has a module of its own of this")]

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use famam_shared::instrument::Instrument;
use famam_shared::midi;
use famam_shared::score::{Metre, Note, Score, Tempo, Ticks, Track};
use famam_trainer::build::build;
use famam_trainer::build::summary::Summary;
use famam_trainer::config::dataset::{Config, EncoderType};
use famam_trainer::dataset::{Dataset, Piece};

/// Numbers that look random, the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) % u64::from(limit)) as u32
    }
}

/// A tune that `seed` decides: drums, bass and a lead over some bars.
pub fn tune(seed: u64, bars: u32) -> Score {
    let mut numbers = Numbers(seed);
    let part = |numbers: &mut Numbers, index: u8, low: u8| {
        let mut notes: Vec<Note> = (0..bars * 4)
            .map(|beat| Note {
                start: Ticks(beat * 960 + 240 * numbers.below(3)),
                pitch: low + numbers.below(24) as u8,
                duration: Ticks(240 + 120 * numbers.below(8)),
                velocity: 40 + numbers.below(80) as u8,
            })
            .collect();
        notes.sort_unstable();
        let instrument = Instrument::new(index).unwrap();
        Track {
            instrument,
            name: String::new(),
            notes,
        }
    };
    let tracks = vec![
        part(&mut numbers, 128, 35),
        part(&mut numbers, 33, 30),
        part(&mut numbers, 80, 60),
    ];
    Score {
        tracks,
        tempos: vec![Tempo {
            at: Ticks(0),
            micros_per_quarter: 400_000,
        }],
        metres: vec![Metre::COMMON],
        end: Ticks(bars * 3840),
        ..Score::default()
    }
}

/// All but the drums, higher.
pub fn transposed(mut score: Score, semitones: u8) -> Score {
    for track in score
        .tracks
        .iter_mut()
        .filter(|track| !track.instrument.is_drums())
    {
        track
            .notes
            .iter_mut()
            .for_each(|note| note.pitch += semitones);
    }
    score
}

/// Writes `score` as a MIDI file below `folder`.
pub fn put(folder: &Path, name: &str, score: &Score) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    midi::write_file(path, score).unwrap();
}

/// What builds all that is in `input`.
pub fn config(input: &Path, output: &Path) -> Config {
    Config {
        input_dirs: vec![input.display().to_string()],
        output_path: output.display().to_string(),
        encoder_type: EncoderType::Multitrack,
        verbose: false,
        ..Config::default()
    }
}

/// What builds all of the music at hand into `folder`, where `FAMAM_DATA` says where the music is.
pub fn corpus(folder: &Path) -> Option<Config> {
    let Some(data) = std::env::var_os("FAMAM_DATA") else {
        eprintln!("skipped: FAMAM_DATA is not set");
        return None;
    };
    Some(Config {
        max_tracks: 64,
        ..config(&Path::new(&data).join("train"), &folder.join("set.h5"))
    })
}

/// The data set that `config` describes.
pub fn built(config: &Config) -> (Summary, Dataset) {
    let summary = build(config, 2, &AtomicBool::new(false)).unwrap();
    (summary, Dataset::open(config.output_path.as_ref()).unwrap())
}

/// All pieces of a data set.
pub fn pieces(data_set: &Dataset) -> Vec<Piece> {
    (0..data_set.len())
        .map(|i| data_set.piece(i).unwrap())
        .collect()
}
