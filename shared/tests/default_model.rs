//! The default model in real engines: what every user of it may count on.

use std::sync::Arc;
use std::time::Instant;

use famam_shared::bundle::Bundle;
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::generation::song::{Composer, Song, SongBar, compose, compose_all};
use famam_shared::instrument::Instrument;

fn bundle() -> Bundle {
    Bundle::read(include_bytes!("../../models/famam.onnx")).unwrap()
}

fn song(engine: &dyn Engine, length: u32, seed: u64) -> Song {
    let manifest = engine.manifest();
    let band = [128, 33, 27, 0].map(|i| Instrument::new(i).unwrap());
    let song = Song {
        genre: manifest.vocabulary.genre("rock").unwrap_or(0),
        seed,
        sampling: manifest.sampling,
        ..Song::new(length, SongBar::default())
    };
    song.band(band.into_iter().collect())
}

/// One request with one seed is one piece: on one thread and on four, alone and with others, whatever was read
/// before; on each of the engines.
#[test]
fn a_seed_has_the_same_notes_however_they_are_computed() {
    let bundle = bundle();
    for choice in [Choice::Native, Choice::Ort, Choice::Rten] {
        let load = |threads| engine::load(&bundle, threads, choice);
        let (one, four) = match (load(1), load(4)) {
            (Ok(one), Ok(four)) => (one, four),
            (Err(error), _) | (_, Err(error)) => {
                println!("skipped: {error}");
                continue;
            }
        };
        // Seeds whose notes once depended on the number of threads.
        let songs = [3, 5].map(|seed| song(&*one, 6, seed));
        let together = compose_all(&*four, songs.to_vec(), Arc::default()).unwrap();
        let mut cache = None;
        for (song, together) in songs.into_iter().zip(together) {
            let alone = compose(&*one, song.clone(), Arc::default()).unwrap();
            assert!(alone.note_count() > 20);
            assert_eq!(alone, together, "{}, seed {}", one.name(), song.seed);
            let notes = |composer: &mut Composer| -> Vec<_> {
                composer.map(|bar| bar.unwrap().notes).collect()
            };
            let mut cold = Composer::new(&*one, song.clone(), Arc::default(), None).unwrap();
            let was_warm = cache.is_some();
            let mut warm = Composer::new(&*four, song.clone(), Arc::default(), cache).unwrap();
            let (cold, warmed) = (notes(&mut cold), notes(&mut warm));
            let same = cold.iter().zip(&warmed).take_while(|(a, b)| a == b).count();
            assert_eq!(
                same,
                6,
                "bars alike, {}, seed {}, {was_warm}",
                one.name(),
                song.seed
            );
            cache = Some(warm.into_cache());
        }
    }
}

/// Bars stream for as long as they are taken, and the last ones cost what the first did.
#[test]
fn ten_thousand_bars_take_no_more_time_or_memory_than_the_first() {
    if std::env::var_os("FAMAM_LONG").is_none() {
        println!("skipped: FAMAM_LONG is not set");
        return;
    }
    let engine = engine::load(&bundle(), 1, Choice::Auto).unwrap();
    let song = song(&*engine, u32::MAX, 1);
    let mut composer = Composer::new(&*engine, song, Arc::default(), None).unwrap();
    let mut tokens = 0;
    let mut thousand = |composer: &mut Composer| {
        let start = Instant::now();
        for _ in 0..1000 {
            composer.next().unwrap().unwrap();
        }
        let drawn =
            composer.tokens_drawn() - std::mem::replace(&mut tokens, composer.tokens_drawn());
        (
            1e6 * start.elapsed().as_secs_f64() / drawn as f64,
            resident(),
        )
    };
    let parts: Vec<(f64, u64)> = (0..10).map(|_| thousand(&mut composer)).collect();
    println!("microseconds a token, kB of memory, by thousand bars: {parts:?}");
    let (_, first) = parts[1];
    let (_, last) = parts[9];
    assert!(last < first + 2048, "{first} kB, then {last} kB");
    // Other work on the machine slows some thousands: the fastest of either half tell.
    let fastest = |parts: &[(f64, u64)]| {
        let times = parts.iter().map(|(time, _)| *time);
        times.fold(f64::INFINITY, f64::min)
    };
    let (early, late) = (fastest(&parts[..5]), fastest(&parts[5..]));
    assert!(late < 1.1 * early, "{early:.0} and {late:.0} microseconds");
}

/// Memory of this process, kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
