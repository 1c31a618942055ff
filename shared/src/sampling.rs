//! Sampling: logits to a token, through a chain of filters.

use serde::{Deserialize, Serialize};

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keeps the `k` likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Keeps the likeliest tokens whose probabilities first reach `p`; 1 is off.
    pub top_p: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { temperature: 0.9, top_k: 50, top_p: 0.92 }
    }
}
