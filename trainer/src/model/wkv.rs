//! WKV, RWKV's time mixing (Peng et al. 2023, equation 16), for all tokens of a ragged batch at once.
//!
//! Its two sums over what came before are a scan: sums over neighbouring spans of time are added, the earlier
//! one faded by the length of the later. Spans are paired, the sums up to every second token come from the scan
//! of the pairs, and those between from one addition more (Blelloch 1990, *Prefix sums and their applications*):
//! about two additions a token, in 2 log2(tokens) operations on whole tensors, where a loop over the tokens has one
//! for each.

use tch::Tensor;

/// The sums of some spans of time, one for each row.
struct Sums {
    /// `Σ e^(k[i] - fading) v[i]` and `Σ e^(k[i] - fading)`, both over `e^exponent`, `[spans, channels]`.
    numerator: Tensor,
    denominator: Tensor,
    /// The greatest exponent in them, so that nothing overflows, `[spans, channels]`. No gradient goes through
    /// it, as what it divides cancels.
    exponent: Tensor,
    /// Whether a sequence begins in the span, `[spans, 1]`: what is before does not reach beyond it.
    begins: Tensor,
}

impl Sums {
    fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            numerator: change(&self.numerator),
            denominator: change(&self.denominator),
            exponent: change(&self.exponent),
            begins: change(&self.begins),
        }
    }

    fn zip(&self, other: &Self, join: impl Fn(&Tensor, &Tensor) -> Tensor) -> Self {
        Self {
            numerator: join(&self.numerator, &other.numerator),
            denominator: join(&self.denominator, &other.denominator),
            exponent: join(&self.exponent, &other.exponent),
            begins: join(&self.begins, &other.begins),
        }
    }

    fn rows(&self, begin: i64, count: i64) -> Self {
        self.map(|part| part.narrow(0, begin, count))
    }

    /// The sums of spans that end with those of `later`, `fading` being what time takes from an exponent of `self`
    /// meanwhile, `[channels]`.
    fn then(&self, later: &Self, fading: &Tensor) -> Self {
        let unreached = |exponent: Tensor| exponent.masked_fill(&later.begins, f64::NEG_INFINITY);
        let exponent = unreached(&self.exponent - fading.detach()).maximum(&later.exponent);
        let old = unreached(&self.exponent - fading - &exponent).exp();
        let new = (&later.exponent - &exponent).exp();
        Self {
            numerator: &self.numerator * &old + &later.numerator * &new,
            denominator: &self.denominator * &old + &later.denominator * &new,
            exponent,
            begins: self.begins.logical_or(&later.begins),
        }
    }

    /// The sums from each sequence's begin to the end of each span; `decay` is that of a span.
    fn scan(self, decay: &Tensor) -> Self {
        let spans = self.exponent.size()[0];
        let pairs = spans / 2;
        if pairs == 0 {
            return self;
        }
        let every_second = |from| self.map(|part| part.slice(0, from, None, 2));
        let (even, odd) = (every_second(0), every_second(1));
        let odd = even.rows(0, pairs).then(&odd, decay).scan(&(decay * 2.0));
        let between = spans - pairs - 1;
        let later = odd.rows(0, between).then(&even.rows(1, between), decay);
        let even = even
            .rows(0, 1)
            .zip(&later, |first, later| Tensor::cat(&[first, later], 0));
        let paired = even.rows(0, pairs).zip(&odd, |even, odd| {
            Tensor::stack(&[even, odd], 1).flatten(0, 1)
        });
        if spans == 2 * pairs {
            return paired;
        }
        paired.zip(&even.rows(pairs, 1), |paired, last| {
            Tensor::cat(&[paired, last], 0)
        })
    }
}

