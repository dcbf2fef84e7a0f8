//! The two ways out: results go to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};

use crate::error::Report;

/// Bytes to standard output. A reader that has gone (`| head`) is no failure.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Report> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Report::failed(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Text to standard output, as it is.
pub(crate) fn text(text: &str) -> Result<(), Report> {
    bytes(text.as_bytes())
}

/// A line to standard output.
pub(crate) fn line(line: &str) -> Result<(), Report> {
    text(&format!("{line}\n"))
}

/// Text to standard output that ends with a newline whatever it had.
pub(crate) fn closed_text(value: &str) -> Result<(), Report> {
    if value.is_empty() || value.ends_with('\n') {
        text(value)
    } else {
        line(value)
    }
}

/// JSON to standard output: for people with indentation, for programs on one line.
pub(crate) fn json(value: &serde_json::Value) -> Result<(), Report> {
    if io::stdout().is_terminal() {
        line(&format!("{value:#}"))
    } else {
        line(&value.to_string())
    }
}

/// Text to standard error. There is nowhere to say that it failed.
pub(crate) fn aside(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Does a person look at standard output?
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// How many characters a line of standard output has, when it is a terminal.
pub(crate) fn terminal_width() -> Option<usize> {
    let (columns, _) = wharf_platform::terminal::size_of_stdout()?;
    Some(columns.into())
}
