//! A headless host: loads the built plugin, drives its transport block by block and collects the
//! events that come out. One trait, [`Host`], with one implementation for each plugin format.

use std::path::{Path, PathBuf};

mod clap;
mod vst3;

pub use clap::ClapHost;
pub use vst3::Vst3Host;

/// What the host says of its song for one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transport {
    /// Whether the song runs.
    pub playing: bool,
    /// The position of the block's first sample, in quarters.
    pub quarters: f64,
    /// Quarters a minute.
    pub tempo: f64,
    /// Numerator and denominator.
    pub metre: (u16, u16),
    /// The bar line at or before the position, in quarters.
    pub bar_start: f64,
    /// The number of that bar, from 0.
    pub bar: i32,
    /// The loop from (included) and to (excluded), in quarters, where one is on.
    pub loop_range: Option<(f64, f64)>,
}

impl Default for Transport {
    /// Standing at the start of a song at 120 in 4/4.
    fn default() -> Transport {
        Transport {
            playing: false,
            quarters: 0.0,
            tempo: 120.0,
            metre: (4, 4),
            bar_start: 0.0,
            bar: 0,
            loop_range: None,
        }
    }
}

/// A parameter, named as the formats name it: by a hash of its stable id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParameterId(pub u32);

impl ParameterId {
    /// The parameter with the stable id `id`.
    pub fn of(id: &str) -> ParameterId {
        let hash = id.bytes().fold(0u32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        // VST3 keeps the highest bit for the host's own parameters.
        ParameterId(hash & !(1 << 31))
    }
}

/// MIDI's controller *all notes off*.
const ALL_NOTES_OFF: u8 = 123;

/// What the plugin says of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// What the format calls it.
    pub id: ParameterId,
    /// Its name.
    pub name: String,
    /// Its values but one; 0 where it is continuous.
    pub steps: u32,
    /// The lowest value, the default and the highest one as texts.
    pub texts: [String; 3],
    /// Its unit.
    pub unit: String,
}

/// One call of `process`.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Its length in samples.
    pub frames: u32,
    /// The song.
    pub transport: Transport,
    /// Parameters that change at its first sample, with values as [`Host::value`] gives them.
    pub changes: Vec<(ParameterId, f64)>,
}

/// What the plugin put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Samples from the block's first.
    pub sample: u32,
    /// MIDI channel, from 0.
    pub channel: u8,
    /// What happens.
    pub kind: EventKind,
}

/// What an [`Event`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A note ends.
    Off {
        /// MIDI key.
        key: u8,
    },
    /// MIDI's controller *all notes off* of the channel.
    AllNotesOff,
    /// A program change.
    Program(u8),
    /// A note starts.
    On {
        /// MIDI key.
        key: u8,
        /// MIDI velocity, 1 to 127.
        velocity: u8,
    },
}

/// Why the plugin could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The file is not a plugin of this format.
    #[error("{path} could not be loaded as {format}: {why}; build it with cargo xtask bundle")]
    Load {
        /// The file.
        path: PathBuf,
        /// CLAP or VST3.
        format: &'static str,
        /// What was missing.
        why: String,
    },
    /// The plugin said no, or lacks what was asked.
    #[error("the plugin refused to {0}")]
    Refused(String),
}

impl HostError {
    fn refused(what: impl Into<String>) -> HostError {
        HostError::Refused(what.into())
    }
}

/// Runs the `process` call that it is given, and whatever it measures around it.
pub type Around<'a> = &'a mut dyn FnMut(&mut dyn FnMut());

/// An instance of the plugin, on the thread that made it.
pub trait Host {
    /// Sets parameters of an instance that is not active.
    fn set(&mut self, changes: &[(ParameterId, f64)]) -> Result<(), HostError>;
    /// Makes it ready to process blocks of up to `max_frames` samples; if it was ready, it is
    /// deactivated first.
    fn activate(&mut self, sample_rate: f64, max_frames: u32) -> Result<(), HostError>;
    /// The opposite.
    fn deactivate(&mut self);
    /// Whether time is the song's (a bounce) or the clock's. Takes effect at [`Host::activate`].
    fn set_offline(&mut self, offline: bool) -> Result<(), HostError>;
    /// Processes a block, `around` its very call; appends what came out to `events`.
    fn process_around(
        &mut self,
        block: &Block,
        events: &mut Vec<Event>,
        around: Around<'_>,
    ) -> Result<(), HostError>;
    /// All parameters, in the plugin's order.
    fn parameters(&mut self) -> Result<Vec<Parameter>, HostError>;
    /// The format's value for a parameter's text, such as `Rock` for `genre`.
    fn value(&mut self, parameter: ParameterId, text: &str) -> Result<f64, HostError>;
    /// The parameter's present value as text.
    fn text(&mut self, parameter: ParameterId) -> Result<String, HostError>;
    /// The plugin's state, as a project file would keep it.
    fn save(&mut self) -> Result<Vec<u8>, HostError>;
    /// Restores a state. An error says that the plugin refused it.
    fn load(&mut self, state: &[u8]) -> Result<(), HostError>;
    /// Does what the plugin asked the main thread to do since the last time.
    fn pump(&mut self);

    /// Processes a block; appends what came out to `events`.
    fn process(&mut self, block: &Block, events: &mut Vec<Event>) -> Result<(), HostError> {
        self.process_around(block, events, &mut |process| process())
    }
}

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A `.clap`, or the library itself.
    Clap,
    /// The library in a `.vst3` folder, or the library itself.
    Vst3,
}

impl Format {
    /// Both, for tests that play everything twice.
    pub const ALL: [Format; 2] = [Format::Clap, Format::Vst3];

    /// A new instance of the plugin in `library`. One process may hold several.
    pub fn open(self, library: &Path) -> Result<Box<dyn Host>, HostError> {
        Ok(match self {
            Format::Clap => Box::new(ClapHost::open(library)?),
            Format::Vst3 => Box::new(Vst3Host::open(library)?),
        })
    }
}
