//! Filling in: bars of a piece asked for again, given all the others, by a model whose encoding can
//! leave bars open.
//!
//! Source: Ens and Pasquier, "MMM", 2020, section 3.2. Window by window: what is before it, as far as half
//! of the context holds it, then the window with placeholders, and behind it the bars that the model
//! draws for them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::beam::Closes;
use super::{GenerationError, Generator, RESERVE, Request, bar_rng};
use crate::encoding::{Body, Conditioning, Token};
use crate::engine::{Engine, alone};
use crate::instrument::Instrument;
use crate::quantize::quantize;
use crate::score::Score;

pub(super) mod cells;

/// The score, quantized, with new music in those of its bars that `open` says, by their number and what
/// plays them. Genre, seed, sampling and `max_tokens` are the request's; instruments, metres and
/// tempos are the score's. Where bars are said in windows, an instrument that rests a whole one has no
/// bars there; where cells are said behind all that is known, instruments that the request names
/// beside those of the score have cells, too.
///
/// # Errors
/// [`GenerationError::Whole`] where the model's encoding leaves no bars open,
/// [`GenerationError::Narrow`] where a window is longer than the context, and what generation fails by.
pub fn fill_in(
    engine: &dyn Engine,
    request: Request,
    score: &Score,
    open: &dyn Fn(u32, Instrument) -> bool,
    cancel: Arc<AtomicBool>,
) -> Result<Score, GenerationError> {
    let mut generator = Generator::new(engine, request, cancel)?;
    let (window, fills) = (generator.encoding.window_bars(), generator.encoding.fills());
    if window.is_none() && !fills {
        return Err(GenerationError::Whole);
    }
    let (score, _) = quantize(score, generator.encoding.quantize_settings());
    let body = generator.encoding.encode(&score).pop().unwrap_or_default();
    let mut piece = Piece {
        conditioning: Conditioning {
            instruments: Some(match request.conditioning.instruments {
                Some(asked) if fills => asked.union(&body.instruments),
                _ => body.instruments,
            }),
            ..request.conditioning
        },
        bars: bars(&generator, &body.tokens),
        body,
    };
    match window {
        None => alone(piece.fill_cells(&mut generator, open))?,
        Some(window) => {
            for start in (0..piece.bars.len()).step_by(window) {
                alone(piece.fill(&mut generator, start, window, open))?;
            }
        }
    }
    let stream = piece.stream(&generator, 0, piece.bars.len());
    Ok(generator.encoding.decode(&stream)?)
}

/// A piece in which some bars are replaced.
pub(super) struct Piece {
    pub(super) conditioning: Conditioning,
    pub(super) body: Body,
    /// The tokens of each bar, as a body has them.
    pub(super) bars: Vec<Vec<Token>>,
}

/// The bars of a body or a part of one.
pub(super) fn bars(generator: &Generator, body: &[Token]) -> Vec<Vec<Token>> {
    let bar = generator.encoding.special().bar;
    let bars = body.chunk_by(|_, &next| next != bar);
    bars.map(<[_]>::to_vec).collect()
}

impl Piece {
    /// The stream of the bars from `from` to before `to`.
    fn stream(&self, generator: &Generator, from: usize, to: usize) -> Vec<Token> {
        let (tokens, encoding) = (self.bars[from..to].concat(), &generator.encoding);
        let first = self.body.states[from];
        let stream = encoding.segment(&self.conditioning(from), &tokens, first, 0);
        stream.unwrap_or_default()
    }

