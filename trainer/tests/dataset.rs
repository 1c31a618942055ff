//! Data sets that were written by another version, damaged, or made to do harm.

use std::fs;
use std::path::Path;

use famam_shared::encoding::{Conditioning, Encoding, Spec, multitrack};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::quantize;
use famam_shared::score::{Note, Score, Ticks, Track};
use famam_shared::vocabulary::Vocabulary;
use famam_trainer::config::dataset::Config;
use famam_trainer::dataset::{Dataset, Error, Header, Piece, Split, write};

/// Bytes before the HDF5 part of a data set's file.
const USER_BLOCK: usize = 4096;

/// Numbers that look random, the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % limit
    }
}

fn header() -> Header {
    Header {
        vocabulary: Vocabulary::new(["rock".to_owned(), "jazz".to_owned()]),
        encoding: Spec::Multitrack(multitrack::Settings::default()),
        config: Config {
            name: "hostile".to_owned(),
            ..Config::default()
        },
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
        let score = Score {
            tracks: vec![track(128), track(30 + i)],
            ..Score::default()
        };
        let (score, losses) = quantize(&score, encoder.quantize_settings());
        let body = encoder.encode(&score).remove(0);
        Piece {
            genre: u16::from(i) % 3,
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
fn any_hdf5_tool_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    let pieces = small(&path);
    let file = hdf5::File::open(&path).unwrap();
    let tokens = file.dataset("tokens").unwrap().read_raw::<u16>().unwrap();
    let offsets = file
        .dataset("tokens_offsets")
        .unwrap()
        .read_raw::<u64>()
        .unwrap();
    let row = offsets[2] as usize..offsets[3] as usize;
    assert_eq!(tokens[row], pieces[2].body.tokens);
    let config = file.dataset("config").unwrap().read_raw::<u8>().unwrap();
    assert_eq!(
        serde_json::from_slice::<Config>(&config).unwrap(),
        header().config
    );
    assert_eq!(file.len(), 20);
}

/// Changes the directory of a data set.
fn edit(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap();
    let mut directory = serde_json::from_slice(&bytes[..end]).unwrap();
    change(&mut directory);
    let text = directory.to_string();
    bytes[..USER_BLOCK].fill(0);
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_newer_version_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    small(&path);
    edit(&path, |directory| {
        directory["version"] = 2.into();
        directory["what"] = "a later version says more".into();
    });
    let error = Dataset::open(&path).err().unwrap();
    assert!(matches!(error, Error::Newer { version: 2, .. }));
    assert!(
        error.to_string().contains("take a newer famam-trainer"),
        "{error}"
    );
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.h5");
    assert!(matches!(Dataset::open(&path), Err(Error::Io { .. })));
    for bytes in [
        &b""[..],
        b"no data set",
        b"{\"format\": \"another\", \"version\": 1}",
    ] {
        fs::write(&path, bytes).unwrap();
        let message = Dataset::open(&path).err().unwrap().to_string();
        assert!(message.contains("other.h5 is not a data set"), "{message}");
    }
    drop(hdf5::File::create(&path).unwrap());
    assert!(matches!(Dataset::open(&path), Err(Error::Damaged { .. })));
}

#[test]
fn arrays_that_cannot_be_are_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    for (field, value) in [
        ("length", 1_u64 << 40),
        ("length", u64::MAX),
        ("length", u64::MAX / 2 + 1),
        ("at", u64::MAX),
        ("at", 1 << 40),
    ] {
        small(&path);
        edit(&path, |directory| {
            directory["arrays"][3][field] = value.into()
        });
        let message = Dataset::open(&path).err().unwrap().to_string();
        assert!(
            message.contains("tokens is said to lie beyond the end"),
            "{message}"
        );
    }
    small(&path);
    edit(&path, |directory| {
        directory["arrays"][3]["type"] = "u8".into()
    });
    let message = Dataset::open(&path).err().unwrap().to_string();
    assert!(
        message.contains("tokens is of type u8 instead of u16"),
        "{message}"
    );
    small(&path);
    edit(&path, |directory| {
        directory["arrays"][3]["name"] = "others".into()
    });
    let message = Dataset::open(&path).err().unwrap().to_string();
    assert!(message.contains("it has no tokens"), "{message}");
}

/// Reads a data set as training would; whatever it holds, nothing may panic.
fn read_all(path: &Path) -> bool {
    let Ok(data_set) = Dataset::open(path) else {
        return false;
    };
    let encoder = data_set
        .encoding()
        .build(data_set.vocabulary().genres.len())
        .unwrap();
    for i in 0..data_set.len() {
        let Ok(piece) = data_set.piece(i) else {
            continue;
        };
        data_set.config().segments(piece.body.bars.len());
        let conditioning = Conditioning {
            genre: piece.genre,
            instruments: Some(piece.body.instruments),
            ..Conditioning::default()
        };
        for (&bar, &state) in std::iter::zip(&piece.body.bars, &piece.body.states) {
            let stream =
                encoder.segment(&conditioning, &piece.body.tokens[bar as usize..], state, 1);
            let _ = stream.map(|stream| encoder.decode(&stream));
        }
    }
    Split::ALL
        .iter()
        .for_each(|&split| drop(data_set.pieces(split)));
    true
}

/// Puts the right hash into a data set that was refused for its hash alone; whether it was.
fn mend(path: &Path) -> bool {
    let Err(Error::Damaged { what, .. }) = Dataset::open(path) else {
        return false;
    };
    let Some(hashes) = what.strip_prefix("its hash is ") else {
        return false;
    };
    let right = hashes.rsplit(' ').next().unwrap().to_owned();
    edit(path, |directory| directory["hash"] = right.into());
    true
}

fn mutate(bytes: &mut [u8], numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(4) {
        let at = numbers.below(bytes.len());
        match numbers.below(4) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = 0xff,
            2 => bytes[at] = numbers.below(256) as u8,
            _ => {
                let end = (at + 8).min(bytes.len());
                bytes[at..end].fill([0, 0x7f, 0xff][numbers.below(3)]);
            }
        }
    }
}

