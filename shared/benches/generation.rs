//! How fast a model makes music: the first bar of an empty song, behind known bars and among them,
//! notes a second over 64 bars, and several variations at once.
//!
//! ```sh
//! cargo bench -p famam-shared --bench generation [BUNDLE.onnx]
//! ```

mod measure;
#[path = "../tests/model/mod.rs"]
mod model;

use std::sync::Arc;

use famam_shared::engine::{self, Choice, Engine};
use famam_shared::generation::song::{Composer, Song, SongBar, compose, compose_all};
use famam_shared::generation::{Cache, GeneratedBar, GenerationError};
use famam_shared::instrument::{Instrument, InstrumentSet};
use famam_shared::score::Score;
use measure::{load, median, quantile, timed};

const GENRES: [&str; 5] = ["rock", "jazz", "funk", "pop", "latin"];
const SEEDS: u64 = 20;
/// Fewer notes than these make no bar that counts.
const FEW: usize = 8;
/// Bars that are known, where some are.
const KNOWN: u32 = 8;
/// The bar of them, from 0, in which a cell is wanted.
const OPEN: u32 = 4;
/// Songs that are written at once, and their bars.
const VARIATIONS: u64 = 8;
const VARIED: u32 = 4;
const ROUNDS: usize = 5;

fn main() {
    let (name, bundle) = measure::bundle_asked();
    println!("{name}; load {}", load());
    for choice in [Choice::Native, Choice::Ort, Choice::Rten] {
        let engines = [2, 1].map(|threads| engine::load(&bundle, threads, choice));
        match engines {
            [Ok(two), Ok(one)] => {
                println!("{}", two.name());
                let empty = |genre, seed| song(&*two, genre, seed, 16);
                let mut figure = FirstBar::new("empty song", FEW, None);
                each(|genre, seed| figure.time(&*two, empty(genre, seed), None).map(drop))
                    .expect("bars");
                figure.print(&two.name());
                if choice == Choice::Native {
                    known_bars(&*two).expect("bars among known ones");
                    variations(&*two).expect("variations");
                }
                sustained(&*one);
            }
            [Err(error), _] | [_, Err(error)] => println!("{choice:?}: {error}"),
        }
    }
}

/// `length` bars of drums, bass, guitar and piano in `genre`.
fn song(engine: &dyn Engine, genre: &str, seed: u64, length: u32) -> Song {
    let manifest = engine.manifest();
    let band = [33, 27, 0].into_iter().filter_map(Instrument::new);
    let instruments: InstrumentSet = band.chain([Instrument::DRUMS]).collect();
    Song {
        genre: manifest.vocabulary.genre(genre).unwrap_or(0),
        seed,
        sampling: manifest.sampling,
        ..Song::new(length, SongBar::default()).band(instruments)
    }
}

