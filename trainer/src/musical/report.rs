//! What the comparison gives, for people and as JSON.

use std::fmt;

use serde::Serialize;

use super::comparison::{Comparison, SPLITS};
use super::genres::Recognition;

/// All figures of generated music beside real music.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What ran the model.
    pub engine: String,
    /// Real pieces, and as many generated ones.
    pub pieces: usize,
    /// Pieces in which no bars of one metre sound.
    pub left_out: usize,
    /// Bars of each, at most.
    pub bars: usize,
    /// Generated pieces without a note.
    pub empty: usize,
    /// Figure by figure.
    pub figures: Vec<Comparison>,
    /// Beside the training music.
    pub training: Option<Training>,
}

/// What the training music says of both.
#[derive(Clone, Debug, Serialize)]
pub struct Training {
    /// Pieces that were read.
    pub pieces: usize,
    /// Files that could not be.
    pub unread: usize,
    /// Notes of the longest run that a real piece shares with it.
    pub real_runs: Runs,
    /// And a generated one.
    pub generated_runs: Runs,
    /// How often a classifier that learned from it names the genres.
    pub genres: Option<Recognition>,
}

/// How long the longest shared runs of a set of pieces are, in notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Runs {
    /// Half of the pieces have none longer.
    pub median: usize,
    /// 95 of a hundred have none longer.
    pub percentile_95: usize,
    /// 99 of a hundred have none longer.
    pub percentile_99: usize,
    /// The longest of all.
    pub longest: usize,
}

impl Runs {
    /// Of the longest run of each piece.
    pub fn of(mut longest: Vec<usize>) -> Self {
        longest.sort_unstable();
        // The nearest rank: the least number that so many of the pieces do not exceed.
        let percentile = |percent: usize| {
            let rank = (percent * longest.len()).div_ceil(100);
            longest
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            median: percentile(50),
            percentile_95: percentile(95),
            percentile_99: percentile(99),
            longest: percentile(100),
        }
    }
}

/// A number with three places, or a dash.
fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} segments of {} bars and as many generated pieces, {} of them without a note, on {}",
            self.pieces, self.bars, self.empty, self.engine
        )?;
        if self.left_out > 0 {
            writeln!(
                f,
                "{} pieces left out: no such part of them is in one metre and sounds",
                self.left_out
            )?;
        }
        writeln!(
            f,
            "\n{:<28} {:>9} {:>9}   overlap area of distances       KL divergence, nats",
            "", "real", "generated"
        )?;
        writeln!(
            f,
            "{:<28} {:>9} {:>9}   {:>9} {:>9} {:>7}   {:>9} {:>9}",
            "", "mean", "mean", "generated", "halves", "ratio", "generated", "halves"
        )?;
        for figure in &self.figures {
            writeln!(
                f,
                "{:<28} {:>9} {:>9}   {:>9} {:>9} {:>7}   {:>9} {:>9}",
                figure.name,
                number(figure.real.mean),
                number(figure.generated.mean),
                number(figure.overlap.map(|overlap| overlap.area)),
                number(figure.halves.map(|overlap| overlap.area)),
                number(figure.ratio),
                number(figure.overlap.map(|overlap| overlap.divergence)),
                number(figure.halves.map(|overlap| overlap.divergence)),
            )?;
        }
        let ratios = self.figures.iter().filter_map(|figure| figure.ratio);
        let reached = ratios.clone().filter(|ratio| *ratio >= 0.9).count();
        writeln!(
            f,
            "\n{reached} of {} ratios are at least 0.9. Distances between generated and real pieces, \
             against those among the real ones; halves: between random halves of the real ones, mean \
             of {SPLITS} splits.",
            ratios.count()
        )?;
        if let Some(training) = &self.training {
            write!(f, "\n{training}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Longest run of notes shared with any of {} training pieces{}",
            self.pieces,
            match self.unread {
                0 => String::new(),
                unread => format!(" ({unread} could not be read)"),
            }
        )?;
        writeln!(
            f,
            "{:<12} {:>7} {:>7} {:>7} {:>7}",
            "", "median", "95 %", "99 %", "longest"
        )?;
        for (name, runs) in [
            ("real", &self.real_runs),
            ("generated", &self.generated_runs),
        ] {
            writeln!(
                f,
                "{name:<12} {:>7} {:>7} {:>7} {:>7}",
                runs.median, runs.percentile_95, runs.percentile_99, runs.longest
            )?;
        }
        match &self.genres {
            Some(genres) => write!(f, "\n{genres}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_hand() {
        let runs = Runs::of((1..=200).rev().collect());
        assert_eq!(
            runs,
            Runs {
                median: 100,
                percentile_95: 190,
                percentile_99: 198,
                longest: 200
            }
        );
        let few = Runs::of(vec![7, 3]);
        assert_eq!((few.median, few.percentile_95), (3, 7));
        assert_eq!(Runs::of(Vec::new()), Runs::default());
    }
}
