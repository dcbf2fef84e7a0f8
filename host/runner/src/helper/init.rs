//! Process 1 of a step: it sets the container up, starts the program, reaps what is left to it, and reports.

use std::{
    ffi::c_int,
    io::{self, Read, Write},
    os::fd::{FromRawFd, OwnedFd},
};

use super::{Descriptors, Job, Report, program::Program, setup};
use crate::seccomp::Program as Filter;

/// Clones a child for the job; returns a descriptor of it.
pub(super) fn start(job: &Job, descriptors: Descriptors, filter: Option<&Filter>) -> io::Result<OwnedFd> {
    let mut flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if descriptors.network.is_none() {
        flags |= libc::CLONE_NEWNET;
    }
    let mut pidfd: c_int = -1;
    // SAFETY: all fields of the structure are numbers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without a stack of its own the child continues here on a copy of ours, as after fork; this process has one
    // thread, so nothing is held by another.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let mut reports = std::fs::File::from(descriptors.report);
            let stdio = [descriptors.stdin, descriptors.stdout, descriptors.stderr];
            if let Err(error) = run(job, stdio, descriptors.network, filter, &mut reports) {
                tell(&mut reports, &Report::Setup(error.to_string()));
            }
            // Every process that is left in the namespace ends with this one.
            std::process::exit(0)
        }
        // SAFETY: the kernel has just given us this descriptor.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(pidfd) }),
    }
}

fn tell(reports: &mut impl Write, report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    // When nobody listens any more there is nobody to tell.
    reports.write_all(&line).ok();
}

fn run(
    job: &Job,
    stdio: [OwnedFd; 3],
    network: Option<OwnedFd>,
    filter: Option<&Filter>,
    reports: &mut std::fs::File,
) -> io::Result<()> {
    end_with_the_helper();
    let stubs = setup::container(job, network)?;
    tell(reports, &Report::Stubs(stubs));
    let program = Program::new(&job.spec)?;
    let (mut failed, mut failing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map(|(read, write)| (std::fs::File::from(read), std::fs::File::from(write)))?;
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let failure = match program.prepare(stdio.each_ref(), filter) {
                Ok(()) => Report::Exec(program.exec().raw_os_error().unwrap_or(libc::EIO)),
                Err(error) => Report::Setup(error.to_string()),
            };
            tell(&mut failing, &failure);
            std::process::exit(127)
        }
        main => {
            drop((stdio, failing));
            // The pipe closes without a word when the program runs.
            let mut failure = String::new();
            failed.read_to_string(&mut failure)?;
            let status = wait_for(main);
            let outcome = match serde_json::from_str(failure.trim()) {
                Ok(failure) => failure,
                Err(_) if libc::WIFSIGNALED(status) => Report::Signalled(libc::WTERMSIG(status)),
                Err(_) => Report::Exited(libc::WEXITSTATUS(status)),
            };
            tell(reports, &Report::Used(processor_time()));
            tell(reports, &outcome);
            Ok(())
        }
    }
}

fn end_with_the_helper() {
    // SAFETY: the first runs no code of ours; the second asks for a signal when the parent ends; the third closes what the
    // helper uses and this process does not.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::close(super::SOCKET);
    }
}

/// Reaps every process that ends until it is `main`; its wait status.
fn wait_for(main: c_int) -> c_int {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives until the call returns.
        let ended = unsafe { libc::wait(&raw mut status) };
        if ended == main || (ended == -1 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR)) {
            return status;
        }
    }
}

/// Processor time of everything that was reaped, in microseconds.
fn processor_time() -> u64 {
    // SAFETY: the structure is plain numbers, and lives until the call returns.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}
