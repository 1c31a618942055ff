//! How long `process` takes on the audio thread while 200 notes sound: CPU time, since a wall clock
//! would count whoever else has the processor.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use crate::built;
use crate::host::{Block, Event, EventKind, Format, Host};
use crate::song::Song;
use crate::state::{self, SavedClip};

/// Samples a second.
pub const SAMPLE_RATE: f64 = 48_000.0;
/// Samples in a block.
pub const FRAMES: u32 = 64;
/// A twentieth of a block's time: what `process` may take of it.
pub const LIMIT: Duration = Duration::from_nanos(1_000_000_000 * FRAMES as u64 / 48_000 / 20);
/// Blocks that are measured, after the first second has warmed the caches up.
const BLOCKS: usize = 60_000;
const WARM_UP: usize = 750;

/// Instruments, the drum kit among them, and the keys of each.
const INSTRUMENTS: u8 = 16;
const KEYS: u8 = 13;
/// Half a beat in ticks: how often each of the keys is struck.
const PERIOD: u32 = 480;

/// How the notes of a [`busy`] clip are struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Struck {
    /// One after another.
    InTurn,
    /// All in one block.
    Together,
}

/// A bar in which 208 notes sound nearly always.
pub fn busy(like: &SavedClip, struck: Struck) -> SavedClip {
    let voices = (0..INSTRUMENTS).flat_map(|part| (0..KEYS).map(move |key| (part, key)));
    let notes = (0..).zip(voices).flat_map(|(voice, (part, key))| {
        let first = match struck {
            Struck::InTurn => voice * 7 % PERIOD,
            Struck::Together => 0,
        };
        let strikes = (0..4 * 960).step_by(PERIOD as usize);
        strikes.map(move |bar| (first + bar, PERIOD - 5, part, 40 + key, 100))
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
pub type Opened = (Box<dyn Host>, Vec<u8>, SavedClip);

/// Opens the built plugin and waits for its first clip.
///
/// # Errors
/// It cannot be driven, or makes no clip.
pub fn open(format: Format) -> Result<Opened, Box<dyn Error>> {
    let mut host = format.open(&built::plugin())?;
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

/// Restores a state with another clip and waits until the plugin has it.
///
/// # Errors
/// It does not take it.
pub fn load(host: &mut dyn Host, saved: &[u8], clip: &SavedClip) -> Result<(), Box<dyn Error>> {
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

/// The notes that sound after `events`, where `before` did before.
pub fn sounding(before: usize, events: &[Event]) -> usize {
    events.iter().fold(before, |count, event| match event.kind {
        EventKind::On { .. } => count + 1,
        EventKind::Off { .. } => count - 1,
        EventKind::AllNotesOff | EventKind::Program(_) => count,
    })
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Notes that sounded, on average.
    pub notes: usize,
    /// CPU time of the median block.
    pub median: Duration,
    /// Of the block that one in ten thousand exceeds.
    pub percentile: Duration,
    /// Of the longest.
    pub longest: Duration,
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

/// Measures `process` while a busy clip plays.
///
/// # Errors
/// The plugin cannot be driven.
pub fn measure(format: Format, struck: Struck) -> Result<Times, Box<dyn Error>> {
    let (mut host, saved, clip) = open(format)?;
    load(host.as_mut(), &saved, &busy(&clip, struck))?;
    let mut song = Song::new(SAMPLE_RATE, 120.0);
    song.play(true);
    let mut events = Vec::with_capacity(4096);
    let (mut notes, mut sum) = (0, 0);
    let mut times = Vec::with_capacity(BLOCKS);
    for number in 0..WARM_UP + BLOCKS {
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
        notes = sounding(notes, &events);
        if number >= WARM_UP {
            times.push(time);
            sum += notes;
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[((BLOCKS - 1) as f64 * share) as usize];
    let (median, percentile, longest) = (at(0.5), at(0.9999), at(1.0));
    Ok(Times {
        notes: sum / BLOCKS,
        median,
        percentile,
        longest,
    })
}
