//! What process 1 does while the step's program runs: it reaps what ends, passes signals on, and runs programs beside it.

use std::{
    collections::HashMap,
    ffi::c_int,
    io,
    mem::MaybeUninit,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::event::{PollFd, PollFlags};

use super::{
    Report, Wish,
    doing::Doing,
    init::{spawn, tell},
    program::Program,
    receive,
};
use crate::seccomp::Program as Compiled;

/// Tells that children have ended.
pub(super) struct Ends(OwnedFd);

impl Ends {
    /// From now on. What ends is told by a descriptor instead of a signal; children have to take that back for themselves.
    pub(super) fn watch() -> io::Result<Self> {
        let mut ends = MaybeUninit::uninit();
        // SAFETY: the set is initialised by the first call and lives through the others, which change this process, of one
        // thread, and nothing of its memory.
        let descriptor = unsafe {
            libc::sigemptyset(ends.as_mut_ptr());
            libc::sigaddset(ends.as_mut_ptr(), libc::SIGCHLD);
            libc::sigprocmask(libc::SIG_BLOCK, ends.as_ptr(), std::ptr::null_mut());
            libc::signalfd(-1, ends.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error()).doing("watching for processes that end");
        }
        // SAFETY: the kernel has just given us this descriptor.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Forgets what was told.
    fn clear(&self) {
        let mut told = [0_u8; size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.0, &mut told).is_ok_and(|count| count > 0) {}
    }
}

/// Process 1 while the step's program runs.
pub(super) struct Attendant<'c> {
    socket: &'c UnixStream,
    program: &'c mut Program,
    filter: Option<&'c Compiled>,
    main: c_int,
    /// Numbers of the programs that run beside it, by process.
    beside: HashMap<c_int, u64>,
}

impl<'c> Attendant<'c> {
    pub(super) fn new(
        socket: &'c UnixStream,
        program: &'c mut Program,
        filter: Option<&'c Compiled>,
        main: c_int,
    ) -> Self {
        Self {
            socket,
            program,
            filter,
            main,
            beside: HashMap::new(),
        }
    }

    /// Until the step's program has ended; its wait status.
    pub(super) fn attend(&mut self, ends: &Ends) -> io::Result<c_int> {
        let mut is_asked = true;
        loop {
            ends.clear();
            while let Some((process, status)) = reap()? {
                if process == self.main {
                    return Ok(status);
                }
                if let Some(number) = self.beside.remove(&process) {
                    self.report(number, how_ended(status));
                }
            }
            let mut polled = [
                PollFd::new(&ends.0, PollFlags::IN),
                PollFd::new(self.socket, PollFlags::IN),
            ];
            let polled = &mut polled[..if is_asked { 2 } else { 1 }];
            match rustix::event::poll(polled, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if polled.get(1).is_some_and(|socket| !socket.revents().is_empty()) {
                match receive::<Wish>(&self.socket) {
                    Some((wish, descriptors)) => self.fulfil(wish, &descriptors.collect::<Vec<_>>()),
                    // Nobody asks any more.
                    None => is_asked = false,
                }
            }
        }
    }

    fn fulfil(&mut self, wish: Wish, stdio: &[OwnedFd]) {
        match wish {
            // SAFETY: a signal to a process of ours that was not reaped yet touches no memory.
            Wish::Signal(signal) => unsafe {
                libc::kill(self.main, signal);
            },
            Wish::Beside { number, args } => {
                let spawned = self
                    .program
                    .set_args(&args)
                    .and_then(|()| spawn(self.program, stdio, self.filter));
                match spawned {
                    Ok((process, None)) => {
                        self.beside.insert(process, number);
                    }
                    Ok((_, Some(failure))) => self.report(number, failure),
                    Err(error) => self.report(number, Report::Setup(error.to_string())),
                }
            }
            Wish::End(number) => {
                let process = self.beside.iter().find(|(_, own)| **own == number);
                if let Some((process, _)) = process {
                    // SAFETY: as above.
                    unsafe { libc::kill(*process, libc::SIGKILL) };
                }
            }
        }
    }

    fn report(&self, number: u64, report: Report) {
        let mut socket = self.socket;
        tell(&mut socket, &Report::Beside(number, Box::new(report)));
    }
}

/// A process that has ended, and its wait status; none when all others still run.
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

/// What a wait status means.
pub(crate) fn how_ended(status: c_int) -> Report {
    if libc::WIFSIGNALED(status) {
        Report::Signalled(libc::WTERMSIG(status))
    } else {
        Report::Exited(libc::WEXITSTATUS(status))
    }
}
