//! A performance: a fresh instance is asked for a clip, its first bar and its last are waited for,
//! and the clip is played.

use std::thread;
use std::time::{Duration, Instant};

use famam_shared::instrument::Instrument;
use famam_shared::score::{Metre, Note, Score, TICKS_PER_QUARTER, Tempo, Ticks, Track};

use crate::host::{Block, Event, EventKind, Host, HostError, ParameterId, Transport};
use crate::song::Song;
use crate::state::{self, SavedClip};

/// MIDI's channel 10.
const DRUM_CHANNEL: u8 = 9;
/// A tempo at which one look is a whole bar. It is no song's, so the plugin does not take it for
/// one, but its player follows.
const LOOK_TEMPO: f64 = 6000.0;
/// How long a clip may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How the performance is given.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Samples a second.
    pub sample_rate: f64,
    /// Samples in a block.
    pub frames: u32,
    /// Quarters a minute.
    pub tempo: f64,
}

/// Why there was no performance.
#[derive(Debug, thiserror::Error)]
pub enum PerformanceError {
    /// The plugin refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Its state is none.
    #[error("the plugin's state cannot be read: {0}")]
    State(#[from] serde_json::Error),
    /// It made nothing.
    #[error("no clip came in {PATIENCE:?}: what does the plugin's window say?")]
    NoClip,
}

/// A clip, and how long it took from the moment at which it was asked for.
#[derive(Clone, Debug)]
pub struct Made {
    /// It.
    pub clip: SavedClip,
    /// Until the audio thread had its first bar.
    pub first_bar: Duration,
    /// Until it was complete.
    pub complete: Duration,
}

/// Has `host`, an instance that was never active, make its first clip with `parameters` (stable
/// id and text).
///
/// # Errors
/// The plugin refuses a parameter, or makes nothing.
pub fn make(
    host: &mut dyn Host,
    settings: Settings,
    parameters: &[(&str, &str)],
) -> Result<Made, PerformanceError> {
    let changes = parameters.iter().map(|(id, text)| {
        let parameter = ParameterId::of(id);
        Ok((parameter, host.value(parameter, text)?))
    });
    let changes = changes.collect::<Result<Vec<_>, HostError>>()?;
    host.set(&changes)?;
    let bar = (settings.sample_rate * 4.0 * 60.0 / LOOK_TEMPO).ceil() as u32;
    let frames = bar.max(settings.frames);

    let asked = Instant::now();
    host.activate(settings.sample_rate, frames)?;
    let mut events = Vec::new();
    let look = Transport {
        playing: true,
        tempo: LOOK_TEMPO,
        ..Transport::default()
    };
    while !events
        .iter()
        .any(|event: &Event| matches!(event.kind, EventKind::On { .. }))
    {
        wait(asked)?;
        if state::clip(&host.save()?)?.is_some_and(|clip| clip.rests()) {
            break;
        }
        host.process(
            &Block {
                frames,
                transport: look,
                changes: Vec::new(),
            },
            &mut events,
        )?;
        host.pump();
    }
    let first_bar = asked.elapsed();
    host.process(
        &Block {
            frames,
            ..Block::default()
        },
        &mut events,
    )?;
    loop {
        if let Some(clip) = state::clip(&host.save()?)? {
            return Ok(Made {
                clip,
                first_bar,
                complete: asked.elapsed(),
            });
        }
        wait(asked)?;
        host.pump();
    }
}

fn wait(since: Instant) -> Result<(), PerformanceError> {
    thread::sleep(Duration::from_millis(1));
    if since.elapsed() > PATIENCE {
        Err(PerformanceError::NoClip)
    } else {
        Ok(())
    }
}

/// What came out of the plugin.
#[derive(Clone, Debug)]
pub struct Recording {
    /// One track for each channel that played.
    pub score: Score,
    /// The channel of each track, from 0.
    pub channels: Vec<u8>,
}

/// Plays `quarters` from the song's start and writes down what comes out.
///
/// # Errors
/// The plugin refuses.
pub fn play(
    host: &mut dyn Host,
    settings: Settings,
    quarters: f64,
) -> Result<Recording, HostError> {
    let Settings {
        sample_rate,
        frames,
        tempo,
    } = settings;
    host.activate(sample_rate, frames)?;
    let mut song = Song::new(sample_rate, tempo);
    song.play(true);
    let ticks_per_sample = f64::from(TICKS_PER_QUARTER) / song.samples_per_quarter();
    let mut tape = Tape::default();
    let samples = (quarters * song.samples_per_quarter()).round() as u64;
    let mut played = 0u64;
    let mut events = Vec::new();
    // One block more, in which the song has stopped, ends what sounds.
    loop {
        let ended = played >= samples;
        song.play(!ended);
        let frames = frames.min((samples - played.min(samples)) as u32).max(1);
        let block = Block {
            frames,
            transport: song.advance(frames),
            changes: Vec::new(),
        };
        host.process(&block, &mut events)?;
        host.pump();
        for event in events.drain(..) {
            let sample = played + u64::from(event.sample);
            tape.write(
                event,
                Ticks((sample as f64 * ticks_per_sample).round() as u32),
            );
        }
        if ended {
            break;
        }
        played += u64::from(frames);
    }
    let micros_per_quarter = (60e6 / tempo).round() as u32;
    let (channels, tracks) = tape.tracks().into_iter().unzip();
    let score = Score {
        tracks,
        tempos: vec![Tempo {
            at: Ticks(0),
            micros_per_quarter,
        }],
        metres: vec![Metre::COMMON],
        keys: Vec::new(),
        end: Ticks((quarters * f64::from(TICKS_PER_QUARTER)).round() as u32),
    };
    Ok(Recording { score, channels })
}

/// What came out, by channel.
#[derive(Default)]
struct Tape {
    notes: [Vec<Note>; 16],
    sounding: Vec<(u8, Note)>,
    programs: [u8; 16],
}

impl Tape {
    fn write(&mut self, event: Event, at: Ticks) {
        let channel = usize::from(event.channel);
        match event.kind {
            EventKind::On { key, velocity } => {
                let note = Note {
                    start: at,
                    pitch: key,
                    duration: Ticks(1),
                    velocity,
                };
                self.sounding.push((event.channel, note));
            }
            EventKind::Off { key } => {
                let is_it =
                    |(channel, note): &(u8, Note)| (*channel, note.pitch) == (event.channel, key);
                if let Some(index) = self.sounding.iter().position(is_it) {
                    let (_, mut note) = self.sounding.swap_remove(index);
                    note.duration = at.saturating_sub(note.start).max(Ticks(1));
                    self.notes[channel].push(note);
                }
            }
            EventKind::AllNotesOff => (),
            EventKind::Program(program) => self.programs[channel] = program,
        }
    }

    fn tracks(self) -> Vec<(u8, Track)> {
        let channels = (0u8..).zip(self.notes.into_iter().zip(self.programs));
        let played = channels.filter(|(_, (notes, _))| !notes.is_empty());
        played
            .map(|(channel, (mut notes, program))| {
                notes.sort_unstable();
                let program = Instrument::new(program).unwrap_or(Instrument::DRUMS);
                let instrument = if channel == DRUM_CHANNEL {
                    Instrument::DRUMS
                } else {
                    program
                };
                let name = instrument.name().to_owned();
                (
                    channel,
                    Track {
                        instrument,
                        name,
                        notes,
                    },
                )
            })
            .collect()
    }
}
