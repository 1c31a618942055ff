//! What `grid` promises beside what every encoding does: cells that are said behind all that is known, and
//! heads that say what is heard.

mod scores;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use famam_shared::encoding::controls::{self, Densities};
use famam_shared::encoding::{Conditioning, Encoding, Spec, Token, grid};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::{Settings, quantize};
use famam_shared::score::{Note, Score, Ticks, Track};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use scores::{GENRES, draw, encodings, random_score};

fn default() -> Box<dyn Encoding> {
    let spec = Spec::Grid(grid::Settings::default());
    spec.build(GENRES).unwrap()
}

fn accepts(encoding: &dyn Encoding, stream: &[Token]) -> bool {
    let mut grammar = encoding.grammar();
    stream.iter().all(|&token| grammar.accept(token).is_ok())
}

fn count(encoding: &dyn Encoding, stream: &[Token], kind: &str) -> usize {
    let of_kind = |token: &&Token| encoding.kind(**token) == kind;
    stream.iter().filter(of_kind).count()
}

#[test]
fn durations_get_coarser_the_longer_they_are() {
    let durations = grid::Settings::default().music.durations();
    let expected = (1..24)
        .chain((24..96).step_by(3))
        .chain((96..=384).step_by(12));
    assert_eq!(durations, expected.collect::<Vec<_>>());
    for positions_per_bar in [4, 12, 16, 24, 32, 48, 96, 960] {
        for max_duration_bars in [1, 2, 3, 8, 16] {
            let settings = Settings {
                positions_per_bar,
                max_duration_bars,
                coarse_durations: true,
                ..Settings::default()
            };
            let durations = settings.durations();
            assert!(durations.is_sorted_by(|a, b| a < b) && durations[0] == 1);
            assert_eq!(durations.last(), Some(&settings.max_duration()));
        }
    }
}

/// A note in the middle of the table becomes the nearest duration of it, one that is cut the longest
/// before the next strike.
#[test]
fn notes_last_as_long_as_the_table_has_it() {
    let settings = grid::Settings::default().music;
    let note = |start: u32, duration: u32| Note {
        start: Ticks(80 * start),
        pitch: 60,
        duration: Ticks(80 * duration),
        velocity: 66,
    };
    for (given, next, expected) in [
        (23, 500, 23),
        (25, 500, 24),
        (26, 500, 27),
        (26, 26, 24),
        (100, 500, 96),
        (102, 500, 108),
        (400, 500, 384),
        (400, 107, 96),
    ] {
        let score = Score {
            tracks: vec![Track {
                instrument: Instrument::default(),
                name: String::new(),
                notes: vec![note(0, given), note(next, 3)],
            }],
            end: Ticks(80 * 512),
            ..Score::default()
        };
        let (quantized, losses) = quantize(&score, &settings);
        let notes = &quantized.tracks[0].notes;
        assert_eq!(notes[0].duration, Ticks(80 * expected), "{given}, {next}");
        assert_eq!((losses.moved, losses.merged), (0, 0));
        assert_eq!(quantize(&quantized, &settings).0, quantized);
    }
}

