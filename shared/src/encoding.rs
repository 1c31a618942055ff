//! Encodings: a quantized [`Score`] to tokens and back, and the grammar of what may follow.
//!
//! Each encoding is one file: `multitrack`, `grid`, which says bars cell by cell, `mmm`, which says windows
//! of bars track by track, and the monophonic `remi` and `event`, which make a stream of each track. For
//! `q = quantize(s)`, `decode(encode(q)) == q`, exactly; of a monophonic encoding's streams each gives its
//! track, and all of them the same bars. What encodings have in common is the [`Lexicon`], which says what
//! their tokens are, the bars, and the grammar's head.
//! A stream is a *head* (what the music is conditioned on) and a *body* (its bars):
//!
//! ```text
//! BOS genre [metre] [tempo] instruments… | BAR … BAR … BAR … EOS
//! ```
//!
//! Metre and tempo stand in heads where the settings say so, as conditions that a model can be
//! guided by; what is not said there is *any*. `grid` has more of them, see [`controls`].
//!
//! On top of any of them byte pairs can be merged, in front of a model alone: [`Merged`].
//!
//! The head is what a request asks for; it stands in training exactly as in generation.
//! Data sets keep bodies only, see [`Body`]. In every encoding these are bar by bar, so that a
//! segment can begin at any bar; where a stream says bars in another order, [`Encoding::segment`]
//! brings them into it and [`Encoding::bar_by_bar`] back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::instrument::{Instrument, InstrumentSet};
use crate::quantize;
use crate::score::{Metre, Note, Score, Track};

mod bars;
mod cells;
pub mod controls;
pub mod event;
mod grammar;
pub mod grid;
mod lexicon;
mod merged;
pub mod merges;
pub mod mmm;
pub mod multitrack;
pub mod remi;

pub use bars::Bars;
pub(crate) use bars::score as score_of;
pub use lexicon::Lexicon;
pub use merged::Merged;
pub use merges::{Merges, Pair};

pub(crate) use lexicon::Kind;

/// One token: an index into the vocabulary of an encoding.
pub type Token = u16;

/// Fills a batch's rows to equal length, and stands for a token that is not shown; never in a
/// stream. The first token of every vocabulary.
pub const PAD: Token = 0;

/// A set of tokens, as a bit for each of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    words: Vec<u64>,
}

impl TokenSet {
    /// The empty set over a vocabulary of `size` tokens.
    pub fn new(size: usize) -> Self {
        Self {
            words: vec![0; size.div_ceil(64)],
        }
    }

    /// Takes all tokens out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Puts `token` in.
    pub fn insert(&mut self, token: Token) {
        self.words[usize::from(token) / 64] |= 1 << (token % 64);
    }

    /// Puts the tokens of `range` in.
    pub fn insert_range(&mut self, range: std::ops::Range<Token>) {
        // The bits from one on in its word.
        let from = |token: Token| u64::MAX << (token % 64);
        let (first, last) = (usize::from(range.start) / 64, usize::from(range.end) / 64);
        if range.is_empty() {
            return;
        }
        if first == last {
            self.words[first] |= from(range.start) & !from(range.end);
            return;
        }
        self.words[first] |= from(range.start);
        self.words[first + 1..last].fill(u64::MAX);
        if !range.end.is_multiple_of(64) {
            self.words[last] |= !from(range.end);
        }
    }

    /// Takes `token` out.
    pub fn remove(&mut self, token: Token) {
        self.words[usize::from(token) / 64] &= !(1 << (token % 64));
    }

    /// Takes the tokens of `other` out.
    pub fn subtract(&mut self, other: &TokenSet) {
        self.words
            .iter_mut()
            .zip(&other.words)
            .for_each(|(word, out)| *word &= !out);
    }

    /// Whether `token` is in.
    pub fn contains(&self, token: Token) -> bool {
        self.words
            .get(usize::from(token) / 64)
            .is_some_and(|word| word >> (token % 64) & 1 == 1)
    }

