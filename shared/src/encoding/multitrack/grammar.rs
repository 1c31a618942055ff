//! The grammar of [`Multitrack`](super::Multitrack): a state machine over the words of a bar.

use crate::encoding::TokenSet;
use crate::encoding::grammar::{Context, Music, rank};
use crate::encoding::lexicon::Kind;
use crate::instrument::Instrument;

/// What was said last, as far as it decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Bar,
    Position,
    Instrument,
    Drum(u16),
    Pitch(u16),
    Duration(u16),
    /// A whole note of this pitch.
    Note(u16),
}

#[derive(Clone)]
pub(super) struct Groups {
    state: State,
    /// First position that may come next in the bar.
    position: u16,
    instrument: Instrument,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            state: State::Bar,
            position: 0,
            instrument: Instrument::DRUMS,
        }
    }

    /// Instruments of rank `from` on that the head allows.
    fn insert_instruments(context: &Context, from: u16, next: &mut TokenSet) {
        let instruments = context.lexicon.run(Kind::Instrument);
        let token = |instrument: Instrument| instruments.start + u16::from(instrument.index());
        match context.given {
            Some(given) => given
                .iter()
                .filter(|&instrument| rank(instrument) >= from)
                .for_each(|instrument| next.insert(token(instrument))),
            // A step of generation asks this often: programs in one go.
            None => {
                let drums = token(Instrument::DRUMS);
                next.insert_range(instruments.start + from.max(1) - 1..drums);
                if from <= rank(Instrument::DRUMS) {
                    next.insert(drums);
                }
            }
        }
    }

    /// A later position.
    fn insert_positions(&self, context: &Context, next: &mut TokenSet) {
        if context.given.is_none_or(|given| !given.is_empty()) {
            let first = context.lexicon.run(Kind::Position).start;
            next.insert_range(first + self.position..first + context.positions());
        }
    }

    /// What follows when all of a note but its velocity was said.
    fn velocity_or(context: &Context, said: State, pitch: u16) -> State {
        if context.lexicon.has_velocities() {
            said
        } else {
            State::Note(pitch)
        }
    }
}

impl Music for Groups {
    fn begin_bar(&mut self, _: &Context) {
        self.position = 0;
        self.state = State::Bar;
    }

    fn allowed(&self, context: &Context, next: &mut TokenSet) {
        let lexicon = &context.lexicon;
        let keys = if self.instrument.is_drums() {
            Kind::Drum
        } else {
            Kind::Pitch
        };
        match self.state {
            State::Bar => self.insert_positions(context, next),
            State::Position => Self::insert_instruments(context, 0, next),
            State::Instrument => next.insert_range(lexicon.run(keys)),
            State::Pitch(_) => next.insert_range(lexicon.run(Kind::Duration)),
            State::Drum(_) | State::Duration(_) => next.insert_range(lexicon.run(Kind::Velocity)),
            State::Note(pitch) => {
                let keys = lexicon.run(keys);
                next.insert_range(keys.start + pitch + 1..keys.end);
                Self::insert_instruments(context, rank(self.instrument) + 1, next);
                self.insert_positions(context, next);
            }
        }
    }

    fn accept(&mut self, context: &Context, kind: Kind, value: u16) {
        self.state = match (kind, self.state) {
            (Kind::Position, _) => {
                self.position = value + 1;
                State::Position
            }
            (Kind::Instrument, _) => {
                self.instrument = Instrument::new(value as u8).unwrap_or_default();
                State::Instrument
            }
            (Kind::Drum, _) => Self::velocity_or(context, State::Drum(value), value),
            (Kind::Pitch, _) => State::Pitch(value),
            (Kind::Duration, State::Pitch(pitch)) => {
                Self::velocity_or(context, State::Duration(pitch), pitch)
            }
            (Kind::Velocity, State::Drum(pitch) | State::Duration(pitch)) => State::Note(pitch),
            // What is allowed has no other pair.
            (_, state) => state,
        };
    }

    fn is_whole(&self) -> bool {
        matches!(self.state, State::Bar | State::Note(_))
    }
}
