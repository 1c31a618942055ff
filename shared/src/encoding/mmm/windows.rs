//! From bars to windows and back: the order in which the same notes stand in a body and in a stream.

use std::collections::{BTreeMap, VecDeque};

use crate::encoding::cells::{bar, bars, ends_note};
use crate::encoding::grammar::rank;
use crate::encoding::lexicon::{Kind, Lexicon};
use crate::encoding::{Token, TokenSet};
use crate::instrument::Instrument;

/// Whether `token` says something of a bar as a whole.
fn states(lexicon: &Lexicon, token: Token) -> bool {
    let kinds = [Kind::Bar, Kind::Metre, Kind::Tempo, Kind::Chord];
    matches!(lexicon.word(token), Some((kind, _)) if kinds.contains(&kind))
}

/// Writes the windows of a body's bars.
pub(super) fn by_track(lexicon: &Lexicon, window: usize, body: &[Token], out: &mut Vec<Token>) {
    let only = |kind| lexicon.token(kind, 0u16);
    let (all, ends) = bars(lexicon, body);
    for window in all.chunks(window) {
        let mut tracks: BTreeMap<u16, (Instrument, Vec<&[Token]>)> = BTreeMap::new();
        for (b, tokens) in window.iter().enumerate() {
            let (stated, parts) = bar(lexicon, tokens);
            out.extend(stated.iter().filter(|&&token| states(lexicon, token)));
            for (instrument, music) in parts {
                let rest = || (instrument, vec![&[][..]; window.len()]);
                tracks.entry(rank(instrument)).or_insert_with(rest).1[b] = music;
            }
        }
        for (instrument, bars) in tracks.into_values() {
            let said = bars.iter().copied().flatten();
            let notes = said.filter(|&&token| ends_note(lexicon, token)).count();
            out.push(only(Kind::Track));
            out.push(lexicon.token(Kind::Instrument, instrument.index()));
            out.push(lexicon.density(notes, bars.len()));
            for music in bars {
                out.push(only(Kind::BarStart));
                out.extend_from_slice(music);
                let rests = lexicon.settings().rests && music.is_empty();
                out.extend(rests.then(|| only(Kind::Rest)));
                out.push(only(Kind::BarEnd));
            }
            out.push(only(Kind::TrackEnd));
        }
    }
    out.extend(ends.then(|| only(Kind::Eos)));
}

/// Tokens of [`by_track`] for the same bars, if all of them were filled in.
pub(super) fn length(lexicon: &Lexicon, window: usize, body: &[Token]) -> usize {
    let instruments = lexicon.run(Kind::Instrument);
    let (all, _) = bars(lexicon, body);
    let of = |window: &[&[Token]]| {
        let mut tracks = TokenSet::new(lexicon.size());
        let said = window.iter().copied().flatten();
        said.filter(|&token| instruments.contains(token))
            .for_each(|&token| tracks.insert(token));
        // The start, the density and the end of a track; of a bar its placeholder, start and end, and
        // that it rests.
        tracks.len() * (4 + (3 + usize::from(lexicon.settings().rests)) * window.len())
    };
    body.len() + all.chunks(window).map(of).sum::<usize>()
}

/// A window that is being read.
#[derive(Default)]
struct Window {
    /// What each bar states.
    stated: Vec<Vec<Token>>,
    /// What is played in each bar by the instrument of each rank, and that one's token.
    parts: BTreeMap<(usize, u16), (Token, Vec<Token>)>,
    /// The token of the track's instrument.
    instrument: Token,
    /// The bar of the track that comes next.
    bar: usize,
    /// The part that is being said.
    said: Option<(usize, u16)>,
    /// The bars and instruments of placeholders that were not filled yet.
    open: VecDeque<(usize, Token)>,
}

impl Window {
    fn begin(&mut self, lexicon: &Lexicon, bar: usize, instrument: Token) {
        let index = instrument.saturating_sub(lexicon.run(Kind::Instrument).start);
        let rank = rank(Instrument::new(index as u8).unwrap_or_default());
        self.said = Some((bar, rank));
        self.parts.insert((bar, rank), (instrument, Vec::new()));
    }

