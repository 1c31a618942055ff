//! Sampling: logits to a token, through a chain of filters.
//!
//! 1. With guidance, [`guide`] moves the logits away from those of unconditioned music.
//! 1. The tokens that may come at all (grammar and request) become [`Candidates`].
//!
//! Everything is fixed to the bit: ties fall to the lower token, exponentials come from `libm`, and
//! random numbers from ChaCha8.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::encoding::{Token, TokenSet};

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keeps the `k` likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Keeps the likeliest tokens whose probabilities first reach `p`; 1 is off.
    pub top_p: f32,
    /// How much further the logits go from those of unconditioned music than conditions lead, see
    /// [`guide`]; 1 is off, and what is below counts as 1.
    #[serde(default = "off", skip_serializing_if = "is_off")]
    pub guidance: f32,
}

fn off() -> f32 {
    1.0
}

fn is_off(guidance: &f32) -> bool {
    *guidance == off()
}

/// Classifier-free guidance (Ho and Salimans 2022, equation 6, with their `w` one less than `guidance`):
/// `logits` with conditions become `free + guidance * (logits - free)`, where `free` are those
/// without.
pub fn guide(logits: &mut [f32], free: &[f32], guidance: f32) {
    for (logit, free) in std::iter::zip(logits, free) {
        *logit = free + guidance * (*logit - free);
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 0.97,
            guidance: off(),
        }
    }
}

/// The tokens that may come next, the likeliest first.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Tokens with their logits, descending, equal ones by token.
    ranked: Vec<(Token, f32)>,
}

impl Candidates {
    /// Starts anew with the tokens of `allowed` and their `logits` `[vocabulary]`. What is not a
    /// number counts as impossible.
    pub fn fill(&mut self, logits: &[f32], allowed: &TokenSet) {
        self.ranked.clear();
        let ranked = allowed.iter().map(|token| {
            let logit = logits
                .get(usize::from(token))
                .copied()
                .unwrap_or(f32::NEG_INFINITY);
            (
                token,
                if logit.is_nan() {
                    f32::NEG_INFINITY
                } else {
                    logit
                },
            )
        });
        self.ranked.extend(ranked);
        self.ranked
            .sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    }

    /// Applies temperature, top-k and top-p, in this order.
    pub fn filter(&mut self, settings: &Settings) {
        if settings.temperature <= 0.0 {
            self.ranked.truncate(1);
            return;
        }
        self.temperature(settings.temperature);
        self.top_k(settings.top_k);
        self.top_p(settings.top_p);
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

    /// Unnormalized probabilities, the likeliest being 1.
    fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        let greatest = self.ranked.first().map_or(0.0, |first| first.1);
        self.ranked.iter().map(move |(_, logit)| {
            // Equal infinities would give what is not a number.
            if *logit == greatest {
                1.0
            } else {
                libm::exp(f64::from(logit - greatest))
            }
        })
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
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn candidates(logits: &[f32], settings: &Settings) -> Candidates {
        let mut allowed = TokenSet::new(logits.len());
        allowed.insert_range(0..logits.len() as Token);
        let mut candidates = Candidates::default();
        candidates.fill(logits, &allowed);
        candidates.filter(settings);
        candidates
    }

    const OFF: Settings = Settings {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        guidance: 1.0,
    };

    #[test]
    fn top_k_of_zero_is_off_and_ties_fall_to_the_lower_token() {
        let logits = [1.0, 3.0, 3.0, f32::NAN, 2.0];
        let all: Vec<_> = candidates(&logits, &OFF).tokens().collect();
        assert_eq!(all, [1, 2, 4, 0, 3]);
        let two: Vec<_> = candidates(&logits, &Settings { top_k: 2, ..OFF })
            .tokens()
            .collect();
        assert_eq!(two, [1, 2]);
        let greedy = Settings {
            temperature: 0.0,
            ..OFF
        };
        assert_eq!(
            candidates(&logits, &greedy).tokens().collect::<Vec<_>>(),
            [1]
        );
    }

    #[test]
    fn top_p_keeps_the_token_that_reaches_p() {
        let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        for (p, kept) in [
            (0.0, 1),
            (0.49, 1),
            (0.51, 2),
            (0.79, 2),
            (0.81, 3),
            (0.96, 4),
            (1.0, 4),
        ] {
            let left = candidates(&logits, &Settings { top_p: p, ..OFF })
                .tokens()
                .count();
            assert_eq!(left, kept, "top-p {p}");
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let probabilities = [0.5f32, 0.3, 0.15, 0.05];
        let logits: Vec<f32> = probabilities.iter().map(|p| p.ln()).collect();
        let candidates = candidates(&logits, &OFF);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0u32; 4];
        const DRAWS: u32 = 100_000;
        for _ in 0..DRAWS {
            counts[usize::from(candidates.draw(&mut rng).unwrap())] += 1;
        }
        for (count, p) in counts.into_iter().zip(probabilities) {
            // Five standard deviations of a binomial.
            let deviation = (p * (1.0 - p) / DRAWS as f32).sqrt();
            assert!((count as f32 / DRAWS as f32 - p).abs() < 5.0 * deviation);
        }
    }

    #[test]
    fn nothing_allowed_draws_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(Candidates::default().draw(&mut rng), None);
    }
}
