//! The options of a command, as clap knows them: an option that a command gains is asked for by itself.

use std::collections::BTreeMap;
use std::io;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use super::{Form, Row, choose, edit, line};

/// The options of a command with what is said for them.
pub struct Arguments<'a> {
    command: Command,
    said: BTreeMap<String, Vec<String>>,
    offers: Offers<'a>,
}

/// What can be chosen for an option, by its name, when this was said for others.
pub type Offers<'a> = &'a dyn Fn(&str, &BTreeMap<String, Vec<String>>) -> Vec<String>;

impl<'a> Arguments<'a> {
    /// Those of `command`, with nothing said.
    pub fn new(command: &Command, offers: Offers<'a>) -> Self {
        Self {
            command: command.clone().no_binary_name(true),
            said: BTreeMap::new(),
            offers,
        }
    }

    /// With this said for an option.
    pub fn with(mut self, name: &str, values: impl IntoIterator<Item = String>) -> Self {
        self.said
            .insert(name.to_owned(), values.into_iter().collect());
        self
    }

    /// Asks for what must be said and is not.
    pub fn ask_required(&mut self) -> io::Result<()> {
        for (row, arg) in self.asked().into_iter().enumerate() {
            if arg.is_required_set() && !self.said.contains_key(arg.get_id().as_str()) {
                self.ask(row)?;
            }
        }
        Ok(())
    }

    /// Asks for these options, by name.
    pub fn ask_for(&mut self, names: &[&str]) -> io::Result<()> {
        for name in names {
            let row = self.asked().iter().position(|arg| arg.get_id() == name);
            row.map_or(Ok(()), |row| self.ask(row))?;
        }
        Ok(())
    }

    /// Shows all options until they are gone on with (true), or left with Escape (false).
    pub fn edit(&mut self, question: &str, go: &str) -> io::Result<bool> {
        edit(self, question, go)
    }

    /// The arguments, as they would be typed.
    pub fn words(&self) -> Vec<String> {
        let (mut options, mut positional) = (Vec::new(), Vec::new());
        for arg in self.command.get_arguments() {
            let Some(values) = self.said.get(arg.get_id().as_str()) else {
                continue;
            };
            match arg.get_long() {
                None => positional.extend(values.iter().cloned()),
                Some(long) if flag(arg) => options.push(format!("--{long}")),
                Some(long) => {
                    options.extend(values.iter().map(|value| format!("--{long}={value}")))
                }
            }
        }
        if positional.iter().any(|value| value.starts_with('-')) {
            options.push("--".to_owned());
        }
        options.extend(positional);
        options
    }

    /// The options that can be asked for now: not those that another one that was said rules out.
    fn asked(&self) -> Vec<Arg> {
        let asked = self.command.get_arguments().filter(|arg| {
            let ruled_out = self.command.get_arg_conflicts_with(arg);
            let ruled_out = ruled_out.into_iter().map(|other| other.get_id());
            let mut said = ruled_out.filter(|id| self.said.contains_key(id.as_str()));
            let of_clap = matches!(
                arg.get_action(),
                ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
            );
            !of_clap && !arg.is_hide_set() && said.next().is_none()
        });
        asked.cloned().collect()
    }

    /// clap's refusal of what is said, where it is more than that something is missing.
    fn refusal(&self, missing: bool) -> Option<String> {
        match self.command.clone().try_get_matches_from(self.words()) {
            Ok(_) => None,
            Err(error) if !missing && error.kind() == ErrorKind::MissingRequiredArgument => None,
            Err(error) => {
                let told = error.to_string();
                let lines = told.lines().take_while(|line| !line.starts_with("Usage"));
                let sentence = lines.map(str::trim).collect::<Vec<_>>().join(" ");
                let sentence = sentence.trim_start_matches("error: ").trim();
                Some(sentence.replace(" For more information, try '--help'.", ""))
            }
        }
    }

    fn set(&mut self, id: &str, values: Vec<String>) {
        let values: Vec<String> = values
            .into_iter()
            .filter(|value| !value.is_empty())
            .collect();
        if values.is_empty() {
            self.said.remove(id);
        } else {
            self.said.insert(id.to_owned(), values);
        }
    }

    /// What clap says of `text` for an option.
    fn judge(&self, id: &str, text: &str) -> Result<(), String> {
        let mut with = Self {
            command: self.command.clone(),
            said: self.said.clone(),
            offers: self.offers,
        };
        with.set(id, vec![text.to_owned()]);
        with.refusal(false).map_or(Ok(()), Err)
    }
}

fn flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Whether an option takes a list, a value after the other.
fn many(arg: &Arg) -> bool {
    let values = arg
        .get_num_args()
        .is_some_and(|range| range.max_values() > 1);
    matches!(arg.get_action(), ArgAction::Append) && (values || arg.get_long().is_some())
}

fn name(arg: &Arg) -> String {
    match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => arg.get_id().to_string(),
    }
}

