//! Cells of a song as they are named: `33:5-8, drums:2, piano`, an instrument and, behind a colon, bars.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use famam_plugin::tracks::players;
use famam_shared::bands::Bands;
use famam_shared::instrument::{Instrument, InstrumentSet, UnknownInstrument};

/// Cells, by bar from 0 and instrument.
pub type Cells = BTreeSet<(u32, Instrument)>;

/// Why text names no cells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellsError {
    /// No instrument has that name.
    #[error(transparent)]
    Instrument(#[from] UnknownInstrument),
    /// What stands behind the colon is no bar.
    #[error(
        "\"{0}\" names no bars: expected a bar or the first and the last, counted from 1, behind an instrument \
         and a colon, as in 33:5-8"
    )]
    Bars(String),
    /// Bars that the file has not.
    #[error("bar {bar} of \"{text}\" is behind the file's last, which is bar {bars}")]
    Behind {
        /// What was said.
        text: String,
        /// The first bar that is not there, counted from 1.
        bar: u32,
        /// So many there are.
        bars: u32,
    },
}

/// A row of cells.
#[derive(Clone, Debug)]
struct AskedRow {
    text: String,
    /// All instruments where none is named.
    by: Option<InstrumentSet>,
    /// Counted from 1; all where none are named.
    bars: Option<RangeInclusive<u32>>,
}

/// Cells that were named.
#[derive(Clone, Debug)]
pub struct AskedCells(Vec<AskedRow>);

impl FromStr for AskedCells {
    type Err = CellsError;

    fn from_str(text: &str) -> Result<Self, CellsError> {
        let row = |text: &str| {
            let (by, bars) = match text.split_once(':') {
                Some((by, bars)) => (by, Some(bars)),
                None => (text, None),
            };
            let by = match by.trim() {
                "all" => None,
                by => Some(players(by)?),
            };
            let read = |bars: &str| {
                let (first, last) = bars.split_once('-').unwrap_or((bars, bars));
                let number = |text: &str| text.trim().parse::<u32>().ok();
                let (first, last) = (number(first)?, number(last)?);
                (first >= 1 && first <= last).then_some(first..=last)
            };
            let wrong = |bars: &str| CellsError::Bars(bars.trim().to_owned());
            let bars = bars.map(|bars| read(bars).ok_or_else(|| wrong(bars)));
            Ok(AskedRow {
                text: text.trim().to_owned(),
                by,
                bars: bars.transpose()?,
            })
        };
        text.split(',').map(row).collect::<Result<_, _>>().map(Self)
    }
}

impl AskedCells {
    /// The cells of a song of so many bars that `band` plays: a group or class stands for all those of the band
    /// that are of it, or, where there is none, for one more, such as plays in `genre`.
    ///
    /// # Errors
    /// [`CellsError::Behind`].
    pub fn of(
        &self,
        band: &InstrumentSet,
        bars: u32,
        (bands, genre): (&Bands, u16),
    ) -> Result<Cells, CellsError> {
        let mut cells = Cells::new();
        for row in &self.0 {
            let range = row.bars.clone().unwrap_or(1..=bars);
            if *range.end() > bars {
                return Err(CellsError::Behind {
                    text: row.text.clone(),
                    bar: bars + 1,
                    bars,
                });
            }
            let named = row.by.unwrap_or(*band);
            let by = match named.intersection(band) {
                none if none.is_empty() => bands.choose(genre, &[named]),
                some => some,
            };
            cells.extend(range.flat_map(|bar| by.iter().map(move |by| (bar - 1, by))));
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_rows_of_bars() {
        let set = |indices: &[u8]| -> InstrumentSet {
            indices.iter().filter_map(|&i| Instrument::new(i)).collect()
        };
        let band = set(&[0, 33, 34, 128]);
        let bands = Bands::default();
        let cells = |text: &str| -> Vec<(u32, u8)> {
            let asked: AskedCells = text.parse().unwrap();
            let cells = asked.of(&band, 4, (&bands, 0)).unwrap();
            cells
                .into_iter()
                .map(|(bar, by)| (bar, by.index()))
                .collect()
        };
        assert_eq!(cells("33:2-3, drums:1"), [(0, 128), (1, 33), (2, 33)]);
        assert_eq!(cells("bass:4"), [(3, 33), (3, 34)], "all that are there");
        assert_eq!(cells("lead:1"), [(0, 56)], "one that is not");
        assert_eq!(cells("0").len(), 4);
        assert_eq!(cells("all:2").len(), 4);
        for (text, words) in [
            ("kazoo:1", "kazoo"),
            ("33:0", "\"0\" names no bars"),
            ("33:3-2", "names no bars"),
            ("33:x", "names no bars"),
            ("", "names no instruments"),
        ] {
            let error = text.parse::<AskedCells>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let behind: AskedCells = "33:3-5".parse().unwrap();
        let told = behind.of(&band, 4, (&bands, 0)).unwrap_err().to_string();
        assert!(
            told.contains("\"33:3-5\" is behind the file's last, which is bar 4"),
            "{told}"
        );
    }
}
