//! Beam search: each bar (or window of bars, or the wanted cells of a bar) by the tokens that are likeliest together.
//!
//! In place of one sequence several are written side by side, each in rows of the stream of its own. At
//! every token all that may follow all of them are compared by the sum of their logarithms, and the best
//! go on; what an encoding's end of the bar follows is whole, and compared with others by that sum
//! divided by the length penalty of Wu et al., "Google's Neural Machine Translation System", 2016,
//! equation 14 (their coverage penalty left out). The search ends when as many are whole as the beam is
//! wide. Nothing is filtered or drawn, so that a seed changes nothing; guidance and biases count.
//!
//! A further sequence of rows holds the cache of the best whole one, from which the next bar goes on.

use super::steer::Steer;
use super::{GenerationError, Generator};
use crate::encoding::{Grammar, Token};
use crate::sampling::{self, Biases};

/// Alpha of equation 14, in the middle of what the paper found best.
const LENGTH: f64 = 0.65;

/// Sequences that a stream has room for: one where nothing is searched.
pub(super) fn sequences(settings: &sampling::Settings) -> usize {
    match usize::from(settings.beam) {
        0 => 1,
        width => width + 1,
    }
}

/// A sequence that is written.
struct Hypothesis {
    grammar: Box<dyn Grammar>,
    biases: Biases,
    steer: Option<Steer>,
    /// BARs of the window that were said.
    opened: usize,
    /// What was said behind the window's beginning.
    tokens: Vec<Token>,
    /// The logarithm of its probability.
    log: f64,
    /// Where its cache is.
    sequence: usize,
}

impl Hypothesis {
    /// Equation 14.
    fn score(&self) -> f64 {
        let length = (5.0 + self.tokens.len() as f64) / 6.0;
        self.log / libm::pow(length, LENGTH)
    }

    /// The same with one more token.
    fn followed_by(&self, token: Token, log: f64) -> Self {
        Self {
            grammar: self.grammar.boxed_clone(),
            biases: self.biases.clone(),
            steer: self.steer.clone(),
            tokens: [&self.tokens[..], &[token]].concat(),
            log,
            ..*self
        }
    }
}

/// Says which tokens end what is searched for.
pub(super) type Closes<'a> = &'a dyn Fn(&Generator, Token) -> bool;

/// What may follow one of the hypotheses.
struct Follower {
    log: f64,
    /// Index of the hypothesis.
    after: usize,
    token: Token,
    /// Whether the search ends with it.
    ends: bool,
}

impl Generator {
    /// Writes a window that has begun, or a part of one, to its end, which it takes where the cache has `limit` tokens.
    /// What it writes is what is being written then, without the token that ends it, which it gives back.
    pub(super) async fn search(
        &mut self,
        limit: usize,
        closes: Closes<'_>,
    ) -> Result<Option<Token>, GenerationError> {
        while 2 * self.len() >= limit && !self.kept.is_empty() {
            self.prompt(self.kept.len() / 2).await?;
        }
        let width = usize::from(self.request.sampling.beam);
        let most = self.request.max_tokens.unwrap_or(usize::MAX);
        let (mut best, mut whole) = (None::<Hypothesis>, 0);
        let mut live = vec![Hypothesis {
            grammar: self.grammar.boxed_clone(),
            biases: self.biases.clone(),
            steer: self.steer.clone(),
            opened: self.opened,
            tokens: Vec::new(),
            log: 0.0,
            sequence: 0,
        }];
        while whole < width {
            let drawn = self.drawn + live.first().map_or(0, |first| first.tokens.len());
            let must_end = drawn >= most || self.len() >= limit;
            let mut followers = self.followers(&mut live, must_end, width, closes);
            followers.sort_by(|a, b| {
                let by_place = (a.after, a.token).cmp(&(b.after, b.token));
                b.log.total_cmp(&a.log).then(by_place)
            });
            // Each sequence goes on from another's cache; the last holds that of the best.
            let mut from: Vec<usize> = (0..=width).collect();
            let mut next: Vec<Hypothesis> = Vec::with_capacity(width);
            for follower in followers.into_iter().take(width) {
                let before = &live[follower.after];
                let mut hypothesis = before.followed_by(follower.token, follower.log);
                if follower.ends {
                    whole += 1;
                    if best
                        .as_ref()
                        .is_none_or(|best| hypothesis.score() > best.score())
                    {
                        from[width] = before.sequence;
                        best = Some(hypothesis);
                    }
                    continue;
                }
                hypothesis.grammar.accept(follower.token)?;
                let biases = &mut hypothesis.biases;
                biases.read(&self.encoding.expand(&[follower.token]));
                if let Some(steer) = &mut hypothesis.steer {
                    steer.accept(self.encoding.lexicon(), follower.token);
                }
                from[next.len()] = before.sequence;
                hypothesis.sequence = next.len();
                next.push(hypothesis);
            }
            self.go_on_from(&from)?;
            if next.is_empty() {
                break;
            }
            self.run_each(&next).await?;
            live = next;
        }
        let (found, sequence) = match best {
            Some(best) => (best, width),
            None => {
                let first = live.swap_remove(0);
                let sequence = first.sequence;
                (first, sequence)
            }
        };
        self.go_on_from(&vec![sequence; width + 1])?;
        Ok(self.take_over(found, most, closes))
    }

