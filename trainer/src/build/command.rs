//! The command line of `famam-trainer build`.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Error, build};
use crate::config::dataset::Config;

/// Builds a data set (one HDF5 file) from folders of MIDI files.
///
///   famam-trainer build CONFIG.json             what the config says
///   famam-trainer build DIR... -o FILE.h5       every .mid, .midi and .kar below, with defaults
///   famam-trainer build CONFIG.json DIR...      the config, with other input folders
///
/// A config is Famam's MusicDatasetConfig as JSON; its fields and ours are in docs/formats.md, and
/// examples in configs/music_dataset. Genres come from genre.tsv in an input folder (a line for
/// each file: path, tab, genre), from the config's genre_tsv_path, or with "genre_from": "folder"
/// from the names of the folders. Songs are split into train, validation and test; files of one
/// song stay together: by song.tsv in an input folder (path, tab, song) where there is one, else
/// by folder and name, and by content always.
///
/// Files that cannot be read are named, counted and left out. No file is ever changed. The data
/// set appears when it is whole; Ctrl+C leaves nothing behind. The same files and config give the
/// same bytes.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A config (.json), folders of MIDI files, or a config and folders in place of its own.
    #[arg(required = true, value_name = "CONFIG.json | DIR")]
    pub inputs: Vec<PathBuf>,
    /// The data set to write, in place of the config's output_path.
    #[arg(short, long, value_name = "FILE.h5")]
    pub output: Option<PathBuf>,
    /// Threads that read and encode [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
}

/// What `build DIR…` does where no config says otherwise.
const DEFAULT_CONFIG: &str = include_str!("../../../configs/music_dataset/default.json");

impl Args {
    /// The config that they ask for.
    fn config(&self) -> Result<Config, crate::config::dataset::Error> {
        let (config, folders) = match self.inputs.split_first() {
            Some((path, folders)) if path.extension().is_some_and(|ending| ending == "json") => {
                (Config::read(path)?, folders)
            }
            _ => (
                Config::parse(DEFAULT_CONFIG, "of the defaults")?,
                &self.inputs[..],
            ),
        };
        let own_folders = if folders.is_empty() {
            config.input_dirs
        } else {
            folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect()
        };
        let output = self
            .output
            .as_ref()
            .map(|output| output.display().to_string());
        Ok(Config {
            input_dirs: own_folders,
            output_path: output.unwrap_or(config.output_path),
            ..config
        })
    }
}

/// Runs `famam-trainer build`.
pub fn run(args: &Args) -> Result<(), Error> {
    let config = args.config()?;
    let cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    if let Err(error) = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)) {
        eprintln!("note: Ctrl+C will leave a hidden file beside the data set ({error})");
    }
    let summary = build(&config, args.threads.unwrap_or(cores).get(), &stop)?;
    if config.verbose {
        println!("{summary}\nwritten     {}", config.output_path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn args(inputs: &[&str], output: Option<&str>) -> Args {
        let inputs = inputs.iter().map(PathBuf::from).collect();
        Args {
            inputs,
            output: output.map(PathBuf::from),
            threads: None,
        }
    }

    #[test]
    fn folders_alone_take_the_defaults() {
        let config = args(&["a", "b"], Some("x.h5")).config().unwrap();
        assert_eq!(config.input_dirs, ["a", "b"]);
        assert_eq!(config.output_path, "x.h5");
        assert_eq!(config.segment_bars, Some(8));
        config.check().unwrap();
    }

    #[test]
    fn folders_replace_those_of_a_config() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        fs::write(
            &path,
            r#"{"input_dirs": ["own"], "output_path": "own.h5", "min_tracks": 3}"#,
        )
        .unwrap();
        let path = path.to_str().unwrap();
        let config = args(&[path], None).config().unwrap();
        assert_eq!(
            (config.input_dirs, config.output_path),
            (vec!["own".into()], "own.h5".into())
        );
        let config = args(&[path, "other"], None).config().unwrap();
        assert_eq!(
            (config.input_dirs, config.min_tracks),
            (vec!["other".into()], 3)
        );
    }
}
