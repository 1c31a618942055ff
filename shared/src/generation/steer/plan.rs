//! Whether a track can still have the notes that a cell owes.
//!
//! It is asked of one way among many: notes as short as the limits allow, each as many at once as can be where
//! the one before ends, or a rest behind it. As long as that way is open there is one; what closes it is not said.

use super::part::Part;
use crate::score::{Note, Ticks};
use crate::theory::Pitches;

/// By onset, the most notes of the way that begins there where a note ends, and of those that begin there or later
/// as things are.
struct Way {
    at: Vec<u32>,
    best: Vec<u32>,
}

/// What a cell needs and has room for, from where it has come to.
pub(super) struct Plan<'a> {
    part: &'a Part,
    /// Notes more that must come if any does, and that may.
    need: u32,
    room: u32,
    /// Ways of one group of notes at once, of two, and so on, as many as there is room for; where groups are of
    /// one note or more the one way of all.
    ways: Vec<Way>,
}

impl<'a> Plan<'a> {
    /// Of what is owed; of nothing, where nothing is demanded.
    pub(super) fn new(part: &'a Part, demands: bool) -> Self {
        let (need, room) = part.quota.open();
        let need = if demands { need } else { 0 };
        let mut plan = Self {
            part,
            need,
            room,
            ways: Vec::new(),
        };
        // The first note of a cell needs no way, where it is all that is owed.
        if need > u32::from(!part.quota.plays()) {
            let slots: Vec<u32> = (0..part.onsets())
                .map(|onset| part.slot(onset).map_or(0, |slot| slot.most))
                .collect();
            match plan.group() {
                1 => plan.ways.push(plan.way(&slots, None)),
                group => {
                    for _ in 0..(room / group).min(part.onsets()) {
                        let way = plan.way(&slots, plan.ways.last().or(Some(&Way::NONE)));
                        plan.ways.push(way);
                    }
                }
            }
        }
        plan
    }

    /// How many notes a group has at least, where their number has an end.
    fn group(&self) -> u32 {
        match self.room {
            u32::MAX => 1,
            _ => u32::from(*self.part.limits.polyphony.start()).max(1),
        }
    }

    /// One group in front of each of `shorter`, or as many groups as there can be.
    fn way(&self, slots: &[u32], shorter: Option<&Way>) -> Way {
        let mut way = Way {
            at: vec![0; slots.len()],
            best: vec![0; slots.len()],
        };
        for (onset, &most) in slots.iter().enumerate().rev() {
            let (next, later) = self.part.behind(onset as u32);
            let more = shorter.unwrap_or(&way).most(next, later);
            let before = way.best.get(onset + 1).copied().unwrap_or(0);
            way.at[onset] = if most > 0 {
                most.saturating_add(more)
            } else {
                0
            };
            way.best[onset] = match self.part.has_rested(onset as u32) {
                true => before.max(way.at[onset]),
                false => before,
            };
        }
        way
    }

    /// Whether so many notes, and no more than `room`, can begin at the onset `next` or from `later` on.
    fn reaches(&self, (next, later): (u32, u32), need: u32, room: u32) -> bool {
        let way = match self.group() {
            _ if need == 0 => return true,
            1 => self.ways.first(),
            group => (room / group).checked_sub(1).and_then(|groups| {
                let last = self.ways.len().checked_sub(1)?;
                self.ways.get((groups as usize).min(last))
            }),
        };
        need <= room && way.is_some_and(|way| way.most(next, later) >= need)
    }

    /// Lets go of what cannot be had any more from an onset on.
    pub(super) fn let_go(mut self, from: u32) -> Self {
        if self.part.quota.plays() {
            let reaches = self.reaches((u32::MAX, from), self.need, self.room);
            self.need = if reaches { self.need } else { 0 };
        }
        self
    }

