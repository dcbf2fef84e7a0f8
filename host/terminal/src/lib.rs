//! A terminal, or the other end of one, that is read and written without a thread that waits.
#![cfg(unix)]

use std::{io, os::fd::OwnedFd};

use rustix::{io::Errno, termios::Winsize};
use tokio::io::{Interest, unix::AsyncFd};

/// How large a terminal is, in letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Letters of a line.
    pub columns: u16,
}

/// A terminal, or the other end of one, that is read and written without a thread that waits.
#[derive(Debug)]
pub struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Takes it. Whoever shares its file description does not wait any more, either.
    #[allow(unsafe_code)]
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        // SAFETY: the descriptor is valid and owned, and nothing here replaces or closes it before it is dropped with this.
        let registered = unsafe { AsyncFd::register(descriptor) }?;
        Ok(Self(registered))
    }

    /// What is typed, or shown.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.async_io(Interest::READABLE, |terminal| {
                Ok(rustix::io::read(terminal, &mut *buffer)?)
            });
            match read.await {
                Err(error) if is_interrupted(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// Types, or shows, all of it.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = self.0.async_io(Interest::WRITABLE, |terminal| {
                Ok(rustix::io::write(terminal, bytes)?)
            });
            match write.await {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_interrupted(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How large it is; none when it does not know.
    pub fn size(&self) -> Option<TerminalSize> {
        let size = rustix::termios::tcgetwinsize(self.0.get_ref()).ok()?;
        let size = TerminalSize {
            rows: size.ws_row,
            columns: size.ws_col,
        };
        (size.rows > 0 && size.columns > 0).then_some(size)
    }

    /// Makes it larger or smaller.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }
}

fn is_interrupted(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INTR)
}
