//! What `build` leaves out and changes, on files that the tests write themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use famam_shared::encoding::Conditioning;
use famam_shared::instrument::Instrument;
use famam_shared::score::{Metre, Score, Ticks};
use famam_trainer::batches::{Draw, Music, Purpose};
use famam_trainer::build::prepare::Reason;
use famam_trainer::config::dataset::{Config, GenreFrom, MergeClasses, SmallGenres};
use famam_trainer::config::training;
use famam_trainer::dataset::Dataset;

use tunes::{built, config, pieces, put, tune};

mod tunes;

/// A tune on other instruments than drums, 33 and 80.
fn tune_on(seed: u64, instruments: [u8; 3]) -> Score {
    let mut score = tune(seed, 8);
    for (track, index) in std::iter::zip(&mut score.tracks, instruments) {
        track.instrument = Instrument::new(index).unwrap();
    }
    score
}

fn parse(json: serde_json::Value, base: &Config) -> Config {
    let mut value = serde_json::to_value(base).unwrap();
    for (field, said) in json.as_object().unwrap() {
        value[field] = said.clone();
    }
    serde_json::from_value(value).unwrap()
}

/// Each file's instruments.
fn instruments(data_set: &Dataset) -> BTreeMap<String, Vec<u8>> {
    let of = |piece: famam_trainer::dataset::Piece| {
        let instruments = piece.body.instruments.iter().map(Instrument::index);
        (piece.name, instruments.collect())
    };
    pieces(data_set).into_iter().map(of).collect()
}

fn said(pairs: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    let pair = |&(name, list): &(&str, &[u8])| (name.to_owned(), list.to_vec());
    pairs.iter().map(pair).collect()
}

#[test]
fn classes_are_required_allowed_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    put(&input, "band.mid", &tune_on(1, [128, 33, 4]));
    put(&input, "duo.mid", &tune_on(2, [1, 6, 40]));
    put(&input, "winds.mid", &tune_on(3, [65, 73, 58]));
    let base = config(&input, &folder.path().join("set.h5"));
    let with = |json| {
        let (summary, data_set) = built(&parse(json, &base));
        (instruments(&data_set), summary)
    };

    let (seen, summary) = with(serde_json::json!({ "required_classes": ["Piano", 4] }));
    assert_eq!(seen, said(&[("band.mid", &[4, 33, 128])]));
    assert_eq!(summary.left_out, [(Reason::LacksClass, 2)].into());

    let allowed =
        serde_json::json!({ "allowed_classes": ["drums", "piano", "strings"], "min_tracks": 2 });
    let (seen, summary) = with(allowed);
    assert_eq!(
        seen,
        said(&[("band.mid", &[4, 128]), ("duo.mid", &[1, 6, 40])])
    );
    assert_eq!(summary.left_out, [(Reason::NoAllowedClass, 1)].into());
    assert_eq!(summary.not_allowed, 32, "the bass of the band");
    assert_eq!(summary.losses.notes, 2 * 96 - 32);
    assert!(
        summary.to_string().contains("32 left out before"),
        "{summary}"
    );

    let (seen, summary) = with(serde_json::json!({ "merge_classes": true }));
    let first = said(&[
        ("band.mid", &[0, 32, 128]),
        ("duo.mid", &[0, 40]),
        ("winds.mid", &[56, 64, 72]),
    ]);
    assert_eq!(seen, first);
    assert_eq!(summary.losses.tracks, 1, "two pianos became one");
    let map = serde_json::json!({ "merge_classes": { "keys": 16, "lead": 73, "40": 48 } });
    let (seen, _) = with(map);
    let mapped = said(&[
        ("band.mid", &[16, 33, 128]),
        ("duo.mid", &[16, 48]),
        ("winds.mid", &[73]),
    ]);
    assert_eq!(seen, mapped);
}

