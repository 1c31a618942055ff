//! The ranks of an MPI job.
//!
//! Nothing here waits without an end: a rank that is gone would never answer. Sums are asked about until
//! they are there; the others are given up after [`PATIENCE`], or after [`GRACE`] once this rank was
//! told to stop, as launchers tell those that are left when a rank has died.

use std::ffi::c_int;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::collective::CommunicatorCollectives;
use mpi::environment::Universe;
use mpi::ffi;
use mpi::topology::Communicator;
use tch::{Kind, Tensor};

use super::{Error, World};

/// Longer than a rank may need to write a checkpoint and samples, for which the others wait.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longer than ranks are apart within one step, mostly.
const GRACE: Duration = Duration::from_secs(10);

/// A job, seen from one of its ranks.
pub(super) struct Job {
    /// Left as it is where a rank is lost: to take leave is to wait for all.
    universe: ManuallyDrop<Universe>,
    rank: usize,
    size: usize,
    local_rank: usize,
    sharing: usize,
    stop: Arc<AtomicBool>,
}

impl Job {
    /// Starts MPI and meets the others.
    pub(super) fn join(stop: Arc<AtomicBool>) -> Result<Self, Error> {
        // One thread of a rank speaks to the others, all compute.
        let (universe, threading) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| Error::Start("it has been started before".to_owned()))?;
        let universe = ManuallyDrop::new(universe);
        if threading < Threading::Funneled {
            return Err(Error::Start(
                "this MPI library allows no threads: take one that does".to_owned(),
            ));
        }
        // SAFETY: MPI is initialized, and both handles are the library's own.
        unsafe { ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_WORLD, ffi::RSMPI_ERRORS_RETURN) };
        let world = universe.world();
        let machine = world.split_shared(world.rank());
        let own = allowed_cores();
        let mut all = vec![0; machine.size() as usize];
        machine.all_gather_into(&own, &mut all[..]);
        Ok(Self {
            rank: world.rank() as usize,
            size: world.size() as usize,
            local_rank: machine.rank() as usize,
            sharing: all.iter().filter(|&&other| other == own).count(),
            universe,
            stop,
        })
    }

    /// Waits until `sum` is there.
    fn wait(&self, sum: &mut Sum) -> Result<(), Error> {
        let begin = Instant::now();
        let mut told = None;
        while !sum.is_there()? {
            if begin.elapsed() > PATIENCE {
                let minutes = PATIENCE.as_secs() / 60;
                return Err(Error::Lost(format!("for {minutes} minutes")));
            }
            if self.stop.load(Ordering::Relaxed)
                && told.get_or_insert_with(Instant::now).elapsed() > GRACE
            {
                return Err(Error::Lost("after this rank was told to stop".to_owned()));
            }
            // Where ranks share a core, the other one needs it to get here.
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl World for Job {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn sharing(&self) -> usize {
        self.sharing
    }

    fn sum(&self, flat: &mut dyn Iterator<Item = Tensor>) -> Result<Vec<Tensor>, Error> {
        let mut sums: Vec<Sum> = flat.map(Sum::begin).collect::<Result<_, _>>()?;
        sums.iter_mut().try_for_each(|sum| self.wait(sum))?;
        Ok(sums.iter().map(|sum| sum.whole.shallow_clone()).collect())
    }

    fn finish(self: Box<Self>) {
        drop(ManuallyDrop::into_inner(self.universe));
    }
}

/// A sum that is under way.
struct Sum {
    part: ManuallyDrop<Tensor>,
    whole: ManuallyDrop<Tensor>,
    /// What MPI knows it by; null once it is there.
    request: ffi::MPI_Request,
    is_there: bool,
}

impl Sum {
    /// Begins to add `part` up over all ranks.
    fn begin(part: Tensor) -> Result<Self, Error> {
        let whole = part.empty_like();
        // SAFETY: all are handles that the library defines.
        let (kind, sum, world, request) = unsafe {
            let kind = match part.kind() {
                Kind::Double => ffi::RSMPI_DOUBLE,
                _ => ffi::RSMPI_FLOAT,
            };
            let request = ffi::RSMPI_REQUEST_NULL;
            (kind, ffi::RSMPI_SUM, ffi::RSMPI_COMM_WORLD, request)
        };
        let mut sum_of = Self {
            part: ManuallyDrop::new(part),
            whole: ManuallyDrop::new(whole),
            request,
            is_there: false,
        };
        let count = c_int::try_from(sum_of.part.numel())
            .map_err(|_| Error::Start("more than 2^31 numbers in one sum".to_owned()))?;
        // SAFETY: both tensors are contiguous, of `count` numbers of the kind `kind`, and, like the
        // request's place in MPI, stay until the sum is there: `drop` leaves them be before.
        let code = unsafe {
            ffi::MPI_Iallreduce(
                sum_of.part.data_ptr(),
                sum_of.whole.data_ptr(),
                count,
                kind,
                sum,
                world,
                &mut sum_of.request,
            )
        };
        checked(code)?;
        Ok(sum_of)
    }

    /// Lets MPI go on; whether it has done all.
    fn is_there(&mut self) -> Result<bool, Error> {
        let mut done = 0;
        // SAFETY: the request is the one that MPI gave, or null; the status is not asked for.
        let code = unsafe { ffi::MPI_Test(&mut self.request, &mut done, ffi::RSMPI_STATUS_IGNORE) };
        checked(code)?;
        self.is_there = done != 0;
        Ok(self.is_there)
    }
}

impl Drop for Sum {
    fn drop(&mut self) {
        // MPI may still write where a sum was given up.
        if self.is_there {
            // SAFETY: dropped once, here, and not used any more.
            unsafe {
                ManuallyDrop::drop(&mut self.part);
                ManuallyDrop::drop(&mut self.whole);
            }
        }
    }
}

fn checked(code: c_int) -> Result<(), Error> {
    match code as u32 {
        ffi::MPI_SUCCESS => Ok(()),
        code => Err(Error::Lost(format!("MPI error {code}"))),
    }
}

/// Stands for the cores that this process may use, as launchers bind ranks to cores or leave them all to
/// each. Where the system does not say: all.
fn allowed_cores() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}
