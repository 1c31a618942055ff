//! `famam-trainer` alone, on a terminal: what can be done with what is there.
//!
//! An answer is a command line, which is shown and run as if it had been typed. Commands and their options are
//! asked for as clap defines them, the fields of configs as their JSON has them: nothing is listed here again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use famam_shared::prompts::arguments::Arguments;
use famam_shared::prompts::fields::Fields;
use famam_shared::prompts::{choose, line};
use famam_shared::write_file;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::checkpoint::{self, LAST};
use crate::config::{self, dataset, training};
use crate::stop;

mod files;

use files::Files;

/// Where fields are described.
const FORMATS: &str = include_str!("../../docs/formats.md");

/// What can be chosen.
enum Item {
    /// A command, by its name.
    Run(String),
    /// What a file is.
    Show(PathBuf),
    /// A run that is not done.
    GoOn(PathBuf),
    /// A config for `build`.
    DatasetConfig,
    /// A config for `train`.
    TrainingConfig,
    /// Nothing more.
    Quit,
}

/// The words of the command that the user chooses to run next; `None` when they leave.
///
/// # Errors
/// What the terminal says.
pub fn ask(command: &Command) -> io::Result<Option<Vec<String>>> {
    stop::watch();
    loop {
        let files = Files::find(Path::new("."));
        let (items, words) = items(command, &files);
        let question = format!("{files}. What next?");
        let item = match choose(&question, &words, 0)? {
            Some(item) => &items[item],
            None => return Ok(None),
        };
        let done = match item {
            Item::Quit => return Ok(None),
            Item::Show(file) => Some(vec!["info".to_owned(), name(file)]),
            Item::Run(name) => arguments(command, name, &files, |arguments| arguments)?,
            Item::GoOn(run) => go_on(command, run, &files)?,
            Item::DatasetConfig => {
                let check = dataset::Config::check;
                let base = include_str!("../../configs/music_dataset/default.json");
                new_config(base, &files.dataset_configs, "my_dataset.json", check)?;
                None
            }
            Item::TrainingConfig => {
                let check = training::Config::check;
                let base = include_str!("../../configs/model_training/default.json");
                new_config(base, &files.training_configs, "my_training.json", check)?;
                None
            }
        };
        if done.is_some() {
            return Ok(done);
        }
    }
}

fn items(command: &Command, files: &Files) -> (Vec<Item>, Vec<String>) {
    let mut items = Vec::new();
    let mut add = |item, name: &str, what: &str| items.push((item, format!("{name:<12} {what}")));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let first = about.lines().next().unwrap_or_default();
        add(Item::Run(sub.get_name().to_owned()), sub.get_name(), first);
    }
    add(
        Item::DatasetConfig,
        "new config",
        "What to build a data set from, and how",
    );
    add(Item::TrainingConfig, "new config", "How to train");
    for run in &files.runs {
        add(Item::GoOn(run.clone()), "go on", &name(run));
    }
    for file in files.all() {
        add(Item::Show(file.to_owned()), "show", &name(file));
    }
    add(Item::Quit, "quit", "");
    items.into_iter().unzip()
}

/// The words of a command, its options asked for.
fn arguments(
    command: &Command,
    name: &str,
    files: &Files,
    said: impl FnOnce(Arguments) -> Arguments,
) -> io::Result<Option<Vec<String>>> {
    let Some(sub) = command.find_subcommand(name) else {
        return Ok(None);
    };
    let offers = |option: &str, _: &BTreeMap<String, Vec<String>>| files.offers(name, option);
    let mut arguments = said(Arguments::new(sub, &offers));
    arguments.ask_required()?;
    let asked = arguments.edit(&format!("famam-trainer {name}"), "(run it)")?;
    Ok(asked.then(|| [vec![name.to_owned()], arguments.words()].concat()))
}

/// The words that go on with a run: its own config is written beside its checkpoints first.
fn go_on(command: &Command, run: &Path, files: &Files) -> io::Result<Option<Vec<String>>> {
    let state = match checkpoint::read(&run.join(LAST)) {
        Ok(checkpoint) => checkpoint.state,
        Err(error) => {
            eprintln!("  {error}");
            return Ok(None);
        }
    };
    let path = run.join("config.json");
    if !write(&path, &json!(state.config)) {
        return Ok(None);
    }
    if let Some(from) = &state.from {
        eprintln!(
            "  it started from the model {}: say where that lies with --from",
            from.name
        );
    }
    arguments(command, "train", files, |arguments| {
        arguments
            .with("config", [name(&path)])
            .with("dataset", [state.data_set.path])
            .with("output", [name(run)])
    })
}

/// Asks for a config and writes it.
fn new_config<C: Serialize + DeserializeOwned, E: std::fmt::Display>(
    base: &str,
    found: &[PathBuf],
    file: &str,
    check: impl Fn(&C) -> Result<(), E>,
) -> io::Result<()> {
    let names = ["(the default)".to_owned()].into_iter();
    let names: Vec<String> = names.chain(found.iter().map(|path| name(path))).collect();
    let text = match choose("Begin with", &names, 0)? {
        None => return Ok(()),
        Some(0) => base.to_owned(),
        Some(chosen) => std::fs::read_to_string(&found[chosen - 1])?,
    };
    let parse = |text: &str| config::parse::<C>(text).map_err(|error| error.to_string());
    let read = |value: &Value| parse(&value.to_string());
    let values = match parse(&text).map(|config| json!(config)) {
        Ok(Value::Object(values)) => values,
        Ok(_) => return Ok(()),
        Err(why) => {
            eprintln!("  {why}");
            return Ok(());
        }
    };
    let mut fields = Fields {
        values,
        help: &help,
        parse: &|value| read(value).map(drop),
        check: &|value| check(&read(value)?).map_err(|error| error.to_string()),
    };
    if !fields.edit("The config", "(write it)")? {
        return Ok(());
    }
    let free = |text: &str| match Path::new(text) {
        path if text.is_empty() || path.exists() => {
            Err(format!("{text} is there: name another file"))
        }
        _ => Ok(()),
    };
    let path = line("Write it to", file, free)?;
    if write(Path::new(&path), &Value::Object(fields.values)) {
        eprintln!("  written: {path}");
    }
    Ok(())
}

/// Writes a config; why not is said.
fn write(path: &Path, config: &Value) -> bool {
    let written = write_file::write(path, format!("{config:#}\n").as_bytes());
    if let Err(error) = &written {
        eprintln!("  {error}");
    }
    written.is_ok()
}

/// What the tables of docs/formats.md say of a field: their last cell.
fn help(field: &str) -> String {
    let quoted = format!("`{field}`");
    let rows = FORMATS.lines().filter(|line| line.starts_with('|'));
    let mut cells = rows.map(|line| line.trim_matches('|').split(" | ").collect::<Vec<_>>());
    let row = cells.find(|cells| cells[0].split(", ").any(|name| name.trim() == quoted));
    let what = row
        .and_then(|cells| cells.last().copied())
        .unwrap_or_default();
    what.trim().trim_start_matches("* ").to_owned()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_described_where_formats_are() {
        assert!(help("positions_per_bar").starts_with("Grid positions of a 4/4 bar"));
        assert_eq!(help("max_tracks"), help("min_tracks"));
        assert!(
            help("output_path").starts_with("The file to write"),
            "{}",
            help("output_path")
        );
        assert_eq!(help("no_such_field"), "");
    }
}
