//! The `multitrack` encoding: every part in one stream, interleaved by time.
//!
//! ```text
//! stream     = BOS genre ( ANY | instrument* ) body
//! body       = bar+ EOS
//! bar        = BAR [metre] [tempo] group*            both stated in a stream's first bar,
//!                                                    after it only where they change
//! group      = position part+                        positions ascend in a bar
//! part       = DRUMS (drum velocity)+                instruments ascend, drums first;
//!            | program (pitch duration velocity)+    pitches ascend
//! ```
//!
//! An instrument is said once for all that it strikes at a position; that, one fixed order, and
//! drums without durations make the stream short and leave the model nothing arbitrary to guess.

use serde::{Deserialize, Serialize};

use super::*;
use crate::quantize::{self, TEMPO_BINS, tempo_bin, tempo_of_bin};
use crate::score::{Tempo, Ticks, Track};

mod grammar;

/// What sizes the vocabulary, besides the genres.
pub type Settings = quantize::Settings;

/// A token in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    Pad,
    Bos,
    Eos,
    Bar,
    AnyInstruments,
    /// Index into [`Settings::metres`].
    Metre(u16),
    /// Tempo bin.
    Tempo(u16),
    /// Grid position in the bar.
    Position(u16),
    Instrument(Instrument),
    Drum(u8),
    Pitch(u8),
    /// Grid positions, at least 1.
    Duration(u16),
    /// Velocity bin.
    Velocity(u16),
    Genre(u16),
}

/// Where each kind of token begins; the order of the vocabulary. Genres come last, so that a
/// vocabulary grows without moving a token.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    metre: Token,
    tempo: Token,
    position: Token,
    instrument: Token,
    drum: Token,
    pitch: Token,
    duration: Token,
    velocity: Token,
    genre: Token,
    end: Token,
    /// (numerator, denominator) of each metre token.
    metres: Vec<(u8, u8)>,
    step: u32,
}

const BOS: Token = 1;
const EOS: Token = 2;
const BAR: Token = 3;
const ANY_INSTRUMENTS: Token = 4;

impl Layout {
    fn new(settings: &Settings, genres: usize) -> Result<Self, SettingsError> {
        settings.check()?;
        let metres = settings.metres();
        let metre = ANY_INSTRUMENTS + 1;
        let tempo = metre + metres.len() as Token;
        let position = tempo + TEMPO_BINS;
        let instrument = position + settings.max_positions() as Token;
        let drum = instrument + Instrument::COUNT as Token;
        let pitch = drum + 128;
        let duration = pitch + 128;
        let velocity = duration + settings.max_duration() as Token;
        let genre = velocity + settings.velocity_bins;
        let end = usize::from(genre) + genres;
        if genres == 0 || genres > 4096 || end > usize::from(Token::MAX) {
            let expected = "expected 1 (any alone) to 4096, and a vocabulary below 65,536";
            return Err(SettingsError {
                field: "genres",
                value: genres.to_string(),
                expected,
            });
        }
        let (end, step) = (end as Token, settings.step());
        Ok(Self {
            metre,
            tempo,
            position,
            instrument,
            drum,
            pitch,
            duration,
            velocity,
            genre,
            end,
            metres,
            step,
        })
    }

    fn token(&self, word: Word) -> Token {
        match word {
            Word::Pad => PAD,
            Word::Bos => BOS,
            Word::Eos => EOS,
            Word::Bar => BAR,
            Word::AnyInstruments => ANY_INSTRUMENTS,
            Word::Metre(i) => self.metre + i,
            Word::Tempo(bin) => self.tempo + bin,
            Word::Position(position) => self.position + position,
            Word::Instrument(instrument) => self.instrument + Token::from(instrument.index()),
            Word::Drum(key) => self.drum + Token::from(key),
            Word::Pitch(pitch) => self.pitch + Token::from(pitch),
            Word::Duration(steps) => self.duration + steps - 1,
            Word::Velocity(bin) => self.velocity + bin,
            Word::Genre(genre) => self.genre + genre,
        }
    }

