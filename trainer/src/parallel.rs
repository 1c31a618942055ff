//! Work dealt out to threads that each own what they work with.

use std::sync::Mutex;

/// Runs `job` on each item of `work`, on a thread for each worker; the results in the order of the
/// work. On these threads torch computes on one thread. Where one panics, so does this, with the same
/// words.
pub fn each<W: Send, I: Send, O: Send>(
    workers: &mut [W],
    work: Vec<I>,
    job: impl Fn(&mut W, I) -> O + Sync,
) -> Vec<O> {
    let mut results: Vec<Option<O>> = Vec::new();
    results.resize_with(work.len(), || None);
    let queue = Mutex::new(work.into_iter().zip(&mut results));
    let next = || {
        queue
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .next()
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in workers {
            let (next, job) = (&next, &job);
            threads.push(scope.spawn(move || {
                tch::set_num_threads(1);
                while let Some((item, result)) = next() {
                    *result = Some(job(worker, item));
                }
            }));
        }
        for thread in threads {
            if let Err(why) = thread.join() {
                std::panic::resume_unwind(why);
            }
        }
    });
    drop(queue);
    results.into_iter().flatten().collect()
}

/// All cores of the machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
