//! A terminal whose keys arrive as they are pressed, and its return to what it was, however this program ends.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{Mode, OFlags},
    termios::{OptionalActions, Termios},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wharf_runner::Terminal;

/// What programs leave switched on when they are ended: colours, a hidden cursor, keys and clicks that arrive otherwise.
const CLEAN: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?1000l\x1b[?1006l\x1b[?2004l";

/// The terminal as it was, while it is another.
static WAS: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

fn was() -> MutexGuard<'static, Option<(OwnedFd, Termios)>> {
    WAS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the terminal what it was, if it is another. Whoever ends this process calls it.
pub(crate) fn restore() {
    let Some((terminal, was)) = was().take() else {
        return;
    };
    if std::env::var_os("TERM").is_some_and(|kind| kind != "dumb") {
        rustix::io::write(&terminal, CLEAN).ok();
    }
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &was).ok();
}

/// The terminal, raw until this is dropped.
pub(super) struct Raw(Terminal);

impl Raw {
    /// Switches it.
    pub(super) fn enter() -> io::Result<Self> {
        // Opened anew: that nothing waits for it must not hold for whoever has it besides.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |path| rustix::fs::open(path, flags, Mode::empty());
        let terminal = open("/dev/tty").or_else(|_| open("/proc/self/fd/0"))?;
        let mut attributes = rustix::termios::tcgetattr(&terminal)?;
        *was() = Some((terminal.try_clone()?, attributes.clone()));
        // From here on it is restored, whatever happens.
        let raw = Self(Terminal::new(terminal).inspect_err(|_| drop(was().take()))?);
        attributes.make_raw();
        let switched = was().as_ref().map_or(Ok(()), |(terminal, _)| {
            rustix::termios::tcsetattr(terminal, OptionalActions::Now, &attributes)
        });
        switched?;
        Ok(raw)
    }

    /// Rows and columns; none of either when it does not know.
    pub(super) fn size(&self) -> (u16, u16) {
        self.0
            .size()
            .map(|size| (size.rows, size.columns))
            .unwrap_or_default()
    }

    /// What is typed.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    /// Shows all of it.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes).await
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// When the terminal becomes larger or smaller.
pub(super) struct Resized(Signal);

impl Resized {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::window_change())?))
    }

    /// The next time.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}
