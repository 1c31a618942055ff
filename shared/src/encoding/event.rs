//! The `event` encoding: one instrument a stream, as MIDI has it: time passes, notes are struck and
//! ended.
//!
//! Source: Oore et al., "This Time with Feeling", 2018, section 3.2, with bars.
//!
//! ```text
//! stream     = BOS genre ( ANY | instrument ) body
//! body       = bar+ EOS
//! bar        = BAR [metre] [tempo] moment            both stated in a stream's first bar,
//!              (shift moment)*                       after it only where they change
//! moment     = end* note*                            each ascends; after a shift not empty
//! note       = [velocity] ( pitch | drum )
//! ```
//!
//! BAR is the bar line, wherever the bar's time stands; a shift counts grid positions and stays
//! inside of the bar. A pitch is ended only while it sounds and struck only while it does not. What
//! sounds for the longest duration of the settings ends without a token; so does what sounds at
//! the stream's end. Drums have no ends. Where the head says *any*, pitches are those of program 0.

use std::sync::Arc;

use super::bars::Frame;
use super::grammar::{BarGrammar, Context, Music};
use super::lexicon::Kind;
use super::*;
use crate::quantize;
use crate::score::Ticks;

/// The encoding; see the module.
#[derive(Clone, Debug)]
pub struct Event {
    lexicon: Arc<Lexicon>,
}

impl Event {
    /// The encoding for `genres` genres, *any* included.
    pub fn new(settings: quantize::Settings, genres: usize) -> Result<Self, SettingsError> {
        let kinds = [
            Kind::Shift,
            Kind::Instrument,
            Kind::Drum,
            Kind::End,
            Kind::Velocity,
            Kind::Pitch,
        ];
        let lexicon = Lexicon::new(settings, genres, true, &kinds)?.into();
        Ok(Self { lexicon })
    }

    fn longest(&self) -> Ticks {
        Ticks(self.lexicon.settings().max_duration() * self.lexicon.step)
    }
}

impl Encoding for Event {
    fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    fn encode(&self, score: &Score) -> Vec<Body> {
        let lexicon = &*self.lexicon;
        let frame = Frame::new(lexicon, score);
        let body = |track: &Track| {
            let drums = track.instrument.is_drums();
            let struck = if drums { Kind::Drum } else { Kind::Pitch };
            // At one time ends come first: `false` sorts before `true`.
            let mut events: Vec<(Ticks, bool, u8, u8)> = Vec::with_capacity(2 * track.notes.len());
            for note in &track.notes {
                events.push((note.start, true, note.pitch, note.velocity));
                if !drums && note.duration < self.longest() && note.end() < frame.end() {
                    events.push((note.end(), false, note.pitch, 0));
                }
            }
            events.sort_unstable();
            let mut ahead = events.into_iter().peekable();
            let instruments = [track.instrument].into_iter().collect();
            frame.body(instruments, |bar, tokens| {
                let mut now = bar.start;
                while let Some((at, strikes, pitch, velocity)) =
                    ahead.next_if(|(at, ..)| *at < bar.end)
                {
                    if at > now {
                        let steps = (at - now).0 / lexicon.step;
                        tokens.push(lexicon.token(Kind::Shift, steps as u16 - 1));
                    }
                    now = at;
                    if strikes {
                        tokens.extend(lexicon.velocity(velocity));
                        tokens.push(lexicon.token(struck, pitch));
                    } else {
                        tokens.push(lexicon.token(Kind::End, pitch));
                    }
                }
            })
        };
        score.tracks.iter().map(body).collect()
    }

    /// Without the ends of notes that were struck before; the shifts around one become one.
    fn alone<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        let lexicon = &*self.lexicon;
        let longest = lexicon.run(Kind::Shift).len() as u16;
        let (mut kept, mut struck) = (Vec::with_capacity(tokens.len()), [false; 128]);
        let mut shift = 0;
        for &token in tokens {
            match lexicon.word(token) {
                Some((Kind::Shift, steps)) => {
                    shift = longest.min(shift + steps + 1);
                    continue;
                }
                Some((Kind::End, pitch)) if !struck[usize::from(pitch)] => continue,
                Some((Kind::End, pitch)) => struck[usize::from(pitch)] = false,
                Some((Kind::Pitch, pitch)) => struck[usize::from(pitch)] = true,
                Some((Kind::Bar | Kind::Eos, _)) => shift = 0,
                _ => {}
            }
            if shift > 0 {
                kept.push(lexicon.token(Kind::Shift, shift - 1));
                shift = 0;
            }
            kept.push(token);
        }
        // The time at which a part ends inside of a bar.
        if shift > 0 {
            kept.push(lexicon.token(Kind::Shift, shift - 1));
        }
        Cow::Owned(kept)
    }

    fn decode_bar(&self, tokens: &[Token], bars: &mut Bars) {
        let lexicon = &*self.lexicon;
        let mut note = lexicon.blank();
        for (kind, value) in bars.begin(lexicon, tokens) {
            match kind {
                Kind::Shift => note.start += lexicon.steps(value + 1),
                Kind::Velocity => note.velocity = lexicon.velocity_of(value),
                Kind::End => bars.release(value as u8, note.start),
                Kind::Drum => {
                    (note.pitch, note.duration) = (value as u8, lexicon.steps(1));
                    bars.note(Instrument::DRUMS, note);
                }
                Kind::Pitch => {
                    (note.pitch, note.duration) = (value as u8, self.longest());
                    bars.strike(bars.instrument, note);
                }
                _ => {}
            }
        }
    }

    fn grammar(&self) -> Box<dyn Grammar> {
        let moments = Moments {
            state: State::Moment,
            bar: 0,
            position: 0,
            lowest_end: 0,
            lowest_key: 0,
            ends: [0; 128],
            struck: None,
        };
        Box::new(BarGrammar::new(self.lexicon.clone(), moments))
    }
}

