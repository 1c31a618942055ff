//! Tables beside music: `genre.tsv` and `song.tsv`, a line for each file, `path<TAB>label`.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::files::{Found, without_version};

/// Labels by path (`folder/file.mid`), or as Famam has them by `Artist/Song`.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    labels: HashMap<String, String>,
}

impl Labels {
    /// Reads a table. Lines without a tab say nothing; of two lines for one file the later holds.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut labels = HashMap::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let mut columns = line.split('\t').map(str::trim);
            if let (Some(name), Some(label)) = (columns.next(), columns.next())
                && !label.is_empty()
            {
                labels.insert(name.replace('\\', "/"), label.to_owned());
            }
        }
        Ok(Self { labels })
    }

    /// Reads a table where there is one.
    pub fn read_if_there(path: &Path) -> io::Result<Self> {
        if path.is_file() {
            Self::read(path)
        } else {
            Ok(Self::default())
        }
    }

    /// The label of a file: by its path in the input folder, or by the folder that it lies in and
    /// its name without ending and version.
    pub fn of(&self, file: &Found) -> Option<&str> {
        if self.labels.is_empty() {
            return None;
        }
        let by_song = |stem| self.labels.get(&format!("{}/{stem}", file.folder()));
        let label = self.labels.get(&file.name);
        let label = label.or_else(|| by_song(without_version(file.stem())));
        label.or_else(|| by_song(file.stem())).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_path_and_by_artist_and_song() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("genre.tsv");
        let lines = "\u{feff}x/rock/a-1.mid\trock\r\nABBA/Waterloo\tPop\nno tab\nABBA/Fernando\t\n";
        std::fs::write(&table, lines).unwrap();
        let labels = Labels::read(&table).unwrap();
        let of = |name: &str| {
            let path = Path::new("/music").join(name);
            labels
                .of(&Found {
                    path,
                    name: name.to_owned(),
                    root: 0,
                })
                .map(str::to_owned)
        };
        assert_eq!(of("x/rock/a-1.mid").as_deref(), Some("rock"));
        assert_eq!(of("ABBA/Waterloo.mid").as_deref(), Some("Pop"));
        assert_eq!(of("midi/ABBA/Waterloo.3.mid").as_deref(), Some("Pop"));
        assert_eq!(of("ABBA/Fernando.mid"), None);
        assert!(
            Labels::read_if_there(&folder.path().join("none.tsv"))
                .unwrap()
                .labels
                .is_empty()
        );
    }
}
