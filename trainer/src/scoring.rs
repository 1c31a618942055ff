//! How well a model foretells music: the negative log-probability of every token of a piece.
//!
//! A piece longer than the model's context is seen through windows that overlap by half; each
//! token is scored once, in the window in which more of the past stands before it. Where an encoding
//! says ends of notes, those whose note began before the window are not in it, and not foretold.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use famam_shared::architecture::Ends;
use famam_shared::encoding::{Body, Conditioning, Encoding, Grammar, Token, TokenSet};
use famam_shared::engine::{Engine, EngineError, Stream};
use famam_shared::generation::PROMPT_CHUNK;
use famam_shared::manifest::Context;
use tch::Kind;

mod by_track;

use crate::model::{Dropout, Model, Ragged};
use crate::parallel::each;

/// Tokens of music that a window must have room for: with fewer, one that begins half a window
/// back and does not end between BAR and what it states may come no further than the one before.
const LEAST_ROOM: usize = 6;
/// Tokens that are run at a time.
const BATCH_TOKENS: usize = 4096;

/// A stream of which some tokens are scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The piece that it is of.
    pub piece: usize,
    /// The stream, from its head on.
    pub tokens: Vec<Token>,
    /// Tokens of its head.
    pub head: usize,
    /// Index of the first token that is scored; all after it are.
    pub first: usize,
}

/// A model that sees too little at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model sees {tokens} tokens at once, but {least} at least are needed where {given} say what is given: \
     train one with a larger max_seq_length"
)]
pub struct TooNarrow {
    /// Its context.
    tokens: usize,
    /// What would be enough.
    least: usize,
    /// Tokens of the head.
    given: usize,
}

/// The windows through which a piece is seen by a model with this context.
///
/// # Errors
/// [`TooNarrow`] where hardly any music fits beside the head.
pub fn windows(
    piece: usize,
    body: &Body,
    encoding: &dyn Encoding,
    conditioning: &Conditioning,
    context: Context,
) -> Result<Vec<Window>, TooNarrow> {
    let body = &*without_chords(body, encoding);
    let (tokens, bars) = (&body.tokens, &body.bars);
    // The head, and the first bar's BAR, metre and tempo.
    let given = encoding.head(conditioning).len();
    let taken = given + 3;
    let room = context.tokens.saturating_sub(taken);
    if room < LEAST_ROOM {
        return Err(TooNarrow {
            tokens: context.tokens,
            least: taken + LEAST_ROOM,
            given,
        });
    }
    if let Some(together) = encoding.window_bars() {
        let whole = by_track::Piece {
            index: piece,
            body,
            encoding,
            conditioning,
            together,
        };
        return Ok(whole.windows(context));
    }
    let bar = |i: usize| bars.get(i).map_or(tokens.len(), |&bar| bar as usize);
    // How many tokens a model sees before each bar, and where bars stand alone.
    let mut before = vec![0];
    for i in 0..bars.len() {
        before.push(before[i] + encoding.merge(&tokens[bar(i)..bar(i + 1)]).len());
    }
    let fits = |from: usize, to: usize| {
        let bars = || encoding.alone(&tokens[bar(from)..bar(to)]).into_owned();
        before[to] - before[from] <= room
            && (encoding.merges().is_none() || encoding.merge(&bars()).len() <= room)
    };
    // A window that is cut inside of a bar is not cut between BAR and what it states.
    let cut = |end: usize| {
        let states = |i: &usize| {
            !matches!(
                encoding.kind(tokens[*i]),
                "bar" | "metre" | "tempo" | "chord"
            )
        };
        let end = end.min(tokens.len());
        (end.saturating_sub(4)..end)
            .rev()
            .find(states)
            .map_or(end, |i| i + 1)
    };
    // Where a window from bar `i` on ends: after whole bars, unless its first is too long.
    let end = |i: usize| {
        let mut whole = (i + 1..=i.saturating_add(context.bars).min(bars.len())).rev();
        whole
            .find(|&end| fits(i, end))
            .map_or_else(|| cut(bar(i) + room), bar)
    };
    let mut windows = Vec::new();
    let mut window = |range: Range<usize>, state: usize, done: usize| {
        let mut music = Vec::with_capacity(range.len() + 1);
        if tokens[range.start] != encoding.special().bar {
            music.push(encoding.special().bar);
            let stated = tokens[bar(state)..].iter().take(4);
            music.extend(stated.filter(|token| encoding.kind(**token) == "chord"));
        }
        music.extend_from_slice(&tokens[range.clone()]);
        let stream = encoding.segment(conditioning, &music, body.states[state], 0);
        let tokens = stream.unwrap_or_default();
        // What refers to notes before the window is not in it, in what was scored before either.
        let before = encoding.alone(&music[..music.len() - (range.end - done)]);
        let all = encoding.alone(&music);
        let seen = std::iter::zip(&*before, &*all).take_while(|(a, b)| a == b);
        let first = tokens.len().saturating_sub(all.len() - seen.count());
        // Merged apart, so that no token is scored in two windows where one begins inside a bar.
        let (past, scored) = tokens.split_at(first);
        let past = encoding.merge(past);
        windows.push(Window {
            piece,
            first: past.len(),
            tokens: [past, encoding.merge(scored)].concat(),
            head: given,
        });
    };
    let (mut done, mut from) = (0, 0);
    while done < tokens.len() {
        if done > 0 {
            let seen = bars.partition_point(|&bar| (bar as usize) < done) - from;
            from += (seen / 2).max(1);
            while bar(from) < done && end(from) <= done {
                from += 1;
            }
        }
        if bar(from) < done || done == 0 {
            window(bar(from)..end(from), from, done);
            done = end(from);
        } else {
            // Inside of a bar that is longer than a window, or at the end of one that fills it:
            // from a position on that leaves half of the room for the past.
            let positions = done.saturating_sub(room / 2)..done;
            let begin = positions
                .into_iter()
                .find(|&i| encoding.stands_alone(tokens[i]));
            let begin = begin.unwrap_or(done - 1);
            let until = cut(begin + room);
            from = bars.partition_point(|&bar| bar as usize <= begin) - 1;
            window(begin..until, from, done);
            done = until;
        }
    }
    Ok(windows)
}

