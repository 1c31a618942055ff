//! `process` keeps the audio thread's promises while 200 notes sound, while parameters change, and
//! while bars are being made: no heap call, no system call (so no futex, no wait, no log).
//! `benches/process.rs` measures the time that it takes.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

#[path = "realtime/allocations.rs"]
mod allocations;
#[path = "realtime/system_calls.rs"]
mod system_calls;

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use famam_tests::host::{Block, Format, Host, ParameterId};
use famam_tests::process_time::{FRAMES, SAMPLE_RATE, Struck, busy, load, open, sounding};
use famam_tests::song::Song;
use famam_tests::state;

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

/// One instance plays at a time. nice-plug 0.4.2 keeps the host's settings in crossbeam's
/// `AtomicCell`, whose few locks all instances of a process share: where one is interrupted while it
/// holds such a lock, another that wants it yields (`sched_yield`). That is not Famam's to mend.
static TURN: Mutex<()> = Mutex::new(());

/// What is watched ends with its thread.
fn on_own_thread<T: Send + 'static>(
    test: impl FnOnce() -> Result<T, Box<dyn Error>> + Send + 'static,
) -> T {
    let _turn = TURN.lock();
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

/// An instance whose blocks another thread processes than the one that made it, as in every host.
struct Lent<'a>(&'a mut dyn Host);

// SAFETY: its owner leaves it alone until the thread that it is lent to has ended.
unsafe impl Send for Lent<'_> {}

/// For how long [`change`] plays.
const TIME: Duration = Duration::from_secs(4);

/// Plays for [`TIME`] on a thread of its own. Parameters change, now and then
/// one that asks for a clip, so that bars come while it plays. Gives the most heap calls of a block
/// and the system calls that were seen.
fn change(format: Format) -> Result<(u64, Vec<i64>), Box<dyn Error>> {
    let (mut host, saved, clip) = open(format)?;
    load(host.as_mut(), &saved, &busy(&clip, Struck::InTurn))?;
    let mut value = |id: &str, text: &str| -> Result<_, Box<dyn Error>> {
        let parameter = ParameterId::of(id);
        Ok((parameter, host.value(parameter, text)?))
    };
    let small = ["0.5", "0.6"].map(|text| value("temperature", text));
    let [cool, warm] = small;
    let (small, length) = ([cool?, warm?], value("bars", "2")?);
    let seeds = [value("seed", "11")?, value("seed", "12")?];
    let lent = Lent(host.as_mut());
    let play = move || -> Result<_, String> {
        let lent = lent;
        let mut song = Song::new(SAMPLE_RATE, 120.0);
        song.play(true);
        system_calls::watch().map_err(|error| error.to_string())?;
        let (mut events, mut heap, mut system) = (Vec::with_capacity(4096), 0, Vec::new());
        let began = Instant::now();
        let mut asked = 0;
        for number in 0usize.. {
            let elapsed = began.elapsed();
            if elapsed > TIME {
                break;
            }
            // CLAP's queue for the window, which nobody empties here, has room for some thousands.
            let mut changes = match number % 16 {
                0 => vec![small[number / 16 % 2]],
                _ => Vec::new(),
            };
            // Twice: at once, and when the clip of the first is there.
            if elapsed > asked * TIME / 2 && asked < 2 {
                changes.extend([length, seeds[asked as usize]]);
                asked += 1;
            }
            let block = Block {
                frames: FRAMES,
                transport: song.advance(FRAMES),
                changes,
            };
            events.clear();
            let process = &mut |process: &mut dyn FnMut()| {
                system_calls::forget();
                let before = allocations::calls();
                process();
                // In a thread's first block nice-plug asks for the thread's name, which allocates.
                if number > 0 {
                    heap = heap.max(allocations::calls() - before);
                    system.extend(system_calls::first());
                }
            };
            lent.0
                .process_around(&block, &mut events, process)
                .map_err(|error| error.to_string())?;
            thread::sleep(Duration::from_micros(300));
        }
        Ok((heap, system))
    };
    let calls = thread::scope(|scope| scope.spawn(play).join().expect("no panic"))?;
    // nice-plug 0.4.2 aborts the process if a VST3 instance goes, as the last one, while what it has
    // to tell the window still waits for the thread that does: it ends then, and is sent for in vain.
    thread::sleep(Duration::from_millis(500));
    let clip = state::clip(&host.save()?)?.ok_or("no clip in the state")?;
    // On a slow machine the second may come too late.
    let came = ["11", "12"].contains(&clip.origin["seed"].to_string().as_str());
    assert!(came, "no clip came while it played: {}", clip.origin);
    Ok(calls)
}

#[test]
fn changes_and_new_bars_make_none_either() {
    let (heap, system) = on_own_thread(|| change(Format::Clap));
    assert_eq!((heap, system), (0, Vec::new()), "CLAP");
    // As VST3 on Linux, nice-plug tells its window of every value that changed through a channel
    // (crossbeam's `try_send`) to a thread of its own, which it wakes: a futex call in the block in
    // which a value changed. That is not Famam's to mend; it is all that is allowed here.
    let (heap, mut system) = on_own_thread(|| change(Format::Vst3));
    system.retain(|&call| call != libc::SYS_futex);
    assert_eq!((heap, system), (0, Vec::new()), "VST3");
}
