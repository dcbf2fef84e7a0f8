//! A running step: waiting for its end, and ending it.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::Signal,
};
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Context, Result},
    outcome::Exit,
};

/// What ends a step that does not end by itself.
pub(crate) struct Stop {
    pub(crate) cancel: CancellationToken,
    pub(crate) timeout: Option<Duration>,
}

impl Stop {
    async fn come(self) -> Exit {
        let over = async {
            match self.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.cancel.cancelled() => Exit::Cancelled,
            () = over => Exit::TimedOut,
        }
    }
}

/// Process 1 of a step; when this is dropped it is killed, and with it every process of its namespace.
#[derive(Debug)]
pub(crate) struct Running(AsyncFd<OwnedFd>);

impl Running {
    pub(crate) fn new(process: OwnedFd) -> Result<Self> {
        // SAFETY: the descriptor is owned by the registration and not replaced while it lasts.
        unsafe { AsyncFd::register(process) }
            .map(Self)
            .context("watching a step")
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        self.0.get_ref()
    }

    pub(crate) fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(self.0.get_ref(), PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    pub(crate) fn kill(&self) {
        rustix::process::pidfd_send_signal(self.0.get_ref(), Signal::KILL).ok();
    }

    pub(crate) fn signal(&self, number: i32) {
        // SAFETY: a signal to a process of which this holds a descriptor touches no memory. What is no signal is refused.
        unsafe {
            let process = self.0.get_ref().as_raw_fd();
            libc::syscall(libc::SYS_pidfd_send_signal, process, number, 0, 0);
        }
    }

    pub(crate) async fn ended(&self) -> Result<()> {
        // It is gone only when every process of its namespace is.
        self.0.readable().await.map(drop).context("watching a step")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for a step's end; what ended it if it was not itself.
pub(crate) async fn wait(process: &Running, stop: Stop) -> Result<Option<Exit>> {
    tokio::select! {
        biased;
        ended = process.ended() => ended.map(|()| None),
        why = stop.come() => {
            process.kill();
            process.ended().await?;
            Ok(Some(why))
        }
    }
}
