//! What a program prints on standard output.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints `text` and ends the line. Whoever reads it may stop before its end, as `head` does; that it cannot be
/// written otherwise, as to a full disk, is said on standard error.
pub fn say(text: impl Display) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("note: what should stand here cannot be written: {error}");
    }
}
