//! Which notes a request allows: where its key, its chords and its limits leave room.
//!
//! [`Harmony`] is of the whole band and [`Limits`] are of a track. Both are asked at a place: which pitches may
//! begin there, how long a note that does may last, whether one must. What is only leant on is not forbidden:
//! it costs so many nats ([`Harmony::leanings`]).
//!
//! Drums have no harmony: it is not asked for them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::pitch::Pitches;
use super::progression::Progression;
use super::scale::Scale;
use super::symbol::Symbol;
use crate::score::{Bar, Note, TICKS_PER_QUARTER, Ticks};

/// How firmly a key or a progression holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Hold {
    /// Nothing else sounds.
    Locked,
    /// All else costs so many nats.
    Leaning(f32),
}

/// A span of a bar that has one chord.
#[derive(Clone, Debug)]
struct Span {
    start: Ticks,
    end: Ticks,
    /// Its bar line.
    bar: Ticks,
    symbol: Symbol,
    /// What may begin on a beat of it: its chord's tones; with no chord all of its scale.
    tones: Pitches,
    /// What may begin elsewhere.
    scale: Pitches,
}

/// A key and chords, over the bars in which music is written.
#[derive(Clone, Debug, Default)]
pub struct Harmony {
    /// The key's notes.
    key: Option<(Pitches, Hold)>,
    /// The chords, in the order of their spans.
    chords: Vec<Span>,
    chords_hold: Option<Hold>,
}

impl Harmony {
    /// Over `bars`, which ascend; the first is number `first` of the music, so that a progression
    /// goes on where it was. Chords have their scales in `key`, else in the key that they make likely.
    pub fn new(
        key: Option<(Scale, Hold)>,
        chords: Option<(&Progression, Hold)>,
        bars: &[Bar],
        first: usize,
    ) -> Self {
        let spans = |(progression, _): (&Progression, Hold)| -> Vec<Span> {
            let scale = key.map_or_else(|| progression.key().into(), |(scale, _)| scale);
            let over = progression.over(bars, first);
            let span = over.map(|(at, symbol)| {
                let tones = symbol.tones();
                let scale = symbol.chord.scale(Some(scale)).union(tones);
                Span {
                    bar: bars[bars.partition_point(|bar| bar.end <= at.start)].start,
                    start: at.start,
                    end: at.end,
                    symbol,
                    tones: if tones.is_empty() { scale } else { tones }.into(),
                    scale: scale.into(),
                }
            });
            span.collect()
        };
        Self {
            key: key.map(|(scale, hold)| (scale.tones().into(), hold)),
            chords: chords.map(spans).unwrap_or_default(),
            chords_hold: chords.map(|(_, hold)| hold),
        }
    }

    /// The span at `at`; none outside of the bars.
    fn span(&self, at: Ticks) -> Option<&Span> {
        let next = self.chords.partition_point(|span| span.end <= at);
        self.chords.get(next).filter(|span| span.start <= at)
    }

    /// What the chord at `at` lets begin: its tones on a beat and where it begins itself, else its scale.
    fn of_chord(&self, at: Ticks) -> Option<Pitches> {
        let span = self.span(at)?;
        let on_beat = (at - span.bar).0.is_multiple_of(TICKS_PER_QUARTER) || at == span.start;
        Some(if on_beat { span.tones } else { span.scale })
    }

    /// Which pitches may begin at `at`: all notes of a locked key, and of locked chords the tones on a
    /// beat (a quarter from the bar line on) and the scale elsewhere. None where key and chord have nothing in common.
    pub fn starts(&self, at: Ticks) -> Pitches {
        let locked = |hold| hold == Hold::Locked;
        let key = self
            .key
            .filter(|(_, hold)| locked(*hold))
            .map(|(pitches, _)| pitches);
        let chords = self.chords_hold.filter(|hold| locked(*hold));
        let chord = chords.and_then(|_| self.of_chord(at));
        key.unwrap_or(Pitches::ALL) & chord.unwrap_or(Pitches::ALL)
    }

    /// The spans behind `at` in which locked chords are others than before.
    fn changes(&self, at: Ticks) -> impl Iterator<Item = &Span> {
        let spans = match self.chords_hold {
            Some(Hold::Locked) => &self.chords[..],
            _ => &[],
        };
        let here = spans.partition_point(|span| span.end <= at);
        spans[here..].windows(2).filter_map(|spans| match spans {
            [before, after] if before.symbol != after.symbol => Some(after),
            _ => None,
        })
    }

    /// Where a note of `pitch` that begins at `at` must end at the latest: where locked chords change to
    /// one that has no such tone. `None` where nothing ends it.
    pub fn latest_end(&self, at: Ticks, pitch: u8) -> Option<Ticks> {
        let unfit = |span: &&Span| !span.tones.contains(pitch);
        self.changes(at).find(unfit).map(|span| span.start)
    }

