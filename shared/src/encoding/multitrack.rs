//! The `multitrack` encoding: every part in one stream, interleaved by time.
//!
//! ```text
//! stream     = BOS genre ( ANY | instrument* ) body
//! body       = bar+ EOS
//! bar        = BAR [metre] [tempo] group*            both stated in a stream's first bar,
//!                                                    after it only where they change
//! group      = position part+                        positions ascend in a bar
//! part       = DRUMS (drum [velocity])+              instruments ascend, drums first;
//!            | program (pitch duration [velocity])+  pitches ascend
//! ```
//!
//! An instrument is said once for all that it strikes at a position; that, one fixed order, and
//! drums without durations make the stream short and leave the model nothing arbitrary to guess.
//! Velocities are said everywhere or, where the settings have no bins for them, nowhere.

use std::sync::Arc;

use super::bars::Frame;
use super::grammar::BarGrammar;
use super::lexicon::Kind;
use super::*;
use crate::quantize;
use crate::score::Ticks;

mod grammar;

/// What sizes the vocabulary, besides the genres.
pub type Settings = quantize::Settings;

/// The encoding; see the module.
#[derive(Clone, Debug)]
pub struct Multitrack {
    lexicon: Arc<Lexicon>,
}

impl Multitrack {
    /// The encoding for `genres` genres, *any* included.
    pub fn new(settings: Settings, genres: usize) -> Result<Self, SettingsError> {
        let kinds = [
            Kind::Position,
            Kind::Instrument,
            Kind::Drum,
            Kind::Pitch,
            Kind::Duration,
            Kind::Velocity,
        ];
        let lexicon = Lexicon::new(settings, genres, false, &kinds)?.into();
        Ok(Self { lexicon })
    }
}

impl Encoding for Multitrack {
    fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    fn encode(&self, score: &Score) -> Vec<Body> {
        let lexicon = &*self.lexicon;
        let tracks = score.tracks.iter().enumerate();
        let mut notes: Vec<(Ticks, usize, &Note)> = tracks
            .flat_map(|(part, track)| track.notes.iter().map(move |note| (note.start, part, note)))
            .collect();
        notes.sort_unstable();
        let mut ahead = notes.into_iter().peekable();
        let instruments = score.tracks.iter().map(|track| track.instrument).collect();
        let body = Frame::new(lexicon, score).body(instruments, |bar, tokens| {
            let mut group = None;
            while let Some((start, part, note)) = ahead.next_if(|(start, ..)| *start < bar.end) {
                let instrument = score.tracks[part].instrument;
                if group.is_none_or(|(at, _)| at != start) {
                    let position = (start - bar.start).0 / lexicon.step;
                    tokens.push(lexicon.token(Kind::Position, position as u16));
                }
                if group != Some((start, part)) {
                    tokens.push(lexicon.token(Kind::Instrument, instrument.index()));
                }
                group = Some((start, part));
                if instrument.is_drums() {
                    tokens.push(lexicon.token(Kind::Drum, note.pitch));
                } else {
                    tokens.push(lexicon.token(Kind::Pitch, note.pitch));
                    tokens.push(lexicon.duration(note.duration));
                }
                tokens.extend(lexicon.velocity(note.velocity));
            }
        });
        vec![body]
    }

    fn instruments(&self, _: &Body, tokens: &[Token]) -> InstrumentSet {
        self.lexicon.instruments(tokens)
    }

    fn decode_bar(&self, tokens: &[Token], bars: &mut Bars) {
        let lexicon = &*self.lexicon;
        let mut instrument = Instrument::DRUMS;
        let mut note = lexicon.blank();
        for (kind, value) in bars.begin(lexicon, tokens) {
            match kind {
                Kind::Position => note.start = lexicon.steps(value),
                Kind::Instrument => instrument = Instrument::new(value as u8).unwrap_or_default(),
                Kind::Drum => (note.pitch, note.duration) = (value as u8, lexicon.duration_of(0)),
                Kind::Pitch => note.pitch = value as u8,
                Kind::Duration => note.duration = lexicon.duration_of(value),
                Kind::Velocity => note.velocity = lexicon.velocity_of(value),
                _ => {}
            }
            let last = match kind {
                Kind::Drum | Kind::Duration => !lexicon.has_velocities(),
                kind => kind == Kind::Velocity,
            };
            if last {
                bars.note(instrument, note);
            }
        }
    }

    fn grammar(&self) -> Box<dyn Grammar> {
        Box::new(BarGrammar::new(
            self.lexicon.clone(),
            grammar::Groups::new(),
        ))
    }
}
