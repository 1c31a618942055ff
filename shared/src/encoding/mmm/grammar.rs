//! The grammar of [`Mmm`](super::Mmm): a state machine over the words of a window.

use std::collections::VecDeque;

use crate::encoding::grammar::{Context, Music, rank};
use crate::encoding::lexicon::Kind;
use crate::encoding::remi::Groups;
use crate::encoding::{Token, TokenSet};
use crate::instrument::Instrument;

/// What was said last, as far as it decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The window's BARs.
    Frame,
    Track,
    Instrument,
    /// Before a bar of the track, or behind its last.
    Bars,
    /// Inside of a bar of a track, which this kind of token ends.
    Bar(Kind),
    /// A whole track or fill.
    Whole,
}

#[derive(Clone)]
pub(super) struct Windows {
    /// The most bars of a window.
    most: usize,
    state: State,
    /// BARs of this window.
    bars: usize,
    /// Their metres; the last one's as soon as the frame has ended.
    metres: Vec<u16>,
    /// Of the last track.
    instrument: Option<Instrument>,
    /// The bar of the track or the fill that is being said.
    bar: usize,
    /// The bars and instruments of placeholders that were not filled yet.
    open: VecDeque<(usize, Instrument)>,
    /// Whether one was.
    filling: bool,
    notes: Groups,
}

impl Windows {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            state: State::Whole,
            bars: 0,
            metres: Vec::new(),
            instrument: None,
            bar: 0,
            open: VecDeque::new(),
            filling: false,
            notes: Groups::new(None),
        }
    }

    /// What the head allows to play another track.
    fn instruments(&self, context: &Context) -> impl Iterator<Item = Instrument> {
        let (last, given) = (self.instrument.map(rank), context.given);
        Instrument::all().filter(move |&instrument| {
            last.is_none_or(|last| rank(instrument) > last)
                && given.is_none_or(|set| set.contains(instrument))
        })
    }

    /// What holds for the music of the bar that is being said.
    fn inside(&self, context: &Context) -> Context {
        Context {
            metre: self.metres.get(self.bar).copied().unwrap_or_default(),
            ..context.clone()
        }
    }

    fn begin_notes(&mut self, end: Kind, instrument: Instrument) {
        let drums = instrument.is_drums();
        let struck = if drums { Kind::Drum } else { Kind::Pitch };
        self.notes = Groups::new(Some(struck));
        self.state = State::Bar(end);
    }
}

impl Music for Windows {
    fn begin_bar(&mut self, ended: &Context) {
        if self.state == State::Frame && self.bars < self.most {
            self.metres.push(ended.metre);
        } else {
            self.metres.clear();
            (self.bars, self.instrument, self.filling) = (0, None, false);
            self.state = State::Frame;
        }
        self.bars += 1;
    }

    fn allowed(&self, context: &Context, next: &mut TokenSet) {
        let only = |kind| -> Token { context.lexicon.token(kind, 0u16) };
        match self.state {
            State::Frame | State::Whole => {
                if !self.filling && self.instruments(context).next().is_some() {
                    next.insert(only(Kind::Track));
                }
                if !self.open.is_empty() {
                    next.insert(only(Kind::FillStart));
                }
            }
            State::Track => self.instruments(context).for_each(|instrument| {
                next.insert(context.lexicon.token(Kind::Instrument, instrument.index()));
            }),
            State::Instrument => next.insert_range(context.lexicon.run(Kind::Density)),
            State::Bars if self.bar < self.bars => {
                next.insert(only(Kind::BarStart));
                next.insert(only(Kind::Placeholder));
            }
            State::Bars => next.insert(only(Kind::TrackEnd)),
            State::Bar(end) => {
                self.notes.allowed(&self.inside(context), next);
                if self.notes.is_whole() {
                    next.insert(only(end));
                }
            }
        }
    }

    fn accept(&mut self, context: &Context, kind: Kind, value: u16) {
        match kind {
            Kind::Track => {
                if self.state == State::Frame {
                    self.metres.push(context.metre);
                }
                self.state = State::Track;
            }
            Kind::Instrument => {
                self.instrument = Instrument::new(value as u8);
                self.state = State::Instrument;
            }
            Kind::Density => (self.bar, self.state) = (0, State::Bars),
            Kind::BarStart => self.begin_notes(Kind::BarEnd, self.instrument.unwrap_or_default()),
            Kind::Placeholder => {
                let instrument = self.instrument.unwrap_or_default();
                self.open.push_back((self.bar, instrument));
                self.bar += 1;
            }
            Kind::BarEnd => {
                self.bar += 1;
                self.state = State::Bars;
            }
            Kind::TrackEnd | Kind::FillEnd => self.state = State::Whole,
            Kind::FillStart => {
                self.filling = true;
                if let Some((bar, instrument)) = self.open.pop_front() {
                    self.bar = bar;
                    self.begin_notes(Kind::FillEnd, instrument);
                }
            }
            _ => {
                let inside = self.inside(context);
                self.notes.accept(&inside, kind, value);
            }
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self.state, State::Frame | State::Whole) && self.open.is_empty()
    }

    /// Only a piece's last window is shorter than the others.
    fn may_begin_bar(&self) -> bool {
        self.is_whole() && (self.state == State::Frame || self.bars == self.most)
    }
}
