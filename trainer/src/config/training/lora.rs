//! The block `lora` of a training config.

use serde::{Deserialize, Serialize};

use super::Error;
use super::check::{json, value};

/// Low-rank adapters (Hu et al. 2021): fine-tuning that changes a model by little.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// Rank of what is added to a linear map.
    pub rank: usize,
    /// What is added is multiplied by alpha / rank.
    pub alpha: f64,
    /// Dropout on what the adapters read.
    pub dropout: f64,
    /// Which linear maps have adapters: names or patterns (`*` for anything) of the architecture's
    /// weights.
    pub matrices: Vec<String>,
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            matrices: vec!["*".to_owned()],
        }
    }
}

impl Lora {
    /// Refuses what means nothing; whether the model has such matrices is seen when it is there.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !(1..=4096).contains(&self.rank) {
            return value("lora.rank", self.rank.to_string(), "1 to 4,096");
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return value("lora.alpha", self.alpha.to_string(), "a number above 0");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let expected = "0 or more and below 1";
            return value("lora.dropout", self.dropout.to_string(), expected);
        }
        let wrong = |pattern: &&String| glob::Pattern::new(pattern).is_err();
        if self.matrices.is_empty() || self.matrices.iter().any(|pattern| wrong(&pattern)) {
            let expected = "names or patterns of weights, like layers.*.qkv.weight";
            return value("lora.matrices", json(&self.matrices), expected);
        }
        Ok(())
    }
}
