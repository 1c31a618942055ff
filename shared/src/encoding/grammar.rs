//! The part of a grammar that all encodings share: the head, and what a bar states before its music.

use std::sync::Arc;

use super::lexicon::{CONTROLS, Kind, Lexicon};
use super::{DecodeError, Grammar, Token, TokenSet};
use crate::instrument::{Instrument, InstrumentSet};

/// What holds for the music of a bar.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) lexicon: Arc<Lexicon>,
    /// What the head allows; `None` is any.
    pub(super) given: Option<InstrumentSet>,
    /// The metre in force.
    pub(super) metre: u16,
}

impl Context {
    /// Grid positions of the bar.
    pub(super) fn positions(&self) -> u16 {
        self.lexicon.positions(self.metre)
    }

    /// The kinds of keys that a monophonic stream may strike. Where the head says nothing, the
    /// first that was `struck` decides.
    pub(super) fn keys(&self, struck: Option<Kind>) -> &'static [Kind] {
        match (struck, self.given) {
            (Some(Kind::Drum), _) => &[Kind::Drum],
            (Some(_), _) => &[Kind::Pitch],
            (None, None) => &[Kind::Drum, Kind::Pitch],
            (None, Some(given)) if given.is_empty() => &[],
            (None, Some(given)) if given.contains(Instrument::DRUMS) => &[Kind::Drum],
            (None, Some(_)) => &[Kind::Pitch],
        }
    }
}

/// The grammar of what a bar says after its metre and tempo.
pub(super) trait Music: Clone + Send + 'static {
    /// A bar ends, the next begins.
    fn begin_bar(&mut self, ended: &Context);
    /// Adds the tokens that may come next, BAR and EOS apart.
    fn allowed(&self, context: &Context, next: &mut TokenSet);
    /// Takes one of them.
    fn accept(&mut self, context: &Context, kind: Kind, value: u16);
    /// Whether the bar may end here, and the piece with it.
    fn is_whole(&self) -> bool;
    /// Adds the tokens that may come behind the piece's end.
    fn behind(&self, _: &Context, _: &mut TokenSet) {}
    /// Whether another bar may begin here.
    fn may_begin_bar(&self) -> bool {
        self.is_whole()
    }
}

/// What was said last, as far as it decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Bos,
    Genre,
    /// A key of the head.
    GivenKey,
    /// A metre of the head.
    GivenMetre,
    /// A tempo of the head.
    GivenTempo,
    AnyInstruments,
    /// An instrument of the head, and how many of [`CONTROLS`] are behind.
    Given(Instrument, usize),
    Bar,
    Metre,
    Tempo,
    Chord,
    Rest,
    Music,
    End,
}

/// The grammar of streams whose bars say `M`.
#[derive(Clone)]
pub(super) struct BarGrammar<M> {
    context: Context,
    state: State,
    /// Whether what is said of metre and tempo was.
    stated: bool,
    tempo: u16,
    /// Whether bars say chords, as soon as the first has decided it.
    chords: Option<bool>,
    music: M,
}

/// Drums come before all programs.
pub(super) fn rank(instrument: Instrument) -> u16 {
    if instrument.is_drums() {
        0
    } else {
        u16::from(instrument.index()) + 1
    }
}

impl<M: Music> BarGrammar<M> {
    pub(super) fn new(lexicon: Arc<Lexicon>, music: M) -> Self {
        let stated = !lexicon.says_metres() && !lexicon.says_tempos();
        let context = Context {
            lexicon,
            given: Some(InstrumentSet::default()),
            metre: 0,
        };
        Self {
            context,
            state: State::Start,
            stated,
            tempo: 0,
            chords: None,
            music,
        }
    }

    fn insert(&self, next: &mut TokenSet, kind: Kind) {
        next.insert_range(self.context.lexicon.run(kind));
    }

    /// A metre or tempo: the one in force is not stated again.
    fn states(&self, next: &mut TokenSet, kind: Kind, in_force: u16) {
        self.insert(next, kind);
        if self.stated {
            next.remove(self.context.lexicon.token(kind, in_force));
        }
    }

    /// Takes a word that may come.
    fn take(&mut self, kind: Kind, value: u16) {
        let states = matches!(kind, Kind::Metre | Kind::Tempo);
        if matches!(self.state, State::Bar | State::Metre | State::Tempo) && !states {
            self.chords.get_or_insert(kind == Kind::Chord);
        }
        self.state = match (kind, self.state) {
            (Kind::Bos, _) => State::Bos,
            (Kind::Genre, _) => State::Genre,
            (Kind::Key, _) => State::GivenKey,
            (Kind::Metre, State::Genre | State::GivenKey) => State::GivenMetre,
            (Kind::Tempo, State::Genre | State::GivenKey | State::GivenMetre) => State::GivenTempo,
            (Kind::AnyInstruments, _) => {
                self.context.given = None;
                State::AnyInstruments
            }
            (
                Kind::Instrument,
                State::Genre
                | State::GivenKey
                | State::GivenMetre
                | State::GivenTempo
                | State::Given(..),
            ) => {
                let instrument = Instrument::new(value as u8).unwrap_or_default();
                let given = self.context.given.get_or_insert_default();
                given.insert(instrument);
                State::Given(instrument, 0)
            }
            (kind, State::Given(instrument, _)) if CONTROLS.contains(&kind) => {
                let before = CONTROLS.iter().take_while(|&&control| control != kind);
                State::Given(instrument, before.count() + 1)
            }
            (Kind::Bar, _) => {
                self.music.begin_bar(&self.context);
                State::Bar
            }
            (Kind::Metre, _) => {
                self.context.metre = value;
                self.stated |= !self.context.lexicon.says_tempos();
                State::Metre
            }
            (Kind::Tempo, _) => {
                self.tempo = value;
                self.stated = true;
                State::Tempo
            }
            (Kind::Chord, _) => State::Chord,
            (Kind::Rest, State::Bar | State::Metre | State::Tempo | State::Chord)
                if self.context.lexicon.rest().is_some() =>
            {
                State::Rest
            }
            (Kind::Eos, _) => State::End,
            _ => {
                self.music.accept(&self.context, kind, value);
                State::Music
            }
        };
    }

