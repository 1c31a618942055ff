//! How much a track plays: its notes a bar, and how many of its cells stay empty. Budgets carry over from cell
//! to cell, so that none is stuffed or emptied at the end.
//!
//! Density is of the bars in which a track plays, so that a cell may always stay empty where emptiness is no
//! matter. After each cell in which it plays the notes so far are as many as the density says of the bars so
//! far. Where no whole number is (one bar at 1.5 to 1.9 notes), it is the next one above, and a cell more must come.

use std::ops::{Range, RangeInclusive};

/// So many more cells than by the share of what may be empty may be so at any time: a track enters late, or pauses
/// for a phrase.
const LEAD: f64 = 4.0;

/// Bars by which any density has a whole number of notes: that whose levels differ by one note in a hundred.
const SETTLED: u32 = 100;

/// What one track owes, and what it has left.
#[derive(Clone, Debug)]
pub(in crate::generation) struct Quota {
    /// Notes in a hundred bars in which it plays.
    density: Range<u64>,
    /// Cells that are wanted in all.
    cells: u32,
    /// The share of them that may stay empty; 1 where all may.
    empty: f64,
    /// Whether it plays in the first cell in which it can.
    pub(super) eager: bool,
    /// Cells before this one, those of them in which it played, and their notes.
    passed: u32,
    played: u32,
    notes: u64,
    /// Notes in this cell, where it is one that is wanted.
    here: Option<u64>,
}

impl Quota {
    /// Of a track with so many wanted cells and notes in a hundred of those in which it plays; where it must not
    /// be silent throughout, the share of cells that must not be empty at least.
    pub(super) fn new(density: Range<u32>, cells: u32, least_filled: Option<f32>) -> Self {
        let filled = least_filled.map_or(0.0, |share| f64::from(share).clamp(0.0, 1.0));
        let one = least_filled.map_or(0.0, |_| 1.0 / f64::from(cells.max(1)));
        Self {
            // A bar in which it plays has a note.
            density: u64::from(density.start.max(100))..match density.end {
                u32::MAX => u64::MAX,
                end => u64::from(end),
            },
            cells,
            empty: 1.0 - filled.max(one),
            eager: false,
            passed: 0,
            played: 0,
            notes: 0,
            here: None,
        }
    }

    /// Comes to a cell, or to one that is not wanted.
    pub(super) fn enter(&mut self, wanted: bool) {
        if let Some(here) = self.here.take() {
            self.passed = self.passed.saturating_add(1);
            self.played += u32::from(here > 0);
            self.notes += here;
        }
        self.here = wanted.then_some(0);
    }

    /// A note begins in this cell.
    pub(super) fn count(&mut self) {
        self.here = self.here.map(|here| here + 1);
    }

    /// Whether it has played in this cell.
    pub(super) fn plays(&self) -> bool {
        self.here.is_some_and(|here| here > 0)
    }

    /// The fewest and the most notes of so many bars in which it plays.
    fn notes_of(&self, bars: u32) -> RangeInclusive<u64> {
        let bars = u64::from(bars);
        let least = (self.density.start * bars).div_ceil(100);
        let most = (self.density.end.saturating_mul(bars)).div_ceil(100) - u64::from(bars > 0);
        least..=most.max(least)
    }

    /// Whether so many bars can have the density.
    fn is_exact(&self, bars: u32) -> bool {
        let notes = self.notes_of(bars);
        bars == 0 || 100 * notes.end() < self.density.end.saturating_mul(bars.into())
    }

    /// Whether the density can be had at the end if it has played in so many bars and so many cells are left.
    fn ends_well(&self, played: u32, left: u32) -> bool {
        let last = played.saturating_add(left.min(SETTLED));
        (played..=last).any(|bars| self.is_exact(bars))
    }

    /// Cells behind this one.
    fn left(&self) -> u32 {
        self.cells.saturating_sub(self.passed.saturating_add(1))
    }

    /// Whether it may play in this cell at all.
    fn may_play(&self) -> bool {
        self.here.is_some() && self.ends_well(self.played + 1, self.left())
    }

    /// Whether so many of the first cells may stay empty, of so many.
    fn may_be_empty(&self, empty: u32, of: u32) -> bool {
        let most = self.empty * f64::from(of) + LEAD;
        // What is a whole number is one, whatever its last bit.
        f64::from(empty) <= most.min(self.empty * f64::from(self.cells)) + 1e-6
    }

