//! The `mmm` encoding: windows of a few bars, each said track by track, with bars that can be left
//! open and filled in after all others.
//!
//! Source: Ens and Pasquier, "MMM: Exploring Conditional Multi-Track Music Generation with the
//! Transformer", 2020, section 3 (tracks of bars, note density, bar fill-in), and its successor
//! MIDI-GPT (Pasquier et al. 2025), which has onset and duration where MMM has the ends of notes.
//!
//! ```text
//! stream     = BOS genre ( ANY | instrument* ) window+ EOS
//! window     = ( BAR [metre] [tempo] ){1,n} track* fill*
//!                                                    all but the last of n bars; metre and tempo
//!                                                    as in the other encodings
//! track      = TRACK_START instrument density bar… TRACK_END
//!                                                    one for each BAR; instruments ascend
//! bar        = BAR_START group* BAR_END | PLACEHOLDER
//! fill       = FILL_START group* FILL_END            one for each placeholder, in their order
//! group      = position note+                        as in `remi`
//! ```
//!
//! A note's duration stands beside its start, as in MIDI-GPT: with time shifts and ends, as in MMM, a
//! note that crosses a bar line would be said in two bars, and one of them could not be asked for
//! again alone. Positions say time because a bar that is filled in then depends on its own tokens
//! only. BAR is said once for all tracks, so that metre and tempo are, too.
//!
//! The density is a level of the track's notes a bar: below 1, from 1, 2, 3, 4, 6, 8, 12, 16, and 24 on
//! (the paper has deciles by instrument, which would tie a vocabulary to a corpus). It is a function
//! of the music and says nothing to a decoder.
//!
//! A *body* is bar by bar, as in all encodings, so that a window can begin at any bar; a stream's
//! windows are made of it when it is read:
//!
//! ```text
//! bar        = BAR [metre] [tempo] ( instrument group+ )*
//! ```

use std::sync::Arc;

use super::grammar::BarGrammar;
use super::lexicon::Kind;
use super::*;
use crate::quantize;

mod grammar;
mod windows;

/// What sizes the vocabulary, besides the genres, and how many bars are said together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What can be said.
    #[serde(flatten)]
    pub music: quantize::Settings,
    /// Bars of a window: 1 to [`MAX_WINDOW_BARS`]. The paper has models of 4 and of 8.
    pub window_bars: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            music: quantize::Settings::default(),
            window_bars: 4,
        }
    }
}

/// The most bars of a window.
pub const MAX_WINDOW_BARS: u16 = 32;

/// The encoding; see the module.
#[derive(Clone, Debug)]
pub struct Mmm {
    lexicon: Arc<Lexicon>,
    window_bars: usize,
}

impl Mmm {
    /// The encoding for `genres` genres, *any* included.
    pub fn new(settings: Settings, genres: usize) -> Result<Self, SettingsError> {
        if !(1..=MAX_WINDOW_BARS).contains(&settings.window_bars) {
            return Err(SettingsError {
                field: "window_bars",
                value: settings.window_bars.to_string(),
                expected: "expected 1 to 32",
            });
        }
        let kinds = [
            Kind::Position,
            Kind::Instrument,
            Kind::Drum,
            Kind::Velocity,
            Kind::Pitch,
            Kind::Duration,
            Kind::Track,
            Kind::Density,
            Kind::BarStart,
            Kind::BarEnd,
            Kind::TrackEnd,
            Kind::Placeholder,
            Kind::FillStart,
            Kind::FillEnd,
        ];
        Ok(Self {
            lexicon: Lexicon::new(settings.music, genres, false, &kinds)?.into(),
            window_bars: usize::from(settings.window_bars),
        })
    }

    fn only(&self, kind: Kind) -> Token {
        self.lexicon.token(kind, 0u16)
    }
}

impl Encoding for Mmm {
    fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    fn encode(&self, score: &Score) -> Vec<Body> {
        let tracks: Vec<&Track> = score.tracks.iter().collect();
        vec![cells::body(&self.lexicon, score, &tracks)]
    }

    fn instruments(&self, _: &Body, tokens: &[Token]) -> InstrumentSet {
        self.lexicon.instruments(tokens)
    }

    fn decode_bar(&self, tokens: &[Token], bars: &mut Bars) {
        let music = bars.begin(&self.lexicon, tokens);
        remi::read(&self.lexicon, music, bars);
    }

    fn grammar(&self) -> Box<dyn Grammar> {
        let windows = grammar::Windows::new(self.window_bars);
        Box::new(BarGrammar::new(self.lexicon.clone(), windows))
    }

    fn window_bars(&self) -> Option<usize> {
        Some(self.window_bars)
    }

    fn length(&self, tokens: &[Token]) -> usize {
        windows::length(&self.lexicon, self.window_bars, tokens)
    }

    fn arrange(&self, stream: &mut Vec<Token>) {
        let bar = self.only(Kind::Bar);
        let head = stream.iter().position(|&token| token == bar);
        let body = stream.split_off(head.unwrap_or(stream.len()));
        windows::by_track(&self.lexicon, self.window_bars, &body, stream);
    }

    fn bar_by_bar<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        Cow::Owned(windows::by_bar(&self.lexicon, self.window_bars, tokens))
    }

    fn fill_in(&self, stream: &mut Vec<Token>, hides: &mut dyn FnMut(usize, Instrument) -> bool) {
        *stream = windows::with_fills(&self.lexicon, self.window_bars, stream, hides);
    }

    fn endings(&self) -> Vec<Token> {
        let rests = self.lexicon.settings().rests.then_some(Kind::Rest);
        let kinds = [
            Kind::Bar,
            Kind::FillEnd,
            Kind::FillStart,
            Kind::TrackEnd,
            Kind::BarEnd,
            Kind::BarStart,
        ];
        let kinds = kinds.into_iter().chain(rests);
        kinds.map(|kind| self.only(kind)).collect()
    }
}