    /// Fills in the window that begins with bar `start`.
    async fn fill(
        &mut self,
        generator: &mut Generator,
        start: usize,
        window: usize,
        open: &dyn Fn(u32, Instrument) -> bool,
    ) -> Result<(), GenerationError> {
        let end = self.bars.len().min(start + window);
        let context = generator.context;
        let half = |&from: &usize| {
            let stream = self.stream(generator, from, end);
            2 * generator.encoding.merge(&stream).len() <= context.tokens
                && end - from <= context.bars.max(window)
        };
        let past = (0..=start).rev().step_by(window);
        let from = past.take_while(half).last().unwrap_or(start);
        let mut stream = self.stream(generator, from, end);
        let mut count = 0;
        generator
            .encoding
            .fill_in(&mut stream, &mut |bar, instrument| {
                let opens = from + bar >= start && open((from + bar) as u32, instrument);
                count += usize::from(opens);
                opens
            });
        let kind = |token: &Token| generator.encoding.kind(*token);
        let Some(filled) = stream.iter().position(|token| kind(token) == "fill start") else {
            return Ok(());
        };
        let begin = stream[filled];
        stream.truncate(filled);
        let limit = |left: usize| context.tokens.saturating_sub(RESERVE + 2 * left);
        if generator.encoding.merge(&stream).len() > limit(count) {
            return Err(GenerationError::Narrow { bar: start as u32 });
        }
        self.begin(generator, start, from, &stream).await?;
        for left in (0..count).rev() {
            stream.extend(generator.take(begin).await?);
            if generator.request.sampling.beam > 0 {
                let ends =
                    |generator: &Generator, token| generator.encoding.kind(token) == "fill end";
                let end = generator.search_on(limit(left), &ends, &mut stream).await?;
                if let Some(end) = end {
                    stream.extend(generator.take(end).await?);
                }
                continue;
            }
            loop {
                let must_end = generator.is_spent() || generator.len() >= limit(left);
                let Some(token) = generator.draw(must_end) else {
                    break;
                };
                generator.drawn += 1;
                stream.extend(generator.take(token).await?);
                if generator.encoding.kind(token) == "fill end" {
                    break;
                }
            }
        }
        let head = self.head(generator, from);
        let said = bars(generator, &generator.encoding.bar_by_bar(&stream[head..]));
        self.replace(generator, start..end, &said[start - from..]);
        Ok(())
    }

    /// What streams from bar `from` on are conditioned on.
    fn conditioning(&self, from: usize) -> Conditioning {
        let first = self.body.states[from];
        Conditioning {
            metre: Some(first.metre),
            tempo: Some(first.tempo),
            ..self.conditioning
        }
    }

    /// Tokens of the head of a stream from bar `from` on.
    fn head(&self, generator: &Generator, from: usize) -> usize {
        generator.encoding.head(&self.conditioning(from)).len()
    }

    /// Makes ready to draw bars from `start` on behind `stream`, which begins with bar `from`.
    async fn begin(
        &self,
        generator: &mut Generator,
        start: usize,
        from: usize,
        stream: &[Token],
    ) -> Result<(), GenerationError> {
        generator.index = start as u32;
        generator.rng = bar_rng(generator.request.seed, generator.index);
        generator.give(self.conditioning(from));
        let head = self.head(generator, from);
        generator.begin_with(&stream[head..]).await
    }

    /// Has the bars of `range` play what `said` says.
    fn replace(&mut self, generator: &Generator, range: Range<usize>, said: &[Vec<Token>]) {
        let lexicon = generator.encoding.lexicon();
        let eos = generator.encoding.special().eos;
        for (bar, said) in std::iter::zip(&mut self.bars[range], said) {
            // The bar keeps what it states, and the piece its end.
            let ends = bar.last() == Some(&eos);
            bar.truncate(lexicon.after_state(bar));
            bar.extend_from_slice(&said[lexicon.after_state(said)..]);
            bar.extend(ends.then_some(eos));
        }
    }
}

impl Generator {
    /// Goes on as a beam search finds, up to a token that `closes`, which it gives back and does not take.
    async fn search_on(
        &mut self,
        limit: usize,
        closes: Closes<'_>,
        stream: &mut Vec<Token>,
    ) -> Result<Option<Token>, GenerationError> {
        self.current.clear();
        let end = self.search(limit, closes).await?;
        stream.append(&mut self.current);
        Ok(end)
    }
}
