//! Every field of a data set's config changes what it names, and nothing that it does not name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use famam_shared::score::Ticks;
use famam_trainer::batches::{Draw, Music, Purpose, Segment};
use famam_trainer::build::build;
use famam_trainer::config::dataset::Config;
use famam_trainer::config::training;
use famam_trainer::dataset::{Dataset, Piece};
use serde_json::{Map, Value, json};

use tunes::{pieces, put, tune};

mod tunes;

/// What can be seen of a build.
struct Seen {
    path: String,
    name: String,
    encoding: String,
    genres: Vec<String>,
    pieces: Vec<Piece>,
    /// Segments that the summary counts.
    counted: usize,
    /// Segments that training draws.
    drawn: Vec<Segment>,
}

impl Seen {
    fn of(config: &Config) -> Option<Self> {
        let summary = build(config, 2, &AtomicBool::new(false)).ok()?;
        let data_set = Dataset::open(config.output_path.as_ref()).ok()?;
        let training = training::Config::default();
        let music = Music::read(&data_set).ok()?;
        let draw = Draw::new(&training, &music, &music.train);
        Some(Self {
            path: config.output_path.clone(),
            name: data_set.config().name.clone(),
            encoding: format!("{:?}", data_set.encoding()),
            genres: data_set.vocabulary().genres.clone(),
            pieces: pieces(&data_set),
            counted: summary.segments,
            drawn: draw.segments(Purpose::Step(1), |count, _| count == 64),
        })
    }

    /// What differs, and not by what differs already.
    fn differs(&self, other: &Self) -> BTreeSet<&'static str> {
        fn of<'a, T: 'a>(
            pieces: &'a [Piece],
            what: impl Fn(&'a Piece) -> T + 'a,
        ) -> impl Iterator<Item = T> + 'a {
            pieces.iter().map(what)
        }
        let (a, b) = (&self.pieces, &other.pieces);
        if of(a, |piece| &piece.name).ne(of(b, |piece| &piece.name)) {
            return ["files"].into();
        }
        if self.encoding != other.encoding {
            return ["encoding"].into();
        }
        let genre = |seen: &Self, piece: &Piece| seen.genres[usize::from(piece.genre)].clone();
        let mut differs: BTreeSet<_> = [
            ("place", self.path != other.path),
            ("name", self.name != other.name),
            (
                "music",
                of(a, |piece| &piece.body).ne(of(b, |piece| &piece.body)),
            ),
            (
                "genres",
                of(a, |piece| genre(self, piece)).ne(of(b, |piece| genre(other, piece))),
            ),
            (
                "splits",
                of(a, |piece| piece.split).ne(of(b, |piece| piece.split)),
            ),
            (
                "sources",
                of(a, |piece| &piece.source).ne(of(b, |piece| &piece.source)),
            ),
        ]
        .into_iter()
        .filter_map(|(what, differs)| differs.then_some(what))
        .collect();
        if differs.is_empty() {
            differs.extend((self.counted != other.counted).then_some("counted segments"));
            differs.extend((self.drawn != other.drawn).then_some("drawn segments"));
        }
        differs
    }
}

/// Twelve tunes, each with something that a field looks at.
fn write(input: &Path) {
    for i in 0..8 {
        put(input, &format!("rock/left-right_{i}.mid"), &tune(i, 9));
    }
    let mut solo = tune(20, 9);
    solo.tracks.truncate(2);
    put(input, "jazz/solo-a.mid", &solo);
    let mut late = tune(21, 9);
    late.metres.clear();
    for note in late.tracks.iter_mut().flat_map(|track| &mut track.notes) {
        note.start += Ticks(3 * 3840);
    }
    put(input, "jazz/late-b.mid", &late);
    put(input, "folk/long-c.mid", &tune(22, 30));
    put(input, "folk/copy-d.mid", &tune(0, 9));
    put(input, "folk/short-e.mid", &tune(23, 4));
    fs::write(
        input.join("genre.tsv"),
        "jazz/solo-a.mid\tJazz\nfolk/long-c.mid\tFolk\n",
    )
    .unwrap();
}