#[test]
fn beats_are_counted_from_the_first_note_to_the_end_of_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for bars in [2, 4, 8] {
        let mut late = tune(1, bars);
        for note in late.tracks.iter_mut().flat_map(|track| &mut track.notes) {
            note.start += Ticks(40 * 960);
        }
        put(&input, &format!("{bars}.mid"), &late);
    }
    for (min_beats, left) in [(0.0, 3), (11.0, 2), (16.5 + 16.0, 0), (29.0, 1)] {
        let config = Config {
            min_beats: Some(min_beats),
            ..config(&input, &folder.path().join("set.h5"))
        };
        let seen = famam_trainer::build::build(&config, 2, &false.into());
        match seen {
            Ok(summary) => {
                assert_eq!(summary.used, left, "{min_beats}");
                assert_eq!(
                    summary
                        .left_out
                        .get(&Reason::TooFewBeats)
                        .copied()
                        .unwrap_or(0),
                    3 - left
                );
            }
            Err(error) => {
                assert_eq!(left, 0, "{error}");
                assert!(error.to_string().contains("min_beats"), "{error}");
            }
        }
    }
}

#[test]
fn silence_before_the_music_goes_by_whole_bars() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    let mut late = tune(1, 8);
    late.metres = vec![Metre {
        numerator: 3,
        ..Metre::COMMON
    }];
    for note in late.tracks.iter_mut().flat_map(|track| &mut track.notes) {
        note.start += Ticks(5 * 2880 + 960);
    }
    put(&input, "late.mid", &late);
    let base = config(&input, &folder.path().join("set.h5"));
    let decoded = |trim_silence| {
        let (_, data_set) = built(&Config {
            trim_silence,
            ..base.clone()
        });
        let encoding = data_set.encoding().build(1).unwrap();
        let mut stream = encoding.head(&Conditioning::default());
        stream.extend(pieces(&data_set)[0].body.tokens.iter());
        encoding.decode(&stream).unwrap()
    };
    let (whole, trimmed) = (decoded(false), decoded(true));
    assert_eq!(trimmed.bars().count() + 5, whole.bars().count());
    assert_eq!(trimmed.metres, whole.metres);
    assert_eq!(trimmed.tempos, whole.tempos);
    for (trimmed, whole) in std::iter::zip(&trimmed.tracks, &whole.tracks) {
        let starts = whole.notes.iter().map(|note| note.start - Ticks(5 * 2880));
        assert!(starts.eq(trimmed.notes.iter().map(|note| note.start)));
    }
}

#[test]
fn a_subset_keeps_the_versions_of_a_song_together() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for song in 0..30 {
        for version in 1..=3 {
            put(
                &input,
                &format!("a/song{song}x.{version}.mid"),
                &tune(song * 3 + version, 4),
            );
        }
    }
    let build = |subset, seed| {
        let config = Config {
            subset: Some(subset),
            random_seed: Some(seed),
            ..config(&input, &folder.path().join("set.h5"))
        };
        let (summary, data_set) = built(&config);
        let names: BTreeSet<String> = pieces(&data_set)
            .into_iter()
            .map(|piece| piece.name)
            .collect();
        assert_eq!(
            (summary.found, summary.left_out[&Reason::NotDrawn]),
            (90, 90 - names.len())
        );
        let mut songs: BTreeMap<String, usize> = BTreeMap::new();
        for name in &names {
            let song = name.split('.').next().unwrap();
            *songs.entry(song.to_owned()).or_default() += 1;
        }
        assert!(songs.values().all(|&versions| versions == 3), "{songs:?}");
        names
    };
    assert_eq!(build(7.0, 1).len(), 21);
    assert_eq!(build(0.2, 1).len(), 18);
    assert!(build(0.2, 1).is_subset(&build(7.0, 1)));
    assert_ne!(build(0.2, 1), build(0.2, 2));
}

#[test]
fn patterns_and_lists_build_what_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for (i, name) in ["rock/a.mid", "rock/b.mid", "jazz/a.mid"]
        .iter()
        .enumerate()
    {
        put(&input, name, &tune(i as u64, 4));
    }
    fs::write(
        input.join("genre.tsv"),
        "rock/a.mid\tRock\njazz/a.mid\tJazz\n",
    )
    .unwrap();
    fs::write(input.join("some.txt"), "rock/b.mid\nnone.mid\njazz/a.mid\n").unwrap();
    let output = folder.path().join("set.h5");
    let build = |entry: &str| {
        let (summary, data_set) = built(&config(&input.join(entry), &output));
        let genre = |genre: u16| data_set.vocabulary().genres[usize::from(genre)].clone();
        let seen: Vec<_> = pieces(&data_set)
            .into_iter()
            .map(|piece| format!("{} {}", piece.name, genre(piece.genre)))
            .collect();
        (seen, summary)
    };
    let (seen, _) = build("*/a.mid");
    assert_eq!(
        seen,
        ["jazz/a.mid Jazz", "rock/a.mid Rock"],
        "by the table before the wildcard"
    );
    let (seen, summary) = build("some.txt");
    assert_eq!(seen, ["jazz/a.mid Jazz", "rock/b.mid any"]);
    assert_eq!(summary.left_out, [(Reason::Unreadable, 1)].into());
}

