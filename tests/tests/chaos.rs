//! The built plugin against the oracle, through everything that a host's transport may do: block
//! sizes from 1 to 8192, sample rates from 44.1 to 192 kHz, tempo changes, 3/4 and 7/8, loops,
//! seeks, stops, a new clip every second, bypass, panic, another output, programs, and two instances in
//! one process.
//!
//! It renders offline, where the plugin waits for its clips, so that the block in which a clip
//! comes is known.

use std::error::Error;

use famam_tests::built;
use famam_tests::host::{Block, Event, Format, Host, HostError, ParameterId, Transport};
use famam_tests::oracle::{self, Clip, Played, Verdict};
use famam_tests::song::Song;
use famam_tests::state::{self, SavedClip};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const LONGEST: u32 = 8192;
const SAMPLE_RATES: [f64; 6] = [44_100.0, 48_000.0, 88_200.0, 96_000.0, 176_400.0, 192_000.0];
/// Tempos whose samples are whole, whose samples are not, and those that meet half samples.
const TEMPOS: [f64; 6] = [120.0, 97.3, 40.0, 240.0, 133.333_333, 61.7];
const METRES: [(u16, u16); 3] = [(4, 4), (3, 4), (7, 8)];

/// A clip that no model would write: more parts than channels, notes that overlap, that strike
/// each other, that last a tick and that reach beyond the end, on the grid and off it.
fn dense(rng: &mut ChaCha8Rng) -> SavedClip {
    let metre = [(4, 4), (3, 4), (7, 8)][rng.random_range(0..3)];
    let bars = rng.random_range(1..=3);
    let length = bars * u32::from(metre.0) * 3840 / u32::from(metre.1);
    let instruments: Vec<u8> = (rng.random_range(0..108)..).take(20).chain([128]).collect();
    let mut notes: Vec<_> = (0..rng.random_range(50..400))
        .map(|_| {
            let grid = [1, 80, 120, 240][rng.random_range(0..4)];
            let start = rng.random_range(0..length) / grid * grid;
            let longest = [1, 240, 2 * length][rng.random_range(0..3)];
            let part = rng.random_range(0..instruments.len()) as u8;
            let key = rng.random_range(58..62);
            (
                start,
                rng.random_range(1..=longest),
                part,
                key,
                rng.random_range(1..128),
            )
        })
        .collect();
    notes.sort_unstable();
    let origin = json!({ "model": "none", "hash": "", "genre": "any", "seed": 1 });
    SavedClip {
        bars,
        metre,
        micros_per_quarter: 500_000,
        origin,
        instruments,
        notes,
    }
}

type Changes = Vec<(ParameterId, f64)>;

/// An instance, its song, and all that was played.
struct Session {
    host: Box<dyn Host>,
    song: Song,
    /// The clip in the last state that was looked at.
    clip: Option<Clip>,
    seed: u32,
    reset: bool,
    /// Samples of song until the next clip is asked for.
    until_clip: f64,
    /// What the parameters say: bypass, panic, program changes, the only part that goes out.
    bypass: bool,
    pressed: bool,
    programs: bool,
    part: Option<u8>,
    played: Vec<Played>,
}

impl Session {
    fn new(format: Format, seed: u32) -> Result<Session, Box<dyn Error>> {
        let mut host = format.open(&built::plugin())?;
        host.set_offline(true)?;
        let song = Song::new(48_000.0, 120.0);
        host.activate(song.sample_rate(), LONGEST)?;
        let (clip, reset, until_clip, played) = (None, false, 0.0, Vec::new());
        Ok(Session {
            host,
            song,
            clip,
            seed,
            reset,
            until_clip,
            bypass: false,
            pressed: false,
            programs: false,
            part: None,
            played,
        })
    }

    fn change(&mut self, id: &str, text: &str) -> Result<(ParameterId, f64), HostError> {
        let parameter = ParameterId::of(id);
        Ok((parameter, self.host.value(parameter, text)?))
    }

