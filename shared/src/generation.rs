//! Generation: a request becomes bars, one after another.
//!
//! A [`Generator`] is an iterator over bars. For each token it
//!
//! 1. runs what is new through the engine (a prompt in chunks, then token by token); with guidance
//!    beside it the same music without the conditions that it drives, as a second row,
//! 2. takes the tokens that the grammar and the request allow ([`Candidates`]),
//! 3. draws one, with random numbers of its own for each bar,
//!
//! and hands out a bar when the next one begins and all its notes have ended (which an encoding may
//! say bars later; at the end of the last bar all notes end). Where an encoding says a *window* of bars
//! track by track, they all come when its last track is done, and with it the random numbers are for
//! a window. It can be cancelled between any two tokens.
//!
//! The context is a number of whole bars. When it is full the generator prompts anew with the head
//! and the last half of the bars: positions stay inside what was trained, and the result depends
//! on the bars that were kept and on nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::architecture::Ends;
use crate::encoding::{
    self, BarContent, BarState, Bars, Conditioning, Encoding, Grammar, Token, TokenSet,
};
use crate::engine::{Engine, alone};
use crate::sampling::{self, Biases, Candidates, Control, Words};
use crate::score::Score;
use prompt::chords;
use steer::Steer;

mod beam;
mod cache;
mod draw;
mod fill;
mod prompt;
mod request;
mod retries;
pub mod song;
mod steer;

pub use cache::Cache;
pub use fill::fill_in;
pub use prompt::PROMPT_CHUNK;
pub use request::{GeneratedBar, GenerationError, Request};
pub use retries::{GOOD_ENOUGH, Tried, Verdict, retry};

/// Tokens kept free at the context's end, so that a note that has begun can be finished.
const RESERVE: usize = 8;

/// An iterator over the bars of a request.
pub struct Generator {
    encoding: Box<dyn Encoding>,
    cache: Cache,
    grammar: Box<dyn Grammar>,
    request: Request,
    cancel: Arc<AtomicBool>,
    /// How the model takes its conditions.
    ends: Ends,
    /// The context in tokens and bars.
    context: crate::manifest::Context,
    /// Metre and tempo of each bar; those behind the last go on as it does.
    states: Vec<BarState>,
    /// The number of the first bar that is written; those before it are known.
    first: u32,
    /// What else is asked of what is written.
    steer: Option<Steer>,
    /// Bars of a window: one, where the encoding says each bar by itself.
    window: usize,
    /// Tokens that a clip has no use for: the piece's end, changes of metre and tempo, and bars that
    /// are left open.
    excluded: TokenSet,
    /// What brings a window to its end, the best first.
    endings: Vec<Token>,
    /// Merged tokens, of which none is drawn where a window must end: one might begin what cannot end
    /// at once.
    merged: TokenSet,
    /// The last windows, whole: what the next prompt may keep.
    kept: Vec<Vec<Token>>,
    /// The window that is being written, from BAR on.
    current: Vec<Token>,
    /// Its bars, and those whose BAR was said.
    current_bars: usize,
    opened: usize,
    /// What the bars say.
    bars: Bars,
    /// The tokens of the bars that were not handed out yet.
    written: VecDeque<Vec<Token>>,
    /// Those that were.
    handed_out: u32,
    /// Bars written.
    index: u32,
    /// Tokens drawn.
    drawn: usize,
    rng: ChaCha8Rng,
    /// The head's, and with guidance another that says nothing: a row of the stream for each. In beam
    /// search the same again and again.
    conditionings: Vec<Conditioning>,
    /// Rows of one sequence.
    voices: usize,
    /// Of each row after the last token that was run, `[vocabulary]`; the first is what is drawn from.
    logits: Vec<Vec<f32>>,
    allowed: TokenSet,
    candidates: Candidates,
    /// What moves logits by what was said.
    biases: Biases,
    started: bool,
    /// Whether the window has begun that is to be written next.
    begun: bool,
    ended: bool,
}