#[test]
fn labels_are_composers_or_prefixes_and_few_of_them_are_other() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    let names = [
        "Bach/Organ/x-1.mid",
        "Bach/y-2.mid",
        "Satie/x-3.mid",
        "Field/Nocturnes/x 4.mid",
    ];
    for (i, name) in names.iter().enumerate() {
        put(&input, name, &tune(i as u64, 4));
    }
    let labels = |genre_from, input: &Path| {
        let (_, data_set) = built(&Config {
            genre_from,
            min_files_per_genre: 2,
            small_genres: SmallGenres::Other,
            ..config(input, &folder.path().join("set.h5"))
        });
        let vocabulary = data_set.vocabulary();
        let of_piece = |piece: famam_trainer::dataset::Piece| {
            let label = vocabulary.genres[usize::from(piece.genre)].clone();
            (piece.name, label)
        };
        // What a request asks for.
        assert!(vocabulary.genre("other").is_some());
        pieces(&data_set)
            .into_iter()
            .map(of_piece)
            .collect::<Vec<_>>()
    };
    let pairs = |labels: [&str; 4]| {
        let mut pairs: Vec<_> = std::iter::zip(names, labels)
            .map(|(name, label)| (name.to_owned(), label.to_owned()))
            .collect();
        pairs.sort();
        pairs
    };
    assert_eq!(
        labels(GenreFrom::Composer, &input),
        pairs(["Bach", "Bach", "OTHER", "OTHER"])
    );
    assert_eq!(
        labels(GenreFrom::Prefix, &input),
        pairs(["x", "OTHER", "x", "any"])
    );
    let bach = labels(GenreFrom::Composer, &input.join("Bach"));
    assert_eq!(
        bach.iter()
            .map(|(_, label)| label.as_str())
            .collect::<Vec<_>>(),
        ["OTHER", "OTHER"],
        "Organ, Bach"
    );
}

#[test]
fn tempo_variation_moves_the_tempos_that_are_said_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for i in 0..6 {
        put(&input, &format!("{i}.mid"), &tune(i, 12));
    }
    let plain = config(&input, &folder.path().join("set.h5"));
    let varied = Config {
        enable_tempo_variation: true,
        tempo_variation_range: (0.5, 2.0),
        tempo_variation_steps: 2,
        merge_classes: MergeClasses::All(false),
        ..plain.clone()
    };
    let training = training::Config::default();
    let first = |config: &Config, validation: bool| {
        let (_, data_set) = built(config);
        let music = Music::read(&data_set).unwrap();
        let draw = Draw::new(&training, &music, &music.train);
        let draw = if validation { draw.unshifted() } else { draw };
        let segment = |step| {
            draw.segments(Purpose::Step(step), |count, _| count == 1)
                .remove(0)
        };
        let words = |step| -> Vec<String> {
            let tokens = segment(step).tokens;
            tokens
                .iter()
                .map(|&token| music.encoding.name(token))
                .collect()
        };
        (0..60).map(words).collect::<Vec<_>>()
    };
    let (before, after) = (first(&plain, false), first(&varied, false));
    let mut factors: BTreeMap<String, usize> = BTreeMap::new();
    for (before, after) in std::iter::zip(&before, &after) {
        assert_eq!(before.len(), after.len());
        for (before, after) in std::iter::zip(before, after) {
            if before.starts_with("tempo ") {
                assert_eq!(before, "tempo 151", "150 in the file");
                *factors.entry(after.clone()).or_default() += 1;
            } else {
                assert_eq!(before, after);
            }
        }
    }
    let seen: Vec<_> = factors.keys().map(String::as_str).collect();
    assert_eq!(seen, ["tempo 151", "tempo 302", "tempo 76"]);
    assert!(factors.values().all(|&count| count >= 10), "{factors:?}");
    assert_eq!(
        first(&varied, true),
        first(&plain, true),
        "validation hears what is there"
    );
}
