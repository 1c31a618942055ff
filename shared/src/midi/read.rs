//! The bytes of a MIDI file to a [`Score`].
//!
//! 1. Each track's events are taken one by one, their times rescaled to the score's grid
//!    (nearest tick) as they come.
//! 2. A note-on opens a note, a note-off of its channel and pitch ends the one that was opened
//!    first; what is still open ends with the track. A note has at least one tick.
//! 3. The notes of one track are divided by channel and program into the score's tracks: a program
//!    change sends the notes after it to another one. Channel 10 is the drum kit.
//! 4. A channel that has no program change in its own track takes the programs that another track
//!    sets on it: see `program`.
//!
//! The patterns of a format 2 file are played one after another, each in common time and at 120
//! quarters a minute until it says otherwise. Where the division is SMPTE, ticks are seconds: they
//! are put on a grid at 120 quarters a minute, and tempo changes, which do not move anything in
//! such a file, are left out.
//!
//! What is damaged is read as far as it makes sense (see `repair`), and the next track is looked
//! for where a length is wrong. Only a file that gives no note at all for that reason is an error.
//! Memory is bounded by the limits below.

use midly::{EventIter, Format, Fps, Header, MetaMessage, MidiMessage, Timing, TrackEventKind};

use super::pairing::{Heard, Pairing};
use super::program::{self, Set, Unset};
use super::write::DRUM_CHANNEL;
use super::{ReadError, repair};
use crate::score::{Key, Metre, Note, Score, TICKS_PER_QUARTER, Tempo, Ticks, Track};

/// The longest piece: 2^31 ticks, 310 hours at 120 quarters a minute.
pub const MAX_TICKS: u64 = 1 << 31;
/// Notes in a file.
pub const MAX_NOTES: usize = 1 << 21;
/// Tracks in a score: one less than a file can have, since the first one written holds the tempo.
pub const MAX_TRACKS: usize = u16::MAX as usize - 1;
/// Changes of tempo in a file, and as many of metre, key and program.
pub const MAX_CHANGES: usize = 1 << 18;
/// Where a track's name is cut.
pub(super) const MAX_NAME_BYTES: usize = 256;

/// The score of a MIDI file's bytes; a RIFF wrapper (RMID) or anything else before the header is
/// skipped.
pub fn read(bytes: &[u8]) -> Result<Score, ReadError> {
    let start = find(b"MThd", bytes).ok_or(ReadError::NotMidi)?;
    let bytes = &bytes[start..];
    // -128 frames a second: midly 0.5.3 overflows when it negates that.
    if bytes.get(12) == Some(&0x80) {
        return Err(ReadError::Header(
            "its SMPTE frame rate is none of 24, 25, 29 and 30",
        ));
    }
    let (header, chunks) =
        midly::parse(bytes).map_err(|error| ReadError::Header(error.kind().message()))?;
    let mut reader = Reader::new(header)?;
    let mut rest = chunks.unread();
    let mut track = 0;
    while let Some(at) = find(b"MTrk", rest) {
        let Some((length, data)) = rest[at + 4..].split_first_chunk() else {
            break;
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (events, after) = data.split_at(length.min(data.len()));
        track += 1;
        let read = reader.track(track, events)?;
        // Where the length does not lead to a next track, what was read may.
        rest = match after {
            [b'M', b'T', b'r', b'k', ..] => after,
            _ => &data[read..],
        };
    }
    match track {
        0 => Err(ReadError::NoTracks),
        last => reader.finish(last),
    }
}

fn find(id: &[u8; 4], bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == id)
}

/// From the file's ticks to the score's: `ticks * numerator / denominator`, to the nearest.
#[derive(Clone, Copy)]
struct Grid {
    numerator: u64,
    denominator: u64,
}

impl Grid {
    fn new(timing: Timing) -> Result<Self, ReadError> {
        // At 120 quarters a minute a second has two quarters.
        const TICKS_PER_SECOND: u64 = 2 * TICKS_PER_QUARTER as u64;
        let (numerator, denominator) = match timing {
            Timing::Metrical(ticks) => (TICKS_PER_QUARTER.into(), ticks.as_int().into()),
            Timing::Timecode(Fps::Fps29, frame) => {
                (TICKS_PER_SECOND * 1001, 30_000 * u64::from(frame))
            }
            Timing::Timecode(fps, frame) => {
                (TICKS_PER_SECOND, u64::from(fps.as_int()) * u64::from(frame))
            }
        };
        match denominator {
            0 => Err(ReadError::Header("its division is 0 ticks")),
            _ => Ok(Self {
                numerator,
                denominator,
            }),
        }
    }

    fn ticks(self, ticks: u64) -> u64 {
        (2 * ticks * self.numerator + self.denominator) / (2 * self.denominator)
    }
}

