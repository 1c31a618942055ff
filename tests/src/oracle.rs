//! What the player must put out, computed without the player: from the blocks of a whole session
//! and the clips in its saved states.
//!
//! The player goes forward with a cursor, block by block. The oracle looks back: it cuts the
//! session into [`Stretch`]es in which one clip plays without a break, draws each stretch's line
//! from musical position to sample once, from its start, and puts every note of the clip on it.
//! Then it pairs what came out, pitch by pitch, with what should have.
//!
//! The rules are those of the player's contract. A musical position `p` falls on the sample
//! `floor(x(p) + 0.49)`. A stretch holds the notes whose sample lies in it; its last sample ends
//! what still sounds. A note ends on its end's sample, on the sample on which its pitch is struck
//! again, or with the stretch, and at least one sample after its start.

use std::collections::BTreeMap;

use crate::host::{Event, EventKind, Transport};

mod stretch;

use stretch::{Stretch, stretches};

/// A clip as the saved state has it, on the channels on which it plays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clip {
    /// Its length in quarters.
    pub length: f64,
    /// Sorted by start.
    pub notes: Vec<Note>,
}

/// A note of a [`Clip`]; times in quarters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// From the clip's start.
    pub start: f64,
    /// How long it sounds.
    pub duration: f64,
    /// MIDI channel, from 0.
    pub channel: u8,
    /// MIDI key.
    pub key: u8,
    /// MIDI velocity.
    pub velocity: u8,
}

/// A block as it was played, and what came out.
#[derive(Clone, Debug)]
pub struct Played {
    /// Samples a second.
    pub sample_rate: f64,
    /// Its length.
    pub frames: u32,
    /// What the host said; a bypassed plugin's song stands.
    pub transport: Transport,
    /// Whether the plugin was deactivated and activated just before.
    pub reset: bool,
    /// The clip that the plugin had ready at its start, if it is a new one.
    pub clip: Option<Clip>,
    /// Whether everything was told to end at its first sample, without the song going elsewhere.
    pub panic: bool,
    /// The channel whose part alone goes out, on channel 0; `None` is all parts.
    pub part: Option<u8>,
    /// What came out.
    pub events: Vec<Event>,
}

/// What was found right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Stretches in which a clip played.
    pub stretches: usize,
    /// Notes that came out as they should.
    pub notes: usize,
    /// Notes on the neighbouring sample, where the contract allows it.
    pub beside: usize,
}

/// A sounding note in samples from the session's start.
#[derive(Clone, Copy, Debug)]
struct Sound {
    on: i64,
    off: i64,
    velocity: u8,
    /// Samples by which on and off may differ.
    slack: (i64, i64),
    /// It may be missing: its slack reaches beyond its stretch.
    optional: bool,
}

type Pitch = (u8, u8);

/// Compares a session with what the contract says of it.
///
/// # Errors
/// The first difference, in words.
pub fn check(session: &[Played]) -> Result<Verdict, String> {
    let mut verdict = Verdict::default();
    let mut expected: BTreeMap<Pitch, Vec<Sound>> = BTreeMap::new();
    for stretch in stretches(session) {
        verdict.stretches += 1;
        expect(&stretch, &mut expected);
    }
    let mut sounded = sounded(session)?;
    for (pitch, expected) in expected {
        let sounded = sounded.remove(&pitch).unwrap_or_default();
        compare(pitch, &expected, &sounded, &mut verdict)?;
    }
    match sounded.pop_first() {
        Some((pitch, sounds)) => Err(format!(
            "channel {} key {}: nothing is due, {:?} came",
            pitch.0, pitch.1, sounds[0]
        )),
        None => Ok(verdict),
    }
}

