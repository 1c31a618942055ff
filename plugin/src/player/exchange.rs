//! How clips come in, take each other's place and go back.

use std::sync::Arc;

use super::transport::{Line, Motion, SLACK};
use super::{Event, Player};
use crate::clip::Clip;

impl Player {
    pub(super) fn give_back(&mut self, clip: Arc<Clip>) {
        // There is room: `receive` takes a clip only where two more can go, and each clip that was
        // taken goes once. If there were none after all, leaking is better than freeing here.
        if let Err(rtrb::PushError::Full(clip)) = self.outgoing.push(clip) {
            std::mem::forget(clip);
        }
    }

    /// The position at which the clip that waits may enter: not on a sample before `now`.
    pub(super) fn next_exchange(&self, motion: &Motion, line: &Line, now: i64) -> Option<f64> {
        self.pending.as_ref()?;
        let entry = |tick| match self.clip {
            Some(_) => motion.bar_line_from(tick),
            None => motion.beat_from(tick),
        };
        let earliest = line.tick_at(now as f64 - 0.5);
        let tick = entry(earliest);
        Some(if line.sample_of(tick) >= now {
            tick
        } else {
            entry(tick + 2.0 * SLACK)
        })
    }

    /// Lets the clip that waits enter at `tick`.
    pub(super) fn enter(
        &mut self,
        motion: &Motion,
        tick: f64,
        sample: i64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let anchor = match (&self.clip, &self.pending) {
            (None, _) => motion.bar_line_of(tick),
            (Some(old), Some(new)) if old.id == new.id => self.anchor,
            _ => 0.0,
        };
        self.exchange(sample, anchor, send)?;
        self.seek(tick - SLACK);
        Some(())
    }

    /// The clip that waits takes the place of the present one, its first tick at `anchor`.
    pub(super) fn exchange(
        &mut self,
        sample: i64,
        anchor: f64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let (old, new) = (self.clip.as_ref(), self.pending.as_ref());
        let both = old.zip(new);
        let same = both.is_some_and(|(old, new)| old.id == new.id);
        self.programs_due |= !same || both.is_some_and(|(old, new)| old.parts != new.parts);
        if !same {
            self.end_all(sample, send)?;
        }
        let old = std::mem::replace(&mut self.clip, self.pending.take());
        if let Some(old) = old {
            self.give_back(old);
        }
        self.anchor = anchor;
        Some(())
    }
}
