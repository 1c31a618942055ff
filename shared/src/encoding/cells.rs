//! Cells: what one instrument plays in one bar, as the bodies of `mmm` and `grid` have them.
//!
//! ```text
//! bar        = BAR [metre] [tempo] [chord] ( instrument group+ )*
//! ```

use super::bars::Frame;
use super::lexicon::{Kind, Lexicon};
use super::{Body, Score, Token, Track, remi};
use crate::instrument::Instrument;

/// A cell: who plays, and the tokens behind its name.
pub(super) type Cell<'t> = (Instrument, &'t [Token]);

/// The body of `score`, whose tracks have their cells in this order.
pub(super) fn body(lexicon: &Lexicon, score: &Score, tracks: &[&Track]) -> Body {
    let ahead = tracks.iter();
    let mut ahead: Vec<_> = ahead
        .map(|track| (track.instrument, track.notes.iter().peekable()))
        .collect();
    let instruments = tracks.iter().map(|track| track.instrument).collect();
    Frame::new(lexicon, score).body(instruments, |bar, tokens| {
        for (instrument, ahead) in &mut ahead {
            if ahead.peek().is_none_or(|note| note.start >= bar.end) {
                continue;
            }
            tokens.push(lexicon.token(Kind::Instrument, instrument.index()));
            let notes = std::iter::from_fn(|| ahead.next_if(|note| note.start < bar.end));
            remi::write(lexicon, *instrument, bar.start, notes, tokens);
        }
    })
}

/// Whether a note is whole with `token`: the last of each.
pub(super) fn ends_note(lexicon: &Lexicon, token: Token) -> bool {
    matches!(lexicon.word(token), Some((Kind::Drum | Kind::Duration, _)))
}

/// A bar of a body: what it states, and its cells.
pub(super) fn bar<'t>(lexicon: &Lexicon, tokens: &'t [Token]) -> (&'t [Token], Vec<Cell<'t>>) {
    let instruments = lexicon.run(Kind::Instrument);
    let first = tokens.iter().position(|token| instruments.contains(token));
    let (stated, music) = tokens.split_at(first.unwrap_or(tokens.len()));
    let cells = music.chunk_by(|_, next| !instruments.contains(next));
    let cells = cells.filter_map(|cell| {
        let (first, music) = cell.split_first()?;
        let index = instruments
            .contains(first)
            .then(|| first - instruments.start)?;
        // A body that is cut inside of a note is read to the last whole one.
        let whole = music.iter().rposition(|&token| ends_note(lexicon, token))? + 1;
        Some((Instrument::new(index as u8)?, &music[..whole]))
    });
    (stated, cells.collect())
}

/// The body's bars, and whether the piece ends behind them.
pub(super) fn bars<'t>(lexicon: &Lexicon, body: &'t [Token]) -> (Vec<&'t [Token]>, bool) {
    let only = |kind| lexicon.token(kind, 0u16);
    let (begins, eos) = (only(Kind::Bar), only(Kind::Eos));
    let whole = body.strip_suffix(&[eos]);
    let bars = whole.unwrap_or(body).chunk_by(|_, &next| next != begins);
    (bars.collect(), whole.is_some())
}
