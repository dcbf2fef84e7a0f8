//! The user's terminal.

use std::io::{self, IsTerminal};

/// Columns and rows of the terminal that standard output is, when it is one that knows.
pub fn size_of_stdout() -> Option<(u16, u16)> {
    #[cfg(unix)]
    {
        size(io::stdout())
    }
    #[cfg(not(unix))]
    None
}

/// The same of standard error.
pub fn size_of_stderr() -> Option<(u16, u16)> {
    #[cfg(unix)]
    {
        size(io::stderr())
    }
    #[cfg(not(unix))]
    None
}

#[cfg(unix)]
fn size(terminal: impl std::os::fd::AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Does something while the terminal does not show what is typed. None when standard input is no terminal, or one that
/// cannot be told so.
pub fn unseen<T>(work: impl FnOnce() -> T) -> Option<io::Result<T>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return None;
    }
    #[cfg(unix)]
    {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(&stdin).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        if let Err(error) = tcsetattr(&stdin, OptionalActions::Flush, &silent) {
            return Some(Err(error.into()));
        }
        let done = work();
        // It shows again what is typed, whatever became of the work.
        let shown = tcsetattr(&stdin, OptionalActions::Flush, &before);
        Some(shown.map(|()| done).map_err(io::Error::from))
    }
    #[cfg(not(unix))]
    {
        let _ = work;
        None
    }
}