    /// The number of tokens in the set.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether the set has no token.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The tokens of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Token> + '_ {
        self.words.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    (i * 64) as Token + bit as Token
                })
            })
        })
    }
}

/// What music is conditioned on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditioning {
    /// Index into the vocabulary's genres; 0 is *any*.
    pub genre: u16,
    /// The instruments that occur; `None` is *any*. To a monophonic encoding the first of them is
    /// said, drums before all programs.
    pub instruments: Option<InstrumentSet>,
    /// The token of the first bar's metre; `None` is *any*. Said where the settings have heads say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metre: Option<Token>,
    /// The token of the first bar's tempo, alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tempo: Option<Token>,
    /// The [number](controls::tonality) of the key; `None` is *any*. Said in `grid` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u16>,
    /// What is asked of the instruments, alike.
    #[serde(default, skip_serializing_if = "controls::Tracks::is_empty")]
    pub tracks: controls::Tracks,
}

/// The metre and tempo that a stream's first bar must state: tokens that stand right after its
/// BAR token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarState {
    /// The token of the metre in force.
    pub metre: Token,
    /// The token of the tempo in force.
    pub tempo: Token,
}

/// A whole piece without its head, as a data set keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// All tokens from the first BAR to EOS.
    pub tokens: Vec<Token>,
    /// Index into `tokens` of each bar's BAR token.
    pub bars: Vec<u32>,
    /// What is in force in each bar (after its own changes).
    pub states: Vec<BarState>,
    /// What plays in it.
    pub instruments: InstrumentSet,
}

/// Why a sequence of tokens is none of an encoding's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token {token} ({name}) at index {index} cannot stand there: {why}")]
pub struct DecodeError {
    /// Index of the token in the sequence.
    pub index: usize,
    /// The token.
    pub token: Token,
    /// Its name in the vocabulary.
    pub name: String,
    /// What should have stood there.
    pub why: String,
}

/// A quantized score to tokens and back.
pub trait Encoding: Send + Sync {
    /// What its tokens say.
    fn lexicon(&self) -> &Lexicon;
    /// The bodies of a quantized score: one, or one for each track in a monophonic encoding.
    fn encode(&self, score: &Score) -> Vec<Body>;
    /// Reads one bar of a stream, from its BAR on, after those that `bars` has read.
    fn decode_bar(&self, tokens: &[Token], bars: &mut Bars);
    /// The grammar, before BOS.
    fn grammar(&self) -> Box<dyn Grammar>;

