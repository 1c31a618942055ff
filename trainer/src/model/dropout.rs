//! Dropout: what training leaves out at random.

use famam_shared::encoding::PAD;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

/// Dropout whose masks come from a generator of its own, so that a step is a function of its seed
/// whatever the number of threads (torch's generator is one for all of them).
pub struct Dropout {
    rate: f64,
    recurrent: f64,
    rng: ChaCha8Rng,
}

impl Dropout {
    /// Sets a share `rate` of elements to 0, drawn from `rng`.
    pub fn new(rate: f64, rng: ChaCha8Rng) -> Self {
        let recurrent = 0.0;
        Self {
            rate,
            recurrent,
            rng,
        }
    }

    /// With another rate for what goes from one time to the next.
    pub fn with_recurrent(self, recurrent: f64) -> Self {
        Self { recurrent, ..self }
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
        if self.rate == 0.0 {
            return x;
        }
        let kept = self.kept(&x, self.rate);
        x * kept * (1.0 / (1.0 - self.rate))
    }

    /// What hidden states like `h` are multiplied by at every time of their sequences, where the
    /// recurrent rate is not 0 (Gal and Ghahramani 2016, section 4: one mask a sequence).
    pub(super) fn recurrent(&mut self, h: &Tensor) -> Option<Tensor> {
        let rate = self.recurrent;
        (rate > 0.0).then(|| self.kept(h, rate).to_kind(h.kind()) * (1.0 / (1.0 - rate)))
    }

    /// True for all but a share `rate` of the elements of `x`.
    fn kept(&mut self, x: &Tensor, rate: f64) -> Tensor {
        let mut drawn = vec![0i16; x.numel()];
        self.rng.fill(&mut drawn[..]);
        let lowest = f64::from(i16::MIN) + (rate * 65_536.0).round();
        Tensor::from_slice(&drawn)
            .ge(lowest)
            .view(&x.size()[..])
            .to_device(x.device())
    }
}