/// WKV `[tokens, channels]` of keys `k` and values `v` of that shape, with the `decay` (above 0) and the `bonus`
/// of each channel; `first` `[tokens, 1]` says which tokens begin a sequence.
pub(super) fn wkv(
    k: &Tensor,
    v: &Tensor,
    decay: &Tensor,
    bonus: &Tensor,
    first: &Tensor,
) -> Tensor {
    // 1 with the gradient of e^k.
    let exponent = k.detach();
    let denominator = (k - &exponent).exp();
    let sums = Sums {
        numerator: &denominator * v,
        denominator,
        exponent,
        begins: first.shallow_clone(),
    };
    let before = sums.scan(decay).map(|part| part.roll([1], [0]));
    let past = before.exponent.masked_fill(first, f64::NEG_INFINITY);
    let now = k + bonus;
    let exponent = past.maximum(&now.detach());
    let (old, new) = ((past - &exponent).exp(), (now - exponent).exp());
    let numerator = before.numerator * &old + &new * v;
    numerator / (before.denominator * &old + &new)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::seeded;
    use super::*;

    /// Equation 16 as it stands, one sequence and one token after another.
    fn plain(k: &Tensor, v: &Tensor, decay: &Tensor, bonus: &Tensor, lengths: &[i64]) -> Tensor {
        let mut rows = Vec::new();
        let mut begin = 0;
        for length in lengths {
            let mut above = Tensor::zeros_like(decay);
            let mut below = above.shallow_clone();
            for t in begin..begin + length {
                let (k, v) = (k.get(t), v.get(t));
                let now = (&k + bonus).exp();
                rows.push((&above + &now * &v) / (&below + now));
                above = above * (-decay).exp() + k.exp() * v;
                below = below * (-decay).exp() + k.exp();
            }
            begin += length;
        }
        Tensor::stack(&rows, 0)
    }

    fn first(lengths: &[i64]) -> Tensor {
        let first: Vec<bool> = lengths
            .iter()
            .flat_map(|&length| (0..length).map(|time| time == 0))
            .collect();
        Tensor::from_slice(&first).unsqueeze(1)
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// Values and all gradients, over lengths that pair evenly and not, and decays from none to at once.
    #[test]
    fn a_scan_is_the_plain_recurrence() {
        let _alone = seeded(1);
        let options = (Kind::Double, Device::Cpu);
        for lengths in [
            &[1][..],
            &[2],
            &[3],
            &[512],
            &[1, 1, 7],
            &[5, 64, 1, 33, 2, 100],
        ] {
            let tokens = lengths.iter().sum::<i64>();
            let weight = |shape: &[i64], by: f64| {
                (Tensor::randn(shape, options) * by).set_requires_grad(true)
            };
            let (k, v) = (weight(&[tokens, 6], 4.0), weight(&[tokens, 6], 1.0));
            let bonus = weight(&[6], 2.0);
            let decay = Tensor::from_slice(&[1e-4, 1e-2, 0.3, 1.0, 8.0, 40.0]);
            let decay = decay.set_requires_grad(true);
            let inputs = [&k, &v, &decay, &bonus];
            let direction = Tensor::randn([tokens, 6], options);
            let gradients = |y: &Tensor| {
                // A decay that nothing fades by has a gradient, too.
                let loss = (y * &direction).sum(None) + decay.sum(None) * 0.0;
                Tensor::run_backward(&[loss], &inputs, true, false)
            };
            let expected = plain(&k, &v, &decay, &bonus, lengths);
            let found = wkv(&k, &v, &decay, &bonus, &first(lengths));
            assert!(difference(&expected, &found) < 1e-9, "{lengths:?}");
            let pairs = std::iter::zip(gradients(&expected), gradients(&found));
            for (i, (expected, found)) in pairs.enumerate() {
                let worst = difference(&expected, &found);
                assert!(worst < 1e-8, "{lengths:?}, gradient {i}: {worst:e}");
            }
        }
    }

    /// In 32 bits, where the terms of the plain sums are infinite or 0.
    #[test]
    fn nothing_overflows() {
        let _alone = seeded(2);
        let lengths = [300, 212];
        let k = Tensor::randn([512, 4], (Kind::Float, Device::Cpu)) * 200.0;
        let v = Tensor::randn([512, 4], (Kind::Float, Device::Cpu));
        let decay = Tensor::from_slice(&[1e-6f32, 0.1, 3.0, 150.0]);
        let k = k.set_requires_grad(true);
        let bonus = Tensor::from_slice(&[-90f32, 0.0, 5.0, 90.0]);
        let y = wkv(&k, &v, &decay, &bonus, &first(&lengths));
        let least = v.abs().max().double_value(&[]);
        assert!(y.abs().max().double_value(&[]) <= least * 1.001);
        let gradient = &Tensor::run_backward(&[y.sum(None)], &[&k], false, false)[0];
        assert_eq!(i64::try_from(gradient.isfinite().all()).unwrap(), 1);
    }
}