/// The body as a stream says it that has no more than it must: without chords that may be left out.
pub fn without_chords<'b>(body: &'b Body, encoding: &dyn Encoding) -> Cow<'b, Body> {
    if !encoding.may_lack_chords() {
        return Cow::Borrowed(body);
    }
    let mut plain = Body {
        tokens: Vec::new(),
        bars: Vec::new(),
        ..body.clone()
    };
    let ends = body.bars.iter().skip(1).map(|&bar| bar as usize);
    let ends = ends.chain([body.tokens.len()]);
    for (&begin, end) in std::iter::zip(&body.bars, ends) {
        let mut bar = body.tokens[begin as usize..end].to_vec();
        encoding.leave_out_chords(&mut bar);
        plain.bars.push(plain.tokens.len() as u32);
        plain.tokens.append(&mut bar);
    }
    Cow::Owned(plain)
}

/// What gives logits.
pub enum Scorer {
    /// A model in training.
    Torch(Box<Model>),
    /// A bundle in an engine, with a stream for one sequence.
    Engine(Ends, Box<dyn Stream>),
}

impl Scorer {
    /// A scorer for each of so many threads, on one model.
    pub fn torch(model: &Model, threads: usize) -> Vec<Self> {
        (0..threads.max(1))
            .map(|_| Self::Torch(Box::new(model.replica())))
            .collect()
    }

    /// A scorer on an engine.
    pub fn engine(engine: &Arc<dyn Engine>) -> Result<Self, EngineError> {
        let manifest = engine.manifest();
        Ok(Self::Engine(
            manifest.architecture.ends(),
            engine.open(1, manifest.context.tokens)?,
        ))
    }

