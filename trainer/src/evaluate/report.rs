//! The figures of an evaluation, for people and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use famam_shared::vocabulary::Vocabulary;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::infilling::Infilling;
use super::{Scores, Sum};
use crate::dataset::Piece;

/// Resamplings of the songs.
const BOOTSTRAPS: usize = 2000;

/// How well a model foretells music.
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
    /// Cells between others, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infilling: Option<Infilling>,
}

/// The figures of one way of asking.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Of everything.
    #[serde(flatten)]
    pub all: Measures,
    /// By kind of token: the bits a note are those for its tokens over all notes, and add up.
    pub kinds: BTreeMap<&'static str, Measures>,
    /// By the pieces' source.
    pub sources: BTreeMap<String, Part>,
    /// By the pieces' genre.
    pub genres: BTreeMap<String, Part>,
}

/// Figures of some tokens. In each interval lie 95 % of what resamplings of the songs give.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Measures {
    /// Tokens scored.
    pub tokens: u64,
    /// Nats a token, without the grammar: comparable to training's losses.
    pub loss: f64,
    /// Its interval.
    pub loss_interval: (f64, f64),
    /// e to the loss.
    pub perplexity: f64,
    /// Its interval.
    pub perplexity_interval: (f64, f64),
    /// Bits for all of the tokens over the notes of their pieces, with the grammar: comparable
    /// between encodings.
    pub bits_a_note: f64,
    /// Its interval.
    pub interval: (f64, f64),
    /// Without the grammar.
    pub bits_a_note_without_grammar: f64,
    /// Share of the tokens that the model held for the likeliest, without the grammar.
    pub accuracy: f64,
    /// Its interval.
    pub accuracy_interval: (f64, f64),
}

/// A part of the pieces.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Part {
    /// Pieces.
    pub pieces: usize,
    /// Songs that they are versions of.
    pub songs: usize,
    /// Their notes.
    pub notes: u64,
    /// Of their tokens.
    #[serde(flatten)]
    pub all: Measures,
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
        let songs: BTreeSet<&str> = pieces.iter().map(|piece| piece.song.as_str()).collect();
        Self {
            engine: engine.to_owned(),
            pieces: pieces.len(),
            songs: songs.len(),
            notes,
            notes_kept: kept as f64 / notes.max(1) as f64,
            free: Figures::new(vocabulary, pieces, free),
            conditioned: Figures::new(vocabulary, pieces, conditioned),
            infilling: None,
        }
    }
}

/// A piece and what its tokens cost.
type Scored<'a> = (&'a Piece, &'a BTreeMap<&'static str, Sum>);

impl Figures {
    fn new(vocabulary: &Vocabulary, pieces: &[Piece], scores: &Scores) -> Self {
        let scored: Vec<Scored> = std::iter::zip(pieces, &scores.0).collect();
        let kinds: BTreeSet<&str> = scores.0.iter().flat_map(BTreeMap::keys).copied().collect();
        let genre = |piece: &Piece| {
            let genre = vocabulary.genres.get(usize::from(piece.genre));
            genre.cloned().unwrap_or_default()
        };
        Self {
            all: Measures::of(&scored, |_| true),
            kinds: kinds
                .into_iter()
                .map(|kind| (kind, Measures::of(&scored, |other| other == kind)))
                .collect(),
            sources: parts(&scored, |piece| piece.source.clone()),
            genres: parts(&scored, genre),
        }
    }
}

/// The pieces by what `of` says of them.
fn parts(scored: &[Scored], of: impl Fn(&Piece) -> String) -> BTreeMap<String, Part> {
    let mut parts = BTreeMap::<String, Vec<Scored>>::new();
    for &scored in scored {
        parts.entry(of(scored.0)).or_default().push(scored);
    }
    let part = |(name, scored): (String, Vec<Scored>)| {
        let songs: BTreeSet<&str> = scored
            .iter()
            .map(|(piece, _)| piece.song.as_str())
            .collect();
        let part = Part {
            pieces: scored.len(),
            songs: songs.len(),
            notes: scored.iter().map(|(piece, _)| u64::from(piece.notes)).sum(),
            all: Measures::of(&scored, |_| true),
        };
        (name, part)
    };
    parts.into_iter().map(part).collect()
}

/// What is drawn as one: a song's tokens and notes.
#[derive(Clone, Copy, Default)]
struct Song {
    sum: Sum,
    notes: u64,
}

impl std::ops::AddAssign for Song {
    fn add_assign(&mut self, other: Self) {
        self.sum += other.sum;
        self.notes += other.notes;
    }
}

impl Song {
    fn loss(&self) -> f64 {
        self.sum.free / self.sum.tokens.max(1) as f64
    }

    fn bits_a_note(&self) -> f64 {
        self.sum.in_grammar / std::f64::consts::LN_2 / self.notes.max(1) as f64
    }