    /// `tokens`, which begin with a BAR of a body, as they stand alone: without what refers to a
    /// note that began before them.
    fn alone<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        Cow::Borrowed(tokens)
    }

    /// The instruments that `tokens`, a part of `body`, are conditioned on: those that play there;
    /// in a monophonic encoding the body's one, even where it rests.
    fn instruments(&self, body: &Body, _tokens: &[Token]) -> InstrumentSet {
        body.instruments
    }

    /// The byte pairs that are merged in front of a model.
    fn merges(&self) -> Option<&Merges> {
        None
    }

    /// What a model sees of `tokens`, a stream or bars of one: its byte pairs merged.
    fn merge<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        match self.merges() {
            None => Cow::Borrowed(tokens),
            Some(merges) => Cow::Owned(merges.merge(tokens)),
        }
    }

    /// What `tokens` of a model say, with nothing merged.
    fn expand<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        match self.merges() {
            None => Cow::Borrowed(tokens),
            Some(merges) => Cow::Owned(merges.expand(tokens)),
        }
    }

    /// Tokens in the vocabulary.
    fn vocabulary_size(&self) -> usize {
        self.lexicon().size()
    }

    /// The quantization after which encoding and decoding lose nothing.
    fn quantize_settings(&self) -> &quantize::Settings {
        self.lexicon().settings()
    }

    /// The head that conditions a stream: BOS, genre, key, metre and tempo where they are said,
    /// instruments with what is asked of them.
    fn head(&self, conditioning: &Conditioning) -> Vec<Token> {
        self.lexicon().head(conditioning)
    }

    /// Bars that a stream says together, track by track; `None` where it has its bars as a body has.
    fn window_bars(&self) -> Option<usize> {
        None
    }

    /// The most tokens that bars of a body make in a stream.
    fn length(&self, tokens: &[Token]) -> usize {
        tokens.len()
    }

    /// Brings the bars of a body that follow a head into the order that a stream has.
    fn arrange(&self, _stream: &mut Vec<Token>) {}

    /// The bars of a stream, from its first BAR on, as a body has them.
    fn bar_by_bar<'t>(&self, tokens: &'t [Token]) -> Cow<'t, [Token]> {
        Cow::Borrowed(tokens)
    }

    /// Whether cells of a stream can be said behind all its bars.
    fn fills(&self) -> bool {
        false
    }

    /// Whether heads can say the key, and density, polyphony and register of tracks.
    fn says_controls(&self) -> bool {
        self.lexicon().says_controls()
    }

    /// The number of the key of `tokens`, bars of a body whose first one is in the state `first`, and
    /// what is true of their tracks, of all so many semitones higher. Nothing where no head says it.
    fn controls(
        &self,
        _tokens: &[Token],
        _first: BarState,
        _semitones: i32,
    ) -> (Option<u16>, controls::Tracks) {
        Default::default()
    }

    /// Notes in a hundred bars in which it plays, of each instrument of a body: what levels of density are
    /// learned from. Nothing where no head says them.
    fn densities(&self, _body: &Body) -> Vec<(Instrument, u32)> {
        Vec::new()
    }

    /// Whether bodies have chords that a stream may do without.
    fn may_lack_chords(&self) -> bool {
        self.lexicon().may_lack_chords() && self.quantize_settings().chords
    }

    /// Takes the chords out of a stream that may do without.
    fn leave_out_chords(&self, stream: &mut Vec<Token>) {
        if self.may_lack_chords() {
            let chords = self.lexicon().run(Kind::Chord);
            stream.retain(|token| !chords.contains(token));
        }
    }

    /// Whether a bar's music can be read from `token` on, without what stands before it in the bar.
    fn stands_alone(&self, token: Token) -> bool {
        matches!(self.kind(token), "position" | "time shift")
    }

    /// Leaves bars of a stream's tracks open, and fills them in after all that is known of their
    /// window or, where [`Encoding::fills`], of the stream: those that `hides` says, asked once for each
    /// by its number in the stream and by what plays it. Nothing in an encoding that cannot say it.
    fn fill_in(&self, _stream: &mut Vec<Token>, _hides: &mut dyn FnMut(usize, Instrument) -> bool) {
    }

    /// The tokens that bring the end of what is said together nearer, the best first.
    fn endings(&self) -> Vec<Token> {
        let rest = self.lexicon().rest();
        [self.special().bar].into_iter().chain(rest).collect()
    }

    /// A whole stream for bars of a body: the head, then `tokens` (which start at a BAR) with the
    /// first bar's metre and tempo stated, `semitones` higher. `None` where a pitch would leave
    /// MIDI's range.
    fn segment(
        &self,
        conditioning: &Conditioning,
        tokens: &[Token],
        first: BarState,
        semitones: i32,
    ) -> Option<Vec<Token>> {
        let mut stream = self.begun_with(conditioning, tokens, first, semitones)?;
        self.arrange(&mut stream);
        Some(stream)
    }

    /// A stream of the head and `tokens`, as [`Encoding::segment`] has it, but in the order in which
    /// they stand.
    fn begun_with(
        &self,
        conditioning: &Conditioning,
        tokens: &[Token],
        first: BarState,
        semitones: i32,
    ) -> Option<Vec<Token>> {
        let lexicon = self.lexicon();
        let tokens = self.alone(tokens);
        let mut stream = self.head(conditioning);
        let head = stream.len();
        stream.push(self.special().bar);
        stream.extend(lexicon.said(first));
        stream.extend_from_slice(&tokens[lexicon.after_state(&tokens)..]);
        if semitones != 0 {
            lexicon.transpose(&mut stream[head..], semitones)?;
        }
        Some(stream)
    }

    /// Ready to read the bars after `head`.
    fn bars(&self, head: &[Token]) -> Bars {
        Bars::new(self.lexicon(), head)
    }

    /// The score of a stream from BOS to EOS, or of a part of one from BOS on (a note that is not
    /// whole is left out; one whose end is not said ends with the last bar). Refuses what the
    /// grammar refuses.
    fn decode(&self, stream: &[Token]) -> Result<Score, DecodeError> {
        let mut grammar = self.grammar();
        for (index, &token) in stream.iter().enumerate() {
            grammar
                .accept(token)
                .map_err(|error| DecodeError { index, ..error })?;
        }
        let bar = self.special().bar;
        let head = stream.iter().position(|&token| token == bar);
        let (head, body) = stream.split_at(head.unwrap_or(stream.len()));
        let mut bars = self.bars(head);
        for tokens in self.bar_by_bar(body).chunk_by(|_, &next| next != bar) {
            self.decode_bar(tokens, &mut bars);
        }
        bars.finish();
        Ok(score_of(bars, self.quantize_settings()))
    }

    /// The tokens that structure a stream.
    fn special(&self) -> Special {
        let only = |kind| self.lexicon().token(kind, 0u16);
        Special {
            bos: only(Kind::Bos),
            eos: only(Kind::Eos),
            bar: only(Kind::Bar),
        }
    }

    /// The state tokens of a metre (the nearest that the vocabulary has) and a tempo.
    fn bar_state(&self, metre: Metre, micros_per_quarter: u32) -> BarState {
        let (lexicon, settings) = (self.lexicon(), self.quantize_settings());
        let (n, d) = settings.nearest_metre(metre.numerator, metre.denominator);
        BarState {
            metre: lexicon.metre_token(n, d),
            tempo: lexicon.tempo_token(micros_per_quarter),
        }
    }

    /// What kind of thing `token` says: `"pitch"`, `"velocity"`, …; for accuracies and entropies.
    fn kind(&self, token: Token) -> &'static str {
        self.lexicon().kind(token)
    }

    /// The token in words, as in `pitch 60`.
    fn name(&self, token: Token) -> String {
        self.lexicon().name(token)
    }
}