    /// The likeliest tokens that may follow each of the hypotheses, `width` at most.
    fn followers(
        &mut self,
        live: &mut [Hypothesis],
        must_end: bool,
        width: usize,
        closes: Closes,
    ) -> Vec<Follower> {
        let mut followers = Vec::new();
        for (after, hypothesis) in live.iter_mut().enumerate() {
            self.exchange(hypothesis);
            let opened = self.opened;
            let only = self.offer(hypothesis.sequence * self.voices, must_end);
            let opens = self.opened > opened;
            let follower = |(token, log)| Follower {
                log: hypothesis.log + log,
                after,
                token,
                ends: closes(self, token) && !opens,
            };
            match only {
                Some(token) => followers.push(follower((token, 0.0))),
                None => {
                    let likeliest = self.candidates.log_probabilities().take(width);
                    followers.extend(likeliest.map(follower));
                }
            }
            self.exchange(hypothesis);
        }
        followers
    }

    /// Puts a hypothesis in the place of what is being written, and back.
    fn exchange(&mut self, hypothesis: &mut Hypothesis) {
        std::mem::swap(&mut self.grammar, &mut hypothesis.grammar);
        std::mem::swap(&mut self.biases, &mut hypothesis.biases);
        std::mem::swap(&mut self.steer, &mut hypothesis.steer);
        std::mem::swap(&mut self.opened, &mut hypothesis.opened);
    }

    /// Has the cache of each sequence become that of another.
    fn go_on_from(&mut self, sequences: &[usize]) -> Result<(), GenerationError> {
        let voices = self.voices;
        let rows = sequences
            .iter()
            .flat_map(|&from| from * voices..(from + 1) * voices);
        let rows: Vec<usize> = rows.collect();
        let reordered = self.cache.reorder(&rows);
        reordered.map_err(|source| self.engine_error(source))
    }

    /// Runs the last token of each hypothesis in its sequence.
    async fn run_each(&mut self, live: &[Hypothesis]) -> Result<(), GenerationError> {
        let mut rows: Vec<&[Token]> = vec![&[]; self.conditionings.len()];
        let last = |hypothesis: &Hypothesis| hypothesis.tokens.last().copied();
        let free = live
            .iter()
            .map(|hypothesis| self.freely(last(hypothesis).as_slice()));
        let free: Vec<Vec<Token>> = free.collect();
        let heard = live.iter().zip(&free);
        for ((hypothesis, free), rows) in heard.zip(rows.chunks_mut(self.voices)) {
            rows.fill(free);
            rows[0] = &hypothesis.tokens[hypothesis.tokens.len().saturating_sub(1)..];
        }
        self.run(&rows).await
    }

    /// Has what was found be what is being written; with it the piece may have as many tokens as it can. Gives back
    /// the token that ended it.
    fn take_over(&mut self, mut found: Hypothesis, most: usize, closes: Closes) -> Option<Token> {
        let bars = found.opened - self.opened;
        self.exchange(&mut found);
        self.drawn += found.tokens.len() - bars;
        let end = found.tokens.pop_if(|token| closes(self, *token));
        if end.is_some() {
            self.ended = self.drawn > most;
        }
        let said = self.encoding.expand(&found.tokens);
        self.current.extend_from_slice(&said);
        end
    }
}
