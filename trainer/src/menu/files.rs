//! What lies in a folder: data sets, runs, bundles, configs.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::checkpoint::LAST;
use crate::config::{dataset, training};

/// Folders below that are looked into.
const DEPTH: usize = 4;
/// Entries that are looked at, so that a large disk is not searched.
const MOST: usize = 20_000;
/// The largest config.
const CONFIG_BYTES: u64 = 1 << 16;

/// Files by what they are, judged by their names, each kind in order.
#[derive(Default)]
pub(super) struct Files {
    pub data_sets: Vec<PathBuf>,
    /// Folders with checkpoints.
    pub runs: Vec<PathBuf>,
    pub bundles: Vec<PathBuf>,
    pub dataset_configs: Vec<PathBuf>,
    pub training_configs: Vec<PathBuf>,
}

impl Files {
    /// Those below `root`; what cannot be read is passed over.
    pub(super) fn find(root: &Path) -> Self {
        let mut files = Self::default();
        let mut left = MOST;
        files.walk(root, DEPTH, &mut left);
        files
    }

    fn walk(&mut self, folder: &Path, depth: usize, left: &mut usize) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        let mut entries: Vec<_> = entries.flatten().take(*left).collect();
        *left -= entries.len();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if hidden {
                continue;
            }
            if kind.is_dir() {
                if path.join(LAST).is_file() {
                    self.runs.push(path.clone());
                }
                if depth > 0 && entry.file_name() != "target" {
                    self.walk(&path, depth - 1, left);
                }
                continue;
            }
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("h5") => self.data_sets.push(path),
                Some("onnx") => self.bundles.push(path),
                Some("json") if entry.metadata().is_ok_and(|of| of.len() <= CONFIG_BYTES) => {
                    if training::Config::load(&path).is_ok() {
                        self.training_configs.push(path);
                    } else if dataset::Config::read(&path).is_ok() {
                        self.dataset_configs.push(path);
                    }
                }
                _ => {}
            }
        }
    }

    /// What `info` can say something of.
    pub(super) fn all(&self) -> impl Iterator<Item = &Path> {
        let all = self.data_sets.iter().chain(&self.runs);
        all.chain(&self.bundles).map(PathBuf::as_path)
    }

    /// What can be chosen for an option of a command.
    pub(super) fn offers(&self, command: &str, option: &str) -> Vec<String> {
        let names = |paths: &mut dyn Iterator<Item = &Path>| {
            paths.map(|path| path.display().to_string()).collect()
        };
        let lists: Vec<&Vec<PathBuf>> = match (command, option) {
            ("build", "inputs") => vec![&self.dataset_configs],
            (_, "dataset") => vec![&self.data_sets],
            (_, "config") => vec![&self.training_configs],
            (_, "checkpoint") => vec![&self.runs],
            (_, "model" | "from") => vec![&self.bundles, &self.runs],
            (_, "file") => return names(&mut self.all()),
            _ => Vec::new(),
        };
        names(&mut lists.into_iter().flatten().map(PathBuf::as_path))
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |of: &[PathBuf], one: &str, more: &str| match of.len() {
            1 => format!("1 {one}"),
            count => format!("{count} {more}"),
        };
        write!(
            f,
            "Here: {}, {}, {}",
            count(&self.data_sets, "data set", "data sets"),
            count(&self.runs, "run", "runs"),
            count(&self.bundles, "bundle", "bundles"),
        )
    }
}
