//! Generated pieces against real ones, figure by figure.
//!
//! Source: Yang and Lerch, "On the evaluation of generative models in music", 2018, section 3.2. Of a figure
//! the *intra-set* distances are those between all pieces of a set, each against all others; the *inter-set*
//! distances those of every piece of one set to every piece of another, Euclidean. Where generated pieces are as
//! real ones, the distances between the sets are distributed as those among the real pieces: their
//! [`Overlap`]. How near real music comes to that is said by its random halves, in place of the two
//! sets.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::density::Overlap;
use super::figures::Figure;

/// Random halvings of the real pieces.
pub const SPLITS: u64 = 20;

/// One figure of both sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The figure's name.
    pub name: &'static str,
    /// Of the real pieces.
    pub real: Set,
    /// Of the generated ones.
    pub generated: Set,
    /// Inter-set distances (generated, real) against intra-set distances of the real pieces.
    pub overlap: Option<Overlap>,
    /// The same between random halves of the real pieces, mean of [`SPLITS`].
    pub halves: Option<Overlap>,
    /// Overlap area over that of the halves.
    pub ratio: Option<f64>,
}

/// A figure in a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Set {
    /// Pieces that have it.
    pub pieces: usize,
    /// Their mean; none of a histogram or matrix.
    pub mean: Option<f64>,
    /// Standard deviation among them.
    pub deviation: Option<f64>,
}

impl Set {
    fn of(figure: &Figure, points: &[Vec<f64>]) -> Self {
        let numbers = points.iter().filter(|_| figure.is_number());
        let numbers: Vec<f64> = numbers.flatten().copied().collect();
        let n = numbers.len() as f64;
        let mean = (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / n);
        Self {
            pieces: points.len(),
            mean,
            deviation: mean.map(|mean| {
                let squares = numbers.iter().map(|x| (x - mean).powi(2));
                (squares.sum::<f64>() / n).sqrt()
            }),
        }
    }
}

impl Comparison {
    /// Compares `generated` with `real`: points of the figure, one for each piece that has it.
    pub fn new(figure: &Figure, real: &[Vec<f64>], generated: &[Vec<f64>]) -> Self {
        let among: Vec<Vec<f64>> = distances(real, real);
        let between: Vec<Vec<f64>> = distances(generated, real);
        let everything: Vec<usize> = (0..real.len()).collect();
        let overlap = Overlap::of(&intra(&among, &everything), &between.concat());
        let mut order = everything;
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let halves: Vec<Overlap> = (0..SPLITS)
            .filter_map(|_| {
                order.shuffle(&mut rng);
                let (ours, theirs) = order.split_at(order.len() / 2);
                let inter: Vec<f64> = ours
                    .iter()
                    .flat_map(|&i| theirs.iter().map(move |&j| (i, j)))
                    .map(|(i, j)| among[i][j])
                    .collect();
                Overlap::of(&intra(&among, theirs), &inter)
            })
            .collect();
        let mean = |of: fn(&Overlap) -> f64| {
            halves.iter().map(of).sum::<f64>() / halves.len().max(1) as f64
        };
        let halves = (!halves.is_empty()).then(|| Overlap {
            area: mean(|half| half.area),
            divergence: mean(|half| half.divergence),
        });
        let ratio = overlap.zip(halves);
        Self {
            name: figure.name,
            real: Set::of(figure, real),
            generated: Set::of(figure, generated),
            overlap,
            halves,
            ratio: ratio.map(|(overlap, halves)| overlap.area / halves.area),
        }
    }
}

/// The distance of each of `from` to each of `to`.
fn distances(from: &[Vec<f64>], to: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let distance = |a: &[f64], b: &[f64]| {
        let squares = std::iter::zip(a, b).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let row = |a: &Vec<f64>| to.iter().map(|b| distance(a, b)).collect();
    from.iter().map(row).collect()
}

/// The distances of each of `set` to all others of it: each piece is left out once, so that every
/// pair comes twice.
fn intra(among: &[Vec<f64>], set: &[usize]) -> Vec<f64> {
    let pairs = set
        .iter()
        .flat_map(|&i| set.iter().map(move |&j| (i, j)))
        .filter(|(i, j)| i != j);
    pairs.map(|(i, j)| among[i][j]).collect()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::figures::FIGURES;
    use super::*;

    fn points(n: usize, seed: u64, shift: f64) -> Vec<Vec<f64>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|_| vec![shift + rng.random_range(0.0..1.0) + rng.random_range(0.0..1.0)])
            .collect()
    }

    /// Three pieces at 0, 1 and 3 are 1, 3 and 2 apart, each counted from both sides; from 10 they are
    /// 10, 9 and 7 away.
    #[test]
    fn distances_by_hand() {
        let real = [vec![0.0], vec![1.0], vec![3.0]];
        let among = distances(&real, &real);
        let mut inside = intra(&among, &[0, 1, 2]);
        inside.sort_by(f64::total_cmp);
        assert_eq!(inside, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(intra(&among, &[0, 2]), [3.0, 3.0]);
        assert_eq!(distances(&[vec![10.0]], &real).concat(), [10.0, 9.0, 7.0]);
        let plane = distances(&[vec![0.0, 0.0]], &[vec![3.0, 4.0]]);
        assert_eq!(plane, [[5.0]]);
        let comparison = Comparison::new(&FIGURES[0], &real, &[vec![10.0]]);
        let expected = Overlap::of(&inside, &[10.0, 9.0, 7.0]);
        assert_eq!(comparison.overlap, expected);
        assert_eq!(comparison.real.mean, Some(4.0 / 3.0));
        assert_eq!(comparison.generated.mean, Some(10.0));
    }

    #[test]
    fn like_music_reaches_its_halves_and_other_music_does_not() {
        let begun = std::time::Instant::now();
        let real = points(300, 1, 0.0);
        let alike = Comparison::new(&FIGURES[0], &real, &points(300, 2, 0.0));
        assert!(alike.ratio.unwrap() > 0.95, "{alike:?}");
        assert!(alike.halves.unwrap().area > 0.9, "{alike:?}");
        let mut last = f64::INFINITY;
        for shift in [0.3, 0.6, 1.2, 2.4] {
            let ratio = Comparison::new(&FIGURES[0], &real, &points(300, 2, shift)).ratio;
            assert!(ratio.unwrap() < last, "{shift}");
            last = ratio.unwrap();
        }
        assert!(last < 0.35, "{last}");
        assert!(begun.elapsed().as_secs() < 20);
    }

    #[test]
    fn few_pieces_have_no_comparison_and_no_panic() {
        for (real, generated) in [(0, 0), (1, 1), (2, 1), (3, 0), (4, 2), (5, 1), (9, 4)] {
            let comparison = Comparison::new(
                &FIGURES[0],
                &points(real, 1, 0.0),
                &points(generated, 2, 0.0),
            );
            // Of two pieces there is one distance, of three there are three.
            assert_eq!(comparison.halves.is_some(), real >= 5, "{real}");
            assert_eq!(comparison.overlap.is_some(), real >= 3 && generated > 0);
        }
    }
}
