//! Linear maps `[out, in]` in floats or in 8 bits, packed in *panels* of 64 outputs that are read from end to end
//! once for every few hidden states.
//!
//! Each output is a sum over the inputs in their order, whatever stands beside it: the bits do not depend on the
//! number of hidden states, nor, in 8 bits, on the processor. The arithmetic in 8 bits is that of `graph/linear.rs`.

use std::arch::x86_64::*;

use super::elementwise::quantize;
use super::isa::{Isa, LANES, Lanes, for_each_isa};

/// Registers of a panel, and its outputs.
const REGISTERS: usize = 4;
const PANEL: usize = REGISTERS * LANES;
/// How far ahead of what is computed weights are fetched.
const AHEAD: usize = 16;

/// 16 outputs, of each four inputs.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Quads([[i8; 4]; LANES]);

/// A linear map without bias.
pub(super) struct Matrix {
    inputs: usize,
    outputs: usize,
    packed: Packed,
}

enum Packed {
    /// `[panels, inputs, 4]`.
    Fp32(Vec<[Lanes; REGISTERS]>),
    Int8 {
        /// `[panels, inputs / 4, 4]`.
        quads: Vec<[Quads; REGISTERS]>,
        /// Of each output.
        scales: Vec<f32>,
        /// 128 times the sum of each output's weights: hidden states are stored with 128 added.
        zeros: Vec<i32>,
    },
}

/// Hidden states in 8 bits, where a matrix is.
#[derive(Default)]
pub(super) struct Quantized {
    bytes: Vec<[u8; 4]>,
    scales: Vec<f32>,
}

impl Matrix {
    /// Of `rows` `[out, in]`: in 8 bits integers in [-64, 63] where the `scales` of the rows are given.
    pub(super) fn new(rows: &[f32], inputs: usize, scales: Option<&[f32]>) -> Self {
        let outputs = rows.len() / inputs;
        let weight = |output: usize, input: usize| match output < outputs && input < inputs {
            true => rows[output * inputs + input],
            false => 0.0,
        };
        let panels = || (0..outputs.div_ceil(PANEL)).map(|panel| panel * PANEL);
        let packed = match scales {
            None => {
                let lanes = |first: usize, input: usize| {
                    std::array::from_fn(|register| {
                        let first = first + register * LANES;
                        Lanes(std::array::from_fn(|lane| weight(first + lane, input)))
                    })
                };
                let all = panels().flat_map(|first| (0..inputs).map(move |input| (first, input)));
                Packed::Fp32(all.map(|(first, input)| lanes(first, input)).collect())
            }
            Some(scales) => {
                let quads = |first: usize, quad: usize| {
                    std::array::from_fn(|register| {
                        let first = first + register * LANES;
                        Quads(std::array::from_fn(|lane| {
                            std::array::from_fn(|i| weight(first + lane, 4 * quad + i) as i8)
                        }))
                    })
                };
                let count = inputs.div_ceil(4);
                let all = panels().flat_map(|first| (0..count).map(move |quad| (first, quad)));
                let sum = |row: &[f32]| row.iter().map(|&weight| weight as i32).sum::<i32>();
                Packed::Int8 {
                    quads: all.map(|(first, quad)| quads(first, quad)).collect(),
                    scales: scales.to_vec(),
                    zeros: rows
                        .chunks_exact(inputs)
                        .map(|row| 128 * sum(row))
                        .collect(),
                }
            }
        };
        Self {
            inputs,
            outputs,
            packed,
        }
    }

