//! What a song promises, with models that know nothing, so that nothing but the mechanism makes it true.

#[path = "song/obeys.rs"]
mod obeys;
#[path = "song/oracle.rs"]
mod oracle;
mod scores;

use std::collections::BTreeSet;
use std::sync::Arc;

use famam_shared::bundle::Bundle;
use famam_shared::encoding::{Spec, controls, grid};
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::generation::GenerationError;
use famam_shared::generation::song::{
    Composer, Song, SongBar, SongError, SongTrack, compose, least_filled,
};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Context;
use famam_shared::quantize;
use famam_shared::sampling;
use famam_shared::score::{Metre, Note, Score, Ticks, Track};
use famam_shared::theory::rules::{Hold, Limits};
use famam_shared::theory::scale::Mode;
use famam_shared::theory::{Progression, Scale};
use obeys::Asked;
use oracle::Oracle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn draw(rng: &mut ChaCha8Rng, low: u32, high: u32) -> u32 {
    low + rng.next_u32() % (high - low)
}

fn grid() -> Spec {
    Spec::Grid(grid::Settings::default())
}

/// With levels of density as they are learned: narrow ones, and between whole numbers of notes.
fn learned() -> Spec {
    grid().with_densities(controls::Densities {
        drums: [140, 300, 450, 600, 750, 900, 1100, 1400, 1900],
        bass: [133, 200, 275, 350, 400, 500, 620, 800, 1000],
        others: [125, 180, 250, 320, 400, 520, 680, 900, 1300],
    })
}

fn multitrack() -> Spec {
    Spec::Multitrack(quantize::Settings {
        positions_per_bar: 48,
        ..quantize::Settings::default()
    })
}

/// One that ends what it says now and then.
fn oracle(encoding: Spec, tokens: usize, bars: usize) -> Oracle {
    Oracle::new(encoding, Context { tokens, bars }, &|kind| match kind {
        "bar" | "at" | "done" => 1.0,
        "instrument" => 2.5,
        "position" => 2.0,
        _ => 0.0,
    })
}

fn instrument(index: u8) -> Instrument {
    Instrument::new(index).unwrap()
}

fn metre(numerator: u8, denominator: u8) -> Metre {
    Metre {
        at: Ticks(0),
        numerator,
        denominator,
    }
}

fn song(length: u32, band: &[u8]) -> Song {
    let song = Song {
        genre: 1,
        seed: 1,
        ..Song::new(length, SongBar::default())
    };
    song.band(band.iter().map(|&by| instrument(by)).collect())
}

/// What each song drew of.
#[derive(Default, Debug)]
struct Met {
    key: usize,
    chords: usize,
    range: usize,
    polyphony: usize,
    lengths: usize,
    rests: usize,
    densities: usize,
    metres: usize,
    drums: usize,
    known: usize,
    cells: usize,
}

