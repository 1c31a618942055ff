//! Filling in cells by a model that says them behind all that is known, before them and after.
//!
//! Of a piece that is longer than the context as many bars as it holds at once, from the first that has a
//! wanted cell on, with as many before and after them as there is room for.

use std::ops::Range;

use super::{Piece, bars};
use crate::encoding::{Kind, Token, grid};
use crate::generation::{GenerationError, Generator, RESERVE};
use crate::instrument::Instrument;

/// Tokens that a wanted cell takes at least: its bar's number and its instrument.
const LEAST: usize = 2;

/// Says which cells are wanted, by the number of their bar and what plays them.
type Open<'a> = &'a dyn Fn(u32, Instrument) -> bool;

/// A stream with wanted cells.
struct Filled {
    tokens: Vec<Token>,
    /// Wanted cells.
    count: usize,
}

impl Piece {
    /// Fills in all wanted cells.
    pub(super) fn fill_cells(
        &mut self,
        generator: &mut Generator,
        open: Open,
    ) -> Result<(), GenerationError> {
        let mut done = 0;
        while let Some(end) = self.fill_next(generator, done, open)? {
            done = end;
        }
        Ok(())
    }

    /// Fills in the first wanted cells from bar `done` on, as many as fit; the bar up to which nothing is
    /// wanted then. `None` where nothing was.
    pub(in crate::generation) fn fill_next(
        &mut self,
        generator: &mut Generator,
        done: usize,
        open: Open,
    ) -> Result<Option<usize>, GenerationError> {
        // The numbers of bars are what a clip that goes on has no use for.
        let numbers = generator.encoding.lexicon().run(Kind::At);
        numbers.for_each(|token| generator.excluded.remove(token));
        let Some(begin) = self.next_open(generator, done, open) else {
            return Ok(None);
        };
        let span = self.span(generator, begin, open);
        let span = span.ok_or(GenerationError::Narrow { bar: begin as u32 })?;
        let end = span.end;
        self.fill_span(generator, begin, span, open)?;
        Ok(Some(end))
    }

    /// The first bar from `from` on that has a wanted cell.
    fn next_open(&self, generator: &Generator, from: usize, open: Open) -> Option<usize> {
        (from..self.bars.len()).find(|&bar| {
            let one = self.filled(generator, bar, bar..bar + 1, open);
            one.count > 0
        })
    }

    /// The stream of the bars of `span`, with what is wanted in those from `begin` on.
    fn filled(
        &self,
        generator: &Generator,
        begin: usize,
        span: Range<usize>,
        open: Open,
    ) -> Filled {
        let mut tokens = self.stream(generator, span.start, span.end);
        let mut count = 0;
        let hides = &mut |bar, instrument| {
            let bar = span.start + bar;
            let wanted = bar >= begin && open(bar as u32, instrument);
            count += usize::from(wanted);
            wanted
        };
        generator.encoding.fill_in(&mut tokens, hides);
        Filled { tokens, count }
    }

    /// The bars that are seen while cells from bar `begin` on are filled in; `None` where the context
    /// does not hold that bar.
    fn span(&self, generator: &Generator, begin: usize, open: Open) -> Option<Range<usize>> {
        let context = generator.context;
        let most = context.bars.clamp(1, grid::MAX_BARS);
        let fits = |span: &Range<usize>| {
            let filled = self.filled(generator, begin, span.clone(), open);
            let length = generator.encoding.merge(&filled.tokens).len();
            span.len() <= most && length + RESERVE + LEAST * filled.count <= context.tokens
        };
        let bars = self.bars.len();
        if fits(&(0..bars)) {
            return Some(0..bars);
        }
        let ahead = |to: usize| (to > begin + 1).then_some(to - 1);
        let half = (begin + most.div_ceil(2)).min(bars);
        let mut ends = std::iter::successors(Some(half.max(begin + 1)), |&to| ahead(to));
        let mut span = begin..ends.find(|&to| fits(&(begin..to)))?;
        while span.start > 0 && fits(&(span.start - 1..span.end)) {
            span.start -= 1;
        }
        while span.end < bars && fits(&(span.start..span.end + 1)) {
            span.end += 1;
        }
        Some(span)
    }

    /// Fills in what is wanted from bar `begin` on, seeing the bars of `span`.
    fn fill_span(
        &mut self,
        generator: &mut Generator,
        begin: usize,
        span: Range<usize>,
        open: Open,
    ) -> Result<(), GenerationError> {
        let filled = self.filled(generator, begin, span.clone(), open);
        let (mut stream, kind) = (filled.tokens, |token: &Token| {
            generator.encoding.kind(*token)
        });
        let behind = stream.iter().position(|token| kind(token) == "separator");
        let Some(behind) = behind else {
            return Ok(());
        };
        stream.truncate(behind + 1);
        let context = generator.context.tokens;
        let limit = context.saturating_sub(RESERVE + LEAST * filled.count);
        self.begin(generator, begin, span.start, &stream)?;
        if let Some(steer) = &mut generator.steer {
            (steer.behind, steer.first) = (true, span.start as u32);
        }
        loop {
            let spent = generator.is_spent();
            let must_end = spent || generator.len() >= limit;
            let Some(token) = generator.draw(must_end) else {
                break;
            };
            generator.drawn += 1;
            generator.take(token, &mut stream)?;
        }
        let head = self.head(generator, span.start);
        let (eos, done) = (generator.encoding.special().eos, "done");
        stream.retain(|token| *token != eos && generator.encoding.kind(*token) != done);
        let said = bars(generator, &generator.encoding.bar_by_bar(&stream[head..]));
        self.replace(generator, begin..span.end, &said[begin - span.start..]);
        Ok(())
    }
}