/// What one bar says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BarContent {
    /// The metre, where it is stated.
    pub metre: Option<Metre>,
    /// The tempo, where it is stated, in microseconds a quarter.
    pub micros_per_quarter: Option<u32>,
    /// Its notes in the order of the tokens, starts counted from its bar line.
    pub notes: Vec<(Instrument, Note)>,
}

/// The tokens that structure a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// Begins a stream.
    pub bos: Token,
    /// Ends a piece, at its true end only.
    pub eos: Token,
    /// Begins a bar.
    pub bar: Token,
}

/// An encoding and its settings, as data sets, checkpoints and bundles name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Spec {
    /// [`multitrack::Multitrack`].
    Multitrack(multitrack::Settings),
    /// [`remi::Remi`].
    Remi(quantize::Settings),
    /// [`event::Event`].
    Event(quantize::Settings),
    /// [`Merged`].
    Merged {
        /// The encoding below, which is no `Merged` itself.
        base: Box<Spec>,
        /// What is merged, the earliest learned first.
        merges: Vec<Pair>,
    },
    /// [`mmm::Mmm`].
    Mmm(mmm::Settings),
    /// [`grid::Grid`].
    Grid(grid::Settings),
}

impl Spec {
    /// The encoding for a vocabulary of `genres` genres, *any* included. Refuses settings that
    /// make no vocabulary.
    pub fn build(&self, genres: usize) -> Result<Box<dyn Encoding>, SettingsError> {
        Ok(match self.clone() {
            Spec::Multitrack(settings) => Box::new(multitrack::Multitrack::new(settings, genres)?),
            Spec::Remi(settings) => Box::new(remi::Remi::new(settings, genres)?),
            Spec::Event(settings) => Box::new(event::Event::new(settings, genres)?),
            Spec::Merged { base, merges } => match *base {
                Spec::Merged { .. } => {
                    return Err(SettingsError {
                        field: "base",
                        value: "merged".to_owned(),
                        expected: "expected an encoding that merges nothing itself",
                    });
                }
                base => Box::new(Merged::new(base.build(genres)?, &merges)?),
            },
            Spec::Mmm(settings) => Box::new(mmm::Mmm::new(settings, genres)?),
            Spec::Grid(settings) => Box::new(grid::Grid::new(settings, genres)?),
        })
    }

