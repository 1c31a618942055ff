//! Which program plays a channel whose own track sets none.
//!
//! Many files set all programs in one track, or in the first of several that share a channel (the
//! staves of a piano, the desks of an orchestra). Others use a channel several times, for parts
//! that have nothing in common. So a track takes the programs of the nearest track before it that
//! sets any on its channel, of the nearest one after it if there is none, and program 0 if no
//! track does.

use super::write::DRUM_CHANNEL;
use crate::instrument::Instrument;
use crate::score::{Ticks, Track};

/// A program change.
pub(super) struct Set {
    /// Counted from 0.
    pub channel: u8,
    /// Number of the file's track.
    pub track: usize,
    pub at: Ticks,
    pub program: u8,
}

/// A track of the score whose own track of the file had set no program yet.
pub(super) struct Unset {
    /// Index into the score's tracks.
    pub index: usize,
    /// Counted from 0.
    pub channel: u8,
    /// Number of the file's track.
    pub track: usize,
}

/// What plays on a channel.
pub(super) fn instrument(channel: u8, program: Option<u8>) -> Instrument {
    match channel {
        DRUM_CHANNEL => Instrument::DRUMS,
        _ => program.and_then(Instrument::new).unwrap_or_default(),
    }
}

/// Gives each of `tracks` that is in `unset` (by ascending index) its programs, dividing it where
/// they change.
pub(super) fn inherit(tracks: Vec<Track>, unset: &[Unset], mut sets: Vec<Set>) -> Vec<Track> {
    // Each track's are in the order of time already.
    sets.sort_by_key(|set| (set.channel, set.track));
    let mut unset = unset.iter().peekable();
    let mut result = Vec::with_capacity(tracks.len());
    for (index, track) in tracks.into_iter().enumerate() {
        match unset.next_if(|unset| unset.index == index) {
            Some(unset) => divide(track, unset.channel, source(&sets, unset), &mut result),
            None => result.push(track),
        }
    }
    result
}

/// The program changes that hold for `unset`: all of one track.
fn source<'a>(sets: &'a [Set], unset: &Unset) -> &'a [Set] {
    let key = |set: &Set| (set.channel, set.track);
    let from = |place| sets.partition_point(|set| key(set) < place);
    let of_channel = |set: &&Set| set.channel == unset.channel;
    let before = sets[..from((unset.channel, unset.track))]
        .last()
        .filter(of_channel);
    let after = sets[from((unset.channel, unset.track + 1))..]
        .first()
        .filter(of_channel);
    before.or(after).map_or(&[], |nearest| {
        &sets[from(key(nearest))..from((nearest.channel, nearest.track + 1))]
    })
}

/// Puts the notes of `track` into `result`, a track for each program. What stands before the first
/// change has the first program, too: it was meant to be set up by then.
fn divide(track: Track, channel: u8, sets: &[Set], result: &mut Vec<Track>) {
    let program = |at: Ticks| {
        let after = sets.partition_point(|set| set.at <= at);
        sets.get(after.saturating_sub(1)).map(|set| set.program)
    };
    let first = result.len();
    for notes in track
        .notes
        .chunk_by(|a, b| program(a.start) == program(b.start))
    {
        let instrument = instrument(channel, notes.first().and_then(|note| program(note.start)));
        match result[first..]
            .iter_mut()
            .find(|part| part.instrument == instrument)
        {
            Some(part) => part.notes.extend_from_slice(notes),
            None => {
                result.push(Track {
                    instrument,
                    name: track.name.clone(),
                    notes: notes.to_vec(),
                });
            }
        }
    }
}
