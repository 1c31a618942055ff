//! Steering: of the tokens that a grammar allows only those that what is asked of a song allows, too.
//!
//! It follows the tokens (bar, instrument, position, pitch) and asks [`crate::theory::rules`] at each place. No
//! place is said at which nothing may begin, and no pitch of which too few would be left, so that there is always
//! a way on; silence is one. What a track owes (a note after the longest rest, the least polyphony, not to be
//! silent throughout) is waited for as long as it can be had.
//!
//! A note never begins on a pitch of its track that sounds, as in all quantized music, and it ends where the
//! song or what is known of its track goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use super::song::{Cells, SongTrack};
use crate::encoding::{Kind, Lexicon, Token};
use crate::instrument::{Instrument, InstrumentSet};
use crate::quantize::Settings;
use crate::score::{Bar, Metre, Note, Ticks};
use crate::theory::rules::{Harmony, Limits, Rules, Sounding};
use crate::theory::{Chord, Pitches};

mod mask;

/// Bars that harmony is made for at a time, beside as many more as the longest note reaches.
const WINDOW: u32 = 16;

/// A track that is written.
#[derive(Clone)]
struct Part {
    instrument: Instrument,
    limits: Limits,
    /// Known notes that did not begin yet.
    ahead: VecDeque<Note>,
    /// Notes that may still sound.
    sounds: Vec<Note>,
    sounding: Sounding,
    /// The last bar that was wanted of it.
    last: Option<u32>,
    /// Whether it has played anything that was wanted.
    played: bool,
}

impl Part {
    fn new(instrument: Instrument, limits: Limits, ahead: VecDeque<Note>) -> Self {
        Self {
            instrument,
            limits,
            ahead,
            sounds: Vec::new(),
            sounding: Sounding::default(),
            last: None,
            played: false,
        }
    }

    fn begin(&mut self, note: Note) {
        self.sounds.retain(|other| other.end() > note.start);
        self.sounds.push(note);
        self.sounding.begin(&note);
    }

    /// Comes to a bar. Silence before what is wanted is not its own.
    fn enter(&mut self, index: u32, bar: &Bar, wanted: bool) {
        while let Some(note) = self.ahead.pop_front_if(|note| note.start < bar.start) {
            self.begin(note);
        }
        if wanted && (index == 0 || self.last != Some(index - 1)) {
            self.sounds.retain(|note| note.end() > bar.start);
            self.sounding = Sounding::new(bar.start);
            self.sounds
                .iter()
                .for_each(|note| self.sounding.begin(note));
        }
        self.last = wanted.then_some(index).or(self.last);
    }
}

/// Follows a stream and says what may come next.
#[derive(Clone)]
pub(super) struct Steer {
    cells: Arc<Cells>,
    parts: Vec<Part>,
    /// Where the song ends.
    end: Ticks,
    /// Whether a bar is said cell by cell, or else by time.
    by_cell: bool,
    /// Whether the model chooses what plays.
    is_open: bool,
    /// Whether what is wanted is said behind the bars, in an order that is fixed.
    pub(super) behind: bool,
    /// The number of the stream's first bar: what others count from.
    pub(super) first: u32,
    /// Tracks that must not be silent.
    forced: InstrumentSet,
    bar: Bar,
    /// The bar's chord, which the model is told where its encoding says chords.
    chord: Option<Chord>,
    harmony: Harmony,
    /// The bars that it is made for.
    window: std::ops::Range<u32>,
    /// Of drums.
    free: Harmony,
    /// The longest note.
    longest: Ticks,
    /// What is being written, an onset in steps from the bar line, and the pitch struck last at it.
    part: Option<usize>,
    onset: Option<u32>,
    struck: Option<u8>,
    /// A pitch whose duration was not said yet.
    pending: Option<u8>,
}

