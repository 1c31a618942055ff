//! `process` keeps the audio thread's promises while 200 notes sound: no heap call, no system call
//! (so no futex, no wait, no log). `benches/process.rs` measures the time that it takes.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

#[path = "realtime/allocations.rs"]
mod allocations;
#[path = "realtime/system_calls.rs"]
mod system_calls;

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::thread;

use famam_tests::host::{Block, Format};
use famam_tests::process_time::{FRAMES, SAMPLE_RATE, Struck, busy, load, open, sounding};
use famam_tests::song::Song;

#[test]
fn the_counters_count() {
    let counting = thread::spawn(|| {
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

        // A lock that nobody holds is not seen; that is what the types are for.
        system_calls::forget();
        drop(Mutex::new(()).lock());
        assert_eq!(system_calls::calls(), 0);
    });
    counting.join().expect("the thread ends");
}

/// Plays, stops, seeks, loops, changes its tempo and its clip; counts inside `process` alone.
fn count(format: Format) -> Result<(), Box<dyn Error>> {
    let (mut host, saved, clip) = open(format)?;
    let clips = [
        busy(&clip, Struck::InTurn),
        busy(&clip, Struck::Together),
        clip,
    ];
    let mut song = Song::new(SAMPLE_RATE, 120.0);
    let mut events = Vec::with_capacity(4096);
    let (mut on, mut most) = (0, 0);
    load(host.as_mut(), &saved, &clips[0])?;
    song.play(true);

    let before = allocations::calls();
    host.save()?;
    assert!(
        allocations::calls() > before,
        "the plugin's own heap calls are not seen"
    );
    system_calls::watch()?;
    system_calls::forget();

    for number in 0..20_000u32 {
        match number % 2000 {
            300 => song.set_tempo(97.3),
            500 => song.seek(17.25),
            700 => song.set_loop(Some((
                song.quarters().floor(),
                song.quarters().floor() + 1.5,
            ))),
            1400 => song.set_loop(None),
            1500 => song.play(false),
            1510 => song.play(true),
            1600 => load(host.as_mut(), &saved, &clips[number as usize / 2000 % 3])?,
            _ => (),
        }
        events.clear();
        let block = Block {
            frames: FRAMES,
            transport: song.advance(FRAMES),
            changes: Vec::new(),
        };
        let mut heap = 0;
        system_calls::forget();
        let mut system = 0;
        host.process_around(&block, &mut events, &mut |process| {
            system_calls::forget();
            let before = allocations::calls();
            process();
            heap = allocations::calls() - before;
            system = system_calls::calls();
        })?;
        assert_eq!(
            (heap, system),
            (0, 0),
            "block {number}: calls {:?}",
            system_calls::first()
        );
        on = sounding(on, &events);
        most = most.max(on);
    }
    assert!(most >= 200, "only {most} notes sounded");
    Ok(())
}

/// What is watched ends with its thread.
fn on_own_thread<T: Send + 'static>(
    test: impl FnOnce() -> Result<T, Box<dyn Error>> + Send + 'static,
) -> T {
    let run = move || test().map_err(|error| error.to_string());
    thread::spawn(run)
        .join()
        .expect("no panic")
        .expect("no error")
}

#[test]
fn process_makes_no_heap_call_and_no_system_call() {
    for format in Format::ALL {
        on_own_thread(move || count(format));
    }
}
