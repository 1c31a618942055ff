//! The notes that sound: every one that went out, until its off went out.

use crate::clip::CHANNELS;

/// What MIDI can tell apart: a pitch struck again ends first, so no more can sound.
const CAPACITY: usize = CHANNELS * 128;
/// No voice.
const NONE: u16 = u16::MAX;

/// A note that sounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    pub channel: u8,
    pub pitch: u8,
    /// Where it ends, in ticks of the song.
    pub end: f64,
    /// The first sample, from this block's start, on which it may end: one after its on.
    pub earliest: i64,
}

impl Voice {
    fn key(&self) -> usize {
        key(self.channel, self.pitch)
    }
}

fn key(channel: u8, pitch: u8) -> usize {
    (usize::from(channel) * 128 + usize::from(pitch)) % CAPACITY
}

/// The notes that sound, at most one for each channel and pitch.
#[derive(Debug)]
pub(super) struct Sounding {
    voices: Vec<Voice>,
    /// Index into `voices` of each channel and pitch.
    index: Box<[u16; CAPACITY]>,
}

impl Sounding {
    pub fn new() -> Self {
        Self {
            voices: Vec::with_capacity(CAPACITY),
            index: Box::new([NONE; CAPACITY]),
        }
    }

    /// The index of the note on this channel and pitch.
    pub fn find(&self, channel: u8, pitch: u8) -> Option<usize> {
        let index = self.index[key(channel, pitch)];
        (index != NONE).then_some(usize::from(index))
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut Voice> {
        self.voices.get_mut(index)
    }

    pub fn remove(&mut self, index: usize) {
        let removed = self.voices.swap_remove(index);
        self.index[removed.key()] = NONE;
        if let Some(moved) = self.voices.get(index) {
            self.index[moved.key()] = index as u16;
        }
    }

    /// Adds a note whose channel and pitch do not sound.
    pub fn push(&mut self, voice: Voice) {
        self.index[voice.key()] = self.voices.len() as u16;
        self.voices.push(voice);
    }

    pub fn voices(&self) -> &[Voice] {
        &self.voices
    }

    /// A block of `frames` samples has passed.
    pub fn pass(&mut self, frames: i64) {
        for voice in &mut self.voices {
            voice.earliest = (voice.earliest - frames).max(0);
        }
    }
}
