//! Questions on a terminal. What there is to ask is never written down a second time: options of commands come
//! from clap's definitions ([`arguments`]), fields of configs from their JSON ([`fields`]).
//!
//! A form is a list of values: one is picked and changed, or all are asked in turn, until it is gone on with.

use std::io::{self, IsTerminal};

use dialoguer::console::Term;
use dialoguer::theme::ColorfulTheme;
use dialoguer::{FuzzySelect, Input};

pub mod arguments;
pub mod fields;

/// Columns beside an item: the mark of the one that is chosen, and a rest.
const MARGIN: usize = 4;

/// Whether there is somebody to ask.
pub fn terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The index of the item that is chosen, which typing narrows down; `None` with Escape.
pub fn choose(question: &str, items: &[String], first: usize) -> io::Result<Option<usize>> {
    let theme = ColorfulTheme::default();
    // An item is a line: one that were broken would not be drawn over.
    let width = usize::from(Term::stderr().size().1).saturating_sub(MARGIN);
    let items = items
        .iter()
        .map(|item| item.chars().take(width.max(MARGIN)).collect::<String>());
    let select = FuzzySelect::with_theme(&theme)
        .with_prompt(question)
        .items(items)
        .default(first)
        .max_length(20);
    select.interact_opt().map_err(interrupted)
}

/// A line of text, with `default` to be changed, that `check` accepts.
pub fn line(
    question: &str,
    default: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> io::Result<String> {
    let theme = ColorfulTheme::default();
    let input = Input::<String>::with_theme(&theme)
        .with_prompt(question)
        .with_initial_text(default)
        .allow_empty(true)
        .validate_with(|text: &String| check(text.trim()));
    Ok(input
        .interact_text()
        .map_err(interrupted)?
        .trim()
        .to_owned())
}

fn interrupted(dialoguer::Error::IO(error): dialoguer::Error) -> io::Error {
    error
}

/// A value that a form shows.
struct Row {
    name: String,
    value: String,
    help: String,
}

/// A list of values that can be changed.
trait Form {
    /// The values, in the order in which they are asked.
    fn rows(&self) -> Vec<Row>;
    /// Asks for one of them.
    fn ask(&mut self, row: usize) -> io::Result<()>;
    /// What is wrong with all of them together.
    fn wrong(&self) -> Option<String>;
}

/// Columns of a value that others are lined up with.
const WIDEST: usize = 32;

/// Shows the form until it is gone on with (true), or left with Escape (false).
fn edit(form: &mut impl Form, question: &str, go: &str) -> io::Result<bool> {
    let mut at = 0;
    loop {
        let rows = form.rows();
        let widest = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0).min(WIDEST);
        let (names, values) = (widest(|row| row.name.len()), widest(|row| row.value.len()));
        let shown = rows
            .iter()
            .map(|Row { name, value, help }| format!("{name:names$}  {value:values$}  {help}"));
        let mut items = vec![go.to_owned()];
        if !rows.is_empty() {
            items.push("(ask for all of these in turn)".to_owned());
        }
        items.extend(shown);
        match choose(question, &items, at)? {
            None => return Ok(false),
            Some(0) => match form.wrong() {
                None => return Ok(true),
                Some(why) => eprintln!("  {why}"),
            },
            Some(1) => (0..rows.len()).try_for_each(|row| form.ask(row))?,
            Some(item) => form.ask(item - 2)?,
        }
        at = 0;
    }
}
