//! Where things are: the sources, cargo's target folder, and the cache of what was fetched.

use std::env;
use std::path::{Path, PathBuf};

use crate::step::Outcome;

/// The folders that every command needs.
pub struct Workspace {
    /// The checkout.
    pub root: PathBuf,
    /// Cargo's target folder, wherever the user has put it.
    pub target: PathBuf,
    /// Fetched libraries, kept between checkouts: `famam` in the user's cache folder.
    pub cache: PathBuf,
}

impl Workspace {
    /// Finds them from the place of this program and from the environment.
    pub fn find() -> Outcome<Workspace> {
        // Set by `cargo run`; two checkouts that share a target folder share this program too.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = manifest.as_deref().and_then(Path::parent);
        let program = env::current_exe().map_err(|error| format!("where am I? {error}"))?;
        // target/debug/xtask
        let target = program.ancestors().nth(2);
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache")))
            .ok_or("no home folder to keep fetched libraries in: set XDG_CACHE_HOME")?;
        match (root, target) {
            (Some(root), Some(target)) => Ok(Workspace {
                root: root.to_owned(),
                target: target.to_owned(),
                cache: cache.join("famam"),
            }),
            _ => Err(format!(
                "{} is not in a target folder: run cargo xtask",
                program.display()
            )),
        }
    }
}
