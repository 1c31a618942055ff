//! The two forms of a stream: plain, as bodies are, and with cells that are said behind its bars.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::encoding::cells::{bar, bars};
use crate::encoding::lexicon::{Kind, Lexicon};
use crate::encoding::{Token, grid};
use crate::instrument::Instrument;

/// Has the cells that `hides` says, asked once for each bar and each instrument of the stream,
/// said behind the bars, of which those come first that follow the last such cell: so its music stands behind what
/// leads up to it. A stream without such cells, or with more bars than have numbers, stays as it is.
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
    let (mut known, mut behind) = (Vec::new(), Vec::new());
    let (mut in_force, mut last) = (InForce::default(), None);
    for (number, tokens) in (0u16..).zip(bars) {
        let at = lexicon.token(Kind::At, number);
        let (stated, cells) = bar(lexicon, tokens);
        let chord = stated.iter().skip(1);
        let chord = chord.filter(|token| !in_force.take(lexicon, **token));
        let mut said: Vec<Token> = chord.copied().collect();
        said.push(at);
        let mut cells = cells.into_iter().peekable();
        for &instrument in &band {
            let cell = cells.next_if(|&(by, _)| by == instrument);
            let music = cell.map_or(&[][..], |(_, music)| music);
            if hides(usize::from(number), instrument) {
                said.extend([named(instrument), only(Kind::Wanted)]);
                behind.extend((last != Some(number)).then_some(at));
                behind.push(named(instrument));
                behind.extend_from_slice(music);
                last = Some(number);
            } else if cell.is_some() {
                said.push(named(instrument));
                said.extend_from_slice(music);
            }
        }
        known.push((in_force, said));
    }
    let Some(last) = last else { return };
    let first = (usize::from(last) + 1) % known.len();
    known.rotate_left(first);
    let (mut out, mut before) = (head.to_vec(), InForce::default());
    for (in_force, said) in known {
        out.push(only(Kind::Bar));
        out.extend(in_force.stated_after(&mut before));
        out.extend(said);
    }
    out.extend(ends.then(|| only(Kind::Eos)));
    out.push(only(Kind::Separator));
    out.append(&mut behind);
    out.push(only(Kind::Done));
    *stream = out;
}

/// The tokens of a metre and a tempo; a bar states those that are others than the bar's before it.
#[derive(Clone, Copy, Default)]
struct InForce([Option<Token>; 2]);

impl InForce {
    /// Takes a token, if it is such a one.
    fn take(&mut self, lexicon: &Lexicon, token: Token) -> bool {
        let place = match lexicon.word(token) {
            Some((Kind::Metre, _)) => 0,
            Some((Kind::Tempo, _)) => 1,
            _ => return false,
        };
        self.0[place] = Some(token);
        true
    }

    /// What a bar states behind one where `before` is in force, which it brings up to date.
    fn stated_after(self, before: &mut Self) -> impl Iterator<Item = Token> {
        let before = std::mem::replace(&mut before.0, self.0);
        let pairs = self.0.into_iter().zip(before);
        pairs.filter_map(|(now, before)| now.filter(|_| now != before))
    }
}

/// A bar that is being read.
#[derive(Default)]
struct Bar {
    in_force: InForce,
    chord: Option<Token>,
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
    let mut bars: BTreeMap<u16, Bar> = BTreeMap::new();
    let (mut in_force, mut chord) = (InForce::default(), None);
    let (mut behind, mut eos) = (false, None);
    // The bar whose cells are said, and the order of the one that is.
    let (mut number, mut cell) = (0, None);
    for &token in stream {
        match lexicon.word(token) {
            Some((Kind::Metre | Kind::Tempo, _)) => {
                in_force.take(lexicon, token);
            }
            Some((Kind::Chord, _)) => chord = Some(token),
            Some((Kind::At, value)) => {
                (number, cell) = (value, None);
                if !behind {
                    let bar = Bar {
                        in_force,
                        chord: chord.take(),
                        ..Bar::default()
                    };
                    bars.insert(number, bar);
                }
            }
            Some((Kind::Instrument, index)) => {
                let order = grid::order(Instrument::new(index as u8).unwrap_or_default());
                if let Some(bar) = bars.get_mut(&number) {
                    bar.cells.insert(order, vec![token]);
                }
                cell = Some(order);
            }
            Some((Kind::Separator, _)) => behind = true,
            Some((Kind::Eos, _)) => eos = Some(token),
            Some((Kind::Bar | Kind::Wanted | Kind::Done, _)) | None => {}
            Some(_) => {
                let bar = bars.get_mut(&number);
                let said = bar.and_then(|bar| bar.cells.get_mut(&cell?));
                if let Some(said) = said {
                    said.push(token);
                }
            }
        }
    }
    let (mut out, mut before) = (Vec::with_capacity(stream.len()), InForce::default());
    for bar in bars.into_values() {
        out.push(lexicon.token(Kind::Bar, 0u16));
        out.extend(bar.in_force.stated_after(&mut before));
        out.extend(bar.chord);
        let music = bar.cells.into_values().filter(|cell| cell.len() > 1);
        out.extend(music.flatten());
    }
    out.extend(eos);
    Cow::Owned(out)
}
