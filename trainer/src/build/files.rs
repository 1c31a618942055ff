//! The MIDI files that are read: of folders, by glob patterns, by lists.

use std::path::{Path, PathBuf};
use std::{fs, io};

use glob::{MatchOptions, Pattern};

/// A MIDI file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path in the input folder, with `/` between the parts.
    pub name: String,
    /// Index of the input folder, see [`Inputs::folders`].
    pub root: usize,
}

/// What inputs hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The input folders, each once: those that were named, what stands before the first wildcard
    /// of a pattern, and where lists and single files lie.
    pub folders: Vec<PathBuf>,
    /// The files, by input and then by name.
    pub files: Vec<Found>,
}

/// Why an input holds nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or a folder or list cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no pattern.
    #[error(
        "the pattern {pattern}: {source}; a name with such a character in it goes into a list of files (.txt)"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
}

impl Found {
    /// The name of the folder that it lies in, where that is known.
    pub fn folder(&self) -> &str {
        let folder = self.path.parent().and_then(Path::file_name);
        folder
            .and_then(|folder| folder.to_str())
            .unwrap_or_default()
    }

    /// Its file name without the ending.
    pub fn stem(&self) -> &str {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file.rsplit_once('.').map_or(file, |(stem, _)| stem)
    }
}

/// The files of `inputs`, in one order whatever the order in which a system lists folders: those in
/// folders with all that is below (links to folders are not followed: they may lead in circles),
/// those that a glob pattern names (`*`, `?`, `[a-c]`, and `**` for any folders), those of a list
/// (`.txt`, a path a line, seen from the list's folder), and single ones.
pub fn find(inputs: &[PathBuf]) -> Result<Inputs, Error> {
    let mut found = Inputs::default();
    for input in inputs {
        let start = found.files.len();
        let pattern = input.to_str().filter(|path| path.contains(['*', '?', '[']));
        match pattern {
            Some(pattern) if !input.exists() => found.matching(pattern)?,
            _ => found.named(input)?,
        }
        found.files[start..].sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(found)
}

impl Inputs {
    /// Index of an input folder.
    fn root(&mut self, folder: &Path) -> usize {
        // That of the last input comes first: a shell may name thousands of files of a folder.
        let known = self.folders.iter().rposition(|known| known == folder);
        known.unwrap_or_else(|| {
            self.folders.push(folder.to_owned());
            self.folders.len() - 1
        })
    }

    /// Takes in what a pattern names.
    fn matching(&mut self, pattern: &str) -> Result<(), Error> {
        let parts: Vec<&str> = pattern.split('/').collect();
        let plain = parts
            .iter()
            .take_while(|part| !part.contains(['*', '?', '[']))
            .count();
        let folder = match parts[..plain].join("/") {
            folder if folder.is_empty() && plain == 0 => ".".to_owned(),
            folder => folder + "/",
        };
        let names = Pattern::new(&parts[plain..].join("/")).map_err(|source| Error::Pattern {
            pattern: pattern.to_owned(),
            source,
        })?;
        let options = MatchOptions {
            require_literal_separator: true,
            ..MatchOptions::new()
        };
        let start = self.files.len();
        self.named(Path::new(&folder))?;
        let all = self.files.split_off(start);
        let matching = |file: &Found| names.matches_with(&file.name, options);
        self.files.extend(all.into_iter().filter(matching));
        Ok(())
    }

    /// Takes in a folder, a list or a file.
    fn named(&mut self, input: &Path) -> Result<(), Error> {
        // In full, so that the name of the folder itself is known however it is named.
        let path = input.canonicalize().map_err(failed(input))?;
        if path.is_dir() {
            let root = self.root(&path);
            return walk(&path, "", root, &mut self.files);
        }
        let root = self.root(path.parent().unwrap_or(Path::new("/")));
        if path.extension().is_some_and(|ending| ending == "txt") {
            return self.listed(&path, root);
        }
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        self.files.push(Found { path, name, root });
        Ok(())
    }

    /// Takes in the files of a list, each once.
    fn listed(&mut self, list: &Path, root: usize) -> Result<(), Error> {
        let text = fs::read_to_string(list).map_err(failed(list))?;
        let folder = &self.folders[root];
        let mut files: Vec<Found> = text
            .trim_start_matches('\u{feff}')
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                let path = folder.join(line);
                let inside = path.strip_prefix(folder).unwrap_or(&path);
                // Without the dots of `./a.mid`.
                let inside: PathBuf = inside.components().collect();
                let name = inside.to_string_lossy().into_owned();
                Found { path, name, root }
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        self.files.append(&mut files);
        Ok(())
    }
}

/// What became of reading `path`.
fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Read {
        path: path.clone(),
        source,
    }
}

