//! The [`Player`]: a clip and the host's transport become note events, sample by sample.
//!
//! It runs on the audio thread and owns what sounds now and the clip that it plays. Clips come in
//! and go out through wait-free queues; no lock type can be reached from here, and nothing
//! allocates. What it promises:
//!
//! - A note's sample is `floor((note - position) * samples_per_quarter + 0.49)` from the block's
//!   start, at the tempo that the host states for the block; an off falls on the sample of the
//!   note's end by the same rule, but at least one sample after its on. Windows are half-open. A
//!   cursor over the notes decides what is due, so that no rounding loses or doubles one.
//! - The clip repeats on its own length, its first tick at the song's start. Only a clip that came
//!   when Play had found none lies on the bar line of the bar in which it came, until the transport
//!   stops or jumps.
//! - A position that differs from the expected one by more than [`JUMP`] is a jump: what sounds
//!   ends at the block's first sample, and the cursor goes to the first note whose sample is not
//!   negative. A loop whose end falls on a sample of the block wraps there: what sounds ends on
//!   that sample, and the loop's start follows with the end's fraction of a sample.
//! - A new clip replaces the old on the sample of the next bar line, at the loop's start, at Play,
//!   or at once while nothing plays. Of the old clip what falls on that sample is left out. A
//!   longer version of the same clip lets the notes that sound live on. Where there was none, the
//!   clip enters at the next beat, and what is past is left out.
//! - On one sample: offs, that of a pitch struck again among them, then program changes, then ons. A
//!   pitch struck twice on one sample sounds once, to the later end.
//! - Programs go out, where they are wanted at all, at Play, when a clip enters that is another one
//!   or has other parts, and when the switch or the output changes.
//! - Every on gets exactly one off: at its end, or at stop, jump, wrap, exchange, bypass, panic or
//!   a change of the output. What sounds at a reset ends on sample 0 of the next block.

use std::sync::Arc;

use rtrb::{Consumer, Producer};

use crate::clip::Clip;

mod event;
mod exchange;
mod notes;
mod sounding;
mod transport;

pub use event::{Event, EventKind, Playhead};
use notes::Cursor;
use sounding::Sounding;
pub use transport::Transport;
use transport::{Line, Motion, SLACK, TICKS};

/// Quarters by which a host's position may differ from the expected one without being a jump: a
/// 64th of a quarter, more than hosts that ramp their tempo are off after a long block.
pub const JUMP: f64 = 1.0 / 64.0;

/// Which parts go where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Every part on its own channel.
    #[default]
    AllParts,
    /// Only the parts of this channel (from 0), on channel 0.
    OnePart(u8),
}

/// What the parameters say to the player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which parts go where.
    pub output: Output,
    /// Whether program changes are sent.
    pub programs: bool,
    /// Whether it is silent.
    pub bypass: bool,
}

/// See the module.
pub struct Player {
    incoming: Consumer<Arc<Clip>>,
    outgoing: Producer<Arc<Clip>>,
    playhead: Arc<Playhead>,
    clip: Option<Arc<Clip>>,
    pending: Option<Arc<Clip>>,
    sounding: Sounding,
    settings: Settings,
    /// Where the clip's first tick lies, in ticks of the song.
    anchor: f64,
    cursor: Cursor,
    /// The position after the last block, in ticks, while the transport runs.
    expected: Option<f64>,
    /// Programs are to be sent before the next on.
    programs_due: bool,
}

impl Player {
    /// Takes clips from `incoming`, newest wins, and gives those that it no longer needs to
    /// `outgoing`, so that another thread drops them.
    pub fn new(
        incoming: Consumer<Arc<Clip>>,
        outgoing: Producer<Arc<Clip>>,
        playhead: Arc<Playhead>,
    ) -> Self {
        Self {
            incoming,
            outgoing,
            playhead,
            clip: None,
            pending: None,
            sounding: Sounding::new(),
            settings: Settings::default(),
            anchor: 0.0,
            cursor: Cursor::default(),
            expected: None,
            programs_due: false,
        }
    }

    /// The transport starts anew. What sounds ends on the first sample of the next block.
    pub fn reset(&mut self) {
        self.expected = None;
    }

    /// Plays one block of `frames` samples. `send` takes an event, or says that the host has no
    /// room for it: then the block is cut short, and what sounds ends in the next.
    pub fn process(
        &mut self,
        transport: &Transport,
        frames: u32,
        settings: Settings,
        panic: bool,
        send: &mut impl FnMut(Event) -> bool,
    ) {
        self.receive();
        let played = self.block(transport, i64::from(frames), settings, panic, send);
        if played.is_none() {
            self.expected = None;
        }
        self.sounding.pass(i64::from(frames));
    }