    /// Whether the part can play at an onset, and what it needs then.
    pub(super) fn can_use(&self, steps: u32) -> bool {
        let (part, room) = (self.part, self.room);
        let Some(slot) = part.slot(steps).filter(|_| part.has_rested(steps)) else {
            return false;
        };
        slot.least <= room
            && part.keeps_on(part.reach(steps), room - slot.least)
            && (self.need <= slot.least || self.remaining(steps, None, self.need, room).is_some())
    }

    /// Whether the part can play in the bar.
    pub(super) fn can_play(&self) -> bool {
        self.room > 0 && (0..self.part.onsets()).any(|onset| self.can_use(onset))
    }

    /// How many notes more must begin at an onset behind the one that was struck, of which `need` are owed and for
    /// `room` there is room: as many as what comes behind it cannot have, and no fewer than must sound at once.
    /// `None` where they are too many.
    fn remaining(&self, steps: u32, struck: Option<u8>, need: u32, room: u32) -> Option<u32> {
        let part = self.part;
        let most = part.room(steps).min(room);
        let most = most.min(part.higher(steps, struck).len() as u32);
        let least = part.limits.lacking(part.at(steps), &part.sounding) as u32;
        let behind = part.behind(steps);
        let reaches = |&more: &u32| self.reaches(behind, need.saturating_sub(more), room - more);
        (least..=most).find(reaches)
    }

    /// Which pitches may be struck next at an onset, and whether one must.
    pub(super) fn keys(&self, steps: u32, struck: Option<u8>, demands: bool) -> (Pitches, bool) {
        let (part, room) = (self.part, self.room);
        let open = part.higher(steps, struck);
        let lacking = part.limits.lacking(part.at(steps), &part.sounding) as u32;
        let spare = || part.keeps_on(part.reach(steps), room.saturating_sub(1));
        // A position whose offsets can be used is none itself where it has too few.
        let too_few = struck.is_none() && part.slot(steps).is_none();
        if room == 0 || too_few || (struck.is_some() && lacking == 0 && !spare()) {
            return (Pitches::default(), false);
        }
        let owed = self.remaining(steps, struck, self.need, room);
        let must = owed.unwrap_or(lacking) as usize;
        let now = match open.len() >= must {
            true => open.without_highest(must.saturating_sub(1)),
            false => open,
        };
        let only = demands && must > 0 && struck.is_some() && !now.is_empty();
        (now, only)
    }

    /// Whether what is owed can be had behind a note that begins at an onset and lasts so long.
    fn goes_on(&self, steps: u32, pitch: u8, duration: Ticks) -> bool {
        let mut other = self.part.clone();
        other.begin(Note {
            start: self.part.at(steps),
            pitch,
            duration,
            velocity: 0,
        });
        let (need, room) = (self.need - 1, self.room.saturating_sub(1));
        let remaining = Plan::new(&other, true).remaining(steps, Some(pitch), need, room);
        remaining.is_some()
    }

    /// Which of `lengths`, ascending, a note of `pitch` may have.
    pub(super) fn lengths(&self, steps: u32, pitch: u8, lengths: &[Ticks]) -> Vec<bool> {
        let part = self.part;
        let rests = part.limits.rests.start().0 > 0;
        let last = lengths.last().copied();
        // Where the longest is no hindrance none is, unless the rest behind it must have its time.
        let free = |last| !rests && self.goes_on(steps, pitch, last);
        if self.need <= 1 || last.is_none_or(free) {
            return vec![true; lengths.len()];
        }
        let shortest = *part.limits.lengths.start();
        let may = |&length: &Ticks| length == shortest || self.goes_on(steps, pitch, length);
        lengths.iter().map(may).collect()
    }
}

impl Way {
    const NONE: Self = Self {
        at: Vec::new(),
        best: Vec::new(),
    };

    fn most(&self, next: u32, later: u32) -> u32 {
        let of = |notes: &[u32], onset: u32| notes.get(onset as usize).copied().unwrap_or(0);
        of(&self.at, next).max(of(&self.best, later))
    }
}
