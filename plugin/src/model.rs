//! Models: the one that is compiled in, and those that the user loads.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use famam_shared::bundle::{Bundle, BundleError, MAX_BYTES};

/// The model that is compiled in.
static BUILT_IN: &[u8] = include_bytes!("../../models/famam.onnx");

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// The one that is compiled in.
    #[default]
    BuiltIn,
    /// A bundle's file.
    File(PathBuf),
}

/// Why a model could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read the model {}: {source}; load it again, or another one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no bundle.
    #[error("cannot use the model {}: {source}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// The model that is compiled in is damaged.
    #[error("the built-in model cannot be used: {0}; install Famam again")]
    BuiltIn(BundleError),
}

impl Source {
    /// Opens the bundle.
    pub fn open(&self) -> Result<Bundle, ModelError> {
        match self {
            Source::BuiltIn => Bundle::read(BUILT_IN).map_err(ModelError::BuiltIn),
            Source::File(path) => {
                let bytes = read(path).map_err(|source| ModelError::Read {
                    path: path.clone(),
                    source,
                })?;
                Bundle::read(&bytes).map_err(|source| ModelError::Bundle {
                    path: path.clone(),
                    source,
                })
            }
        }
    }

    /// The genres of the bundle, if it opens.
    pub fn genres(&self) -> Option<Arc<Vec<String>>> {
        static GENRES: OnceLock<Option<Arc<Vec<String>>>> = OnceLock::new();
        let read = || Some(Arc::new(self.open().ok()?.manifest.vocabulary.genres));
        match self {
            Source::BuiltIn => GENRES.get_or_init(read).clone(),
            Source::File(_) => read(),
        }
    }
}

/// Reads a file that a song names: never a device or a pipe, never more than a bundle can hold.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() || about.len() > MAX_BYTES as u64 {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "it is not a file that can be a model",
        ));
    }
    std::fs::read(path)
}
