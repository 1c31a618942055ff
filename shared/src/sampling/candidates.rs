//! The tokens that may come next, and the filters that leave some of them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::chain::Chain;
use super::{Class, Settings};
use crate::encoding::{Token, TokenSet};

/// The tokens that may come next, the likeliest first.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Tokens with their logits, descending, equal ones by token.
    ranked: Vec<(Token, f32)>,
    /// Their unnormalized probabilities, the likeliest's being 1; none until they are needed again and again.
    weighed: Vec<f64>,
}

/// Ascends as a logit descends, by the order of [`f32::total_cmp`].
fn descending(logit: f32) -> u32 {
    let bits = logit.to_bits();
    match bits >> 31 {
        0 => !(bits | 1 << 31),
        _ => bits,
    }
}

impl Candidates {
    /// Starts anew with the tokens of `allowed` and their `logits` `[vocabulary]`. What is not a
    /// number counts as impossible.
    pub fn fill(&mut self, logits: &[f32], allowed: &TokenSet) {
        self.fill_by(logits, allowed, |_, logit| logit);
    }

    /// The same with logits that `moved` has moved.
    pub fn fill_by(
        &mut self,
        logits: &[f32],
        allowed: &TokenSet,
        moved: impl Fn(Token, f32) -> f32,
    ) {
        self.ranked.clear();
        let ranked = allowed.iter().map(|token| {
            let logit = logits.get(usize::from(token)).copied();
            let logit = logit.map_or(f32::NEG_INFINITY, |logit| moved(token, logit));
            let impossible = logit.is_nan();
            (token, if impossible { f32::NEG_INFINITY } else { logit })
        });
        self.ranked.extend(ranked);
        self.rank();
    }

    fn rank(&mut self) {
        self.weighed.clear();
        let place =
            |&(token, logit): &(Token, f32)| u64::from(descending(logit)) << 16 | u64::from(token);
        self.ranked.sort_unstable_by_key(place);
    }

    /// Applies temperature, top-k with its offset, top-p and min-p, in this order: to all tokens
    /// together, or to each class by itself where a kind has filters of its own.
    pub fn filter(&mut self, settings: &Settings, class: impl Fn(Token) -> Class) {
        if settings.kinds.is_empty() {
            self.apply(settings.chain());
        } else {
            self.apply_by_class(settings, class);
        }
    }

    fn apply(&mut self, chain: Chain) {
        self.weighed.clear();
        self.leave_out(chain.top_k_offset);
        if chain.temperature <= 0.0 {
            self.ranked.truncate(1);
            return;
        }
        self.temperature(chain.temperature);
        self.top_k(chain.top_k);
        let mut weighed = std::mem::take(&mut self.weighed);
        weighed.extend(self.weights_at(self.greatest(), 1.0));
        self.weighed = weighed;
        self.top_p(chain.top_p);
        self.min_p(chain.min_p);
        self.weighed.truncate(self.ranked.len());
    }

    /// See [`super::Kinds`].
    fn apply_by_class(&mut self, settings: &Settings, class: impl Fn(Token) -> Class) {
        let all = std::mem::take(&mut self.ranked);
        let Some(&(likeliest, greatest)) = all.first() else {
            return;
        };
        let temperature = settings.temperature;
        for one in Class::ALL {
            let own = all.iter().filter(|(token, _)| class(*token) == one);
            let mut own = Candidates {
                ranked: own.copied().collect(),
                weighed: Vec::new(),
            };
            // Their probability in all, that of the likeliest token being 1.
            let share: f64 = match temperature > 0.0 {
                true => own.weights_at(greatest, temperature).sum(),
                false => f64::from(u8::from(class(likeliest) == one)),
            };
            if share <= 0.0 {
                continue;
            }
            own.apply(settings.chain_of(one));
            let total: f64 = own.weights().sum();
            let logits = own
                .weights()
                .map(|weight| libm::log(share * weight / total) as f32);
            let tokens = own.tokens();
            self.ranked.extend(std::iter::zip(tokens, logits));
        }
        self.rank();
    }

    fn leave_out(&mut self, likeliest: usize) {
        let last = self.ranked.len().saturating_sub(1);
        self.ranked.drain(..likeliest.min(last));
    }

    fn temperature(&mut self, temperature: f32) {
        for (_, logit) in &mut self.ranked {
            *logit /= temperature;
        }
    }

    fn top_k(&mut self, k: usize) {
        if k > 0 {
            self.ranked.truncate(k);
        }
    }

    fn top_p(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let (total, mut sum) = (self.weights().sum::<f64>(), 0.0);
        let before = self.weights().take_while(|weight| {
            sum += weight;
            sum < f64::from(p) * total
        });
        let keep = before.count() + 1;
        self.ranked.truncate(keep);
    }

    fn min_p(&mut self, p: f32) {
        if p > 0.0 {
            let likely = self.weights().take_while(|&weight| weight >= f64::from(p));
            let keep = likely.count();
            self.ranked.truncate(keep);
        }
    }

    /// Unnormalized probabilities, the likeliest being 1.
    fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        let known = self.weighed.iter().copied();
        let unknown = self.ranked.get(self.weighed.len()..).unwrap_or_default();
        known
            .chain(weights(unknown, self.greatest(), 1.0))
            .take(self.ranked.len())
    }

    fn greatest(&self) -> f32 {
        self.ranked.first().map_or(0.0, |first| first.1)
    }

    /// Unnormalized probabilities at a temperature, that of a token with the logit `greatest` being 1.
    fn weights_at(&self, greatest: f32, temperature: f32) -> impl Iterator<Item = f64> + '_ {
        weights(&self.ranked, greatest, temperature)
    }

    /// Draws a token by its probability; `None` where there is none to draw.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Option<Token> {
        // 53 random bits fill a double's fraction.
        let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = uniform * self.weights().sum::<f64>();
        let drawn = self.weights().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a rest beyond the last.
        let drawn = drawn.unwrap_or(self.ranked.len().saturating_sub(1));
        self.ranked.get(drawn).map(|(token, _)| *token)
    }

    /// The tokens left, the likeliest first.
    pub fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.ranked.iter().map(|(token, _)| *token)
    }

    /// The tokens left with the logarithms of their probabilities, the likeliest first.
    pub fn log_probabilities(&self) -> impl Iterator<Item = (Token, f64)> + '_ {
        let greatest = self.ranked.first().map_or(0.0, |first| first.1);
        let total = libm::log(self.weights().sum());
        self.ranked.iter().map(move |&(token, logit)| {
            let behind = if logit == greatest {
                0.0
            } else {
                f64::from(logit - greatest)
            };
            (token, behind - total)
        })
    }
}

fn weights(
    ranked: &[(Token, f32)],
    greatest: f32,
    temperature: f32,
) -> impl Iterator<Item = f64> + '_ {
    ranked.iter().map(move |(_, logit)| {
        // Equal infinities would give what is not a number.
        if *logit == greatest {
            1.0
        } else {
            libm::exp(f64::from((logit - greatest) / temperature))
        }
    })
}

#[cfg(test)]
mod tests;
