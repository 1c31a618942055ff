//! The vocabulary of labels: *any* and the genres, in the order of their indices.

use serde::{Deserialize, Serialize};

/// Genres by index; index 0 is *any*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Names, `"any"` first.
    pub genres: Vec<String>,
}

impl Vocabulary {
    /// *Any* and `genres`, sorted, each once.
    pub fn new(genres: impl IntoIterator<Item = String>) -> Self {
        let mut genres: Vec<String> = genres.into_iter().filter(|genre| genre != "any").collect();
        genres.sort();
        genres.dedup();
        genres.insert(0, "any".to_owned());
        Self { genres }
    }

    /// The index of `genre`, whatever its case.
    pub fn genre(&self, genre: &str) -> Option<u16> {
        self.genres.iter().position(|name| name.eq_ignore_ascii_case(genre)).map(|i| i as u16)
    }
}