impl Steer {
    /// For a song, of which `forced` must not be silent.
    pub(super) fn new(
        cells: Arc<Cells>,
        settings: &Settings,
        by_cell: bool,
        forced: InstrumentSet,
    ) -> Self {
        let position = settings.position();
        let durations = settings.durations();
        let part = |track: &SongTrack| {
            let mut limits = track.limits.clone();
            let mut said = durations.iter().map(|steps| Ticks(steps * position));
            let shortest = said.find(|length| limits.lengths.contains(length));
            let shortest = shortest.unwrap_or(*limits.lengths.start());
            limits.lengths = match track.instrument.is_drums() {
                true => Limits::default().lengths,
                false => shortest..=*limits.lengths.end(),
            };
            Part::new(
                track.instrument,
                limits,
                cells.known(track.instrument).into(),
            )
        };
        Self {
            parts: cells.song.tracks.iter().map(part).collect(),
            end: cells.end(),
            by_cell,
            is_open: cells.song.tracks.is_empty(),
            behind: false,
            first: 0,
            forced,
            bar: Bar {
                start: Ticks(0),
                end: Ticks(0),
                metre: Metre::COMMON,
            },
            chord: None,
            harmony: Harmony::default(),
            window: 0..0,
            free: Harmony::default(),
            longest: Ticks(settings.max_duration() * position),
            part: None,
            onset: None,
            struck: None,
            pending: None,
            cells,
        }
    }

    /// Comes to a bar, by its number in the song.
    pub(super) fn begin_bar(&mut self, index: u32) {
        (self.bar, self.chord) = (self.cells.bar(index), self.cells.chord(index));
        (self.part, self.onset, self.struck, self.pending) = (None, None, None, None);
        for part in &mut self.parts {
            part.enter(index, &self.bar, self.cells.wants(index, part.instrument));
        }
        if !self.window.contains(&index) {
            self.window = index..index.saturating_add(WINDOW);
            let reaches = self
                .cells
                .bar(self.window.end)
                .start
                .0
                .saturating_add(self.longest.0);
            let bars = (index..).map(|index| self.cells.bar(index));
            let song = &self.cells.song;
            let bars: Vec<Bar> = bars
                .take_while(|bar| bar.start.0 < reaches && bar.start < self.end)
                .collect();
            let chords = song.chords.as_ref();
            let chords = chords.map(|(progression, hold)| (progression, *hold));
            self.harmony = Harmony::new(song.key, chords, &bars, index as usize);
        }
    }

    fn rules<'a>(&'a self, part: &'a Part) -> Rules<'a> {
        Rules {
            harmony: match part.instrument.is_drums() {
                true => &self.free,
                false => &self.harmony,
            },
            limits: &part.limits,
        }
    }

    /// So many steps behind the bar line.
    fn at(&self, lexicon: &Lexicon, steps: u32) -> Ticks {
        Ticks(self.bar.start.0 + steps * lexicon.step)
    }

    /// Where a note of the part must end.
    fn until(&self, part: &Part) -> Ticks {
        let known = part.ahead.front().map(|note| note.start);
        known.map_or(self.end, |known| known.min(self.end))
    }

    /// Which pitches may begin at `at`.
    fn open(&self, part: &Part, at: Ticks) -> Pitches {
        let room = self.until(part).saturating_sub(at);
        if room < *part.limits.lengths.start() {
            return Pitches::default();
        }
        let open = self.rules(part).starts(at, &part.sounding);
        let sounds = part.sounds.iter().filter(|note| note.end() > at);
        sounds.fold(open, |open, note| {
            open & !Pitches::range(note.pitch, note.pitch)
        })
    }

    /// Which of them may still be said at the onset `at`: those above the last.
    fn higher(&self, part: &Part, at: Ticks) -> Pitches {
        let lowest = self.struck.map_or(0, |struck| struck + 1);
        self.open(part, at) & Pitches::range(lowest, 127)
    }

    /// Whether as much may begin at `at` as must.
    fn is_usable(&self, part: &Part, at: Ticks) -> bool {
        let lacking = self.rules(part).lacking(at, &part.sounding);
        self.open(part, at).len() >= lacking.max(1)
    }

