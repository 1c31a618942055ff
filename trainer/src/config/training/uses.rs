//! What a model that can fill in cells is trained for.

use serde::{Deserialize, Serialize};

use super::Error;
use super::check::value;

/// How often segments are of each use, as weights: which of their cells are wanted, that is said behind
/// all that is known. Where the encoding can say that alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uses {
    /// None: music goes on from what is known before it.
    pub continuation: f64,
    /// Some here and there.
    pub cells: f64,
    /// Some bars of one track, one after another.
    pub bars: f64,
    /// All of some tracks, which accompany the others.
    pub tracks: f64,
    /// All of some bars inside, one after another.
    pub sections: f64,
    /// The last bars of some tracks, while the others are known.
    pub ends: f64,
}

impl Default for Uses {
    fn default() -> Self {
        Self {
            continuation: 0.4,
            cells: 0.1,
            bars: 0.15,
            tracks: 0.15,
            sections: 0.1,
            ends: 0.1,
        }
    }
}

impl Uses {
    /// Continuation alone.
    pub fn none_wanted() -> Self {
        Self {
            continuation: 1.0,
            cells: 0.0,
            bars: 0.0,
            tracks: 0.0,
            sections: 0.0,
            ends: 0.0,
        }
    }

    /// The weights: of continuation, and of the others in their order.
    pub fn weights(&self) -> [f64; 6] {
        let Self {
            continuation,
            cells,
            bars,
            tracks,
            sections,
            ends,
        } = *self;
        [continuation, cells, bars, tracks, sections, ends]
    }

    /// Refuses weights of which nothing can be drawn.
    pub(super) fn check(&self) -> Result<(), Error> {
        let names = [
            "uses.continuation",
            "uses.cells",
            "uses.bars",
            "uses.tracks",
            "uses.sections",
            "uses.ends",
        ];
        for (field, weight) in std::iter::zip(names, self.weights()) {
            if !(weight.is_finite() && weight >= 0.0) {
                return value(field, weight.to_string(), "0 or more");
            }
        }
        if !self.weights().iter().sum::<f64>().is_normal() {
            let expected = "above 0 where all other uses are 0";
            return value("uses.continuation", self.continuation.to_string(), expected);
        }
        Ok(())
    }
}