/// A song of which several things are asked.
fn random_song(rng: &mut ChaCha8Rng, by_cell: bool, met: &mut Met) -> Song {
    let half = |rng: &mut ChaCha8Rng| draw(rng, 0, 2) == 0;
    let mut band: BTreeSet<u8> = (0..draw(rng, 1, 5))
        .map(|_| draw(rng, 0, 128) as u8)
        .collect();
    if half(rng) {
        band.insert(128);
        met.drums += 1;
    }
    let band: Vec<u8> = band.into_iter().collect();
    let mut song = song(draw(rng, 1, 13), &band);
    song.seed = u64::from(rng.next_u32());
    if half(rng) {
        met.metres += 1;
        song.bars = (0..draw(rng, 1, 6))
            .map(|_| SongBar {
                metre: [
                    metre(4, 4),
                    metre(3, 4),
                    metre(6, 8),
                    metre(7, 8),
                    metre(5, 4),
                ][draw(rng, 0, 5) as usize],
                micros_per_quarter: draw(rng, 300_000, 900_000),
            })
            .collect();
    }
    let modes: Vec<Mode> = Mode::all().collect();
    if half(rng) {
        met.key += 1;
        let mode = modes[draw(rng, 0, modes.len() as u32) as usize];
        song.key = Some((Scale::new(draw(rng, 0, 12) as u8, mode), Hold::Locked));
    }
    if half(rng) {
        met.chords += 1;
        let text = [
            "Am F C G",
            "Dm7-G7 Cmaj7",
            "Bbm",
            "E-A B7 F#dim",
            "C/G Csus4-Eaug",
        ];
        let text = text[draw(rng, 0, text.len() as u32) as usize];
        song.chords = Some((Progression::parse(text, None).unwrap(), Hold::Locked));
    }
    for track in &mut song.tracks {
        if half(rng) {
            met.range += 1;
            let low = draw(rng, 24, 60) as u8;
            track.limits.pitches = low..=low + draw(rng, 24, 50) as u8;
        }
        if half(rng) {
            met.polyphony += 1;
            let least = draw(rng, 1, 4) as u16;
            track.limits.polyphony = least..=least + draw(rng, 0, 3) as u16;
        }
        match draw(rng, 0, 3) {
            0 => {
                met.lengths += 1;
                let shortest = draw(rng, 1, 1000);
                let longest = shortest + draw(rng, 400, 2000);
                track.limits.lengths = Ticks(shortest)..=Ticks(longest);
            }
            1 if by_cell && song.chords.is_none() => {
                met.rests += 1;
                let shortest = [0, 240, 480][draw(rng, 0, 3) as usize];
                track.limits.rests = Ticks(shortest)..=Ticks(shortest + draw(rng, 480, 6000));
            }
            _ => {}
        }
        if draw(rng, 0, 3) == 0 {
            met.densities += 1;
            let least = draw(rng, 0, 10) as u8;
            track.limits.density = least..=least + draw(rng, 0, 3) as u8;
        }
        track.least_filled = [0.0, 0.3, 0.5, 0.8, 1.0][draw(rng, 0, 5) as usize];
        track.controls = controls::Track {
            polyphony: half(rng).then(|| draw(rng, 0, 6) as u8),
            ..controls::Track::default()
        };
    }
    song
}

/// What a user wrote: off the grid, of several tracks, some of one instrument.
fn random_known(rng: &mut ChaCha8Rng, end: u32, band: &[Instrument]) -> Score {
    let mut tracks: Vec<Track> = (0..draw(rng, 1, 4))
        .map(|i| Track {
            instrument: match draw(rng, 0, 3) {
                0 => instrument(draw(rng, 0, 129) as u8),
                _ => band[draw(rng, 0, band.len() as u32) as usize],
            },
            name: format!("track {i}"),
            notes: Vec::new(),
        })
        .collect();
    for track in &mut tracks {
        let mut free = [0; 128];
        let mut notes: Vec<Note> = (0..draw(rng, 1, 40))
            .map(|_| Note {
                start: Ticks(draw(rng, 0, end)),
                pitch: draw(rng, 20, 110) as u8,
                duration: Ticks(draw(rng, 1, 3000)),
                velocity: draw(rng, 1, 128) as u8,
            })
            .collect();
        notes.sort_unstable();
        notes.retain(|note| {
            let free = &mut free[usize::from(note.pitch)];
            let kept = note.start.0 >= *free;
            *free = if kept { note.end().0 } else { *free };
            kept
        });
        track.notes = notes;
    }
    let ends = tracks.iter().flat_map(|t| &t.notes).map(Note::end).max();
    Score {
        end: ends.unwrap_or_default(),
        tracks,
        ..Score::default()
    }
}

/// The cells that had to be filled and are not, where several things asked for may leave them nothing to play.
fn check(engine: &dyn Engine, song: &Song, score: &Score, plays: bool) -> usize {
    let asked = asked(engine, song, score, plays);
    asked.check();
    asked.lacking.get()
}

fn asked<'a>(engine: &dyn Engine, song: &'a Song, score: &'a Score, plays: bool) -> Asked<'a> {
    let bars: Vec<_> = score.bars().collect();
    let known = song.known.tracks.iter().flat_map(|track| &track.notes);
    let last = known.map(|note| note.start.0 + 1).max();
    let end = last.map_or(0, |last| last.max(song.known.end.0));
    let known = bars.iter().filter(|bar| bar.start.0 < end).count() as u32;
    Asked {
        song,
        score,
        bars,
        known,
        plays,
        densities: engine.manifest().encoding.densities(),
        lacking: Default::default(),
    }
}

