//! Every command of `docs/generation.md`, one after another in one folder.

use std::path::Path;

use crate::program::famam;

/// The commands of a page: the lines of its shells, without comments.
fn commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut shell = false;
    let joined = page.replace("\\\n", " ");
    for line in joined.lines() {
        match line {
            "```sh" => shell = true,
            "```" => shell = false,
            line if shell => {
                let command = line.split(" #").next().unwrap_or_default();
                commands.push(command.trim().replace('"', "'"));
            }
            _ => {}
        }
    }
    commands
}

#[test]
fn every_command_of_the_page_writes_music() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/generation.md");
    let page = std::fs::read_to_string(page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let commands = commands(&page);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        // What is printed goes on into a file.
        let (command, tokens) = match command.split_once(" | grep '^[0-9]' > ") {
            Some((command, file)) => (command.to_owned(), Some(file.to_owned())),
            None => (command, None),
        };
        let output = famam(here, command.strip_prefix("famam generate ").unwrap());
        assert!(output.status.success(), "{command}: {output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.contains(" notes") && !told.contains(" 0 notes"),
            "{command}: {told}"
        );
        if let Some(file) = tokens {
            let number = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
            std::fs::write(here.join(file), told.lines().find(number).unwrap()).unwrap();
        }
    }
}