/// `work` with every genre and seed.
fn each(
    mut work: impl FnMut(&'static str, u64) -> Result<(), GenerationError>,
) -> Result<(), GenerationError> {
    let mut seeds = GENRES
        .iter()
        .flat_map(|genre| (0..SEEDS).map(move |seed| (*genre, seed)));
    seeds.try_for_each(|(genre, seed)| work(genre, seed))
}

/// Wall times from the request to the first whole bar that is written, milliseconds.
struct FirstBar {
    what: &'static str,
    /// Bars of fewer notes are counted apart.
    few: usize,
    /// What is to be reached, milliseconds.
    most: Option<u32>,
    times: Vec<f64>,
    sparse: Vec<f64>,
}

impl FirstBar {
    fn new(what: &'static str, few: usize, most: Option<u32>) -> Self {
        let (times, sparse) = Default::default();
        Self {
            what,
            few,
            most,
            times,
            sparse,
        }
    }

    /// Writes the first bar of `song`; what was read and written.
    fn time(
        &mut self,
        engine: &dyn Engine,
        song: Song,
        cache: Option<Cache>,
    ) -> Result<(Composer, GeneratedBar), GenerationError> {
        let (done, time) = timed(|| {
            let mut composer = Composer::new(engine, song, Arc::default(), cache)?;
            let bar = composer.next().expect("a bar")?;
            Ok::<_, GenerationError>((composer, bar))
        });
        let done = done?;
        match done.1.notes.len() < self.few {
            true => self.sparse.push(time),
            false => self.times.push(time),
        }
        Ok(done)
    }

    fn print(&self, engine: &str) {
        let (what, few) = (self.what, self.few);
        let said = [String::new(), format!(" of fewer than {few} notes")];
        for (times, of) in [&self.times, &self.sparse].into_iter().zip(said) {
            let (Some(median), Some(late)) = (quantile(times, 0.5), quantile(times, 0.95)) else {
                continue;
            };
            let count = times.len();
            let figure = format!("median {median:.0} ms, 95 % {late:.0} ms ({count} bars)");
            println!("  first bar, {what}{of}: {figure}");
            if let (Some(most), true) = (self.most, of.is_empty()) {
                println!("figure | first bar, {what}, {engine} | {figure} | at most {most} ms");
            }
        }
    }
}

/// First bars behind known ones and, where the model can say them, of a cell among them. What is known
/// the model has written itself.
fn known_bars(engine: &dyn Engine) -> Result<(), GenerationError> {
    let mut cold = FirstBar::new("8 known bars, cold", FEW, Some(300));
    let mut warm = FirstBar::new("8 known bars in the cache", FEW, Some(150));
    let mut cell = FirstBar::new("a cell among 8 known bars, cold", 1, Some(300));
    let piano = InstrumentSet::from_iter(Instrument::new(0));
    let mut no_cell = None;
    for genre in GENRES {
        let songs = (0..SEEDS).map(|seed| song(engine, genre, seed, KNOWN));
        let written: Vec<Score> = compose_all(engine, songs.collect(), Arc::default())?;
        for (seed, known) in (0..).zip(written) {
            let behind = Song {
                known,
                ..song(engine, genre, seed, KNOWN + 1)
            };
            cold.time(engine, behind.clone(), None)?;
            let mut reader = Composer::new(engine, behind.clone(), Arc::default(), None)?;
            reader.prepare()?;
            let cache = Some(reader.into_cache());
            warm.time(engine, behind.clone(), cache)?;
            let among = Song {
                length: KNOWN,
                wanted: Some(piano.iter().map(|by| (OPEN, by)).collect()),
                ..behind
            };
            match cell.time(engine, among, None) {
                Err(why @ GenerationError::Whole) => no_cell = Some(why),
                done => drop(done?),
            }
        }
    }
    for figure in [cold, warm, cell] {
        figure.print(&engine.name());
    }
    if let Some(why) = no_cell {
        println!("  a cell among known bars: {why}");
    }
    Ok(())
}

/// Wall time of variations that are written at once and one after the other, in turns.
fn variations(engine: &dyn Engine) -> Result<(), GenerationError> {
    let mut times = [Vec::new(), Vec::new()];
    for genre in [GENRES; ROUNDS].into_iter().flatten() {
        let songs = (0..VARIATIONS).map(|seed| song(engine, genre, seed, VARIED));
        let songs: Vec<Song> = songs.collect();
        let cancel = Arc::default();
        let (together, batched) = timed(|| compose_all(engine, songs.clone(), Arc::default()));
        let alone = songs
            .into_iter()
            .map(|song| compose(engine, song, Arc::clone(&cancel)));
        let (alone, in_turn) = timed(|| alone.collect::<Result<Vec<_>, _>>());
        assert_eq!(together?, alone?, "what is written at once is the same");
        times[0].push(batched);
        times[1].push(in_turn);
    }
    let ratios = times[1]
        .iter()
        .zip(&times[0])
        .map(|(turn, batch)| turn / batch);
    let ratio = median(&ratios.collect::<Vec<f64>>());
    let [batched, in_turn] = times.map(|times| median(&times));
    println!(
        "figure | {VARIATIONS} variations of {VARIED} bars at once against one after the other, two threads, {} | \
         {batched:.0} ms, {in_turn:.0} ms, {ratio:.2} times | at least 2.5",
        engine.name()
    );
    Ok(())
}

/// Notes and tokens a second of wall time, over 64 bars of each genre.
fn sustained(engine: &dyn Engine) {
    let (mut notes, mut tokens, mut seconds) = (0, 0, 0.0);
    for genre in GENRES {
        let song = song(engine, genre, 1, 64);
        let ((written, drawn), time) = timed(|| {
            let composer = Composer::new(engine, song, Arc::default(), None);
            let mut composer = composer.expect("a song");
            let bars = composer.by_ref();
            let written: usize = bars.map(|bar| bar.expect("a bar").notes.len()).sum();
            (written, composer.tokens_drawn())
        });
        notes += written;
        tokens += drawn;
        seconds += time / 1e3;
    }
    let (per_note, per_token) = (notes as f64 / seconds, tokens as f64 / seconds);
    println!(
        "  sustained, one thread: {per_note:.0} notes/s, {per_token:.0} tokens/s ({notes} notes)"
    );
    println!(
        "figure | notes a second, sustained, {} | {per_note:.0} ({:.1} times real time) | at least 200",
        engine.name(),
        per_note / 16.0
    );
}