    /// Whether this cell must not stay empty.
    fn must_play(&self) -> bool {
        let empty = self.passed - self.played;
        let late = !self.may_be_empty(empty + 1, self.passed.saturating_add(1));
        let late = late || (self.eager && self.played == 0);
        self.may_play() && (late || !self.ends_well(self.played, self.left()))
    }

    /// How many cells right behind this one may stay empty where it plays in this one, `most` at most.
    pub(super) fn spare(&self, most: u32) -> u32 {
        let (empty, of) = (self.passed - self.played, self.passed.saturating_add(1));
        let spare = |more: &u32| self.may_be_empty(empty + more, of.saturating_add(*more));
        (1..=most).take_while(spare).count() as u32
    }

    /// How many notes a cell in which it plays has at the least.
    pub(super) fn least(&self) -> usize {
        self.density.start.div_ceil(100) as usize
    }

    /// How many notes more must begin in this cell if any does, and how many may.
    pub(super) fn open(&self) -> (u32, u32) {
        let here = self.here.unwrap_or_default();
        let notes = self.notes_of(self.played + 1);
        let yet = |of: u64| of.saturating_sub(self.notes + here).min(u32::MAX.into()) as u32;
        match self.may_play() {
            true => (yet(*notes.start()), yet(*notes.end())),
            false => (0, 0),
        }
    }

    /// How many notes more must begin in this cell.
    pub(super) fn owed(&self) -> u32 {
        match self.plays() {
            true => self.open().0,
            false if self.must_play() => self.open().0.max(1),
            false => 0,
        }
    }

    /// Whether there is a number of bars up to `cells` that can have the density.
    pub(in crate::generation) fn is_possible(&self) -> bool {
        self.cells == 0 || self.ends_well(1, self.cells - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is played of what is open, the density is had after every bar in which it can be, and at the end.
    #[test]
    fn a_density_is_had_at_the_end_whatever_is_played() {
        for (lo, hi) in [
            (0, 150),
            (133, 200),
            (101, 105),
            (250, 251),
            (400, 600),
            (2400, u32::MAX),
        ] {
            for cells in 1..120 {
                for way in 0..4 {
                    let mut quota = Quota::new(lo..hi, cells, None);
                    if !quota.is_possible() {
                        continue;
                    }
                    for cell in 0..cells {
                        quota.enter(true);
                        let rests = way < 2 && (cell + way) % 3 > 0;
                        if quota.owed() == 0 && (rests || !quota.may_play()) {
                            continue;
                        }
                        let (least, most) = quota.open();
                        assert!(1 <= least.max(1) && least.max(1) <= most, "{quota:?}");
                        let notes = if way % 2 == 0 {
                            least.max(1)
                        } else {
                            most.min(40).max(least)
                        };
                        (0..notes).for_each(|_| quota.count());
                        assert_eq!(quota.owed(), 0);
                    }
                    quota.enter(false);
                    let (notes, bars) = (quota.notes, u64::from(quota.played));
                    let had =
                        100 * notes >= u64::from(lo) * bars && 100 * notes < u64::from(hi) * bars;
                    assert!(bars == 0 || had, "{lo} to {hi}, {cells}: {notes} in {bars}");
                }
            }
        }
        assert!(!Quota::new(250..260, 1, None).is_possible());
        assert!(Quota::new(250..260, 2, None).is_possible());
        assert!(!Quota::new(0..100, 50, None).is_possible());
    }

    /// So many cells are filled as must be, a rest at a time.
    #[test]
    fn cells_are_filled_as_often_as_they_must_be_and_not_all_at_the_end() {
        for cells in [1, 2, 7, 32, 200] {
            for share in [0.0, 0.3, 0.5, 0.9, 1.0] {
                let mut quota = Quota::new(0..u32::MAX, cells, Some(share));
                let mut filled = Vec::new();
                for _ in 0..cells {
                    quota.enter(true);
                    filled.push(quota.owed() > 0);
                    (0..quota.owed()).for_each(|_| quota.count());
                }
                let count = filled.iter().filter(|&&filled| filled).count() as f32;
                let least = (share * cells as f32).max(1.0);
                assert!(
                    count >= least - 1e-3 && count < least + 1.0,
                    "{cells} {share}: {count}"
                );
                let mut rests = filled.split(|&filled| filled).map(<[bool]>::len);
                let longest = (LEAD as f32 + 1.0) / share;
                assert!(rests.all(|rest| rest as f32 <= longest));
            }
        }
    }
}