    /// Writes the bars that it has, and begins the next.
    fn finish(&mut self, out: &mut Vec<Token>) {
        for (bar, stated) in self.stated.iter().enumerate() {
            out.extend_from_slice(stated);
            for (instrument, music) in self
                .parts
                .range((bar, 0)..(bar + 1, 0))
                .map(|(_, part)| part)
            {
                if !music.is_empty() {
                    out.push(*instrument);
                    out.extend_from_slice(music);
                }
            }
        }
        *self = Self::default();
    }
}

/// The bars of a body that a stream says in windows, from its first BAR on.
pub(super) fn by_bar(lexicon: &Lexicon, most: usize, stream: &[Token]) -> Vec<Token> {
    let mut out = Vec::with_capacity(stream.len());
    let mut window = Window::default();
    let mut in_frame = false;
    for &token in stream {
        let Some((kind, _)) = lexicon.word(token) else {
            continue;
        };
        match kind {
            Kind::Bar => {
                if !in_frame || window.stated.len() == most {
                    window.finish(&mut out);
                }
                in_frame = true;
                window.stated.push(vec![token]);
            }
            Kind::Eos => {
                window.finish(&mut out);
                out.push(token);
            }
            Kind::Track => (in_frame, window.bar) = (false, 0),
            Kind::Instrument => window.instrument = token,
            Kind::BarStart => {
                window.begin(lexicon, window.bar, window.instrument);
                window.bar += 1;
            }
            Kind::Placeholder => {
                window.open.push_back((window.bar, window.instrument));
                window.bar += 1;
            }
            Kind::FillStart => {
                if let Some((bar, instrument)) = window.open.pop_front() {
                    window.begin(lexicon, bar, instrument);
                }
            }
            Kind::BarEnd | Kind::FillEnd => window.said = None,
            Kind::Rest => {}
            _ if in_frame => {
                if let Some(stated) = window.stated.last_mut() {
                    stated.push(token);
                }
            }
            _ => {
                if let Some((_, music)) = window.said.and_then(|part| window.parts.get_mut(&part)) {
                    music.push(token);
                }
            }
        }
    }
    window.finish(&mut out);
    out
}

/// The stream with some of its bars left open and filled in behind their windows' tracks: those that
/// `hides` says, asked once for each bar of a track, by its number in the stream and by what plays it.
pub(super) fn with_fills(
    lexicon: &Lexicon,
    most: usize,
    stream: &[Token],
    hides: &mut dyn FnMut(usize, Instrument) -> bool,
) -> Vec<Token> {
    let only = |kind| lexicon.token(kind, 0u16);
    let (mut out, mut fills) = (Vec::with_capacity(stream.len()), Vec::new());
    let (mut bars, mut bar, mut instrument) = (0, 0, Instrument::default());
    let mut hidden = false;
    for &token in stream {
        match lexicon.word(token) {
            Some((Kind::Instrument, index)) => {
                instrument = Instrument::new(index as u8).unwrap_or_default();
            }
            // All windows before the last are whole.
            Some((Kind::Track, _)) => bar = usize::saturating_sub(bars, 1) / most * most,
            Some((Kind::BarStart, _)) => {
                hidden = hides(bar, instrument);
                bar += 1;
                if hidden {
                    out.push(only(Kind::Placeholder));
                    fills.push(only(Kind::FillStart));
                    continue;
                }
            }
            Some((Kind::BarEnd, _)) if hidden => {
                fills.push(only(Kind::FillEnd));
                hidden = false;
                continue;
            }
            Some((kind @ (Kind::Bar | Kind::Eos), _)) => {
                out.append(&mut fills);
                bars += usize::from(kind == Kind::Bar);
            }
            _ => {}
        }
        let said = if hidden { &mut fills } else { &mut out };
        said.push(token);
    }
    out.append(&mut fills);
    out
}
