//! Filling in cells by a model that says them behind all that is known, before them and after.
//!
//! Of a piece that is longer than the context as many bars as it holds at once, from the first that has a
//! wanted cell on, with as many before and after them as there is room for. A bar whose cells may not fit any more
//! behind those that were said is left to the next such stream.

use std::ops::Range;

use super::{Piece, bars};
use crate::encoding::{Kind, Token, grid};
use crate::generation::{GenerationError, Generator, RESERVE};
use crate::instrument::Instrument;

/// Tokens that a wanted cell takes at least: its bar's number and its instrument.
const LEAST: usize = 2;

/// The share of a context that is left to what is wanted, where it can be.
const ROOM: usize = 4;

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
    pub(super) async fn fill_cells(
        &mut self,
        generator: &mut Generator,
        open: Open<'_>,
    ) -> Result<(), GenerationError> {
        let mut done = 0;
        while let Some(end) = self.fill_next(generator, done, open).await? {
            done = end;
        }
        Ok(())
    }

    /// Fills in the first wanted cells from bar `done` on, as many as fit; the bar up to which nothing is
    /// wanted then. `None` where nothing was.
    pub(in crate::generation) async fn fill_next(
        &mut self,
        generator: &mut Generator,
        done: usize,
        open: Open<'_>,
    ) -> Result<Option<usize>, GenerationError> {
        // The numbers of bars are what a clip that goes on has no use for.
        let numbers = generator.encoding.lexicon().run(Kind::At);
        numbers.for_each(|token| generator.excluded.remove(token));
        let Some(begin) = self.next_open(done, open) else {
            return Ok(None);
        };
        let context = generator.context.tokens;
        let mut room = [context / ROOM, 0].into_iter();
        let span = room.find_map(|room| self.span(generator, begin, room, open));
        let span = span.ok_or(GenerationError::Narrow { bar: begin as u32 })?;
        self.fill_span(generator, begin, span, open).await.map(Some)
    }

    /// The first bar from `from` on that has a wanted cell.
    fn next_open(&self, from: usize, open: Open) -> Option<usize> {
        let band = self.conditioning.instruments.unwrap_or_default();
        let band = band.union(&self.body.instruments);
        let has = |bar: usize| band.iter().any(|instrument| open(bar as u32, instrument));
        (from..self.bars.len()).find(|&bar| has(bar))
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

    /// The bars that are seen while cells from bar `begin` on are filled in, with `room` for tokens behind them;
    /// `None` where the context does not hold that bar.
    fn span(
        &self,
        generator: &Generator,
        begin: usize,
        room: usize,
        open: Open,
    ) -> Option<Range<usize>> {
        let context = generator.context;
        let most = context.bars.clamp(1, grid::MAX_BARS).min(self.bars.len());
        // Tokens of a bar by itself with its head, and what the cells take that are wanted of it.
        let length = |bar: usize| {
            let filled = self.filled(generator, begin, bar..bar + 1, open);
            generator.encoding.merge(&filled.tokens).len() + LEAST * filled.count
        };
        let head = self.head(generator, begin);
        let left = context.tokens.checked_sub(RESERVE + room + length(begin))?;
        let (mut span, mut left) = (begin..begin + 1, left);
        let half = (begin + most.div_ceil(2)).min(self.bars.len());
        let mut take = |bar: usize| {
            let more = length(bar).saturating_sub(head);
            let fits = more <= left;
            left -= if fits { more } else { 0 };
            fits
        };
        // First the half of the bars that is ahead, then what lies before, then what is ahead still.
        while span.end < half && take(span.end) {
            span.end += 1;
        }
        while span.len() < most && span.start > 0 && take(span.start - 1) {
            span.start -= 1;
        }
        while span.len() < most && span.end < self.bars.len() && take(span.end) {
            span.end += 1;
        }
        Some(span)
    }

    /// Fills in what is wanted from bar `begin` on, seeing the bars of `span`; the bar up to which it was.
    async fn fill_span(
        &mut self,
        generator: &mut Generator,
        begin: usize,
        span: Range<usize>,
        open: Open<'_>,
    ) -> Result<usize, GenerationError> {
        let filled = self.filled(generator, begin, span.clone(), open);
        let (mut stream, kind) = (filled.tokens, |token: &Token| {
            generator.encoding.kind(*token)
        });
        let behind = stream.iter().position(|token| kind(token) == "separator");
        let Some(behind) = behind else {
            return Ok(span.end);
        };
        stream.truncate(behind + 1);
        let context = generator.context.tokens;
        let limit = context.saturating_sub(RESERVE + LEAST * filled.count);
        self.begin(generator, begin, span.start, &stream).await?;
        if let Some(steer) = &mut generator.steer {
            (steer.behind, steer.first) = (true, span.start as u32);
        }
        let numbers = generator.encoding.lexicon().run(Kind::At);
        let closes = |generator: &Generator, token| {
            numbers.contains(&token) || generator.encoding.kind(token) == "done"
        };
        // Where the bar begins that is said, and the most tokens of one.
        let (mut bar, mut longest): (Option<usize>, usize) = (None, 0);
        let (mut end, mut found) = (span.end, None);
        loop {
            let must_end = generator.is_spent() || generator.len() >= limit;
            let drawn = found.is_none();
            let Some(token) = found.take().or_else(|| generator.draw(must_end)) else {
                break;
            };
            let begins = numbers.contains(&token);
            if begins {
                let len = generator.len();
                longest = bar.map_or(0, |bar| longest.max(len - bar));
                if bar.is_some() && !generator.is_spent() && len + longest > limit {
                    end = span.start + usize::from(token - numbers.start);
                    break;
                }
                bar = Some(len);
            }
            generator.drawn += usize::from(drawn);
            stream.extend(generator.take(token).await?);
            if begins && generator.request.sampling.beam > 0 {
                found = generator.search_on(limit, &closes, &mut stream).await?;
            }
        }
        let head = self.head(generator, span.start);
        let (eos, done) = (generator.encoding.special().eos, "done");
        stream.retain(|token| *token != eos && generator.encoding.kind(*token) != done);
        let said = bars(generator, &generator.encoding.bar_by_bar(&stream[head..]));
        let said = said.get(begin - span.start..end - span.start);
        self.replace(generator, begin..end, said.unwrap_or_default());
        Ok(end)
    }
}
