//! The notes that sound: every one that went out, until its off went out.

/// Sounding notes that the list has room for; a note beyond is left out. More than MIDI can tell
/// apart cannot sound: a pitch struck again ends first.
const CAPACITY: usize = super::CHANNELS * 128;

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

/// The notes that sound, at most one for each channel and pitch.
#[derive(Debug)]
pub(super) struct Sounding {
    voices: Vec<Voice>,
}

impl Sounding {
    pub fn new() -> Self {
        Self { voices: Vec::with_capacity(CAPACITY) }
    }

    /// The index of the note on this channel and pitch.
    pub fn find(&self, channel: u8, pitch: u8) -> Option<usize> {
        self.voices.iter().position(|voice| voice.channel == channel && voice.pitch == pitch)
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut Voice> {
        self.voices.get_mut(index)
    }

    pub fn remove(&mut self, index: usize) {
        self.voices.swap_remove(index);
    }

    /// Adds a note whose channel and pitch do not sound.
    pub fn push(&mut self, voice: Voice) {
        debug_assert!(self.voices.len() < CAPACITY);
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