    /// What may follow a bar's BAR and metre.
    fn tempo_on(&self, next: &mut TokenSet) {
        if self.context.lexicon.says_tempos() {
            self.states(next, Kind::Tempo, self.tempo);
            if !self.stated {
                return;
            }
        }
        self.chord_on(next);
    }

    /// What may follow what a bar states.
    fn chord_on(&self, next: &mut TokenSet) {
        let lexicon = &self.context.lexicon;
        let chords = self.chords.filter(|_| lexicon.may_lack_chords());
        if lexicon.settings().chords && chords != Some(false) {
            self.insert(next, Kind::Chord);
            if chords == Some(true) || !lexicon.may_lack_chords() {
                return;
            }
        }
        self.open(next);
    }

    /// What a bar's music may begin with.
    fn open(&self, next: &mut TokenSet) {
        match self.context.lexicon.rest() {
            None => self.music(next),
            Some(rest) => {
                self.music.allowed(&self.context, next);
                next.insert(rest);
            }
        }
    }

    /// More music, or the end.
    fn music(&self, next: &mut TokenSet) {
        self.music.allowed(&self.context, next);
        self.end(next);
    }

    /// The next bar or the piece's end, if it may come.
    fn end(&self, next: &mut TokenSet) {
        if self.music.may_begin_bar() {
            self.insert(next, Kind::Bar);
        }
        if self.music.is_whole() {
            self.insert(next, Kind::Eos);
        }
    }
}

impl<M: Music> Grammar for BarGrammar<M> {
    fn allowed(&self, next: &mut TokenSet) {
        next.clear();
        match self.state {
            State::Start => self.insert(next, Kind::Bos),
            State::Bos => self.insert(next, Kind::Genre),
            State::Genre | State::GivenKey | State::GivenMetre | State::GivenTempo => {
                let settings = self.context.lexicon.settings();
                if self.state == State::Genre {
                    self.insert(next, Kind::Key);
                }
                if settings.metre_in_head && matches!(self.state, State::Genre | State::GivenKey) {
                    self.insert(next, Kind::Metre);
                }
                if settings.tempo_in_head && self.state != State::GivenTempo {
                    self.insert(next, Kind::Tempo);
                }
                self.insert(next, Kind::AnyInstruments);
                self.insert(next, Kind::Bar);
                self.insert(next, Kind::Instrument);
            }
            State::AnyInstruments => self.insert(next, Kind::Bar),
            State::Given(last, behind) => {
                if self.context.lexicon.says_controls() {
                    let controls = CONTROLS.iter().skip(behind);
                    controls.for_each(|&kind| self.insert(next, kind));
                }
                if !self.context.lexicon.is_monophonic() {
                    for instrument in Instrument::all().filter(|&other| rank(other) > rank(last)) {
                        let lexicon = &self.context.lexicon;
                        next.insert(lexicon.token(Kind::Instrument, instrument.index()));
                    }
                }
                self.insert(next, Kind::Bar);
            }
            State::Bar => {
                if self.context.lexicon.says_metres() {
                    self.states(next, Kind::Metre, self.context.metre);
                    if !self.stated {
                        return;
                    }
                }
                self.tempo_on(next);
            }
            State::Metre => self.tempo_on(next),
            State::Tempo => self.chord_on(next),
            State::Chord => self.open(next),
            State::Rest => self.end(next),
            State::Music => self.music(next),
            State::End => self.music.behind(&self.context, next),
        }
    }

    fn accept(&mut self, token: Token) -> Result<(), DecodeError> {
        let lexicon = &self.context.lexicon;
        let mut next = TokenSet::new(lexicon.size());
        self.allowed(&mut next);
        let word = lexicon.word(token).filter(|_| next.contains(token));
        let Some((kind, value)) = word else {
            let kinds = next.iter().map(|token| lexicon.kind(token));
            let mut kinds: Vec<_> = kinds.collect();
            kinds.dedup();
            return Err(DecodeError {
                index: 0,
                token,
                name: lexicon.name(token),
                why: match kinds[..] {
                    [] => "the piece has ended".to_owned(),
                    _ => format!("expected {}", kinds.join(", ")),
                },
            });
        };
        self.take(kind, value);
        Ok(())
    }

    fn advance(&mut self, token: Token) {
        if let Some((kind, value)) = self.context.lexicon.word(token) {
            self.take(kind, value);
        }
    }

    fn boxed_clone(&self) -> Box<dyn Grammar> {
        Box::new(self.clone())
    }
}
