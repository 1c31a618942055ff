//! Bundles as files.

use std::path::Path;

use famam_shared::bundle::{Bundle, BundleError};

/// Why the file of a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("reading the bundle {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is none.
    #[error("the bundle {path}: {source}")]
    Bundle {
        /// The file.
        path: String,
        /// What is wrong.
        source: BundleError,
    },
}

/// Reads a bundle.
pub fn read(path: &Path) -> Result<Bundle, Error> {
    let name = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| Error::Read {
        path: name(),
        source,
    })?;
    Bundle::read(&bytes).map_err(|source| Error::Bundle {
        path: name(),
        source,
    })
}
