//! `build` over folders of MIDI files that the tests write themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::atomic::AtomicBool;

use famam_shared::encoding::{BarState, Conditioning};
use famam_shared::instrument::Instrument;
use famam_shared::midi;
use famam_shared::quantize::quantize;
use famam_shared::score::{Score, Track};
use famam_trainer::build::prepare::Reason;
use famam_trainer::build::{Error, build};
use famam_trainer::config::dataset::{
    ClassName, Config, DropDuplicates, EncoderType, GenreFrom, MergeClasses,
};
use famam_trainer::dataset::{Dataset, Piece, Split};

use tunes::{built, config, corpus, pieces, put, transposed, tune};

mod tunes;

/// The music at hand, where `FAMAM_DATA` says where it is.
#[test]
fn the_corpus_is_built_whole() {
    let folder = tempfile::tempdir().unwrap();
    let Some(config) = corpus(folder.path()) else {
        return;
    };
    let (summary, data_set) = built(&config);
    assert_eq!((summary.found, summary.used), (4545, 4545));
    // 2,408 by the table, of which thirteen are of the music of another.
    let songs: usize = summary.songs.iter().sum();
    assert_eq!(songs, 2395);
    assert_eq!(summary.genres.len(), 26, "any and 25");
    let mut splits: HashMap<String, Split> = HashMap::new();
    let mut notes = 0;
    for piece in pieces(&data_set) {
        assert_eq!(
            *splits.entry(piece.song).or_insert(piece.split),
            piece.split
        );
        notes += u64::from(piece.notes);
    }
    assert_eq!(splits.len(), songs);
    assert_eq!(notes, summary.losses.notes);
}

#[test]
fn every_piece_is_its_quantized_file() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for i in 0..40 {
        put(
            &input,
            &format!("band/source-{i}.mid"),
            &tune(i, 3 + i as u32 % 5),
        );
    }
    let (summary, data_set) = built(&config(&input, &folder.path().join("set.h5")));
    assert_eq!((summary.found, summary.used, data_set.len()), (40, 40, 40));
    let encoding = data_set
        .encoding()
        .build(data_set.vocabulary().genres.len())
        .unwrap();
    for piece in pieces(&data_set) {
        let read = midi::read_file(input.join(&piece.name)).unwrap();
        let (quantized, _) = quantize(&read, encoding.quantize_settings());
        assert_eq!(
            encoding.encode(&quantized),
            std::slice::from_ref(&piece.body)
        );
        assert_eq!(piece.notes as usize, read.note_count());
        assert_eq!(piece.source, "source");
        let instruments: Vec<u8> = piece
            .body
            .instruments
            .iter()
            .map(Instrument::index)
            .collect();
        assert_eq!(instruments, [33, 80, 128]);
        let mut stream = encoding.head(&Conditioning::default());
        stream.extend(&piece.body.tokens);
        assert_eq!(encoding.decode(&stream).unwrap(), quantized);
        let BarState { metre, tempo } = piece.body.states[0];
        assert_eq!(
            piece.body.tokens[..3],
            [encoding.special().bar, metre, tempo]
        );
    }
    let sum = |count: fn(&Piece) -> usize| pieces(&data_set).iter().map(count).sum::<usize>();
    assert_eq!(summary.tokens, sum(|piece| piece.body.tokens.len()));
    assert_eq!(summary.bars, sum(|piece| piece.body.bars.len()));
    assert_eq!(
        summary.losses.notes as usize,
        sum(|piece| piece.notes as usize)
    );
}