    /// Which pitches may sound from `at` on until `end`.
    fn holds(&self, at: Ticks, end: Ticks) -> Pitches {
        let changes = self.changes(at).take_while(|span| span.start < end);
        changes.fold(Pitches::ALL, |pitches, span| pitches & span.tones)
    }

    /// What is leant away from at `at`, and the nats that it costs: what key and chords would forbid.
    pub fn leanings(&self, at: Ticks) -> impl Iterator<Item = (Pitches, f32)> {
        let chord = self.of_chord(at).zip(self.chords_hold);
        let against = |(pitches, hold): (Pitches, Hold)| match hold {
            Hold::Locked => None,
            Hold::Leaning(nats) => Some((!pitches, nats)),
        };
        [self.key, chord].into_iter().flatten().filter_map(against)
    }
}

/// What a track may do. Every default leaves all free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Its lowest and its highest pitch.
    pub pitches: RangeInclusive<u8>,
    /// How many notes may sound at once, and how many must where any begins.
    pub polyphony: RangeInclusive<u16>,
    /// How long a note may be.
    pub lengths: RangeInclusive<Ticks>,
    /// How many notes the bars have in which it plays, over all that is written: levels, 0 to 9, by the quantiles
    /// that the encoding's settings have.
    pub density: RangeInclusive<u8>,
    /// How long silence between notes may be. From the beginning of what is written to the first note counts, too.
    pub rests: RangeInclusive<Ticks>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pitches: 0..=127,
            polyphony: 0..=u16::MAX,
            lengths: Ticks(1)..=Ticks(u32::MAX),
            density: 0..=u8::MAX,
            rests: Ticks(0)..=Ticks(u32::MAX),
        }
    }
}

impl Limits {
    /// Whether the silence before `at`, if any, was not too short.
    pub fn have_rested(&self, at: Ticks, sounding: &Sounding) -> bool {
        let silence = at.saturating_sub(sounding.silent_since);
        silence.0 == 0 || silence >= *self.rests.start()
    }

    /// How many notes more must begin at `at`, where any does: as many as the least polyphony lacks.
    pub fn lacking(&self, at: Ticks, sounding: &Sounding) -> usize {
        usize::from(*self.polyphony.start()).saturating_sub(sounding.count(at))
    }

    /// The last place where the next note may begin: the longest rest after what sounds; `None` where
    /// rests have no end.
    pub fn latest_start(&self, sounding: &Sounding) -> Option<Ticks> {
        let longest = *self.rests.end();
        let at = sounding.silent_since.0.checked_add(longest.0)?;
        (longest.0 < u32::MAX).then_some(Ticks(at))
    }
}

/// Of a track that is being written: what of it reaches into where it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sounding {
    /// Ends of the notes that began before or at the place where it is.
    ends: Vec<Ticks>,
    /// The last of all ends; before the first note where writing began.
    silent_since: Ticks,
}

impl Sounding {
    /// Nothing yet, from `start` on.
    pub fn new(start: Ticks) -> Self {
        Self {
            ends: Vec::new(),
            silent_since: start,
        }
    }

    /// A note begins; none that follows begins earlier.
    pub fn begin(&mut self, note: &Note) {
        self.ends.retain(|end| *end > note.start);
        self.ends.push(note.end());
        self.silent_since = self.silent_since.max(note.end());
    }

    /// How many notes sound at `at`, which is not before the last one's start.
    pub fn count(&self, at: Ticks) -> usize {
        self.ends.iter().filter(|end| **end > at).count()
    }
}

/// What a track's limits and the band's harmony say together.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Of the whole band; of drums [`Harmony::default`], which allows all.
    pub harmony: &'a Harmony,
    /// Of the track.
    pub limits: &'a Limits,
}

impl Rules<'_> {
    /// Which pitches may begin at `at` where there is room for any: those that harmony and range allow and that
    /// can last as long as the shortest note.
    pub fn tones(&self, at: Ticks) -> Pitches {
        let limits = self.limits;
        if limits.lengths.is_empty() {
            return Pitches::default();
        }
        let (low, high) = (*limits.pitches.start(), *limits.pitches.end());
        let shortest = Ticks(at.0.saturating_add(limits.lengths.start().0));
        self.harmony.starts(at) & self.harmony.holds(at, shortest) & Pitches::range(low, high)
    }

    /// How long a note of `pitch` may be that begins at `at`; `None` where it would be too short.
    pub fn lengths(&self, at: Ticks, pitch: u8) -> Option<RangeInclusive<Ticks>> {
        let (shortest, mut longest) = (*self.limits.lengths.start(), *self.limits.lengths.end());
        if let Some(end) = self.harmony.latest_end(at, pitch) {
            longest = longest.min(end.saturating_sub(at));
        }
        (shortest <= longest).then_some(shortest..=longest)
    }
}

#[cfg(test)]
mod tests;