/// Whatever cells are said behind the bars: the grammar takes it, and it says the same body.
#[test]
fn what_is_said_behind_the_bars_is_the_same_music() {
    let mut met = 0;
    for (i, what, encoding) in encodings().filter(|(_, what, _)| what.starts_with("Grid")) {
        let mut rng = ChaCha8Rng::seed_from_u64(300 + i);
        for n in 0..40 {
            let (score, _) = quantize(&random_score(&mut rng), encoding.quantize_settings());
            let body = encoding.encode(&score).remove(0);
            let given = Conditioning {
                instruments: (n % 2 == 0).then_some(body.instruments),
                ..Conditioning::default()
            };
            let plain = encoding.segment(&given, &body.tokens, body.states[0], 0);
            let plain = plain.unwrap();
            let head = encoding.head(&given).len();
            let share = draw(&mut rng, 1, 100);
            let end = draw(&mut rng, 1, body.bars.len() as u32 + 1) as usize;
            let (mut filled, mut wanted, mut asked) = (plain.clone(), 0, 0);
            let mut last = 0;
            encoding.fill_in(&mut filled, &mut |bar, _| {
                asked += 1;
                let wants = bar < end && draw(&mut rng, 0, 100) < share;
                wanted += usize::from(wants);
                last = if wants { bar } else { last };
                wants
            });
            let bars = body.bars.len();
            if bars > grid::MAX_BARS || wanted == 0 {
                assert_eq!(filled, plain, "{what}");
                continue;
            }
            met += 1;
            // A cell for each bar and instrument, whether it is played or rests.
            assert_eq!(asked, bars * body.instruments.len(), "{what}");
            assert_eq!(count(&*encoding, &filled, "fill"), wanted);
            let mut known = filled.clone();
            let behind = |token: &Token| encoding.kind(*token) == "separator";
            known.truncate(filled.iter().position(behind).unwrap() + 1);
            // What follows the last wanted cell stands before all else.
            let is_number = |token: &Token| encoding.kind(*token) == "at";
            let zero = (0..).find(is_number).unwrap();
            let numbers = known.iter().copied().filter(is_number);
            let order = (last + 1..bars)
                .chain(0..=last)
                .map(|bar| zero + bar as Token);
            assert!(numbers.eq(order), "{what}");
            assert!(accepts(&*encoding, &filled), "{what}");
            assert_eq!(*encoding.bar_by_bar(&filled[head..]), plain[head..]);
            assert_eq!(encoding.decode(&filled).unwrap(), score, "{what}");
            // What is wanted is in no part of what is known.
            let notes = |stream: &[Token]| {
                ["drum", "duration"]
                    .map(|kind| count(&*encoding, stream, kind))
                    .iter()
                    .sum()
            };
            let all: usize = notes(&filled);
            let left: usize = notes(&known);
            assert!(left <= all && notes(&plain) == all);
            assert_eq!(encoding.decode(&known).unwrap().note_count(), left);
        }
    }
    assert!(met > 200, "{met}");
}

/// Three bars of drums, a bass and a piano.
fn band() -> Score {
    let note = |start: u32, pitch: u8, duration: u32, velocity: u8| Note {
        start: Ticks(start),
        pitch,
        duration: Ticks(duration),
        velocity,
    };
    let track = |program: u8, notes: Vec<Note>| Track {
        instrument: Instrument::new(program).unwrap(),
        name: Instrument::new(program).unwrap().to_string(),
        notes,
    };
    let bars = |notes: &dyn Fn(u32) -> Vec<Note>| (0..3).flat_map(|b| notes(b * 3840)).collect();
    Score {
        tracks: vec![
            track(
                128,
                bars(&|at| (0..8).map(|i| note(at + 480 * i, 42, 80, 66)).collect()),
            ),
            // C, F, G in C major.
            track(
                0,
                bars(&|at| {
                    let root = [60, 65, 67][at as usize / 3840];
                    [0, 4, 7]
                        .map(|above| note(at, root + above, 3840, 98))
                        .to_vec()
                }),
            ),
            track(
                33,
                bars(&|at| {
                    let root = [36, 41, 43][at as usize / 3840];
                    (0..4)
                        .map(|i| note(at + 960 * i, root, 960, if i == 0 { 98 } else { 66 }))
                        .collect()
                }),
            ),
        ],
        end: Ticks(3 * 3840),
        ..Score::default()
    }
}

#[test]
fn cells_stand_in_their_order_and_say_velocities_where_they_change() {
    let encoding = default();
    let (score, _) = quantize(&band(), encoding.quantize_settings());
    let body = encoding.encode(&score).remove(0);
    let first = &body.tokens[..body.bars[1] as usize];
    let names: Vec<String> = first.iter().map(|&token| encoding.name(token)).collect();
    let instruments: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("instrument"))
        .collect();
    assert_eq!(
        instruments,
        [
            "instrument Drums",
            "instrument Electric Bass (finger)",
            "instrument Acoustic Grand Piano"
        ]
    );
    // One for the drums, two for the bass, one for the piano.
    assert_eq!(count(&*encoding, first, "velocity"), 4);
    assert_eq!(
        names[names.len() - 9..],
        [
            "instrument Acoustic Grand Piano",
            "position 0",
            "velocity 24",
            "pitch 60",
            "duration 48",
            "pitch 64",
            "duration 48",
            "pitch 67",
            "duration 48"
        ]
    );
}

