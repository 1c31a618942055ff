//! The grammar of [`Grid`](super::Grid): a state machine over the words of a bar, and of what is said
//! behind the bars.

use std::collections::{BTreeMap, VecDeque};

use crate::encoding::grammar::{Context, Music};
use crate::encoding::grid::{MAX_BARS, order};
use crate::encoding::lexicon::Kind;
use crate::encoding::remi::Groups;
use crate::encoding::{Token, TokenSet};
use crate::instrument::Instrument;

/// What was said last, as far as it decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What a bar states.
    Bar,
    /// The bar's number, or a cell that is wanted.
    Cells,
    /// Whose cell it is.
    Instrument,
    /// A part of a cell.
    Cell,
    /// Behind the bars: what begins a cell, or its bar.
    Wanted,
    /// Such a cell, perhaps a part of it.
    Filling,
    Done,
}

#[derive(Clone)]
pub(super) struct Cells {
    state: State,
    /// Whether the bars are numbered, as soon as the first one has decided it.
    numbered: Option<bool>,
    /// Bars so far.
    bars: usize,
    /// The numbers of the first bar and of the last, where they have such.
    first: u16,
    number: u16,
    /// The metres of bars by their numbers.
    metres: BTreeMap<u16, u16>,
    /// The bar's last cell.
    instrument: Option<Instrument>,
    /// Bars and instruments of the cells that are wanted and were not said yet.
    wanted: VecDeque<(u16, Instrument)>,
    /// The bar of the wanted cells that are said.
    filling: Option<u16>,
    notes: Groups,
}

impl Cells {
    pub(super) fn new() -> Self {
        Self {
            state: State::Bar,
            numbered: None,
            bars: 0,
            first: 0,
            number: 0,
            metres: BTreeMap::new(),
            instrument: None,
            wanted: VecDeque::new(),
            filling: None,
            notes: Groups::new(None),
        }
    }

    /// Begins what an instrument plays.
    fn begin_notes(&mut self, instrument: Instrument) {
        let drums = instrument.is_drums();
        self.notes = Groups::new(Some(if drums { Kind::Drum } else { Kind::Pitch }));
    }

    /// Another cell of the bar; where bars are numbered, also their end.
    fn more(&self, context: &Context, next: &mut TokenSet) {
        let last = self.instrument.map(order);
        for instrument in Instrument::all().filter(|&instrument| {
            last.is_none_or(|last| order(instrument) > last)
                && context.given.is_none_or(|set| set.contains(instrument))
        }) {
            next.insert(context.lexicon.token(Kind::Instrument, instrument.index()));
        }
        self.behind(context, next);
    }

    /// The next cell that is wanted, or what ends the stream.
    fn fill(&self, context: &Context, next: &mut TokenSet) {
        next.insert(match self.wanted.front() {
            None => context.lexicon.token(Kind::Done, 0u16),
            Some((bar, _)) if self.filling != Some(*bar) => context.lexicon.token(Kind::At, *bar),
            Some((_, instrument)) => context.lexicon.token(Kind::Instrument, instrument.index()),
        });
    }

    /// The numbers that the bar may have: each follows the one before, and 0 the last, where those came first
    /// that stand behind what is wanted.
    fn numbers(&self) -> impl Iterator<Item = u16> {
        let most = MAX_BARS as u16;
        let next = match self.metres.is_empty() {
            true => 0..most,
            false => self.number + 1..most.min(self.number + 2),
        };
        let again = (self.first > 0).then_some(0);
        let said = |number: &u16| self.metres.contains_key(number);
        next.chain(again).filter(move |number| !said(number))
    }

    /// Whether no bar is missing.
    fn is_complete(&self) -> bool {
        self.first == 0 || self.number + 1 == self.first
    }

    /// Whether the bar's music may end here.
    fn is_whole_bar(&self) -> bool {
        match self.state {
            State::Bar => self.numbered != Some(true),
            State::Cells => true,
            State::Cell => self.notes.is_whole(),
            _ => false,
        }
    }

    /// What holds for the music of the wanted cell that is said.
    fn inside(&self, context: &Context) -> Context {
        let metre = self.filling.and_then(|bar| self.metres.get(&bar));
        Context {
            metre: metre.copied().unwrap_or_default(),
            ..context.clone()
        }
    }
}

impl Music for Cells {
    fn begin_bar(&mut self, _: &Context) {
        if self.bars > 0 {
            self.numbered.get_or_insert(false);
        }
        self.bars += 1;
        self.instrument = None;
        self.state = State::Bar;
    }

    fn allowed(&self, context: &Context, next: &mut TokenSet) {
        let only = |kind| -> Token { context.lexicon.token(kind, 0u16) };
        match self.state {
            State::Bar => {
                if self.numbered != Some(false) {
                    let numbers = self.numbers();
                    numbers.for_each(|at| next.insert(context.lexicon.token(Kind::At, at)));
                }
                if self.numbered != Some(true) {
                    self.more(context, next);
                }
            }
            State::Cells => self.more(context, next),
            State::Instrument => {
                self.notes.allowed(context, next);
                if self.numbered == Some(true) {
                    next.insert(only(Kind::Wanted));
                }
            }
            State::Cell => {
                self.notes.allowed(context, next);
                if self.notes.is_whole() {
                    self.more(context, next);
                }
            }
            State::Wanted => self.fill(context, next),
            State::Filling => {
                self.notes.allowed(&self.inside(context), next);
                if self.notes.is_whole() {
                    self.fill(context, next);
                }
            }
            State::Done => {}
        }
    }

    fn accept(&mut self, context: &Context, kind: Kind, value: u16) {
        match (kind, self.state) {
            (Kind::At, State::Bar) => {
                self.numbered = Some(true);
                if self.metres.is_empty() {
                    self.first = value;
                }
                self.number = value;
                self.metres.insert(value, context.metre);
                self.state = State::Cells;
            }
            (Kind::At, _) => {
                self.filling = Some(value);
                self.state = State::Wanted;
            }
            (Kind::Instrument, State::Wanted | State::Filling) => {
                if let Some((_, instrument)) = self.wanted.pop_front() {
                    self.begin_notes(instrument);
                }
                self.state = State::Filling;
            }
            (Kind::Instrument, _) => {
                self.numbered.get_or_insert(false);
                let instrument = Instrument::new(value as u8).unwrap_or_default();
                self.instrument = Some(instrument);
                self.begin_notes(instrument);
                self.state = State::Instrument;
            }
            (Kind::Wanted, _) => {
                let wanted = self.instrument.map(|by| (self.number, by));
                self.wanted.extend(wanted);
                self.state = State::Cells;
            }
            (Kind::Separator, _) => self.state = State::Wanted,
            (Kind::Done, _) => self.state = State::Done,
            (_, State::Filling) => {
                let inside = self.inside(context);
                self.notes.accept(&inside, kind, value);
            }
            _ => {
                self.notes.accept(context, kind, value);
                self.state = State::Cell;
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.is_whole_bar() && (self.numbered != Some(true) || self.is_complete())
    }

    fn may_begin_bar(&self) -> bool {
        self.is_whole_bar() && (self.numbered != Some(true) || self.numbers().next().is_some())
    }

    fn behind(&self, context: &Context, next: &mut TokenSet) {
        if self.numbered == Some(true) && self.is_complete() {
            next.insert(context.lexicon.token(Kind::Separator, 0u16));
        }
    }
}