/// A piece for each part, which says its instrument and its notes, and a song for each file; with
/// velocities and without.
#[test]
fn monophonic_data_sets_have_a_piece_for_each_track() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for i in 0..6 {
        put(&input, &format!("a/{i}.mid"), &tune(i, 5 + i as u32));
    }
    // The same tune in another file: of the same song, with all its parts.
    put(&input, "b/again.mid", &tune(0, 5));
    for (encoder_type, encode_velocity) in [
        (EncoderType::Remi, true),
        (EncoderType::Event, true),
        (EncoderType::Event, false),
    ] {
        let output = folder.path().join("set.h5");
        let (summary, data_set) = built(&Config {
            encoder_type,
            encode_velocity,
            validation_fraction: 0.4,
            ..config(&input, &output)
        });
        assert_eq!((summary.used, data_set.len()), (7, 21));
        let encoding = data_set.encoding().build(1).unwrap();
        let pieces = pieces(&data_set);
        for parts in pieces.chunks(3) {
            let read = midi::read_file(input.join(&parts[0].name)).unwrap();
            let (quantized, _) = quantize(&read, encoding.quantize_settings());
            let bodies = parts.iter().map(|part| part.body.clone());
            assert!(bodies.eq(encoding.encode(&quantized)));
            for (part, track) in std::iter::zip(parts, &quantized.tracks) {
                assert_eq!((&part.song, part.split), (&parts[0].song, parts[0].split));
                assert!(part.body.instruments.iter().eq([track.instrument]));
                let tracks = read.tracks.iter();
                let mut as_read = tracks.filter(|read| read.instrument == track.instrument);
                assert_eq!(part.notes as usize, as_read.next().unwrap().notes.len());
                let names = part.body.tokens.iter().map(|&token| encoding.kind(token));
                let velocities = names.filter(|&kind| kind == "velocity").count();
                assert_eq!(velocities > 0, encode_velocity);
                let loud = track.notes.iter().any(|note| note.velocity != 64);
                assert_eq!(loud, encode_velocity);
            }
        }
        assert_eq!(pieces[0].song, pieces[18].song);
        assert_ne!(pieces[0].song, pieces[3].song);
        let notes: usize = pieces.iter().map(|piece| piece.notes as usize).sum();
        assert_eq!(summary.losses.notes as usize, notes);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    // Enough for arrays of several chunks.
    for i in 0..300 {
        put(
            &input,
            &format!("{}/x-{i}.mid", i % 7),
            &tune(i, 20 + i as u32 % 9),
        );
    }
    fs::write(input.join("broken.mid"), b"MThd and no more").unwrap();
    let output = folder.path().join("set.h5");
    let plain = config(&input, &output);
    let all = Config {
        subset: Some(0.9),
        allowed_classes: Some(vec![ClassName::Number(16), ClassName::Number(10)]),
        min_beats: Some(4.0),
        merge_classes: MergeClasses::All(true),
        trim_silence: true,
        drop_duplicates: DropDuplicates::Near,
        validation_fraction: 0.2,
        ..plain.clone()
    };
    for config in [&all, &plain] {
        let mut files = BTreeSet::new();
        for threads in [1, 2, 5, 16] {
            let summary = build(config, threads, &AtomicBool::new(false)).unwrap();
            assert!(summary.tokens > 1 << 16, "{}", summary.tokens);
            files.insert(fs::read(&output).unwrap());
        }
        assert_eq!(files.len(), 1);
    }
    let names: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(
        names.len(),
        2,
        "nothing stays beside the data set: {names:?}"
    );
    // Several chunks are read back as they were written.
    let data_set = Dataset::open(&output).unwrap();
    let encoding = data_set
        .encoding()
        .build(data_set.vocabulary().genres.len())
        .unwrap();
    for piece in pieces(&data_set) {
        let read = midi::read_file(input.join(&piece.name)).unwrap();
        let (quantized, _) = quantize(&read, encoding.quantize_settings());
        assert_eq!(encoding.encode(&quantized), [piece.body]);
    }
}