#[test]
fn heads_say_what_is_heard() {
    let spec = Spec::Grid(grid::Settings::new(Settings {
        metre_in_head: true,
        tempo_in_head: true,
        chords: true,
        ..grid::Settings::default().music
    }));
    let encoding = spec.build(GENRES).unwrap();
    let (score, _) = quantize(&band(), encoding.quantize_settings());
    let body = encoding.encode(&score).remove(0);
    let state = body.states[0];
    let heard = |semitones| encoding.controls(&body.tokens, state, semitones);
    let (key, tracks) = heard(0);
    assert_eq!(controls::tonality(key.unwrap()).to_string(), "C major");
    let of = |program| tracks.of(Instrument::new(program).unwrap());
    // Eight, four and three notes a bar by the default edges.
    assert_eq!(
        [128, 33, 0].map(|program| of(program).density),
        [Some(6), Some(4), Some(3)]
    );
    assert_eq!(
        [128, 33, 0].map(|program| of(program).polyphony),
        [Some(0), Some(0), Some(3)]
    );
    assert_eq!(
        [128, 33, 0].map(|program| of(program).register),
        [None, Some(3), Some(5)]
    );
    // A whole tone higher in D, the bass at 43 in the same octave, an octave higher in the next.
    let (higher, moved) = heard(2);
    assert_eq!(controls::tonality(higher.unwrap()).to_string(), "D major");
    assert_eq!(moved.of(Instrument::new(33).unwrap()).register, Some(3));
    assert_eq!(
        heard(12).1.of(Instrument::new(33).unwrap()).register,
        Some(4)
    );
    let given = Conditioning {
        genre: 2,
        instruments: Some(body.instruments),
        metre: Some(state.metre),
        tempo: Some(state.tempo),
        key,
        tracks,
    };
    // Any part of it can be left out.
    for mask in [u64::MAX, 0, 0b101_010_011, 0b10] {
        let given = Conditioning {
            tracks: tracks.masked(mask),
            key: given.key.filter(|_| mask > 7),
            ..given
        };
        let mut stream = encoding.segment(&given, &body.tokens, state, 0).unwrap();
        assert_eq!(encoding.decode(&stream).unwrap(), score);
        let said = ["density", "polyphony", "register"];
        let head = &stream[..encoding.head(&given).len()];
        let said: usize = said.iter().map(|kind| count(&*encoding, head, kind)).sum();
        let expected = if mask == u64::MAX {
            8
        } else {
            mask.count_ones() as usize
        };
        assert_eq!(said, expected, "{mask:b}");
        assert_eq!(count(&*encoding, &stream, "chord"), 3);
        encoding.leave_out_chords(&mut stream);
        assert_eq!(count(&*encoding, &stream, "chord"), 0);
        assert_eq!(encoding.decode(&stream).unwrap(), score);
    }
    // A song of many tracks asks something of some.
    let mut many = controls::Tracks::default();
    let track = of(33);
    Instrument::all().for_each(|instrument| many.ask(instrument, track));
    let asked = Instrument::all().filter(|&instrument| many.of(instrument) == track);
    assert_eq!(asked.count(), controls::MAX_TRACKS);
    let text = serde_json::to_string(&given).unwrap();
    assert_eq!(serde_json::from_str::<Conditioning>(&text).unwrap(), given);
}

