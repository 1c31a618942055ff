//! What a step learns from: segments drawn from the pieces of a split.
//!
//! The segments of a step are a function of (seed, step) and of nothing else, so that a resumed
//! run sees what an uninterrupted one would have seen.

use std::collections::BTreeMap;

use famam_shared::bands::Bands;
use famam_shared::encoding;
use famam_shared::encoding::controls::{Track, Tracks};
use famam_shared::encoding::{BarState, Body, Conditioning, Encoding, SettingsError, Token};
use famam_shared::quantize::tempo_bin;
use famam_shared::score::Tempo;
use famam_shared::vocabulary::Vocabulary;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::training::{Config, Uses};
use crate::dataset::{self, Dataset, Piece, Split};

mod wanted;

use wanted::Wanted;

/// The pieces of a data set that training looks at, in memory.
pub struct Music {
    /// Genres.
    pub vocabulary: Vocabulary,
    /// The encoding and its settings.
    pub spec: encoding::Spec,
    /// The encoding.
    pub encoding: Box<dyn Encoding>,
    /// Pieces to learn from.
    pub train: Vec<Piece>,
    /// Pieces to look at.
    pub validation: Vec<Piece>,
    /// How the data set says it is to be read: bars of a segment, shifts in semitones.
    pub reading: Reading,
}

/// How segments are cut, as the data set's config has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Bars of a segment.
    pub segment_bars: Option<usize>,
    /// Shifts in semitones, 0 among them.
    pub shifts: Vec<i32>,
    /// Shifts in bins of tempo, 0 among them.
    pub tempos: Vec<i32>,
}

impl Music {
    /// Reads the training and validation splits whole.
    pub fn read(data_set: &Dataset) -> Result<Self, dataset::Error> {
        let read = |split| -> Result<Vec<Piece>, dataset::Error> {
            data_set
                .pieces(split)
                .into_iter()
                .map(|i| data_set.piece(i))
                .collect()
        };
        let config = data_set.config();
        Ok(Self {
            vocabulary: data_set.vocabulary().clone(),
            spec: data_set.encoding().clone(),
            encoding: data_set.encoder()?,
            train: read(Split::Train)?,
            validation: read(Split::Validation)?,
            reading: Reading {
                segment_bars: config.bars_per_segment(),
                shifts: config.shifts(),
                tempos: tempo_shifts(&config.tempo_factors()),
            },
        })
    }

    /// Takes on the merges and the larger vocabulary of a model which is to go on with this music.
    pub fn adopt(
        &mut self,
        spec: &encoding::Spec,
        vocabulary: &Vocabulary,
    ) -> Result<(), SettingsError> {
        self.encoding = spec.build(vocabulary.genres.len())?;
        self.spec = spec.clone();
        for piece in self.train.iter_mut().chain(&mut self.validation) {
            let name = self.vocabulary.genres.get(usize::from(piece.genre));
            piece.genre = name.and_then(|name| vocabulary.genre(name)).unwrap_or(0);
        }
        self.vocabulary = vocabulary.clone();
        Ok(())
    }

    /// Which instruments play together in each genre of the training split.
    pub fn bands(&self) -> Bands {
        let pieces = self
            .train
            .iter()
            .map(|piece| (piece.genre, piece.body.instruments));
        Bands::count(self.vocabulary.genres.len(), pieces)
    }

    /// Tokens of the training split.
    pub fn train_tokens(&self) -> u64 {
        self.train
            .iter()
            .map(|piece| piece.body.tokens.len() as u64)
            .sum()
    }
}

/// A stream to learn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Head and bars.
    pub tokens: Vec<Token>,
    /// Index of the first token that is learned: the first BAR.
    pub first: usize,
    /// Bars that it was to have; without a limit on bars, those that it has.
    pub asked_bars: usize,
    /// Of these, bars at its end that were left out because it would have been too long.
    pub lost_bars: usize,
}

impl Segment {
    /// Tokens that are learned.
    pub fn scored(&self) -> usize {
        self.tokens.len() - self.first
    }
}

/// Base tokens that are cut for each token that there is room for, where byte pairs are merged. Where
/// they merge better than that, segments are shorter than they could be.
const MERGED_CUT: usize = 4;

/// Draws segments from pieces.
pub struct Draw<'a> {
    encoding: &'a dyn Encoding,
    pieces: &'a [Piece],
    /// Sums of the pieces' weights.
    cumulative: Vec<f64>,
    seed: u64,
    segment_bars: usize,
    max_tokens: usize,
    shifts: Vec<i32>,
    tempos: Vec<i32>,
    /// The tokens that say tempos, from the slowest on.
    tempo_tokens: Vec<Token>,
    unconditioned: f64,
    genre_dropout: f64,
    instrument_dropout: f64,
    metre_dropout: f64,
    tempo_dropout: f64,
    piece_start: f64,
    /// How often bars are left open.
    fill_in: f64,
    uses: Uses,
    key_dropout: f64,
    track_dropout: f64,
    chord_dropout: f64,
}

