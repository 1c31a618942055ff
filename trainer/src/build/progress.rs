//! Progress of a build: a bar in a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where progress is shown: on the error output, so that the summary stands alone on the other.
pub enum Progress {
    /// Nowhere.
    Quiet,
    /// In a terminal.
    Bar(ProgressBar),
    /// Into a file or a pipe.
    Lines {
        /// Of how many files.
        total: usize,
        /// Since when.
        start: Instant,
        /// The last line.
        last: Instant,
    },
}

impl Progress {
    /// Of `total` files.
    pub fn new(total: usize, verbose: bool) -> Self {
        if !verbose {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            let now = Instant::now();
            return Self::Lines {
                total,
                start: now,
                last: now,
            };
        }
        let bar = ProgressBar::new(total as u64);
        let template = "{bar:40} {pos} of {len} files, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// So many files are done.
    pub fn done(&mut self, files: usize) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => bar.set_position(files as u64),
            Self::Lines { total, start, last } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let rate = files as f64 / start.elapsed().as_secs_f64();
                    let left = (*total - files) as f64 / rate;
                    eprintln!("{files} of {total} files, {rate:.0} files/s, {left:.0} s left");
                }
            }
        }
    }

    /// Says a line without disturbing the bar.
    pub fn say(&self, line: &str) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Self::Lines { .. } => eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
