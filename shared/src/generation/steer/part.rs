//! One track that is written: what sounds of it, what it owes, and where in the bar it can play.

use std::sync::Arc;

use super::quota::Quota;
use crate::instrument::Instrument;
use crate::score::{Bar, Note, Ticks};
use crate::theory::Pitches;
use crate::theory::rules::{Limits, Sounding};

/// How many notes can begin at an onset, and how many must if any does.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) least: u32,
    pub(super) most: u32,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) instrument: Instrument,
    pub(super) limits: Limits,
    pub(super) quota: Quota,
    /// Known notes, and how many of them have begun.
    known: Arc<[Note]>,
    begun: usize,
    /// Notes that may still sound.
    sounds: Vec<Note>,
    pub(super) sounding: Sounding,
    /// The last bar that was wanted of it.
    last: Option<u32>,
    /// Where a note must end: where the song or what is known goes on.
    pub(super) until: Ticks,
    /// Where the bar begins and ends, and ticks from onset to onset.
    start: Ticks,
    end: Ticks,
    step: u32,
    /// The longest note that can be said.
    longest: Ticks,
    /// What key, chords and range let begin at each onset of the bar; nothing where the cell is not wanted. And
    /// the fewest of an onset.
    tones: Arc<[Pitches]>,
    fewest: usize,
    /// Where no more may sound than leaves room for the notes of a bar, as the cell there must not be empty.
    pub(super) free_by: Ticks,
    /// Whether it can play in the bar, as long as it has not.
    pub(super) can_play: bool,
}

impl Part {
    /// With `limits` whose lengths can be said, of which `longest` is the longest that any has.
    pub(super) fn new(
        instrument: Instrument,
        limits: Limits,
        quota: Quota,
        known: Vec<Note>,
        step: u32,
        longest: Ticks,
    ) -> Self {
        Self {
            instrument,
            longest: longest.min(*limits.lengths.end()),
            limits,
            quota,
            known: known.into(),
            begun: 0,
            sounds: Vec::new(),
            sounding: Sounding::default(),
            last: None,
            until: Ticks(0),
            start: Ticks(0),
            end: Ticks(0),
            step,
            tones: Arc::default(),
            fewest: 0,
            free_by: Ticks(u32::MAX),
            can_play: false,
        }
    }

    /// A note begins; none that follows begins earlier.
    pub(super) fn begin(&mut self, note: Note) {
        self.sounds.retain(|other| other.end() > note.start);
        self.sounds.push(note);
        self.sounding.begin(&note);
    }

    /// Writes a note.
    pub(super) fn write(&mut self, note: Note) {
        self.quota.count();
        self.begin(note);
    }

    /// Comes to a bar of a song that ends at `end`. Silence before what is wanted is not its own.
    pub(super) fn enter(
        &mut self,
        index: u32,
        bar: &Bar,
        wanted: bool,
        end: Ticks,
        tones: Arc<[Pitches]>,
    ) {
        (self.start, self.end) = (bar.start, bar.end);
        self.fewest = tones.iter().map(|tones| tones.len()).min().unwrap_or(0);
        self.tones = tones;
        while let Some(&note) = self.known.get(self.begun)
            && note.start < bar.start
        {
            self.begin(note);
            self.begun += 1;
        }
        let ahead = self.known.get(self.begun).map(|note| note.start);
        self.until = ahead.map_or(end, |ahead| ahead.min(end));
        if wanted && (index == 0 || self.last != Some(index - 1)) {
            self.sounds.retain(|note| note.end() > bar.start);
            self.sounding = Sounding::new(bar.start);
            self.sounds
                .iter()
                .for_each(|note| self.sounding.begin(note));
        }
        self.last = wanted.then_some(index).or(self.last);
        self.quota.enter(wanted);
    }

    /// Onsets of the bar, where its cell is wanted.
    pub(super) fn onsets(&self) -> u32 {
        self.tones.len() as u32
    }

    /// So many steps behind the bar line.
    pub(super) fn at(&self, steps: u32) -> Ticks {
        Ticks(self.start.0 + steps * self.step)
    }