    fn word(&self, token: Token) -> Option<Word> {
        Some(match token {
            PAD => Word::Pad,
            BOS => Word::Bos,
            EOS => Word::Eos,
            BAR => Word::Bar,
            ANY_INSTRUMENTS => Word::AnyInstruments,
            t if t < self.tempo => Word::Metre(t - self.metre),
            t if t < self.position => Word::Tempo(t - self.tempo),
            t if t < self.instrument => Word::Position(t - self.position),
            t if t < self.drum => Word::Instrument(Instrument::new((t - self.instrument) as u8)?),
            t if t < self.pitch => Word::Drum((t - self.drum) as u8),
            t if t < self.duration => Word::Pitch((t - self.pitch) as u8),
            t if t < self.velocity => Word::Duration(t - self.duration + 1),
            t if t < self.genre => Word::Velocity(t - self.velocity),
            t if t < self.end => Word::Genre(t - self.genre),
            _ => return None,
        })
    }

    /// The token that states a metre of a quantized score.
    fn metre_token(&self, numerator: u8, denominator: u8) -> Token {
        let metre = self
            .metres
            .iter()
            .position(|&metre| metre == (numerator, denominator));
        self.metre + metre.map_or(0, |i| i as Token)
    }

    fn metre_of(&self, index: u16) -> Metre {
        let (numerator, denominator) = self.metres[usize::from(index)];
        Metre {
            at: Ticks(0),
            numerator,
            denominator,
        }
    }

    fn name(&self, token: Token) -> String {
        match self.word(token) {
            None => format!("unknown token {token}"),
            Some(Word::Metre(i)) => {
                let (numerator, denominator) = self.metres[usize::from(i)];
                format!("metre {numerator}/{denominator}")
            }
            Some(Word::Tempo(bin)) => {
                format!("tempo {:.0}", 60e6 / f64::from(tempo_of_bin(bin)))
            }
            Some(Word::Instrument(instrument)) => format!("instrument {instrument}"),
            Some(Word::Position(n) | Word::Duration(n) | Word::Velocity(n) | Word::Genre(n)) => {
                format!("{} {n}", self.kind(token))
            }
            Some(Word::Drum(n) | Word::Pitch(n)) => format!("{} {n}", self.kind(token)),
            Some(_) => self.kind(token).to_owned(),
        }
    }

    fn kind(&self, token: Token) -> &'static str {
        match self.word(token) {
            Some(Word::Pad) => "pad",
            Some(Word::Bos) => "bos",
            Some(Word::Eos) => "eos",
            Some(Word::Bar) => "bar",
            Some(Word::AnyInstruments) => "any instruments",
            Some(Word::Metre(_)) => "metre",
            Some(Word::Tempo(_)) => "tempo",
            Some(Word::Position(_)) => "position",
            Some(Word::Instrument(_)) => "instrument",
            Some(Word::Drum(_)) => "drum",
            Some(Word::Pitch(_)) => "pitch",
            Some(Word::Duration(_)) => "duration",
            Some(Word::Velocity(_)) => "velocity",
            Some(Word::Genre(_)) => "genre",
            None => "unknown",
        }
    }
}

/// The encoding; see the module.
#[derive(Clone, Debug)]
pub struct Multitrack {
    settings: Settings,
    layout: std::sync::Arc<Layout>,
}

impl Multitrack {
    /// The encoding for `genres` genres, *any* included.
    pub fn new(settings: Settings, genres: usize) -> Result<Self, SettingsError> {
        let layout = Layout::new(&settings, genres)?.into();
        Ok(Self { settings, layout })
    }

    /// Index of the first token of `tokens`, which begin with BAR, that says neither metre nor tempo.
    fn after_state(&self, tokens: &[Token]) -> usize {
        let state = self.layout.metre..self.layout.position;
        1 + tokens
            .iter()
            .skip(1)
            .take_while(|&token| state.contains(token))
            .count()
    }
}