#[test]
fn every_field_changes_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    write(&input);
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(
        folder.path().join("own.tsv"),
        "rock/left-right_1.mid\tPunk\n",
    )
    .unwrap();
    let base = json!({
        "input_dirs": [path("midi")],
        "output_path": path("set.h5"),
        "encoder_type": "multitrack",
        "quantize_grid": 12,
        "validation_fraction": 0.2,
        "verbose": false,
    });
    let nothing = json!({});
    let small = json!({ "min_files_per_genre": 3, "genre_from": "composer" });
    let cut = json!({ "segment_bars": 2 });
    let shifts = json!({ "enable_transposition": true });
    let tempos = json!({ "enable_tempo_variation": true });
    let windows = json!({ "encoder_type": "mmm" });
    let cells = json!({ "encoder_type": "grid" });
    // Field, value, the fields without which it has no effect, and what differs by it.
    let rows: Vec<(&str, Value, &Value, &[&str])> = vec![
        ("name", json!("other"), &nothing, &["name"]),
        (
            "input_dirs",
            json!([path("midi/rock")]),
            &nothing,
            &["files"],
        ),
        ("output_path", json!(path("other.h5")), &nothing, &["place"]),
        (
            "genre_tsv_path",
            json!(path("own.tsv")),
            &nothing,
            &["genres"],
        ),
        ("allowed_genres", json!(["jazz"]), &nothing, &["files"]),
        ("min_tracks", json!(3), &nothing, &["files"]),
        ("max_tracks", json!(2), &nothing, &["files"]),
        ("min_notes_per_track", json!(20), &nothing, &["files"]),
        ("min_duration_seconds", json!(12.0), &nothing, &["files"]),
        ("max_duration_seconds", json!(30.0), &nothing, &["files"]),
        ("resolution", json!(12), &nothing, &["music"]),
        ("time_signature", json!([3, 4]), &nothing, &["music"]),
        ("quantize", json!(false), &nothing, &["music"]),
        ("quantize_grid", json!(24), &nothing, &["music"]),
        ("remove_empty_tracks", json!(false), &nothing, &["refused"]),
        (
            "segment_bars",
            json!(2),
            &nothing,
            &["counted segments", "drawn segments"],
        ),
        (
            "segment_length",
            json!(192),
            &nothing,
            &["counted segments", "drawn segments"],
        ),
        ("max_padding_ratio", json!(1.0), &cut, &["counted segments"]),
        (
            "enable_transposition",
            json!(true),
            &nothing,
            &["drawn segments"],
        ),
        (
            "transposition_semitones",
            json!([7]),
            &shifts,
            &["drawn segments"],
        ),
        (
            "enable_tempo_variation",
            json!(true),
            &nothing,
            &["drawn segments"],
        ),
        (
            "tempo_variation_range",
            json!([0.5, 2.0]),
            &tempos,
            &["drawn segments"],
        ),
        (
            "tempo_variation_steps",
            json!(5),
            &tempos,
            &["drawn segments"],
        ),
        // A piece for each track.
        ("encoder_type", json!("remi"), &nothing, &["files"]),
        // The training config's own says it.
        ("max_seq_length", json!(64), &nothing, &[]),
        ("encode_velocity", json!(false), &nothing, &["encoding"]),
        ("positions_per_bar", json!(16), &nothing, &["encoding"]),
        ("max_samples", json!(3), &nothing, &["files"]),
        ("random_seed", json!(5), &nothing, &["splits"]),
        // What a terminal shows.
        ("verbose", json!(true), &nothing, &[]),
        ("max_duration_bars", json!(1), &nothing, &["encoding"]),
        ("max_metre_bars", json!(1), &nothing, &["encoding"]),
        ("velocity_bins", json!(8), &nothing, &["encoding"]),
        ("window_bars", json!(2), &windows, &["encoding"]),
        ("offsets", json!(4), &cells, &["encoding"]),
        ("encode_chords", json!(true), &nothing, &["encoding"]),
        ("encode_rests", json!(true), &nothing, &["encoding"]),
        ("encode_tempo", json!(false), &nothing, &["encoding"]),
        ("encode_metre", json!(false), &nothing, &["encoding"]),
        ("metre_in_head", json!(true), &nothing, &["encoding"]),
        ("tempo_in_head", json!(true), &nothing, &["encoding"]),
        ("validation_fraction", json!(0.5), &nothing, &["splits"]),
        ("test_fraction", json!(0.3), &nothing, &["splits"]),
        ("genre_from", json!("folder"), &nothing, &["genres"]),
        ("exclude_genres", json!(["folk"]), &nothing, &["files"]),
        ("min_files_per_genre", json!(2), &nothing, &["genres"]),
        ("small_genres", json!("other"), &small, &["genres"]),
        ("source_separator", json!("_"), &nothing, &["sources"]),
        ("subset", json!(4), &nothing, &["files"]),
        (
            "required_classes",
            json!(["synth lead"]),
            &nothing,
            &["files"],
        ),
        (
            "allowed_classes",
            json!(["bass", "drums"]),
            &nothing,
            &["music"],
        ),
        ("min_beats", json!(25.0), &nothing, &["files"]),
        ("merge_classes", json!({ "bass": 32 }), &nothing, &["music"]),
        ("trim_silence", json!(true), &nothing, &["music"]),
        ("drop_duplicates", json!("exact"), &nothing, &["files"]),
        ("merges", json!(20), &nothing, &["encoding"]),
    ];
    let fields: BTreeSet<String> = match serde_json::to_value(Config::default()).unwrap() {
        Value::Object(fields) => fields.keys().cloned().collect(),
        _ => BTreeSet::new(),
    };
    let tested: BTreeSet<String> = rows.iter().map(|(field, ..)| (*field).to_owned()).collect();
    assert_eq!(tested, fields, "each field has a row");
    let with = |changes: &[&Map<String, Value>]| {
        let mut config = base.clone();
        for (field, value) in changes.iter().copied().flatten() {
            config[field] = value.clone();
        }
        Seen::of(&Config::parse(&config.to_string(), "row").unwrap())
    };
    for (field, value, given, expected) in rows {
        let given = given.as_object().unwrap();
        let row = Map::from_iter([(field.to_owned(), value)]);
        let before = with(&[given]).unwrap();
        let differs = match with(&[given, &row]) {
            Some(after) => before.differs(&after),
            None => ["refused"].into(),
        };
        assert_eq!(differs, expected.iter().copied().collect(), "{field}");
    }
}