    /// Calls `each` with the index of a window, that of a scored token in it, and the logits there;
    /// ascending.
    pub fn run(
        &mut self,
        windows: &[Window],
        mut each: impl FnMut(usize, usize, &[f32]),
    ) -> Result<(), EngineError> {
        match self {
            Self::Torch(model) => {
                let streams = windows
                    .iter()
                    .map(|window| (&window.tokens[..], window.head, window.first));
                let batch = Ragged::new(model.architecture().ends(), streams, model.device());
                let logits = tch::no_grad(|| {
                    let hidden = model.hidden(&batch, &mut Dropout::none());
                    model
                        .logits(&hidden.index_select(0, &batch.scored))
                        .to_kind(Kind::Float)
                });
                let vocabulary = model.architecture().vocabulary();
                let mut values = vec![0f32; logits.numel()];
                logits.copy_data(&mut values, logits.numel());
                let mut rows = values.chunks_exact(vocabulary);
                for (w, window) in windows.iter().enumerate() {
                    for (i, row) in std::iter::zip(window.first..window.tokens.len(), &mut rows) {
                        each(w, i, row);
                    }
                }
            }
            Self::Engine(ends, stream) => {
                for (w, window) in windows.iter().enumerate() {
                    stream.clear();
                    let (conditions, sequence) = ends.split(&window.tokens, window.head);
                    stream.condition(&[conditions])?;
                    let inputs = &sequence[..sequence.len() - 1];
                    for (c, chunk) in inputs.chunks(PROMPT_CHUNK).enumerate() {
                        let logits = stream.run(&[chunk])?;
                        for i in 0..chunk.len() {
                            let foretold = conditions.len() + c * PROMPT_CHUNK + i + 1;
                            let row = logits.slice(ndarray::s![0, i, ..]);
                            if let (true, Some(row)) = (foretold >= window.first, row.as_slice()) {
                                each(w, foretold, row);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Negative log-probabilities in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nats {
    /// Of the model.
    pub free: f64,
    /// Of the model among the tokens that the grammar allows.
    pub in_grammar: f64,
    /// Whether the model held the token for the likeliest, as training counts it: without the grammar.
    pub right: bool,
}

/// Scores all windows: calls `each` with the window, the index of a token in it and its nats, in
/// order; `done` with the windows that are done, from any thread.
pub fn score(
    scorers: &mut [Scorer],
    encoding: &dyn Encoding,
    windows: &[Window],
    done: impl Fn(usize) + Sync,
    mut each_token: impl FnMut(&Window, usize, Nats),
) -> Result<(), EngineError> {
    let batches = batches(windows);
    let scores = each(scorers, batches.clone(), |scorer, batch| {
        let windows = &windows[batch];
        let mut nats: Vec<Vec<Nats>> = vec![Vec::new(); windows.len()];
        let mut judges: Vec<Judge> = windows
            .iter()
            .map(|window| Judge::new(encoding, window))
            .collect();
        scorer.run(windows, |w, i, logits| {
            nats[w].push(judges[w].nats(i, logits))
        })?;
        done(windows.len());
        Ok(nats)
    });
    for (batch, scores) in std::iter::zip(batches, scores) {
        for (window, nats) in std::iter::zip(&windows[batch], scores?) {
            for (i, nats) in std::iter::zip(window.first.., nats) {
                each_token(window, i, nats);
            }
        }
    }
    Ok(())
}

/// Neighbouring windows, together about as long as is run at a time.
fn batches(windows: &[Window]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut sum = 0;
    for (i, window) in windows.iter().enumerate() {
        sum += window.tokens.len();
        match batches.last_mut() {
            Some(batch) if sum <= BATCH_TOKENS => batch.end = i + 1,
            _ => {
                sum = window.tokens.len();
                batches.push(i..i + 1);
            }
        }
    }
    batches
}

/// Follows a window's grammar.
struct Judge<'a> {
    tokens: &'a [Token],
    /// `None` after a token that it does not allow.
    grammar: Option<Box<dyn Grammar>>,
    /// Tokens that it took.
    taken: usize,
    allowed: TokenSet,
}

impl<'a> Judge<'a> {
    fn new(encoding: &dyn Encoding, window: &'a Window) -> Self {
        Self {
            tokens: &window.tokens,
            grammar: Some(encoding.grammar()),
            taken: 0,
            allowed: TokenSet::new(encoding.vocabulary_size()),
        }
    }

    /// The nats of token `i`, foretold by `logits`.
    fn nats(&mut self, i: usize, logits: &[f32]) -> Nats {
        while let Some(grammar) = &mut self.grammar
            && self.taken < i
        {
            if grammar.accept(self.tokens[self.taken]).is_err() {
                self.grammar = None;
            }
            self.taken += 1;
        }
        let token = self.tokens[i];
        let logit = f64::from(logits[usize::from(token)]);
        let free = log_sum_exp(|| logits.iter().copied()) - logit;
        let in_grammar = match &self.grammar {
            Some(grammar) => {
                grammar.allowed(&mut self.allowed);
                let allowed = || self.allowed.iter().map(|token| logits[usize::from(token)]);
                if self.allowed.contains(token) {
                    log_sum_exp(allowed) - logit
                } else {
                    free
                }
            }
            None => free,
        };
        let likeliest = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        Nats {
            free,
            in_grammar,
            right: likeliest == Some(usize::from(token)),
        }
    }
}

fn log_sum_exp<I: Iterator<Item = f32>>(logits: impl Fn() -> I) -> f64 {
    let most = f64::from(logits().fold(f32::NEG_INFINITY, f32::max));
    most + logits()
        .map(|logit| (f64::from(logit) - most).exp())
        .sum::<f64>()
        .ln()
}