impl Encoding for Multitrack {
    fn vocabulary_size(&self) -> usize {
        usize::from(self.layout.end)
    }

    fn quantize_settings(&self) -> &quantize::Settings {
        &self.settings
    }

    fn encode(&self, score: &Score) -> Vec<Body> {
        let layout = &*self.layout;
        let mut notes: Vec<(Ticks, usize, &Note)> = score
            .tracks
            .iter()
            .enumerate()
            .flat_map(|(part, track)| track.notes.iter().map(move |note| (note.start, part, note)))
            .collect();
        notes.sort_unstable();
        let mut ahead = notes.into_iter().peekable();
        let mut body = Body::default();
        let mut before = None;
        for bar in score.bars() {
            let tokens = &mut body.tokens;
            body.bars.push(tokens.len() as u32);
            tokens.push(BAR);
            let metre = layout.metre_token(bar.metre.numerator, bar.metre.denominator);
            let tempo = tempo_bin(f64::from(score.tempo_at(bar.start)));
            let state = BarState {
                metre,
                tempo: layout.token(Word::Tempo(tempo)),
            };
            if before.is_none_or(|before: BarState| before.metre != state.metre) {
                tokens.push(state.metre);
            }
            if before.is_none_or(|before| before.tempo != state.tempo) {
                tokens.push(state.tempo);
            }
            before = Some(state);
            body.states.push(state);
            let mut group = None;
            while let Some((start, part, note)) = ahead.next_if(|(start, ..)| *start < bar.end) {
                let instrument = score.tracks[part].instrument;
                if group.is_none_or(|(at, _)| at != start) {
                    let position = (start - bar.start).0 / layout.step;
                    tokens.push(layout.token(Word::Position(position as u16)));
                }
                if group != Some((start, part)) {
                    tokens.push(layout.token(Word::Instrument(instrument)));
                }
                group = Some((start, part));
                if instrument.is_drums() {
                    tokens.push(layout.token(Word::Drum(note.pitch)));
                } else {
                    let steps = (note.duration.0 / layout.step).max(1);
                    tokens.push(layout.token(Word::Pitch(note.pitch)));
                    tokens.push(layout.token(Word::Duration(steps as u16)));
                }
                let velocity = self.settings.velocity_bin(note.velocity);
                tokens.push(layout.token(Word::Velocity(velocity)));
            }
        }
        body.tokens.push(EOS);
        vec![body]
    }

    fn head(&self, conditioning: &Conditioning) -> Vec<Token> {
        let mut head = vec![BOS, self.layout.genre + conditioning.genre];
        match &conditioning.instruments {
            None => head.push(ANY_INSTRUMENTS),
            Some(set) => head.extend(
                drums_first(set).map(|instrument| self.layout.token(Word::Instrument(instrument))),
            ),
        }
        head
    }

    fn segment(
        &self,
        conditioning: &Conditioning,
        tokens: &[Token],
        first: BarState,
        semitones: i32,
    ) -> Option<Vec<Token>> {
        let mut stream = self.head(conditioning);
        stream.extend([BAR, first.metre, first.tempo]);
        stream.extend_from_slice(&tokens[self.after_state(tokens)..]);
        if semitones != 0 {
            let pitches = i32::from(self.layout.pitch)..i32::from(self.layout.duration);
            for token in &mut stream {
                if pitches.contains(&i32::from(*token)) {
                    let moved = i32::from(*token) + semitones;
                    *token = Some(moved).filter(|moved| pitches.contains(moved))? as Token;
                }
            }
        }
        Some(stream)
    }

    fn instruments(&self, tokens: &[Token]) -> InstrumentSet {
        let instruments = self.layout.instrument..self.layout.drum;
        tokens
            .iter()
            .filter(|&token| instruments.contains(token))
            .filter_map(|token| Instrument::new((token - self.layout.instrument) as u8))
            .collect()
    }

