//! The command line of `famam-trainer build`.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;

use super::{Error, build};
use crate::config::dataset::{
    ClassName, Config, DropDuplicates, GenreFrom, MergeClasses, SmallGenres,
};
use crate::parallel;

/// Builds a data set (one HDF5 file) from folders of MIDI files.
///
///   famam-trainer build CONFIG.json             what the config says
///   famam-trainer build DIR... -o FILE.h5       every .mid, .midi and .kar below, with defaults
///   famam-trainer build 'a/**/x*.mid' b.txt ... what a pattern names, and a list of files
///   famam-trainer build CONFIG.json DIR...      the config, with other input folders
///
/// A config is Famam's MusicDatasetConfig as JSON; its fields and ours are in docs/formats.md, and
/// examples in configs/music_dataset. Genres come from genre.tsv in an input folder (a line for
/// each file: path, tab, genre), from the config's genre_tsv_path, or by --genre-from from the names
/// of folders or files. Songs are split into train, validation and test; files of one song stay
/// together: by song.tsv in an input folder (path, tab, song) where there is one, else by folder
/// and name, and by content always, whatever its key, tempo and instruments.
///
/// An option comes before the config's field of its name.
///
/// Files that cannot be read are named, counted and left out. No file is ever changed. The data
/// set appears when it is whole; Ctrl+C leaves nothing behind. The same files and config give the
/// same bytes.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A config (.json), or folders of MIDI files, glob patterns in quotes and lists of files (.txt,
    /// a path a line), or a config and these in place of its own.
    #[arg(required = true, value_name = "CONFIG.json | DIR | PATTERN | LIST.txt")]
    pub inputs: Vec<PathBuf>,
    /// The data set to write, in place of the config's output_path.
    #[arg(short, long, value_name = "FILE.h5")]
    pub output: Option<PathBuf>,
    /// Threads that read and encode [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
    /// What to leave out and what to change.
    #[command(flatten)]
    pub choice: Choice,
}

/// Fields of the config that are handy on a command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Choice {
    /// Leaves out files that lack one of these classes of instruments (numbers 0 to 16 or names)
    #[arg(long, value_name = "CLASS,...", value_delimiter = ',')]
    pub required_classes: Option<Vec<ClassName>>,
    /// Leaves out the notes of all other classes
    #[arg(long, value_name = "CLASS,...", value_delimiter = ',')]
    pub allowed_classes: Option<Vec<ClassName>>,
    /// Leaves out files with fewer quarters from the first note to the end of the last
    #[arg(long, value_name = "QUARTERS")]
    pub min_beats: Option<f64>,
    /// Reads a random subset of the songs: a share below 1, or a number
    #[arg(long, value_name = "SHARE | SONGS")]
    pub subset: Option<f64>,
    /// Seed of the split and the subset
    #[arg(long, value_name = "N")]
    pub random_seed: Option<u64>,
    /// Gives every instrument the first program of its class
    #[arg(long)]
    pub merge_classes: bool,
    /// Leaves out the empty bars before the music
    #[arg(long)]
    pub trim_silence: bool,
    /// Leaves out duplicates of earlier files
    #[arg(long, value_name = "none | exact | near", value_parser = word::<DropDuplicates>)]
    pub drop_duplicates: Option<DropDuplicates>,
    /// Where genres are said that no table says
    #[arg(long, value_name = "table | folder | composer | prefix", value_parser = word::<GenreFrom>)]
    pub genre_from: Option<GenreFrom>,
    /// A genre with fewer files is small
    #[arg(long, value_name = "N")]
    pub min_files_per_genre: Option<usize>,
    /// What happens to the files of a small genre
    #[arg(long, value_name = "any | drop | other", value_parser = word::<SmallGenres>)]
    pub small_genres: Option<SmallGenres>,
}

/// A word of the config, with the config's own refusal.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
}

impl Choice {
    /// The config with what was chosen here.
    fn over(&self, config: Config) -> Config {
        let choice = self.clone();
        let merge_classes = match choice.merge_classes {
            true => MergeClasses::All(true),
            false => config.merge_classes,
        };
        Config {
            required_classes: choice.required_classes.unwrap_or(config.required_classes),
            allowed_classes: choice.allowed_classes.or(config.allowed_classes),
            min_beats: choice.min_beats.or(config.min_beats),
            subset: choice.subset.or(config.subset),
            random_seed: choice.random_seed.or(config.random_seed),
            merge_classes,
            trim_silence: choice.trim_silence || config.trim_silence,
            drop_duplicates: choice.drop_duplicates.unwrap_or(config.drop_duplicates),
            genre_from: choice.genre_from.unwrap_or(config.genre_from),
            min_files_per_genre: choice
                .min_files_per_genre
                .unwrap_or(config.min_files_per_genre),
            small_genres: choice.small_genres.unwrap_or(config.small_genres),
            ..config
        }
    }
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
        Ok(self.choice.over(Config {
            input_dirs: own_folders,
            output_path: output.unwrap_or(config.output_path),
            ..config
        }))
    }
}

/// Runs `famam-trainer build`.
pub fn run(args: &Args) -> Result<(), Error> {
    let config = args.config()?;
    let threads = args.threads.map_or_else(parallel::cores, NonZero::get);
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    if let Err(error) = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)) {
        eprintln!("note: Ctrl+C will leave a hidden file beside the data set ({error})");
    }
    let summary = build(&config, threads, &stop)?;
    if config.verbose {
        println!("{summary}\nwritten     {}", config.output_path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn args(inputs: &[&str], output: Option<&str>) -> Args {
        let inputs = inputs.iter().map(PathBuf::from).collect();
        Args {
            inputs,
            output: output.map(PathBuf::from),
            threads: None,
            choice: Choice::default(),
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
    fn options_come_before_the_fields_of_their_names() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let parse = |options: &[&str]| {
            let line = ["build", "midi"].iter().chain(options);
            <Line as clap::Parser>::try_parse_from(line).map(|line| line.args)
        };
        let plain = parse(&[]).unwrap().config().unwrap();
        let as_json = |config: &Config| serde_json::to_value(config).unwrap();
        for (options, value) in [
            (&["--required-classes", "4,piano"][..], json!([4, "piano"])),
            (
                &["--allowed-classes", "chromatic percussion"],
                json!(["chromatic percussion"]),
            ),
            (&["--min-beats", "16"], json!(16.0)),
            (&["--subset", "0.5"], json!(0.5)),
            (&["--random-seed", "9"], json!(9)),
            (&["--merge-classes"], json!(true)),
            (&["--trim-silence"], json!(true)),
            (&["--drop-duplicates", "near"], json!("near")),
            (&["--genre-from", "composer"], json!("composer")),
            (&["--min-files-per-genre", "5"], json!(5)),
            (&["--small-genres", "other"], json!("other")),
        ] {
            let field = options[0].trim_start_matches('-').replace('-', "_");
            let config = parse(options).unwrap().config().unwrap();
            config.check().unwrap();
            let mut expected = as_json(&plain);
            assert_ne!(expected[&field], value, "{field}");
            expected[&field] = value;
            assert_eq!(as_json(&config), expected, "{field}");
        }
        let message = parse(&["--small-genres", "pool"])
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains("`other`"), "{message}");
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
