//! A [`Score`] to the bytes of a MIDI file of format 1.
//!
//! The first track holds tempo, metre and key; then comes one named track for each of the score's,
//! with a program change and a channel of its own, the drums on channel 10. When the score has
//! more than 15 pitched tracks, those of one program share a channel, and programs beyond the 15th
//! share the channel of the nearest one, of their own class if it can be: a synthesizer that knows
//! channels only then plays a kindred sound, while whatever reads tracks (DAWs, [`super::read`])
//! finds each with its own program.

use crate::instrument::Instrument;
use crate::score::{Score, TICKS_PER_QUARTER, Ticks, Track};

use super::read::MAX_NAME_BYTES;

/// The channel of the drums, counted from 0.
pub(super) const DRUM_CHANNEL: u8 = 9;
/// The largest number of a delta time: 28 bits.
const MAX_DELTA: u32 = 0x0FFF_FFFF;

/// The bytes of a MIDI file, [`TICKS_PER_QUARTER`] to a quarter note.
///
/// Reading them gives the score back, but for what MIDI cannot tell apart: tracks without notes are
/// gone, a note that ends inside a longer one of its pitch swaps ends with it, names end at 256
/// bytes, and a track without one is called by its instrument.
pub fn write(score: &Score) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + 8 * score.note_count());
    bytes.extend_from_slice(b"MThd");
    bytes.extend_from_slice(&6u32.to_be_bytes());
    let tracks = u16::try_from(score.tracks.len() + 1).unwrap_or(u16::MAX);
    for field in [1, tracks, TICKS_PER_QUARTER as u16] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    chunk(&mut bytes, |track| conductor(track, score));
    for (part, channel) in score.tracks.iter().zip(channels(&score.tracks)) {
        chunk(&mut bytes, |track| notes(track, part, channel));
    }
    bytes
}

/// Writes an MTrk chunk that `fill` fills.
fn chunk(bytes: &mut Vec<u8>, fill: impl FnOnce(&mut Chunk<'_>)) {
    bytes.extend_from_slice(b"MTrk\0\0\0\0");
    let start = bytes.len();
    fill(&mut Chunk {
        bytes,
        now: Ticks(0),
    });
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    bytes[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

/// The events of one MTrk chunk, in the order of time.
struct Chunk<'a> {
    bytes: &'a mut Vec<u8>,
    now: Ticks,
}

impl Chunk<'_> {
    fn event(&mut self, at: Ticks, event: &[u8]) {
        let mut delta = at.saturating_sub(self.now).0;
        while delta > MAX_DELTA {
            self.variable_length(MAX_DELTA);
            // An empty text: the only event that says nothing but the time.
            self.bytes.extend_from_slice(&[0xFF, 0x01, 0x00]);
            delta -= MAX_DELTA;
        }
        self.variable_length(delta);
        self.bytes.extend_from_slice(event);
        self.now = self.now.max(at);
    }

    fn meta(&mut self, at: Ticks, kind: u8, data: &[u8]) {
        self.event(at, &[0xFF, kind]);
        self.variable_length(data.len() as u32);
        self.bytes.extend_from_slice(data);
    }

    fn variable_length(&mut self, number: u32) {
        for shift in [21, 14, 7] {
            if number >> shift != 0 {
                self.bytes.push((number >> shift) as u8 | 0x80);
            }
        }
        self.bytes.push((number & 0x7F) as u8);
    }
}

fn conductor(track: &mut Chunk<'_>, score: &Score) {
    let mut events: Vec<(Ticks, u8, Vec<u8>)> = Vec::new();
    for tempo in &score.tempos {
        let [_, micros @ ..] = tempo.micros_per_quarter.min(0xFF_FFFF).to_be_bytes();
        events.push((tempo.at, 0x51, micros.to_vec()));
    }
    for metre in &score.metres {
        let denominator = metre.denominator.max(1).ilog2() as u8;
        // A click each quarter (24 MIDI clocks), 8 thirty-seconds in a quarter.
        events.push((metre.at, 0x58, vec![metre.numerator, denominator, 24, 8]));
    }
    for key in &score.keys {
        events.push((key.at, 0x59, vec![key.fifths as u8, u8::from(key.minor)]));
    }
    events.sort_by_key(|&(at, ..)| at);
    for (at, kind, data) in &events {
        track.meta(*at, *kind, data);
    }
    track.meta(score.end, 0x2F, &[]);
}

fn notes(track: &mut Chunk<'_>, part: &Track, channel: u8) {
    let name = match part.name.as_str() {
        "" => part.instrument.name(),
        name => &name[..name.floor_char_boundary(MAX_NAME_BYTES)],
    };
    track.meta(Ticks(0), 0x03, name.as_bytes());
    // Drums play the standard kit, which is program 0 of their channel.
    let program = if part.instrument.is_drums() {
        0
    } else {
        part.instrument.index()
    };
    track.event(Ticks(0), &[0xC0 | channel, program]);

    // Ends go before beginnings, so that a repeated note is two notes.
    let mut events: Vec<(Ticks, bool, u8, u8)> = Vec::with_capacity(2 * part.notes.len());
    for note in &part.notes {
        events.push((note.start, true, note.pitch, note.velocity));
        events.push((note.end(), false, note.pitch, 0));
    }
    events.sort_by_key(|&(at, on, pitch, _)| (at, on, pitch));
    let status = 0x90 | channel;
    for (i, &(at, _, pitch, velocity)) in events.iter().enumerate() {
        // Running status from the second on; a velocity of 0 ends a note.
        let event = [status, pitch & 0x7F, velocity & 0x7F];
        track.event(at, if i == 0 { &event } else { &event[1..] });
    }
    track.meta(track.now, 0x2F, &[]);
}

/// The channel of each track in a file that [`write`] makes of them, counted from 0.
pub fn channels(tracks: &[Track]) -> Vec<u8> {
    let pitched = tracks
        .iter()
        .filter(|track| !track.instrument.is_drums())
        .count();
    let mut free = (0..16).filter(|&channel| channel != DRUM_CHANNEL);
    let mut taken: Vec<(Instrument, u8)> = Vec::new();
    tracks
        .iter()
        .map(|track| {
            let instrument = track.instrument;
            if instrument.is_drums() {
                return DRUM_CHANNEL;
            }
            let same = taken.iter().find(|&&(other, _)| other == instrument);
            if pitched > 15
                && let Some(&(_, channel)) = same
            {
                return channel;
            }
            if let Some(channel) = free.next() {
                taken.push((instrument, channel));
                return channel;
            }
            let distance = |other: Instrument| {
                (
                    other.class() != instrument.class(),
                    other.index().abs_diff(instrument.index()),
                )
            };
            let nearest = taken.iter().min_by_key(|&&(other, _)| distance(other));
            nearest.map_or(0, |&(_, channel)| channel)
        })
        .collect()
}
