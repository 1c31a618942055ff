//! Repetition: bars that say again what bars before them said.
//!
//! A *cell* is what a stream says of one instrument in one bar; where an encoding has all instruments of
//! a bar in one, it is the bar. While a cell is written, it repeats the cell of the same instrument that
//! lies 1, 2, 4 or 8 bars before (the lengths of phrases) as long as both have said the same tokens, one
//! note at least among them. The token that went on there then loses `strength * decay^bars` nats, and
//! where several of these cells went on alike, the sum of it. So a figure that is heard again after a
//! phrase costs less than one that is heard again at once, and a loop costs the more the longer it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Class, Words, within};
use crate::encoding::{Kind, SettingsError, Token};

/// How far back repetition is heard, in bars.
const LAGS: [u32; 4] = [1, 2, 4, 8];

/// What bars that repeat others lose; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repetition {
    /// Nats; below 0 repetition is invited, 0 is off.
    pub strength: f32,
    /// What is left of them with each bar that lies between, 0 to 1.
    #[serde(default = "decay")]
    pub decay: f32,
}

fn decay() -> f32 {
    0.9
}

impl Default for Repetition {
    fn default() -> Self {
        Self {
            strength: 0.0,
            decay: decay(),
        }
    }
}

impl Repetition {
    /// Whether it changes nothing.
    pub fn is_off(&self) -> bool {
        self.strength == 0.0
    }

    /// Refuses a value that makes no sense.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        within(
            "repetition.strength",
            self.strength,
            -20.0..=20.0,
            "expected nats from -20 (repeats) to 20 (does not), 0 for off",
        )?;
        within("repetition.decay", self.decay, 0.0..=1.0, "expected 0 to 1")
    }
}

/// What a stream has said, cell by cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    /// By instrument (0 where cells are bars) the number of the bar and what was said.
    said: BTreeMap<u16, Vec<(u32, Vec<Token>)>>,
    /// BARs read.
    bars: u32,
    /// The bar that is read; of a window the first, and the one of which the track's next cell is.
    bar: u32,
    window: u32,
    next: u32,
    /// The instrument named last, where cells are said track by track.
    track: u16,
    /// Whose cell is being read, its bar and whether it has struck a note.
    open: Option<(u16, u32, bool)>,
    /// The earlier cells that it has repeated so far: an index into those of its instrument, and bars.
    repeated: Vec<(usize, u32)>,
}

impl Cells {
    /// Reads one more token, which is not merged.
    pub(super) fn read(&mut self, token: Token, words: &Words) {
        let (kind, value) = words.word(token);
        match kind {
            Kind::Bar => {
                self.bar = self.bars;
                self.bars += 1;
                self.open = None;
                match words.window() {
                    Some(bars) => self.window = self.bar - self.bar % bars.max(1),
                    None if words.by_cell() => {}
                    None => self.begin(0, self.bar),
                }
            }
            Kind::At => (self.bar, self.open) = (u32::from(value), None),
            Kind::Instrument if words.by_cell() => self.begin(value, self.bar),
            Kind::Track => (self.open, self.next) = (None, self.window),
            Kind::Instrument if words.window().is_some() => self.track = value,
            Kind::BarStart => {
                self.begin(self.track, self.next);
                self.next += 1;
            }
            Kind::Placeholder => self.next += 1,
            Kind::BarEnd | Kind::TrackEnd | Kind::FillStart | Kind::FillEnd => self.open = None,
            Kind::Separator | Kind::Done | Kind::Eos | Kind::Wanted => self.open = None,
            // Said where they change, and of no instrument.
            Kind::Metre | Kind::Tempo | Kind::Chord => {}
            _ => self.go_on(token, words),
        }
    }

    /// A cell begins.
    fn begin(&mut self, who: u16, bar: u32) {
        let cells = self.said.entry(who).or_default();
        let earlier = LAGS.iter().filter_map(|&lag| {
            let before = bar.checked_sub(lag)?;
            let cell = cells
                .iter()
                .rposition(|(bar, said)| *bar == before && !said.is_empty())?;
            Some((cell, lag))
        });
        self.repeated = earlier.collect();
        cells.push((bar, Vec::new()));
        self.open = Some((who, bar, false));
    }

    /// The open cell says one more token.
    fn go_on(&mut self, token: Token, words: &Words) {
        let Some((who, _, struck)) = &mut self.open else {
            return;
        };
        *struck |= words.class(token) == Class::Pitch;
        let Some(cells) = self.said.get_mut(who) else {
            return;
        };
        let at = cells.last().map_or(0, |(_, said)| said.len());
        self.repeated
            .retain(|&(cell, _)| cells[cell].1.get(at) == Some(&token));
        if let Some((_, said)) = cells.last_mut() {
            said.push(token);
        }
    }

    /// The tokens that would go on repeating, with the bars between.
    pub(super) fn repeating(&self) -> impl Iterator<Item = (Token, u32)> + '_ {
        let cells = match self.open {
            Some((who, _, true)) => self.said.get(&who),
            _ => None,
        };
        cells.into_iter().flat_map(|cells| {
            let at = cells.last().map_or(0, |(_, said)| said.len());
            let goes_on = move |&(cell, lag): &(usize, u32)| Some((*cells[cell].1.get(at)?, lag));
            self.repeated.iter().filter_map(goes_on)
        })
    }
}
