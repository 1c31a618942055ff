//! A [`Clip`]: the music that the player repeats, as notes on one timeline.
//!
//! Bars come in from the generator one by one ([`Clip::from_bars`]) or from a saved state; the
//! worker shares the result with the audio thread, the window and the state in an [`Arc`](std::sync::Arc).
//! A clip that is still growing fills the bars that it lacks with those that it has, so that every
//! clip has its whole length.

use famam_shared::instrument::Instrument;
use famam_shared::score::{Metre, Note, Score, Tempo, Ticks, Track};
use serde::{Deserialize, Serialize};

/// MIDI channels, counted from 0.
pub const CHANNELS: usize = 16;
/// The channel of the drum kit: MIDI's channel 10.
pub const DRUM_CHANNEL: u8 = 9;
/// The most bars of a clip.
pub const MAX_BARS: u32 = 64;
/// The most notes of a clip: what comes from a damaged state must not fill the memory.
pub const MAX_NOTES: usize = 1 << 18;

/// One instrument's part and the channel that it plays on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What plays it.
    pub instrument: Instrument,
    /// MIDI channel, 0 to 15; 9 for the drum kit and for nothing else.
    pub channel: u8,
}

/// A note of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClipNote {
    /// From the clip's start.
    pub start: Ticks,
    /// Index into [`Clip::parts`].
    pub part: u8,
    /// MIDI key.
    pub pitch: u8,
    /// At least one tick; may reach beyond the clip's end.
    pub duration: Ticks,
    /// MIDI velocity, 1 to 127.
    pub velocity: u8,
}

/// What a clip was made from, to be shown and saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The model's name.
    pub model: String,
    /// The model's hash.
    pub hash: String,
    /// The genre's name.
    pub genre: String,
    /// The seed; the same request with the same seed gives the same clip.
    pub seed: u64,
}

/// Music of a whole number of bars, repeated on its own length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Clips of one request have one number; a higher number is a newer request's.
    pub id: u64,
    /// Bars, [`MAX_BARS`] at most.
    pub bars: u32,
    /// The bars that were generated; the others repeat them. Equal to `bars` when it is complete.
    pub done: u32,
    /// The metre of every bar.
    pub metre: Metre,
    /// Tempo that it was made for, in microseconds a quarter.
    pub micros_per_quarter: u32,
    /// At most 128 and the drum kit, in the order in which they first play.
    pub parts: Vec<Part>,
    /// Sorted.
    pub notes: Vec<ClipNote>,
    /// What it was made from.
    pub origin: Origin,
}

impl Clip {
    /// The clip of the first bars of a request for `bars` bars. A note's start is counted from its
    /// bar line. With no bar it has no note.
    pub fn from_bars(
        id: u64,
        bars: u32,
        metre: Metre,
        micros_per_quarter: u32,
        origin: Origin,
        done: &[Vec<(Instrument, Note)>],
    ) -> Self {
        let mut order = Vec::new();
        for bar in done {
            let mut sorted: Vec<_> = bar.iter().map(|(who, note)| (note.start, *who)).collect();
            sorted.sort_unstable();
            for (_, instrument) in sorted {
                if !order.contains(&instrument) {
                    order.push(instrument);
                }
            }
        }
        let length = metre.bar();
        let mut notes = Vec::new();
        for (bar, music) in (0..bars).zip(done.iter().cycle()) {
            notes.extend(music.iter().filter_map(|(instrument, note)| {
                let part = order.iter().position(|other| other == instrument)?;
                Some(ClipNote {
                    start: Ticks(bar * length.0) + note.start.min(length.saturating_sub(Ticks(1))),
                    part: part as u8,
                    pitch: note.pitch,
                    duration: note.duration.max(Ticks(1)),
                    velocity: note.velocity,
                })
            }));
        }
        notes.sort_unstable();
        let done = done.len() as u32;
        Self {
            id,
            bars,
            done,
            metre,
            micros_per_quarter,
            parts: assign(order),
            notes,
            origin,
        }
    }