/// What becomes one track of the score.
struct Part {
    channel: u8,
    /// `None` until the track itself sets one.
    program: Option<u8>,
    notes: usize,
}

struct Reader {
    header: Header,
    grid: Grid,
    score: Score,
    sets: Vec<Set>,
    unset: Vec<Unset>,
    damage: Option<ReadError>,
    notes: usize,
    // For one track at a time, kept to be used again.
    pairing: Pairing,
    parts: Vec<Part>,
}

impl Reader {
    fn new(header: Header) -> Result<Self, ReadError> {
        Ok(Self {
            header,
            grid: Grid::new(header.timing)?,
            score: Score::default(),
            sets: Vec::new(),
            unset: Vec::new(),
            damage: None,
            notes: 0,
            pairing: Pairing::new(),
            parts: Vec::new(),
        })
    }

    /// Reads the file's track number `track`; how many of its bytes were read.
    fn track(&mut self, track: usize, bytes: &[u8]) -> Result<usize, ReadError> {
        let sequential = self.header.format == Format::Sequential;
        let origin = if sequential { self.score.end } else { Ticks(0) };
        if sequential && track > 1 {
            let micros_per_quarter = Tempo::DEFAULT_MICROS;
            let tempo = Tempo {
                at: origin,
                micros_per_quarter,
            };
            push(&mut self.score.tempos, tempo, track, "tempo changes")?;
            let metre = Metre {
                at: origin,
                ..Metre::COMMON
            };
            push(&mut self.score.metres, metre, track, "metre changes")?;
        }
        let metrical = matches!(self.header.timing, Timing::Metrical(_));
        let (mut ticks, mut now) = (0, origin);
        let mut name = String::new();
        let mut programs: [Option<u8>; 16] = [None; 16];
        let mut part_of: [Option<u16>; 16] = [None; 16];
        let mut events = EventIter::new(bytes);
        let mut status = None;
        loop {
            // Meta events end a running status by the book, but not in every file.
            status = events.running_status().or(status);
            *events.running_status_mut() = status;
            let unread = events.unread();
            let event = match events.next() {
                Some(Ok(event)) => event,
                _ if unread.is_empty() => break,
                _ => match repair::skip(unread, status) {
                    Some((event, rest)) => {
                        events = EventIter::new(rest);
                        event
                    }
                    None => {
                        events = EventIter::new(unread);
                        let byte = bytes.len() - unread.len();
                        self.damage
                            .get_or_insert(ReadError::Damaged { track, byte });
                        break;
                    }
                },
            };
            if event.delta != 0 {
                ticks += u64::from(event.delta.as_int());
                let at = u64::from(origin.0) + self.grid.ticks(ticks);
                if at > MAX_TICKS {
                    return Err(ReadError::TooLong { track });
                }
                now = Ticks(at as u32);
            }
            match event.kind {
                TrackEventKind::Midi { channel, message } => {
                    let channel = channel.as_int();
                    let of_channel = usize::from(channel);
                    match message {
                        MidiMessage::NoteOn { key, vel } if vel != 0 => {
                            if self.notes + self.pairing.heard.len() == MAX_NOTES {
                                return Err(too_many("notes", MAX_NOTES, track));
                            }
                            let part = match part_of[of_channel] {
                                Some(part) => part,
                                None => {
                                    let part = self.part(channel, programs[of_channel]);
                                    *part_of[of_channel].insert(part)
                                }
                            };
                            let (pitch, velocity) = (key.as_int(), vel.as_int());
                            self.pairing.open(now, channel, pitch, velocity, part);
                            self.parts[usize::from(part)].notes += 1;
                        }
                        MidiMessage::NoteOn { key, .. } | MidiMessage::NoteOff { key, .. } => {
                            self.pairing.close(now, channel, key.as_int());
                        }
                        MidiMessage::ProgramChange { program } if channel != DRUM_CHANNEL => {
                            let program = program.as_int();
                            programs[of_channel] = Some(program);
                            part_of[of_channel] = None;
                            let set = Set {
                                channel,
                                track,
                                at: now,
                                program,
                            };
                            push(&mut self.sets, set, track, "program changes")?;
                        }
                        _ => {}
                    }
                }
                TrackEventKind::Meta(message) => match message {
                    MetaMessage::Tempo(micros) if metrical && micros.as_int() > 0 => {
                        let tempo = Tempo {
                            at: now,
                            micros_per_quarter: micros.as_int(),
                        };
                        push(&mut self.score.tempos, tempo, track, "tempo changes")?;
                    }
                    MetaMessage::TimeSignature(numerator @ 1.., power @ 0..=7, ..) => {
                        let metre = Metre {
                            at: now,
                            numerator,
                            denominator: 1 << power,
                        };
                        push(&mut self.score.metres, metre, track, "metre changes")?;
                    }
                    MetaMessage::KeySignature(fifths @ -7..=7, minor) => {
                        let key = Key {
                            at: now,
                            fifths,
                            minor,
                        };
                        push(&mut self.score.keys, key, track, "key changes")?;
                    }
                    MetaMessage::TrackName(bytes) if name.is_empty() => name = text(bytes),
                    MetaMessage::EndOfTrack => break,
                    _ => {}
                },
                TrackEventKind::SysEx(_) | TrackEventKind::Escape(_) => {}
            }
        }
        self.end_track(track, now, &name)?;
        Ok(bytes.len() - events.unread().len())
    }

