//! How a weight of the architecture stands in the file: as it is, transposed for `MatMul`, or as
//! 8-bit integers with one scale for each output channel.
//!
//! Integers lie in [-64, 63]: with unsigned bytes on the other side the sum of two products then
//! fits 16 bits, so processors without VNNI (`vpmaddubsw`, which saturates) give the same sums.

use crate::onnx::Element;

/// Which weights an initializer holds, and in which form.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Names in [`crate::architecture`]; several are stacked along their output channels.
    pub(super) names: Vec<String>,
    /// The form.
    pub(super) form: Form,
}

/// The form of a matrix `[out, in]` in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Floats in the order of the checkpoint.
    Plain,
    /// Floats, the last two axes exchanged.
    Transposed,
    /// Integers `[out, in]`.
    Rows,
    /// Integers `[in, out]`.
    Columns,
    /// The integers' scales `[out]`.
    Scales,
}

impl Form {
    /// The type of an element in the file.
    pub(super) fn element(self) -> Element {
        match self {
            Self::Plain | Self::Transposed | Self::Scales => Element::F32,
            Self::Rows | Self::Columns => Element::I8,
        }
    }

    /// The bytes of the file for `values`; `shape` is the tensor's in the file.
    pub(super) fn bytes(self, values: Vec<f32>, shape: &[i64]) -> Vec<u8> {
        let [.., a, b] = *shape else {
            let per_channel = || scales(&values, values.len() / shape[0].max(1) as usize);
            let values = if self == Self::Scales {
                per_channel()
            } else {
                values
            };
            return values.iter().flat_map(|v| v.to_le_bytes()).collect();
        };
        let (a, b) = (a as usize, b as usize);
        match self {
            Self::Plain | Self::Scales => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Transposed => {
                let transposed = values
                    .chunks_exact(a * b)
                    .flat_map(|matrix| transpose(matrix, a));
                transposed.flat_map(f32::to_le_bytes).collect()
            }
            Self::Rows => quantize(&values, b),
            Self::Columns => transpose(&quantize(&values, a), a),
        }
    }
}

impl Form {
    /// What [`Form::bytes`] was given, of integers those of the file: row `r` is to be multiplied by
    /// scale `r`. `shape` is the tensor's in the file.
    pub(super) fn values(self, raw: &[u8], shape: &[i64]) -> Vec<f32> {
        let floats = || {
            raw.chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        };
        let integers = || raw.iter().map(|&b| f32::from(b as i8));
        let width = *shape.last().unwrap_or(&1) as usize;
        let [.., a, b] = *shape else {
            return floats().collect();
        };
        match self {
            Self::Plain | Self::Scales => floats().collect(),
            Self::Transposed => floats()
                .collect::<Vec<_>>()
                .chunks_exact((a * b) as usize)
                .flat_map(|matrix| transpose(matrix, width))
                .collect(),
            Self::Rows => integers().collect(),
            Self::Columns => transpose(&integers().collect::<Vec<_>>(), width),
        }
    }
}

/// The transpose of a matrix with rows of `width`.
fn transpose<T: Copy>(matrix: &[T], width: usize) -> Vec<T> {
    (0..width)
        .flat_map(|column| matrix.iter().skip(column).step_by(width).copied())
        .collect()
}

/// The scale of each row: its extremes reach 63 or -64.
fn scales(matrix: &[f32], width: usize) -> Vec<f32> {
    let scale = |row: &[f32]| {
        let reach = row.iter().fold(0f32, |a, &w| {
            a.max(if w > 0.0 { w / 63.0 } else { w / -64.0 })
        });
        if reach > 0.0 { reach } else { 1.0 }
    };
    matrix.chunks_exact(width).map(scale).collect()
}

/// Rows of `width` as integers, each byte an `i8`.
fn quantize(matrix: &[f32], width: usize) -> Vec<u8> {
    let rows = matrix.chunks_exact(width).zip(scales(matrix, width));
    let integers = |(row, scale): (&[f32], f32)| -> Vec<u8> {
        row.iter()
            .map(|w| (w / scale).round_ties_even().clamp(-64.0, 63.0) as i8 as u8)
            .collect()
    };
    rows.flat_map(integers).collect()
}
