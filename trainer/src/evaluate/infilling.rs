//! What knowing the right side is worth: cells foretold with all that stands around them, and with what
//! stands before them alone.
//!
//! Cells (what one instrument plays in one bar) are drawn from all of the pieces alike, none of a piece's first
//! or last bar. Each stands in the middle of as many bars as the model sees at once. Genre and instruments are
//! given; what counts is the cell's own tokens behind its instrument's name, the same ones both times.

use std::collections::BTreeMap;
use std::fmt;

use famam_shared::encoding::{Conditioning, Encoding, Token};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Context;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Sum;
use crate::dataset::Piece;
use crate::scoring::{self, Window};

/// Resamplings of the songs.
const BOOTSTRAPS: usize = 2000;

/// Bits a note of cells.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Infilling {
    /// Cells.
    pub cells: usize,
    /// Their notes.
    pub notes: u64,
    /// With what stands before them.
    pub left: f64,
    /// With what stands on both sides.
    pub both: f64,
    /// The second over the first.
    pub ratio: f64,
    /// In which 95 % of what resamplings of the songs give lie.
    pub ratio_interval: (f64, f64),
    /// The same kinds of tokens in all of the music, with what stands before them: what the left side alone should
    /// be near to.
    pub overall: f64,
}

/// A cell in two streams that end with its last token; what is scored is the same.
pub(super) struct Cell {
    /// The index of its piece.
    piece: usize,
    notes: u64,
    pub(super) left: Window,
    pub(super) both: Window,
}

