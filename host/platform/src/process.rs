//! Processes: whose this is, what ends it, and what outlives it.

use std::{io, process::Command};

/// Is this process the system's administrator, as far as files and namespaces go?
pub fn is_root() -> bool {
    user() == Some(0)
}

/// Who this process acts as, by number, where users have numbers.
pub fn user() -> Option<u32> {
    #[cfg(unix)]
    {
        Some(rustix::process::geteuid().as_raw())
    }
    #[cfg(not(unix))]
    None
}

/// Starts a process that a Ctrl-C in this one's terminal does not reach.
pub fn detach(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    {
        std::os::unix::process::CommandExt::process_group(command, 0)
    }
    #[cfg(windows)]
    {
        const NEW_GROUP: u32 = 0x200;
        std::os::windows::process::CommandExt::creation_flags(command, NEW_GROUP)
    }
}

/// The signals by which users and systems end programs; each counts, whichever it is.
pub struct Endings {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
}

impl Endings {
    /// From now on they do not end this process by themselves.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signals: {
                use tokio::signal::unix::{SignalKind, signal};
                [
                    signal(SignalKind::interrupt())?,
                    signal(SignalKind::terminate())?,
                    signal(SignalKind::hangup())?,
                ]
            },
        })
    }

    /// The next one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate, hangup] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
