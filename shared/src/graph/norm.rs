//! Layer norms, and other weights that a graph reads as they are.

use super::builder::{Builder, Value};
use super::weights::{Form, Stored};
use crate::onnx::Attribute;

impl Builder {
    /// The weight `name` in floats, as the checkpoint has it.
    pub(super) fn plain(&mut self, name: &str, shape: &[usize]) -> Value {
        let stored = Stored {
            names: vec![name.to_owned()],
            form: Form::Plain,
        };
        self.weight(name, shape, stored)
    }

    /// The layer norm `name` of `x` `[.., width]`, with its weight and its bias.
    pub(super) fn norm(&mut self, x: &Value, name: &str, width: usize) -> Value {
        let weight = self.plain(&format!("{name}.weight"), &[width]);
        let bias = self.plain(&format!("{name}.bias"), &[width]);
        let attributes = vec![
            Attribute::int("axis", -1),
            Attribute::float("epsilon", 1e-5),
        ];
        self.op_with("LayerNormalization", &[x, &weight, &bias], attributes)
    }
}
