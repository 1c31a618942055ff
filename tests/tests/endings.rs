//! Whatever ends a note ends it once, and at once: bypass, panic, deactivation. And what the output
//! parameters promise: one part only, program changes before the notes that they are for.

use std::collections::BTreeSet;
use std::error::Error;

use famam_tests::host::{Block, Event, EventKind, Format, Host, ParameterId};
use famam_tests::process_time::{FRAMES, SAMPLE_RATE, Struck, busy, load, open, sounding};
use famam_tests::song::Song;
use famam_tests::state::SavedClip;

/// A plugin that plays a busy clip.
struct Player {
    host: Box<dyn Host>,
    song: Song,
    saved: Vec<u8>,
    clip: SavedClip,
    sounding: usize,
}

impl Player {
    fn new(format: Format) -> Result<Player, Box<dyn Error>> {
        let (mut host, saved, clip) = open(format)?;
        let clip = busy(&clip, Struck::InTurn);
        load(host.as_mut(), &saved, &clip)?;
        let mut song = Song::new(SAMPLE_RATE, 120.0);
        song.play(true);
        Ok(Player {
            host,
            song,
            saved,
            clip,
            sounding: 0,
        })
    }

    /// One block, in which the parameters `set` (stable id and text) change.
    fn block(&mut self, set: &[(&str, &str)]) -> Result<Vec<Event>, Box<dyn Error>> {
        let mut changes = Vec::new();
        for (id, text) in set {
            let parameter = ParameterId::of(id);
            changes.push((parameter, self.host.value(parameter, text)?));
        }
        let mut events = Vec::new();
        let transport = self.song.advance(FRAMES);
        self.host.process(
            &Block {
                frames: FRAMES,
                transport,
                changes,
            },
            &mut events,
        )?;
        self.sounding = sounding(self.sounding, &events);
        Ok(events)
    }

    /// Half a second, after which nearly all notes of the clip sound.
    fn play(&mut self) -> Result<Vec<Event>, Box<dyn Error>> {
        let mut events = Vec::new();
        for _ in 0..(SAMPLE_RATE / 2.0) as u32 / FRAMES {
            events.extend(self.block(&[])?);
        }
        Ok(events)
    }
}

fn ons(events: &[Event]) -> usize {
    events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::On { .. }))
        .count()
}

#[test]
fn bypass_ends_all_and_lets_nothing_begin() -> Result<(), Box<dyn Error>> {
    for format in Format::ALL {
        let mut player = Player::new(format)?;
        player.play()?;
        assert!(
            player.sounding > 190,
            "{format:?}: {} notes",
            player.sounding
        );
        let events = player.block(&[("bypass", "On")])?;
        assert_eq!((player.sounding, ons(&events)), (0, 0), "{format:?}");
        assert!(player.play()?.is_empty());
        player.block(&[("bypass", "Off")])?;
        assert!(ons(&player.play()?) > 190);
    }
    Ok(())
}

#[test]
fn panic_ends_all_and_the_music_goes_on() -> Result<(), Box<dyn Error>> {
    for format in Format::ALL {
        let mut player = Player::new(format)?;
        player.play()?;
        let before = player.sounding;
        let events = player.block(&[("panic", "On")])?;
        let first = events.iter().filter(|event| event.sample == 0);
        let offs = first
            .clone()
            .filter(|event| matches!(event.kind, EventKind::Off { .. }));
        let ended: BTreeSet<_> = offs.clone().map(|off| (off.channel, off.kind)).collect();
        // One for each note that sounded, none twice.
        assert_eq!(offs.count(), before, "{format:?}");
        assert_eq!(ended.len(), before, "{format:?}");
        let all = first.filter(|event| event.kind == EventKind::AllNotesOff);
        let channels: Vec<_> = all.map(|event| event.channel).collect();
        assert_eq!(channels, (0..16).collect::<Vec<_>>(), "{format:?}");
        player.block(&[("panic", "Off")])?;
        assert!(ons(&player.play()?) > 190);
    }
    Ok(())
}

#[test]
fn what_sounds_at_deactivation_ends_on_the_next_first_sample() -> Result<(), Box<dyn Error>> {
    for format in Format::ALL {
        let mut player = Player::new(format)?;
        player.play()?;
        let before = player.sounding;
        assert!(before > 190);
        player.host.activate(44_100.0, FRAMES)?;
        player.song.set_sample_rate(44_100.0);
        player.song.play(false);
        let events = player.block(&[])?;
        assert_eq!(player.sounding, 0, "{format:?}");
        assert_eq!(events.len(), before);
        assert!(events.iter().all(|event| event.sample == 0));
    }
    Ok(())
}

#[test]
fn one_part_only_is_one_part_on_channel_1() -> Result<(), Box<dyn Error>> {
    for format in Format::ALL {
        let mut player = Player::new(format)?;
        player.block(&[("output", "One part only"), ("part", "10")])?;
        let events = player.play()?;
        assert!(ons(&events) > 0, "{format:?}");
        assert!(events.iter().all(|event| event.channel == 0));
        // Thirteen drums, struck twice in half a second.
        assert!(ons(&events) <= 26, "{format:?}: {}", ons(&events));
    }
    Ok(())
}

#[test]
fn programs_come_before_the_notes_they_are_for() -> Result<(), Box<dyn Error>> {
    for format in Format::ALL {
        let mut player = Player::new(format)?;
        player.song.play(false);
        player.block(&[])?;
        let other = SavedClip {
            notes: player.clip.notes[1..].to_vec(),
            ..player.clip.clone()
        };
        load(player.host.as_mut(), &player.saved, &other)?;
        player.song.seek(0.0);
        player.song.play(true);
        let mut events = player.block(&[("program_changes", "On")])?;
        events.extend(player.play()?);
        let mut known = BTreeSet::from([9]);
        for event in events {
            match event.kind {
                EventKind::Program(_) => assert!(known.insert(event.channel), "{format:?}: twice"),
                EventKind::On { .. } => assert!(known.contains(&event.channel), "{format:?}"),
                EventKind::AllNotesOff | EventKind::Off { .. } => (),
            }
        }
        assert_eq!(known.len(), 16, "{format:?}: {known:?}");
    }
    Ok(())
}
