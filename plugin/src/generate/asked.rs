//! `famam generate` alone, on a terminal: its options are asked for, as clap defines them, and files written until
//! the user leaves.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use famam_plugin::editor::bundles;
use famam_plugin::model::Source;
use famam_plugin::styles::{RANDOM, Styles};
use famam_shared::encoding::controls;
use famam_shared::prompts::arguments::{Arguments, quoted};
use famam_shared::theory::Scale;

use super::{Options, run};

/// What is asked first; the rest is shown with its defaults.
const FIRST: [&str; 3] = ["model", "genre", "instruments"];

/// Asks and generates, again and again.
pub fn asked() -> Result<(), Box<dyn Error>> {
    let command = Options::command();
    let offers = |option: &str, said: &BTreeMap<String, Vec<String>>| match option {
        "model" => models(),
        "genre" => genres(said.get("model").and_then(|model| model.first())),
        "style" => styles(said.get("styles").and_then(|file| file.first())),
        "key" => keys(),
        _ => Vec::new(),
    };
    let mut arguments = Arguments::new(&command, &offers);
    arguments.ask_for(&FIRST)?;
    while arguments.edit("famam generate (Escape leaves)", "(generate)")? {
        let words = arguments.words();
        eprintln!("$ famam generate {}", quoted(&words));
        let name = ["famam generate".to_owned()];
        let ended = Options::try_parse_from(name.into_iter().chain(words))
            .map_err(Box::<dyn Error>::from)
            .and_then(|options| run(&options).map_err(Into::into));
        // What was said stays, to be mended.
        if let Err(error) = ended {
            eprintln!("famam: {error}");
        }
    }
    Ok(())
}

/// Bundles in this folder and in the user's.
fn models() -> Vec<String> {
    let here = Path::new(".").read_dir().into_iter().flatten().flatten();
    let here = here.map(|entry| PathBuf::from(entry.file_name()));
    let mut here: Vec<PathBuf> = here
        .filter(|path| path.extension().is_some_and(|ending| ending == "onnx"))
        .collect();
    here.sort();
    let all = here.into_iter().chain(bundles());
    all.map(|path| path.display().to_string()).collect()
}

/// The names of all styles, and of those of a file.
fn styles(file: Option<&String>) -> Vec<String> {
    let styles = Styles::of_user().and_then(|styles| match file {
        Some(file) => styles.with(Path::new(file)),
        None => Ok(styles),
    });
    let styles = styles.unwrap_or_else(|_| Styles::built_in());
    let names = styles.names().chain([RANDOM]);
    names.map(str::to_owned).collect()
}

/// The major and minor keys.
fn keys() -> Vec<String> {
    let keys = (0..controls::KEYS as u16).map(controls::tonality);
    keys.map(|key| Scale::from(key).to_string()).collect()
}

/// The genres of a model, or of the built-in one.
fn genres(model: Option<&String>) -> Vec<String> {
    let source = model.map_or(Source::BuiltIn, |path| Source::File(path.into()));
    let genres = source.genres();
    genres.map(|genres| genres.to_vec()).unwrap_or_default()
}