    /// One block, preceded by whatever `rng` makes of the transport.
    fn step(&mut self, rng: &mut ChaCha8Rng) -> Result<(), Box<dyn Error>> {
        self.disturb(rng)?;
        let frames = self.frames(rng);
        self.until_clip -= f64::from(frames);
        if self.until_clip >= 0.0 {
            let (changes, panic) = self.toggle(rng)?;
            return self.play(frames, changes, false, panic);
        }
        self.until_clip = self.song.sample_rate();
        if rng.random() {
            let (saved, clip) = (self.host.save()?, dense(rng));
            self.host.load(&state::with_clip(&saved, &clip)?)?;
            self.block(frames, Vec::new(), true)?;
            let taken = self.clip.as_ref() == Some(&clip.clip());
            assert!(taken, "the state's clip was not taken");
            return Ok(());
        }
        self.seed = self.seed % 9999 + 1;
        let (bars, seed) = (
            rng.random_range(1..=2u32).to_string(),
            self.seed.to_string(),
        );
        let changes = vec![self.change("bars", &bars)?, self.change("seed", &seed)?];
        self.block(frames, changes, true)
    }

    /// As many short blocks as long ones, some of the longest, and some that end with the loop.
    fn frames(&self, rng: &mut ChaCha8Rng) -> u32 {
        let frames = match rng.random_range(0..50) {
            0 => LONGEST,
            _ => f64::from(LONGEST).powf(rng.random::<f64>()) as u32,
        };
        let song = &self.song;
        let end = song.loop_range().filter(|_| rng.random_bool(0.3));
        let rest = end.map(|(_, end)| (end - song.quarters()) * song.samples_per_quarter());
        let rest = rest.map(|rest| rest.ceil()).filter(|rest| *rest >= 1.0);
        rest.map_or(frames, |rest| frames.min(rest as u32))
    }

    /// Mostly nothing; now and then a switch, or panic.
    fn toggle(&mut self, rng: &mut ChaCha8Rng) -> Result<(Changes, bool), HostError> {
        let on = |on| if on { "On" } else { "Off" };
        let changes = match rng.random_range(0..200) {
            // Silence is shorter than music.
            0..16 if self.bypass => vec![self.change("bypass", "Off")?],
            0..4 => vec![self.change("bypass", "On")?],
            16..20 => vec![self.change("program_changes", on(!self.programs))?],
            20..24 | 40..80 if self.part.is_some() => {
                vec![self.change("output", "All parts by channel")?]
            }
            24..27 => {
                let part = rng.random_range(1..=16u8);
                let text = part.to_string();
                self.part = Some(part - 1);
                return Ok((
                    vec![
                        self.change("output", "One part only")?,
                        self.change("part", &text)?,
                    ],
                    false,
                ));
            }
            27..37 if self.pressed => {
                // Let go again, which does nothing.
                self.pressed = false;
                vec![self.change("panic", "Off")?]
            }
            27..37 => {
                self.pressed = true;
                let press = vec![self.change("panic", "On")?];
                return Ok((press, true));
            }
            _ => Vec::new(),
        };
        if let Some((parameter, _)) = changes.first() {
            match *parameter {
                id if id == ParameterId::of("bypass") => self.bypass ^= true,
                id if id == ParameterId::of("program_changes") => self.programs ^= true,
                id if id == ParameterId::of("output") => self.part = None,
                _ => (),
            }
        }
        Ok((changes, false))
    }

    fn block(&mut self, frames: u32, changes: Changes, asks: bool) -> Result<(), Box<dyn Error>> {
        self.play(frames, changes, asks, false)
    }

    fn play(
        &mut self,
        frames: u32,
        changes: Changes,
        asks: bool,
        panic: bool,
    ) -> Result<(), Box<dyn Error>> {
        let transport = self.song.advance(frames);
        let metre = self.played.last().map(|last| last.transport.metre);
        let asks = asks || metre != Some(transport.metre);
        let mut events: Vec<Event> = Vec::new();
        self.host.process(
            &Block {
                frames,
                transport,
                changes,
            },
            &mut events,
        )?;
        self.host.pump();
        let mut clip = None;
        if asks {
            let saved = state::clip(&self.host.save()?)?
                .ok_or("no clip in the state")?
                .clip();
            if self.clip.as_ref() != Some(&saved) {
                self.clip = Some(saved.clone());
                clip = Some(saved);
            }
        }
        let transport = Transport {
            playing: transport.playing && !self.bypass,
            ..transport
        };
        let reset = std::mem::take(&mut self.reset);
        let sample_rate = self.song.sample_rate();
        self.played.push(Played {
            sample_rate,
            frames,
            transport,
            reset,
            clip,
            panic,
            part: self.part,
            events,
        });
        Ok(())
    }

