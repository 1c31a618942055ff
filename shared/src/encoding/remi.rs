//! The `remi` encoding: one instrument a stream, by bar and position.
//!
//! Source: Huang and Yang, "Pop Music Transformer", 2020, section 3 (REMI).
//!
//! ```text
//! stream     = BOS genre ( ANY | instrument ) body
//! body       = bar+ EOS
//! bar        = BAR [metre] [tempo] group*            both stated in a stream's first bar,
//!                                                    after it only where they change
//! group      = position note+                        positions ascend in a bar
//! note       = [velocity] pitch duration             pitches ascend
//!            | [velocity] drum                       of the drum kit
//! ```
//!
//! The instrument stands in the head alone. Where that is *any*, pitches are those of program 0.

use std::sync::Arc;

use super::bars::Frame;
use super::grammar::{BarGrammar, Context, Music};
use super::lexicon::Kind;
use super::*;
use crate::quantize;
use crate::score::Ticks;

/// The encoding; see the module.
#[derive(Clone, Debug)]
pub struct Remi {
    lexicon: Arc<Lexicon>,
}

impl Remi {
    /// The encoding for `genres` genres, *any* included.
    pub fn new(settings: quantize::Settings, genres: usize) -> Result<Self, SettingsError> {
        let kinds = [
            Kind::Position,
            Kind::Instrument,
            Kind::Drum,
            Kind::Velocity,
            Kind::Pitch,
            Kind::Duration,
        ];
        let lexicon = Lexicon::new(settings, genres, true, &kinds)?.into();
        Ok(Self { lexicon })
    }
}

impl Encoding for Remi {
    fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    fn encode(&self, score: &Score) -> Vec<Body> {
        let lexicon = &*self.lexicon;
        let frame = Frame::new(lexicon, score);
        let body = |track: &Track| {
            let mut ahead = track.notes.iter().peekable();
            let instruments = [track.instrument].into_iter().collect();
            frame.body(instruments, |bar, tokens| {
                let notes = std::iter::from_fn(|| ahead.next_if(|note| note.start < bar.end));
                write(lexicon, track.instrument, bar.start, notes, tokens);
            })
        };
        score.tracks.iter().map(body).collect()
    }

    fn decode_bar(&self, tokens: &[Token], bars: &mut Bars) {
        let lexicon = &*self.lexicon;
        let music = bars.begin(lexicon, tokens);
        read(lexicon, music, bars);
    }

    fn grammar(&self) -> Box<dyn Grammar> {
        Box::new(BarGrammar::new(self.lexicon.clone(), Groups::new(None)))
    }
}

/// What `instrument` plays in the bar that begins at `start`: its notes, by position.
pub(super) fn write<'n>(
    lexicon: &Lexicon,
    instrument: Instrument,
    start: Ticks,
    notes: impl Iterator<Item = &'n Note>,
    tokens: &mut Vec<Token>,
) {
    let (mut group, mut kept) = (None, None);
    for note in notes {
        if group != Some(note.start) {
            tokens.extend(lexicon.onset(note.start - start));
        }
        group = Some(note.start);
        let velocity = lexicon.velocity(note.velocity);
        tokens.extend(velocity.filter(|_| kept != velocity));
        if lexicon.keeps_velocities() {
            kept = velocity;
        }
        if instrument.is_drums() {
            tokens.push(lexicon.token(Kind::Drum, note.pitch));
        } else {
            tokens.push(lexicon.token(Kind::Pitch, note.pitch));
            tokens.push(lexicon.duration(note.duration));
        }
    }
}

/// Reads the music of a bar. Where it names an instrument, that plays what follows.
pub(super) fn read(lexicon: &Lexicon, music: impl Iterator<Item = (Kind, u16)>, bars: &mut Bars) {
    let mut note = lexicon.blank();
    for (kind, value) in music {
        match kind {
            Kind::Instrument => bars.instrument = Instrument::new(value as u8).unwrap_or_default(),
            Kind::Position => note.start = lexicon.position(value),
            Kind::Offset => note.start += lexicon.steps(value + 1),
            Kind::Velocity => note.velocity = lexicon.velocity_of(value),
            Kind::Drum => {
                (note.pitch, note.duration) = (value as u8, lexicon.duration_of(0));
                bars.note(Instrument::DRUMS, note);
            }
            Kind::Pitch => note.pitch = value as u8,
            Kind::Duration => {
                note.duration = lexicon.duration_of(value);
                bars.note(bars.instrument, note);
            }
            _ => {}
        }
    }
}

