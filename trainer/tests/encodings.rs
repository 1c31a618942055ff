//! What the fields of a config ask of encodings, on files that the tests write themselves.

use std::path::Path;

use famam_shared::encoding::Conditioning;
use famam_shared::score::{Metre, Note, Score, Ticks};
use famam_trainer::build::prepare::Reason;
use famam_trainer::config::dataset::{Config, EncoderType};
use famam_trainer::dataset::Dataset;

use tunes::{built, config, pieces, put, tune};

mod tunes;

const ENCODERS: [EncoderType; 5] = [
    EncoderType::Multitrack,
    EncoderType::Mmm,
    EncoderType::Grid,
    EncoderType::Remi,
    EncoderType::Event,
];

/// The scores of all pieces.
fn decoded(data_set: &Dataset) -> Vec<Score> {
    let encoding = data_set.encoding().build(1).unwrap();
    let score = |piece: famam_trainer::dataset::Piece| {
        let given = Conditioning {
            genre: 0,
            instruments: Some(piece.body.instruments),
            ..Conditioning::default()
        };
        let (tokens, state) = (&piece.body.tokens, piece.body.states[0]);
        let stream = encoding.segment(&given, tokens, state, 0).unwrap();
        encoding.decode(&stream).unwrap()
    };
    pieces(data_set).into_iter().map(score).collect()
}

/// Files in another metre are left out and counted; of all others the metre is that of the config,
/// and the tempo 120.
#[test]
fn metres_and_tempos_that_are_not_said_are_those_of_the_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    let in_metre = |numerator| Score {
        metres: vec![Metre {
            numerator,
            ..Metre::COMMON
        }],
        ..tune(u64::from(numerator), 8)
    };
    put(&input, "common.mid", &tune(1, 8));
    put(&input, "waltz.mid", &in_metre(3));
    put(&input, "five.mid", &in_metre(5));
    for encoder_type in ENCODERS {
        let config = Config {
            encoder_type,
            encode_metre: false,
            encode_tempo: false,
            time_signature: (3, 4),
            ..config(&input, &folder.path().join("set.h5"))
        };
        let (summary, data_set) = built(&config);
        assert_eq!(summary.left_out, [(Reason::OtherMetre, 2)].into());
        assert!(
            summary
                .to_string()
                .contains("2 left out: another metre than time_signature")
        );
        for score in decoded(&data_set) {
            assert!(score.bars().all(|bar| bar.metre.bar() == Ticks(3 * 960)));
            assert_eq!(score.tempos.len(), 1);
            assert_eq!(score.tempos[0].micros_per_quarter, 500_000);
        }
    }
    let error = Config {
        encode_metre: false,
        time_signature: (9, 4),
        ..config(&input, &folder.path().join("set.h5"))
    };
    let error = famam_trainer::build::build(&error, 1, &false.into()).unwrap_err();
    assert!(
        error.to_string().contains("time_signature is 9/4"),
        "{error}"
    );
}

/// The notes of a file come back as they were: on the finest grid triplets and 1/32, on half of it all
/// but 1/32, up to four bars long.
#[test]
fn fine_grids_keep_triplets_apart_from_halves() {
    let folder = tempfile::tempdir().unwrap();
    for (positions, lengths) in [(96, &[320, 160, 120, 80][..]), (48, &[320, 160, 240, 80])] {
        let input = folder.path().join(positions.to_string());
        let mut score = tune(1, 8);
        let mut start = 0;
        let mut notes = Vec::new();
        for duration in lengths.iter().copied().chain([4 * 3840]) {
            notes.extend((0..12).map(|i| Note {
                start: Ticks(start + i * duration),
                pitch: 40 + i as u8,
                duration: Ticks(duration),
                velocity: 66,
            }));
            start = (start + 12 * duration).next_multiple_of(3840);
        }
        score.tracks.truncate(2);
        score.tracks[1].notes = notes.clone();
        score.end = Ticks(start);
        put(&input, "fine.mid", &score);
        for encoder_type in ENCODERS {
            let config = Config {
                encoder_type,
                positions_per_bar: positions,
                ..config(&input, &folder.path().join("set.h5"))
            };
            let (_, data_set) = built(&config);
            let tracks = decoded(&data_set)
                .into_iter()
                .flat_map(|score| score.tracks);
            let mut bass = tracks.filter(|track| !track.instrument.is_drums());
            assert_eq!(
                bass.next().unwrap().notes,
                notes,
                "{encoder_type:?}, {positions}"
            );
        }
    }
}

/// Those that come with Famam can be used as they are.
#[test]
fn every_config_in_the_repository_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/music_dataset");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut config = Config::read(&path).unwrap();
        if config.input_dirs.is_empty() {
            config.input_dirs.push("midi".to_owned());
        }
        config.check().unwrap();
        config.encoding().build(1).unwrap();
        count += 1;
    }
    assert!(count >= 7, "{count}");
}