fn help(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What an option is where nothing is said.
fn default(arg: &Arg) -> String {
    let values = arg.get_default_values().iter();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    values.join(",")
}

impl Form for Arguments<'_> {
    fn rows(&self) -> Vec<Row> {
        let rows = self.asked().into_iter().map(|arg| {
            let said = self.said.get(arg.get_id().as_str());
            let value = match (flag(&arg), said) {
                (true, said) => ["no", "yes"][usize::from(said.is_some())].to_owned(),
                (false, Some(values)) => values.join(" "),
                (false, None) => match default(&arg) {
                    nothing if nothing.is_empty() => "–".to_owned(),
                    default => default,
                },
            };
            Row {
                name: name(&arg),
                value,
                help: help(&arg),
            }
        });
        rows.collect()
    }

    fn ask(&mut self, row: usize) -> io::Result<()> {
        let Some(arg) = self.asked().into_iter().nth(row) else {
            return Ok(());
        };
        let id = arg.get_id().as_str();
        let question = name(&arg);
        eprintln!("  {}", help(&arg));
        if flag(&arg) {
            let now = usize::from(self.said.contains_key(id));
            if let Some(chosen) = choose(&question, &["no".to_owned(), "yes".to_owned()], now)? {
                self.set(id, vec![["", "yes"][chosen].to_owned()]);
            }
            return Ok(());
        }
        let now = self.said.get(id).cloned();
        let mut values = Vec::new();
        loop {
            let shown = now.as_ref().and_then(|now| now.get(values.len()));
            let shown = shown.cloned().unwrap_or_else(|| default(&arg));
            let value = match self.ask_value(&arg, &question, &shown, values.is_empty())? {
                None => return Ok(()),
                Some(value) => value,
            };
            if value.is_empty() {
                break;
            }
            values.push(value);
            if !many(&arg) {
                break;
            }
        }
        self.set(id, values);
        Ok(())
    }

    fn wrong(&self) -> Option<String> {
        self.refusal(true)
    }
}

impl Arguments<'_> {
    /// One value: chosen where there is a choice, typed otherwise; nothing where a list ends or the default
    /// holds; `None` with Escape.
    fn ask_value(
        &self,
        arg: &Arg,
        question: &str,
        shown: &str,
        first: bool,
    ) -> io::Result<Option<String>> {
        let id = arg.get_id().as_str();
        let possible = arg.get_possible_values();
        let mut items: Vec<String> = possible
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        items.extend((self.offers)(id, &self.said));
        let needed = first && arg.is_required_set();
        if !items.is_empty() {
            let offered = items.len();
            if possible.is_empty() {
                items.push("(type another)".to_owned());
            }
            if !needed {
                let end = if first { "(the default)" } else { "(no more)" };
                items.push(end.to_owned());
            }
            let now = items.iter().position(|item| item == shown);
            let last = items.len() - 1;
            let now = now.unwrap_or(if needed { 0 } else { last });
            match choose(question, &items, now)? {
                None => return Ok(None),
                Some(item) if item < offered => return Ok(items.into_iter().nth(item)),
                Some(item) if !needed && item == last => return Ok(Some(String::new())),
                Some(_) => {}
            }
        }
        let question = if first {
            question.to_owned()
        } else {
            format!("{question} (nothing: no more)")
        };
        let check = |text: &str| match text {
            "" if needed => Err("this must be said".to_owned()),
            "" => Ok(()),
            text => self.judge(id, text),
        };
        line(&question, shown, check).map(Some)
    }
}

/// Arguments as a shell takes them.
pub fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./,:+%@~".contains(c);
    let words = words.iter().map(|word| match word {
        word if !word.is_empty() && word.chars().all(plain) => word.clone(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("draw")
            .arg(
                Arg::new("inputs")
                    .required(true)
                    .num_args(1..)
                    .action(ArgAction::Append),
            )
            .arg(
                Arg::new("bars")
                    .long("bars")
                    .value_parser(clap::value_parser!(u32).range(1..=64)),
            )
            .arg(Arg::new("int8").long("int8").action(ArgAction::SetTrue))
            .arg(Arg::new("table").long("table").conflicts_with("int8"))
    }

    #[test]
    fn words_are_read_back_as_they_were_said() {
        let command = command();
        let said = Arguments::new(&command, &|_, _| Vec::new())
            .with("inputs", ["-a b".to_owned(), "c".to_owned()])
            .with("bars", ["8".to_owned()])
            .with("int8", ["yes".to_owned()]);
        assert_eq!(said.words(), ["--bars=8", "--int8", "--", "-a b", "c"]);
        assert_eq!(said.wrong(), None);
        assert_eq!(quoted(&said.words()), "--bars=8 --int8 -- '-a b' c");
        let rows: Vec<_> = said
            .rows()
            .into_iter()
            .map(|row| (row.name, row.value))
            .collect();
        let row = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        // What --int8 rules out is not asked for.
        let expected = [
            row("inputs", "-a b c"),
            row("--bars", "8"),
            row("--int8", "yes"),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn refusals_are_claps() {
        let command = command();
        let said = Arguments::new(&command, &|_, _| Vec::new());
        assert!(said.judge("bars", "8").is_ok());
        let why = said.judge("bars", "99").unwrap_err();
        assert!(why.contains("99 is not in 1..=64"), "{why}");
        let why = said.wrong().unwrap();
        assert!(why.contains("required") && why.contains("inputs"), "{why}");
    }
}
