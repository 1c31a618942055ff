//! Bands: which instruments play together in the music of each genre.
//!
//! A model is conditioned on the instruments that occur in a piece, one by one. Who asks for *drums,
//! a bass and a guitar* means three that play together in this genre: what a model never saw together
//! it plays badly.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::instrument::{Instrument, InstrumentSet};

/// The most bands of a genre that are kept.
const MOST: usize = 64;

/// By genre, the bands of its pieces, those of most pieces first; genre 0, *any*, counts all pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bands(Vec<Vec<InstrumentSet>>);

impl Bands {
    /// Counts `pieces`, each a genre below `genres` and what plays in it.
    pub fn count(genres: usize, pieces: impl IntoIterator<Item = (u16, InstrumentSet)>) -> Self {
        let mut counts: Vec<BTreeMap<Vec<Instrument>, u64>> = vec![BTreeMap::new(); genres.max(1)];
        for (genre, band) in pieces {
            let band = Vec::from(band);
            if let Some(counts) = counts.get_mut(usize::from(genre))
                && genre > 0
            {
                *counts.entry(band.clone()).or_default() += 1;
            }
            *counts[0].entry(band).or_default() += 1;
        }
        let ranked = counts.into_iter().map(|counts| {
            let mut ranked = Vec::from_iter(counts);
            ranked.sort_by_key(|&(_, pieces)| Reverse(pieces));
            ranked.truncate(MOST);
            ranked.into_iter().map(|(band, _)| band.into()).collect()
        });
        Self(ranked.collect())
    }

