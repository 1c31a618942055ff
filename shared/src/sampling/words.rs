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
    /// A note begins, or its place is refined.
    Note,
    /// The next notes are so many grid positions away, beyond the nearest that they can be at.
    Later(u16),
    /// A cell, a bar or the piece ends.
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
    /// Grid positions of a 4/4 bar.
    positions: u16,
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
            positions: encoding.quantize_settings().positions_per_bar,
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

    /// Grid positions of a 4/4 bar.
    pub(super) fn positions(&self) -> u16 {
        self.positions
    }

    /// The nearest grid position that notes can be at behind `token`, which is not merged, where it was
    /// `nearest` before it.
    pub(super) fn nearest(&self, token: Token, nearest: u16) -> u16 {
        match self.word(token) {
            (Kind::Position, position) => position + 1,
            (Kind::Bar | Kind::BarStart | Kind::FillStart, _) => 0,
            (Kind::Instrument, _) if self.by_cell => 0,
            _ => nearest,
        }
    }

    /// What a token leads to where notes can be at the grid position `nearest`; a merged one by its first.
    pub(super) fn lean(&self, token: Token, nearest: u16) -> Lean {
        let (kind, value) = self.word(self.first(token));
        match kind {
            Kind::Offset | Kind::Pitch | Kind::Drum | Kind::Velocity => Lean::Note,
            Kind::Position => Lean::Later(value.saturating_sub(nearest)),
            Kind::Shift => Lean::Later(value),
            // Where instruments are said by position, each has a note there.
            Kind::Instrument if !self.by_cell => Lean::Note,
            Kind::Bar
            | Kind::Eos
            | Kind::BarEnd
            | Kind::TrackEnd
            | Kind::FillEnd
            | Kind::Done
            | Kind::Rest => Lean::Rest,
            _ => Lean::Neither,
        }
    }
}
