//! Waiting for a process and passing signals on to it, from a process of one thread.

use std::{ffi::c_int, io, mem::MaybeUninit};

use rustix::process::{Pid, Signal};

/// Signals that ask a process to end, which are for the one that is waited for.
const PASSED_ON: [c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Signals that wait until they are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Held(libc::sigset_t);

impl Held {
    /// From now on, in this process and those that it forks; what they execute has to [`Self::release`] them.
    pub(crate) fn hold() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the set is initialised by the first call and lives through the others, which change what this process of one
        // thread holds back, and nothing of its memory.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in PASSED_ON.into_iter().chain([libc::SIGCHLD]) {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            set.assume_init()
        };
        Ok(Self(set))
    }

    /// No longer, in this process. To be called between fork and exec: it changes nothing else.
    pub(crate) fn release(&self) -> io::Result<()> {
        // SAFETY: the set lives until the call returns.
        let result = unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const self.0, std::ptr::null_mut()) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Waits until this child has ended, and reaps all others that end; its exit code, or 128 and the number of the signal that
    /// ended it.
    pub(crate) fn wait_for(&self, child: Pid) -> io::Result<u8> {
        loop {
            while let Some((ended, status)) = reap()? {
                if ended == child.as_raw_nonzero().get() {
                    return Ok(code(status));
                }
            }
            // SAFETY: the set lives until the call returns, and no further description of the signal is asked for.
            let signal = unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) };
            if PASSED_ON.contains(&signal)
                && let Some(signal) = Signal::from_named_raw(signal)
            {
                // One that has ended meanwhile needs no signal.
                rustix::process::kill_process(child, signal).ok();
            }
        }
    }
}

/// A child that has ended, and its wait status; none while all others still run.
fn reap() -> io::Result<Option<(c_int, c_int)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives until the call returns.
        let ended = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        return match ended {
            0 => Ok(None),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error => Err(error),
            },
            process => Ok(Some((process, status))),
        };
    }
}

fn code(status: c_int) -> u8 {
    if libc::WIFSIGNALED(status) {
        128 + (libc::WTERMSIG(status) as u8 & 0x7f)
    } else {
        libc::WEXITSTATUS(status) as u8
    }
}
