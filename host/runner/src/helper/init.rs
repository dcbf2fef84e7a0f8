//! Process 1 of a step: it sets the container up, starts the program, attends to it, and reports.

use std::{
    ffi::c_int,
    io::{self, Write},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use super::{
    Job, Order, Report,
    attend::{Attendant, Ends, how_ended},
    program::Program,
    receive, setup, terminal,
};
use crate::seccomp::{Filter, Program as Compiled};

/// Bytes of the stack on which a program is prepared.
const STACK: usize = 256 * 1024;

/// Clones a child for a container; returns a descriptor of it.
pub(super) fn start(
    order: &Order,
    mut descriptors: impl Iterator<Item = OwnedFd>,
    standard: Option<&Compiled>,
) -> io::Result<OwnedFd> {
    let (socket, network) = (descriptors.next(), descriptors.next());
    let socket = UnixStream::from(socket.ok_or(io::ErrorKind::InvalidInput)?);
    let mut flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if network.is_none() {
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
            if let Err(error) = run(order, network, standard, &socket) {
                tell(&mut &socket, &Report::Setup(error.to_string()));
            }
            // Every process that is left in the namespace ends with this one.
            std::process::exit(0)
        }
        // SAFETY: the kernel has just given us this descriptor.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(pidfd) }),
    }
}

pub(super) fn tell(reports: &mut impl Write, report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    // When nobody listens any more there is nobody to tell.
    reports.write_all(&line).ok();
}

fn run(
    order: &Order,
    network: Option<OwnedFd>,
    standard: Option<&Compiled>,
    mut socket: &UnixStream,
) -> io::Result<()> {
    end_with_the_helper();
    let stage = setup::prepare(order, network)?;
    // The engine may find that it needs no more containers.
    let Some((job, descriptors)) = receive::<Job>(&socket) else {
        return Ok(());
    };
    let own = match &job.filter {
        Filter::Standard => None,
        other => other.compile().map_err(io::Error::other)?,
    };
    let filter = if job.filter == Filter::Standard {
        standard
    } else {
        own.as_ref()
    };
    let mut stdio: Vec<OwnedFd> = descriptors.collect();
    let stubs = setup::container(&job, &stage)?;
    drop(stage);
    tell(&mut socket, &Report::Stubs(stubs));
    let mut program = Program::new(&job.spec)?;
    if let (Some(process), true, [console]) = (job.spec.process(), program.has_terminal(), stdio.as_slice()) {
        stdio = terminal::open(process, console)?;
    }
    let ends = Ends::watch()?;
    let (main, failure) = spawn(&program, &stdio, filter)?;
    drop(stdio);
    let status = Attendant::new(socket, &mut program, filter, main).attend(&ends)?;
    let outcome = failure.unwrap_or_else(|| how_ended(status));
    tell(&mut socket, &Report::Used(processor_time()));
    tell(&mut socket, &outcome);
    Ok(())
}

/// A program on its way, and why it could not be run.
struct Start<'s> {
    program: &'s Program,
    stdio: &'s [OwnedFd],
    filter: Option<&'s Compiled>,
    failure: Option<Report>,
}

/// Starts the program in a process that has this one's memory until the program runs, so that no page is copied for it.
/// Returns its number and, if it did not come to run, why.
pub(crate) fn spawn(
    program: &Program,
    stdio: &[OwnedFd],
    filter: Option<&Compiled>,
) -> io::Result<(c_int, Option<Report>)> {
    extern "C" fn enter(start: *mut libc::c_void) -> c_int {
        // SAFETY: `spawn` passes a `Start` and does not touch it before this process has left its memory.
        let start = unsafe { &mut *start.cast::<Start<'_>>() };
        start.failure = Some(match start.program.prepare(start.stdio, start.filter) {
            Ok(()) => Report::Exec(start.program.exec().raw_os_error().unwrap_or(libc::EIO)),
            Err(error) => Report::Setup(error.to_string()),
        });
        // SAFETY: it ends this process without what others do at their end: the memory is not its own.
        unsafe { libc::_exit(127) }
    }
    let mut start = Start {
        program,
        stdio,
        filter,
        failure: None,
    };
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: `enter` runs on a stack of its own; this process, which has one thread, waits until the other has executed its
    // program or ended, so nothing here is touched by two, and stack and argument outlive their use.
    let main = unsafe {
        libc::clone(
            enter,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            (&raw mut start).cast(),
        )
    };
    if main == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok((main, start.failure))
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

/// Processor time of everything that was reaped, in microseconds.
pub(crate) fn processor_time() -> u64 {
    // SAFETY: the structure is plain numbers, and lives until the call returns.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}
