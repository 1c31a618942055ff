//! What a composer leaves to the next: known music is read once, and no note changes by it.

mod counting;
mod model;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use counting::Counting;
use famam_shared::engine::{Engine, Lanes};
use famam_shared::generation::song::{Composer, Song, SongBar, compose, compose_all};
use famam_shared::generation::{Cache, GeneratedBar, GenerationError};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Precision;
use famam_shared::score::Ticks;
use model::{choices_of, engine, rotary, small, weights};

impl Counting {
    /// What `read` has the engine run.
    fn runs(&self, read: impl FnOnce()) -> usize {
        let before = self.tokens();
        read();
        self.tokens() - before
    }

    /// A composer that has read what is known before its first bar.
    fn prepared(&self, song: &Song, cache: Option<Cache>) -> Composer {
        let mut composer = Composer::new(self, song.clone(), Arc::default(), cache).unwrap();
        composer.prepare().unwrap();
        composer
    }
}

fn bars(composer: &mut Composer) -> Vec<GeneratedBar> {
    composer.map(Result::unwrap).collect()
}

#[test]
fn what_is_known_is_read_once_and_changes_no_note() {
    let t = small(rotary());
    for choice in choices_of(&t) {
        for guidance in [1.0, 2.0] {
            let engine = engine(&t, &weights(&t, 1), Precision::Int8, 1, choice);
            let engine = Counting::new(engine);
            let band = [128, 0, 33].map(|i| Instrument::new(i).unwrap());
            let mut song = Song::new(8, SongBar::default()).band(band.into_iter().collect());
            (song.genre, song.sampling.guidance) = (1, guidance);
            song.known = compose(&engine, song.clone(), Arc::default()).unwrap();
            song.length = 11;
            let expected = bars(&mut engine.prepared(&song, None));
            assert_eq!(expected.len(), 3);

            // The same music with another seed: none of it is read again but the last token, of each row.
            let mut cold = None;
            let all = engine.runs(|| cold = Some(engine.prepared(&song, None).into_cache()));
            let again = Song {
                seed: 5,
                ..song.clone()
            };
            let mut warm = None;
            let read = engine.runs(|| warm = Some(engine.prepared(&again, cold)));
            assert_eq!(read, if guidance > 1.0 { 2 } else { 1 });
            let mut warm = warm.unwrap();
            assert_ne!(bars(&mut warm), expected, "another seed");

            // A note of the sixth bar is gone: what is before it is not read again.
            let whole = engine.prepared(&song, Some(warm.into_cache())).into_cache();
            let mut edited = song.clone();
            let notes = edited.known.tracks.iter_mut().map(|track| &mut track.notes);
            let sixth = |start: Ticks| (5 * 3840..6 * 3840).contains(&start.0);
            for notes in notes {
                notes.retain(|note| !sixth(note.start));
            }
            let mut warm = None;
            let read = engine.runs(|| warm = Some(engine.prepared(&edited, Some(whole))));
            assert!(0 < read && read < all / 2, "{read} of {all}");
            let mut fresh = engine.prepared(&edited, None);
            let mut warm = warm.unwrap();
            assert_eq!(bars(&mut warm), bars(&mut fresh));

            // And back: as if nothing had been.
            let mut back = engine.prepared(&song, Some(warm.into_cache()));
            assert_eq!(bars(&mut back), expected);
        }
    }
}

/// Songs of several lengths, with and without known music and guidance, and one that is no song.
#[test]
fn songs_that_are_written_together_are_those_that_are_written_one_by_one() {
    let t = small(rotary());
    for choice in choices_of(&t) {
        let engine = engine(&t, &weights(&t, 1), Precision::Int8, 2, choice);
        let band = [128, 0, 33].map(|i| Instrument::new(i).unwrap());
        let mut songs: Vec<Song> = (0..6)
            .map(|seed| Song {
                seed,
                genre: (seed % 3) as u16,
                ..Song::new(2 + seed as u32, SongBar::default()).band(band.into_iter().collect())
            })
            .collect();
        songs[1].sampling.guidance = 2.0;
        songs[2].known = compose(&*engine, songs[0].clone(), Arc::default()).unwrap();
        songs[2].length = 5;
        songs[3].sampling.beam = 2;
        let together = compose_all(&*engine, songs.clone(), Arc::default()).unwrap();
        for (song, together) in songs.iter().zip(&together) {
            let alone = compose(&*engine, song.clone(), Arc::default()).unwrap();
            assert!(alone.note_count() > 0);
            assert_eq!(&alone, together, "seed {}", song.seed);
        }
        songs[4].length = 0;
        assert!(compose_all(&*engine, songs, Arc::default()).is_err());
        let none = compose_all(&*engine, Vec::new(), Arc::default()).unwrap();
        assert!(none.is_empty());
    }
}

#[test]
fn lanes_that_are_left_are_run_no_more() {
    let t = small(rotary());
    for choice in choices_of(&t) {
        let engine = engine(&t, &weights(&t, 1), Precision::Int8, 1, choice);
        let engine = Counting::new(engine);
        let lanes = Lanes::new(&engine);
        // Each of some rows, and how often it runs.
        let streams = [(1, 0), (2, 1), (1, 0), (1, 3)];
        let streams = streams.map(|(rows, runs)| (lanes.open(rows, 64).unwrap(), rows, runs));
        let writers = streams.map(async |(mut stream, rows, runs)| {
            for token in 1..=runs {
                let token = [token];
                let tokens = vec![&token[..]; rows];
                poll_fn(|_| stream.poll_run(&tokens).map(|ran| ran.map(drop)))
                    .await
                    .unwrap();
            }
            (0..rows).map(|row| stream.len(row)).collect::<Vec<_>>()
        });
        let mut lengths = Vec::new();
        let ran = engine.runs(|| lengths = lanes.write(writers).unwrap());
        assert_eq!(lengths, [vec![0], vec![1, 1], vec![0], vec![3]]);
        // A token of each of three rows, then of the one that is left.
        assert_eq!(ran, 3 + 1 + 1);
    }
}

#[test]
fn songs_that_are_written_together_are_cancelled_together() {
    let t = small(rotary());
    for choice in choices_of(&t) {
        let engine = engine(&t, &weights(&t, 1), Precision::Int8, 1, choice);
        let song = Song::new(2000, SongBar::default());
        let cancel: Arc<AtomicBool> = Arc::default();
        std::thread::scope(|scope| {
            let writes = || compose_all(&*engine, vec![song.clone(); 3], cancel.clone());
            let written = scope.spawn(writes);
            std::thread::sleep(Duration::from_millis(50));
            cancel.store(true, Ordering::Relaxed);
            let written = written.join().unwrap();
            assert!(matches!(written, Err(GenerationError::Cancelled)));
        });
    }
}