impl Generator {
    /// Makes ready; runs nothing yet. `cancel` stops it between two tokens.
    pub fn new(
        engine: &dyn Engine,
        request: Request,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, GenerationError> {
        Self::with(engine, request, cancel, None)
    }

    /// With what another generator has left in a cache, where it is of this model and has the same rows.
    fn with(
        engine: &dyn Engine,
        request: Request,
        cancel: Arc<AtomicBool>,
        cache: Option<Cache>,
    ) -> Result<Self, GenerationError> {
        let sampling = request.sampling.check();
        sampling.map_err(GenerationError::Sampling)?;
        let manifest = engine.manifest();
        let encoding = manifest.encoding.build(manifest.vocabulary.genres.len())?;
        let state = encoding.bar_state(request.metre, request.micros_per_quarter);
        let mut conditionings = vec![Conditioning {
            metre: Some(state.metre),
            tempo: Some(state.tempo),
            ..request.conditioning
        }];
        let sampling::Settings {
            guidance, guided, ..
        } = request.sampling;
        let free = guided.without(&conditionings[0]);
        let head = encoding.head(&conditionings[0]);
        let hides = guided.contains(Control::Chords) && !chords(&*encoding).is_empty();
        if guidance > 1.0 && guidance.is_finite() && (head != encoding.head(&free) || hides) {
            conditionings.push(free);
        }
        let voices = conditionings.len();
        let conditionings = conditionings.repeat(beam::sequences(&request.sampling));
        let rows = conditionings.len();
        let cache = match cache.filter(|cache| cache.fits(engine, rows)) {
            Some(cache) => Ok(cache),
            None => Cache::open(engine, rows),
        };
        let cache = cache.map_err(|source| GenerationError::Engine { bar: 0, source })?;
        let mut grammar = encoding.grammar();
        head.iter().try_for_each(|&token| grammar.accept(token))?;
        let size = encoding.vocabulary_size();
        let mut excluded = TokenSet::new(size);
        (0..size as Token)
            .filter(|&token| {
                let kind = encoding.kind(token);
                matches!(
                    kind,
                    "metre" | "tempo" | "eos" | "fill placeholder" | "fill" | "at"
                )
            })
            .for_each(|token| excluded.insert(token));
        let mut merged = TokenSet::new(size);
        if let Some(merges) = encoding.merges() {
            merged.insert_range(merges.tokens());
        }
        Ok(Self {
            cache,
            grammar,
            request,
            cancel,
            context: manifest.context,
            states: vec![state],
            first: 0,
            steer: None,
            window: encoding.window_bars().unwrap_or(1),
            excluded,
            merged,
            endings: encoding.endings(),
            kept: Vec::new(),
            current: Vec::new(),
            current_bars: 0,
            opened: 0,
            bars: encoding.bars(&head),
            written: VecDeque::new(),
            handed_out: 0,
            index: 0,
            drawn: 0,
            rng: bar_rng(request.seed, 0),
            conditionings,
            voices,
            logits: vec![Vec::new(); rows],
            ends: manifest.architecture.ends(),
            allowed: TokenSet::new(size),
            candidates: Candidates::default(),
            biases: Biases::new(&request.sampling, Arc::new(Words::new(&*encoding))),
            started: false,
            begun: false,
            ended: request.bars == 0,
            encoding,
        })
    }

    /// Tokens drawn so far.
    pub fn tokens_drawn(&self) -> usize {
        self.drawn
    }

    /// Bars that were handed out one after another, as a score that begins with the first.
    pub fn score(&self, bars: &[GeneratedBar]) -> Score {
        let mut before = None;
        let contents = bars.iter().map(|bar| {
            let stated = (bar.metre, bar.micros_per_quarter);
            let (metre, tempo) = before.replace(stated).unzip();
            BarContent {
                metre: (metre != Some(bar.metre)).then_some(bar.metre),
                micros_per_quarter: (tempo != Some(bar.micros_per_quarter))
                    .then_some(bar.micros_per_quarter),
                notes: bar.notes.clone(),
            }
        });
        encoding::score_of(contents, self.encoding.quantize_settings())
    }

    /// What is in force in bar `index`.
    fn state(&self, index: usize) -> BarState {
        self.states[index.min(self.states.len() - 1)]
    }

    /// Begins the next window, where it has not: its first BAR, and in a stream's first metre and tempo.
    async fn begin(&mut self) -> Result<(), GenerationError> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let bar = self.encoding.special().bar;
        let left = self.request.bars.saturating_sub(self.index) as usize;
        (self.current_bars, self.opened) = (left.clamp(1, self.window), 1);
        let index = self.index as usize;
        let (state, before) = (self.state(index), index.checked_sub(1));
        let before = before.map(|before| self.state(before));
        let stated = self.encoding.lexicon().said(state);
        let changed = |token: &Token| {
            before.is_none_or(|before| ![before.metre, before.tempo].contains(token))
        };
        self.current = [bar].into_iter().chain(stated.filter(changed)).collect();
        if let Some(steer) = &mut self.steer {
            steer.begin_bar(self.index);
        }
        if !self.started {
            self.started = true;
            return self.prompt(self.kept.len()).await;
        }
        let most = match self.window {
            1 => self.context.bars,
            // One window of the past at least: training has two in a segment.
            bars => (self.context.bars / bars).max(2),
        };
        if self.kept.len() >= most {
            return self.prompt(self.kept.len() / 2).await;
        }
        let stated = self.current.clone();
        stated
            .iter()
            .try_for_each(|&token| self.grammar.accept(token))?;
        self.append(&stated).await
    }

