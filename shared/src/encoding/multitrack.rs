//! The `multitrack` encoding: every part in one stream, interleaved by time.

use serde::{Deserialize, Serialize};

use super::*;
use crate::quantize;

/// What sizes the vocabulary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What the tokens can say of time, duration and velocity.
    #[serde(flatten)]
    pub quantize: quantize::Settings,
    /// The longest bar, in bars of 4/4.
    pub max_bar: u16,
}

/// The encoding; see the module.
pub struct Multitrack {
    settings: Settings,
}

impl Multitrack {
    /// The encoding for `genres` genres, *any* included.
    pub fn new(settings: Settings, _genres: usize) -> Result<Self, SettingsError> {
        Ok(Self { settings })
    }
}

#[allow(unused_variables)]
impl Encoding for Multitrack {
    fn vocabulary_size(&self) -> usize { todo!() }
    fn quantize_settings(&self) -> &quantize::Settings { &self.settings.quantize }
    fn encode(&self, score: &Score) -> Vec<Body> { todo!() }
    fn head(&self, conditioning: &Conditioning) -> Vec<Token> { todo!() }
    fn segment(&self, conditioning: &Conditioning, tokens: &[Token], first: BarState, semitones: i32) -> Option<Vec<Token>> { todo!() }
    fn instruments(&self, tokens: &[Token]) -> InstrumentSet { todo!() }
    fn decode(&self, stream: &[Token]) -> Result<Score, DecodeError> { todo!() }
    fn grammar(&self) -> Box<dyn Grammar> { todo!() }
    fn special(&self) -> Special { todo!() }
    fn bar_state(&self, metre: Metre, micros_per_quarter: u32) -> BarState { todo!() }
    fn kind(&self, token: Token) -> &'static str { todo!() }
    fn name(&self, token: Token) -> String { todo!() }
}