    /// Its length.
    pub fn length(&self) -> Ticks {
        Ticks(self.bars * self.metre.bar().0)
    }

    /// Whether all its bars were generated.
    pub fn is_complete(&self) -> bool {
        self.done == self.bars
    }

    /// The pitched parts that had to share a channel with another, because MIDI has only 15.
    pub fn merged_parts(&self) -> usize {
        let pitched = self
            .parts
            .iter()
            .filter(|part| part.channel != DRUM_CHANNEL)
            .count();
        pitched.saturating_sub(CHANNELS - 1)
    }

    /// The clip as a score with one track for each part.
    pub fn score(&self) -> Score {
        let mut tracks: Vec<_> = self
            .parts
            .iter()
            .map(|part| Track {
                instrument: part.instrument,
                name: part.instrument.name().to_owned(),
                notes: Vec::new(),
            })
            .collect();
        let mut end = self.length();
        for &ClipNote {
            start,
            part,
            pitch,
            duration,
            velocity,
        } in &self.notes
        {
            let note = Note {
                start,
                pitch,
                duration,
                velocity,
            };
            end = end.max(note.end());
            if let Some(track) = tracks.get_mut(usize::from(part)) {
                track.notes.push(note);
            }
        }
        tracks
            .iter_mut()
            .for_each(|track| track.notes.sort_unstable());
        Score {
            tracks,
            tempos: vec![Tempo {
                at: Ticks(0),
                micros_per_quarter: self.micros_per_quarter,
            }],
            metres: vec![Metre {
                at: Ticks(0),
                ..self.metre
            }],
            keys: Vec::new(),
            end,
        }
    }
}

/// Drums get channel 10, pitched instruments the others in order, and those beyond the fifteenth
/// share the last. More bars only add parts at the end, so that a growing clip keeps its channels.
pub(crate) fn assign(order: Vec<Instrument>) -> Vec<Part> {
    let mut next = 0;
    order
        .into_iter()
        .map(|instrument| {
            if instrument.is_drums() {
                return Part {
                    instrument,
                    channel: DRUM_CHANNEL,
                };
            }
            let channel = next;
            next = (next + 1).min(CHANNELS as u8 - 1);
            if next == DRUM_CHANNEL {
                next += 1;
            }
            Part {
                instrument,
                channel,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(start: u32, pitch: u8) -> Note {
        Note {
            start: Ticks(start),
            pitch,
            duration: Ticks(240),
            velocity: 100,
        }
    }

    #[test]
    fn a_growing_clip_repeats_what_it_has_and_keeps_its_channels() {
        let bass = Instrument::new(33).unwrap();
        let first = vec![(Instrument::DRUMS, note(0, 36)), (bass, note(0, 40))];
        let second = vec![(Instrument::new(0).unwrap(), note(480, 60))];
        let clip = |done: &[Vec<(Instrument, Note)>]| {
            Clip::from_bars(1, 4, Metre::COMMON, 500_000, Origin::default(), done)
        };
        let one = clip(std::slice::from_ref(&first));
        assert_eq!(one.notes.len(), 8);
        assert_eq!(one.length(), Ticks(4 * 3840));
        let two = clip(&[first, second]);
        assert_eq!(two.parts[..2], one.parts[..]);
        assert_eq!(
            two.notes.iter().filter(|n| n.start.0 / 3840 == 3).count(),
            1
        );
        assert_eq!(two.score().bars().count(), 4);
    }

    #[test]
    fn channels_leave_ten_to_the_drums_and_merge_beyond_fifteen() {
        let order = Instrument::all()
            .take(17)
            .chain([Instrument::DRUMS])
            .collect();
        let parts = assign(order);
        let channels: Vec<_> = parts.iter().map(|part| part.channel).collect();
        let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 15, 15, 9];
        assert_eq!(channels, expected);
    }
}