    /// Mostly nothing.
    fn disturb(&mut self, rng: &mut ChaCha8Rng) -> Result<(), HostError> {
        let song = &mut self.song;
        let somewhere = |rng: &mut ChaCha8Rng| match rng.random_range(0..3) {
            0 => f64::from(rng.random_range(0..64u32)),
            1 => f64::from(rng.random_range(0..640u32)) / 12.0,
            _ => rng.random_range(0.0..64.0),
        };
        match rng.random_range(0..300) {
            0..4 => song.play(false),
            4..24 => song.play(true),
            24..30 => {
                let to = somewhere(rng);
                // Hosts that ramp their tempo are off by a little without having gone anywhere.
                if (to - song.quarters()).abs() > 0.1 {
                    song.seek(to);
                }
            }
            30..36 => song.set_tempo(TEMPOS[rng.random_range(0..TEMPOS.len())]),
            36..38 => song.set_tempo(rng.random_range(40.0..240.0)),
            38..40 => song.set_metre(METRES[rng.random_range(0..METRES.len())]),
            40..44 => {
                let start = song.quarters().floor().max(0.0);
                let length = f64::from(rng.random_range(2..24u32)) / 2.0;
                song.set_loop(Some((start, start + length)));
            }
            44..47 => song.set_loop(None),
            47..48 => {
                song.set_sample_rate(SAMPLE_RATES[rng.random_range(0..SAMPLE_RATES.len())]);
                self.host.activate(song.sample_rate(), LONGEST)?;
                self.reset = true;
            }
            _ => (),
        }
        Ok(())
    }

    /// Lets all end, and asks the oracle.
    fn finish(mut self) -> Result<Verdict, Box<dyn Error>> {
        self.song.play(false);
        self.block(64, Vec::new(), false)?;
        Ok(oracle::check(&self.played)?)
    }
}

/// `blocks` blocks of two instances that live in one process and take turns.
fn chaos(format: Format, seed: u64, blocks: usize) -> Result<(), Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sessions = [Session::new(format, 1)?, Session::new(format, 5000)?];
    for session in &mut sessions {
        session.song.play(true);
    }
    for _ in 0..blocks {
        for session in &mut sessions {
            session.step(&mut rng)?;
        }
    }
    for session in sessions {
        let verdict = session.finish()?;
        println!("{format:?}: {verdict:?}");
        assert!(verdict.notes > 1000, "hardly anything played: {verdict:?}");
        assert!(
            verdict.beside * 50 < verdict.notes,
            "often a sample off: {verdict:?}"
        );
    }
    Ok(())
}

/// Blocks of each instance: the contract is claimed for ten thousand.
fn blocks() -> usize {
    if std::env::var_os("FAMAM_LONG").is_some() {
        100_000
    } else {
        10_000
    }
}

#[test]
fn clap_plays_what_the_contract_says() -> Result<(), Box<dyn Error>> {
    chaos(Format::Clap, 1, blocks())
}

#[test]
fn vst3_plays_what_the_contract_says() -> Result<(), Box<dyn Error>> {
    chaos(Format::Vst3, 2, blocks())
}

/// As hosts do that have several audio threads.
#[test]
fn two_instances_play_at_the_same_time() {
    let alone = |seed: u32| {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(seed));
        let mut play = || -> Result<Verdict, Box<dyn Error>> {
            let format = Format::ALL[seed as usize % 2];
            let mut session = Session::new(format, seed)?;
            session.song.play(true);
            for _ in 0..1500 {
                session.step(&mut rng)?;
            }
            session.finish()
        };
        play().map_err(|error| error.to_string())
    };
    std::thread::scope(|scope| {
        let threads = [7, 8].map(|seed| scope.spawn(move || alone(seed)));
        for thread in threads {
            let verdict = thread.join().expect("no panic").expect("no error");
            assert!(verdict.notes > 100, "hardly anything played: {verdict:?}");
        }
    });
}
