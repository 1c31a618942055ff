//! Who takes part in a run: one process, or the ranks of an MPI job.
//!
//! A run of N ranks with batches of B segments is the run of one process with batches of N·B
//! ([`Config::of_ranks`](crate::config::training::Config::of_ranks)): every rank draws all segments of
//! a step, works on its share, and gets the sum of all gradients. So all keep the same weights, and
//! nothing is sent but sums. The first rank leads: it alone writes and speaks.
//!
//! Without the feature `mpi` there is one process, and a job of several is refused.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tch::{Device, Tensor};

use super::rescue::Rescue;
use crate::batches::Segment;
use crate::parallel;

#[cfg(feature = "mpi")]
mod mpi;

/// Bytes of gradients that are sent at a time: sending overlaps with filling the next bucket.
const BUCKET: usize = 4 << 20;

/// Why ranks do not train together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Many processes of a program for one.
    #[error(
        "this famam-trainer was started as one of {0} processes, and is built without MPI: build it with \
         `cargo install --path trainer --features mpi`, or start it without mpirun or srun"
    )]
    NotBuilt(usize),
    /// MPI does not start.
    #[error("starting MPI: {0}")]
    Start(String),
    /// Another rank is gone.
    #[error(
        "the other ranks no longer answer ({0}): one of them has ended; its own words, or mpirun's, say why. \
         The last checkpoint is good: the same command goes on from it"
    )]
    Lost(String),
    /// The ranks would train different models.
    #[error(
        "the ranks do not begin alike: all must see the same data set, the same config and the same output \
         folder (on several machines: a folder that they share)"
    )]
    Apart,
}

/// All ranks of a job, seen from one of them.
trait World {
    /// This rank's number, from 0.
    fn rank(&self) -> usize;
    /// Ranks in all.
    fn size(&self) -> usize;
    /// This rank's number among those on the same machine.
    fn local_rank(&self) -> usize;
    /// Ranks on the same machine that may use the same cores as this one, itself included.
    fn sharing(&self) -> usize;
    /// Adds each tensor up over all ranks; they are contiguous, on the CPU, all ranks' of the same kinds
    /// (float or double) and lengths.
    fn sum(&self, flat: &mut dyn Iterator<Item = Tensor>) -> Result<Vec<Tensor>, Error>;
    /// Takes leave of the others, once they do the same.
    fn finish(self: Box<Self>);
}

/// Who takes part in a run.
pub struct Ranks {
    world: Option<Box<dyn World>>,
    rescue: Arc<Rescue>,
}

impl Ranks {
    /// One process.
    pub fn alone() -> Self {
        Self {
            world: None,
            rescue: Arc::default(),
        }
    }

    /// As many as mpirun or srun has started. They wait for one another only for a moment once `stop`
    /// is set.
    pub fn join(stop: Arc<AtomicBool>) -> Result<Self, Error> {
        let count = started();
        if count < 2 {
            return Ok(Self::alone());
        }
        #[cfg(feature = "mpi")]
        return Ok(Self {
            world: Some(Box::new(mpi::Job::join(stop)?)),
            ..Self::alone()
        });
        #[cfg(not(feature = "mpi"))]
        {
            drop(stop);
            Err(Error::NotBuilt(count))
        }
    }

    /// This rank's number, from 0.
    pub fn rank(&self) -> usize {
        self.world.as_ref().map_or(0, |world| world.rank())
    }

    /// Ranks in all.
    pub fn count(&self) -> usize {
        self.world.as_ref().map_or(1, |world| world.size())
    }

    /// This rank's number among those on the same machine: the number of its GPU.
    pub fn local_rank(&self) -> usize {
        self.world.as_ref().map_or(0, |world| world.local_rank())
    }

    /// Whether this rank writes and speaks.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's part of the machine's cores.
    pub fn cores(&self) -> usize {
        let sharing = self.world.as_ref().map_or(1, |world| world.sharing());
        (parallel::cores() / sharing).max(1)
    }

    /// What is saved when this process is told to end by a signal.
    pub(super) fn rescue(&self) -> &Arc<Rescue> {
        &self.rescue
    }

