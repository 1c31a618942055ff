//! One seed, one clip: at any block size, on any number of threads, live or offline, as CLAP or as
//! VST3.

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use famam_tests::built;
use famam_tests::host::{Block, Format, ParameterId};
use famam_tests::state::{self, SavedClip};

const SAMPLE_RATE: f64 = 48_000.0;
const SEED: u32 = 4711;

/// Asks a fresh instance for a clip and waits for it.
fn clip(format: Format, frames: u32, offline: bool) -> Result<SavedClip, Box<dyn Error>> {
    let mut host = format.open(&built::plugin())?;
    host.set_offline(offline)?;
    host.activate(SAMPLE_RATE, frames)?;
    // The seed last: a clip that was begun while the others changed has another.
    for (id, text) in [
        ("bars", "4"),
        ("temperature", "1.1"),
        ("seed", &SEED.to_string()),
    ] {
        let parameter = ParameterId::of(id);
        let changes = vec![(parameter, host.value(parameter, text)?)];
        host.process(
            &Block {
                frames,
                changes,
                ..Block::default()
            },
            &mut Vec::new(),
        )?;
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(clip) = state::clip(&host.save()?)?
            && clip.origin["seed"].as_u64() == Some(u64::from(SEED))
        {
            return Ok(clip);
        }
        if Instant::now() > deadline {
            return Err("no clip came".into());
        }
        thread::sleep(Duration::from_millis(5));
        host.pump();
        host.process(
            &Block {
                frames,
                ..Block::default()
            },
            &mut Vec::new(),
        )?;
    }
}

#[test]
fn block_size_format_and_clock_change_nothing() -> Result<(), Box<dyn Error>> {
    let expected = clip(Format::Clap, 512, true)?;
    assert!(
        !expected.notes.is_empty(),
        "a clip of no notes proves nothing"
    );
    for (format, frames, offline) in [
        (Format::Clap, 1, false),
        (Format::Clap, 64, true),
        (Format::Clap, 8192, false),
        (Format::Vst3, 512, false),
        (Format::Vst3, 37, true),
    ] {
        let came = clip(format, frames, offline)?;
        assert_eq!(
            came.notes, expected.notes,
            "{format:?}, {frames} frames, offline {offline}"
        );
        assert_eq!(came.instruments, expected.instruments);
    }
    Ok(())
}

/// In a process of its own, which the parent has bound to some processors.
#[test]
#[ignore = "run by the test below"]
fn child() -> Result<(), Box<dyn Error>> {
    let to = env::var_os("FAMAM_CLIP").ok_or("run by the test below")?;
    fs::write(to, serde_json::to_vec(&clip(Format::Clap, 512, false)?)?)?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn the_number_of_threads_changes_nothing() -> Result<(), Box<dyn Error>> {
    let processors = thread::available_parallelism()?.get();
    if processors == 1 {
        println!("skipped: one processor, so there is nothing to compare");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut clips = Vec::new();
    for count in [1, processors] {
        let to = folder.path().join(count.to_string());
        let status = Command::new("taskset")
            .args(["--cpu-list", &format!("0-{}", count - 1)])
            .arg(env::current_exe()?)
            .args(["--exact", "child", "--ignored"])
            .env("FAMAM_CLIP", &to)
            .status()?;
        assert!(status.success());
        clips.push(serde_json::from_slice::<SavedClip>(&fs::read(to)?)?);
    }
    assert_eq!(clips[0].notes, clips[1].notes);
    Ok(())
}