    /// The part of a channel and program in the track that is being read.
    fn part(&mut self, channel: u8, program: Option<u8>) -> u16 {
        let known = |part: &Part| (part.channel, part.program) == (channel, program);
        let index = self.parts.iter().position(known).unwrap_or_else(|| {
            self.parts.push(Part {
                channel,
                program,
                notes: 0,
            });
            self.parts.len() - 1
        });
        index as u16
    }

    /// Ends what still sounds and moves the notes into the score.
    fn end_track(&mut self, track: usize, now: Ticks, name: &str) -> Result<(), ReadError> {
        let channels = self
            .parts
            .iter()
            .fold(0u16, |set, part| set | 1 << part.channel);
        for channel in (0..16).filter(|channel| channels >> channel & 1 == 1) {
            self.pairing.close_all(now, channel);
        }
        let tracks = &mut self.score.tracks;
        let first = tracks.len();
        if first + self.parts.len() > MAX_TRACKS {
            return Err(too_many("tracks", MAX_TRACKS, track));
        }
        for part in self.parts.drain(..) {
            if part.program.is_none() && part.channel != DRUM_CHANNEL {
                self.unset.push(Unset {
                    index: tracks.len(),
                    channel: part.channel,
                    track,
                });
            }
            tracks.push(Track {
                instrument: program::instrument(part.channel, part.program),
                name: name.to_owned(),
                notes: Vec::with_capacity(part.notes),
            });
        }
        self.notes += self.pairing.heard.len();
        let mut end = now;
        for Heard {
            start,
            duration,
            pitch,
            velocity,
            part,
        } in self.pairing.heard.drain(..)
        {
            let note = Note {
                start,
                pitch,
                duration: Ticks(duration),
                velocity,
            };
            end = end.max(note.end());
            tracks[first + usize::from(part)].notes.push(note);
        }
        for track in &mut tracks[first..] {
            // They come in the order of their starts.
            for together in track.notes.chunk_by_mut(|a, b| a.start == b.start) {
                together.sort_unstable();
            }
        }
        self.score.end = self.score.end.max(end);
        Ok(())
    }

    /// The score, after the file's track number `last`.
    fn finish(mut self, last: usize) -> Result<Score, ReadError> {
        if self.notes == 0
            && let Some(damage) = self.damage
        {
            return Err(damage);
        }
        settle(&mut self.score.tempos, |tempo| tempo.at);
        settle(&mut self.score.metres, |metre| metre.at);
        settle(&mut self.score.keys, |key| key.at);
        if !self.sets.is_empty() && !self.unset.is_empty() {
            self.pairing.heard = Vec::new(); // Dividing tracks takes as much again.
            self.score.tracks = program::inherit(self.score.tracks, &self.unset, self.sets);
            if self.score.tracks.len() > MAX_TRACKS {
                return Err(too_many("tracks", MAX_TRACKS, last));
            }
        }
        Ok(self.score)
    }
}

fn too_many(what: &'static str, limit: usize, track: usize) -> ReadError {
    ReadError::TooMany { track, what, limit }
}

fn push<T>(all: &mut Vec<T>, one: T, track: usize, what: &'static str) -> Result<(), ReadError> {
    if all.len() == MAX_CHANGES {
        return Err(too_many(what, MAX_CHANGES, track));
    }
    all.push(one);
    Ok(())
}

/// Changes in the order of time, the last one where several stand at one place.
fn settle<T: Copy>(changes: &mut Vec<T>, at: impl Fn(&T) -> Ticks) {
    changes.sort_by_key(&at);
    changes.dedup_by(|later, earlier| {
        let same = at(later) == at(earlier);
        if same {
            *earlier = *later;
        }
        same
    });
}

/// A name: UTF-8 where it is that, otherwise Latin-1.
fn text(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes
            .iter()
            .take(MAX_NAME_BYTES)
            .map(|&byte| char::from(byte))
            .collect(),
    };
    text[..text.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}
