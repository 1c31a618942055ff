//! Which tokens are left: by what is said next, the keys at an onset, a duration, a place in a cell, a cell in
//! a bar or, where a bar is said by time, a place in it.

use super::{Part, Steer};
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
        let chord = lexicon.run(Kind::Chord).zip(0u16..);
        let asked = chord.filter(|(_, index)| self.chord.is_some_and(|c| c.index() == *index));
        for (token, _) in asked {
            if allowed.contains(token) {
                allowed.clear();
                return allowed.insert(token);
            }
        }
        let velocities = lexicon.run(Kind::Velocity);
        if !self.by_cell && velocities.clone().any(|token| allowed.contains(token)) {
            return;
        }
        let part = self.part.and_then(|part| self.parts.get(part));
        let mut now = Pitches::ALL;
        if let (Some(part), Some(onset)) = (part, self.onset) {
            let at = self.at(lexicon, onset);
            let open = self.higher(part, at);
            let lacking = self.rules(part).lacking(at, &part.sounding);
            now = open.without_highest(match open.len() >= lacking {
                true => lacking.saturating_sub(1),
                false => 0,
            });
            let lacks = demands && lacking > 0 && self.struck.is_some() && !now.is_empty();
            self.mask_keys(lexicon, now, lacks, allowed);
            if lacks {
                return;
            }
        }
        match (part, self.by_cell) {
            (Some(part), true) => self.mask_cell(lexicon, part, demands, now, allowed),
            (None, true) => self.mask_bar(lexicon, demands, allowed),
            (_, false) if self.is_open => {}
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

    /// Leaves durations that a note on `pitch` may have.
    fn mask_durations(&self, lexicon: &Lexicon, pitch: u8, allowed: &mut TokenSet) {
        let part = self.part.and_then(|part| self.parts.get(part));
        let (Some(part), Some(onset)) = (part, self.onset) else {
            return;
        };
        let at = self.at(lexicon, onset);
        let room = self.until(part).saturating_sub(at);
        let lengths = self.rules(part).lengths(at, pitch);
        for (token, index) in lexicon.run(Kind::Duration).zip(0u16..) {
            let length = lexicon.duration_of(index);
            let fits = lengths
                .as_ref()
                .is_some_and(|lengths| lengths.contains(&length));
            if !fits || length > room {
                allowed.remove(token);
            }
        }
    }

    /// Onsets at a position, behind `behind` in the bar, that the part can use.
    fn onsets<'a>(
        &'a self,
        lexicon: &'a Lexicon,
        part: &'a Part,
        position: u16,
        behind: Option<u32>,
    ) -> impl Iterator<Item = Ticks> + 'a {
        let parts = u32::from(lexicon.settings().offsets);
        let steps = (0..parts).map(move |part| u32::from(position) * parts + part);
        let later = steps.filter(move |steps| behind.is_none_or(|onset| *steps > onset));
        let at = later.map(|steps| self.at(lexicon, steps));
        at.filter(|at| self.is_usable(part, *at))
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
        let due = self.due(part).filter(|_| demands);
        let late = |at: Ticks| due.is_some_and(|due| at > due);
        let offsets = lexicon.run(Kind::Offset);
        if offsets.clone().any(|token| allowed.contains(token)) {
            let parts = u32::from(lexicon.settings().offsets);
            let position = self.onset.unwrap_or_default() / parts * parts;
            let mut any = !now.is_empty();
            for (token, step) in offsets.zip(1u32..) {
                let at = self.at(lexicon, position + step);
                if !self.is_usable(part, at) || (any && late(at)) {
                    allowed.remove(token);
                }
                any |= allowed.contains(token);
            }
            return;
        }
        let mut any = false;
        for (token, position) in lexicon.run(Kind::Position).zip(0u16..) {
            if !allowed.contains(token) {
                continue;
            }
            match self.onsets(lexicon, part, position, self.onset).next() {
                Some(at) if !any || !late(at) => any = true,
                _ => allowed.remove(token),
            }
        }
        match any && due.is_some() {
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

    /// Whether the part can begin anything in the bar.
    fn can_play(&self, lexicon: &Lexicon, part: &Part) -> bool {
        let positions = (self.bar.end - self.bar.start).0 / lexicon.settings().position();
        let mut onsets =
            (0..positions as u16).flat_map(|position| self.onsets(lexicon, part, position, None));
        onsets.next().is_some()
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
            if !self.can_play(lexicon, part) {
                allowed.remove(token);
            } else if demands && self.due(part).is_some() {
                let order = grid::order(part.instrument);
                first = Some(first.map_or(order, |first| first.min(order)));
            }
        }
        if let Some(first) = first {
            self.mask_exits(lexicon, allowed, |by| grid::order(by) > first);
        }
    }

    /// Where a bar is said by time: positions that some part can use, and there those parts; first of all those
    /// that must not be silent.
    fn mask_time(&self, lexicon: &Lexicon, demands: bool, allowed: &mut TokenSet) {
        let owes = |part: &Part| demands && self.forced.contains(part.instrument) && !part.played;
        if let Some(onset) = self.onset {
            let at = self.at(lexicon, onset);
            let usable = |part: &Part| self.is_usable(part, at);
            let owed = self.parts.iter().any(|part| owes(part) && usable(part));
            let out = self.parts.iter();
            out.filter(|&part| !usable(part) || (owed && !owes(part)))
                .map(|part| lexicon.token(Kind::Instrument, part.instrument.index()))
                .for_each(|token| allowed.remove(token));
        }
        let mut owed = false;
        for (token, position) in lexicon.run(Kind::Position).zip(0u16..) {
            let usable = |part| {
                let mut onsets = self.onsets(lexicon, part, position, self.onset);
                onsets.next().is_some()
            };
            if !allowed.contains(token) {
                continue;
            }
            let parts = || self.parts.iter().filter(|&part| usable(part));
            if owed || parts().next().is_none() {
                allowed.remove(token);
            } else if parts().any(owes) {
                owed = true;
                let before = lexicon.run(Kind::Position).start..token;
                before.for_each(|token| allowed.remove(token));
            }
        }
        if owed {
            self.mask_exits(lexicon, allowed, |_| false);
        }
    }
}