    /// By when the part must play again, where that is before the bar ends.
    fn due(&self, part: &Part) -> Option<Ticks> {
        let last = Ticks(self.bar.end.0.saturating_sub(1));
        let forced = (self.forced.contains(part.instrument) && !part.played).then_some(last);
        let rest = self.rules(part).latest_start(&part.sounding);
        let due = [forced, rest].into_iter().flatten().min();
        due.filter(|due| *due <= last)
    }

    /// Lowers the logits `[vocabulary]` of what key and chords lean away from.
    pub(super) fn lean(&self, lexicon: &Lexicon, logits: &mut [f32]) {
        let part = self.part.and_then(|part| self.parts.get(part));
        let (Some(part), Some(onset)) = (part, self.onset) else {
            return;
        };
        let at = self.at(lexicon, onset);
        let leanings: Vec<_> = self.rules(part).harmony.leanings(at).collect();
        let cost = |pitch: u8| -> f32 {
            let against = leanings.iter().filter(|(out, _)| out.contains(pitch));
            against.map(|(_, nats)| nats).sum()
        };
        let mut lower = |token: Token, nats: f32| {
            if let Some(logit) = logits.get_mut(usize::from(token)) {
                *logit -= nats;
            }
        };
        if leanings.is_empty() {
            return;
        }
        for (token, pitch) in lexicon.run(Kind::Pitch).zip(0u8..) {
            lower(token, cost(pitch));
        }
        // A velocity that opens a note costs what the best of the pitches that may follow does.
        if self.by_cell {
            let best = self.higher(part, at).iter().map(cost);
            let best = best.min_by(f32::total_cmp).unwrap_or(0.0);
            let velocities = lexicon.run(Kind::Velocity);
            velocities.for_each(|token| lower(token, best));
        }
    }

    /// Takes a token of what is wanted.
    pub(super) fn accept(&mut self, lexicon: &Lexicon, token: Token) {
        let Some((kind, value)) = lexicon.word(token) else {
            return;
        };
        match kind {
            Kind::At => self.begin_bar(self.first.saturating_add(u32::from(value))),
            Kind::Instrument => {
                self.part = self.part_of(value);
                self.struck = None;
                self.onset = self.onset.filter(|_| !self.by_cell);
            }
            Kind::Position => {
                let offsets = u32::from(lexicon.settings().offsets);
                (self.onset, self.struck) = (Some(u32::from(value) * offsets), None);
                self.part = self.part.filter(|_| self.by_cell);
            }
            Kind::Offset => {
                let later = |onset: u32| onset + u32::from(value) + 1;
                self.onset = self.onset.map(later);
            }
            Kind::Pitch => (self.pending, self.struck) = (Some(value as u8), Some(value as u8)),
            Kind::Drum => {
                self.struck = Some(value as u8);
                self.begin_note(lexicon, value as u8, lexicon.duration_of(0));
            }
            Kind::Duration => {
                if let Some(pitch) = self.pending.take() {
                    self.begin_note(lexicon, pitch, lexicon.duration_of(value));
                }
            }
            _ => {}
        }
    }

    /// The part of the instrument with this index; where the model chooses what plays, a new one.
    fn part_of(&mut self, index: u16) -> Option<usize> {
        let mut parts = self.parts.iter();
        let found = parts.position(|part| u16::from(part.instrument.index()) == index);
        let new = Instrument::new(index as u8).filter(|_| self.is_open);
        found.or_else(|| {
            self.parts
                .push(Part::new(new?, Limits::default(), VecDeque::new()));
            Some(self.parts.len() - 1)
        })
    }

    fn begin_note(&mut self, lexicon: &Lexicon, pitch: u8, duration: Ticks) {
        let start = self.at(lexicon, self.onset.unwrap_or_default());
        if let Some(part) = self.part.and_then(|part| self.parts.get_mut(part)) {
            part.played = true;
            part.begin(Note {
                start,
                pitch,
                duration,
                velocity: 0,
            });
        }
    }
}