    /// `x · selfᵀ` into `y`: `[rows, in]` and `[rows, out]`.
    pub(super) fn apply(&self, isa: Isa, x: &[f32], quantized: &mut Quantized, y: &mut Vec<f32>) {
        let rows = x.len() / self.inputs;
        y.resize(rows * self.outputs, 0.0);
        match &self.packed {
            Packed::Fp32(weights) => {
                for (panel, weights) in weights.chunks_exact(self.inputs).enumerate() {
                    each_sum::<Floats>(isa, x, weights, |row, sums| {
                        let y = self.outputs_of(panel, row, y);
                        let sums = sums.iter().flat_map(|lanes| &lanes.0);
                        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = *sum);
                    });
                }
            }
            Packed::Int8 {
                quads,
                scales,
                zeros,
            } => {
                let width = self.inputs.div_ceil(4);
                quantized.bytes.resize(rows * width, [0; 4]);
                quantized.scales.resize(rows, 0.0);
                quantize(
                    isa,
                    self.inputs,
                    x,
                    &mut quantized.bytes,
                    &mut quantized.scales,
                );
                for (panel, weights) in quads.chunks_exact(width).enumerate() {
                    let first = panel * PANEL;
                    let (scales, zeros) = (&scales[first..], &zeros[first..]);
                    each_sum::<Bytes>(isa, &quantized.bytes, weights, |row, sums| {
                        let scale = quantized.scales[row];
                        let weights = scales.iter().zip(zeros).zip(sums.as_flattened());
                        let y = self.outputs_of(panel, row, y).iter_mut();
                        for (y, ((weight, zero), sum)) in y.zip(weights) {
                            *y = (sum - zero) as f32 * weight * scale;
                        }
                    });
                }
            }
        }
    }

    /// The outputs of a panel in `y` for a hidden state.
    #[inline(always)]
    fn outputs_of<'y>(&self, panel: usize, row: usize, y: &'y mut [f32]) -> &'y mut [f32] {
        let first = panel * PANEL;
        let end = self.outputs.min(first + PANEL);
        &mut y[row * self.outputs..][first..end]
    }
}

/// Sums of products of a panel's weights and hidden states.
trait Products {
    /// What is broadcast of a hidden state.
    type State: Copy;
    /// A register of weights.
    type Weights;
    /// A register of sums.
    type Sums: Copy;

    /// Of `ROWS` hidden states. Each has as many elements as there are weights.
    ///
    /// # Safety
    /// The processor has what `isa` says.
    unsafe fn of<const ROWS: usize>(
        isa: Isa,
        states: [&[Self::State]; ROWS],
        weights: &[[Self::Weights; REGISTERS]],
    ) -> [[Self::Sums; REGISTERS]; ROWS];
}

/// Calls `write` with the number of each of the hidden `states` `[rows, weights]` and its sums: of several at
/// once, as many as registers hold, so that weights are loaded seldom.
#[inline(always)]
fn each_sum<P: Products>(
    isa: Isa,
    states: &[P::State],
    weights: &[[P::Weights; REGISTERS]],
    mut write: impl FnMut(usize, &[P::Sums; REGISTERS]),
) {
    let width = weights.len();
    let (rows, mut row) = (states.len() / width, 0);
    while row < rows {
        let left = &states[row * width..];
        // Fewer registers hold the sums of one only.
        row += match (isa, rows - row) {
            (Isa::Avx512, 4..) => some_sums::<P, 4>(isa, left, weights, row, &mut write),
            (Isa::Avx512, 3) => some_sums::<P, 3>(isa, left, weights, row, &mut write),
            (Isa::Avx512, 2) => some_sums::<P, 2>(isa, left, weights, row, &mut write),
            _ => some_sums::<P, 1>(isa, left, weights, row, &mut write),
        };
    }
}

/// Of the first `ROWS` of the hidden `states`, of which the first is number `row`; how many.
#[inline(always)]
fn some_sums<P: Products, const ROWS: usize>(
    isa: Isa,
    states: &[P::State],
    weights: &[[P::Weights; REGISTERS]],
    row: usize,
    write: &mut impl FnMut(usize, &[P::Sums; REGISTERS]),
) -> usize {
    let width = weights.len();
    let states = std::array::from_fn(|i| &states[i * width..][..width]);
    // SAFETY: an `Isa` is had by `Isa::detect` alone.
    let sums = unsafe { P::of::<ROWS>(isa, states, weights) };
    (row..).zip(&sums).for_each(|(row, sums)| write(row, sums));
    ROWS
}

/// Has the processor fetch the weights that come some steps behind these: with few hidden states it would wait
/// for them.
#[inline(always)]
fn fetch_ahead<const ROWS: usize, W>(weights: &[W; REGISTERS]) {
    if ROWS <= 2 {
        for weights in weights {
            let ahead = std::ptr::from_ref(weights).wrapping_add(AHEAD * REGISTERS);
            // SAFETY: a hint, which no address makes fail.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
        }
    }
}

/// Products of floats.
struct Floats;

impl Products for Floats {
    type State = f32;
    type Weights = Lanes;
    type Sums = Lanes;

