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
//! - On one sample: offs, then program changes, then ons. A pitch struck again gets its off first;
//!   struck twice on one sample it sounds once, to the later end.
//! - Every on gets exactly one off: at its end, or at stop, jump, wrap, exchange, bypass, panic or
//!   a change of the output. What sounds at a reset ends on sample 0 of the next block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer};

use crate::clip::{CHANNELS, Clip, ClipNote};

mod sounding;
mod transport;

use sounding::{Sounding, Voice};
use transport::{Line, Motion, SLACK, TICKS};
pub use transport::Transport;

/// Quarters by which a host's position may differ from the expected one without being a jump: a
/// 64th of a quarter, more than hosts that ramp their tempo are off after a long block.
pub const JUMP: f64 = 1.0 / 64.0;

/// What the player sends. Events come in the order of their samples, which count from the block's
/// first; channels count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its sample.
    pub sample: u32,
    /// Its channel.
    pub channel: u8,
    /// What happens.
    pub kind: EventKind,
}

/// What an [`Event`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The note of this pitch ends.
    Off(u8),
    /// The channel plays this General MIDI program.
    Program(u8),
    /// A note begins.
    On {
        /// MIDI key.
        pitch: u8,
        /// MIDI velocity, 1 to 127.
        velocity: u8,
    },
}

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

/// Where in the clip the player is: quarters from the clip's start, for other threads to read.
#[derive(Debug)]
pub struct Playhead(AtomicU64);

impl Default for Playhead {
    fn default() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl Playhead {
    /// Quarters from the clip's start; `None` while nothing plays.
    pub fn quarters(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Relaxed))).filter(|quarters| !quarters.is_nan())
    }

    fn set(&self, quarters: f64) {
        self.0.store(quarters.to_bits(), Ordering::Relaxed);
    }
}

