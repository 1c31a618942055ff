//! Layer norms.

use tch::Tensor;

use super::Named;

/// The epsilon of all layer norms.
const EPS: f64 = 1e-5;

/// Weight and bias of a layer norm.
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    pub(super) fn new(named: &Named, name: &str) -> Self {
        Self {
            weight: named.get(&format!("{name}.weight")),
            bias: named.get(&format!("{name}.bias")),
        }
    }

    pub(super) fn apply(&self, x: &Tensor) -> Tensor {
        let width = self.weight.size();
        x.layer_norm(&width[..], Some(&self.weight), Some(&self.bias), EPS, false)
    }
}