    /// Takes the newest clip, as long as those that it replaces can be given back. Part of
    /// [`Player::process`]; an offline render that waits for clips calls it so that their queue does
    /// not fill.
    pub fn receive(&mut self) {
        while self.outgoing.slots() >= 2
            && let Ok(clip) = self.incoming.pop()
        {
            if let Some(older) = self.pending.replace(clip) {
                self.give_back(older);
            }
        }
    }

    /// `None` where the host took no more events.
    fn block(
        &mut self,
        transport: &Transport,
        frames: i64,
        settings: Settings,
        panic: bool,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let was = std::mem::replace(&mut self.settings, settings);
        if panic || was.output != settings.output {
            self.end_all(0, send)?;
        }
        self.programs_due |= was.programs != settings.programs || was.output != settings.output;
        let Some(motion) = transport.motion().filter(|_| !settings.bypass) else {
            self.end_all(0, send)?;
            self.expected = None;
            self.playhead.set(f64::NAN);
            if self.pending.is_some() {
                self.exchange(0, 0.0, send)?;
            }
            return Some(());
        };
        let mut line = Line {
            sample: 0.0,
            tick: motion.start,
            samples_per_tick: motion.samples_per_tick,
        };
        let goes_on = |expected: f64| (motion.start - expected).abs() <= JUMP * TICKS;
        if !self.expected.is_some_and(goes_on) {
            self.jump(&motion, send)?;
        }
        let mut from = 0;
        loop {
            let end = motion.loop_range.filter(|&(_, end)| line.tick < end);
            let wrap = end.filter(|&(_, end)| line.sample_of(end) < frames);
            let Some((loop_start, loop_end)) = wrap else {
                let limit = end.map_or(f64::INFINITY, |(_, end)| end);
                self.piece(&motion, &line, from..frames, limit, send)?;
                break;
            };
            let at = line.sample_of(loop_end).max(from);
            self.piece(&motion, &line, from..at, loop_end, send)?;
            self.end_all(at, send)?;
            line = Line {
                sample: line.at(loop_end),
                tick: loop_start,
                ..line
            };
            self.anchor = 0.0;
            if self.pending.is_some() {
                self.exchange(at, 0.0, send)?;
            }
            self.seek(loop_start - SLACK);
            from = at;
        }
        self.expected = Some(line.tick_at(frames as f64));
        if let Some(clip) = &self.clip {
            let length = f64::from(clip.length().0);
            self.playhead
                .set((motion.start - self.anchor).rem_euclid(length) / TICKS);
        }
        Some(())
    }

    /// The transport starts, or goes on from elsewhere.
    fn jump(&mut self, motion: &Motion, send: &mut impl FnMut(Event) -> bool) -> Option<()> {
        self.end_all(0, send)?;
        self.anchor = 0.0;
        let near = |a: f64, b: f64| (a - b).abs() <= JUMP * TICKS;
        let loops = self
            .expected
            .zip(motion.loop_range)
            .is_some_and(|(expected, (start, end))| {
                near(expected, end) && near(motion.start, start)
            });
        let starts = self.expected.is_none();
        if self.pending.is_some() && (starts || loops) {
            self.exchange(0, 0.0, send)?;
        }
        self.programs_due |= starts;
        self.seek(motion.start - 0.49 / motion.samples_per_tick);
        Some(())
    }

    /// Plays the samples `window` of a straight piece of the block, up to the position `limit`.
    fn piece(
        &mut self,
        motion: &Motion,
        line: &Line,
        window: std::ops::Range<i64>,
        limit: f64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let mut now = window.start;
        loop {
            let exchange = self.next_exchange(motion, line, now);
            let off = self.next_off(line);
            let on = self.next_on(line, self.cursor, limit);
            let program = self.programs_due.then_some(now);
            let exchange_at = exchange.map(|tick| line.sample_of(tick));
            let next = [off, on, program, exchange_at].into_iter().flatten().min();
            let Some(next) = next.filter(|&next| next < window.end) else {
                return Some(());
            };
            now = next.max(now);
            if let (Some(tick), Some(at)) = (exchange, exchange_at)
                && at <= now
            {
                self.enter(motion, tick, now, send)?;
            }
            self.end_due(line, now, limit, send)?;
            self.send_programs(now, send)?;
            self.strike(line, now, limit, send)?;
        }
    }
}