#[test]
fn levels_of_density_are_met_alike() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let instruments = [128, 33, 0].map(|program| Instrument::new(program).unwrap());
    let counted: Vec<(Instrument, u32)> = (0..6000)
        .map(|i| {
            let most = [1000, 400, 3000][i % 3];
            (instruments[i % 3], draw(&mut rng, 100, most))
        })
        .collect();
    let densities = Densities::learn(counted.iter().copied());
    for instrument in instruments {
        let mut levels = [0; controls::DENSITIES];
        for (_, notes) in counted.iter().filter(|(by, _)| *by == instrument) {
            levels[usize::from(densities.level(instrument, *notes))] += 1;
        }
        assert!(
            levels.iter().all(|count| (180..220).contains(count)),
            "{levels:?}"
        );
    }
    assert_eq!(Densities::learn([]), Densities::default());
    let wrong = grid::Settings {
        densities: Densities {
            bass: [3, 2, 1, 4, 5, 6, 7, 8, 9],
            ..Densities::default()
        },
        ..grid::Settings::default()
    };
    let error = Spec::Grid(wrong).build(GENRES).err().unwrap().to_string();
    assert!(error.starts_with("densities is "), "{error}");
}

#[test]
fn what_grid_alone_says_and_what_it_does_not_are_refused() {
    let refused = |spec: Spec| spec.build(GENRES).err().unwrap().to_string();
    let offsets = Settings {
        offsets: 2,
        ..Settings::default()
    };
    assert_eq!(
        refused(Spec::Multitrack(offsets)),
        "offsets is 2: expected 1: grid alone says offsets"
    );
    let rests = Settings {
        rests: true,
        ..Settings::default()
    };
    let error = refused(Spec::Grid(grid::Settings::new(rests)));
    assert!(
        error.starts_with("rests is true: expected false"),
        "{error}"
    );
    for offsets in [0, 3, 17] {
        let settings = Settings {
            offsets,
            ..grid::Settings::default().music
        };
        let error = settings.check().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("offsets is {offsets}: expected 1 to 16")),
            "{error}"
        );
    }
}

/// All files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// On the training corpus, where it is there: 3.2 tokens a note at most, by kind; and what is said behind
/// the bars is the same music.
#[test]
fn a_note_takes_few_tokens() {
    let Some(data) = std::env::var_os("FAMAM_DATA").filter(|data| !data.is_empty()) else {
        println!("skipped: FAMAM_DATA does not name a folder of music");
        return;
    };
    let mut found = Vec::new();
    files(&Path::new(&data).join("train"), &mut found);
    found.sort();
    let encoding = default();
    let (mut kinds, mut notes, mut tokens) = (BTreeMap::<&str, usize>::new(), 0, 0);
    // Every eighth file says as much as all.
    for path in found.iter().step_by(8) {
        let Ok(score) = famam_shared::midi::read_file(path) else {
            continue;
        };
        let (score, losses) = quantize(&score, encoding.quantize_settings());
        notes += losses.kept();
        for body in encoding.encode(&score) {
            let nothing = Conditioning::default();
            let bars = body.bars.len().min(grid::MAX_BARS);
            let end = body
                .bars
                .get(bars)
                .map_or(body.tokens.len(), |&bar| bar as usize);
            let part = encoding.segment(&nothing, &body.tokens[..end], body.states[0], 0);
            let plain = part.unwrap();
            let mut filled = plain.clone();
            encoding.fill_in(&mut filled, &mut |bar, by| {
                (bar + usize::from(by.index())) % 3 == 0
            });
            let said = encoding.decode(&filled).unwrap();
            assert_eq!(said, encoding.decode(&plain).unwrap(), "{}", path.display());
            tokens += body.tokens.len();
            for &token in &body.tokens {
                *kinds.entry(encoding.kind(token)).or_default() += 1;
            }
        }
    }
    let a_note = |tokens: usize| tokens as f64 / notes as f64;
    println!("{notes} notes, {:.3} tokens a note", a_note(tokens));
    for (kind, tokens) in kinds {
        println!("{kind}: {:.3}", a_note(tokens));
    }
    assert!(a_note(tokens) <= 3.2, "{:.3} tokens a note", a_note(tokens));
}
