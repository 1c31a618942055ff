//! Writing a song: bars, one after another.
//!
//! Where what is wanted is all of the last bars, the model goes on from what is known, for as long as bars are
//! taken. Else it says the wanted cells behind all that is known, before them and after, in windows that fit its
//! context.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::ScopedJoinHandle;

use super::{Cells, Song, check};
use crate::encoding::{Conditioning, Kind, Lexicon, Token};
use crate::engine::{Engine, Lanes, alone};
use crate::generation::fill::{Piece, bars};
use crate::generation::steer::Steer;
use crate::generation::{Cache, GeneratedBar, GenerationError, Generator, Request, bar_rng};
use crate::instrument::{Instrument, InstrumentSet};
use crate::score::{Note, Score};

/// How often [`compose`] tries again where a track is silent throughout, before it has it play.
pub const RETRIES: u64 = 2;

/// What differs from one try to the next.
#[derive(Clone, Copy, Default)]
struct Try {
    /// Its number, from 0: each has other random numbers.
    number: u64,
    /// Tracks that play in the first bar in which they can.
    forced: InstrumentSet,
}

/// An iterator over the bars of a song in which something is wanted, in order. Their notes are what was
/// written; what is known is the caller's already.
pub struct Composer {
    generator: Generator,
    cells: Arc<Cells>,
    /// The music so far, where cells among known ones are wanted.
    piece: Option<Piece>,
    /// Its bars before this one are written, and those before the other were taken.
    done: usize,
    taken: usize,
}

impl Composer {
    /// Makes ready; runs nothing yet. `cancel` stops it between two tokens. What the last composer of this model
    /// has read is read no more where its `cache` is given.
    ///
    /// # Errors
    /// What is wrong in the song, [`GenerationError::Whole`] where cells among known ones are wanted of a model
    /// that cannot say them, and what [`Generator::new`] fails by.
    pub fn new(
        engine: &dyn Engine,
        song: Song,
        cancel: Arc<AtomicBool>,
        cache: Option<Cache>,
    ) -> Result<Self, GenerationError> {
        check::check(&song, &engine.manifest().encoding)?;
        let cells = Arc::new(Cells::new(song));
        Self::over(engine, cells, Try::default(), cancel, cache)
    }

    /// Of a song that was checked.
    fn over(
        engine: &dyn Engine,
        cells: Arc<Cells>,
        attempt: Try,
        cancel: Arc<AtomicBool>,
        cache: Option<Cache>,
    ) -> Result<Self, GenerationError> {
        check::check_densities(&cells, &engine.manifest().encoding)?;
        let song = &cells.song;
        let state = song.state(0);
        let request = Request {
            conditioning: song.conditioning(),
            bars: song.length,
            metre: state.metre,
            micros_per_quarter: state.micros_per_quarter,
            // An odd factor of many bits, so that no try is another seed's first.
            seed: song.seed ^ attempt.number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            sampling: song.sampling,
            max_tokens: song.max_tokens,
        };
        let mut generator = Generator::with(engine, request, cancel, cache)?;
        let encoding = &generator.encoding;
        let by_cell = encoding.fills();
        let settings = encoding.quantize_settings();
        generator.states = cells.states(&**encoding);
        let tail = cells.tail();
        let known = match tail {
            Some(first) => first,
            None if by_cell => {
                check::check_length(song)?;
                song.length
            }
            None => return Err(GenerationError::Whole),
        };
        let score = cells.known_score(known, settings);
        let mut body = encoding.encode(&score).pop().unwrap_or_default();
        // The song goes on: the body's end is none.
        body.tokens.pop();
        let mut said = match known {
            0 => Vec::new(),
            _ => bars(&generator, &body.tokens),
        };
        cells.tell_chords(encoding.lexicon(), &mut said);
        let spec = &engine.manifest().encoding;
        if check::is_steerable(spec) && !cells.song.tracks.is_empty() {
            let densities = spec.densities();
            let forced = attempt.forced;
            let steer = Steer::new(cells.clone(), settings, &densities, by_cell, forced);
            generator.steer = Some(steer);
        }
        let piece = match tail {
            Some(first) => {
                generator.go_on(first, said);
                None
            }
            None => Some(Piece {
                conditioning: Conditioning {
                    instruments: Some(cells.song.players()),
                    ..generator.conditionings[0]
                },
                bars: said,
                body,
            }),
        };
        Ok(Self {
            generator,
            piece,
            done: 0,
            taken: 0,
            cells,
        })
    }

    /// Reads what is known before the first bar that is written, which is then there the sooner. Does nothing
    /// where cells among known ones are wanted, or a bar is written.
    ///
    /// # Errors
    /// What generation fails by.
    pub fn prepare(&mut self) -> Result<(), GenerationError> {
        match self.piece.is_some() || self.generator.started {
            true => Ok(()),
            false => alone(self.generator.begin()),
        }
    }

