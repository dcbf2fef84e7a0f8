//! What a step's program reads and writes: descriptors that it is given, or a terminal that is made in its container, the
//! other end of which goes to whoever started it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::{BoxBuilder, Spec};
use tokio::sync::oneshot;
use wharf_terminal::TerminalSize;

use crate::{helper, runner::StepIo};

/// A terminal for a step, as it is ordered.
#[derive(Debug)]
pub struct Console {
    /// How large it is at first.
    pub size: TerminalSize,
    /// Gets the terminal's other end once there is one: what is written to it the step reads as typed, and the other way
    /// round. Reading fails with EIO when no process has the terminal any more.
    pub opened: oneshot::Sender<OwnedFd>,
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