/// What was said last, as far as it decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The bar's beginning, or what happens at a time.
    Moment,
    Shift,
    Velocity,
}

/// The grammar of a bar. Times are in grid positions.
#[derive(Clone)]
struct Moments {
    state: State,
    /// Where the bar begins.
    bar: u64,
    /// Time in the bar.
    position: u16,
    /// The lowest pitch that may still be ended now, and key that may be struck.
    lowest_end: u16,
    lowest_key: u16,
    /// Where each pitch ends by itself; it sounds while that is ahead.
    ends: [u64; 128],
    /// What the stream strikes, once it did.
    struck: Option<Kind>,
}

impl Moments {
    fn now(&self) -> u64 {
        self.bar + u64::from(self.position)
    }

    /// The pitches from `lowest` on that sound, or that do not.
    fn pitches(&self, sounding: bool, lowest: u16) -> impl Iterator<Item = u16> {
        (lowest..128).filter(move |&pitch| (self.ends[usize::from(pitch)] > self.now()) == sounding)
    }

    fn insert_keys(&self, context: &Context, next: &mut TokenSet) {
        for &kind in context.keys(self.struck) {
            let start = context.lexicon.run(kind).start;
            match kind {
                Kind::Drum => next.insert_range(start + self.lowest_key..start + 128),
                _ => self
                    .pitches(false, self.lowest_key)
                    .for_each(|pitch| next.insert(start + pitch)),
            }
        }
    }

    /// The first token of a note now.
    fn insert_notes(&self, context: &Context, next: &mut TokenSet) {
        let can_strike = |&kind: &Kind| match kind {
            Kind::Drum => self.lowest_key < 128,
            _ => self.pitches(false, self.lowest_key).next().is_some(),
        };
        if !context.lexicon.has_velocities() {
            self.insert_keys(context, next);
        } else if context.keys(self.struck).iter().any(can_strike) {
            next.insert_range(context.lexicon.run(Kind::Velocity));
        }
    }

    /// Time is another.
    fn pass(&mut self, state: State) {
        (self.state, self.lowest_end, self.lowest_key) = (state, 0, 0);
    }
}

impl Music for Moments {
    fn begin_bar(&mut self, ended: &Context) {
        self.bar += u64::from(ended.positions());
        self.position = 0;
        self.pass(State::Moment);
    }

    fn allowed(&self, context: &Context, next: &mut TokenSet) {
        if self.state == State::Velocity {
            return self.insert_keys(context, next);
        }
        // An end after a note would be that of the note itself, or out of order.
        if self.lowest_key == 0 {
            let start = context.lexicon.run(Kind::End).start;
            self.pitches(true, self.lowest_end)
                .for_each(|pitch| next.insert(start + pitch));
        }
        self.insert_notes(context, next);
        // There is always something to say after a shift: a pitch sounds or can be struck.
        if self.state == State::Moment && !context.keys(self.struck).is_empty() {
            let start = context.lexicon.run(Kind::Shift).start;
            next.insert_range(start..start + context.positions() - 1 - self.position);
        }
    }

    fn accept(&mut self, context: &Context, kind: Kind, value: u16) {
        match kind {
            Kind::Shift => {
                self.position += value + 1;
                return self.pass(State::Shift);
            }
            Kind::Velocity => {
                self.state = State::Velocity;
                return;
            }
            Kind::End => {
                self.ends[usize::from(value)] = 0;
                self.lowest_end = value + 1;
            }
            kind => {
                if kind == Kind::Pitch {
                    let longest = u64::from(context.lexicon.settings().max_duration());
                    self.ends[usize::from(value)] = self.now() + longest;
                }
                self.lowest_key = value + 1;
                self.struck = Some(kind);
            }
        }
        self.state = State::Moment;
    }

    fn is_whole(&self) -> bool {
        self.state == State::Moment
    }
}
