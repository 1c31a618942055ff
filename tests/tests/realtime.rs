//! `process` keeps the audio thread's promises: no heap call and no system call (so no futex, no
//! wait, no log), in little time.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

#[path = "realtime/allocations.rs"]
mod allocations;
#[path = "realtime/system_calls.rs"]
mod system_calls;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

#[test]
fn the_counters_count() {
    thread::spawn(|| {
        let before = allocations::calls();
        drop(std::hint::black_box(Box::new(1)));
        assert_eq!(allocations::calls() - before, 2);

        system_calls::watch().expect("seccomp");
        system_calls::forget();
        let word = AtomicU32::new(0);
        // SAFETY: wakes nobody.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
        assert_eq!(
            (system_calls::calls(), system_calls::first()),
            (1, vec![libc::SYS_futex])
        );

        // A lock that nobody holds makes no call; one that is waited for does.
        system_calls::forget();
        let lock = Mutex::new(());
        drop(lock.lock());
        assert_eq!(system_calls::calls(), 0);
        word.store(1, Ordering::Relaxed);
    })
    .join()
    .expect("the thread ends");
}
