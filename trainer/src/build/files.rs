//! The MIDI files of folders.

use std::io;
use std::path::{Path, PathBuf};

/// A MIDI file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path in the input folder, with `/` between the parts.
    pub name: String,
    /// Index of the input folder.
    pub root: usize,
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

/// The MIDI files in `roots` and all folders below, sorted by root and name, so that the order in
/// which a system lists folders does not matter. A root may be a file itself. Links to folders are
/// not followed (they may lead in circles).
pub fn find(roots: &[PathBuf]) -> Result<Vec<Found>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    for (root, path) in roots.iter().enumerate() {
        let start = found.len();
        // In full, so that the name of the folder itself is known however it is named.
        let path = &path.canonicalize().map_err(|error| (path.clone(), error))?;
        if path.is_dir() {
            walk(path, "", root, &mut found)?;
        } else {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            found.push(Found {
                path: path.clone(),
                name,
                root,
            });
        }
        found[start..].sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(found)
}

fn walk(
    folder: &Path,
    prefix: &str,
    root: usize,
    found: &mut Vec<Found>,
) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (folder.to_owned(), error);
    for entry in folder.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
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
        std::fs::create_dir_all(folder.path().join("b/c")).unwrap();
        for name in ["z.MID", "b/a.midi", "b/c/x.kar", "b/not.txt", "a.mid"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("b/circle")).unwrap();
        let found = find(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a.mid", "b/a.midi", "b/c/x.kar", "z.MID"]);
        assert_eq!((found[1].folder(), found[1].stem()), ("b", "a"));
        assert!(find(&[folder.path().join("none")]).is_err());
    }
}
