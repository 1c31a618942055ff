//! Which files are of which genre, and which are left out for it.

use std::collections::BTreeMap;

use famam_shared::vocabulary::Vocabulary;

use super::prepare::Reason;
use crate::config::dataset::{Config, OTHER, SmallGenres};

/// The genre of each file, decided before any is read.
pub struct Genres {
    /// All genres that files are of.
    pub vocabulary: Vocabulary,
    /// For each file its index in the vocabulary, or why it is left out.
    pub files: Vec<Result<u16, Reason>>,
}

impl Genres {
    /// Decides by the files' labels and the config's rules. Case does not tell genres apart.
    pub fn new(labels: &[Option<String>], config: &Config) -> Self {
        let among = |names: &[String], genre: &str| {
            names
                .iter()
                .any(|name| name.trim().eq_ignore_ascii_case(genre))
        };
        let accepted = |label: &Option<String>| match (label, &config.allowed_genres) {
            (None, Some(_)) => Err(Reason::NoGenre),
            (Some(genre), Some(allowed)) if !among(allowed, genre) => Err(Reason::GenreNotAllowed),
            (Some(genre), _) if among(&config.exclude_genres, genre) => Err(Reason::GenreExcluded),
            _ => Ok(()),
        };
        let mut counts: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        let any = |genre: &str| genre.eq_ignore_ascii_case("any");
        for label in labels.iter().filter(|label| accepted(label).is_ok()) {
            match label {
                Some(genre) if !any(genre) => {
                    counts.entry(genre.to_lowercase()).or_insert((0, genre)).0 += 1;
                }
                _ => {}
            }
        }
        let large = |genre: &str| {
            let count = counts
                .get(&genre.to_lowercase())
                .map_or(0, |(count, _)| *count);
            count >= config.min_files_per_genre
        };
        let (kept, small): (Vec<&str>, Vec<&str>) = counts
            .values()
            .map(|&(_, genre)| genre)
            .partition(|genre| large(genre));
        let named_so = |genre: &&str| genre.eq_ignore_ascii_case(OTHER);
        let pooled = config.small_genres == SmallGenres::Other
            && !small.is_empty()
            && !kept.iter().any(named_so);
        let kept = kept.into_iter().chain(pooled.then_some(OTHER));
        let vocabulary = Vocabulary::new(kept.map(str::to_owned));
        let indices: BTreeMap<String, u16> = vocabulary
            .genres
            .iter()
            .enumerate()
            .map(|(i, genre)| (genre.to_lowercase(), i as u16))
            .collect();
        let files = labels.iter().map(|label| {
            accepted(label)?;
            match label {
                Some(genre) if any(genre) => Ok(0),
                Some(genre) if !large(genre) => match config.small_genres {
                    SmallGenres::Any => Ok(0),
                    SmallGenres::Drop => Err(Reason::SmallGenre),
                    SmallGenres::Other => Ok(vocabulary.genre(OTHER).unwrap_or(0)),
                },
                Some(genre) => Ok(indices.get(&genre.to_lowercase()).copied().unwrap_or(0)),
                None => Ok(0),
            }
        });
        Self {
            files: files.collect(),
            vocabulary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(labels: &[&str], config: Config) -> (Vec<String>, Vec<Result<u16, Reason>>) {
        let labels: Vec<_> = labels
            .iter()
            .map(|l| (!l.is_empty()).then(|| (*l).to_owned()))
            .collect();
        let genres = Genres::new(&labels, &config);
        (genres.vocabulary.genres, genres.files)
    }

    #[test]
    fn case_does_not_tell_genres_apart() {
        let (genres, files) = decide(&["Rock", "rock", "", "Jazz", "Any"], Config::default());
        assert_eq!(genres, ["any", "Jazz", "Rock"]);
        assert_eq!(files, [Ok(2), Ok(2), Ok(0), Ok(1), Ok(0)]);
    }

    #[test]
    fn genres_are_left_out_by_name_and_by_size() {
        let config = Config {
            exclude_genres: vec!["Ragtime".to_owned()],
            min_files_per_genre: 2,
            ..Config::default()
        };
        let labels = ["rock", "ragtime", "march", "rock", ""];
        let (genres, files) = decide(&labels, config.clone());
        assert_eq!(genres, ["any", "rock"]);
        assert_eq!(
            files,
            [Ok(1), Err(Reason::GenreExcluded), Ok(0), Ok(1), Ok(0)]
        );
        let (_, files) = decide(
            &labels,
            Config {
                small_genres: SmallGenres::Drop,
                ..config
            },
        );
        assert_eq!(files[2], Err(Reason::SmallGenre));
    }

    #[test]
    fn small_genres_are_pooled_with_one_that_is_called_so() {
        let config = Config {
            min_files_per_genre: 2,
            small_genres: SmallGenres::Other,
            ..Config::default()
        };
        let labels = ["rock", "ragtime", "march", "rock", ""];
        let (genres, files) = decide(&labels, config.clone());
        assert_eq!(genres, ["any", OTHER, "rock"]);
        assert_eq!(files, [Ok(2), Ok(1), Ok(1), Ok(2), Ok(0)]);
        let (genres, files) = decide(&["rock", "other", "rock", "Other", "march"], config.clone());
        assert_eq!(genres, ["any", "other", "rock"]);
        assert_eq!(files, [Ok(2), Ok(1), Ok(2), Ok(1), Ok(1)]);
        let (genres, _) = decide(&["rock", "rock"], config);
        assert_eq!(genres, ["any", "rock"], "there is none where none is small");
    }

    #[test]
    fn allowed_genres_leave_out_files_without_one() {
        let allowed_genres = Some(vec!["Rock".to_owned()]);
        let (_, files) = decide(
            &["rock", "pop", ""],
            Config {
                allowed_genres,
                ..Config::default()
            },
        );
        assert_eq!(
            files,
            [Ok(1), Err(Reason::GenreNotAllowed), Err(Reason::NoGenre)]
        );
    }
}
