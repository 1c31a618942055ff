//! Writing a song: bars, one after another.
//!
//! Where what is wanted is all of the last bars, the model goes on from what is known, for as long as bars are
//! taken. Else it says the wanted cells behind all that is known, before them and after, in windows that fit its
//! context.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Cells, Song, check};
use crate::encoding::{Conditioning, Kind, Lexicon, Token};
use crate::engine::Engine;
use crate::generation::fill::{Piece, bars};
use crate::generation::steer::Steer;
use crate::generation::{GeneratedBar, GenerationError, Generator, Request, bar_rng};
use crate::instrument::{Instrument, InstrumentSet};
use crate::score::{Note, Score};

/// How often [`compose`] tries again where a track is silent throughout, before it has it play.
pub const RETRIES: u64 = 2;

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
    /// Makes ready; runs nothing yet. Tracks of `forced` play in the first bar in which they can. `cancel` stops it
    /// between two tokens.
    ///
    /// # Errors
    /// What is wrong in the song, [`GenerationError::Whole`] where cells among known ones are wanted of a model
    /// that cannot say them, and what [`Generator::new`] fails by.
    pub fn new(
        engine: &dyn Engine,
        song: Song,
        forced: InstrumentSet,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, GenerationError> {
        check::check(&song, &engine.manifest().encoding)?;
        Self::over(engine, Arc::new(Cells::new(song)), 0, forced, cancel)
    }

    /// Of a song that was checked; each try has other random numbers.
    fn over(
        engine: &dyn Engine,
        cells: Arc<Cells>,
        attempt: u64,
        forced: InstrumentSet,
        cancel: Arc<AtomicBool>,
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
            seed: song.seed ^ attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            sampling: song.sampling,
            max_tokens: None,
        };
        let mut generator = Generator::new(engine, request, cancel)?;
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
        let densities = engine.manifest().encoding.densities();
        let steer = Steer::new(cells.clone(), settings, &densities, by_cell, forced);
        generator.steer = Some(steer);
        let piece = match tail {
            Some(first) => {
                generator.go_on(first, said);
                None
            }
            None => Some(Piece {
                conditioning: Conditioning {
                    instruments: Some(cells.song.band()),
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

    /// The next bar of what is filled in.
    fn next_filled(&mut self) -> Result<Option<GeneratedBar>, GenerationError> {
        let Some(piece) = &mut self.piece else {
            return Ok(None);
        };
        let cells = self.cells.clone();
        let wants = |bar, instrument| cells.wants(bar, instrument);
        loop {
            while self.taken < self.done {
                let index = self.taken as u32;
                self.taken += 1;
                if !cells
                    .song
                    .tracks
                    .iter()
                    .any(|track| wants(index, track.instrument))
                {
                    continue;
                }
                let tokens = piece.bars[index as usize].clone();
                let encoding = &self.generator.encoding;
                let mut bars = encoding.bars(&encoding.head(&piece.conditioning));
                encoding.decode_bar(&tokens, &mut bars);
                let notes = bars.next().unwrap_or_default().notes.into_iter();
                return Ok(Some(GeneratedBar {
                    index,
                    metre: cells.song.state(index).metre,
                    notes: notes.filter(|(by, _)| wants(index, *by)).collect(),
                    tokens,
                }));
            }
            match piece.fill_next(&mut self.generator, self.done, &wants)? {
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
        match self.piece {
            None => self.generator.next(),
            Some(_) => match self.next_filled() {
                Ok(bar) => bar.map(Ok),
                Err(error) => {
                    // What is half written is no use.
                    self.piece = None;
                    self.generator.ended = true;
                    Some(Err(error))
                }
            },
        }
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
    check::check(&song, &engine.manifest().encoding)?;
    check::check_length(&song)?;
    let cells = Arc::new(Cells::new(song));
    let mut forced = InstrumentSet::default();
    let mut attempt = 0;
    loop {
        let composer = Composer::over(engine, cells.clone(), attempt, forced, cancel.clone())?;
        let mut written: Vec<(Instrument, Note)> = Vec::new();
        for bar in composer {
            let bar = bar?;
            let start = cells.bar(bar.index).start;
            written.extend(bar.notes.into_iter().map(|(by, note)| {
                let start = start + note.start;
                (by, Note { start, ..note })
            }));
        }
        let silent = cells.silent(&written);
        if silent.is_empty() || attempt > RETRIES {
            return Ok(cells.whole(written));
        }
        attempt += 1;
        if attempt > RETRIES {
            forced = silent.union(&forced);
        }
    }
}

impl Cells {
    /// Has bars in which something is wanted say the chords that were asked for.
    fn tell_chords(&self, lexicon: &Lexicon, bars: &mut [Vec<Token>]) {
        let chords = lexicon.run(Kind::Chord);
        for (index, bar) in (0..).zip(bars) {
            let mut tracks = self.song.tracks.iter();
            let wanted = tracks.any(|track| self.wants(index, track.instrument));
            if let Some(chord) = self.chord(index).filter(|_| wanted) {
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
