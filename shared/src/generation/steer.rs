//! Steering: of the tokens that a grammar allows only those that what is asked of a song allows, too.
//!
//! It follows the tokens (bar, instrument, position, pitch) and asks [`crate::theory::rules`] at each place. No
//! place is said at which nothing may begin, and no pitch of which too few would be left, so that there is always
//! a way on; silence is one. What a track owes (a note after the longest rest, the least polyphony, its density,
//! cells that are not empty: see `quota`) is waited for as long as it can be had, see `plan`. A longest rest
//! gives way to a density's most notes, and both to key and chords.
//!
//! A note never begins on a pitch of its track that sounds, as in all quantized music, and it ends where the
//! song or what is known of its track goes on.

use std::sync::Arc;

use super::song::{Cells, SongTrack};
use crate::encoding::controls::Densities;
use crate::encoding::{Kind, Lexicon, Token};
use crate::instrument::InstrumentSet;
use crate::quantize::{MAX_BARS, Settings};
use crate::score::{Bar, Metre, Note, Ticks};
use crate::theory::rules::{Harmony, Limits, Rules};
use crate::theory::{Chord, Pitches};
use part::Part;
use plan::Plan;
use quota::Quota;

mod mask;
mod part;
mod plan;
mod quota;

/// Bars that harmony is made for at a time, beside as many more as the longest note reaches.
const WINDOW: u32 = 16;

/// Follows a stream and says what may come next.
#[derive(Clone)]
pub(super) struct Steer {
    cells: Arc<Cells>,
    parts: Vec<Part>,
    /// Where the song ends.
    end: Ticks,
    /// Whether a bar is said cell by cell, or else by time.
    by_cell: bool,
    /// Whether what is wanted is said behind the bars, in an order that is fixed.
    pub(super) behind: bool,
    /// The number of the stream's first bar: what others count from.
    pub(super) first: u32,
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
    /// How many bars it may last.
    longest_bars: u32,
    /// Ticks from onset to onset, and from position to position.
    step: u32,
    position: u32,
    /// What is being written, an onset in steps from the bar line, and the pitch struck last at it.
    part: Option<usize>,
    onset: Option<u32>,
    struck: Option<u8>,
    /// A pitch whose duration was not said yet.
    pending: Option<u8>,
}

impl Steer {
    /// For a song, of which the tracks in `forced` play in the first bar in which they can.
    pub(super) fn new(
        cells: Arc<Cells>,
        settings: &Settings,
        densities: &Densities,
        by_cell: bool,
        forced: InstrumentSet,
    ) -> Self {
        let position = settings.position();
        let longest = Ticks(settings.max_duration() * position);
        let part = |track: &SongTrack| {
            let mut quota = quota(&cells, track, densities);
            quota.eager = forced.contains(track.instrument);
            let (lengths, longest) = match track.instrument.is_drums() {
                // A drum has no length, and takes a position.
                true => (Ticks(position)..=Ticks(u32::MAX), Ticks(position)),
                false => {
                    let (first, last) = track.limits.lengths.clone().into_inner();
                    let first = shortest(&track.limits, settings).unwrap_or(first);
                    (first..=last, longest)
                }
            };
            let limits = Limits {
                lengths,
                ..track.limits.clone()
            };
            let known = cells.known(track.instrument);
            Part::new(
                track.instrument,
                limits,
                quota,
                known,
                settings.step(),
                longest,
            )
        };
        Self {
            parts: cells.song.tracks.iter().map(part).collect(),
            end: cells.end(),
            by_cell,
            behind: false,
            first: 0,
            bar: Bar {
                start: Ticks(0),
                end: Ticks(0),
                metre: Metre::COMMON,
            },
            chord: None,
            harmony: Harmony::default(),
            window: 0..0,
            free: Harmony::default(),
            longest,
            longest_bars: settings.max_duration_bars.into(),
            step: settings.step(),
            position,
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
        let mut parts = std::mem::take(&mut self.parts);
        for part in &mut parts {
            let wanted = self.cells.wants(index, part.instrument);
            let tones = if wanted {
                self.tones(part)
            } else {
                Arc::default()
            };
            part.enter(index, &self.bar, wanted, self.end, tones);
            let spare = part.quota.spare(self.longest_bars) + 1;
            part.can_play = wanted && Plan::new(part, true).can_play();
            part.free_by = self.cells.bar(index.saturating_add(spare)).start;
        }
        self.parts = parts;
    }

    /// What may begin at each onset of the bar, whatever sounds.
    fn tones(&self, part: &Part) -> Arc<[Pitches]> {
        let positions = (self.bar.end - self.bar.start).0.div_ceil(self.position);
        let rules = self.rules(part);
        let steps = (0..positions * self.position).step_by(self.step.max(1) as usize);
        steps
            .map(|ticks| rules.tones(Ticks(self.bar.start.0 + ticks)))
            .collect()
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

    /// The part that is being written.
    fn writes(&self) -> Option<&Part> {
        self.part.and_then(|part| self.parts.get(part))
    }

    /// Lowers the logits `[vocabulary]` of what key and chords lean away from.
    pub(super) fn lean(&self, lexicon: &Lexicon, logits: &mut [f32]) {
        let (Some(part), Some(onset)) = (self.writes(), self.onset) else {
            return;
        };
        let at = part.at(onset);
        let leanings: Vec<_> = self.rules(part).harmony.leanings(at).collect();
        if leanings.is_empty() {
            return;
        }
        let cost = |pitch: u8| -> f32 {
            let against = leanings.iter().filter(|(out, _)| out.contains(pitch));
            against.map(|(_, nats)| nats).sum()
        };
        let mut lower = |token: Token, nats: f32| {
            if let Some(logit) = logits.get_mut(usize::from(token)) {
                *logit -= nats;
            }
        };
        for (token, pitch) in lexicon.run(Kind::Pitch).zip(0u8..) {
            lower(token, cost(pitch));
        }
        // A velocity that opens a note costs what the best of the pitches that may follow does.
        if self.by_cell {
            let best = part.higher(onset, self.struck).iter().map(cost);
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
                let mut parts = self.parts.iter();
                self.part = parts.position(|part| u16::from(part.instrument.index()) == value);
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
                self.begin_note(value as u8, lexicon.duration_of(0));
            }
            Kind::Duration => {
                if let Some(pitch) = self.pending.take() {
                    self.begin_note(pitch, lexicon.duration_of(value));
                }
            }
            _ => {}
        }
    }

    fn begin_note(&mut self, pitch: u8, duration: Ticks) {
        let onset = self.onset.unwrap_or_default();
        if let Some(part) = self.part.and_then(|part| self.parts.get_mut(part)) {
            part.write(Note {
                start: part.at(onset),
                pitch,
                duration,
                velocity: 0,
            });
        }
    }
}

/// What a track owes in all.
pub(super) fn quota(cells: &Cells, track: &SongTrack, densities: &Densities) -> Quota {
    let wanted = |&bar: &u32| cells.wants(bar, track.instrument);
    let count = match cells.song.length {
        length if length as usize <= MAX_BARS => (0..length).filter(wanted).count() as u32,
        endless => endless,
    };
    let notes = densities.notes(track.instrument, &track.limits.density);
    Quota::new(
        notes,
        count,
        (!track.may_rest).then_some(track.least_filled),
    )
}

/// The shortest length that can be said of those that limits allow, where any can.
pub(super) fn shortest(limits: &Limits, settings: &Settings) -> Option<Ticks> {
    let durations = settings.durations().into_iter();
    let mut said = durations.map(|steps| Ticks(steps * settings.position()));
    said.find(|length| limits.lengths.contains(length))
}
