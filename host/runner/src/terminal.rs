//! What a step's program reads and writes: descriptors that it is given, or a terminal that is made in its container, the
//! other end of which goes to whoever started it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use oci_spec::runtime::{BoxBuilder, Spec};
use rustix::{io::Errno, termios::Winsize};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
};

use crate::{helper, runner::StepIo};

/// How large a terminal is, in letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Letters of a line.
    pub columns: u16,
}

/// A terminal for a step, as it is ordered.
#[derive(Debug)]
pub struct Console {
    /// How large it is at first.
    pub size: TerminalSize,
    /// Gets the terminal's other end once there is one: what is written to it the step reads as typed, and the other way
    /// round. Reading fails with EIO when no process has the terminal any more.
    pub opened: oneshot::Sender<OwnedFd>,
}

/// A terminal, or the other end of one, that is read and written without a thread that waits.
#[derive(Debug)]
pub struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Takes it. Whoever shares its file description does not wait any more, either.
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

/// What a step's program reads and writes.
#[derive(Debug)]
pub(crate) enum Io {
    Streams(StepIo),
    Terminal(Console),
}

impl Io {
    /// Says in the specification what there will be.
    pub(crate) fn describe(&self, spec: &mut Spec) {
        let (Self::Terminal(console), Some(process)) = (self, spec.process_mut()) else {
            return;
        };
        let size = BoxBuilder::default()
            .height(console.size.rows)
            .width(console.size.columns)
            .build();
        process.set_terminal(Some(true)).set_console_size(size.ok());
    }
}

impl StepIo {
    /// As programs number them.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.stdin.as_fd(), self.stdout.as_fd(), self.stderr.as_fd()]
    }
}

/// Waits for a terminal's other end, which comes over this socket, and passes it on. Nothing comes when the container could
/// not be made.
pub(crate) fn pass_on(socket: OwnedFd, opened: oneshot::Sender<OwnedFd>) {
    tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 256];
        let received = helper::receive_message(&socket, &mut buffer);
        if let Some(end) = received.and_then(|(_, descriptors)| descriptors.into_iter().next()) {
            opened.send(end).ok();
        }
    });
}