    fn accuracy(&self) -> f64 {
        self.sum.right as f64 / self.sum.tokens.max(1) as f64
    }
}

impl Measures {
    /// Of the tokens of these pieces whose kind `takes` takes.
    fn of(scored: &[Scored], takes: impl Fn(&str) -> bool) -> Self {
        let mut songs = BTreeMap::<&str, Song>::new();
        for (piece, kinds) in scored {
            let song = songs.entry(&piece.song).or_default();
            song.notes += u64::from(piece.notes);
            for (_, sum) in kinds.iter().filter(|(kind, _)| takes(kind)) {
                song.sum += *sum;
            }
        }
        let songs: Vec<Song> = songs.into_values().collect();
        let sum = |songs: &mut dyn Iterator<Item = Song>| {
            songs.fold(Song::default(), |mut sum, song| {
                sum += song;
                sum
            })
        };
        let all = sum(&mut songs.iter().copied());
        // Efron 1979: the percentile bootstrap.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let drawn: Vec<Song> = (0..BOOTSTRAPS)
            .map(|_| sum(&mut (0..songs.len()).map(|_| songs[rng.random_range(0..songs.len())])))
            .collect();
        let interval = |of: fn(&Song) -> f64| {
            let mut values: Vec<f64> = drawn.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            let percentile =
                |share: f64| values[(share * (BOOTSTRAPS - 1) as f64).round() as usize];
            (percentile(0.025), percentile(0.975))
        };
        let loss_interval = interval(Song::loss);
        Self {
            tokens: all.sum.tokens,
            loss: all.loss(),
            loss_interval,
            perplexity: all.loss().exp(),
            perplexity_interval: (loss_interval.0.exp(), loss_interval.1.exp()),
            bits_a_note: all.bits_a_note(),
            interval: interval(Song::bits_a_note),
            bits_a_note_without_grammar: all.sum.free
                / std::f64::consts::LN_2
                / all.notes.max(1) as f64,
            accuracy: all.accuracy(),
            accuracy_interval: interval(Song::accuracy),
        }
    }
}

/// A figure with its interval; of one song there is none.
fn with(value: f64, (low, high): (f64, f64)) -> String {
    if low == high {
        return format!("{value:.3}");
    }
    format!("{value:.3} [{low:.2}, {high:.2}]")
}

fn percent(value: f64, (low, high): (f64, f64)) -> String {
    if low == high {
        return format!("{:.1}", 100.0 * value);
    }
    format!(
        "{:.1} [{:.0}, {:.0}]",
        100.0 * value,
        100.0 * low,
        100.0 * high
    )
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
        let ways = [&self.free, &self.conditioned];
        writeln!(f, "\n{:<22} {:<22} conditioned", "", "free")?;
        let mut row = |name: &str, of: &dyn Fn(&Measures) -> String| {
            let [free, conditioned] = ways.map(|figures| of(&figures.all));
            writeln!(f, "{name:<22} {free:<22} {conditioned}")
        };
        row("bits a note", &|all| with(all.bits_a_note, all.interval))?;
        row("without the grammar", &|all| {
            format!("{:.3}", all.bits_a_note_without_grammar)
        })?;
        row("loss, nats a token", &|all| {
            with(all.loss, all.loss_interval)
        })?;
        row("perplexity", &|all| {
            with(all.perplexity, all.perplexity_interval)
        })?;
        row("right guesses, %", &|all| {
            percent(all.accuracy, all.accuracy_interval)
        })?;
        let kinds = ways.map(|figures| figures.kinds.iter());
        let kinds = kinds.map(|kinds| {
            kinds
                .map(|(&name, part)| (name.to_owned(), *part))
                .collect()
        });
        table(f, "by kind of token", kinds)?;
        let named = |parts: &BTreeMap<String, Part>| {
            let name =
                |(name, part): (&String, &Part)| (format!("{name} ({})", part.pieces), part.all);
            parts.iter().map(name).collect()
        };
        table(f, "by source", ways.map(|figures| named(&figures.sources)))?;
        table(f, "by genre", ways.map(|figures| named(&figures.genres)))?;
        self.infilling.iter().try_for_each(|cells| cells.fmt(f))
    }
}

/// Bits a note and right guesses of parts, asked in both ways.
fn table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    [free, conditioned]: [BTreeMap<String, Measures>; 2],
) -> fmt::Result {
    let columns = |bits: &str, right: &str| format!("{bits:<22} {right:<14}");
    let head = columns("bits a note", "right, %");
    writeln!(f, "\n{title:<22} {head} {}", head.trim_end())?;
    for (name, part) in &free {
        let cells = |part: &Measures| {
            let right = percent(part.accuracy, part.accuracy_interval);
            columns(&with(part.bits_a_note, part.interval), &right)
        };
        let given = conditioned.get(name).map(cells).unwrap_or_default();
        writeln!(f, "{name:<22} {} {}", cells(part), given.trim_end())?;
    }
    Ok(())
}
