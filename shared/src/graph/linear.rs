//! Linear maps without bias, in floats or in 8-bit integers with one scale a token.
//!
//! In integers, for a token's vector `x` and a weight column with scale `w` (both engines give the
//! same bits whatever the number of rows, and processors with and without VNNI agree):
//!
//! ```text
//! s  = max(max|x|, 1e-8) / 127
//! xq = uint8(round(x * (1/s)) + 128)
//! y  = float(MatMulInteger(xq, W, zero point 128)) * w * s
//! ```
//!
//! No value is outside [-127, 127] after rounding, as `x * (1/s)` exceeds 127 by three roundings at
//! most. The activations are unsigned because ONNX Runtime is 12 to 63 times slower with signed ones, and
//! nothing is divided because rten turns a `Div` by a single element into a product.

use super::builder::{Builder, Value};
use super::weights::{Form, Stored};
use crate::manifest::Precision;
use crate::onnx::{Attribute, Element};

/// A hidden state that linear maps read.
pub(super) enum Activation {
    Fp32(Value),
    Int8 { quantized: Value, scale: Value },
}

/// A weight matrix `[out, in]` that is in the graph.
pub(super) enum Matrix {
    Fp32(Value),
    Int8 { weight: Value, scale: Value },
}

impl Builder {
    /// `x` as the input of one or more linear maps.
    pub(super) fn activation(&mut self, x: &Value, precision: Precision) -> Activation {
        if precision == Precision::Fp32 {
            return Activation::Fp32(x.clone());
        }
        let (tiny, step) = (self.float(1e-8), self.float(1.0 / 127.0));
        let zero = self.float(128.0);
        let magnitude = self.op("Abs", &[x]);
        let axes = vec![
            Attribute::ints("axes", &[-1]),
            Attribute::int("keepdims", 1),
        ];
        let peak = self.op_with("ReduceMax", &[&magnitude], axes);
        let peak = self.op("Max", &[&peak, &tiny]);
        let scale = self.op("Mul", &[&peak, &step]);
        let inverse = self.op("Reciprocal", &[&scale]);
        let steps = self.op("Mul", &[x, &inverse]);
        let steps = self.op("Round", &[&steps]);
        let steps = self.op("Add", &[&steps, &zero]);
        Activation::Int8 {
            quantized: self.cast(&steps, Element::U8),
            scale,
        }
    }

    /// The weights `names`, stacked, as a matrix of `outputs` rows and `inputs` columns, stored
    /// under `name` the way `MatMul` wants it: `[in, out]`.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        names: &[String],
        [outputs, inputs]: [usize; 2],
        precision: Precision,
    ) -> Matrix {
        let stored = |form| Stored {
            names: names.to_vec(),
            form,
        };
        let shape = [inputs, outputs];
        match precision {
            Precision::Fp32 => Matrix::Fp32(self.weight(name, &shape, stored(Form::Transposed))),
            Precision::Int8 => Matrix::Int8 {
                weight: self.weight(name, &shape, stored(Form::Columns)),
                scale: self.weight(&format!("{name}.scale"), &[outputs], stored(Form::Scales)),
            },
        }
    }

    /// `x · matrixᵀ`.
    pub(super) fn linear(&mut self, x: &Activation, matrix: &Matrix) -> Value {
        match (x, matrix) {
            (
                Activation::Int8 {
                    quantized,
                    scale: s,
                },
                Matrix::Int8 { weight, scale },
            ) => {
                let zero = self.byte(128);
                let sums = self.op("MatMulInteger", &[quantized, weight, &zero]);
                let sums = self.cast(&sums, Element::F32);
                let y = self.op("Mul", &[&sums, scale]);
                self.op("Mul", &[&y, s])
            }
            (Activation::Fp32(x), Matrix::Fp32(weight)) => self.op("MatMul", &[x, weight]),
            _ => unreachable!("activations and weights of one graph have one precision"),
        }
    }

    /// Rows `ids` of a weight that is in the graph as a matrix `[in, out]`: `[batch, time, in]`.
    pub(super) fn columns(&mut self, matrix: &Matrix, ids: &Value) -> Value {
        match matrix {
            Matrix::Fp32(weight) => {
                let columns = self.gather(weight, ids, 1);
                self.transpose(&columns, &[1, 2, 0])
            }
            Matrix::Int8 { weight, scale } => {
                let columns = self.gather(weight, ids, 1);
                let rows = self.transpose(&columns, &[1, 2, 0]);
                self.dequantize(&rows, scale, ids)
            }
        }
    }

    /// The weight `name` `[rows, width]`, stored row by row for [`Self::rows`].
    pub(super) fn table(&mut self, name: &str, shape: [usize; 2], precision: Precision) -> Matrix {
        let stored = |form| Stored {
            names: vec![name.to_owned()],
            form,
        };
        match precision {
            Precision::Fp32 => Matrix::Fp32(self.weight(name, &shape, stored(Form::Plain))),
            Precision::Int8 => Matrix::Int8 {
                weight: self.weight(name, &shape, stored(Form::Rows)),
                scale: self.weight(&format!("{name}.scale"), &shape[..1], stored(Form::Scales)),
            },
        }
    }

    /// Rows `ids` of a [`Self::table`]: `[batch, time, width]`.
    pub(super) fn rows(&mut self, table: &Matrix, ids: &Value) -> Value {
        match table {
            Matrix::Fp32(weight) => self.gather(weight, ids, 0),
            Matrix::Int8 { weight, scale } => {
                let rows = self.gather(weight, ids, 0);
                self.dequantize(&rows, scale, ids)
            }
        }
    }

    fn dequantize(&mut self, rows: &Value, scale: &Value, ids: &Value) -> Value {
        let rows = self.cast(rows, Element::F32);
        let scale = self.gather(scale, ids, 0);
        let scale = self.unsqueeze(&scale, &[2]);
        self.op("Mul", &[&rows, &scale])
    }
}
