//! What is computed of each hidden state by itself: norms, nonlinearities, 8-bit numbers.

use super::isa::{LANES, Lanes, for_each_isa};

/// What is added to a variance, as in `graph`.
const EPSILON: f32 = 1e-5;
/// 1.5 · 2²³: a float of up to 2²² that it is added to is rounded to the nearest integer, ties to even, which
/// then stands in its last bits.
const ROUND: f32 = 12_582_912.0;

for_each_isa! {
    /// The layer norm of each row of `x` `[rows, width]`, into `y`.
    pub(super) fn norm(x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
        let width = weight.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let mean = sum(x, |x| x) / width as f32;
            let variance = sum(x, |x| (x - mean) * (x - mean)) / width as f32;
            let scale = (variance + EPSILON).sqrt().recip();
            for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = ((x - mean) * scale).mul_add(*weight, *bias);
            }
        }
    }

    /// Each row of `x` `[rows, width]` in 8 bits with a scale of its own, as in `graph/linear.rs`; behind its
    /// end a row of `bytes` `[rows, width rounded up to 4]` is left as it is.
    pub(super) fn quantize(width: usize, x: &[f32], bytes: &mut [[u8; 4]], scales: &mut [f32]) {
        let rows = x.chunks_exact(width).zip(bytes.chunks_exact_mut(width.div_ceil(4)));
        for ((x, bytes), scale) in rows.zip(scales) {
            let mut peak = Lanes::ZERO;
            let (whole, rest) = x.as_chunks::<LANES>();
            for x in whole {
                peak.0.iter_mut().zip(x).for_each(|(peak, x)| *peak = peak.max(x.abs()));
            }
            peak.0.iter_mut().zip(rest).for_each(|(peak, x)| *peak = peak.max(x.abs()));
            *scale = peak.max().max(1e-8) * (1.0 / 127.0);
            let inverse = scale.recip();
            for (byte, x) in bytes.as_flattened_mut().iter_mut().zip(x) {
                let steps = (x * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits());
                *byte = steps.wrapping_add(128) as u8;
            }
        }
    }

    /// GELU with the exact error function.
    pub(super) fn gelu(x: &mut [f32]) {
        for x in x {
            *x *= 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }

    /// Of each row `[gate, up]` of `x` `[rows, 2 * width]`: `silu(gate) * up`, into `y` `[rows, width]`.
    pub(super) fn gate(width: usize, x: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks_exact(2 * width).zip(y.chunks_exact_mut(width)) {
            let (gate, up) = x.split_at(width);
            for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                *y = gate / (1.0 + exp(-gate)) * up;
            }
        }
    }

    /// Shares of `scores` of which the first `count` are some: `exp` of each less the greatest, the others 0;
    /// their sum is written into `total`.
    pub(super) fn softmax(scores: &mut [Lanes], count: usize, total: &mut f32) {
        let (mut peak, full) = (Lanes([f32::NEG_INFINITY; LANES]), count / LANES);
        let some = |block: usize, lane: usize| block * LANES + lane < count;
        for (block, scores) in scores.iter_mut().enumerate().skip(full) {
            for lane in 0..LANES {
                scores[lane] = if some(block, lane) { scores[lane] } else { f32::NEG_INFINITY };
            }
        }
        for scores in &*scores {
            for lane in 0..LANES {
                peak[lane] = peak[lane].max(scores[lane]);
            }
        }
        let (peak, mut sums) = (peak.max(), Lanes::ZERO);
        for scores in scores.iter_mut() {
            for lane in 0..LANES {
                scores[lane] = exp(scores[lane] - peak);
                sums[lane] += scores[lane];
            }
        }
        *total = sums.sum();
    }
}

/// The sum of `of` over `x`, in lanes.
#[inline(always)]
fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = Lanes::ZERO;
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for lane in 0..LANES {
            sums[lane] += of(x[lane]);
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        sums[lane] += of(*x);
    }
    sums.sum()
}

/// `exp(x)` to 3e-7 of itself, 0 below -87 (Cephes, `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOW: f32 = -87.0;
    let clamped = x.clamp(LOW, 88.0);
    let rounded = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let power = rounded - ROUND;
    // ln 2 in two parts.
    let r = power.mul_add(-0.693_359_4, clamped);
    let r = power.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 5e-1);
    let p = p.mul_add(r * r, r) + 1.0;
    let scale = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < LOW { 0.0 } else { p * scale }
}

/// The error function to 5e-7: the formula of Abramowitz and Stegun 1964, 7.1.26, and roundings.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / 0.327_591_1f32.mul_add(x.abs(), 1.0);
    let p = 1.061_405_4f32;
    let p = p.mul_add(t, -1.453_152);
    let p = p.mul_add(t, 1.421_413_8);
    let p = p.mul_add(t, -0.284_496_72);
    let p = p.mul_add(t, 0.254_829_6);
    let y = 1.0 - p * t * exp(-x * x);
    y.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_those_of_the_library() {
        for i in -120_000..120_000 {
            let x = i as f32 / 1_000.0;
            let (ours, exact) = (exp(x.min(87.9)), f64::from(x.min(87.9)).exp());
            let error = (f64::from(ours) - exact).abs() / exact;
            assert!(
                error < 3e-7 || exact < 2e-38,
                "exp({x}): {ours}, not {exact}"
            );
            let (ours, exact) = (erf(x), libm::erf(f64::from(x)));
            assert!(
                (f64::from(ours) - exact).abs() < 5e-7,
                "erf({x}): {ours}, not {exact}"
            );
        }
    }
}