/// The next note of the clip: its repetition (from the anchor) and its index.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    cycle: i64,
    index: usize,
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

    fn give_back(&mut self, clip: Arc<Clip>) {
        // There is room: `receive` takes a clip only where two more can go, and each clip that was
        // taken goes once. If there were none after all, leaking is better than freeing here.
        if let Err(rtrb::PushError::Full(clip)) = self.outgoing.push(clip) {
            std::mem::forget(clip);
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
        let mut line =
            Line { sample: 0.0, tick: motion.start, samples_per_tick: motion.samples_per_tick };
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
            line = Line { sample: line.at(loop_end), tick: loop_start, ..line };
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
            self.playhead.set((motion.start - self.anchor).rem_euclid(length) / TICKS);
        }
        Some(())
    }

    /// The transport starts, or goes on from elsewhere.
    fn jump(&mut self, motion: &Motion, send: &mut impl FnMut(Event) -> bool) -> Option<()> {
        self.end_all(0, send)?;
        self.anchor = 0.0;
        let near = |a: f64, b: f64| (a - b).abs() <= JUMP * TICKS;
        let loops = self.expected.zip(motion.loop_range).is_some_and(|(expected, (start, end))| {
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
            let off = self.sounding.voices().iter().map(|voice| due(line, voice)).min();
            let on = self.next_on(line, self.cursor, limit);
            let program = self.programs_due.then_some(now);
            let exchange_at = exchange.map(|tick| line.sample_of(tick));
            let next = [off, on, program, exchange_at].into_iter().flatten().min();
            let Some(next) = next.filter(|&next| next < window.end) else { return Some(()) };
            now = next.max(now);
            if let (Some(tick), Some(at)) = (exchange, exchange_at)
                && at <= now
            {
                self.enter(motion, tick, now, send)?;
            }
            self.end_due(line, now, send)?;
            self.send_programs(now, send)?;
            self.strike(line, now, limit, send)?;
        }
    }

    /// The position at which the clip that waits may enter: not on a sample before `now`.
    fn next_exchange(&self, motion: &Motion, line: &Line, now: i64) -> Option<f64> {
        self.pending.as_ref()?;
        let entry = |tick| match self.clip {
            Some(_) => motion.bar_line_from(tick),
            None => motion.beat_from(tick),
        };
        let earliest = line.tick_at(now as f64 - 0.5);
        let tick = entry(earliest);
        Some(if line.sample_of(tick) >= now { tick } else { entry(tick + 2.0 * SLACK) })
    }

    /// Lets the clip that waits enter at `tick`.
    fn enter(
        &mut self,
        motion: &Motion,
        tick: f64,
        sample: i64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let anchor = match (&self.clip, &self.pending) {
            (None, _) => motion.bar_line_of(tick),
            (Some(old), Some(new)) if old.id == new.id => self.anchor,
            _ => 0.0,
        };
        self.exchange(sample, anchor, send)?;
        self.seek(tick - SLACK);
        Some(())
    }

    /// The clip that waits takes the place of the present one, its first tick at `anchor`.
    fn exchange(
        &mut self,
        sample: i64,
        anchor: f64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let (old, new) = (self.clip.as_ref(), self.pending.as_ref());
        let same = old.zip(new).is_some_and(|(old, new)| old.id == new.id);
        if !same {
            self.end_all(sample, send)?;
        }
        let old = std::mem::replace(&mut self.clip, self.pending.take());
        if let Some(old) = old {
            self.give_back(old);
        }
        self.anchor = anchor;
        self.programs_due = true;
        Some(())
    }

    /// Sets the cursor to the first note at or after `tick`.
    fn seek(&mut self, tick: f64) {
        let Some(clip) = &self.clip else { return };
        let length = f64::from(clip.length().0);
        let cycle = ((tick - self.anchor) / length).floor();
        let rest = tick - self.anchor - cycle * length;
        let index = clip.notes.partition_point(|note| f64::from(note.start.0) < rest);
        self.cursor = Cursor { cycle: cycle as i64, index }.wrapped(clip.notes.len());
    }

    /// The note at `cursor`, where it stands in the song.
    fn note(&self, cursor: Cursor) -> Option<(f64, ClipNote)> {
        let clip = self.clip.as_ref()?;
        let note = clip.notes.get(cursor.index)?;
        let cycle = cursor.cycle as f64 * f64::from(clip.length().0);
        Some((self.anchor + cycle + f64::from(note.start.0), *note))
    }

    /// The sample of the note at `cursor`, if it stands before `limit`.
    fn next_on(&self, line: &Line, cursor: Cursor, limit: f64) -> Option<i64> {
        let (tick, _) = self.note(cursor)?;
        // What rounding has put a hair before a loop's end lies at its start.
        (tick < limit - SLACK).then(|| line.sample_of(tick))
    }

    fn notes_in_clip(&self) -> usize {
        self.clip.as_ref().map_or(0, |clip| clip.notes.len())
    }

    /// Where a note goes, if it is played at all.
    fn channel(&self, note: &ClipNote) -> Option<u8> {
        let part = self.clip.as_ref()?.parts.get(usize::from(note.part))?;
        match self.settings.output {
            Output::AllParts => Some(part.channel),
            Output::OnePart(channel) => (part.channel == channel).then_some(0),
        }
    }

    /// Ends what is due on sample `now` and what the notes that begin there strike again.
    fn end_due(
        &mut self,
        line: &Line,
        now: i64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let mut index = 0;
        while let Some(voice) = self.sounding.voices().get(index) {
            if due(line, voice) <= now { self.end(index, now, send)? } else { index += 1 }
        }
        Some(())
    }

    /// Begins the notes that are due on sample `now`, after ending those that they strike again.
    fn strike(
        &mut self,
        line: &Line,
        now: i64,
        limit: f64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let (first, notes) = (self.cursor, self.notes_in_clip());
        let is_due = |player: &Self, cursor| {
            player.next_on(line, cursor, limit).is_some_and(|sample| sample <= now)
        };
        let mut cursor = first;
        while is_due(self, cursor) {
            if let Some((_, note)) = self.note(cursor)
                && let Some(channel) = self.channel(&note)
                && let Some(index) = self.sounding.find(channel, note.pitch)
            {
                self.end(index, now, send)?;
            }
            cursor = cursor.next(notes);
        }
        while is_due(self, self.cursor) {
            let cursor = self.cursor;
            self.cursor = cursor.next(notes);
            let Some((tick, note)) = self.note(cursor) else { break };
            let Some(channel) = self.channel(&note) else { continue };
            let end = tick + f64::from(note.duration.0);
            if let Some(index) = self.sounding.find(channel, note.pitch) {
                // Struck on this very sample.
                if let Some(voice) = self.sounding.get_mut(index) {
                    voice.end = voice.end.max(end);
                }
                continue;
            }
            let ClipNote { pitch, velocity, .. } = note;
            emit(send, now, channel, EventKind::On { pitch, velocity })?;
            self.sounding.push(Voice { channel, pitch, end, earliest: now + 1 });
        }
        Some(())
    }

    fn send_programs(&mut self, now: i64, send: &mut impl FnMut(Event) -> bool) -> Option<()> {
        if !std::mem::take(&mut self.programs_due) || !self.settings.programs {
            return Some(());
        }
        let Some(clip) = &self.clip else { return Some(()) };
        let mut sent = [false; CHANNELS];
        for part in clip.parts.iter().filter(|part| !part.instrument.is_drums()) {
            let channel = match self.settings.output {
                Output::AllParts => part.channel,
                Output::OnePart(channel) if channel == part.channel => 0,
                Output::OnePart(_) => continue,
            };
            // Parts that share a channel share the first one's program.
            let Some(sent) = sent.get_mut(usize::from(channel)).filter(|sent| !**sent) else {
                continue;
            };
            *sent = true;
            emit(send, now, channel, EventKind::Program(part.instrument.index()))?;
        }
        Some(())
    }

    /// Ends one note on sample `now`.
    fn end(
        &mut self,
        index: usize,
        now: i64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let voice = self.sounding.voices().get(index)?;
        let Voice { channel, pitch, .. } = *voice;
        emit(send, now, channel, EventKind::Off(pitch))?;
        self.sounding.remove(index);
        Some(())
    }

    fn end_all(&mut self, now: i64, send: &mut impl FnMut(Event) -> bool) -> Option<()> {
        while !self.sounding.voices().is_empty() {
            self.end(0, now, send)?;
        }
        Some(())
    }
}

impl Cursor {
    fn wrapped(self, notes: usize) -> Self {
        if self.index < notes { self } else { Self { cycle: self.cycle + 1, index: 0 } }
    }

    fn next(self, notes: usize) -> Self {
        Self { index: self.index + 1, ..self }.wrapped(notes)
    }
}

/// The sample on which `voice` ends.
fn due(line: &Line, voice: &Voice) -> i64 {
    line.sample_of(voice.end).max(voice.earliest)
}

/// `None` where the host has no room.
fn emit(
    send: &mut impl FnMut(Event) -> bool,
    sample: i64,
    channel: u8,
    kind: EventKind,
) -> Option<()> {
    send(Event { sample: sample as u32, channel, kind }).then_some(())
}