    /// What was read, for the next composer of this model.
    pub fn into_cache(self) -> Cache {
        self.generator.cache
    }

    /// Tokens drawn so far.
    pub fn tokens_drawn(&self) -> usize {
        self.generator.tokens_drawn()
    }

    /// The next bar.
    async fn next_bar(&mut self) -> Option<Result<GeneratedBar, GenerationError>> {
        if self.piece.is_none() {
            return self.generator.next_bar().await;
        }
        match self.next_filled().await {
            Ok(bar) => bar.map(Ok),
            Err(error) => {
                // What is half written is no use.
                self.piece = None;
                self.generator.ended = true;
                Some(Err(error))
            }
        }
    }

    /// The next bar of what is filled in.
    async fn next_filled(&mut self) -> Result<Option<GeneratedBar>, GenerationError> {
        let Some(piece) = &mut self.piece else {
            return Ok(None);
        };
        let cells = self.cells.clone();
        let wants = |bar, instrument| cells.wants(bar, instrument);
        loop {
            while self.taken < self.done {
                let index = self.taken as u32;
                self.taken += 1;
                if !cells.wants_any(index) {
                    continue;
                }
                let tokens = piece.bars[index as usize].clone();
                let encoding = &self.generator.encoding;
                let mut bars = encoding.bars(&encoding.head(&piece.conditioning));
                encoding.decode_bar(&tokens, &mut bars);
                let notes = bars.next().unwrap_or_default().notes.into_iter();
                let state = cells.song.state(index);
                return Ok(Some(GeneratedBar {
                    index,
                    metre: state.metre,
                    micros_per_quarter: state.micros_per_quarter,
                    notes: notes.filter(|(by, _)| wants(index, *by)).collect(),
                    tokens,
                }));
            }
            match piece
                .fill_next(&mut self.generator, self.done, &wants)
                .await?
            {
                Some(end) => self.done = end,
                None => return Ok(None),
            }
        }
    }
}

impl Generator {
    /// Has bars from `first` on follow `known`, the tokens of each bar before it: as many of the last as half
    /// of the context holds.
    fn go_on(&mut self, first: u32, mut known: Vec<Vec<Token>>) {
        let (mut tokens, most) = (0, self.context.tokens / 2);
        let fits = known.iter().rev().take(self.context.bars.max(1));
        let fits = fits.take_while(|bar| {
            tokens += bar.len();
            tokens <= most
        });
        let forgotten = known.len() - fits.count();
        known.drain(..forgotten);
        (self.first, self.index) = (first, first);
        self.kept = known;
        self.rng = bar_rng(self.request.seed, first);
        self.ended = first >= self.request.bars;
    }
}

impl Iterator for Composer {
    type Item = Result<GeneratedBar, GenerationError>;

    fn next(&mut self) -> Option<Self::Item> {
        alone(self.next_bar())
    }
}

/// The whole song: what is known as it was, and all that is wanted. Where a track is silent throughout that need
/// not be, it is tried [`RETRIES`] times again with other random numbers, and then such a track is had to begin
/// with a note.
///
/// # Errors
/// As [`Composer::new`], and what generation fails by; a song of too many bars is [`super::SongError::Long`].
pub fn compose(
    engine: &dyn Engine,
    song: Song,
    cancel: Arc<AtomicBool>,
) -> Result<Score, GenerationError> {
    let attempt = Attempt::new(engine, song, &cancel)?;
    alone(attempt.finish(engine, &cancel, &|_, _| ()))
}

/// Several songs at once, each as [`compose`] writes it: their tokens are run together, on as
/// many threads as the engine can do with.
///
/// # Errors
/// Of the first song that fails.
pub fn compose_all(
    engine: &dyn Engine,
    songs: Vec<Song>,
    cancel: Arc<AtomicBool>,
) -> Result<Vec<Score>, GenerationError> {
    compose_watched(engine, songs, cancel, &|_, _, _| ())
}

/// Is told which of several songs a bar was written of, the bar, and how many tokens of the song were drawn so
/// far. What is tried again begins anew.
pub type Seen<'a> = dyn Fn(usize, &GeneratedBar, usize) + Sync + 'a;