#[test]
fn files_are_left_out_for_counted_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    put(&input, "good.mid", &tune(1, 8));
    put(&input, "empty.mid", &Score::default());
    put(&input, "short.mid", &tune(2, 1));
    put(&input, "long.mid", &tune(3, 60));
    let mut few = tune(4, 8);
    few.tracks[1].notes.truncate(3);
    put(&input, "few.mid", &few);
    let mut solo = tune(5, 8);
    solo.tracks.truncate(1);
    put(&input, "solo.mid", &solo);
    let mut many = tune(6, 8);
    let lead = many.tracks[2].clone();
    many.tracks.extend((0..4).map(|i| Track {
        instrument: Instrument::new(i).unwrap(),
        ..lead.clone()
    }));
    put(&input, "many.mid", &many);
    fs::write(input.join("broken.mid"), b"no MIDI").unwrap();
    let config = Config {
        min_tracks: 2,
        max_tracks: 6,
        min_notes_per_track: 10,
        min_duration_seconds: Some(5.0),
        max_duration_seconds: Some(60.0),
        // The last notes of a tune may be few.
        ..config(&input, &folder.path().join("set.h5"))
    };
    let mut short = config.clone();
    short.min_notes_per_track = 1;
    let (summary, data_set) = built(&short);
    assert_eq!(data_set.len(), 2, "good and few");
    assert_eq!(
        summary.left_out,
        BTreeMap::from([
            (Reason::Unreadable, 1),
            (Reason::NoNotes, 1),
            (Reason::TooFewTracks, 1),
            (Reason::TooManyTracks, 1),
            (Reason::TooShort, 1),
            (Reason::TooLong, 1),
        ])
    );
    let (summary, data_set) = built(&config);
    assert_eq!(pieces(&data_set)[0].name, "good.mid");
    // The filters act in Famam's order: a short file may have few notes first.
    assert_eq!(summary.left_out[&Reason::TooFewNotes], 2);
    let text = summary.to_string();
    assert!(text.contains("8 found, 1 used"), "{text}");
    assert!(text.contains("1 left out: cannot be read"), "{text}");
}

#[test]
fn a_song_is_in_one_split_by_table_name_content_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    let mut table = String::new();
    for i in 0..60 {
        let score = tune(i, 8);
        // Versions by name, copies by content, and in another key, under other names.
        put(&input, &format!("artist/song{i}x.1.mid"), &score);
        put(
            &input,
            &format!("artist/song{i}x.2.mid"),
            &tune(1000 + i, 8),
        );
        put(&input, &format!("copies/{i}.mid"), &score);
        put(&input, &format!("keys/k{i}.mid"), &transposed(score, 3));
        // Of one song by the table alone.
        put(&input, &format!("table/t{i}.mid"), &tune(2000 + i, 8));
        table += &format!("table/t{i}.mid\tsong {}\n", i / 4);
    }
    fs::write(input.join("song.tsv"), table).unwrap();
    let config = Config {
        validation_fraction: 0.2,
        test_fraction: 0.1,
        random_seed: Some(7),
        ..config(&input, &folder.path().join("set.h5"))
    };
    let (summary, data_set) = built(&config);
    assert_eq!(summary.songs, [52, 15, 8], "75 songs");
    let mut songs: HashMap<String, (Split, usize)> = HashMap::new();
    let all = pieces(&data_set);
    for piece in &all {
        let (split, count) = songs.entry(piece.song.clone()).or_insert((piece.split, 0));
        assert_eq!(*split, piece.split, "{}", piece.song);
        *count += 1;
    }
    assert!(songs.values().all(|(_, count)| *count == 4), "{songs:?}");
    let of = |name: &str| {
        all.iter()
            .find(|piece| piece.name == name)
            .unwrap()
            .song
            .clone()
    };
    assert_eq!(of("artist/song5x.2.mid"), of("keys/k5.mid"));
    assert_eq!(of("copies/5.mid"), of("keys/k5.mid"));
    assert_eq!(of("table/t4.mid"), "song 1");
    let in_splits: usize = Split::ALL
        .iter()
        .map(|&split| data_set.pieces(split).len())
        .sum();
    assert_eq!(in_splits, data_set.len());
}

