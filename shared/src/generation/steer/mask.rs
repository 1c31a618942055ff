//! Which tokens are left: by what is said next, the keys at an onset, a duration, a place in a cell, a cell in
//! a bar or, where a bar is said by time, a place in it.

use super::Steer;
use super::part::Part;
use super::plan::Plan;
use crate::encoding::{Kind, Lexicon, Token, TokenSet, grid};
use crate::instrument::Instrument;
use crate::score::Ticks;
use crate::theory::Pitches;

impl Steer {
    /// Takes out of `allowed` what must not come. Where nothing is demanded, what is owed need not come either.
    pub(in crate::generation) fn mask(
        &self,
        lexicon: &Lexicon,
        allowed: &mut TokenSet,
        demands: bool,
    ) {
        if let Some(pitch) = self.pending {
            return self.mask_durations(lexicon, pitch, allowed);
        }
        let mut chords = lexicon.run(Kind::Chord);
        let asked = self
            .chord
            .and_then(|chord| chords.nth(chord.index().into()));
        if let Some(chord) = asked.filter(|&chord| allowed.contains(chord)) {
            allowed.clear();
            return allowed.insert(chord);
        }
        let velocities = lexicon.run(Kind::Velocity);
        if !self.by_cell && velocities.clone().any(|token| allowed.contains(token)) {
            return;
        }
        let (part, mut now) = (self.writes(), Pitches::ALL);
        if let (Some(part), Some(onset)) = (part, self.onset) {
            let only;
            (now, only) = Plan::new(part, demands).keys(onset, self.struck, demands);
            self.mask_keys(lexicon, now, only, allowed);
            if only {
                return;
            }
        }
        match (part, self.by_cell) {
            (Some(part), true) => self.mask_cell(lexicon, part, demands, now, allowed),
            (None, true) => self.mask_bar(lexicon, demands, allowed),
            (_, false) => self.mask_time(lexicon, demands, allowed),
        }
    }

    /// Leaves the keys in `now`, and where they must come nothing else.
    fn mask_keys(&self, lexicon: &Lexicon, now: Pitches, only: bool, allowed: &mut TokenSet) {
        let keys = [Kind::Pitch, Kind::Drum].map(|kind| lexicon.run(kind));
        let mut kept: Vec<Token> = Vec::new();
        for (token, key) in keys.into_iter().flat_map(|run| run.zip(0u8..)) {
            if !now.contains(key) {
                allowed.remove(token);
            } else if only && allowed.contains(token) {
                kept.push(token);
            }
        }
        let velocities = lexicon.run(Kind::Velocity);
        if only {
            kept.extend(velocities.filter(|&token| allowed.contains(token)));
            allowed.clear();
            kept.into_iter().for_each(|token| allowed.insert(token));
        } else if now.is_empty() {
            velocities.for_each(|token| allowed.remove(token));
        }
    }

    /// Leaves durations that a note on `pitch` may have; of those the ones after which all goes well, where there are any.
    fn mask_durations(&self, lexicon: &Lexicon, pitch: u8, allowed: &mut TokenSet) {
        let (Some(part), Some(onset)) = (self.writes(), self.onset) else {
            return;
        };
        let at = part.at(onset);
        let room = part.until.saturating_sub(at);
        let lengths = self.rules(part).lengths(at, pitch);
        let fits = |length: Ticks| {
            let lengths = lengths.as_ref();
            length <= room && lengths.is_some_and(|lengths| lengths.contains(&length))
        };
        let durations = lexicon.run(Kind::Duration).zip(0u16..);
        let durations = durations.map(|(token, index)| (token, lexicon.duration_of(index)));
        let (fit, unfit): (Vec<_>, Vec<_>) = durations.partition(|(_, length)| fits(*length));
        unfit
            .into_iter()
            .for_each(|(token, _)| allowed.remove(token));
        let lengths: Vec<Ticks> = fit.iter().map(|(_, length)| *length).collect();
        let plan = Plan::new(part, true).lengths(onset, pitch, &lengths);
        let lasts_well = |length| part.lasts_well(onset, length);
        let well = lengths.into_iter().map(lasts_well);
        // In the order of their worth: what goes on as it must, and what leaves room for what is behind the bar.
        let worth =
            std::iter::zip(plan, well).map(|(plan, well)| 2 * u8::from(plan) + u8::from(well));
        let worth: Vec<u8> = worth.collect();
        let best = worth.iter().max().copied().unwrap_or_default();
        let below = std::iter::zip(fit, worth).filter(|(_, worth)| *worth < best);
        below.for_each(|((token, _), _)| allowed.remove(token));
    }