    /// The encoding without merges: that of the tokens which data sets keep.
    pub fn base(&self) -> &Spec {
        match self {
            Spec::Merged { base, .. } => base,
            base => base,
        }
    }

    /// Whether data sets keep the same tokens in it and in `other`: merges and levels of density, which are
    /// learned, are a model's own.
    pub fn says_as(&self, other: &Spec) -> bool {
        let plain = |spec: &Spec| spec.base().with_densities(controls::Densities::default());
        plain(self) == plain(other)
    }

    /// Where the levels of density begin: the defaults, in an encoding that learns none.
    pub fn densities(&self) -> controls::Densities {
        match self.base() {
            Spec::Grid(settings) => settings.densities,
            _ => controls::Densities::default(),
        }
    }

    /// This encoding with levels of density that begin there, where it has such.
    pub fn with_densities(&self, densities: controls::Densities) -> Self {
        match self.clone() {
            Spec::Grid(settings) => Spec::Grid(grid::Settings {
                densities,
                ..settings
            }),
            Spec::Merged { base, merges } => Spec::Merged {
                base: Box::new(base.with_densities(densities)),
                merges,
            },
            other => other,
        }
    }

    /// This encoding with these merges in place of its own; none are as good as no merging.
    pub fn with_merges(&self, merges: Vec<Pair>) -> Self {
        let base = self.base().clone();
        match merges[..] {
            [] => base,
            _ => Spec::Merged {
                base: Box::new(base),
                merges,
            },
        }
    }

    /// What is merged, the earliest learned first.
    pub fn merges(&self) -> &[Pair] {
        match self {
            Spec::Merged { merges, .. } => merges,
            _ => &[],
        }
    }

    /// The encoding's name.
    pub fn name(&self) -> &'static str {
        match self {
            Spec::Multitrack(_) => "multitrack",
            Spec::Remi(_) => "remi",
            Spec::Event(_) => "event",
            Spec::Merged { base, .. } => base.name(),
            Spec::Mmm(_) => "mmm",
            Spec::Grid(_) => "grid",
        }
    }

    /// What can be said in it.
    pub fn settings(&self) -> &quantize::Settings {
        match self {
            Spec::Multitrack(settings) | Spec::Remi(settings) | Spec::Event(settings) => settings,
            Spec::Merged { base, .. } => base.settings(),
            Spec::Mmm(settings) => &settings.music,
            Spec::Grid(settings) => &settings.music,
        }
    }
}

/// A setting that makes no sense: of an encoding, which has no vocabulary by it, or of sampling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: {expected}")]
pub struct SettingsError {
    /// The setting.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

/// Which tokens may follow. Starts before BOS; a sequence that it accepted whole decodes.
pub trait Grammar: Send {
    /// Puts the tokens that may come next into `next` (cleared first).
    fn allowed(&self, next: &mut TokenSet);
    /// Takes one more token; refuses one that [`Grammar::allowed`] does not hold, unchanged.
    fn accept(&mut self, token: Token) -> Result<(), DecodeError>;
    /// Takes one more token, of which [`Grammar::allowed`] was asked before.
    fn advance(&mut self, token: Token) {
        let _ = self.accept(token);
    }
    /// A copy of its state.
    fn boxed_clone(&self) -> Box<dyn Grammar>;
}
