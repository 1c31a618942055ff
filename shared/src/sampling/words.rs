//! What each token of a vocabulary is to a sampler.

use crate::encoding::{Encoding, Kind, Token};

/// Kinds of tokens that have filters of their own, see [`super::Kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// When: positions, offsets, durations, time shifts, ends of notes, bars, rests.
    Rhythm,
    /// Which pitch or drum.
    Pitch,
    /// How loud.
    Velocity,
    /// All else: instruments, tracks, chords, numbers of bars.
    Other,
}

impl Class {
    /// All of them.
    pub(super) const ALL: [Class; 4] = [Class::Rhythm, Class::Pitch, Class::Velocity, Class::Other];
}

/// What a token leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lean {
    /// A note begins, or the place of one.
    Note,
    /// A cell, a bar or the piece ends, or time passes without a note.
    Rest,
    /// Neither, or both: the next instrument's name ends one cell and begins another.
    Neither,
}

/// What the tokens of a model say.
#[derive(Clone, Debug)]
pub struct Words {
    /// Of each token the first that it was merged of, itself where nothing is merged.
    first: Vec<Token>,
    /// What each token that is not merged says.
    kinds: Vec<(Kind, u16)>,
    /// Whether a stream says bars cell by cell, each behind its instrument.
    by_cell: bool,
    /// Bars that a stream says together, track by track.
    window: Option<u32>,
}

impl Words {
    /// Those of `encoding`.
    pub fn new(encoding: &dyn Encoding) -> Self {
        let lexicon = encoding.lexicon();
        let first = (0..encoding.vocabulary_size() as Token)
            .map(|token| encoding.expand(&[token]).first().copied().unwrap_or(token));
        let kinds: Vec<_> = (0..=Token::MAX)
            .map_while(|token| lexicon.word(token))
            .collect();
        let instrument = kinds.iter().position(|&(kind, _)| kind == Kind::Instrument);
        let by_cell = instrument.is_some_and(|token| encoding.stands_alone(token as Token));
        Self {
            first: first.collect(),
            kinds,
            by_cell,
            window: encoding.window_bars().map(|bars| bars as u32),
        }
    }

    /// Bars that a stream says together, track by track.
    pub(super) fn window(&self) -> Option<u32> {
        self.window
    }

    /// Whether a stream says bars cell by cell, each behind its instrument.
    pub(super) fn by_cell(&self) -> bool {
        self.by_cell
    }

    /// The token with which `token` begins, which is not merged.
    pub(super) fn first(&self, token: Token) -> Token {
        self.first.get(usize::from(token)).copied().unwrap_or(token)
    }

    /// What a token that is not merged says.
    pub(super) fn word(&self, token: Token) -> (Kind, u16) {
        let word = self.kinds.get(usize::from(token));
        word.copied().unwrap_or((Kind::Pad, 0))
    }

    /// The class of a token; of a merged one that of its first.
    pub fn class(&self, token: Token) -> Class {
        match self.word(self.first(token)).0 {
            Kind::Position
            | Kind::Offset
            | Kind::Shift
            | Kind::Duration
            | Kind::End
            | Kind::Rest
            | Kind::Bar
            | Kind::BarStart
            | Kind::BarEnd
            | Kind::FillEnd
            | Kind::Eos => Class::Rhythm,
            Kind::Pitch | Kind::Drum => Class::Pitch,
            Kind::Velocity => Class::Velocity,
            _ => Class::Other,
        }
    }

    /// What a token leads to; a merged one by its first.
    pub(super) fn lean(&self, token: Token) -> Lean {
        match self.word(self.first(token)).0 {
            Kind::Position | Kind::Offset | Kind::Pitch | Kind::Drum | Kind::Velocity => Lean::Note,
            // Where instruments are said by position, each has a note there.
            Kind::Instrument if !self.by_cell => Lean::Note,
            Kind::Bar
            | Kind::Eos
            | Kind::BarEnd
            | Kind::TrackEnd
            | Kind::FillEnd
            | Kind::Done
            | Kind::Rest
            | Kind::Shift => Lean::Rest,
            _ => Lean::Neither,
        }
    }
}
