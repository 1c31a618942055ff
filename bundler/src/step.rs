//! The steps of a command: headings with the time that has passed, and child processes.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, iter};

use crate::workspace::Workspace;

/// What a step gives, or the sentence that ends the command.
pub type Outcome<T = ()> = Result<T, String>;

/// Prints headings.
pub struct Steps {
    start: Instant,
}

impl Steps {
    /// Starts the clock.
    pub fn start() -> Steps {
        Steps {
            start: Instant::now(),
        }
    }

    /// Says what comes now, and when.
    pub fn heading(&mut self, what: &str) {
        let seconds = self.start.elapsed().as_secs();
        eprintln!("[{:2}:{:02}] {what}", seconds / 60, seconds % 60);
    }
}

/// A child process, whose failure is a sentence.
pub struct Child(Command);

/// The cargo that runs us, in the checkout.
pub fn cargo<I: IntoIterator<Item: AsRef<OsStr>>>(workspace: &Workspace, arguments: I) -> Child {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root).args(arguments);
    command.env("CARGO_TARGET_DIR", &workspace.target);
    Child(command)
}

/// Any other program.
pub fn command(program: impl AsRef<OsStr>) -> Child {
    Child(Command::new(program))
}

impl Child {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Child {
        self.0.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Child {
        self.0.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Child {
        self.0.env(name, value);
        self
    }

    /// Puts a folder before those in a list such as `LD_LIBRARY_PATH`.
    pub fn env_path(self, name: &str, first: &Path) -> Child {
        let old = env::var_os(name).unwrap_or_default();
        let folders = iter::once(first.to_owned()).chain(env::split_paths(&old));
        match env::join_paths(folders) {
            Ok(list) => self.env(name, list),
            Err(_) => self.env(name, first),
        }
    }

    /// Runs it to its end, its output going where ours goes.
    pub fn run(mut self) -> Outcome {
        let name = format!("{:?}", self.0);
        match self.0.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{name} ended with {status}")),
            Err(error) => Err(format!("{name} did not start: {error}")),
        }
    }

    /// Runs it to its end, silent; where it fails, the sentence ends on its last word of it.
    pub fn run_quietly(mut self) -> Outcome {
        let name = self.0.get_program().to_string_lossy().into_owned();
        let output = self.0.stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{name} did not start: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rfind(|line| !line.trim().is_empty());
        Err(last.map_or_else(
            || format!("{name} ended with {}", output.status),
            str::to_owned,
        ))
    }

    /// Runs it to its end, its output going where ours goes; gives the lines of it that begin with
    /// `mark`.
    pub fn run_for(mut self, mark: &str) -> Outcome<Vec<String>> {
        let name = format!("{:?}", self.0);
        let failed = |why: &dyn Display| format!("{name}: {why}");
        let mut child = self
            .0
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut marked = Vec::new();
        for line in child
            .stdout
            .take()
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let line = line.map_err(|error| failed(&error))?;
            println!("{line}");
            marked.extend(line.strip_prefix(mark).map(str::to_owned));
        }
        let status = child.wait().map_err(|error| failed(&error))?;
        if status.success() {
            Ok(marked)
        } else {
            Err(failed(&status))
        }
    }

    /// Whether it starts and ends well, with nothing printed.
    pub fn succeeds(mut self) -> bool {
        self.0
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.0.status().is_ok_and(|status| status.success())
    }
}
