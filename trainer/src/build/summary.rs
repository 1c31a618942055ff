//! What a build did, in words.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use famam_shared::instrument::Instrument;
use famam_shared::quantize::{Losses, MAX_BARS};
use famam_shared::vocabulary::Vocabulary;

use super::prepare::Reason;
use super::songs::Duplicate;
use crate::config::dataset::Config;
use crate::dataset::{Piece, Split};
use crate::merges::Measured;
use crate::words::listed;

/// Counts over a build.
#[derive(Clone, Debug)]
pub struct Summary {
    /// MIDI files found.
    pub found: usize,
    /// Files in the data set.
    pub used: usize,
    /// Files left out, by reason.
    pub left_out: BTreeMap<Reason, usize>,
    /// Files in the data set that are duplicates of an earlier one.
    pub duplicates: BTreeMap<Duplicate, usize>,
    /// Sequences.
    pub pieces: usize,
    /// Songs in each of [`Split::ALL`].
    pub songs: [usize; 3],
    /// Bars.
    pub bars: usize,
    /// Segments as the config cuts them, before transposition.
    pub segments: usize,
    /// Tokens.
    pub tokens: usize,
    /// What is merged, where byte pairs are.
    pub merges: Option<Measured>,
    /// Notes left out as their classes are not allowed.
    pub not_allowed: u64,
    /// What quantization changed.
    pub losses: Losses,
    /// Files of each genre of the vocabulary.
    pub genres: Vec<(String, usize)>,
    /// Pieces in which each instrument plays, by its index.
    pub instruments: Vec<usize>,
    /// How long it took.
    pub time: Duration,
}

impl Summary {
    /// Of no pieces yet.
    pub(super) fn new(found: usize, vocabulary: &Vocabulary) -> Self {
        Self {
            found,
            used: 0,
            left_out: BTreeMap::new(),
            duplicates: BTreeMap::new(),
            pieces: 0,
            songs: [0; 3],
            bars: 0,
            segments: 0,
            tokens: 0,
            merges: None,
            not_allowed: 0,
            losses: Losses::default(),
            genres: vocabulary
                .genres
                .iter()
                .map(|genre| (genre.clone(), 0))
                .collect(),
            instruments: vec![0; Instrument::COUNT],
            time: Duration::ZERO,
        }
    }

    pub(super) fn leave_out(&mut self, reason: Reason, files: usize) {
        if files > 0 {
            *self.left_out.entry(reason).or_default() += files;
        }
    }

    pub(super) fn take(&mut self, piece: &Piece, config: &Config) {
        self.pieces += 1;
        self.bars += piece.body.bars.len();
        self.segments += config.segments(piece.body.bars.len()).len();
        self.tokens += piece.body.tokens.len();
        piece
            .body
            .instruments
            .iter()
            .for_each(|instrument| self.instruments[usize::from(instrument.index())] += 1);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64().max(1e-9);
        let share = |part: u64, whole: u64| 100.0 * part as f64 / (whole as f64).max(1.0);
        writeln!(f, "files       {} found, {} used", self.found, self.used)?;
        for (reason, count) in &self.left_out {
            writeln!(f, "            {count} left out: {reason}")?;
        }
        for (duplicate, count) in &self.duplicates {
            let what = Reason::from(*duplicate);
            writeln!(f, "            {count} stay, of one song with it: {what}")?;
        }
        writeln!(
            f,
            "songs       {} train, {} validation, {} test",
            self.songs[Split::Train as usize],
            self.songs[Split::Validation as usize],
            self.songs[Split::Test as usize]
        )?;
        writeln!(
            f,
            "pieces      {}, {} bars, {} segments",
            self.pieces, self.bars, self.segments
        )?;
        let kept = self.losses.kept();
        writeln!(
            f,
            "notes       {} read, {:.2} % of them kept by quantization",
            self.losses.notes,
            share(kept, self.losses.notes)
        )?;
        if self.not_allowed > 0 {
            let notes = self.not_allowed;
            writeln!(
                f,
                "            {notes} left out before: not of allowed_classes"
            )?;
        }
        if self.losses.beyond > 0 {
            let notes = self.losses.beyond;
            writeln!(f, "            {notes} left out: behind bar {MAX_BARS}")?;
        }
        writeln!(
            f,
            "tokens      {}, {:.2} a note",
            self.tokens,
            self.tokens as f64 / (kept as f64).max(1.0)
        )?;
        if let Some(merges) = self.merges {
            writeln!(f, "merges      {merges}")?;
        }
        let genres: Vec<_> = self.genres.iter().filter(|(_, files)| *files > 0).collect();
        writeln!(
            f,
            "genres      {}",
            listed(&genres, |(genre, files)| format!("{genre} {files}"))
        )?;
        let mut instruments: Vec<(Instrument, usize)> = Instrument::all()
            .zip(self.instruments.iter().copied())
            .collect();
        instruments.sort_by_key(|&(_, pieces)| std::cmp::Reverse(pieces));
        instruments.retain(|&(_, pieces)| pieces > 0);
        instruments.truncate(10);
        writeln!(
            f,
            "instruments {}",
            listed(&instruments, |(instrument, pieces)| format!(
                "{instrument} {pieces}"
            ))
        )?;
        write!(
            f,
            "time        {seconds:.1} s: {:.0} files/s, {:.0} tokens/s",
            self.found as f64 / seconds,
            self.tokens as f64 / seconds
        )
    }
}