fn walk(folder: &Path, prefix: &str, root: usize, found: &mut Vec<Found>) -> Result<(), Error> {
    for entry in folder.read_dir().map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let kind = entry.file_type().map_err(failed(folder))?;
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), root, found)?;
        } else if is_midi(&path) && (kind.is_file() || path.is_file()) {
            found.push(Found { path, name, root });
        }
    }
    Ok(())
}

fn is_midi(path: &Path) -> bool {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    ["mid", "midi", "kar"]
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known))
}

/// A name without the suffix that tells versions of one song apart: `Song.2`, `Song (2)`,
/// `Song_v2`, `Song-v2`, `Song v2`.
pub fn without_version(stem: &str) -> &str {
    let bare = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    if bare.len() < stem.len() {
        for suffix in [".", "_v", "-v", " v"] {
            if let Some(name) = bare.strip_suffix(suffix).filter(|name| !name.is_empty()) {
                return name;
            }
        }
    }
    let inside = stem
        .strip_suffix(')')
        .and_then(|open| open.rsplit_once(" ("));
    match inside {
        Some((name, digits))
            if !name.is_empty()
                && !digits.is_empty()
                && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_suffixes_go_and_numbers_stay() {
        for (stem, name) in [
            ("Song.1", "Song"),
            ("Song.12", "Song"),
            ("Song (3)", "Song"),
            ("Song_v2", "Song"),
            ("Song-v10", "Song"),
            ("Prelude 2", "Prelude 2"),
            ("Prelude-2", "Prelude-2"),
            ("track_01", "track_01"),
            ("1999", "1999"),
            (".5", ".5"),
            ("()", "()"),
            ("Song (live)", "Song (live)"),
            ("", ""),
        ] {
            assert_eq!(without_version(stem), name, "{stem}");
        }
    }

    #[test]
    fn files_are_found_below_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        for name in ["z.MID", "b/a.midi", "b/c/x.kar", "b/not.txt", "a.mid"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("b/circle")).unwrap();
        let found = find(&[folder.path().to_owned()]).unwrap().files;
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a.mid", "b/a.midi", "b/c/x.kar", "z.MID"]);
        assert_eq!((found[1].folder(), found[1].stem()), ("b", "a"));
        assert!(find(&[folder.path().join("none")]).is_err());
    }

    #[test]
    fn patterns_and_lists_name_the_files_that_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("rock/live")).unwrap();
        fs::create_dir_all(root.join("jazz")).unwrap();
        let all = [
            "jazz/a.mid",
            "rock/a-1.mid",
            "rock/b-2.mid",
            "rock/live/a.kar",
            "top.mid",
        ];
        for name in all {
            fs::write(root.join(name), b"").unwrap();
        }
        let found = |inputs: &[&str]| {
            let inputs: Vec<PathBuf> = inputs.iter().map(|input| root.join(input)).collect();
            find(&inputs)
        };
        for (pattern, names, base) in [
            ("*", &["top.mid"][..], ""),
            (
                "*/*.mid",
                &["jazz/a.mid", "rock/a-1.mid", "rock/b-2.mid"],
                "",
            ),
            (
                "**/a*",
                &["jazz/a.mid", "rock/a-1.mid", "rock/live/a.kar"],
                "",
            ),
            ("rock/?-[1].mid", &["a-1.mid"], "rock"),
            ("rock/**/*.kar", &["live/a.kar"], "rock"),
            ("rock/*.txt", &[], "rock"),
        ] {
            let inputs = found(&[pattern]).unwrap();
            let seen: Vec<_> = inputs.files.iter().map(|file| &file.name).collect();
            assert_eq!(seen, names, "{pattern}");
            assert_eq!(inputs.folders, [root.join(base)], "{pattern}");
            assert!(inputs.files.iter().all(|file| file.path.is_file()));
        }
        let message = found(&["rock/[.mid"]).unwrap_err().to_string();
        assert!(message.contains("rock/[.mid"), "{message}");

        let outside = root.join("jazz/a.mid");
        let lines = format!(
            "live/a.kar\r\n\n./b-2.mid\nb-2.mid\nnone.mid\n{}\n",
            outside.display()
        );
        fs::write(root.join("rock/some.txt"), lines).unwrap();
        let inputs = found(&["rock/some.txt", "rock/a-1.mid", "jazz"]).unwrap();
        let seen: Vec<_> = inputs
            .files
            .iter()
            .map(|file| (file.root, file.name.as_str()))
            .collect();
        let outside = outside.display().to_string();
        let named = [
            (0, outside.as_str()),
            (0, "b-2.mid"),
            (0, "live/a.kar"),
            (0, "none.mid"),
            (0, "a-1.mid"),
            (1, "a.mid"),
        ];
        assert_eq!(seen, named);
        assert_eq!(inputs.folders, [root.join("rock"), root.join("jazz")]);
        assert!(found(&["rock/other.txt"]).is_err());
    }
}
