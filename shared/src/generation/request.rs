//! What is asked of a generator, and what comes of it.

use serde::{Deserialize, Serialize};

use super::song;
use crate::encoding::{Conditioning, DecodeError, SettingsError, Token};
use crate::engine::EngineError;
use crate::instrument::Instrument;
use crate::sampling;
use crate::score::{Metre, Note};

/// What is asked of a [`Generator`](super::Generator).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Genre and instruments; metre and tempo are those below.
    pub conditioning: Conditioning,
    /// Bars, at least 1.
    pub bars: u32,
    /// The metre of all of them (the nearest that the encoding has).
    pub metre: Metre,
    /// The tempo that the music is made for, in microseconds a quarter.
    pub micros_per_quarter: u32,
    /// The same request with the same seed gives the same notes.
    pub seed: u64,
    /// How tokens are drawn.
    pub sampling: sampling::Settings,
    /// Ends the piece with the bar in which this many tokens were drawn.
    pub max_tokens: Option<usize>,
}

/// One bar that was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedBar {
    /// Its number, from 0.
    pub index: u32,
    /// Its metre.
    pub metre: Metre,
    /// Its tempo in microseconds a quarter, the nearest that the encoding has.
    pub micros_per_quarter: u32,
    /// Its tokens, from BAR on, as a body has them.
    pub tokens: Vec<Token>,
    /// Its notes; starts are counted from its bar line.
    pub notes: Vec<(Instrument, Note)>,
}

/// Why generation ended early.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The engine failed.
    #[error("generating bar {bar}: {source}")]
    Engine {
        /// The bar, from 0.
        bar: u32,
        /// What the engine said.
        source: EngineError,
    },
    /// The bundle's encoding cannot be built.
    #[error("the model's encoding cannot be used ({0}); export the model again")]
    Settings(#[from] SettingsError),
    /// A setting of sampling that makes no sense.
    #[error("notes cannot be drawn so: {0}")]
    Sampling(#[source] SettingsError),
    /// A genre that the model does not know, or a head that its grammar refuses.
    #[error("the request cannot be said to this model: {0}")]
    Request(#[from] DecodeError),
    /// [`fill_in`](super::fill_in) was asked of an encoding that says each bar once.
    #[error("this model cannot fill in bars: take one whose encoding is grid or mmm")]
    Whole,
    /// [`fill_in`](super::fill_in) was asked for a bar in a window that is too long.
    #[error(
        "the window of bar {bar} is longer than the model's context: take a model with a longer one"
    )]
    Narrow {
        /// The window's first bar, from 0.
        bar: u32,
    },
    /// A song that this model cannot write.
    #[error("writing a song: {0}")]
    Song(#[from] song::SongError),
    /// The caller asked it to stop.
    #[error("cancelled")]
    Cancelled,
}
