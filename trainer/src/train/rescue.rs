//! Saving at once, from another thread, where a process is told to end and may not live to the end of
//! its step: mpirun gives the ranks that are left when one has died one second.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use tch::Tensor;

use crate::checkpoint::{self, State};

/// The run as it was after its last step.
#[derive(Default)]
pub struct Rescue(Mutex<Option<Kept>>);

/// What is saved, and where.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) state: State,
    /// The very weights and moments with which training goes on.
    pub(super) tensors: Vec<(String, Tensor)>,
}

impl Rescue {
    /// The run, which is not saved as long as this is held: while weights change, and the state that
    /// belongs to them has not been put down.
    pub(super) fn hold(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    /// Saves the run where there is one; the step after which it stands.
    pub(super) fn save(&self) -> Result<Option<u64>, checkpoint::Error> {
        let kept = self.hold();
        let Some(run) = &*kept else {
            return Ok(None);
        };
        checkpoint::write(&run.path, &run.state, &run.tensors)?;
        Ok(Some(run.state.progress.step))
    }
}