/// Adds what should sound in one stretch.
fn expect(stretch: &Stretch, sounds: &mut BTreeMap<Pitch, Vec<Sound>>) {
    let Clip { length, ref notes } = *stretch.clip;
    let (from, to) = stretch.positions();
    let mut due: BTreeMap<Pitch, Vec<Sound>> = BTreeMap::new();
    for cycle in (from / length).floor() as i64..=(to / length).ceil() as i64 {
        for note in notes {
            let start = cycle as f64 * length + note.start;
            let Some((on, on_slack)) = stretch.sample_within(start) else {
                continue;
            };
            let (off, off_slack) = stretch.sample_of(start + note.duration);
            let channel = match stretch.part {
                Some(part) if part != note.channel => continue,
                Some(_) => 0,
                None => note.channel,
            };
            due.entry((channel, note.key)).or_default().push(Sound {
                on,
                off: off.max(on + 1),
                velocity: note.velocity,
                slack: (on_slack, on_slack.max(off_slack)),
                optional: on_slack > 0 && (on <= stretch.start || on + 1 >= stretch.end),
            });
        }
    }
    for (pitch, mut due) in due {
        due.sort_by_key(|sound| sound.on);
        // Struck twice on one sample, a pitch sounds once, to the later end.
        due.dedup_by(|next, kept| {
            let same = next.on == kept.on;
            if same {
                kept.off = kept.off.max(next.off);
            }
            same
        });
        let ends: Vec<_> = due
            .iter()
            .skip(1)
            .map(|next| (next.on, next.slack.0))
            .collect();
        for (sound, (next, slack)) in due
            .iter_mut()
            .zip(ends.into_iter().chain([(stretch.end, stretch.end_slack)]))
        {
            if next <= sound.off {
                (sound.off, sound.slack.1) = (next, sound.slack.1.max(slack));
            }
        }
        sounds.entry(pitch).or_default().append(&mut due);
    }
}

/// What sounded, with everything checked that needs no clip: order, and one off for each on.
fn sounded(session: &[Played]) -> Result<BTreeMap<Pitch, Vec<Sound>>, String> {
    let mut sounds: BTreeMap<Pitch, Vec<Sound>> = BTreeMap::new();
    let mut begun = 0;
    const SOUNDING: i64 = i64::MAX;
    for (number, block) in session.iter().enumerate() {
        let rank = |event: &Event| {
            let kind = match event.kind {
                EventKind::AllNotesOff | EventKind::Off { .. } => 0,
                EventKind::Program(_) => 1,
                EventKind::On { .. } => 2,
            };
            (event.sample, kind)
        };
        if !block.events.is_sorted_by_key(rank) {
            return Err(format!(
                "block {number}: events out of order: {:?}",
                block.events
            ));
        }
        for event in &block.events {
            if event.sample >= block.frames {
                return Err(format!(
                    "block {number} of {} frames: {event:?}",
                    block.frames
                ));
            }
            let at = begun + i64::from(event.sample);
            match event.kind {
                EventKind::On { key, velocity } => {
                    let sounds = sounds.entry((event.channel, key)).or_default();
                    if sounds.last().is_some_and(|sound| sound.off == SOUNDING) {
                        return Err(format!("block {number}: struck while it sounds: {event:?}"));
                    }
                    let (off, slack) = (SOUNDING, (0, 0));
                    sounds.push(Sound {
                        on: at,
                        off,
                        velocity,
                        slack,
                        optional: false,
                    });
                }
                EventKind::Off { key } => {
                    match sounds.entry((event.channel, key)).or_default().last_mut() {
                        Some(sound) if sound.off == SOUNDING && sound.on < at => sound.off = at,
                        last => {
                            return Err(format!("block {number}: {event:?} ends {last:?}"));
                        }
                    }
                }
                EventKind::AllNotesOff | EventKind::Program(_) => (),
            }
        }
        begun += i64::from(block.frames);
    }
    for (pitch, sounds) in &sounds {
        if let Some(stuck) = sounds.iter().find(|sound| sound.off == SOUNDING) {
            return Err(format!(
                "channel {} key {} never ends: {stuck:?}",
                pitch.0, pitch.1
            ));
        }
    }
    Ok(sounds)
}

