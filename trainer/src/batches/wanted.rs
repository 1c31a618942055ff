//! Which cells of a segment are wanted, by what a model is used for.

use std::ops::Range;

use famam_shared::instrument::{Instrument, InstrumentSet};
use rand::{Rng, RngExt};

use super::MOST_OPEN;
use crate::config::training::Uses;

/// Cells of a segment, track by bar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// Each so often.
    Cells(f64),
    /// Those of these tracks in these bars.
    Block(InstrumentSet, Range<usize>),
}

impl Wanted {
    /// Of a segment of `bars` bars in which `band` plays; none where music goes on.
    pub(super) fn draw(
        uses: &Uses,
        bars: usize,
        band: &InstrumentSet,
        rng: &mut impl Rng,
    ) -> Option<Self> {
        let weights = uses.weights();
        let mut drawn = rng.random::<f64>() * weights.iter().sum::<f64>();
        let place = weights.iter().position(|weight| {
            drawn -= weight;
            drawn < 0.0
        });
        if bars == 0 || band.is_empty() {
            return None;
        }
        let whole = 0..bars;
        Some(match place {
            Some(1) => Self::Cells(rng.random_range(0.0..MOST_OPEN)),
            Some(2) => Self::Block(some(band, 1, rng), run(whole, rng)),
            Some(3) => Self::Block(some(band, others(band), rng), whole),
            // What is known stands on both sides, where there is room for it.
            Some(4) if bars > 2 => Self::Block(*band, run(1..bars - 1, rng)),
            Some(4) => Self::Block(*band, run(whole, rng)),
            Some(5) => {
                let begin = rng.random_range(bars / 2..bars);
                Self::Block(some(band, others(band), rng), begin..bars)
            }
            _ => return None,
        })
    }

    /// Whether the cell of `instrument` in `bar` is one of them; asked once for each.
    pub(super) fn holds(&self, bar: usize, instrument: Instrument, rng: &mut impl Rng) -> bool {
        match self {
            Self::Cells(share) => rng.random_bool(*share),
            Self::Block(tracks, bars) => bars.contains(&bar) && tracks.contains(instrument),
        }
    }
}

/// Tracks of a band beside which there is another; of one alone, that one.
fn others(band: &InstrumentSet) -> usize {
    band.len().saturating_sub(1).max(1)
}

/// Some tracks of a band: one at least, `most` at most.
fn some(band: &InstrumentSet, most: usize, rng: &mut impl Rng) -> InstrumentSet {
    let mut left: Vec<Instrument> = band.iter().collect();
    let count = rng.random_range(1..=most.clamp(1, left.len().max(1)));
    let drawn = (0..count).filter_map(|_| {
        let place = rng.random_range(0..left.len().max(1));
        (place < left.len()).then(|| left.swap_remove(place))
    });
    drawn.collect()
}

/// Some bars of `bars`, one after another: one at least.
fn run(bars: Range<usize>, rng: &mut impl Rng) -> Range<usize> {
    let begin = rng.random_range(bars.clone());
    begin..rng.random_range(begin + 1..=bars.end)
}