/// The song as it was written; none where a density was refused that other limits rule out.
fn written(engine: &dyn Engine, song: &Song) -> Option<Score> {
    match compose(engine, song.clone(), Arc::default()) {
        Ok(score) => Some(score),
        Err(GenerationError::Song(SongError::Limit {
            field: "density", ..
        })) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_new_song_obeys_all_that_is_asked_of_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut met, mut notes, mut refused) = (Met::default(), 0, 0);
    let (mut lacking, mut cells) = (0, 0);
    let merged = scores::merged(&grid(), &scores::learned(&grid(), 100));
    let fine = Spec::Grid(grid::Settings::new(quantize::Settings {
        offsets: 3,
        velocity_bins: 0,
        chords: true,
        ..quantize::Settings::default()
    }));
    let specs = [
        (learned(), 300),
        (multitrack(), 100),
        (merged, 50),
        (fine, 50),
    ];
    for (spec, songs) in specs {
        let by_cell = spec.name() == "grid";
        let oracle = oracle(spec, 4096, 8);
        for _ in 0..songs {
            let song = random_song(&mut rng, by_cell, &mut met);
            let Some(score) = written(&oracle, &song) else {
                refused += 1;
                continue;
            };
            lacking += check(&oracle, &song, &score, true);
            notes += score.note_count();
            cells += song.length as usize * song.tracks.len();
        }
    }
    assert!(notes > 10_000 && refused < 200, "{notes}, {refused}");
    assert!(50 * lacking < cells, "{lacking} of {cells}");
    let met = [
        met.key,
        met.chords,
        met.range,
        met.polyphony,
        met.lengths,
        met.rests,
        met.densities,
        met.metres,
        met.drums,
    ];
    assert!(met.iter().all(|&count| count >= 30), "{met:?}");
}

#[test]
fn what_is_known_stays_bit_for_bit_and_what_is_wanted_obeys() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (mut met, mut longer) = (Met::default(), 0);
    let large = oracle(learned(), 8192, 64);
    let small = oracle(learned(), 1500, 4);
    for i in 0..150 {
        let mut song = random_song(&mut rng, true, &mut met);
        let band: Vec<_> = song.tracks.iter().map(|track| track.instrument).collect();
        let end = draw(&mut rng, 2000, 30_000);
        song.known = random_known(&mut rng, end, &band);
        met.known += 1;
        if draw(&mut rng, 0, 2) == 0 {
            met.cells += 1;
            let share = draw(&mut rng, 1, 100);
            let cells = (0..song.length).flat_map(|bar| band.iter().map(move |&by| (bar, by)));
            song.wanted = Some(cells.filter(|_| draw(&mut rng, 0, 100) < share).collect());
        }
        for track in &mut song.tracks {
            track.limits.rests = Limits::default().rests;
        }
        let oracle = if i % 3 == 0 { &small } else { &large };
        let Some(score) = written(oracle, &song) else {
            continue;
        };
        check(oracle, &song, &score, i % 3 > 0);
        let known: usize = song.known.tracks.iter().map(|t| t.notes.len()).sum();
        longer += usize::from(score.note_count() > known);
    }
    assert!(longer > 100, "{longer}");
    assert!(met.cells > 40 && met.known - met.cells > 40);
}