/// What was said last, as far as it decides what may follow. The numbers are the lowest key that
/// may be struck next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Bar,
    Position,
    /// A position with its offset, or one that needs none.
    Onset,
    Velocity(u16),
    Pitch(u16),
    /// A whole note.
    Note(u16),
}

/// The grammar of a bar.
#[derive(Clone)]
pub(super) struct Groups {
    state: State,
    /// The onset that was said last; of a position whose offset is not said yet, the first that it may
    /// have.
    onset: Option<u32>,
    /// The velocity that holds until another is said.
    kept: Option<u16>,
    /// What the stream strikes, once it did.
    struck: Option<Kind>,
}

impl Groups {
    /// Of a stream that strikes what `struck` says, or what it strikes first.
    pub(super) fn new(struck: Option<Kind>) -> Self {
        Self {
            state: State::Bar,
            onset: None,
            kept: None,
            struck,
        }
    }

    fn insert_keys(&self, context: &Context, lowest: u16, next: &mut TokenSet) {
        for &kind in context.keys(self.struck) {
            let keys = context.lexicon.run(kind);
            next.insert_range(keys.start + lowest..keys.end);
        }
    }

    /// The first token of a note at this position.
    fn insert_notes(&self, context: &Context, lowest: u16, next: &mut TokenSet) {
        let lexicon = &context.lexicon;
        if !lexicon.has_velocities() || self.kept.is_some() {
            self.insert_keys(context, lowest, next);
        }
        if lexicon.has_velocities() && lowest < 128 {
            next.insert_range(lexicon.run(Kind::Velocity));
        }
        if let Some(kept) = self.kept {
            next.remove(lexicon.token(Kind::Velocity, kept));
        }
    }

    /// A later position.
    fn insert_positions(&self, context: &Context, next: &mut TokenSet) {
        if !context.keys(self.struck).is_empty() {
            let first = context.lexicon.run(Kind::Position).start;
            let least = (self.next_onset() / parts(context)) as u16;
            next.insert_range(first + least..first + context.positions());
        }
    }

    /// The first onset that may come next in the bar.
    fn next_onset(&self) -> u32 {
        self.onset.map_or(0, |onset| onset + 1)
    }

    /// What may follow a position: the offsets behind those that were said there.
    fn insert_offsets(&self, context: &Context, next: &mut TokenSet) {
        let least = (self.onset.unwrap_or_default() % parts(context)) as u16;
        let offsets = context.lexicon.run(Kind::Offset);
        next.insert_range(offsets.start + least.saturating_sub(1)..offsets.end);
        if least == 0 {
            self.insert_notes(context, 0, next);
        }
    }
}

/// Onsets of a position.
fn parts(context: &Context) -> u32 {
    u32::from(context.lexicon.settings().offsets)
}

impl Music for Groups {
    fn begin_bar(&mut self, _: &Context) {
        (self.onset, self.kept) = (None, None);
        self.state = State::Bar;
    }

    fn allowed(&self, context: &Context, next: &mut TokenSet) {
        match self.state {
            State::Bar => self.insert_positions(context, next),
            State::Position => self.insert_offsets(context, next),
            State::Onset => self.insert_notes(context, 0, next),
            State::Velocity(lowest) => self.insert_keys(context, lowest, next),
            State::Pitch(_) => next.insert_range(context.lexicon.run(Kind::Duration)),
            State::Note(lowest) => {
                self.insert_notes(context, lowest, next);
                self.insert_positions(context, next);
            }
        }
    }

    fn accept(&mut self, context: &Context, kind: Kind, value: u16) {
        if kind == Kind::Velocity && context.lexicon.keeps_velocities() {
            self.kept = Some(value);
        }
        let parts = parts(context);
        self.state = match (kind, self.state) {
            (Kind::Position, _) => {
                let first = u32::from(value) * parts;
                self.onset = Some(first.max(self.next_onset()));
                State::Position
            }
            (Kind::Offset, _) => {
                let position = self.onset.unwrap_or_default() / parts * parts;
                self.onset = Some(position + u32::from(value) + 1);
                State::Onset
            }
            (Kind::Velocity, State::Note(lowest)) => State::Velocity(lowest),
            (Kind::Velocity, _) => State::Velocity(0),
            (Kind::Drum, _) => State::Note(value + 1),
            (Kind::Pitch, _) => State::Pitch(value + 1),
            (Kind::Duration, State::Pitch(lowest)) => State::Note(lowest),
            // What is allowed has no other pair.
            (_, state) => state,
        };
        if matches!(kind, Kind::Drum | Kind::Pitch) {
            self.struck = Some(kind);
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self.state, State::Bar | State::Note(_))
    }
}