    /// Writes one window to its end, up to the next BAR.
    async fn window(&mut self) -> Result<(), GenerationError> {
        self.begin().await?;
        // Beside the note that has begun, what the other bars of a track need at least.
        let reserve = RESERVE + 3 * (self.current_bars - 1);
        let limit = self.context.tokens.saturating_sub(reserve);
        match self.request.sampling.beam {
            0 => self.draw_window(limit).await?,
            _ => {
                self.search(limit, &|generator, token| token == generator.end())
                    .await?;
            }
        }
        let tokens = std::mem::take(&mut self.current);
        let bar = self.encoding.special().bar;
        for tokens in (self.encoding.bar_by_bar(&tokens)).chunk_by(|_, &next| next != bar) {
            self.encoding.decode_bar(tokens, &mut self.bars);
            self.written.push_back(tokens.to_vec());
        }
        self.kept.push(tokens);
        self.begun = false;
        self.index += self.current_bars as u32;
        self.rng = bar_rng(self.request.seed, self.index);
        self.ended |= self.index >= self.request.bars;
        if self.ended {
            self.bars.finish();
        }
        Ok(())
    }

    /// Writes up to the next bar that can be handed out.
    async fn next_bar(&mut self) -> Option<Result<GeneratedBar, GenerationError>> {
        loop {
            if let Some(bar) = self.hand_out() {
                return Some(Ok(bar));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.window().await {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }

    /// The next bar whose notes have all ended.
    fn hand_out(&mut self) -> Option<GeneratedBar> {
        let content = self.bars.next()?;
        let index = self.first + self.handed_out;
        self.handed_out += 1;
        let (state, lexicon) = (self.state(index as usize), self.encoding.lexicon());
        Some(GeneratedBar {
            index,
            metre: lexicon.metre(state),
            micros_per_quarter: lexicon.tempo(state),
            tokens: self.written.pop_front().unwrap_or_default(),
            notes: content.notes,
        })
    }
}

impl Iterator for Generator {
    type Item = Result<GeneratedBar, GenerationError>;

    fn next(&mut self) -> Option<Self::Item> {
        alone(self.next_bar())
    }
}

/// The random numbers of bar `index`: a stream of its own, so that a bar can be made again alone.
fn bar_rng(seed: u64, index: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(index));
    rng
}
