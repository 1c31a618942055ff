//! Whether genres can be told apart: a [`classifier`] learns them from the [`features`] of real music whose
//! instruments are hidden, and names those of other real music and of music that was generated.
//!
//! It learns from, and names, as many bars as are generated; a whole piece is named by all its parts of so many
//! bars together, their probabilities multiplied. Figures are recall: the share of a genre's pieces
//! that are named as it. The mean is over the genres of which there are at least [`ENOUGH`] pieces.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::excerpt::Excerpt;
use classifier::Classifier;

pub mod classifier;
pub mod features;

pub use features::features;

/// Pieces of a genre from which on its recall counts in the mean.
pub const ENOUGH: usize = 7;
/// Parts of a piece that are learned from.
const PARTS: usize = 6;

/// A part of a piece to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Its genre.
    pub genre: String,
    /// Its [`features()`].
    pub features: Vec<f32>,
}

/// Music whose genre is to be named.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The genre that it is of.
    pub genre: &'a str,
    /// A whole real piece.
    pub piece: &'a Excerpt,
    /// A part of it.
    pub real: &'a Excerpt,
    /// What was generated in place of that.
    pub generated: &'a Excerpt,
}

/// How often genres are named.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recognition {
    /// Each genre of the music whose genre was asked.
    pub genres: BTreeMap<String, Recall>,
    /// Mean over the genres with enough pieces; none where there is no such genre.
    pub mean: Option<Recall>,
    /// Genres with enough pieces of which at least half of the real ones are named, by whole pieces.
    pub told_apart: usize,
}

/// The share of a genre's music that is named as it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Recall {
    /// Pieces of which it was asked.
    pub pieces: usize,
    /// Real pieces, whole.
    pub whole: f64,
    /// Real pieces, so many bars of each.
    pub real: f64,
    /// Generated ones.
    pub generated: f64,
}

/// The parts of `bars` bars that a piece is named by: all that sound, or at most `most`, spread evenly.
fn parts(piece: &Excerpt, bars: usize, most: usize) -> Vec<Vec<f32>> {
    let starts = (0..piece.bars().len()).step_by(bars.max(1));
    let windows = starts.map(|start| piece.window(start, bars));
    let sounding: Vec<Excerpt> = windows
        .filter(|window| window.notes().next().is_some())
        .collect();
    let taken = most.min(sounding.len());
    (0..taken)
        .map(|i| features(&sounding[i * sounding.len() / taken]))
        .collect()
}

/// What is learned from a piece.
pub fn examples(genre: &str, piece: &Excerpt, bars: usize) -> Vec<Example> {
    let example = |features| Example {
        genre: genre.to_owned(),
        features,
    };
    parts(piece, bars, PARTS).into_iter().map(example).collect()
}

/// Learns from `examples` and answers `questions`; `None` where there are not two genres to learn.
pub fn recognize(examples: &[Example], questions: &[Question], bars: usize) -> Option<Recognition> {
    let names: BTreeMap<&str, usize> = {
        let mut names: Vec<&str> = examples.iter().map(|e| e.genre.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        (0..).zip(names).map(|(i, name)| (name, i)).collect()
    };
    if names.len() < 2 {
        return None;
    }
    let numbers: Vec<&[f32]> = examples.iter().map(|e| e.features.as_slice()).collect();
    let of: Vec<usize> = examples.iter().map(|e| names[e.genre.as_str()]).collect();
    let classifier = Classifier::learn(&numbers, &of, names.len());
    let named = |parts: &[Vec<f32>], genre: &str| {
        let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
        let all = classifier.log_probabilities(&parts);
        let together = |class: usize| -> f64 { all.iter().map(|named| named[class]).sum() };
        let best = (0..names.len()).max_by(|&a, &b| together(a).total_cmp(&together(b)));
        !parts.is_empty() && best == names.get(genre).copied()
    };
    let mut genres = BTreeMap::<String, Recall>::new();
    for question in questions {
        let recall = genres.entry(question.genre.to_owned()).or_default();
        recall.pieces += 1;
        for (share, parts) in [
            (&mut recall.whole, parts(question.piece, bars, usize::MAX)),
            (&mut recall.real, parts(question.real, bars, 1)),
            (&mut recall.generated, parts(question.generated, bars, 1)),
        ] {
            *share += f64::from(named(&parts, question.genre));
        }
    }
    for recall in genres.values_mut() {
        let pieces = recall.pieces as f64;
        for share in [&mut recall.whole, &mut recall.real, &mut recall.generated] {
            *share /= pieces;
        }
    }
    let counted: Vec<&Recall> = (genres.values())
        .filter(|recall| recall.pieces >= ENOUGH)
        .collect();
    let mean = |of: fn(&Recall) -> f64| {
        counted.iter().map(|recall| of(recall)).sum::<f64>() / counted.len() as f64
    };
    Some(Recognition {
        mean: (!counted.is_empty()).then(|| Recall {
            pieces: counted.iter().map(|recall| recall.pieces).sum(),
            whole: mean(|recall| recall.whole),
            real: mean(|recall| recall.real),
            generated: mean(|recall| recall.generated),
        }),
        told_apart: counted.iter().filter(|recall| recall.whole >= 0.5).count(),
        genres,
    })
}

impl fmt::Display for Recognition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Genres named by a classifier that learned from the training pieces, %"
        )?;
        writeln!(
            f,
            "{:<20} {:>6} {:>8} {:>10} {:>10}",
            "", "pieces", "whole", "real part", "generated"
        )?;
        let mean = self.mean.iter();
        let mean = mean.map(|recall| (format!("mean, from {ENOUGH} pieces"), recall));
        let genres = self
            .genres
            .iter()
            .map(|(name, recall)| (name.clone(), recall));
        for (name, recall) in genres.chain(mean) {
            writeln!(
                f,
                "{name:<20} {:>6} {:>8.1} {:>10.1} {:>10.1}",
                recall.pieces,
                100.0 * recall.whole,
                100.0 * recall.real,
                100.0 * recall.generated
            )?;
        }
        writeln!(
            f,
            "Of {} genres with {ENOUGH} pieces or more at least half of the whole real pieces are named.",
            self.told_apart
        )
    }
}
