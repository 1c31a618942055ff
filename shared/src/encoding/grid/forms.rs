//! The two forms of a stream: plain, as bodies are, and with cells that are said behind its bars.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::encoding::cells::{bar, bars};
use crate::encoding::lexicon::{Kind, Lexicon};
use crate::encoding::{Token, grid};
use crate::instrument::Instrument;

/// Has the cells that `hides` says, asked once for each bar and each instrument of the stream,
/// said behind the bars. A stream without such cells, or with more bars than have numbers, stays as it is.
pub(super) fn filled(
    lexicon: &Lexicon,
    stream: &mut Vec<Token>,
    hides: &mut dyn FnMut(usize, Instrument) -> bool,
) {
    let only = |kind| lexicon.token(kind, 0u16);
    let named = |instrument: Instrument| lexicon.token(Kind::Instrument, instrument.index());
    let begin = stream.iter().position(|&token| token == only(Kind::Bar));
    let (head, body) = stream.split_at(begin.unwrap_or(stream.len()));
    let (bars, ends) = bars(lexicon, body);
    if bars.len() > grid::MAX_BARS {
        return;
    }
    let mut band: Vec<Instrument> = lexicon.instruments(stream).iter().collect();
    band.sort_by_key(|&instrument| grid::order(instrument));
    let (mut out, mut behind) = (head.to_vec(), Vec::new());
    for (number, tokens) in (0u16..).zip(bars) {
        let at = lexicon.token(Kind::At, number);
        let (stated, cells) = bar(lexicon, tokens);
        out.extend_from_slice(stated);
        out.push(at);
        let mut cells = cells.into_iter().peekable();
        let mut first = true;
        for &instrument in &band {
            let cell = cells.next_if(|&(by, _)| by == instrument);
            let music = cell.map_or(&[][..], |(_, music)| music);
            if hides(usize::from(number), instrument) {
                out.extend([named(instrument), only(Kind::Wanted)]);
                behind.extend(first.then_some(at));
                behind.push(named(instrument));
                behind.extend_from_slice(music);
                first = false;
            } else if cell.is_some() {
                out.push(named(instrument));
                out.extend_from_slice(music);
            }
        }
    }
    if !behind.is_empty() {
        out.extend(ends.then(|| only(Kind::Eos)));
        out.push(only(Kind::Separator));
        out.append(&mut behind);
        out.push(only(Kind::Done));
        *stream = out;
    }
}

/// A bar that is being read.
#[derive(Default)]
struct Bar {
    stated: Vec<Token>,
    /// Its cells by their order, from the instrument's token on.
    cells: BTreeMap<u16, Vec<Token>>,
}

/// The bars of a stream, from its first BAR on, in plain form. What is wanted and was not said yet is
/// left out.
pub(super) fn plain<'t>(lexicon: &Lexicon, stream: &'t [Token]) -> Cow<'t, [Token]> {
    let numbers = lexicon.run(Kind::At);
    if !stream.iter().any(|token| numbers.contains(token)) {
        return Cow::Borrowed(stream);
    }
    let mut bars: Vec<Bar> = Vec::new();
    let (mut behind, mut eos) = (false, None);
    // The bar whose cells are said, and the order of the one that is.
    let (mut number, mut cell) = (0, None);
    for &token in stream {
        match lexicon.word(token) {
            Some((Kind::Bar, _)) => {
                (number, cell) = (bars.len(), None);
                bars.push(Bar {
                    stated: vec![token],
                    ..Bar::default()
                });
            }
            Some((Kind::At, value)) if behind => number = usize::from(value),
            Some((Kind::Instrument, index)) => {
                let order = grid::order(Instrument::new(index as u8).unwrap_or_default());
                if let Some(bar) = bars.get_mut(number) {
                    bar.cells.insert(order, vec![token]);
                }
                cell = Some(order);
            }
            Some((Kind::Separator, _)) => behind = true,
            Some((Kind::Eos, _)) => eos = Some(token),
            Some((Kind::At | Kind::Wanted | Kind::Done, _)) | None => {}
            Some(_) => {
                let bar = bars.get_mut(number);
                if let Some(said) = bar.and_then(|bar| match cell {
                    Some(order) => bar.cells.get_mut(&order),
                    None => Some(&mut bar.stated),
                }) {
                    said.push(token);
                }
            }
        }
    }
    let mut out = Vec::with_capacity(stream.len());
    for bar in bars {
        out.extend(bar.stated);
        let music = bar.cells.into_values().filter(|cell| cell.len() > 1);
        out.extend(music.flatten());
    }
    out.extend(eos);
    Cow::Owned(out)
}