/// As many requests of the default model as each control is met by at least a fifth of; 50, or 1,000 with
/// `FAMAM_LONG`. Of cells between the first note and the last of a test piece 8.0 % are empty.
#[test]
fn the_default_model_obeys() {
    let bundle = Bundle::read(include_bytes!("../../models/famam.onnx")).unwrap();
    let engine = engine::load(&bundle, 2, Choice::Auto).unwrap();
    let requests = match std::env::var_os("FAMAM_LONG") {
        Some(_) => 1000,
        None => 50,
    };
    let genres = engine.manifest().vocabulary.genres.len() as u32;
    let free = Limits::default().rests;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut met, mut written_songs) = (Met::default(), 0);
    let (mut empty, mut wanted) = (0, 0);
    for _ in 0..requests {
        let mut song = random_song(&mut rng, true, &mut met);
        song.genre = draw(&mut rng, 0, genres) as u16;
        song.length = song.length.min(6);
        let band: Vec<_> = song.tracks.iter().map(|track| track.instrument).collect();
        for track in &mut song.tracks {
            track.least_filled = least_filled(track.instrument);
        }
        // What is known may have any rests.
        let at_will = song.tracks.iter().all(|track| track.limits.rests == free);
        if at_will && draw(&mut rng, 0, 2) == 0 {
            met.known += 1;
            met.cells += 1;
            let end = song.bars[0].metre.bar().0 * draw(&mut rng, 1, song.length + 1);
            song.known = random_known(&mut rng, end, &band);
            let cells = (0..song.length).flat_map(|bar| band.iter().map(move |&by| (bar, by)));
            song.wanted = Some(cells.filter(|_| draw(&mut rng, 0, 3) == 0).collect());
        }
        if let Some(score) = written(&*engine, &song) {
            written_songs += 1;
            let asked = asked(&*engine, &song, &score, false);
            asked.check();
            let (silent, cells) = asked.empty();
            (empty, wanted) = (empty + silent, wanted + cells);
        }
    }
    println!("{requests} requests: {met:?}, {empty} of {wanted} wanted cells empty");
    assert!(10 * written_songs > 8 * requests, "{written_songs}");
    assert!(100 * empty <= (8 + 3) * wanted, "{empty} of {wanted}");
    let met = [
        met.key,
        met.chords,
        met.range,
        met.polyphony,
        met.lengths,
        met.rests,
        met.densities,
        met.metres,
        met.drums,
        met.known,
    ];
    assert!(met.iter().all(|&count| 5 * count >= requests), "{met:?}");
}

/// Bars of a song as they come.
fn stream(oracle: &Oracle, song: &Song, bars: usize) -> Vec<Vec<(Instrument, Note)>> {
    let composer = Composer::new(oracle, song.clone(), Arc::default(), None).unwrap();
    composer.take(bars).map(|bar| bar.unwrap().notes).collect()
}

#[test]
fn the_same_seed_has_the_same_notes_and_another_has_others() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for spec in [grid(), multitrack()] {
        let by_cell = spec.name() == "grid";
        let oracle = oracle(spec, 4096, 8);
        for _ in 0..10 {
            let mut song = Song {
                length: 8,
                ..random_song(&mut rng, by_cell, &mut Met::default())
            };
            for track in &mut song.tracks {
                track.limits.density = Limits::default().density;
            }
            let write = |song: &Song| compose(&oracle, song.clone(), Arc::default()).unwrap();
            assert_eq!(write(&song), write(&song));
            let other = Song {
                seed: song.seed + 1,
                ..song.clone()
            };
            let played = |score: &Score| score.note_count() > 8;
            if played(&write(&song)) {
                assert_ne!(write(&song), write(&other));
            }
        }
    }
}

/// Bars stream for as long as they are taken, in the metres that were asked for, and obey throughout.
#[test]
fn a_song_without_end_goes_on_as_a_long_one_does() {
    let oracle = oracle(grid(), 2048, 8);
    let mut endless = song(u32::MAX, &[128, 33, 0]);
    // How many cells may be empty of so many is another matter without an end.
    endless
        .tracks
        .iter_mut()
        .for_each(|track| track.least_filled = 0.0);
    endless.chords = Some((Progression::parse("Am F C-G", None).unwrap(), Hold::Locked));
    endless.bars.push(SongBar {
        metre: metre(7, 8),
        micros_per_quarter: 400_000,
    });
    let long = Song {
        length: 220,
        ..endless.clone()
    };
    let written = stream(&oracle, &endless, 200);
    let notes = written.iter().map(Vec::len).sum::<usize>();
    assert_eq!(written, stream(&oracle, &long, 200));
    assert!(notes > 1000, "{notes}");
    let score = compose(&oracle, long.clone(), Arc::default()).unwrap();
    check(&oracle, &long, &score, true);
    let known = Song {
        known: score.clone(),
        length: 230,
        ..long
    };
    let longer = compose(&oracle, known.clone(), Arc::default()).unwrap();
    check(&oracle, &known, &longer, true);
    let refused = compose(&oracle, endless, Arc::default());
    assert!(matches!(
        refused,
        Err(GenerationError::Song(SongError::Long(_)))
    ));
}