    /// Each rank's part of the segments of a step: neighbours, of about as many tokens.
    pub(super) fn shares<'s>(&self, segments: &'s [Segment]) -> Vec<&'s [Segment]> {
        let all: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
        let (mut begin, mut before) = (0, 0);
        let shares = (1..=self.count()).map(|ranks| {
            let share = &segments[begin..];
            // A segment is the rank's in whose part its middle lies.
            let length = share.iter().take_while(|segment| {
                let middle = 2 * before + segment.tokens.len();
                let mine = middle * self.count() <= 2 * all * ranks;
                before += if mine { segment.tokens.len() } else { 0 };
                mine
            });
            let length = length.count();
            begin += length;
            &share[..length]
        });
        shares.collect()
    }

    /// Sums of numbers over all ranks.
    pub(super) fn sum(&self, numbers: &[f64]) -> Result<Vec<f64>, Error> {
        let Some(world) = &self.world else {
            return Ok(numbers.to_vec());
        };
        let sums = world.sum(&mut std::iter::once(Tensor::from_slice(numbers)))?;
        let sums = sums.into_iter().map(Vec::try_from);
        let sums: Result<Vec<Vec<f64>>, _> = sums.collect();
        let sums = sums.map_err(|error| Error::Lost(error.to_string()))?;
        Ok(sums.concat())
    }

    /// Whether it is so on any rank.
    pub(super) fn any(&self, so: bool) -> Result<bool, Error> {
        Ok(self.sum(&[f64::from(so)])?.iter().any(|&sum| sum > 0.0))
    }

    /// Sees to it that `text` is the same on all ranks.
    pub(super) fn agree(&self, text: &str) -> Result<(), Error> {
        let hash = f64::from(crc32c::crc32c(text.as_bytes()));
        match self.sum(&[hash])?[..] == [hash * self.count() as f64] {
            true => Ok(()),
            false => Err(Error::Apart),
        }
    }

    /// Adds gradients (32-bit floats, on one device) up over all ranks.
    pub(super) fn sum_gradients(&self, gradients: &mut [Tensor]) -> Result<(), Error> {
        let Some(world) = &self.world else {
            return Ok(());
        };
        let full = |bucket: &[Tensor]| {
            let numbers: usize = bucket.iter().map(Tensor::numel).sum();
            numbers * size_of::<f32>() >= BUCKET
        };
        let mut buckets: Vec<&mut [Tensor]> = Vec::new();
        let mut rest = gradients;
        while !rest.is_empty() {
            let length = (1..rest.len()).find(|&length| full(&rest[..length]));
            let (bucket, after) = rest.split_at_mut(length.unwrap_or(rest.len()));
            buckets.push(bucket);
            rest = after;
        }
        let mut flat = buckets.iter().map(|bucket| {
            let flat: Vec<Tensor> = bucket.iter().map(|part| part.reshape([-1])).collect();
            Tensor::cat(&flat, 0).to_device(Device::Cpu)
        });
        let sums = world.sum(&mut flat)?;
        for (bucket, sum) in std::iter::zip(buckets, sums) {
            let lengths: Vec<i64> = bucket.iter().map(|part| part.numel() as i64).collect();
            let sum = sum.to_device(bucket[0].device());
            let parts = sum.split_with_sizes(lengths, 0);
            for (gradient, part) in std::iter::zip(bucket, parts) {
                *gradient = part.view_as(gradient);
            }
        }
        Ok(())
    }

    /// Ends the job well, once all ranks do. Where this is not called, because of an error, the
    /// launcher ends the others.
    pub fn finish(self) {
        if let Some(world) = self.world {
            world.finish();
        }
    }
}

/// Processes that were started together with this one, as launchers say: Open MPI's mpirun, those of
/// MPICH and its kin, Slurm's srun.
fn started() -> usize {
    let count = |name: &str| std::env::var(name).ok()?.parse().ok();
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]
        .into_iter()
        .find_map(count)
        .unwrap_or(1)
}
