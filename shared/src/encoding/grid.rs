//! The `grid` encoding: bar by bar, and in a bar cell by cell, each what one instrument plays in it; with
//! cells that can be left open and said behind all that is known, before them and after.
//!
//! Sources: Bavarian et al., "Efficient Training of Language Models to Fill in the Middle", 2022 (what
//! is wanted stands behind what is known, and one causal model says both kinds of stream); Ens and
//! Pasquier, "MMM", 2020, and Pasquier et al., "MIDI-GPT", 2025 (density, polyphony).
//!
//! ```text
//! stream     = head ( plain | filled )
//! head       = BOS genre [key] [metre] [tempo] ( ANY | track* )
//! track      = instrument [density] [polyphony] [register]
//!                                                    as in other encodings drums first, then ascending
//! plain      = ( bar cell* )+ EOS
//! filled     = ( bar at ( cell | instrument FILL )* )+ [EOS] SEPARATOR ( at ( instrument group* )+ )* DONE
//!                                                    first the bars behind the last that has a FILL
//! bar        = BAR [metre] [tempo] [chord]           metre and tempo as in the other encodings; chords
//!                                                    in all bars or in none
//! cell       = instrument group+                     drums, then the basses, then the others ascending
//! group      = position [offset] note+               onsets ascend in a cell
//! note       = [velocity] pitch duration             pitches ascend
//!            | [velocity] drum                       of the drum kit
//! ```
//!
//! A velocity stands before a cell's first note and before each whose velocity is another than the one
//! that was said last in the cell. So a cell is read by itself. An instrument that rests in a bar has
//! no cell there.
//!
//! The two forms say the same music: a filled stream numbers its bars (up to [`MAX_BARS`]) and has
//! FILL in place of what is wanted, whether that is music or a rest; behind the bars come the wanted cells in
//! their order, found again by number and instrument, each perhaps empty. Bars that follow the last wanted
//! cell come first (suffix, prefix, middle: Bavarian et al., section 3), so that what is wanted is said behind what
//! leads up to it. EOS stands in streams that hold a piece's true end only.
//!
//! A *body* is a plain form, with chords if the settings have them.

use std::sync::Arc;

use super::grammar::BarGrammar;
use super::lexicon::{Kind, MAX_NUMBERED_BARS};
use super::*;
use crate::instrument::Class;

mod forms;
mod grammar;
mod heard;

/// The most bars of a stream with wanted cells.
pub const MAX_BARS: usize = MAX_NUMBERED_BARS;

/// What sizes the vocabulary, besides the genres.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What can be said.
    #[serde(flatten)]
    pub music: quantize::Settings,
    /// Where the levels of density begin that heads ask of tracks.
    #[serde(default)]
    pub densities: controls::Densities,
}

impl Settings {
    /// With durations from the coarse table, as all data sets in this encoding have them.
    pub fn new(music: quantize::Settings) -> Self {
        Self {
            music: quantize::Settings {
                coarse_durations: true,
                ..music
            },
            densities: controls::Densities::default(),
        }
    }
}

/// On a grid of twelfths of a beat, with durations up to eight bars.
impl Default for Settings {
    fn default() -> Self {
        Self::new(quantize::Settings {
            positions_per_bar: 48,
            max_duration_bars: 8,
            ..quantize::Settings::default()
        })
    }
}

/// The encoding; see the module.
#[derive(Clone, Debug)]
pub struct Grid {
    lexicon: Arc<Lexicon>,
    densities: controls::Densities,
}

/// Where an instrument's cell stands in a bar.
pub(crate) fn order(instrument: Instrument) -> u16 {
    let index = u16::from(instrument.index());
    match instrument.class() {
        _ if instrument.is_drums() => 0,
        Class::Bass => 1 + index,
        _ => 1 + Instrument::COUNT as u16 + index,
    }
}

impl Grid {
    /// The encoding for `genres` genres, *any* included.
    pub fn new(settings: Settings, genres: usize) -> Result<Self, SettingsError> {
        if settings.music.rests {
            return Err(SettingsError {
                field: "rests",
                value: true.to_string(),
                expected: "expected false: in grid an instrument that rests has no cell",
            });
        }
        if !settings.densities.ascend() {
            return Err(SettingsError {
                field: "densities",
                value: "not in order".to_owned(),
                expected: "expected notes in a hundred bars, ascending, for drums, bass and others",
            });
        }
        let kinds = [
            Kind::Position,
            Kind::Offset,
            Kind::Instrument,
            Kind::Drum,
            Kind::Velocity,
            Kind::Pitch,
            Kind::Duration,
            Kind::At,
            Kind::Wanted,
            Kind::Separator,
            Kind::Done,
            Kind::Density,
            Kind::Polyphony,
            Kind::Register,
            Kind::Key,
        ];
        let lexicon = Lexicon::new(settings.music, genres, false, &kinds)?;
        Ok(Self {
            lexicon: lexicon.keeping_velocities().into(),
            densities: settings.densities,
        })
    }
}

impl Encoding for Grid {
    fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    fn encode(&self, score: &Score) -> Vec<Body> {
        let mut tracks: Vec<&Track> = score.tracks.iter().collect();
        tracks.sort_by_key(|track| order(track.instrument));
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
        Box::new(BarGrammar::new(self.lexicon.clone(), grammar::Cells::new()))
    }

    fn controls(
        &self,
        tokens: &[Token],
        first: BarState,
        semitones: i32,
    ) -> (Option<u16>, controls::Tracks) {
        heard::controls(&self.lexicon, &self.densities, tokens, first, semitones)
    }

    fn densities(&self, body: &Body) -> Vec<(Instrument, u32)> {
        let first = body.states.first();
        first.map_or_else(Vec::new, |&first| {
            heard::densities(&self.lexicon, &body.tokens, first)
        })
    }

    fn fills(&self) -> bool {
        true
    }

    fn bar_by_bar<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        forms::plain(&self.lexicon, tokens)
    }

    fn fill_in(&self, stream: &mut Vec<Token>, hides: &mut dyn FnMut(usize, Instrument) -> bool) {
        forms::filled(&self.lexicon, stream, hides);
    }

    fn endings(&self) -> Vec<Token> {
        let only = |kind| self.lexicon.token(kind, 0u16);
        let next = self
            .lexicon
            .run(Kind::At)
            .chain(self.lexicon.run(Kind::Instrument));
        [only(Kind::Bar), only(Kind::Done)]
            .into_iter()
            .chain(next)
            .collect()
    }

    fn stands_alone(&self, token: Token) -> bool {
        self.lexicon.run(Kind::Instrument).contains(&token)
    }
}