    /// These, and those of `earlier` for genres that these do not have.
    pub fn or(mut self, earlier: Bands) -> Self {
        for (i, bands) in earlier.0.into_iter().enumerate() {
            match self.0.get_mut(i) {
                Some(own) if own.is_empty() => *own = bands,
                Some(_) => {}
                None => self.0.push(bands),
            }
        }
        self
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One instrument for each of `parts`: of the band of `genre` that has the most of them and is
    /// the most common of those, what it lacks from the next such, then from the bands of all
    /// genres; the first of a part that no band has.
    pub fn choose(&self, genre: u16, parts: &[InstrumentSet]) -> InstrumentSet {
        let mut open: Vec<&InstrumentSet> = parts.iter().collect();
        let mut chosen = InstrumentSet::default();
        for genre in [usize::from(genre), 0] {
            let bands = self.0.get(genre).map_or(&[][..], Vec::as_slice);
            loop {
                let has = |band: &InstrumentSet| {
                    open.iter()
                        .filter(|part| !band.intersection(part).is_empty())
                        .count()
                };
                // The first of equals: the most common.
                let Some(band) = bands.iter().rev().max_by_key(|band| has(band)) else {
                    break;
                };
                if has(band) == 0 {
                    break;
                }
                open.retain(|part| match most_common(bands, &band.intersection(part)) {
                    Some(instrument) => {
                        chosen.insert(instrument);
                        false
                    }
                    None => true,
                });
            }
        }
        for part in open {
            part.iter().take(1).for_each(|first| chosen.insert(first));
        }
        chosen
    }

    /// At most `count` instruments that play together in `genre` (in all genres, where its bands were not
    /// counted): the most common one, then the most common of those that play beside it, and so on, as
    /// long as a band has all of them.
    pub fn top(&self, genre: u16, count: usize) -> InstrumentSet {
        let of = |genre: usize| self.0.get(genre).filter(|bands| !bands.is_empty());
        let bands = of(usize::from(genre)).or_else(|| of(0));
        let mut bands: Vec<InstrumentSet> = bands.cloned().unwrap_or_default();
        let mut top = InstrumentSet::default();
        while top.len() < count {
            let beside: InstrumentSet = bands
                .iter()
                .flat_map(InstrumentSet::iter)
                .filter(|&instrument| !top.contains(instrument))
                .collect();
            let Some(next) = most_common(&bands, &beside) else {
                break;
            };
            top.insert(next);
            bands.retain(|band| band.contains(next));
        }
        top
    }
}

/// The one of `choice` that most of `bands` have.
fn most_common(bands: &[InstrumentSet], choice: &InstrumentSet) -> Option<Instrument> {
    let common = |instrument| {
        bands
            .iter()
            .filter(|band| band.contains(instrument))
            .count()
    };
    choice
        .iter()
        .min_by_key(|&instrument| Reverse(common(instrument)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::Group;

    fn set(instruments: &[u8]) -> InstrumentSet {
        instruments
            .iter()
            .filter_map(|&i| Instrument::new(i))
            .collect()
    }

    #[test]
    fn what_plays_together_is_chosen_together() {
        let rock = [
            (1, set(&[128])),
            (1, set(&[128])),
            (1, set(&[30, 34, 128])),
            (1, set(&[30, 34, 128])),
            (1, set(&[18, 29, 33, 128])),
            (1, set(&[18, 28, 29, 33])),
        ];
        let folk = [
            (2, set(&[24])),
            (2, set(&[24])),
            (2, set(&[0, 25])),
            (0, set(&[0, 81])),
        ];
        let bands = Bands::count(3, rock.into_iter().chain(folk));
        let choose = |genre, groups: &[Group]| {
            let parts = Vec::from_iter(groups.iter().map(|group| group.instruments()));
            bands.choose(genre, &parts)
        };
        use Group::{Bass, Drums, Guitar, Keys, Lead, StringsAndPads};
        assert_eq!(choose(1, &[Drums, Bass, Guitar]), set(&[30, 34, 128]));
        assert_eq!(
            choose(1, &[Drums, Bass, Guitar, Keys]),
            set(&[18, 29, 33, 128])
        );
        assert_eq!(
            choose(1, &[Keys, Guitar]),
            set(&[18, 29]),
            "of two the commoner"
        );
        assert_eq!(choose(2, &[Guitar]), set(&[24]));
        assert_eq!(choose(2, &[Guitar, Keys]), set(&[0, 25]));
        assert_eq!(
            choose(2, &[Guitar, Lead]),
            set(&[24, 81]),
            "a lead of all genres"
        );
        assert_eq!(
            choose(9, &[Drums]),
            set(&[128]),
            "a genre that is not there"
        );
        assert_eq!(choose(1, &[StringsAndPads]), set(&[40]), "in none");
        assert_eq!(choose(1, &[]), set(&[]));
    }

    #[test]
    fn the_top_of_a_genre_plays_together() {
        let rock = [
            (1, set(&[30, 34, 128])),
            (1, set(&[30, 33, 128])),
            (1, set(&[18, 29, 33, 128])),
            (1, set(&[0, 33, 48])),
            (2, set(&[24, 73])),
        ];
        let bands = Bands::count(4, rock);
        assert_eq!(bands.top(1, 1), set(&[33]), "33 and 128 are as common");
        assert_eq!(bands.top(1, 2), set(&[33, 128]));
        assert_eq!(bands.top(1, 3), set(&[18, 33, 128]));
        assert_eq!(bands.top(1, 10), set(&[18, 29, 33, 128]), "no larger band");
        assert_eq!(bands.top(2, 5), set(&[24, 73]));
        assert_eq!(bands.top(3, 1), set(&[33]), "of all genres");
        assert_eq!(bands.top(1, 0), set(&[]));
        assert_eq!(Bands::default().top(1, 5), set(&[]));
    }

    #[test]
    fn the_most_common_bands_are_kept() {
        let pieces = (0..100u8).flat_map(|i| {
            let times = if i == 99 { 3 } else { 1 };
            std::iter::repeat_n((1, set(&[i])), times)
        });
        let bands = Bands::count(2, pieces);
        assert_eq!(bands.0[1].len(), MOST);
        assert_eq!(bands.0[1][0], set(&[99]));
        assert_eq!(bands.0[0], bands.0[1]);
    }

    #[test]
    fn what_was_counted_earlier_stays_where_nothing_new_was() {
        let earlier = Bands::count(3, [(1, set(&[0])), (2, set(&[40]))]);
        let both = Bands::count(4, [(2, set(&[41])), (3, set(&[60]))]).or(earlier);
        let rows = both.0[1..].iter().map(|row| row[0]);
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [set(&[0]), set(&[41]), set(&[60])]
        );
    }
}
