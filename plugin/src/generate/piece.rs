//! A piece: a song that was written, and what of it is new.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use famam_shared::engine::Engine;
use famam_shared::generation::song::{Song, compose_watched};
use famam_shared::generation::{GeneratedBar, GenerationError};
use famam_shared::score::{Note, Score, Tempo, Ticks};

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
    /// Of the time of all that were written side by side its share.
    pub took: Duration,
}

/// How far the songs are that are being written.
#[derive(Default)]
struct Progress {
    first_bar: Option<Duration>,
    /// Of each song: tokens drawn, and bars behind which nothing was written yet.
    songs: Vec<(usize, u32)>,
}

/// Writes songs, side by side where there are several; `fills` says whether the model can write cells among known
/// ones.
pub fn write(
    engine: &dyn Engine,
    songs: Vec<Song>,
    options: &Options,
    fills: bool,
) -> Result<Vec<Piece>, GenerationError> {
    let began = Instant::now();
    let shown = std::io::stderr().is_terminal();
    let progress = Mutex::new(Progress {
        songs: vec![(0, 0); songs.len()],
        ..Progress::default()
    });
    let bars: u32 = songs
        .iter()
        .map(|song| song.length)
        .fold(0, u32::saturating_add);
    // What earlier sections drew counts, too.
    let compose = |songs: Vec<Song>, before: usize| {
        let seen = |song: usize, bar: &GeneratedBar, drawn: usize| {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.first_bar.get_or_insert_with(|| began.elapsed());
            if let Some(song) = progress.songs.get_mut(song) {
                *song = (before + drawn, bar.index + 1);
            }
            if shown {
                let (drawn, reached) = (progress.songs.iter())
                    .fold((0, 0), |(tokens, bars), song| {
                        (tokens + song.0, bars + song.1)
                    });
                let speed = drawn as f64 / began.elapsed().as_secs_f64();
                eprint!("\rbar {reached} of {bars}, {speed:.0} tokens/s ");
                let _ = std::io::stderr().flush();
            }
        };
        compose_watched(engine, songs, Arc::new(AtomicBool::new(false)), &seen)
    };
    let drawn = |song: usize| -> (usize, u32) {
        let progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.songs.get(song).copied().unwrap_or_default()
    };
    let written = match &options.sections {
        None => compose(songs.clone(), 0),
        Some(sections) => {
            let one = |song: &Song| {
                sections.compose(song, options.section_bars, fills, |song| {
                    let score = compose(vec![song], drawn(0).0)?;
                    Ok(score.into_iter().next().unwrap_or_default())
                })
            };
            songs.iter().map(one).collect()
        }
    };
    if shown {
        eprint!("\r\x1b[K");
    }
    let took = began.elapsed() / u32::try_from(songs.len().max(1)).unwrap_or(u32::MAX);
    let first_bar = progress
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .first_bar;
    let pieces = std::iter::zip(written?, songs).enumerate();
    let piece = |(index, (score, song)): (usize, (Score, Song))| {
        let (tokens, reached) = drawn(index);
        let mut piece = Piece {
            score,
            song,
            tokens,
            first_bar: first_bar.unwrap_or_default(),
            took,
        };
        if options.max_tokens.is_some() {
            piece.end_with(reached);
        }
        piece.restore();
        piece
    };
    Ok(pieces.map(piece).collect())
}

impl Piece {
    /// The bar lines, from the first bar's to the end.
    fn lines(&self) -> Vec<Ticks> {
        let bars = &self.song.bars;
        // Behind the last that is stated they go on as it does.
        let stated = bars.iter().chain(bars.last().into_iter().cycle());
        let mut lines = vec![Ticks(0)];
        for bar in stated.take(self.song.length as usize) {
            let line = lines.last().map_or(0, |line| line.0);
            lines.push(Ticks(line.saturating_add(bar.metre.bar().0)));
        }
        lines
    }

    /// Leaves out the bars behind the last that was written.
    fn end_with(&mut self, bars: u32) {
        self.song.length = self.song.length.min(bars);
        self.score.end = self.lines().pop().unwrap_or_default();
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

    /// The time of the bars in which something was wanted.
    pub fn bars(&self) -> Vec<Range<Ticks>> {
        let wanted = self.song.wanted.as_ref();
        let wanted: Option<BTreeSet<u32>> =
            wanted.map(|cells| cells.iter().map(|(bar, _)| *bar).collect());
        let lines = self.lines();
        let bars = (0..).zip(lines.windows(2));
        let bars =
            bars.filter(|(bar, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(bar)));
        bars.map(|(_, lines)| lines[0]..lines[1]).collect()
    }

    /// What was written, where it stands.
    pub fn new_part(&self) -> Score {
        let mut new = self.score.clone();
        let Some(wanted) = &self.song.wanted else {
            return new;
        };
        let lines = self.lines();
        let bar = |at: Ticks| lines.partition_point(|line| *line <= at).saturating_sub(1) as u32;
        for track in &mut new.tracks {
            let by = track.instrument;
            track
                .notes
                .retain(|note| wanted.contains(&(bar(note.start), by)));
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