    /// Which pitches may begin at an onset where a note of the part ends.
    fn open(&self, steps: u32) -> Pitches {
        let Some(&tones) = self.tones.get(steps as usize) else {
            return Pitches::default();
        };
        let at = self.at(steps);
        if self.until.saturating_sub(at) < *self.limits.lengths.start() || self.room(steps) == 0 {
            return Pitches::default();
        }
        let sounds = self.sounds.iter().filter(|note| note.end() > at);
        sounds.fold(tones, |open, note| {
            open & !Pitches::range(note.pitch, note.pitch)
        })
    }

    /// Whether the silence before an onset, if any, was not too short.
    pub(super) fn has_rested(&self, steps: u32) -> bool {
        self.limits.have_rested(self.at(steps), &self.sounding)
    }

    /// Which pitches may be said at an onset: those above the one that was `struck` last.
    pub(super) fn higher(&self, steps: u32, struck: Option<u8>) -> Pitches {
        if !self.has_rested(steps) {
            return Pitches::default();
        }
        let lowest = struck.map_or(0, |struck| struck + 1);
        self.open(steps) & Pitches::range(lowest, 127)
    }

    /// What an onset has room for where a note of the part ends; nothing where fewer can begin than must.
    pub(super) fn slot(&self, steps: u32) -> Option<Slot> {
        let open = self.open(steps);
        if open.is_empty() {
            return None;
        }
        let least = self.limits.lacking(self.at(steps), &self.sounding) as u32;
        let (least, most) = (least.max(1), self.room(steps).min(open.len() as u32));
        (least <= most).then_some(Slot { least, most })
    }

    /// The onset at which the shortest note ends that begins at this one, and the one behind the shortest rest.
    pub(super) fn behind(&self, onset: u32) -> (u32, u32) {
        let next = onset + self.limits.lengths.start().0.div_ceil(self.step).max(1);
        (next, next + self.limits.rests.start().0.div_ceil(self.step))
    }

    /// How many notes more can sound at an onset.
    pub(super) fn room(&self, steps: u32) -> u32 {
        let count = self.sounding.count(self.at(steps)) as u32;
        u32::from(*self.limits.polyphony.end()).saturating_sub(count)
    }

    /// Whether a note that begins at an onset and lasts so long leaves no rest that is too long, and room where
    /// the part must play again.
    pub(super) fn lasts_well(&self, steps: u32, duration: Ticks) -> bool {
        let at = self.at(steps);
        let end = Ticks(at.0.saturating_add(duration.0));
        let room = self.quota.open().1.saturating_sub(1);
        let at_once = self.fewest.min(usize::from(*self.limits.polyphony.end()));
        let sound = self.sounding.count(self.free_by) + 1;
        let crowded = end > self.free_by && sound + self.quota.least() > at_once;
        !crowded && self.keeps_on(self.sounding_until(end), room)
    }

    /// By when the part must play again, where that is before the bar ends.
    pub(super) fn due(&self) -> Option<Ticks> {
        let last = Ticks(self.end.0.saturating_sub(1));
        let rest = self.limits.latest_start(&self.sounding);
        rest.filter(|due| *due <= last)
    }

    /// Where what sounds ends.
    fn sounding_until(&self, at: Ticks) -> Ticks {
        let ends = self.sounds.iter().map(Note::end);
        ends.max().unwrap_or(at).max(at)
    }

    /// Where a note ends at the latest that begins at an onset.
    pub(super) fn reach(&self, steps: u32) -> Ticks {
        let at = self.at(steps);
        self.sounding_until(Ticks(at.0.saturating_add(self.longest.0)))
    }

    /// Whether no rest need be too long in the bar where the part sounds until `end` and for so many notes
    /// more there is room.
    pub(super) fn keeps_on(&self, end: Ticks, room: u32) -> bool {
        let longest = self.limits.rests.end().0;
        if room == u32::MAX || longest == u32::MAX {
            return true;
        }
        // A note and the rest behind it, at the longest: that much farther with each.
        let turn = self.longest.0.saturating_add(longest);
        let turn = turn.saturating_sub(self.step);
        let times = room / u32::from(*self.limits.polyphony.start()).max(1);
        let covered = u64::from(end.0) + u64::from(longest) + u64::from(times) * u64::from(turn);
        covered >= u64::from(self.end.0)
    }
}
