//! Dropout: what training leaves out at random.
//!
//! On the processor masks are drawn here; on a GPU they are drawn there, by torch's generator, which is
//! begun anew for each by a number that is drawn here. So they are a function of the step in either case.

use famam_shared::encoding::PAD;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::seeded;

/// Dropout whose masks come from a generator of its own, so that a step is a function of its seed
/// whatever the number of threads (torch's generator is one for all of them).
#[derive(Clone)]
pub struct Dropout {
    rate: f64,
    recurrent: f64,
    adapters: f64,
    rng: ChaCha8Rng,
}

impl Dropout {
    /// Sets a share `rate` of elements to 0, drawn from `rng`.
    pub fn new(rate: f64, rng: ChaCha8Rng) -> Self {
        Self {
            rate,
            recurrent: 0.0,
            adapters: 0.0,
            rng,
        }
    }

    /// With another rate for what goes from one time to the next.
    pub fn with_recurrent(self, recurrent: f64) -> Self {
        Self { recurrent, ..self }
    }

    /// With another rate for what adapters of linear maps read.
    pub fn with_adapters(self, adapters: f64) -> Self {
        Self { adapters, ..self }
    }

    /// Keeps everything.
    pub fn none() -> Self {
        Self::new(0.0, rand::SeedableRng::seed_from_u64(0))
    }

    /// Puts PAD in the place of a share `rate` of the tokens `ids`.
    pub fn hide(&mut self, ids: &mut Tensor, rate: f64) {
        if rate > 0.0 {
            let hidden = self.kept(ids, rate).logical_not();
            let _ = ids.masked_fill_(&hidden, i64::from(PAD));
        }
    }

    pub(super) fn apply(&mut self, x: Tensor) -> Tensor {
        self.at(self.rate, x)
    }

    /// What an adapter reads of `x`.
    pub(super) fn adapter(&mut self, x: Tensor) -> Tensor {
        self.at(self.adapters, x)
    }

    fn at(&mut self, rate: f64, x: Tensor) -> Tensor {
        if rate == 0.0 {
            return x;
        }
        let kept = self.kept(&x, rate);
        x * kept * (1.0 / (1.0 - rate))
    }

    /// What hidden states like `h` are multiplied by at every time of their sequences, where the
    /// recurrent rate is not 0 (Gal and Ghahramani 2016, section 4: one mask a sequence).
    pub(super) fn recurrent(&mut self, h: &Tensor) -> Option<Tensor> {
        let rate = self.recurrent;
        (rate > 0.0).then(|| self.kept(h, rate).to_kind(h.kind()) * (1.0 / (1.0 - rate)))
    }

    /// True for all but a share `rate` of the elements of `x`.
    fn kept(&mut self, x: &Tensor, rate: f64) -> Tensor {
        if x.device() != Device::Cpu {
            return kept_by_torch(x, rate, self.rng.next_u64());
        }
        let mut drawn = vec![0i16; x.numel()];
        self.rng.fill(&mut drawn[..]);
        let lowest = f64::from(i16::MIN) + (rate * 65_536.0).round();
        Tensor::from_slice(&drawn).ge(lowest).view(&x.size()[..])
    }
}

/// The same, drawn where `x` is; a function of `seed`.
fn kept_by_torch(x: &Tensor, rate: f64, seed: u64) -> Tensor {
    let _alone = seeded(seed);
    Tensor::rand(x.size(), (Kind::Float, x.device())).ge(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_that_torch_draws_are_functions_of_their_seed_and_keep_their_share() {
        let x = Tensor::zeros([300, 400], (Kind::Float, Device::Cpu));
        let mask = kept_by_torch(&x, 0.3, 5);
        assert_eq!(mask.size(), x.size());
        assert_eq!(mask, kept_by_torch(&x, 0.3, 5));
        assert_ne!(mask, kept_by_torch(&x, 0.3, 6));
        let share = mask.to_kind(Kind::Double).mean(Kind::Double);
        assert!((share.double_value(&[]) - 0.7).abs() < 0.01);
    }
}
