//! Data sets that were written by another version, damaged, or made to do harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use famam_shared::encoding::{Conditioning, Encoding, Spec, multitrack};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::quantize;
use famam_shared::score::{Note, Score, Ticks, Track};
use famam_shared::vocabulary::Vocabulary;
use famam_trainer::config::dataset::Config;
use famam_trainer::dataset::{Dataset, Error, Header, Piece, Split, write};

/// Set for a test process that reads hostile files: the folder that they are in.
const CHILD_FOLDER: &str = "FAMAM_TEST_HOSTILE_FOLDER";
/// A file that takes longer than this is a hang.
const PATIENCE: Duration = Duration::from_secs(20);

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % limit
    }
}

fn header() -> Header {
    Header {
        vocabulary: Vocabulary::new(["rock".to_owned(), "jazz".to_owned()]),
        encoding: Spec::Multitrack(multitrack::Settings::default()),
        config: Config { name: "hostile".to_owned(), ..Config::default() },
    }
}

fn encoder() -> Box<dyn Encoding> {
    header().encoding.build(3).unwrap()
}

/// A small, sound data set.
fn small(path: &Path) -> Vec<Piece> {
    let encoder = encoder();
    let piece = |i: u8| {
        let note = |beat: u32| Note {
            start: Ticks(beat * 960),
            pitch: 40 + i + beat as u8,
            duration: Ticks(960),
            velocity: 64,
        };
        let track = |index| Track {
            instrument: Instrument::new(index).unwrap(),
            name: String::new(),
            notes: (0..20).map(note).collect(),
        };
        let score = Score { tracks: vec![track(128), track(30 + i)], ..Score::default() };
        let (score, losses) = quantize(&score, encoder.quantize_settings());
        let body = encoder.encode(&score).remove(0);
        Piece {
            genre: u16::from(i) % 3,
            instruments: encoder.instruments(&body.tokens),
            body,
            song: format!("song {}", i / 2),
            split: Split::ALL[usize::from(i / 2) % 3],
            notes: losses.notes as u32,
            source: "tests".to_owned(),
            name: format!("tests/prélude-{i}.mid"),
        }
    };
    let pieces: Vec<Piece> = (0..6).map(piece).collect();
    write(path, header(), &pieces).unwrap();
    pieces
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    let pieces = small(&path);
    let data_set = Dataset::open(&path).unwrap();
    assert_eq!(data_set.vocabulary(), &header().vocabulary);
    assert_eq!(data_set.encoding(), &header().encoding);
    assert_eq!(data_set.config(), &header().config);
    assert_eq!(data_set.len(), 6);
    for (i, piece) in pieces.iter().enumerate() {
        assert_eq!(&data_set.piece(i).unwrap(), piece);
    }
    assert_eq!(data_set.pieces(Split::Train), [0, 1]);
    assert_eq!(data_set.pieces(Split::Validation), [2, 3]);
    assert_eq!(data_set.pieces(Split::Test), [4, 5]);
    assert!(fs::metadata(&path).unwrap().len() < 50_000);
}

#[test]
fn no_pieces_are_a_data_set_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    write(&path, header(), &[]).unwrap();
    let data_set = Dataset::open(&path).unwrap();
    assert!(data_set.is_empty() && data_set.pieces(Split::Train).is_empty());
}

#[test]
fn the_hash_tells_data_sets_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    let hash = |pieces: &[Piece]| {
        write(&path, header(), pieces).unwrap();
        Dataset::open(&path).unwrap().hash().to_owned()
    };
    let mut pieces = small(&path);
    let first = hash(&pieces);
    assert_eq!(first, hash(&pieces));
    pieces[3].split = Split::Test;
    assert_ne!(first, hash(&pieces));
}

#[test]
fn a_newer_version_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    small(&path);
    let file = hdf5::File::open_rw(&path).unwrap();
    file.attr("version").unwrap().write_scalar(&2_u32).unwrap();
    file.close().unwrap();
    let error = Dataset::open(&path).err().unwrap();
    assert!(matches!(error, Error::Newer { version: 2, .. }));
    assert!(error.to_string().contains("take a newer famam-trainer"), "{error}");
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.h5");
    assert!(matches!(Dataset::open(&path), Err(Error::Io { .. })));
    fs::write(&path, b"no HDF5").unwrap();
    let message = Dataset::open(&path).err().unwrap().to_string();
    assert!(message.contains("other.h5") && message.contains("not a data set"), "{message}");
    drop(hdf5::File::create(&path).unwrap());
    let message = Dataset::open(&path).err().unwrap().to_string();
    assert!(message.contains("no attribute format"), "{message}");
}

#[test]
fn an_array_larger_than_its_file_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    small(&path);
    let file = hdf5::File::open_rw(&path).unwrap();
    file.unlink("tokens").unwrap();
    // A chunked array of which nothing is stored.
    let huge = file.new_dataset::<u16>().chunk(1024).shape(1 << 40);
    huge.create("tokens").unwrap();
    file.close().unwrap();
    let message = Dataset::open(&path).err().unwrap().to_string();
    assert!(message.contains("more than the file"), "{message}");
}

/// Reads a data set as training would; whatever it holds, nothing may panic.
fn read_all(path: &Path) -> bool {
    let Ok(data_set) = Dataset::open(path) else { return false };
    let encoder = data_set.encoding().build(data_set.vocabulary().genres.len()).unwrap();
    for i in 0..data_set.len() {
        let Ok(piece) = data_set.piece(i) else { continue };
        data_set.config().segments(piece.body.bars.len());
        let conditioning =
            Conditioning { genre: piece.genre, instruments: Some(piece.instruments) };
        for (&bar, &state) in std::iter::zip(&piece.body.bars, &piece.body.states) {
            let stream =
                encoder.segment(&conditioning, &piece.body.tokens[bar as usize..], state, 1);
            let _ = stream.map(|stream| encoder.decode(&stream));
        }
    }
    Split::ALL.iter().for_each(|&split| drop(data_set.pieces(split)));
    true
}