/// Each level of density of each kind of instrument, of a model that would say far more and of one that would
/// say far less.
#[test]
fn each_level_of_density_holds_whatever_the_model_would_say() {
    let spec = learned();
    for above in [-3.0, 3.0] {
        for spec in [spec.clone(), multitrack()] {
            let by_cell = spec.name() == "grid";
            let oracle = Oracle::new(
                spec,
                Context {
                    tokens: 4096,
                    bars: 8,
                },
                &|kind| match kind {
                    "bar" | "at" | "done" | "instrument" | "eos" => -above,
                    "pitch" | "drum" => above,
                    _ => 0.0,
                },
            );
            for level in 0..10 {
                let mut song = song(10, &[128, 33, 0, 24, 73]);
                song.seed = u64::from(level);
                song.key = Some((Scale::new(9, Mode::Minor), Hold::Locked));
                song.tracks.iter_mut().for_each(|track| {
                    track.limits.density = level..=level;
                });
                // No bar in which something plays has less than a note.
                let Some(score) = written(&oracle, &song) else {
                    assert!(level == 0 && !by_cell);
                    continue;
                };
                check(&oracle, &song, &score, true);
                if by_cell {
                    song.known = score;
                    let cells = (0..10)
                        .flat_map(|bar| song.tracks.iter().map(move |t| (bar, t.instrument)));
                    song.wanted = Some(
                        cells
                            .filter(|(bar, by)| (bar + u32::from(by.index())) % 2 == 0)
                            .collect(),
                    );
                    let score = written(&oracle, &song).expect("a song that can be");
                    check(&oracle, &song, &score, true);
                }
            }
        }
    }
}

/// A model that never plays of its own accord is tried again, and then made to.
#[test]
fn every_track_plays_that_was_not_told_it_may_rest() {
    for spec in [grid(), multitrack()] {
        let silent = Oracle::new(
            spec,
            Context {
                tokens: 4096,
                bars: 16,
            },
            &|kind| match kind {
                "bar" | "at" | "done" => 1000.0,
                _ => 0.0,
            },
        );
        let by_cell = spec_fills(&silent);
        for seed in 0..20 {
            let mut song = Song {
                seed,
                key: Some((Scale::new(9, Mode::Minor), Hold::Locked)),
                ..song(6, &[128, 33, 0, 24, 73])
            };
            let score = compose(&silent, song.clone(), Arc::default()).unwrap();
            check(&silent, &song, &score, true);
            if by_cell {
                let piano = instrument(0);
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                song.known = random_known(&mut rng, 20_000, &[piano]);
                let score = compose(&silent, song.clone(), Arc::default()).unwrap();
                check(&silent, &song, &score, true);
            }
            song.known = Score::default();
            song.tracks
                .iter_mut()
                .for_each(|track| track.may_rest = true);
            let score = compose(&silent, song.clone(), Arc::default()).unwrap();
            check(&silent, &song, &score, true);
            assert_eq!(score.note_count(), 0);
        }
    }
}

fn spec_fills(oracle: &Oracle) -> bool {
    oracle.manifest().encoding.name() == "grid"
}

/// The more a key is leant on, the more of the notes are in it; by nothing, nothing changes.
#[test]
fn leaning_on_a_key_is_a_matter_of_strength() {
    for spec in [grid(), multitrack()] {
        let oracle = oracle(spec, 4096, 8);
        let scale = Scale::new(0, Mode::MajorPentatonic);
        let write = |key| {
            let song = Song {
                key,
                ..song(16, &[33, 0])
            };
            stream(&oracle, &song, 16)
        };
        let share = |nats| {
            let bars = write(Some((scale, Hold::Leaning(nats))));
            let notes: Vec<_> = bars.concat();
            let inside = notes
                .iter()
                .filter(|(_, note)| scale.tones().contains(note.pitch));
            inside.count() as f64 / notes.len() as f64
        };
        let shares = [0.0, 1.5, 3.0, 50.0].map(share);
        assert!(
            shares.is_sorted() && shares[0] < 0.6 && shares[3] > 0.97,
            "{shares:?}"
        );
    }
}