/// The largest share of a segment's bars that are left open (Ens and Pasquier 2020, section 3.2).
const MOST_OPEN: f64 = 0.75;

/// Which segments of a seed are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Those of a step.
    Step(u64),
    /// Those that every validation looks at.
    Validation,
}

impl<'a> Draw<'a> {
    /// Draws from `pieces`, which must not be empty, as the config says.
    pub fn new(config: &Config, music: &'a Music, pieces: &'a [Piece]) -> Self {
        let shifts = match config.transpose {
            Some((low, high)) => (low..=high).collect(),
            None => music.reading.shifts.clone(),
        };
        let mut sum = 0.0;
        let weights = weights(config, pieces).into_iter().map(|weight| {
            sum += weight;
            sum
        });
        Self {
            encoding: &*music.encoding,
            pieces,
            cumulative: weights.collect(),
            seed: config.random_seed,
            segment_bars: config
                .segment_bars
                .or(music.reading.segment_bars)
                .unwrap_or(usize::MAX),
            max_tokens: config.max_seq_length,
            shifts,
            tempos: music.reading.tempos.clone(),
            tempo_tokens: (0..music.encoding.vocabulary_size() as Token)
                .filter(|&token| music.encoding.kind(token) == "tempo")
                .collect(),
            unconditioned: config.unconditioned,
            genre_dropout: config.genre_dropout,
            instrument_dropout: config.instrument_dropout,
            metre_dropout: config.metre_dropout,
            tempo_dropout: config.tempo_dropout,
            piece_start: config.piece_start,
            fill_in: config.fill_in,
            uses: config.uses.clone(),
            key_dropout: config.key_dropout,
            track_dropout: config.track_dropout,
            chord_dropout: config.chord_dropout,
        }
    }

    /// Draws without shifts of pitch or tempo and leaves no bars open, as validation does.
    pub fn unshifted(self) -> Self {
        Self {
            shifts: vec![0],
            tempos: vec![0],
            fill_in: 0.0,
            uses: Uses::none_wanted(),
            ..self
        }
    }

