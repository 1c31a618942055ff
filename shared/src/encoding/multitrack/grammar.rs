//! The grammar of [`Multitrack`](super::Multitrack): a state machine over the words of a stream.

use std::sync::Arc;

use super::{Layout, Word};
use crate::encoding::{DecodeError, Grammar, Token, TokenSet};
use crate::instrument::{Instrument, InstrumentSet};

/// What was said last, as far as it decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Bos,
    Genre,
    AnyInstruments,
    /// An instrument of the head.
    Given(Instrument),
    Bar,
    Metre,
    Tempo,
    Position,
    Instrument,
    Drum(u8),
    Pitch(u8),
    Duration(u8),
    /// A whole note of this pitch.
    Note(u8),
    End,
}

#[derive(Clone)]
pub(super) struct MultitrackGrammar {
    layout: Arc<Layout>,
    state: State,
    /// What the head allows; `None` is any.
    given: Option<InstrumentSet>,
    /// Whether metre and tempo were stated.
    stated: bool,
    metre: u16,
    tempo: u16,
    /// First position that may come next in the bar.
    position: u16,
    instrument: Instrument,
}

/// Drums come before all programs.
fn rank(instrument: Instrument) -> u16 {
    if instrument.is_drums() {
        0
    } else {
        u16::from(instrument.index()) + 1
    }
}

impl MultitrackGrammar {
    pub(super) fn new(layout: Arc<Layout>) -> Self {
        Self {
            layout,
            state: State::Start,
            given: Some(InstrumentSet::default()),
            stated: false,
            metre: 0,
            tempo: 0,
            position: 0,
            instrument: Instrument::DRUMS,
        }
    }

    /// Positions of a bar of the metre in force.
    fn positions(&self) -> u16 {
        (self.layout.metre_of(self.metre).bar().0 / self.layout.step) as u16
    }

    /// Instruments of rank `from` on that the head allows.
    fn instruments(&self, next: &mut TokenSet, from: u16) {
        for index in 0..Instrument::COUNT as u8 {
            let Some(instrument) = Instrument::new(index) else {
                continue;
            };
            if rank(instrument) >= from && self.given.is_none_or(|set| set.contains(instrument)) {
                next.insert(self.layout.token(Word::Instrument(instrument)));
            }
        }
    }

    /// Whether the head allows an instrument of rank `from` on.
    fn has_instrument(&self, from: u16) -> bool {
        match self.given {
            None => from <= 128,
            Some(set) => set.iter().any(|instrument| rank(instrument) >= from),
        }
    }

    /// A later position, the next bar, or the end.
    fn onward(&self, next: &mut TokenSet) {
        if self.has_instrument(0) {
            let first = self.layout.position;
            next.insert_range(first + self.position..first + self.positions());
        }
        next.insert(self.layout.token(Word::Bar));
        next.insert(self.layout.token(Word::Eos));
    }

    fn metres(&self, next: &mut TokenSet) {
        next.insert_range(self.layout.metre..self.layout.tempo);
        if self.stated {
            next.remove(self.layout.metre + self.metre);
        }
    }

    fn tempos(&self, next: &mut TokenSet) {
        next.insert_range(self.layout.tempo..self.layout.position);
        if self.stated {
            next.remove(self.layout.tempo + self.tempo);
        }
    }
}

impl Grammar for MultitrackGrammar {
    fn allowed(&self, next: &mut TokenSet) {
        let layout = &*self.layout;
        next.clear();
        match self.state {
            State::Start => next.insert(layout.token(Word::Bos)),
            State::Bos => next.insert_range(layout.genre..layout.end),
            State::Genre => {
                next.insert(layout.token(Word::AnyInstruments));
                next.insert(layout.token(Word::Bar));
                next.insert_range(layout.instrument..layout.drum);
            }
            State::AnyInstruments => next.insert(layout.token(Word::Bar)),
            State::Given(last) => {
                for index in (0..Instrument::COUNT as u8).filter_map(Instrument::new) {
                    if rank(index) > rank(last) {
                        next.insert(layout.token(Word::Instrument(index)));
                    }
                }
                next.insert(layout.token(Word::Bar));
            }
            State::Bar => {
                self.metres(next);
                if self.stated {
                    self.tempos(next);
                    self.onward(next);
                }
            }
            State::Metre => {
                self.tempos(next);
                if self.stated {
                    self.onward(next);
                }
            }
            State::Tempo => self.onward(next),
            State::Position => self.instruments(next, 0),
            State::Instrument if self.instrument.is_drums() => {
                next.insert_range(layout.drum..layout.pitch);
            }
            State::Instrument => next.insert_range(layout.pitch..layout.duration),
            State::Pitch(_) => next.insert_range(layout.duration..layout.velocity),
            State::Drum(_) | State::Duration(_) => next.insert_range(layout.velocity..layout.genre),
            State::Note(pitch) => {
                let pitches = if self.instrument.is_drums() {
                    layout.drum
                } else {
                    layout.pitch
                };
                next.insert_range(pitches + Token::from(pitch) + 1..pitches + 128);
                self.instruments(next, rank(self.instrument) + 1);
                self.onward(next);
            }
            State::End => {}
        }
    }

    fn accept(&mut self, token: Token) -> Result<(), DecodeError> {
        let mut next = TokenSet::new(usize::from(self.layout.end));
        self.allowed(&mut next);
        let word = self.layout.word(token).filter(|_| next.contains(token));
        let Some(word) = word else {
            let kinds = next.iter().map(|token| self.layout.kind(token));
            let mut kinds: Vec<_> = kinds.collect();
            kinds.dedup();
            return Err(DecodeError {
                index: 0,
                token,
                name: self.layout.name(token),
                why: match kinds[..] {
                    [] => "the piece has ended".to_owned(),
                    _ => format!("expected {}", kinds.join(", ")),
                },
            });
        };
        self.state = match (word, self.state) {
            (Word::Bos, _) => State::Bos,
            (Word::Genre(_), _) => State::Genre,
            (Word::AnyInstruments, _) => {
                self.given = None;
                State::AnyInstruments
            }
            (Word::Instrument(instrument), State::Genre | State::Given(_)) => {
                self.given.get_or_insert_default().insert(instrument);
                State::Given(instrument)
            }
            (Word::Bar, _) => {
                self.position = 0;
                State::Bar
            }
            (Word::Metre(metre), _) => {
                self.metre = metre;
                State::Metre
            }
            (Word::Tempo(tempo), _) => {
                self.tempo = tempo;
                self.stated = true;
                State::Tempo
            }
            (Word::Position(position), _) => {
                self.position = position + 1;
                State::Position
            }
            (Word::Instrument(instrument), _) => {
                self.instrument = instrument;
                State::Instrument
            }
            (Word::Drum(key), _) => State::Drum(key),
            (Word::Pitch(pitch), _) => State::Pitch(pitch),
            (Word::Duration(_), State::Pitch(pitch)) => State::Duration(pitch),
            (Word::Velocity(_), State::Drum(pitch) | State::Duration(pitch)) => State::Note(pitch),
            // The allowed set has no other pair: the grammar stands at the end.
            (Word::Eos | Word::Pad | Word::Duration(_) | Word::Velocity(_), _) => State::End,
        };
        Ok(())
    }

    fn boxed_clone(&self) -> Box<dyn Grammar> {
        Box::new(self.clone())
    }
}
