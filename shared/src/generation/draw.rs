//! Drawing: which token comes next.

use super::{GenerationError, Generator};
use crate::encoding::Token;

impl Generator {
    /// Draws a window that has begun to its end, which it takes where the cache has `limit` tokens.
    pub(super) async fn draw_window(&mut self, limit: usize) -> Result<(), GenerationError> {
        loop {
            if self.len() >= limit && !self.kept.is_empty() {
                self.prompt(self.kept.len() / 2).await?;
            }
            let spent = self.is_spent();
            let must_end = spent || self.len() >= limit;
            let opened = self.opened;
            let Some(token) = self.draw(must_end) else {
                break;
            };
            self.drawn += usize::from(self.opened == opened);
            if token == self.end() && self.opened == opened {
                self.ended = spent;
                break;
            }
            let said = self.take(token).await?;
            self.current.extend(said);
        }
        Ok(())
    }

    /// Whether as many tokens were drawn as may be.
    pub(super) fn is_spent(&self) -> bool {
        let most = self.request.max_tokens;
        most.is_some_and(|most| self.drawn >= most)
    }

    /// Goes on with `token`; gives back what it was merged of.
    pub(super) async fn take(&mut self, token: Token) -> Result<Vec<Token>, GenerationError> {
        self.grammar.accept(token)?;
        if let Some(steer) = &mut self.steer {
            steer.accept(self.encoding.lexicon(), token);
        }
        self.append(&[token]).await?;
        Ok(self.encoding.expand(&[token]).into_owned())
    }

    /// Draws the next token. A window that must end takes the first chance to.
    pub(super) fn draw(&mut self, must_end: bool) -> Option<Token> {
        let only = self.offer(0, must_end);
        if only.is_some() {
            return only;
        }
        let class = |token| self.biases.words().class(token);
        self.candidates.filter(&self.request.sampling, class);
        self.candidates.draw(&mut self.rng)
    }

    /// The only token that may come next, or the candidates by the logits of `row`.
    pub(super) fn offer(&mut self, row: usize, must_end: bool) -> Option<Token> {
        let (bar, end) = (self.encoding.special().bar, self.end());
        self.grammar.allowed(&mut self.allowed);
        if self.opened < self.current_bars && self.allowed.contains(bar) {
            self.opened += 1;
            return Some(bar);
        }
        let may_end = self.allowed.contains(end);
        self.allowed.subtract(&self.excluded);
        if may_end && end != bar {
            self.allowed.remove(bar);
            self.allowed.insert(end);
        }
        let lexicon = self.encoding.lexicon();
        if let Some(steer) = &self.steer {
            self.allowed.subtract(&self.merged);
            steer.mask(lexicon, &mut self.allowed, !must_end);
            steer.lean(lexicon, &mut self.logits[row]);
        }
        if must_end {
            let mut endings = [end].into_iter().chain(self.endings.iter().copied());
            let ending = endings.find(|&token| self.allowed.contains(token));
            if ending.is_some() {
                return ending;
            }
            self.allowed.subtract(&self.merged);
        }
        let (logits, biases) = (&self.logits[row], &self.biases);
        match biases.is_empty() {
            true => self.candidates.fill(logits, &self.allowed),
            false => {
                let moved = |token, logit| biases.moved(token, logit);
                self.candidates.fill_by(logits, &self.allowed, moved);
            }
        }
        None
    }

    /// The token that ends a window: the next one's BAR, or EOS behind a piece's last, which alone
    /// has fewer bars than the others.
    pub(super) fn end(&self) -> Token {
        let special = self.encoding.special();
        match self.current_bars == self.window {
            true => special.bar,
            false => special.eos,
        }
    }
}