    /// Segments until `enough(segments, tokens)`.
    pub fn segments(
        &self,
        purpose: Purpose,
        enough: impl Fn(usize, usize) -> bool,
    ) -> Vec<Segment> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(match purpose {
            Purpose::Step(step) => step,
            Purpose::Validation => u64::MAX,
        });
        let (mut segments, mut tokens) = (Vec::new(), 0);
        while !enough(segments.len(), tokens) {
            let segment = self.segment(&mut rng);
            tokens += segment.tokens.len();
            segments.push(segment);
        }
        segments
    }

    /// Whether there is a piece to draw: one at least has a weight above 0.
    pub fn can_draw(&self) -> bool {
        self.total().is_normal()
    }

    fn total(&self) -> f64 {
        self.cumulative.last().copied().unwrap_or(0.0)
    }

    fn segment(&self, rng: &mut impl Rng) -> Segment {
        let drawn = rng.random::<f64>() * self.total();
        let piece = self
            .cumulative
            .partition_point(|&sum| sum <= drawn)
            .min(self.pieces.len() - 1);
        let Piece { body, genre, .. } = &self.pieces[piece];
        let start = match rng.random_bool(self.piece_start) {
            true => 0,
            false => rng.random_range(0..body.bars.len()),
        };
        let shift = self.shifts[rng.random_range(0..self.shifts.len())];
        let nothing = rng.random_bool(self.unconditioned);
        let any_genre = rng.random_bool(self.genre_dropout);
        let any_instruments = rng.random_bool(self.instrument_dropout);

        // What no head says is not drawn, so that older runs go on as they began.
        let says = self.encoding.quantize_settings();
        let any_metre = says.metre_in_head && rng.random_bool(self.metre_dropout);
        let any_tempo = says.tempo_in_head && rng.random_bool(self.tempo_dropout);

        let says_controls = self.encoding.says_controls();
        let says = Said {
            key: says_controls && !nothing && !rng.random_bool(self.key_dropout),
            tracks: match says_controls && !nothing && !rng.random_bool(self.track_dropout) {
                true => mask(rng),
                false => 0,
            },
        };
        let no_chords = self.encoding.may_lack_chords() && rng.random_bool(self.chord_dropout);

        let (tokens, asked_bars, lost_bars) = self.cut(body, start);
        let state = body.states[start];
        let conditioning = |tokens: &[Token], shift| {
            let given = Conditioning {
                genre: if nothing || any_genre { 0 } else { *genre },
                instruments: (!(nothing || any_instruments))
                    .then(|| self.encoding.instruments(body, tokens)),
                metre: (!(nothing || any_metre)).then_some(state.metre),
                tempo: (!(nothing || any_tempo)).then_some(state.tempo),
                ..Conditioning::default()
            };
            says.controlled(self.encoding, given, tokens, state, shift)
        };
        let stream = |shift| {
            let given = conditioning(tokens, shift);
            let stream = self.encoding.segment(&given, tokens, state, shift)?;
            Some((stream, given, shift))
        };
        // A shift that would leave MIDI's range is left out; 0 never does.
        let (mut tokens, given, shift) = stream(shift)
            .or_else(|| stream(0))
            .unwrap_or_else(|| (Vec::new(), Conditioning::default(), 0));
        if no_chords {
            self.encoding.leave_out_chords(&mut tokens);
        }
        if self.encoding.fills() {
            self.want_cells(&mut tokens, body, rng);
        }
        if self.encoding.window_bars().is_some() && rng.random_bool(self.fill_in) {
            let share = rng.random_range(0.0..MOST_OPEN);
            let hides = &mut |_, _| rng.random_bool(share);
            self.encoding.fill_in(&mut tokens, hides);
        }
        let mut segment = Segment {
            first: self.encoding.head(&given).len(),
            tokens: self.encoding.merge(&tokens).into_owned(),
            asked_bars,
            lost_bars,
        };
        if segment.tokens.len() > self.max_tokens {
            match self.encoding.merges() {
                Some(_) => self.shorten(&mut segment, |tokens| conditioning(tokens, shift)),
                // A bar that is too long for a segment may be longer still in a stream.
                None => segment.tokens.truncate(self.max_tokens),
            }
        }
        let mut tokens = segment.tokens;
        // Nothing is drawn where there is nothing to choose, so that older runs go on as they began.
        if self.tempos.len() > 1 {
            self.vary_tempo(
                &mut tokens,
                self.tempos[rng.random_range(0..self.tempos.len())],
            );
        }
        Segment { tokens, ..segment }
    }

    /// Has cells of a segment said behind all that is known, for one of the uses that the config has;
    /// leaves it as it is where it would be too long then.
    fn want_cells(&self, stream: &mut Vec<Token>, body: &Body, rng: &mut impl Rng) {
        let bar = self.encoding.special().bar;
        let bars = stream.iter().filter(|&&token| token == bar).count();
        let band = self.encoding.instruments(body, stream);
        let Some(wanted) = Wanted::draw(&self.uses, bars, &band, rng) else {
            return;
        };
        let mut filled = stream.clone();
        let holds = &mut |bar, instrument| wanted.holds(bar, instrument, rng);
        self.encoding.fill_in(&mut filled, holds);
        if self.encoding.merge(&filled).len() <= self.max_tokens {
            *stream = filled;
        }
    }

    /// Leaves out the bars at a merged segment's end for which there is no room, or cuts a first bar
    /// that alone is too long. What is left has a head of its own.
    fn shorten(&self, segment: &mut Segment, conditioning: impl Fn(&[Token]) -> Conditioning) {
        let (first, bar) = (segment.first, self.encoding.special().bar);
        let tokens = &mut segment.tokens;
        let window = self.encoding.window_bars().is_some();
        // Where bars are said together, what begins them: a BAR that follows no other's statements.
        let begins = |&i: &usize| {
            let states = |token| {
                matches!(
                    self.encoding.kind(token),
                    "bar" | "metre" | "tempo" | "chord"
                )
            };
            tokens.get(i) == Some(&bar) && !(window && states(tokens[i - 1]))
        };
        let whole = (first + 1..=self.max_tokens).rev().find(begins);
        tokens.truncate(whole.unwrap_or(self.max_tokens));
        let bars = tokens[first..].iter().filter(|&&token| token == bar);
        let kept = whole.map_or(0, |_| bars.count());
        // A window that is cut may end before an instrument that it has begun to say: its head stays.
        if whole.is_some() || !window {
            let left = self.encoding.expand(&tokens[first..]);
            let head = self.encoding.head(&conditioning(&left));
            segment.first = head.len();
            tokens.splice(..first, head);
        }
        if self.segment_bars == usize::MAX {
            segment.asked_bars = kept;
        }
        segment.lost_bars = segment.asked_bars - kept;
    }

    /// States every tempo so many bins faster, within those that there are. Bars and what is in
    /// them stay: a tempo is a token where it changes.
    fn vary_tempo(&self, tokens: &mut [Token], bins: i32) {
        let last = self.tempo_tokens.len() as i64 - 1;
        for token in tokens {
            if let Ok(bin) = self.tempo_tokens.binary_search(token) {
                let moved = (bin as i64 + i64::from(bins)).clamp(0, last);
                *token = self.tempo_tokens[moved as usize];
            }
        }
    }

    /// Whole bars from `start` on, as many as a segment may have and its tokens allow; a first
    /// bar that alone is too long is cut. With them the bars that it was to have, and those of them
    /// that are not whole.
    fn cut<'b>(&self, body: &'b Body, start: usize) -> (&'b [Token], usize, usize) {
        let begin = body.bars[start] as usize;
        let bar = |i: usize| {
            body.bars
                .get(i)
                .map_or(body.tokens.len(), |&bar| bar as usize)
        };
        let whole = start.saturating_add(self.segment_bars).min(body.bars.len());
        // The longest head that may come before, and the first bar's metre and tempo.
        let played = &body.tokens[begin..bar(whole)];
        let instruments = self.encoding.instruments(body, played);
        let mut tracks = Tracks::default();
        for instrument in instruments.iter() {
            tracks.ask(instrument, Track::all());
        }
        let head = self
            .encoding
            .head(&Conditioning {
                genre: 0,
                instruments: Some(instruments),
                metre: Some(body.states[start].metre),
                tempo: Some(body.states[start].tempo),
                key: Some(0),
                tracks,
            })
            .len()
            .max(3);
        let room = self.max_tokens.saturating_sub(head + 2).max(1);
        let room = match self.encoding.merges() {
            Some(_) => MERGED_CUT * room,
            None => room,
        };
        let fits = (start..=whole)
            .rev()
            .find(|&end| bar(end) - begin <= room)
            .unwrap_or(start);
        let fits = match self.encoding.window_bars() {
            None => fits,
            Some(together) => {
                let length = |end| self.encoding.length(&body.tokens[begin..bar(end)]);
                let bars = (1..=fits - start).collect::<Vec<_>>();
                let fit = bars.partition_point(|&bars| length(start + bars) <= room);
                // Whole windows where there is one: only a piece's last may be shorter.
                let cut = start + fit < body.bars.len() && fit > together;
                start + if cut { fit - fit % together } else { fit }
            }
        };
        let end = if fits > start {
            bar(fits)
        } else {
            bar(start + 1).min(begin + room)
        };
        let (kept, asked) = (fits - start, whole - start);
        let asked = match self.segment_bars {
            usize::MAX => kept,
            _ => asked,
        };
        (&body.tokens[begin..end], asked, asked - kept)
    }
}