/// Where bars say chords, they say those that were asked for, in songs that go on and in bars that are filled in.
#[test]
fn a_model_that_hears_chords_is_told_those_that_are_asked_for() {
    let spec = Spec::Grid(grid::Settings::new(quantize::Settings {
        chords: true,
        ..quantize::Settings::default()
    }));
    let built = spec.build(3).unwrap();
    let oracle = oracle(spec, 4096, 8);
    let mut song = song(7, &[0, 33]);
    let progression = Progression::parse("Am F C-G Dm", None).unwrap();
    song.chords = Some((progression.clone(), Hold::Leaning(1.0)));
    for wanted in [None, Some((0..7).map(|bar| (bar, instrument(0))).collect())] {
        song.wanted = wanted;
        let composer = Composer::new(&oracle, song.clone(), Arc::default(), None).unwrap();
        let bars: Vec<_> = composer.map(Result::unwrap).collect();
        assert_eq!(bars.len(), 7);
        for bar in bars {
            let asked = progression.bars()[bar.index as usize % 4][0].chord;
            let names = bar.tokens.iter().map(|&token| built.name(token));
            let chords: Vec<_> = names.filter(|name| name.starts_with("chord")).collect();
            assert_eq!(chords, [format!("chord {asked}")]);
        }
    }
}

/// A band that nobody named is the model's own, in every encoding.
#[test]
fn who_plays_may_be_left_to_the_model() {
    let mmm = Spec::Mmm(Default::default());
    for spec in [grid(), multitrack(), Spec::Remi(Default::default()), mmm] {
        let name = spec.name();
        let oracle = oracle(spec, 4096, 8);
        let score = compose(&oracle, song(12, &[]), Arc::default()).unwrap();
        assert!(score.note_count() > 20, "{name}");
        assert_eq!(score.end, Ticks(12 * 3840), "{name}");
    }
}

/// Guidance by chords leads away from the same music without them, and by what was not asked for from nothing.
#[test]
fn guidance_by_chords_hears_what_they_change() {
    let spec = Spec::Grid(grid::Settings::new(quantize::Settings {
        chords: true,
        ..quantize::Settings::default()
    }));
    let oracle = oracle(spec, 4096, 8);
    let mut song = song(4, &[0, 33]);
    song.chords = Some((
        Progression::parse("Am F C G", None).unwrap(),
        Hold::Leaning(1.0),
    ));
    for beam in [0, 2] {
        let mut write = |guidance, guided: &str| {
            song.sampling = sampling::Settings {
                beam,
                guidance,
                guided: guided.parse().unwrap(),
                ..sampling::Settings::default()
            };
            compose(&oracle, song.clone(), Arc::default()).unwrap()
        };
        let plain = write(1.0, "all");
        assert_ne!(write(3.0, "chords"), plain);
        assert_eq!(write(3.0, "key"), plain);
        assert_ne!(write(3.0, "genre"), plain);
    }
}

