//! What moves logits beside the model: repetition, the token penalty, more notes.

use std::sync::Arc;

use super::repetition::Cells;
use super::words::Lean;
use super::{Settings, Words};
use crate::encoding::{Token, TokenSet};

/// What moves logits, by what the model sees; see [`Settings`].
#[derive(Clone, Debug)]
pub struct Biases {
    words: Arc<Words>,
    settings: Settings,
    cells: Cells,
    /// The tokens that were said, none of them merged.
    seen: TokenSet,
    /// The nearest grid position that the next notes can be at.
    nearest: u16,
    /// What tokens that go on repeating lose, in nats.
    losses: Vec<(Token, f32)>,
}

impl Biases {
    /// Those of `settings`, before anything was said in the tokens of `words`.
    pub fn new(settings: &Settings, words: Arc<Words>) -> Self {
        Self {
            words,
            settings: *settings,
            cells: Cells::default(),
            seen: TokenSet::new(1 << 16),
            nearest: 0,
            losses: Vec::new(),
        }
    }

    /// Forgets what was said.
    pub fn clear(&mut self) {
        self.cells = Cells::default();
        self.seen.clear();
        self.nearest = 0;
        self.losses.clear();
    }

    /// Reads what is said next, nothing of which is merged.
    pub fn read(&mut self, tokens: &[Token]) {
        if !self.settings.repetition.is_off() {
            tokens
                .iter()
                .for_each(|&token| self.cells.read(token, &self.words));
            let repetition = self.settings.repetition;
            let lost = |(token, bars): (Token, u32)| {
                let left = libm::powf(repetition.decay, bars as f32);
                (token, repetition.strength * left)
            };
            self.losses.clear();
            self.losses.extend(self.cells.repeating().map(lost));
        }
        for &token in tokens {
            self.nearest = self.words.nearest(token, self.nearest);
        }
        if self.settings.token_penalty != 1.0 {
            tokens.iter().for_each(|&token| self.seen.insert(token));
        }
    }

    /// Whether no logit is moved now.
    pub fn is_empty(&self) -> bool {
        self.losses.is_empty()
            && self.settings.token_penalty == 1.0
            && self.settings.more_notes == 0.0
    }

    /// The logit that `token` has, moved.
    pub fn moved(&self, token: Token, logit: f32) -> f32 {
        let first = self.words.first(token);
        let lean = self.words.lean(token, self.nearest);
        let penalty = self.settings.token_penalty;
        let logit = match self.seen.contains(first) && lean != Lean::Rest {
            true if logit > 0.0 => logit / penalty,
            true => logit * penalty,
            false => logit,
        };
        let lost = self.losses.iter().filter(|(token, _)| *token == first);
        let lost: f32 = lost.map(|(_, nats)| nats).sum();
        // How far it leads towards notes: 1 to -1.
        let towards = match lean {
            Lean::Note => 1.0,
            Lean::Later(positions) => {
                let bars = f32::from(positions) / f32::from(self.words.positions().max(1));
                1.0 - 2.0 * bars.min(1.0)
            }
            Lean::Rest => -1.0,
            Lean::Neither => 0.0,
        };
        logit - lost + self.settings.more_notes / 2.0 * towards
    }

    /// What the tokens are.
    pub fn words(&self) -> &Words {
        &self.words
    }
}