/// What a head says of a segment's music, beside what a piece says itself.
#[derive(Clone, Copy)]
struct Said {
    /// Whether its key is said.
    key: bool,
    /// A bit for each of what can be asked of tracks, in their order.
    tracks: u64,
}

impl Said {
    /// `given` with it, for `tokens` in a higher or lower key.
    fn controlled(
        self,
        encoding: &dyn Encoding,
        given: Conditioning,
        tokens: &[Token],
        first: BarState,
        semitones: i32,
    ) -> Conditioning {
        if !self.key && self.tracks == 0 {
            return given;
        }
        let (key, tracks) = encoding.controls(tokens, first, semitones);
        Conditioning {
            key: key.filter(|_| self.key),
            tracks: tracks.masked(self.tracks),
            ..given
        }
    }
}

/// Bits of which a share is set that is drawn, too.
fn mask(rng: &mut impl Rng) -> u64 {
    let share = rng.random::<f64>();
    let bits = (0..Tracks::BITS).map(|bit| u64::from(rng.random_bool(share)) << bit);
    bits.fold(0, |mask, bit| mask | bit)
}

/// The shifts in bins of tempo that are nearest to the factors, each once.
fn tempo_shifts(factors: &[f64]) -> Vec<i32> {
    let default = f64::from(Tempo::DEFAULT_MICROS);
    let bin = |factor: f64| i32::from(tempo_bin(default / factor));
    let mut shifts: Vec<i32> = factors
        .iter()
        .map(|&factor| bin(factor) - bin(1.0))
        .collect();
    shifts.dedup();
    shifts
}

/// How often each piece is drawn: by its length and its source, then balanced over genres.
fn weights(config: &Config, pieces: &[Piece]) -> Vec<f64> {
    let weight = |piece: &Piece| {
        let length = piece.body.tokens.len() as f64;
        let source = config
            .source_weights
            .get(&piece.source)
            .copied()
            .unwrap_or(1.0);
        source * length.powf(1.0 - config.piece_balance)
    };
    let mut genres: BTreeMap<u16, f64> = BTreeMap::new();
    for piece in pieces {
        *genres.entry(piece.genre).or_default() += weight(piece);
    }
    pieces
        .iter()
        .map(|piece| weight(piece) * genres[&piece.genre].max(1e-9).powf(-config.genre_balance))
        .collect()
}
