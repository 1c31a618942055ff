//! What asks for music, and what does not, through the hosted plugin: a host without a window can do
//! all of it. Offline, so that a block that asked has its clip at its end.

use std::error::Error;

use famam_tests::built;
use famam_tests::host::{Block, Format, Host, ParameterId};
use famam_tests::state::{self, SavedClip};

/// The clip after a block in which parameters (stable id and text) changed.
fn after(host: &mut dyn Host, set: &[(&str, &str)]) -> Result<SavedClip, Box<dyn Error>> {
    let mut changes = Vec::new();
    for (id, text) in set {
        let parameter = ParameterId::of(id);
        changes.push((parameter, host.value(parameter, text)?));
    }
    let block = Block {
        frames: 512,
        changes,
        ..Block::default()
    };
    host.process(&block, &mut Vec::new())?;
    host.pump();
    Ok(state::clip(&host.save()?)?.ok_or("no clip")?)
}

#[test]
fn every_change_that_shapes_the_music_asks_for_it() -> Result<(), Box<dyn Error>> {
    for format in Format::ALL {
        let mut host = format.open(&built::plugin())?;
        let host = host.as_mut();
        host.set_offline(true)?;
        host.activate(48_000.0, 512)?;
        let first = after(host, &[("bars", "1"), ("seed", "5")])?;
        assert_eq!((first.bars, &first.origin["seed"]), (1, &5.into()));
        for (id, text) in [
            ("temperature", "0"),
            ("top_k", "7"),
            ("top_p", "0.5"),
            ("part", "3"),
            ("generate", "Off"),
        ] {
            let same = after(host, &[(id, text)])?;
            assert_eq!(same, first, "{format:?}: {id} asks for nothing");
        }
        // What was set is in the next clip, which only the trigger asks for.
        let pressed = after(host, &[("generate", "On")])?;
        assert_ne!(pressed.notes, first.notes, "{format:?}: generate");
        assert_eq!(pressed.origin, first.origin);
        assert_eq!(after(host, &[("generate", "Off")])?, pressed);

        let genre = after(host, &[("genre", "rock")])?;
        assert_eq!(genre.origin["genre"], "rock");
        let bars = after(host, &[("bars", "2")])?;
        assert_eq!(bars.bars, 2);
        let seed = after(host, &[("seed", "6"), ("temperature", "1")])?;
        assert_eq!(seed.origin["seed"], 6);
        for (group, program) in [("guitar", 27), ("keys", 0), ("bass", 33)] {
            let without = after(host, &[(group, "Off")])?;
            assert_ne!(without.notes, seed.notes, "{format:?}: {group}");
            assert!(
                !without.instruments.contains(&program),
                "{format:?}: {group}"
            );
        }
        // With seed 0 a press is another seed each time; three in a row are never one.
        after(host, &[("seed", "0")])?;
        let mut seeds = Vec::new();
        for _ in 0..3 {
            let clip = after(host, &[("generate", "On")])?;
            seeds.push(clip.origin["seed"].as_u64());
            after(host, &[("generate", "Off")])?;
        }
        assert!(seeds.iter().any(|seed| *seed != seeds[0]), "{seeds:?}");
    }
    Ok(())
}

#[test]
fn a_first_bar_in_which_nothing_begins_is_not_waited_for() -> Result<(), Box<dyn Error>> {
    use famam_tests::performance::{Settings, make};
    use famam_tests::process_time::open;

    let (_other, saved, clip) = open(Format::Clap)?;
    let empty = SavedClip {
        notes: Vec::new(),
        instruments: Vec::new(),
        ..clip
    };
    let mut host = Format::Clap.open(&built::plugin())?;
    host.load(&state::with_clip(&saved, &empty)?)?;
    let settings = Settings {
        sample_rate: 48_000.0,
        frames: 512,
        tempo: 120.0,
    };
    let made = make(host.as_mut(), settings, &[])?;
    assert!(made.clip.notes.is_empty());
    assert!(made.complete.as_secs() < 60, "{:?}", made.complete);
    Ok(())
}
