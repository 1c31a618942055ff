//! How far two samples of distances have one distribution: overlap area and Kullback-Leibler divergence of
//! their densities.
//!
//! Source: Yang and Lerch, "On the evaluation of generative models in music", 2018, section 3.2.2, and its
//! published code. Each sample's density is estimated with a Gaussian kernel whose bandwidth is by Scott's rule:
//! the sample's standard deviation times n^(-1/5). Both are taken at 1,000 points from the least to the
//! greatest of all distances, and nothing is counted outside, as there. The area under the smaller of the two is
//! integrated by the trapezoidal rule over these points (there: adaptive quadrature); the divergence
//! is of what the densities are at them, each divided by its sum (there: each density at points of its
//! own, which pairs values that do not belong together).
//!
//! A sum over the kernels of every distance would take minutes for hundreds of pieces. The distances are
//! put on the points first, each shared by the two next to it in proportion (*linear binning*, Wand 1994),
//! which changes the density by less than a thousandth while a bandwidth is a few points wide.

use serde::Serialize;

/// Points at which densities are taken, as in the published code.
const POINTS: usize = 1000;

/// How far two distributions are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Overlap {
    /// The area under both densities, 0 to 1. A density loses what its kernels spread beyond the least
    /// and the greatest distance, so that even one distribution with itself stays a little below 1.
    pub area: f64,
    /// Kullback-Leibler divergence of the second density from the first, in nats, at least 0.
    pub divergence: f64,
}

impl Overlap {
    /// Of two samples of distances; `None` where those of one are all the same, or fewer than two: there is
    /// no density of them.
    pub fn of(first: &[f64], second: &[f64]) -> Option<Self> {
        let spread = |sample: &[f64]| sample.iter().any(|distance| *distance != sample[0]);
        if !spread(first) || !spread(second) {
            return None;
        }
        let all = || first.iter().chain(second).copied();
        let low = all().fold(f64::INFINITY, f64::min);
        let step = (all().fold(f64::NEG_INFINITY, f64::max) - low) / (POINTS - 1) as f64;
        let [p, q] = [first, second].map(|sample| density(sample, low, step));
        let lower: Vec<f64> = std::iter::zip(&p, &q).map(|(p, q)| p.min(*q)).collect();
        let ends = (lower[0] + lower[POINTS - 1]) / 2.0;
        let area = (lower.iter().sum::<f64>() - ends) * step;
        let sums = [&p, &q].map(|density| density.iter().sum::<f64>());
        let divergence = std::iter::zip(&p, &q).map(|(p, q)| {
            let (p, q) = (p / sums[0], q / sums[1]);
            // Far from all of its distances a density is smaller than any number.
            if p > 0.0 {
                p * (p / q.max(f64::MIN_POSITIVE)).ln()
            } else {
                0.0
            }
        });
        Some(Self {
            area,
            divergence: divergence.sum::<f64>().max(0.0),
        })
    }
}

