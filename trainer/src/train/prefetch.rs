//! What is made ahead on a thread of its own, so that no step waits for it.

use std::sync::mpsc::{Receiver, sync_channel};

/// How many are made before they are asked for.
const AHEAD: usize = 4;

/// Gives what `make` makes of `first`, `first + 1`, … .
pub(super) struct Prefetch<T> {
    made: Receiver<T>,
}

impl<T: Send> Prefetch<T> {
    /// Calls `work` while another thread makes what it takes.
    pub(super) fn during<R>(
        first: u64,
        make: impl Fn(u64) -> T + Send,
        work: impl FnOnce(&Self) -> R,
    ) -> R {
        let (send, made) = sync_channel(AHEAD);
        std::thread::scope(|scope| {
            // Ends once `made` is gone, which is so when `work` ended, even by a panic.
            scope.spawn(move || (first..).try_for_each(|number| send.send(make(number))));
            let prefetch = Self { made };
            work(&prefetch)
        })
    }

    /// The next one.
    pub(super) fn next(&self) -> T {
        self.made
            .recv()
            .expect("it makes until this is gone, or panics")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_comes_once_in_its_order_and_is_there_before_it_is_asked_for() {
        let made = AtomicU64::new(0);
        let make = |number| {
            made.store(number, Ordering::Relaxed);
            number * number
        };
        let taken = Prefetch::during(3, make, |squares| {
            let taken: Vec<u64> = (0..20).map(|_| squares.next()).collect();
            // It goes on alone, up to what it may have ahead (and one in its hands).
            let ahead = 22 + AHEAD as u64 + 1;
            let patience = 500;
            for _ in 0..patience {
                if made.load(Ordering::Relaxed) == ahead {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(made.load(Ordering::Relaxed), ahead);
            taken
        });
        let expected: Vec<u64> = (3..23).map(|number| number * number).collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn work_that_ends_early_or_panics_ends_it() {
        assert_eq!(Prefetch::during(0, |number| number, |_| 7), 7);
        let work = |_: &Prefetch<u64>| panic!("in a step");
        let panicked = std::panic::catch_unwind(|| Prefetch::during(0, |number| number, work));
        assert!(panicked.is_err());
    }
}
