//! `process` keeps the audio thread's promises while 200 notes sound: no heap call, no system call
//! (so no futex, no wait, no log), and little time.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

#[path = "realtime/allocations.rs"]
mod allocations;
#[path = "realtime/system_calls.rs"]
mod system_calls;

use std::error::Error;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use famam_tests::built;
use famam_tests::host::{Block, Event, EventKind, Format, Host};
use famam_tests::song::Song;
use famam_tests::state::{self, SavedClip};

const SAMPLE_RATE: f64 = 48_000.0;
const FRAMES: u32 = 64;
/// Instruments, the drum kit among them, and the keys of each.
const INSTRUMENTS: u8 = 16;
const KEYS: u8 = 13;
/// Half a beat in ticks: how often each of the keys is struck.
const PERIOD: u32 = 480;

/// A bar in which 208 notes sound nearly always; `staggered` strikes them one after another, the
/// other way all at once.
fn busy(like: &SavedClip, staggered: bool) -> SavedClip {
    let voices = (0..INSTRUMENTS).flat_map(|part| (0..KEYS).map(move |key| (part, key)));
    let notes = voices.enumerate().flat_map(|(voice, (part, key))| {
        let first = if staggered {
            voice as u32 * 7 % PERIOD
        } else {
            0
        };
        (0..4 * 960 / PERIOD)
            .map(move |strike| (first + strike * PERIOD, PERIOD - 5, part, 40 + key, 100))
    });
    let mut notes: Vec<_> = notes.collect();
    notes.sort_unstable();
    let instruments = (0..INSTRUMENTS - 1).chain([128]).collect();
    SavedClip {
        bars: 1,
        metre: (4, 4),
        instruments,
        notes,
        ..like.clone()
    }
}

/// An instance that plays live, its state, and the clip in it.
type Opened = (Box<dyn Host>, Vec<u8>, SavedClip);

fn open(format: Format) -> Result<Opened, Box<dyn Error>> {
    let mut host = format.open(&built::plugin())?;
    // Offline until its first clip is there.
    host.set_offline(true)?;
    host.activate(SAMPLE_RATE, FRAMES)?;
    host.process(
        &Block {
            frames: FRAMES,
            ..Block::default()
        },
        &mut Vec::new(),
    )?;
    let saved = host.save()?;
    let clip = state::clip(&saved)?.ok_or("no clip in the state")?;
    host.set_offline(false)?;
    host.activate(SAMPLE_RATE, FRAMES)?;
    Ok((host, saved, clip))
}

/// Restores a state and waits until the plugin has it.
fn load(host: &mut dyn Host, saved: &[u8], clip: &SavedClip) -> Result<(), Box<dyn Error>> {
    host.load(&state::with_clip(saved, clip)?)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while state::clip(&host.save()?)?.is_none_or(|now| now.notes != clip.notes) {
        host.pump();
        thread::sleep(Duration::from_millis(2));
        if Instant::now() > deadline {
            return Err("the plugin does not take the clip".into());
        }
    }
    Ok(())
}

fn sounding(before: usize, events: &[Event]) -> usize {
    events.iter().fold(before, |count, event| match event.kind {
        EventKind::On { .. } => count + 1,
        EventKind::Off { .. } => count - 1,
        EventKind::Program(_) => count,
    })
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place of the right type to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

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
    let clips = [busy(&clip, true), busy(&clip, false), clip];
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

/// The 99.99th percentile of the CPU time of `process` over blocks in which `clip` sounds.
fn measure(format: Format, staggered: bool) -> Result<Duration, Box<dyn Error>> {
    let (mut host, saved, clip) = open(format)?;
    load(host.as_mut(), &saved, &busy(&clip, staggered))?;
    let mut song = Song::new(SAMPLE_RATE, 120.0);
    song.play(true);
    let mut events = Vec::with_capacity(4096);
    let mut on = 0;
    let mut times = Vec::new();
    let mut sum = 0;
    for number in 0..61_000 {
        events.clear();
        let block = Block {
            frames: FRAMES,
            transport: song.advance(FRAMES),
            changes: Vec::new(),
        };
        let mut time = Duration::ZERO;
        host.process_around(&block, &mut events, &mut |process| {
            let before = cpu_time();
            process();
            time = cpu_time() - before;
        })?;
        on = sounding(on, &events);
        // The first second warms the caches up.
        if number >= 1000 {
            times.push(time);
            sum += on;
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let load = fs::read_to_string("/proc/loadavg")?;
    println!(
        "{format:?}, {} notes struck {}: median {:?}, 99.99 % {:?}, longest {:?}; load {}",
        sum / times.len(),
        if staggered {
            "one after another"
        } else {
            "at once"
        },
        at(0.5),
        at(0.9999),
        at(1.0),
        load.trim(),
    );
    Ok(at(0.9999))
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

#[test]
fn process_takes_less_than_a_twentieth_of_the_time() {
    let limit = Duration::from_secs_f64(f64::from(FRAMES) / SAMPLE_RATE / 20.0);
    for format in Format::ALL {
        for staggered in [true, false] {
            // On a busy machine interrupts are counted to whoever is interrupted.
            let mut times = (0..3).map(|_| on_own_thread(move || measure(format, staggered)));
            assert!(
                times.any(|time| time < limit),
                "{format:?}: never below {limit:?}"
            );
        }
    }
}
