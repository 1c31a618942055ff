//! A piece: a song that was written, and what of it is new.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use famam_shared::engine::Engine;
use famam_shared::generation::GenerationError;
use famam_shared::generation::song::{Song, compose_watched};
use famam_shared::score::{Note, Score, Tempo, Ticks};

use super::cells::Cells;
use super::options::{Options, Returned};

/// A song that was written.
pub struct Piece {
    /// All of it.
    pub score: Score,
    /// What was asked for.
    pub song: Song,
    /// Tokens drawn.
    pub tokens: usize,
    pub first_bar: Duration,
    pub took: Duration,
}

/// Writes a song; `fills` says whether the model can write cells among known ones.
pub fn write(
    engine: &dyn Engine,
    song: Song,
    options: &Options,
    fills: bool,
) -> Result<Piece, GenerationError> {
    let began = Instant::now();
    let shown = std::io::stderr().is_terminal();
    let (mut first_bar, mut tokens, mut reached) = (None, 0, 0);
    let mut before = 0;
    let length = song.length;
    let mut compose = |song: Song| {
        let mut drawn_here = 0;
        let score = compose_watched(
            engine,
            song,
            Arc::new(AtomicBool::new(false)),
            &mut |bar, drawn| {
                first_bar.get_or_insert_with(|| began.elapsed());
                (drawn_here, reached) = (drawn, bar.index + 1);
                if shown {
                    let speed = (before + drawn) as f64 / began.elapsed().as_secs_f64();
                    eprint!("\rbar {reached} of {length}, {speed:.0} tokens/s ");
                    let _ = std::io::stderr().flush();
                }
            },
        );
        before += drawn_here;
        tokens = before;
        score
    };
    let written = match &options.sections {
        Some(sections) => sections.compose(&song, options.section_bars, fills, &mut compose),
        None => compose(song.clone()),
    };
    if shown {
        eprint!("\r\x1b[K");
    }
    let mut piece = Piece {
        score: written?,
        song,
        tokens,
        first_bar: first_bar.unwrap_or_default(),
        took: began.elapsed(),
    };
    if options.max_tokens.is_some() {
        piece.end_with(reached);
    }
    piece.restore();
    Ok(piece)
}

impl Piece {
    /// Where bar `index` begins; behind the last that is stated they go on as it does.
    fn start(&self, index: u32) -> Ticks {
        let bars = &self.song.bars;
        let lengths = bars.iter().map(|bar| bar.metre.bar().0);
        let stated: u32 = lengths.clone().take(index as usize).sum();
        let more = index.saturating_sub(bars.len() as u32);
        Ticks(stated + more * lengths.last().unwrap_or_default())
    }

    /// The bar in which `at` lies.
    fn bar(&self, at: Ticks) -> u32 {
        let ends = (1..).map(|bar| self.start(bar));
        ends.take_while(|end| *end <= at).count() as u32
    }

    /// Leaves out the bars behind the last that was written.
    fn end_with(&mut self, bars: u32) {
        self.song.length = self.song.length.min(bars);
        self.score.end = self.start(self.song.length);
        let end = self.score.end;
        self.score.tempos.retain(|tempo| tempo.at < end);
        self.score.metres.retain(|metre| metre.at < end);
    }

    /// Has the known music's own tempos and metres hold as far as it goes: a song knows one of a bar.
    fn restore(&mut self) {
        let known = self.song.known.end;
        if known == Ticks(0) {
            return;
        }
        let behind = self.score.tempo_at(known);
        let mut tempos = self.song.known.tempos.clone();
        tempos.retain(|tempo| tempo.at < known);
        if self.song.known.tempo_at(known) != behind && known < self.score.end {
            tempos.push(Tempo {
                at: known,
                micros_per_quarter: behind,
            });
        }
        tempos.extend(self.score.tempos.iter().filter(|tempo| tempo.at > known));
        self.score.tempos = tempos;
    }

    /// Whether a note of the piece is new.
    fn is_wanted(
        &self,
        wanted: Option<&Cells>,
        bar: u32,
        by: famam_shared::instrument::Instrument,
    ) -> bool {
        wanted.is_none_or(|wanted| wanted.contains(&(bar, by)))
    }

    /// The time of the bars in which something was wanted.
    pub fn bars(&self) -> Vec<Range<Ticks>> {
        let wanted = self.song.wanted.as_ref();
        let asked = |bar: &u32| wanted.is_none_or(|wanted| wanted.iter().any(|(at, _)| at == bar));
        let bars = (0..self.song.length).filter(asked);
        bars.map(|bar| self.start(bar)..self.start(bar + 1))
            .collect()
    }

    /// What was written, where it stands.
    pub fn new_part(&self) -> Score {
        let mut new = self.score.clone();
        let wanted = self.song.wanted.as_ref();
        for track in &mut new.tracks {
            let by = track.instrument;
            track
                .notes
                .retain(|note| self.is_wanted(wanted, self.bar(note.start), by));
        }
        new.tracks.retain(|track| !track.notes.is_empty());
        new
    }

    /// What stands in its file.
    pub fn returned(&self, options: &Options) -> Score {
        match options.returned {
            Returned::All => self.score.clone(),
            Returned::New => {
                let new = self.new_part();
                let rewrites = options.fill.is_some() || options.lock.is_some();
                match rewrites {
                    true => new,
                    false => from(&new, self.song.known.end),
                }
            }
        }
    }
}

/// A score from `begin` on, moved to the first bar.
fn from(score: &Score, begin: Ticks) -> Score {
    let mut moved = score.clone();
    for track in &mut moved.tracks {
        track.notes.retain(|note| note.start >= begin);
        track.notes.iter_mut().for_each(|note| {
            *note = Note {
                start: note.start - begin,
                ..*note
            };
        });
    }
    let begins = |at: Ticks| at.saturating_sub(begin);
    /// What is in force from `begin` on, the last that was said before it at its beginning.
    fn in_force<T: Copy>(all: &[T], at: impl Fn(&T) -> Ticks, begin: Ticks) -> Vec<T> {
        let first = all
            .partition_point(|one| at(one) <= begin)
            .saturating_sub(1);
        all.get(first..).unwrap_or_default().to_vec()
    }
    moved.tempos = in_force(&score.tempos, |tempo| tempo.at, begin);
    moved.metres = in_force(&score.metres, |metre| metre.at, begin);
    moved.keys = in_force(&score.keys, |key| key.at, begin);
    moved
        .tempos
        .iter_mut()
        .for_each(|tempo| tempo.at = begins(tempo.at));
    moved
        .metres
        .iter_mut()
        .for_each(|metre| metre.at = begins(metre.at));
    moved
        .keys
        .iter_mut()
        .for_each(|key| key.at = begins(key.at));
    moved.end = begins(score.end);
    moved
}