#[test]
fn genres_come_from_tables_or_folders() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for (i, name) in ["rock/a.mid", "rock/b.mid", "ABBA/Waterloo.2.mid", "x/c.mid"]
        .iter()
        .enumerate()
    {
        put(&input, name, &tune(i as u64, 4));
    }
    fs::write(
        input.join("genre.tsv"),
        "rock/a.mid\trock\nABBA/Waterloo\tPop\n",
    )
    .unwrap();
    let output = folder.path().join("set.h5");
    let genres = |config: &Config| {
        let (_, data_set) = built(config);
        let named = |piece: Piece| {
            (
                piece.name,
                data_set.vocabulary().genres[usize::from(piece.genre)].clone(),
            )
        };
        pieces(&data_set)
            .into_iter()
            .map(named)
            .collect::<BTreeMap<_, _>>()
    };
    let said = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let config = config(&input, &output);
    let (a, b, w, c) = ("rock/a.mid", "rock/b.mid", "ABBA/Waterloo.2.mid", "x/c.mid");
    assert_eq!(
        genres(&config),
        said(&[(a, "rock"), (b, "any"), (w, "Pop"), (c, "any")])
    );
    let folders = Config {
        genre_from: GenreFrom::Folder,
        ..config.clone()
    };
    assert_eq!(
        genres(&folders),
        said(&[(a, "rock"), (b, "rock"), (w, "Pop"), (c, "x")])
    );
    let allowed = Config {
        allowed_genres: Some(vec!["pop".to_owned()]),
        ..config.clone()
    };
    assert_eq!(genres(&allowed), said(&[(w, "Pop")]));
    let own = folder.path().join("own.tsv");
    fs::write(&own, "x/c.mid\tjazz\nrock/a.mid\tmetal\n").unwrap();
    let own = Config {
        genre_tsv_path: Some(own.display().to_string()),
        ..config
    };
    assert_eq!(
        genres(&own),
        said(&[(a, "metal"), (b, "any"), (w, "Pop"), (c, "jazz")])
    );
}

#[test]
fn a_coarser_grid_of_the_config_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    put(&input, "a.mid", &tune(1, 8));
    // Eighths: 12 of 24 ticks.
    let config = Config {
        quantize_grid: 12,
        ..config(&input, &folder.path().join("set.h5"))
    };
    let (_, data_set) = built(&config);
    let encoding = data_set
        .encoding()
        .build(data_set.vocabulary().genres.len())
        .unwrap();
    let mut stream = encoding.head(&Conditioning::default());
    stream.extend(pieces(&data_set)[0].body.tokens.iter());
    let score = encoding.decode(&stream).unwrap();
    let starts = score
        .tracks
        .iter()
        .flat_map(|track| &track.notes)
        .map(|note| note.start.0);
    assert!(starts.clone().count() > 50);
    assert!(starts.into_iter().all(|start| start % 480 == 0));
}

#[test]
fn what_fails_leaves_the_old_data_set_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    put(&input, "a.mid", &tune(1, 8));
    let output = folder.path().join("sets/set.h5");
    let config = config(&input, &output);
    built(&config);
    let before = fs::read(&output).unwrap();
    let stopped = build(&config, 2, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(Error::Stopped)));
    let nothing = Config {
        min_tracks: 9,
        ..config.clone()
    };
    let nothing = build(&nothing, 2, &AtomicBool::new(false));
    let message = nothing.unwrap_err().to_string();
    assert!(
        message.contains("fewer tracks than min_tracks"),
        "{message}"
    );
    let none = Config {
        input_dirs: vec![folder.path().join("sets").display().to_string()],
        ..config.clone()
    };
    assert!(matches!(
        build(&none, 2, &AtomicBool::new(false)),
        Err(Error::NoFiles(_))
    ));
    let missing = Config {
        input_dirs: vec!["/no/such/folder".to_owned()],
        ..config
    };
    let message = build(&missing, 2, &AtomicBool::new(false))
        .unwrap_err()
        .to_string();
    assert!(message.contains("/no/such/folder"), "{message}");
    assert_eq!(fs::read(&output).unwrap(), before);
    assert_eq!(folder.path().join("sets").read_dir().unwrap().count(), 1);
}