    /// Inside of a cell: positions that can be used, no later than the next note is due, and no end before.
    fn mask_cell(
        &self,
        lexicon: &Lexicon,
        part: &Part,
        demands: bool,
        now: Pitches,
        allowed: &mut TokenSet,
    ) {
        let due = part.due().filter(|_| demands);
        let late = |onset: u32| due.is_some_and(|due| part.at(onset) > due);
        let behind = self.onset.map_or(0, |onset| onset + 1);
        let parts = u32::from(lexicon.settings().offsets);
        let offsets = lexicon.run(Kind::Offset);
        let offset = offsets.clone().any(|token| allowed.contains(token));
        // Before an offset is said, or none, the position itself is still to be had.
        let plan = Plan::new(part, demands).let_go(behind.saturating_sub(offset.into()));
        if offset {
            let position = self.onset.unwrap_or_default() / parts * parts;
            let mut any = !now.is_empty();
            for (token, step) in offsets.zip(1u32..) {
                let onset = position + step;
                if !plan.can_use(onset) || (any && late(onset)) {
                    allowed.remove(token);
                }
                any |= allowed.contains(token);
            }
            return;
        }
        let mut any = false;
        for (token, position) in lexicon.run(Kind::Position).zip(0u32..) {
            if !allowed.contains(token) {
                continue;
            }
            let mut onsets = position * parts..(position + 1) * parts;
            match onsets.find(|onset| *onset >= behind && plan.can_use(*onset)) {
                Some(onset) if !any || !late(onset) => any = true,
                _ => allowed.remove(token),
            }
        }
        let owes = demands && (due.is_some() || part.quota.owed() > 0);
        match any && owes {
            true => self.mask_exits(lexicon, allowed, |_| true),
            false => self.mask_bar(lexicon, demands, allowed),
        }
    }

    /// Takes out what ends a cell: the bar's end, and instruments where `also` says so.
    fn mask_exits(
        &self,
        lexicon: &Lexicon,
        allowed: &mut TokenSet,
        also: impl Fn(Instrument) -> bool,
    ) {
        let ends = [Kind::Bar, Kind::Eos, Kind::At, Kind::Separator, Kind::Done];
        let ends = ends.into_iter().flat_map(|kind| lexicon.run(kind));
        ends.for_each(|token| allowed.remove(token));
        let instruments = Instrument::all().filter(|&instrument| also(instrument));
        instruments.for_each(|by| allowed.remove(lexicon.token(Kind::Instrument, by.index())));
    }

    /// Between the cells of a bar: only those that can be played, and none left out that must be.
    fn mask_bar(&self, lexicon: &Lexicon, demands: bool, allowed: &mut TokenSet) {
        if self.behind {
            return;
        }
        let mut first: Option<u16> = None;
        for part in &self.parts {
            let token = lexicon.token(Kind::Instrument, part.instrument.index());
            if !allowed.contains(token) {
                continue;
            }
            if !part.can_play {
                allowed.remove(token);
            } else if demands && (part.due().is_some() || part.quota.owed() > 0) {
                let order = grid::order(part.instrument);
                first = Some(first.map_or(order, |first| first.min(order)));
            }
        }
        if let Some(first) = first {
            self.mask_exits(lexicon, allowed, |by| grid::order(by) > first);
        }
    }

    /// Where a bar is said by time: positions that some part can use, and there those parts; and none behind the last
    /// at which a part can begin that owes notes.
    fn mask_time(&self, lexicon: &Lexicon, demands: bool, allowed: &mut TokenSet) {
        let behind = self.onset.map_or(0, |onset| onset + 1);
        let named = |part: &Part| lexicon.token(Kind::Instrument, part.instrument.index());
        let rank = |part: &Part| (!part.instrument.is_drums(), part.instrument.index());
        // With the first onset that each can still have, and what it needs from there on.
        let parts = self.parts.iter().map(|part| {
            let here = self.onset.filter(|_| allowed.contains(named(part)));
            let from = here.unwrap_or(behind);
            (part, from, Plan::new(part, demands).let_go(from))
        });
        let parts: Vec<_> = parts.collect();
        let mut deadline: Option<u32> = None;
        let mut overdue = None;
        for (part, from, plan) in &parts {
            if !demands || part.quota.owed() == 0 {
                continue;
            }
            let mut onsets = (*from..part.onsets()).rev();
            let Some(last) = onsets.find(|&onset| plan.can_use(onset)) else {
                continue;
            };
            deadline = Some(deadline.map_or(last, |deadline| deadline.min(last)));
            if Some(last) == self.onset {
                overdue = Some(overdue.map_or(rank(part), |first| rank(part).min(first)));
            }
        }
        if let Some(onset) = self.onset {
            for (part, _, plan) in &parts {
                let past = overdue.is_some_and(|overdue| rank(part) > overdue);
                if past || !plan.can_use(onset) {
                    allowed.remove(named(part));
                }
            }
        }
        for (token, onset) in lexicon.run(Kind::Position).zip(0u32..) {
            if !allowed.contains(token) {
                continue;
            }
            let late = overdue.is_some() || deadline.is_some_and(|deadline| onset > deadline);
            let mut usable = parts.iter();
            if late || !usable.any(|(_, _, plan)| plan.can_use(onset)) {
                allowed.remove(token);
            }
        }
        if deadline.is_some() {
            self.mask_exits(lexicon, allowed, |_| false);
        }
    }
}