/// Draws `count` cells of `pieces`; `given` says what is known of a piece.
pub(super) fn cells(
    count: usize,
    pieces: &[Piece],
    encoding: &dyn Encoding,
    context: Context,
    given: &dyn Fn(&Piece) -> Conditioning,
) -> Vec<Cell> {
    let bodies: Vec<_> = pieces
        .iter()
        .map(|piece| scoring::without_chords(&piece.body, encoding))
        .collect();
    let mut all: Vec<(usize, usize, Instrument)> = Vec::new();
    for (piece, body) in bodies.iter().enumerate() {
        for bar in 1..body.bars.len().saturating_sub(1) {
            let tokens = &body.tokens[body.bars[bar] as usize..body.bars[bar + 1] as usize];
            let band = encoding.instruments(body, tokens);
            all.extend(band.iter().map(|instrument| (piece, bar, instrument)));
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut cells = Vec::new();
    while cells.len() < count && !all.is_empty() {
        let (piece, bar, instrument) = all.swap_remove(rng.random_range(0..all.len()));
        let body = &bodies[piece];
        let state = |from: usize| body.states[from];
        let given = given(&pieces[piece]);
        let streams = |from: usize, to: usize| {
            let end = body
                .bars
                .get(to)
                .map_or(body.tokens.len(), |&end| end as usize);
            let music = &body.tokens[body.bars[from] as usize..end];
            let plain = encoding.segment(&given, music, state(from), 0)?;
            let mut filled = plain.clone();
            let hides = &mut |at, by| from + at == bar && by == instrument;
            encoding.fill_in(&mut filled, hides);
            let fits = to - from <= context.bars && filled.len() <= context.tokens;
            fits.then_some((plain, filled))
        };
        let Some(mut found) = streams(bar, bar + 1) else {
            continue;
        };
        let (mut from, mut to) = (bar, bar + 1);
        loop {
            let before = (from > 0).then(|| streams(from - 1, to)).flatten();
            from -= usize::from(before.is_some());
            let after = (to < body.bars.len())
                .then(|| streams(from, to + 1))
                .flatten();
            to += usize::from(after.is_some());
            match after.or(before) {
                Some(longer) => found = longer,
                None => break,
            }
        }
        if from == bar || to == bar + 1 {
            continue;
        }
        let (plain, filled) = found;
        let head = encoding.head(&given).len();
        cells.extend(cell(encoding, piece, bar - from, head, plain, filled));
    }
    cells
}

/// The cell that is said behind all others in `filled`, and in bar `bar` of `plain`.
fn cell(
    encoding: &dyn Encoding,
    piece: usize,
    bar: usize,
    head: usize,
    mut plain: Vec<Token>,
    mut filled: Vec<Token>,
) -> Option<Cell> {
    let kind = |token: &Token| encoding.kind(*token);
    let separator = filled.iter().position(|token| kind(token) == "separator")?;
    // The separator, the bar's number, the instrument; its music; what ends all.
    let (instrument, first) = (*filled.get(separator + 2)?, separator + 3);
    let music = filled.get(first..filled.len() - 1)?.to_vec();
    filled.pop();
    let mut begins = (0..plain.len()).filter(|&i| plain[i] == encoding.special().bar);
    let begin = begins.nth(bar)?;
    let named = plain[begin..]
        .iter()
        .position(|&token| token == instrument)?;
    let place = begin + named + 1;
    plain.truncate(place + music.len());
    if plain.get(place..)? != &music[..] || music.is_empty() {
        return None;
    }
    let whole = |token: &&Token| ["drum", "duration"].contains(&kind(token));
    let window = |tokens, first| Window {
        piece,
        tokens,
        head,
        first,
    };
    Some(Cell {
        piece,
        notes: music.iter().filter(whole).count() as u64,
        left: window(plain, place),
        both: window(filled, first),
    })
}

impl Infilling {
    /// Of cells and their bits, left and both; `overall` as in the field.
    pub(super) fn new(pieces: &[Piece], cells: &[Cell], bits: &[[f64; 2]], overall: f64) -> Self {
        let mut songs = BTreeMap::<&str, [f64; 2]>::new();
        for (cell, bits) in cells.iter().zip(bits) {
            let song = songs.entry(&pieces[cell.piece].song).or_default();
            (song[0], song[1]) = (song[0] + bits[0], song[1] + bits[1]);
        }
        let songs: Vec<[f64; 2]> = songs.into_values().collect();
        let sum = |songs: &mut dyn Iterator<Item = [f64; 2]>| {
            songs.fold([0.0, 0.0], |[a, b], [c, d]| [a + c, b + d])
        };
        let [left, both] = sum(&mut songs.iter().copied());
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut ratios: Vec<f64> = (0..BOOTSTRAPS)
            .map(|_| {
                let drawn = (0..songs.len()).map(|_| songs[rng.random_range(0..songs.len())]);
                let [left, both] = sum(&mut drawn.into_iter());
                both / left
            })
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let percentile = |share: f64| ratios[(share * (BOOTSTRAPS - 1) as f64).round() as usize];
        let notes: u64 = cells.iter().map(|cell| cell.notes).sum();
        let a_note = |bits: f64| bits / notes.max(1) as f64;
        Self {
            cells: cells.len(),
            notes,
            left: a_note(left),
            both: a_note(both),
            ratio: both / left,
            ratio_interval: (percentile(0.025), percentile(0.975)),
            overall,
        }
    }
}

/// Bits a note of the tokens that cells have, in all of the music, of which `notes` survive quantization.
pub(super) fn overall(scores: &[BTreeMap<&'static str, Sum>], notes: u64) -> f64 {
    const KINDS: [&str; 6] = [
        "position", "offset", "velocity", "pitch", "drum", "duration",
    ];
    let kinds = scores.iter().flatten();
    let counted = kinds.filter(|(kind, _)| KINDS.contains(kind));
    let nats: f64 = counted.map(|(_, sum)| sum.in_grammar).sum();
    nats / std::f64::consts::LN_2 / notes.max(1) as f64
}

impl fmt::Display for Infilling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.ratio_interval;
        writeln!(
            f,
            "\n{} cells, {} notes: bits a note {:.3} with what stands before them ({:+.1} % of such tokens in all of the \
             music), {:.3} with both sides, {:.3} times that [{low:.3}, {high:.3}]",
            self.cells,
            self.notes,
            self.left,
            100.0 * (self.left / self.overall - 1.0),
            self.both,
            self.ratio,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use famam_shared::encoding::Spec;
    use famam_shared::quantize::quantize;
    use famam_shared::score::{Note, Score, Ticks, Track};

    use super::*;
    use crate::dataset::Split;

    /// So many bars of a piano and a bass, with a rest here and there.
    fn piece(encoding: &dyn Encoding, song: usize, bars: u32) -> Piece {
        let mut rng = ChaCha8Rng::seed_from_u64(song as u64);
        let mut track = |program: u8| {
            let mut notes: Vec<Note> = (0..bars * 5)
                .map(|_| Note {
                    start: Ticks(rng.random_range(0..bars * 48) * 80),
                    pitch: rng.random_range(40..80),
                    duration: Ticks(rng.random_range(1..48) * 80),
                    velocity: 4 * rng.random_range(10..30),
                })
                .collect();
            notes.sort_unstable();
            Track {
                instrument: Instrument::new(program).unwrap(),
                name: String::new(),
                notes,
            }
        };
        let score = Score {
            tracks: vec![track(0), track(33)],
            end: Ticks(bars * 3840),
            ..Score::default()
        };
        let (score, losses) = quantize(&score, encoding.quantize_settings());
        Piece {
            body: encoding.encode(&score).remove(0),
            genre: 0,
            song: song.to_string(),
            split: Split::Test,
            notes: losses.notes as u32,
            source: String::new(),
            name: String::new(),
        }
    }

    /// Both streams are the model's own, say the same music up to the cell, and end with it; the one knows bars on
    /// both sides, the other those before it.
    #[test]
    fn cells_are_foretold_in_two_streams_that_end_alike() {
        let encoding = Spec::Grid(Default::default()).build(1).unwrap();
        let pieces: Vec<Piece> = [3, 9, 30, 2]
            .into_iter()
            .enumerate()
            .map(|(song, bars)| piece(&*encoding, song, bars))
            .collect();
        let context = Context {
            tokens: 400,
            bars: 12,
        };
        let given = |piece: &Piece| Conditioning {
            instruments: Some(piece.body.instruments),
            ..Conditioning::default()
        };
        let drawn = cells(50, &pieces, &*encoding, context, &given);
        assert_eq!(drawn.len(), 50);
        let kind = |token: &Token| encoding.kind(*token);
        let count = |tokens: &[Token], of| tokens.iter().filter(|t| kind(t) == of).count();
        let mut seen = BTreeSet::new();
        for cell in &drawn {
            let (left, both) = (&cell.left, &cell.both);
            assert!(seen.insert(left.tokens.clone()), "no cell twice");
            assert_eq!(left.tokens[left.first..], both.tokens[both.first..]);
            assert!(cell.notes > 0 && both.tokens.len() < context.tokens);
            for window in [left, both] {
                let mut grammar = encoding.grammar();
                let mut accepted = window.tokens.iter().map(|&t| grammar.accept(t));
                assert!(accepted.all(|said| said.is_ok()));
            }
            assert_eq!(count(&both.tokens, "fill"), 1);
            let bars = [left, both].map(|window| count(&window.tokens, "bar"));
            assert!(
                1 < bars[0] && bars[0] < bars[1] && bars[1] <= 12,
                "{bars:?}"
            );
            // Behind the cell nothing differs from the music, and before it nothing either.
            let mut whole = both.tokens.clone();
            whole.push(encoding.endings()[1]);
            let plain = encoding.bar_by_bar(&whole[both.head..]);
            assert!(plain.starts_with(&left.tokens[left.head..]));
        }
        let bits: Vec<[f64; 2]> = (0..50).map(|i| [2.0 + f64::from(i % 3), 2.0]).collect();
        let figures = Infilling::new(&pieces, &drawn, &bits, 3.0);
        let left: f64 = bits.iter().map(|bits| bits[0]).sum();
        assert!((figures.ratio - 100.0 / left).abs() < 1e-12);
        assert!(figures.ratio_interval.0 <= figures.ratio);
        assert!(figures.ratio <= figures.ratio_interval.1);
        assert!((figures.both * figures.notes as f64 - 100.0).abs() < 1e-9);
    }
}
