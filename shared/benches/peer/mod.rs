//! A Python program that does the same work when asked, to be measured in turns with ours.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The process. It prints `ready`, then a number for each line that it reads.
pub struct Peer {
    process: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `program` with one argument in the Python that `FAMAM_PYTHON` names (`python3` where
    /// it is not set), which must have `needed`.
    pub fn start(program: &str, argument: &OsStr, needed: &str) -> Result<Self, Box<dyn Error>> {
        let python = env::var_os("FAMAM_PYTHON").unwrap_or_else(|| "python3".into());
        let mut process = Command::new(python)
            .args(["-c", program])
            .arg(argument)
            // Its libraries are its own.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take().ok_or("no input")?;
        let answer = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut peer = Self {
            process,
            ask,
            answer,
        };
        match peer.line()?.as_str() {
            "ready" => Ok(peer),
            _ => Err(format!("set FAMAM_PYTHON to a Python with {needed}").into()),
        }
    }

    /// Has it do its work; the number that it answers.
    pub fn ask(&mut self, line: &str) -> Result<f64, Box<dyn Error>> {
        writeln!(self.ask, "{line}")?;
        Ok(self.line()?.parse()?)
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The benchmark is over; how the peer ends does not matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