    unsafe fn of<const ROWS: usize>(
        isa: Isa,
        states: [&[f32]; ROWS],
        weights: &[[Lanes; REGISTERS]],
    ) -> [[Lanes; REGISTERS]; ROWS] {
        let mut all = [[Lanes::ZERO; REGISTERS]; ROWS];
        products(isa, states, weights, &mut all);
        all
    }
}

for_each_isa! {
    /// Sums of the products of `ROWS` hidden states and a panel's weights.
    fn products<S, const ROWS: usize>(
        states: [&[f32]; ROWS],
        weights: &[[Lanes; REGISTERS]],
        all: &mut [[Lanes; REGISTERS]; ROWS],
    ) {
        let states = states.map(|state| &state[..weights.len()]);
        // SAFETY: `S` is this processor's.
        let mut sums = [[unsafe { S::zero() }; REGISTERS]; ROWS];
        for (i, weights) in weights.iter().enumerate() {
            fetch_ahead::<ROWS, _>(weights);
            for (sums, state) in sums.iter_mut().zip(states) {
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    // SAFETY: `S` is this processor's.
                    *sum = unsafe { sum.add_product(state[i], S::load(weights)) };
                }
            }
        }
        for (to, sum) in all.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            // SAFETY: `S` is this processor's.
            *to = unsafe { sum.lanes() };
        }
    }
}

/// Products of unsigned bytes and of integers in [-64, 63], of which two fit 16 bits.
struct Bytes;

impl Products for Bytes {
    type State = [u8; 4];
    type Weights = Quads;
    type Sums = [i32; LANES];

    unsafe fn of<const ROWS: usize>(
        isa: Isa,
        states: [&[[u8; 4]]; ROWS],
        weights: &[[Quads; REGISTERS]],
    ) -> [[Self::Sums; REGISTERS]; ROWS] {
        #[target_feature(enable = "avx512f,avx512vnni")]
        fn wide<const ROWS: usize>(
            states: [&[[u8; 4]]; ROWS],
            weights: &[[Quads; REGISTERS]],
        ) -> [[[i32; LANES]; REGISTERS]; ROWS] {
            let mut sums = [[_mm512_setzero_si512(); REGISTERS]; ROWS];
            for (i, weights) in weights.iter().enumerate() {
                fetch_ahead::<ROWS, _>(weights);
                for (sums, state) in sums.iter_mut().zip(states) {
                    let state = _mm512_set1_epi32(i32::from_le_bytes(state[i]));
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        // SAFETY: a `Quads` is 64 bytes, and aligned.
                        let weights = unsafe { _mm512_load_si512(weights.0.as_ptr().cast()) };
                        *sum = _mm512_dpbusd_epi32(*sum, state, weights);
                    }
                }
            }
            let mut all = [[[0; LANES]; REGISTERS]; ROWS];
            for (to, sum) in all.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                // SAFETY: a register is 16 integers.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *sum) };
            }
            all
        }
        #[target_feature(enable = "avx2")]
        fn narrow<const ROWS: usize>(
            states: [&[[u8; 4]]; ROWS],
            weights: &[[Quads; REGISTERS]],
        ) -> [[[i32; LANES]; REGISTERS]; ROWS] {
            let ones = _mm256_set1_epi16(1);
            let mut sums = [[[_mm256_setzero_si256(); 2]; REGISTERS]; ROWS];
            for (i, weights) in weights.iter().enumerate() {
                for (sums, state) in sums.iter_mut().zip(states) {
                    let state = _mm256_set1_epi32(i32::from_le_bytes(state[i]));
                    for (sums, weights) in sums.iter_mut().zip(weights) {
                        let (halves, _) = weights.0.as_chunks::<8>();
                        for (sum, half) in sums.iter_mut().zip(halves) {
                            // SAFETY: a half is 32 bytes.
                            let half = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                            let pairs = _mm256_maddubs_epi16(state, half);
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                        }
                    }
                }
            }
            let mut all = [[[0; LANES]; REGISTERS]; ROWS];
            for (to, sum) in all.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                let (halves, _) = to.as_chunks_mut::<8>();
                for (to, sum) in halves.iter_mut().zip(sum) {
                    // SAFETY: a half is 8 integers.
                    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), *sum) };
                }
            }
            all
        }
        match isa {
            // SAFETY: the processor has what `isa` says.
            Isa::Avx512 => unsafe { wide(states, weights) },
            // SAFETY: as above.
            Isa::Avx2 => unsafe { narrow(states, weights) },
        }
    }
}