/// Not a test of its own: what the tests below run in a process that C code may take down.
#[test]
fn child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let folder = PathBuf::from(folder);
    for i in 0.. {
        let path = folder.join(format!("{i}.h5"));
        if !path.exists() {
            break;
        }
        if folder.join(format!("{i}.done")).exists() {
            continue;
        }
        fs::write(folder.join(format!("{i}.started")), b"").unwrap();
        let opened = read_all(&path);
        fs::write(folder.join(format!("{i}.done")), [u8::from(opened)]).unwrap();
    }
}

/// How a number of hostile files were taken.
#[derive(Debug, Default)]
struct Outcome {
    opened: usize,
    refused: usize,
    /// Files over which the process died or hung, with its last words.
    failed: Vec<(usize, String)>,
}

/// Reads files `0.h5`, `1.h5`, … in a child process, and another from the next on where one dies.
fn read_in_child(folder: &Path, files: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mark = |i: usize, kind: &str| folder.join(format!("{i}.{kind}"));
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--test-threads=1"])
            .env(CHILD_FOLDER, folder)
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("words")).unwrap())
            .spawn()
            .unwrap();
        let (mut done, mut since) = (0, Instant::now());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.to_string();
            }
            while mark(done, "done").exists() {
                (done, since) = (done + 1, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                break "hung".to_owned();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let stuck = (0..files).find(|&i| mark(i, "started").exists() && !mark(i, "done").exists());
        let Some(stuck) = stuck else { break };
        let words = fs::read_to_string(folder.join("words")).unwrap_or_default();
        outcome.failed.push((stuck, format!("{status} {words}")));
        fs::write(mark(stuck, "done"), [2]).unwrap();
    }
    for i in 0..files {
        match fs::read(mark(i, "done")).unwrap()[0] {
            0 => outcome.refused += 1,
            1 => outcome.opened += 1,
            _ => {}
        }
    }
    outcome
}

#[test]
fn mutations_and_truncations_give_an_error_or_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.h5");
    small(&sound);
    let bytes = fs::read(&sound).unwrap();
    let mut numbers = Numbers(1);
    let (mutations, truncations) = (2000, 200);
    for i in 0..mutations {
        let mut hostile = bytes.clone();
        for _ in 0..1 + numbers.below(4) {
            let at = numbers.below(hostile.len());
            match numbers.below(4) {
                0 => hostile[at] ^= 1 << numbers.below(8),
                1 => hostile[at] = 0xff,
                2 => hostile[at] = numbers.below(256) as u8,
                _ => {
                    let end = (at + 8).min(hostile.len());
                    hostile[at..end].fill([0, 0x7f, 0xff][numbers.below(3)]);
                }
            }
        }
        fs::write(folder.path().join(format!("{i}.h5")), hostile).unwrap();
    }
    for i in 0..truncations {
        let length = numbers.below(bytes.len());
        fs::write(folder.path().join(format!("{}.h5", mutations + i)), &bytes[..length]).unwrap();
    }
    let outcome = read_in_child(folder.path(), mutations + truncations);
    println!("opened {}, refused {}", outcome.opened, outcome.refused);
    assert!(outcome.failed.is_empty(), "{} failed: {:?}", outcome.failed.len(), outcome.failed);
    assert!(outcome.refused > truncations);
}

/// Arrays with wrong values and a right hash.
#[test]
fn wrong_values_under_a_right_hash_give_an_error_or_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.h5");
    small(&sound);
    let mut numbers = Numbers(2);
    let names = [
        "tokens", "tokens_offsets", "bars", "bars_offsets", "metres", "tempos", "instruments",
        "instruments_offsets", "genre", "notes", "source", "source_offsets", "name",
        "name_offsets", "song", "song_offsets", "split",
    ];
    let files = 500;
    let mut mended = 0;
    for i in 0..files {
        let path = folder.path().join(format!("{i}.h5"));
        fs::copy(&sound, &path).unwrap();
        let file = hdf5::File::open_rw(&path).unwrap();
        let array = file.dataset(names[numbers.below(names.len())]).unwrap();
        let at = numbers.below(array.size());
        let wide = [0, 1, 2, 3, 7, 0xff, 0xffff, u64::MAX, 1 << 40][numbers.below(9)];
        match array.dtype().unwrap().size() {
            1 => array.write_slice(&[wide as u8], at..at + 1).unwrap(),
            2 => array.write_slice(&[wide as u16], at..at + 1).unwrap(),
            4 => array.write_slice(&[wide as u32], at..at + 1).unwrap(),
            _ => array.write_slice(&[wide], at..at + 1).unwrap(),
        }
        file.close().unwrap();
        let Err(Error::Damaged { what, .. }) = Dataset::open(&path) else { continue };
        if let Some(right) = what.strip_prefix("its hash is ") {
            let right = right.rsplit(' ').next().unwrap();
            let file = hdf5::File::open_rw(&path).unwrap();
            let text: hdf5::types::VarLenUnicode = right.parse().unwrap();
            file.attr("hash").unwrap().write_scalar(&text).unwrap();
            file.close().unwrap();
            mended += 1;
        }
    }
    assert!(mended > files / 3, "{mended}");
    let outcome = read_in_child(folder.path(), files);
    println!("mended {mended}, opened {}, refused {}", outcome.opened, outcome.refused);
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.opened > 0 && outcome.refused > 0);
}