/// As [`compose_all`], while `seen` is told of each bar.
///
/// # Errors
/// As [`compose_all`].
pub fn compose_watched(
    engine: &dyn Engine,
    songs: Vec<Song>,
    cancel: Arc<AtomicBool>,
    seen: &Seen,
) -> Result<Vec<Score>, GenerationError> {
    let groups = engine.side_by_side().clamp(1, songs.len().max(1));
    let size = songs.len().div_ceil(groups).max(1);
    let mut rest = songs.into_iter().enumerate();
    let groups = std::iter::from_fn(|| {
        let group: Vec<(usize, Song)> = rest.by_ref().take(size).collect();
        (!group.is_empty()).then_some(group)
    });
    let groups: Vec<_> = groups.collect();
    std::thread::scope(|scope| {
        let cancel = &cancel;
        let write = move |group| compose_group(engine, group, cancel, seen);
        let mut groups = groups.into_iter();
        let own = groups.next();
        let others = groups.map(|group| scope.spawn(move || write(group)));
        let others: Vec<ScopedJoinHandle<_>> = others.collect();
        let own = own.map(write);
        let join = |thread: ScopedJoinHandle<_>| match thread.join() {
            Ok(scores) => scores,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let groups = own.into_iter().chain(others.into_iter().map(join));
        let groups = groups.collect::<Result<Vec<Vec<Score>>, _>>()?;
        Ok(groups.into_iter().flatten().collect())
    })
}

/// Songs whose tokens are run together, with their numbers.
fn compose_group(
    engine: &dyn Engine,
    songs: Vec<(usize, Song)>,
    cancel: &Arc<AtomicBool>,
    seen: &Seen,
) -> Result<Vec<Score>, GenerationError> {
    let lanes = Lanes::new(engine);
    let attempt = |(index, song)| Ok((index, Attempt::new(&lanes, song, cancel)?));
    let attempts = songs.into_iter().map(attempt);
    let attempts: Vec<(usize, Attempt)> = attempts.collect::<Result<_, GenerationError>>()?;
    let writers = attempts.into_iter().map(|(index, attempt)| {
        let lanes = &lanes;
        async move {
            let seen = |bar: &GeneratedBar, drawn| seen(index, bar, drawn);
            attempt.finish(lanes, cancel, &seen).await
        }
    });
    let written = lanes.write(writers);
    let written = written.map_err(|source| GenerationError::Engine { bar: 0, source })?;
    written.into_iter().collect()
}

/// A song that is tried.
struct Attempt {
    cells: Arc<Cells>,
    composer: Composer,
}

impl Attempt {
    /// The first.
    fn new(
        engine: &dyn Engine,
        song: Song,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Self, GenerationError> {
        check::check(&song, &engine.manifest().encoding)?;
        check::check_length(&song)?;
        let cells = Arc::new(Cells::new(song));
        let first = Try::default();
        let composer = Composer::over(engine, cells.clone(), first, cancel.clone(), None)?;
        Ok(Self { cells, composer })
    }

    /// Tries until every track plays that must.
    async fn finish(
        self,
        engine: &dyn Engine,
        cancel: &Arc<AtomicBool>,
        seen: &dyn Fn(&GeneratedBar, usize),
    ) -> Result<Score, GenerationError> {
        let Self {
            cells,
            mut composer,
        } = self;
        let mut attempt = Try::default();
        loop {
            let mut written: Vec<(Instrument, Note)> = Vec::new();
            while let Some(bar) = composer.next_bar().await {
                let bar = bar?;
                seen(&bar, composer.tokens_drawn());
                let start = cells.bar(bar.index).start;
                written.extend(bar.notes.into_iter().map(|(by, note)| {
                    let start = start + note.start;
                    (by, Note { start, ..note })
                }));
            }
            let silent = cells.silent(&written);
            if silent.is_empty() || attempt.number > RETRIES {
                return Ok(cells.whole(written));
            }
            attempt.number += 1;
            if attempt.number > RETRIES {
                attempt.forced = silent.union(&attempt.forced);
            }
            let cache = Some(composer.into_cache());
            composer = Composer::over(engine, cells.clone(), attempt, cancel.clone(), cache)?;
        }
    }
}

impl Cells {
    /// Has bars in which something is wanted say the chords that were asked for.
    fn tell_chords(&self, lexicon: &Lexicon, bars: &mut [Vec<Token>]) {
        let chords = lexicon.run(Kind::Chord);
        for (index, bar) in (0..).zip(bars) {
            if let Some(chord) = self.chord(index).filter(|_| self.wants_any(index)) {
                let said = bar.iter_mut().filter(|token| chords.contains(&**token));
                said.for_each(|token| *token = chords.start + chord.index());
            }
        }
    }

    /// Tracks of which something is wanted, nothing is `written` and silence was not asked for.
    fn silent(&self, written: &[(Instrument, Note)]) -> InstrumentSet {
        let tracks = self.song.tracks.iter().filter(|track| !track.may_rest);
        let silent = tracks.map(|track| track.instrument).filter(|&by| {
            (0..self.song.length).any(|bar| self.wants(bar, by))
                && !written.iter().any(|(other, _)| *other == by)
        });
        silent.collect()
    }
}