#[test]
fn mutations_and_truncations_give_an_error_or_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    small(&path);
    let sound = fs::read(&path).unwrap();
    let mut numbers = Numbers(1);
    let (mut broken, mut mended, mut opened) = (0, 0, 0);
    for i in 0..2000 {
        let mut hostile = sound.clone();
        // A third of them in the directory, whose bytes are few.
        let part = if i % 3 == 0 { 1500 } else { hostile.len() };
        mutate(&mut hostile[..part], &mut numbers);
        fs::write(&path, hostile).unwrap();
        broken += usize::from(!read_all(&path));
        if mend(&path) {
            mended += 1;
            opened += usize::from(read_all(&path));
        }
    }
    println!("{broken} refused, {mended} mended, {opened} of those opened");
    assert!(
        broken > 1000 && mended > 250 && opened > 100,
        "{broken} {mended} {opened}"
    );
    for _ in 0..200 {
        let length = numbers.below(sound.len());
        fs::write(&path, &sound[..length]).unwrap();
        assert!(!read_all(&path), "{length} bytes");
        if length > USER_BLOCK {
            edit(&path, |directory| directory["bytes"] = length.into());
            read_all(&path);
        }
    }
}

/// Arrays with wrong values in the places that matter, and a right hash.
#[test]
fn wrong_values_under_a_right_hash_give_an_error_or_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.h5");
    small(&path);
    let sound = fs::read(&path).unwrap();
    let end = sound.iter().position(|&byte| byte == 0).unwrap();
    let directory: serde_json::Value = serde_json::from_slice(&sound[..end]).unwrap();
    let arrays = directory["arrays"].as_array().unwrap();
    let mut numbers = Numbers(2);
    let (mut mended, mut opened) = (0, 0);
    for _ in 0..1000 {
        let mut hostile = sound.clone();
        let array = &arrays[numbers.below(arrays.len())];
        let kind = array["type"].as_str().unwrap();
        let size = kind[1..].parse::<usize>().unwrap() / 8;
        let length = array["length"].as_u64().unwrap() as usize;
        let at = array["at"].as_u64().unwrap() as usize + size * numbers.below(length);
        let value = [0, 1, 2, 3, 7, 0xff, 0xffff, u64::MAX, 1 << 40][numbers.below(9)];
        hostile[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        fs::write(&path, hostile).unwrap();
        mended += usize::from(mend(&path));
        opened += usize::from(read_all(&path));
    }
    println!("{mended} mended, {opened} opened");
    assert!(mended > 300 && opened > 300, "{mended} {opened}");
}
