//! Work in parallel whose results are taken in order, with bounded memory between the two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Results that wait for their turn, in bytes; the next in order may always come in.
const SHELF_BYTES: usize = 32 << 20;

/// Where results wait for their turn.
struct Shelf<O> {
    state: Mutex<State<O>>,
    changed: Condvar,
}

struct State<O> {
    waiting: BTreeMap<usize, O>,
    bytes: usize,
    /// The result that is taken next.
    next: usize,
    /// No more results are taken, or none will come.
    stopped: bool,
}

impl<O> Shelf<O> {
    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<O>>) -> MutexGuard<'a, State<O>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, index: usize, result: O, bytes: usize) {
        let mut state = self.lock();
        while state.bytes >= SHELF_BYTES && state.next != index && !state.stopped {
            state = self.wait(state);
        }
        state.bytes += bytes;
        state.waiting.insert(index, result);
        self.changed.notify_all();
    }

    fn take(&self, index: usize, bytes: impl Fn(&O) -> usize) -> Option<O> {
        let mut state = self.lock();
        state.next = index;
        self.changed.notify_all();
        loop {
            if let Some(result) = state.waiting.remove(&index) {
                state.bytes -= bytes(&result);
                return Some(result);
            }
            if state.stopped {
                return None;
            }
            state = self.wait(state);
        }
    }
}

/// Lets the other side go on when this one stops early, by an error or a panic.
struct Stop<'a, O>(&'a Shelf<O>, bool);

impl<O> Drop for Stop<'_, O> {
    fn drop(&mut self) {
        if self.1 || std::thread::panicking() {
            self.0.lock().stopped = true;
            self.0.changed.notify_all();
        }
    }
}

/// Calls `work` on every item, on `threads` threads, and `take` on every result, on this thread
/// and in the order of the items. `bytes` says how much memory a result holds. The first error of
/// `take` ends it all.
pub fn map<I: Sync, O: Send, E>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> O + Sync,
    bytes: impl Fn(&O) -> usize + Sync,
    mut take: impl FnMut(usize, O) -> Result<(), E>,
) -> Result<(), E> {
    let state = State {
        waiting: BTreeMap::new(),
        bytes: 0,
        next: 0,
        stopped: false,
    };
    let shelf = Shelf {
        state: Mutex::new(state),
        changed: Condvar::new(),
    };
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let _stop = Stop(&shelf, false);
                loop {
                    let index = started.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    if shelf.lock().stopped {
                        break;
                    }
                    let result = work(item);
                    let size = bytes(&result);
                    shelf.put(index, result, size);
                }
            });
        }
        let _stop = Stop(&shelf, true);
        for index in 0..items.len() {
            // None: a worker panicked, and the scope passes that on.
            let Some(result) = shelf.take(index, &bytes) else {
                break;
            };
            take(index, result)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        let items: Vec<u64> = (0..2000).collect();
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let work = |&item: &u64| {
                // Unequal work, so that results come out of order.
                (0..item * 7919 % 400).for_each(|i| {
                    std::hint::black_box(i);
                });
                item
            };
            // Each result claims an eighth of the shelf.
            let done: Result<(), ()> = map(
                &items,
                threads,
                work,
                |_| SHELF_BYTES / 8,
                |i, item| {
                    seen.push((i as u64, item));
                    Ok(())
                },
            );
            assert_eq!(done, Ok(()));
            assert!(
                seen.iter()
                    .enumerate()
                    .all(|(i, &at)| at == (i as u64, i as u64))
            );
            assert_eq!(seen.len(), items.len());
        }
    }

    #[test]
    fn an_error_of_the_taker_ends_the_work() {
        let items: Vec<usize> = (0..100_000).collect();
        let worked = AtomicUsize::new(0);
        let work = |&item: &usize| {
            worked.fetch_add(1, Ordering::Relaxed);
            item
        };
        let full = |_: &usize| SHELF_BYTES / 4;
        let done = map(&items, 2, work, full, |_, item| {
            if item == 10 { Err("no more") } else { Ok(()) }
        });
        assert_eq!(done, Err("no more"));
        assert!(worked.load(Ordering::Relaxed) < 100);
    }

    #[test]
    fn a_panic_of_a_worker_is_passed_on() {
        let items: Vec<usize> = (0..100).collect();
        let outcome = std::panic::catch_unwind(|| {
            let work = |&item: &usize| if item == 50 { panic!("broken") } else { item };
            map(&items, 2, work, |_| 0, |_, _| Ok::<(), ()>(()))
        });
        assert!(outcome.is_err());
    }
}
