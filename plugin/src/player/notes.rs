//! The cursor over the clip's notes, and the events of one sample: offs, programs, ons.

use super::sounding::Voice;
use super::transport::{Line, SLACK};
use super::{Event, EventKind, Output, Player};
use crate::clip::{CHANNELS, ClipNote};

/// The next note of the clip: its repetition (from the anchor) and its index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    cycle: i64,
    index: usize,
}

impl Player {
    /// Sets the cursor to the first note at or after `tick`.
    pub(super) fn seek(&mut self, tick: f64) {
        let Some(clip) = &self.clip else { return };
        let length = f64::from(clip.length().0);
        let cycle = ((tick - self.anchor) / length).floor();
        let rest = tick - self.anchor - cycle * length;
        let index = clip
            .notes
            .partition_point(|note| f64::from(note.start.0) < rest);
        self.cursor = Cursor {
            cycle: cycle as i64,
            index,
        }
        .wrapped(clip.notes.len());
    }

    /// The note at `cursor`, where it stands in the song.
    fn note(&self, cursor: Cursor) -> Option<(f64, ClipNote)> {
        let clip = self.clip.as_ref()?;
        let note = clip.notes.get(cursor.index)?;
        let cycle = cursor.cycle as f64 * f64::from(clip.length().0);
        Some((self.anchor + cycle + f64::from(note.start.0), *note))
    }

    /// The sample of the note at `cursor`, if it stands before `limit`.
    pub(super) fn next_on(&self, line: &Line, cursor: Cursor, limit: f64) -> Option<i64> {
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

    /// The sample on which the next note ends.
    pub(super) fn next_off(&self, line: &Line) -> Option<i64> {
        self.sounding
            .voices()
            .iter()
            .map(|voice| due(line, voice))
            .min()
    }

    /// Ends what is due on sample `now` and what the notes that begin there strike again.
    pub(super) fn end_due(
        &mut self,
        line: &Line,
        now: i64,
        limit: f64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let mut index = 0;
        while let Some(voice) = self.sounding.voices().get(index) {
            if due(line, voice) <= now {
                self.end(index, now, send)?
            } else {
                index += 1
            }
        }
        let notes = self.notes_in_clip();
        let mut cursor = self.cursor;
        while self.begins(line, cursor, now, limit) {
            if let Some((_, note)) = self.note(cursor)
                && let Some(channel) = self.channel(&note)
                && let Some(index) = self.sounding.find(channel, note.pitch)
            {
                self.end(index, now, send)?;
            }
            cursor = cursor.next(notes);
        }
        Some(())
    }

    /// Whether the note at `cursor` is due on sample `now`.
    fn begins(&self, line: &Line, cursor: Cursor, now: i64, limit: f64) -> bool {
        self.next_on(line, cursor, limit)
            .is_some_and(|sample| sample <= now)
    }

    /// Begins the notes that are due on sample `now`.
    pub(super) fn strike(
        &mut self,
        line: &Line,
        now: i64,
        limit: f64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        let notes = self.notes_in_clip();
        while self.begins(line, self.cursor, now, limit) {
            let cursor = self.cursor;
            self.cursor = cursor.next(notes);
            let Some((tick, note)) = self.note(cursor) else {
                break;
            };
            let Some(channel) = self.channel(&note) else {
                continue;
            };
            let end = tick + f64::from(note.duration.0);
            if let Some(index) = self.sounding.find(channel, note.pitch) {
                // Struck on this very sample.
                if let Some(voice) = self.sounding.get_mut(index) {
                    voice.end = voice.end.max(end);
                }
                continue;
            }
            let ClipNote {
                pitch, velocity, ..
            } = note;
            emit(send, now, channel, EventKind::On { pitch, velocity })?;
            self.sounding.push(Voice {
                channel,
                pitch,
                end,
                earliest: now + 1,
            });
        }
        Some(())
    }

    pub(super) fn send_programs(
        &mut self,
        now: i64,
        send: &mut impl FnMut(Event) -> bool,
    ) -> Option<()> {
        if !std::mem::take(&mut self.programs_due) || !self.settings.programs {
            return Some(());
        }
        let Some(clip) = &self.clip else {
            return Some(());
        };
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
            emit(
                send,
                now,
                channel,
                EventKind::Program(part.instrument.index()),
            )?;
        }
        Some(())
    }

    /// Ends one note on sample `now`.
    fn end(&mut self, index: usize, now: i64, send: &mut impl FnMut(Event) -> bool) -> Option<()> {
        let voice = self.sounding.voices().get(index)?;
        let Voice { channel, pitch, .. } = *voice;
        emit(send, now, channel, EventKind::Off(pitch))?;
        self.sounding.remove(index);
        Some(())
    }

    pub(super) fn end_all(&mut self, now: i64, send: &mut impl FnMut(Event) -> bool) -> Option<()> {
        while !self.sounding.voices().is_empty() {
            self.end(0, now, send)?;
        }
        Some(())
    }
}

impl Cursor {
    fn wrapped(self, notes: usize) -> Self {
        if self.index < notes {
            self
        } else {
            Self {
                cycle: self.cycle + 1,
                index: 0,
            }
        }
    }

    fn next(self, notes: usize) -> Self {
        Self {
            index: self.index + 1,
            ..self
        }
        .wrapped(notes)
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
    send(Event {
        sample: sample as u32,
        channel,
        kind,
    })
    .then_some(())
}
