//! The figures of an evaluation, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use famam_shared::vocabulary::Vocabulary;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Scores;
use crate::dataset::Piece;

/// Resamplings of the songs.
const BOOTSTRAPS: usize = 2000;

/// What a model's foretelling costs.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What ran the model.
    pub engine: String,
    /// Pieces.
    pub pieces: usize,
    /// Songs that they are versions of.
    pub songs: usize,
    /// Notes as they were read.
    pub notes: u64,
    /// Share of them that quantization kept.
    pub notes_kept: f64,
    /// Nothing is given.
    pub free: Figures,
    /// Genre and instruments are given.
    pub conditioned: Figures,
}

/// The figures of one way of asking.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Tokens scored.
    pub tokens: u64,
    /// Nats a token, without the grammar: comparable to training's losses.
    pub loss: f64,
    /// With the grammar.
    pub bits_a_note: f64,
    /// 95 % of resamplings of the songs lie in it.
    pub interval: (f64, f64),
    /// Without the grammar.
    pub bits_a_note_without_grammar: f64,
    /// Bits a note of each kind of token; they add up.
    pub kinds: BTreeMap<&'static str, Kind>,
    /// Bits a note of each source's pieces.
    pub sources: BTreeMap<String, Part>,
    /// Bits a note of each genre's pieces.
    pub genres: BTreeMap<String, Part>,
}

/// One kind of token.
#[derive(Clone, Debug, Serialize)]
pub struct Kind {
    /// Tokens of it.
    pub tokens: u64,
    /// Bits for all notes over all notes.
    pub bits_a_note: f64,
    /// Bits for each token of it.
    pub bits_a_token: f64,
}

/// A part of the pieces.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Part {
    /// Pieces.
    pub pieces: usize,
    /// Their notes.
    pub notes: u64,
    /// Bits a note.
    pub bits_a_note: f64,
}

impl Report {
    pub(super) fn new(
        engine: &str,
        vocabulary: &Vocabulary,
        pieces: &[Piece],
        kept: u64,
        free: &Scores,
        conditioned: &Scores,
    ) -> Self {
        let notes: u64 = pieces.iter().map(|piece| u64::from(piece.notes)).sum();
        let songs: std::collections::BTreeSet<&str> =
            pieces.iter().map(|piece| piece.song.as_str()).collect();
        Self {
            engine: engine.to_owned(),
            pieces: pieces.len(),
            songs: songs.len(),
            notes,
            notes_kept: kept as f64 / notes.max(1) as f64,
            free: Figures::new(vocabulary, pieces, free),
            conditioned: Figures::new(vocabulary, pieces, conditioned),
        }
    }
}

impl Figures {
    fn new(vocabulary: &Vocabulary, pieces: &[Piece], scores: &Scores) -> Self {
        let bits = |nats: f64| nats / std::f64::consts::LN_2;
        let notes: u64 = pieces.iter().map(|piece| u64::from(piece.notes)).sum();
        let a_note = |nats: f64| bits(nats) / notes.max(1) as f64;
        let free: f64 = scores.pieces.iter().map(|nats| nats.free).sum();
        let in_grammar: f64 = scores.pieces.iter().map(|nats| nats.in_grammar).sum();

        let mut songs: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
        let mut sources: BTreeMap<String, Part> = BTreeMap::new();
        let mut genres: BTreeMap<String, Part> = BTreeMap::new();
        for (piece, nats) in std::iter::zip(pieces, &scores.pieces) {
            let song = songs.entry(&piece.song).or_default();
            song.0 += bits(nats.in_grammar);
            song.1 += u64::from(piece.notes);
            let genre = vocabulary.genres.get(usize::from(piece.genre)).cloned();
            let parts = [
                sources.entry(piece.source.clone()).or_default(),
                genres.entry(genre.unwrap_or_default()).or_default(),
            ];
            for part in parts {
                part.pieces += 1;
                part.notes += u64::from(piece.notes);
                // A sum until the end.
                part.bits_a_note += bits(nats.in_grammar);
            }
        }
        for part in sources.values_mut().chain(genres.values_mut()) {
            part.bits_a_note /= part.notes.max(1) as f64;
        }
        let kinds = scores.kinds.iter().map(|(&kind, (tokens, nats))| {
            let of_kind = Kind {
                tokens: *tokens,
                bits_a_note: a_note(nats.in_grammar),
                bits_a_token: bits(nats.in_grammar) / (*tokens).max(1) as f64,
            };
            (kind, of_kind)
        });
        Self {
            tokens: scores.tokens,
            loss: free / scores.tokens.max(1) as f64,
            bits_a_note: a_note(in_grammar),
            interval: interval(&songs.into_values().collect::<Vec<_>>()),
            bits_a_note_without_grammar: a_note(free),
            kinds: kinds.collect(),
            sources,
            genres,
        }
    }
}

/// The 2.5th and 97.5th percentile of bits a note over resamplings of songs, each with its bits
/// and notes (Efron 1979, percentile bootstrap).
fn interval(songs: &[(f64, u64)]) -> (f64, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut ratios: Vec<f64> = (0..BOOTSTRAPS)
        .map(|_| {
            let drawn = (0..songs.len()).map(|_| songs[rng.random_range(0..songs.len())]);
            let (bits, notes) = drawn.fold((0.0, 0), |sum, song| (sum.0 + song.0, sum.1 + song.1));
            bits / notes.max(1) as f64
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let percentile = |share: f64| ratios[(share * (BOOTSTRAPS - 1) as f64).round() as usize];
    (percentile(0.025), percentile(0.975))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} pieces of {} songs, {} notes ({:.2} % of them survive quantization), on {}",
            self.pieces,
            self.songs,
            self.notes,
            100.0 * self.notes_kept,
            self.engine
        )?;
        writeln!(
            f,
            "\nbits a note          free                  conditioned"
        )?;
        let (free, conditioned) = (&self.free, &self.conditioned);
        let with = |figures: &Figures| {
            let (low, high) = figures.interval;
            format!("{:.3} [{low:.2}, {high:.2}]", figures.bits_a_note)
        };
        writeln!(
            f,
            "{:<20} {:<21} {}",
            "with the grammar",
            with(free),
            with(conditioned)
        )?;
        let row = |f: &mut fmt::Formatter, name: &str, free: f64, conditioned: Option<f64>| {
            let conditioned = conditioned.map_or(String::new(), |bits| format!("{bits:.3}"));
            writeln!(f, "{name:<20} {free:<21.3} {conditioned}")
        };
        let without = |figures: &Figures| figures.bits_a_note_without_grammar;
        row(f, "without it", without(free), Some(without(conditioned)))?;
        row(f, "loss, nats a token", free.loss, Some(conditioned.loss))?;
        writeln!(f, "\nby kind of token")?;
        for (kind, part) in &free.kinds {
            row(
                f,
                kind,
                part.bits_a_note,
                conditioned.kinds.get(kind).map(|part| part.bits_a_note),
            )?;
        }
        for (title, free, conditioned) in [
            ("by source", &free.sources, &conditioned.sources),
            ("by genre", &free.genres, &conditioned.genres),
        ] {
            writeln!(f, "\n{title}")?;
            for (name, part) in free {
                let name = format!("{name} ({})", part.pieces);
                let given = conditioned.get(name.rsplit_once(" (").map_or("", |(name, _)| name));
                row(
                    f,
                    &name,
                    part.bits_a_note,
                    given.map(|part| part.bits_a_note),
                )?;
            }
        }
        Ok(())
    }
}