    fn decode_bar(&self, tokens: &[Token]) -> BarContent {
        let layout = &*self.layout;
        let mut content = BarContent::default();
        let (mut position, mut instrument) = (0, Instrument::DRUMS);
        let (mut pitch, mut steps) = (0, 1);
        for &token in tokens {
            match layout.word(token) {
                Some(Word::Metre(i)) => content.metre = Some(layout.metre_of(i)),
                Some(Word::Tempo(bin)) => content.micros_per_quarter = Some(tempo_of_bin(bin)),
                Some(Word::Position(at)) => position = u32::from(at),
                Some(Word::Instrument(said)) => instrument = said,
                Some(Word::Drum(key)) => (pitch, steps) = (key, 1),
                Some(Word::Pitch(key)) => pitch = key,
                Some(Word::Duration(said)) => steps = u32::from(said),
                Some(Word::Velocity(bin)) => content.notes.push((
                    instrument,
                    Note {
                        start: Ticks(position * layout.step),
                        pitch,
                        duration: Ticks(steps * layout.step),
                        velocity: self.settings.velocity_of_bin(bin),
                    },
                )),
                _ => {}
            }
        }
        content
    }

    fn decode(&self, stream: &[Token]) -> Result<Score, DecodeError> {
        let mut grammar = self.grammar();
        for (index, &token) in stream.iter().enumerate() {
            grammar
                .accept(token)
                .map_err(|error| DecodeError { index, ..error })?;
        }
        let mut score = Score::default();
        let mut parts = std::collections::BTreeMap::<(bool, Instrument), Vec<Note>>::new();
        let mut metre = Metre::COMMON;
        let body = stream
            .iter()
            .position(|&token| token == BAR)
            .unwrap_or(stream.len());
        for bar in stream[body..].chunk_by(|_, &next| next != BAR) {
            let at = score.end;
            let content = self.decode_bar(bar);
            if let Some(said) = content.metre {
                metre = Metre { at, ..said };
                score.metres.push(metre);
            }
            if let Some(micros_per_quarter) = content.micros_per_quarter {
                score.tempos.push(Tempo {
                    at,
                    micros_per_quarter,
                });
            }
            for (instrument, note) in content.notes {
                let note = Note {
                    start: at + note.start,
                    ..note
                };
                parts
                    .entry((!instrument.is_drums(), instrument))
                    .or_default()
                    .push(note);
            }
            score.end += metre.bar();
        }
        score
            .tracks
            .extend(parts.into_iter().map(|((_, instrument), mut notes)| {
                quantize::cut_overlaps(&mut notes);
                Track {
                    instrument,
                    name: instrument.to_string(),
                    notes,
                }
            }));
        let last = score
            .tracks
            .iter()
            .flat_map(|track| &track.notes)
            .map(Note::end)
            .max();
        score.end = score.end.max(last.unwrap_or_default());
        Ok(score)
    }

    fn grammar(&self) -> Box<dyn Grammar> {
        Box::new(grammar::MultitrackGrammar::new(self.layout.clone()))
    }

    fn special(&self) -> Special {
        Special {
            bos: BOS,
            eos: EOS,
            bar: BAR,
        }
    }

    fn bar_state(&self, metre: Metre, micros_per_quarter: u32) -> BarState {
        let (n, d) = self
            .settings
            .nearest_metre(metre.numerator, metre.denominator);
        let tempo = tempo_bin(f64::from(micros_per_quarter));
        let tempo = self.layout.token(Word::Tempo(tempo));
        BarState {
            metre: self.layout.metre_token(n, d),
            tempo,
        }
    }

    fn kind(&self, token: Token) -> &'static str {
        self.layout.kind(token)
    }

    fn name(&self, token: Token) -> String {
        self.layout.name(token)
    }
}

/// The order of instruments in heads and at a position: drums, then programs.
fn drums_first(set: &InstrumentSet) -> impl Iterator<Item = Instrument> + use<> {
    let drums = set.contains(Instrument::DRUMS).then_some(Instrument::DRUMS);
    drums
        .into_iter()
        .chain(set.iter().filter(|instrument| !instrument.is_drums()))
}
