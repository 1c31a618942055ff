//! The grammar of [`Grid`](super::Grid): a state machine over the words of a bar, and of what is said
//! behind the bars.

use std::collections::VecDeque;

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
    /// The metres of those that have numbers.
    metres: Vec<u16>,
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
            metres: Vec::new(),
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

    /// The number of the bar.
    fn number(&self) -> u16 {
        self.bars.saturating_sub(1) as u16
    }

    /// What holds for the music of the wanted cell that is said.
    fn inside(&self, context: &Context) -> Context {
        let metre = self
            .filling
            .and_then(|bar| self.metres.get(usize::from(bar)));
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
                    next.insert(context.lexicon.token(Kind::At, self.number()));
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
                self.metres.push(context.metre);
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
                let number = self.number();
                let wanted = self.instrument.map(|instrument| (number, instrument));
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
        match self.state {
            State::Bar => self.numbered != Some(true),
            State::Cells => true,
            State::Cell => self.notes.is_whole(),
            _ => false,
        }
    }

    fn may_begin_bar(&self) -> bool {
        self.is_whole() && (self.numbered != Some(true) || self.bars < MAX_BARS)
    }

    fn behind(&self, context: &Context, next: &mut TokenSet) {
        if self.numbered == Some(true) {
            next.insert(context.lexicon.token(Kind::Separator, 0u16));
        }
    }
}