/// Bars that a beam writes, new ones and between known ones, obey as those do that are drawn.
#[test]
fn what_a_beam_finds_obeys() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut notes = 0;
    for spec in [learned(), multitrack()] {
        let by_cell = spec.name() == "grid";
        let oracle = oracle(spec, 4096, 8);
        for _ in 0..15 {
            let mut song = random_song(&mut rng, by_cell, &mut Met::default());
            song.length = song.length.min(6);
            song.sampling.beam = 3;
            let Some(score) = written(&oracle, &song) else {
                continue;
            };
            check(&oracle, &song, &score, true);
            notes += score.note_count();
            if by_cell {
                song.known = score;
                let odd = |bar: u32, by: Instrument| (bar + u32::from(by.index())) % 2 == 1;
                let band: Vec<_> = song.tracks.iter().map(|track| track.instrument).collect();
                let cells = (0..song.length).flat_map(|bar| band.iter().map(move |&by| (bar, by)));
                song.wanted = Some(cells.filter(|&(bar, by)| odd(bar, by)).collect());
                for track in &mut song.tracks {
                    track.limits.rests = Limits::default().rests;
                }
                if let Some(score) = written(&oracle, &song) {
                    check(&oracle, &song, &score, false);
                    notes += score.note_count();
                }
            }
        }
    }
    assert!(notes > 500, "{notes}");
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let oracle = oracle(grid(), 4096, 8);
    let refused = |change: &dyn Fn(&mut Song)| {
        let mut song = song(4, &[0, 33]);
        change(&mut song);
        compose(&oracle, song, Arc::default())
            .unwrap_err()
            .to_string()
    };
    let limit = |change: &dyn Fn(&mut Limits)| refused(&|song| change(&mut song.tracks[0].limits));
    for (said, expected) in [
        (refused(&|song| song.length = 0), "0 bars"),
        (refused(&|song| song.bars.clear()), "0 of which state"),
        (
            refused(&|song| {
                song.tracks.clear();
                song.key = Some((Scale::new(9, Mode::Minor), Hold::Locked));
            }),
            "at least one instrument",
        ),
        (
            refused(&|song| song.tracks.push(SongTrack::new(instrument(33)))),
            "each instrument once",
        ),
        (
            refused(&|song| song.bars[0].metre = metre(39, 32)),
            "no metre 39/32",
        ),
        (
            refused(&|song| song.bars[0].micros_per_quarter = 0),
            "0 microseconds",
        ),
        (refused(&|song| song.length = 20_000), "at most 16384"),
        (limit(&|limits| limits.pitches = 200..=210), "pitches"),
        (limit(&|limits| limits.polyphony = 0..=0), "polyphony"),
        (
            limit(&|limits| limits.lengths = Ticks(81)..=Ticks(159)),
            "81 to 159 ticks",
        ),
        (limit(&|limits| limits.rests = Ticks(5)..=Ticks(4)), "rests"),
        (
            refused(&|song| song.tracks[1].least_filled = 1.5),
            "least_filled of Electric Bass (finger): 1.5",
        ),
        // A bar in which something plays has a note; the defaults begin with less.
        (limit(&|limits| limits.density = 0..=0), "0 to 100 notes"),
        (
            limit(&|limits| limits.density = 10..=12),
            "levels of 0 to 9",
        ),
        (
            limit(&|limits| (limits.density, limits.polyphony) = (2..=3, 5..=6)),
            "another polyphony",
        ),
        (
            limit(&|limits| {
                limits.density = 9..=9;
                (limits.polyphony, limits.lengths) = (1..=1, Ticks(960)..=Ticks(1920));
            }),
            "leave room for",
        ),
        (
            limit(&|limits| {
                limits.density = 0..=1;
                (limits.lengths, limits.rests) = (Ticks(1)..=Ticks(960), Ticks(0)..=Ticks(960));
            }),
            "too little for rests",
        ),
    ] {
        assert!(said.contains(expected), "{said}");
    }
    // Half a note more than one in each bar takes two bars.
    let narrow = self::oracle(learned(), 4096, 8);
    let mut one = song(1, &[33]);
    one.tracks[0].limits.density = 1..=1;
    assert!(written(&narrow, &one).is_none());
    one.length = 2;
    assert!(written(&narrow, &one).is_some());
    let windows = Spec::Mmm(Default::default());
    let windows = self::oracle(windows, 4096, 8);
    let mut locked = song(4, &[0]);
    locked.key = Some((Scale::new(9, Mode::Minor), Hold::Locked));
    let refused = compose(&windows, locked, Arc::default()).unwrap_err();
    assert!(refused.to_string().contains("mmm"), "{refused}");
    // Cells among known ones are nothing that a model can say that has each bar once.
    let plain = self::oracle(multitrack(), 4096, 8);
    let mut amid = song(4, &[0, 33]);
    amid.wanted = Some([(1, instrument(0))].into());
    let refused = compose(&plain, amid, Arc::default());
    assert!(matches!(refused, Err(GenerationError::Whole)));
}