fn compare(
    pitch: Pitch,
    expected: &[Sound],
    sounded: &[Sound],
    verdict: &mut Verdict,
) -> Result<(), String> {
    let mut sounded = sounded.iter().peekable();
    for due in expected {
        let fits = |came: &&&Sound| {
            came.velocity == due.velocity
                && (came.on - due.on).abs() <= due.slack.0
                && (came.off - due.off).abs() <= due.slack.1
        };
        match sounded.peek().filter(fits) {
            Some(came) => {
                verdict.notes += 1;
                verdict.beside += usize::from((came.on, came.off) != (due.on, due.off));
                sounded.next();
            }
            None if due.optional => (),
            None => {
                let came = sounded.peek();
                let (channel, key) = pitch;
                return Err(format!(
                    "channel {channel} key {key}: {due:?} is due, {came:?} came"
                ));
            }
        }
    }
    match sounded.next() {
        Some(came) => Err(format!(
            "channel {} key {}: {came:?} is one too many",
            pitch.0, pitch.1
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::song::Song;

    const QUARTER: u32 = 24_000;

    fn event(sample: u32, channel: u8, kind: EventKind) -> Event {
        Event {
            sample,
            channel,
            kind,
        }
    }

    fn on(sample: u32, channel: u8, key: u8) -> Event {
        event(sample, channel, EventKind::On { key, velocity: 100 })
    }

    fn off(sample: u32, channel: u8, key: u8) -> Event {
        event(sample, channel, EventKind::Off { key })
    }

    fn clip(notes: &[(f64, f64, u8, u8)]) -> Clip {
        let note = |&(start, duration, channel, key)| Note {
            start,
            duration,
            channel,
            key,
            velocity: 100,
        };
        Clip {
            length: 4.0,
            notes: notes.iter().map(note).collect(),
        }
    }

    /// Blocks of a quarter from position 2.5, the last of them stopped, in a loop from 2 to 4. The
    /// second clip comes with the third block and waits for the loop's start.
    fn session() -> Vec<Played> {
        let first = clip(&[(2.5, 0.5, 0, 60), (3.0, 8.0, 0, 60), (3.0, 0.25, 9, 36)]);
        let second = clip(&[(2.0, 0.5, 1, 62), (2.5, 1.0, 1, 62)]);
        let events = [
            vec![
                on(0, 0, 60),
                off(12_000, 0, 60),
                on(12_000, 0, 60),
                on(12_000, 9, 36),
                off(18_000, 9, 36),
            ],
            vec![off(12_000, 0, 60), on(12_000, 1, 62)],
            vec![off(0, 1, 62), on(0, 1, 62)],
            vec![off(0, 1, 62)],
        ];
        let mut song = Song::new(48_000.0, 120.0);
        song.set_loop(Some((2.0, 4.0)));
        song.seek(2.5);
        song.play(true);
        let clips = [Some(first), Some(second), None, None];
        let blocks = events.into_iter().zip(clips).enumerate();
        blocks
            .map(|(number, (events, clip))| {
                song.play(number < 3);
                let transport = song.advance(QUARTER);
                let (sample_rate, frames, reset) = (48_000.0, QUARTER, false);
                Played {
                    sample_rate,
                    frames,
                    transport,
                    reset,
                    clip,
                    panic: false,
                    part: None,
                    events,
                }
            })
            .collect()
    }

    #[test]
    fn what_the_contract_says_is_right() {
        let verdict = Verdict {
            stretches: 2,
            notes: 5,
            beside: 0,
        };
        assert_eq!(check(&session()), Ok(verdict));
    }

    #[test]
    fn whatever_else_is_wrong() {
        let good = session();
        for (block, index) in (0..good.len())
            .flat_map(|block| (0..good[block].events.len()).map(move |index| (block, index)))
        {
            let with = |change: &dyn Fn(&mut Vec<Event>)| {
                let mut session = good.clone();
                change(&mut session[block].events);
                check(&session)
            };
            let moved = |by: i64| {
                with(&|events| {
                    let sample = i64::from(events[index].sample) + by;
                    events[index].sample = sample.clamp(0, i64::from(QUARTER) - 1) as u32;
                })
            };
            assert!(
                with(&|events| events.retain(|event| *event != good[block].events[index])).is_err()
            );
            assert!(with(&|events| events.insert(index, events[index])).is_err());
            assert!(with(&|events| events[index].channel ^= 2).is_err());
            assert!(with(&|events| events.swap(0, index)).is_err() || index == 0);
            assert!(moved(1).is_err());
            assert!(moved(-1).is_err() || good[block].events[index].sample == 0);
        }
    }
}