/// The density of a sample at each point from `low` on, `step` apart.
fn density(sample: &[f64], low: f64, step: f64) -> Vec<f64> {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let squares: f64 = sample.iter().map(|x| (x - mean).powi(2)).sum();
    let scott = (squares / (n - 1.0)).sqrt() * n.powf(-0.2);
    // What is finer than the points cannot be seen at them.
    let bandwidth = scott.max(step);
    let mut weights = vec![0.0; POINTS + 1];
    for distance in sample {
        let at = ((distance - low) / step).max(0.0);
        let point = (at as usize).min(POINTS - 1);
        let beyond = at - point as f64;
        weights[point] += 1.0 - beyond;
        weights[point + 1] += beyond;
    }
    let scale = 1.0 / (n * bandwidth * (2.0 * std::f64::consts::PI).sqrt());
    let kernel: Vec<f64> = (0..POINTS)
        .map(|points| scale * (-0.5 * (points as f64 * step / bandwidth).powi(2)).exp())
        .collect();
    let mut density = vec![0.0; POINTS];
    for (point, weight) in weights.iter().take(POINTS).enumerate() {
        if *weight > 0.0 {
            for (i, value) in density.iter_mut().enumerate() {
                *value += weight * kernel[i.abs_diff(point)];
            }
        }
    }
    density
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The same with a kernel for every distance, at a hundred thousand points.
    fn exactly(first: &[f64], second: &[f64]) -> f64 {
        let all = || first.iter().chain(second).copied();
        let low = all().fold(f64::INFINITY, f64::min);
        let high = all().fold(f64::NEG_INFINITY, f64::max);
        let density = |sample: &[f64], x: f64| {
            let n = sample.len() as f64;
            let mean = sample.iter().sum::<f64>() / n;
            let variance = sample.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let h = variance.sqrt() * n.powf(-0.2);
            let kernels = sample.iter().map(|y| (-0.5 * ((x - y) / h).powi(2)).exp());
            kernels.sum::<f64>() / (n * h * (2.0 * std::f64::consts::PI).sqrt())
        };
        let points = 20_000;
        let step = (high - low) / f64::from(points);
        let middles = (0..points).map(|i| low + (f64::from(i) + 0.5) * step);
        middles
            .map(|x| density(first, x).min(density(second, x)) * step)
            .sum()
    }

    /// Two distances at -1 and 1: deviation √2, bandwidth √2 · 2^(-1/5) = 1.2311; between them lies
    /// Φ(2 / 1.2311) - Φ(0) = 0.44789 of each of the two kernels.
    #[test]
    fn two_distances_by_hand() {
        let overlap = Overlap::of(&[0.0, 2.0], &[0.0, 2.0]).unwrap();
        assert!((overlap.area - 0.44789).abs() < 1e-4, "{overlap:?}");
        assert!(overlap.divergence < 1e-12);
    }

    /// Densities over the same points that are e^(-x²/2) and e^(-(x-m)²/2) diverge by m²/2 nats where
    /// the points hold nearly all of them.
    #[test]
    fn shifted_normals_diverge_by_half_the_square_of_the_shift() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = |mean: f64| -> Vec<f64> {
            let mut uniform = || rng.random_range(0.0..1.0f64);
            let twelve = |uniform: &mut dyn FnMut() -> f64| (0..12).map(|_| uniform()).sum::<f64>();
            (0..20_000)
                .map(|_| mean + twelve(&mut uniform) - 6.0)
                .collect()
        };
        let (p, q) = (normal(0.0), normal(0.5));
        let overlap = Overlap::of(&p, &q).unwrap();
        assert!((overlap.divergence - 0.125).abs() < 0.02, "{overlap:?}");
        // Of two normals m apart: 2 Φ(-m/2).
        assert!((overlap.area - 0.8026).abs() < 0.02, "{overlap:?}");
    }

    #[test]
    fn binning_gives_what_a_kernel_for_every_distance_gives() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for n in [5, 40, 300] {
            for skew in [1.0, 2.0, 4.0] {
                let mut sample = |low: f64| -> Vec<f64> {
                    let draw = |_| low + rng.random_range(0.0..1.0f64).powf(skew);
                    (0..n).map(draw).collect()
                };
                let (a, b) = (sample(0.0), sample(0.3));
                let (binned, exact) = (Overlap::of(&a, &b).unwrap().area, exactly(&a, &b));
                assert!(
                    (binned - exact).abs() < 2e-3,
                    "{n} {skew}: {binned} {exact}"
                );
            }
        }
    }

    #[test]
    fn degenerate_samples_have_an_answer() {
        for (first, second) in [(&[3.0; 4], &[3.0, 2.0]), (&[0.0; 4], &[3.0, 3.0])] {
            assert_eq!(Overlap::of(first, second), None);
            assert_eq!(Overlap::of(second, first), None);
        }
        let apart = Overlap::of(&[0.0, 0.001], &[3.0, 3.001]).unwrap();
        assert!(apart.area < 1e-3 && apart.divergence > 100.0, "{apart:?}");
        assert!(apart.divergence.is_finite());
        assert_eq!(Overlap::of(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(Overlap::of(&[], &[1.0, 2.0]), None);
    }
}
