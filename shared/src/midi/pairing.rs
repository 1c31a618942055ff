//! Note-ons and note-offs of one track to notes: an end is of the note of its channel and pitch
//! that began first.

use crate::score::Ticks;

/// No note.
const NONE: u32 = u32::MAX;

/// A note of the track that is being read.
pub(super) struct Heard {
    pub start: Ticks,
    /// Its duration in ticks; while it sounds, the index of the note opened next on its channel and
    /// pitch, or [`NONE`]: a queue that needs no memory of its own.
    pub duration: u32,
    pub pitch: u8,
    pub velocity: u8,
    /// Which part of the track plays it.
    pub part: u16,
}

/// The sounding notes of one channel and pitch: indices into [`Pairing::heard`].
#[derive(Clone, Copy)]
struct Sounding {
    first: u32,
    last: u32,
}

/// The notes of a track, in the order of their starts.
pub(super) struct Pairing {
    pub heard: Vec<Heard>,
    /// By channel and pitch.
    sounding: [Sounding; 16 * 128],
}

impl Pairing {
    pub fn new() -> Self {
        Self {
            heard: Vec::new(),
            sounding: [Sounding {
                first: NONE,
                last: NONE,
            }; 16 * 128],
        }
    }

    pub fn open(&mut self, start: Ticks, channel: u8, pitch: u8, velocity: u8, part: u16) {
        let index = self.heard.len() as u32;
        let sounding = &mut self.sounding[place(channel, pitch)];
        match sounding.first {
            NONE => sounding.first = index,
            _ => self.heard[sounding.last as usize].duration = index,
        }
        sounding.last = index;
        self.heard.push(Heard {
            start,
            duration: NONE,
            pitch,
            velocity,
            part,
        });
    }

    /// Ends a note; whether one sounded.
    pub fn close(&mut self, now: Ticks, channel: u8, pitch: u8) -> bool {
        let sounding = &mut self.sounding[place(channel, pitch)];
        match self.heard.get_mut(sounding.first as usize) {
            Some(note) => {
                sounding.first = note.duration;
                note.duration = (now - note.start).0.max(1);
                true
            }
            None => false,
        }
    }

    /// Ends all that sounds on `channel`.
    pub fn close_all(&mut self, now: Ticks, channel: u8) {
        for pitch in 0..128 {
            while self.close(now, channel, pitch) {}
        }
    }
}

fn place(channel: u8, pitch: u8) -> usize {
    usize::from(channel) << 7 | usize::from(pitch)
}
