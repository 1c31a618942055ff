//! Files that a user owns are written whole or not at all: beside, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a file was not written. What stood there before is untouched.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; check that its folder exists, is writable and has space", path.display())]
pub struct WriteError {
    /// The file that was asked for.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Puts `bytes` into the file `path`, replacing what was there only when all of them are on disk.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), WriteError> {
    write_with(path, |file| file.write_all(bytes))
}

/// Lets `fill` write the file `path`, and replaces what was there only when that succeeded and all
/// is on disk.
pub fn write_with(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), WriteError> {
    let path = path.as_ref();
    let beside = beside(path);
    let written = File::create_new(&beside).and_then(|mut file| {
        fill(&mut file)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&beside, path)?;
        sync_folder(path)
    });
    written.map_err(|source| {
        // Nothing half-written stays; if even this fails, the first error is the one to tell.
        let _ = fs::remove_file(&beside);
        WriteError {
            path: path.to_owned(),
            source,
        }
    })
}

/// A name in the same folder that no other write uses now.
fn beside(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{write}.part", process::id()));
    path.with_file_name(name)
}

/// A rename outlives a power cut once its folder is on disk.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("song.mid");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        let message = failed.unwrap_err().to_string();
        assert!(
            message.contains("song.mid") && message.contains("no more"),
            "{message}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = write(folder.path().join("no/song.mid"), b"x")
            .unwrap_err()
            .to_string();
        assert!(message.contains("song.mid"), "{message}");
    }
}
