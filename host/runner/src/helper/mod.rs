//! The helper process: single-threaded, so that it may fork, and small, so that forking is cheap.
//!
//! For each container it takes one message from the engine, clones a child into new namespaces, and answers with a descriptor
//! of the child. The child sets up what does not depend on a step, waits for one on a socket of its own, sets up the rest and
//! runs the program (see [`init`]); over that socket it is told what to do meanwhile (see [`attend`]), and tells what became of
//! the program. When the engine is gone the helper ends, and with it every step.

mod attend;
mod devices;
mod doing;
mod init;
mod mounts;
mod program;
mod setup;
mod terminal;

/// What a first process that was not cloned here needs of this.
pub(crate) mod inside {
    pub(crate) use super::{
        Report,
        attend::how_ended,
        init::{processor_time, spawn},
        program::Program,
    };
}

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    path::PathBuf,
};

use oci_spec::runtime::Spec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{arrange::Wanted, overlay::Overlay, seccomp::Filter, stubs::Stub, system::System};

pub(crate) use mounts::{USER_XATTR, mount_overlay, open_directory};

/// The descriptor on which the helper finds its socket.
pub(crate) const SOCKET: i32 = 3;

/// A container, as the engine orders it from the helper. Beside it come the child's socket and, if it is to have one that
/// was made for it, a network namespace.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) system: System,
    /// An empty directory to mount the stage on.
    pub(crate) stage: PathBuf,
}

/// A step, as the engine sends it to the child. Beside it come its standard descriptors, or the socket over which the other end
/// of its terminal is wanted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) spec: Spec,
    pub(crate) root: Overlay,
    /// In order.
    pub(crate) mounts: Vec<Wanted>,
    pub(crate) filter: Filter,
    /// An empty directory to mount the root on, and one that is a lower of trees without layers.
    pub(crate) mount_point: PathBuf,
    pub(crate) empty: PathBuf,
    /// `cgroup.procs` files to join.
    pub(crate) cgroups: Vec<PathBuf>,
}

/// What the engine asks of a container whose step runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// Send the step's program a signal.
    Signal(i32),
    /// Run another program as the step's own is run. Beside this come its standard descriptors.
    Beside { number: u64, args: Vec<String> },
    /// End one of those.
    End(u64),
}

/// What became of a step, as its init tells the engine: one JSON value a line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// What had to be made in the step's layer, in the order of its making.
    Stubs(Vec<Stub>),
    /// The container could not be set up.
    Setup(String),
    /// The program could not be run: the error's number.
    Exec(i32),
    /// It ended with this code.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// Processor time of all its processes, in microseconds.
    Used(u64),
    /// What became of a program that was run beside the step's.
    Beside(u64, Box<Report>),
}

/// The helper's main function: call it before anything starts a thread.
pub fn helper_main() -> ! {
    // SAFETY: whoever started the helper gave it its socket on this descriptor, and nobody else uses it.
    let socket = unsafe { OwnedFd::from_raw_fd(SOCKET) };
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).ok();
    // SAFETY: nothing in this process has opened anything yet: what there is was left open by whoever started the engine,
    // and no step is to have it.
    unsafe { libc::close_range(SOCKET as u32 + 1, u32::MAX, 0) };
    let Ok(standard) = Filter::Standard.compile() else {
        std::process::exit(1)
    };
    // Children inherit what this finds out about the processor, which takes a virtual machine long.
    let _ = std::hint::black_box(has_wide_vectors());
    // SAFETY: neither doing what is usual nor ignoring a signal runs code of ours. Whoever started the engine may have had it
    // ignore signals, and programs of our language ignore one: steps do not. Children that end are forgotten by the kernel
    // itself: the engine watches them by descriptor.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    }
    while let Some((order, descriptors)) = receive::<Order>(&socket) {
        let answer = init::start(&order, descriptors, standard.as_ref());
        let (number, pidfd) = match &answer {
            Ok(pidfd) => (0, Some(pidfd.as_fd())),
            Err(error) => (error.raw_os_error().unwrap_or(libc::EINVAL), None),
        };
        if send(&socket, &answer_bytes(order.id, number), pidfd.as_slice()).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

#[cfg(target_arch = "x86_64")]
fn has_wide_vectors() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_wide_vectors() -> bool {
    false
}

/// An answer's length: the step's number, and an error's number.
pub(crate) const ANSWER: usize = 12;

fn answer_bytes(id: u64, number: i32) -> [u8; ANSWER] {
    let mut bytes = [0; ANSWER];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The step and the error that an answer is about.
pub(crate) fn read_answer(bytes: [u8; ANSWER]) -> (u64, i32) {
    let [id @ .., a, b, c, d] = bytes;
    (u64::from_le_bytes(id), i32::from_le_bytes([a, b, c, d]))
}

/// Sends a message with descriptors.
pub(crate) fn send(
    socket: &impl AsFd,
    bytes: &[u8],
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives a message with descriptors; none at the end.
pub(crate) fn receive_message(socket: &impl AsFd, buffer: &mut [u8]) -> Option<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let outcome = rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        match outcome {
            Err(rustix::io::Errno::INTR) => {}
            outcome => break outcome.ok()?,
        }
    };
    if received.bytes == 0 {
        return None;
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Some((received.bytes, descriptors))
}

/// Sends a value with descriptors. Messages have a limit, files in memory have none: the value goes in one.
pub(crate) fn send_value(
    socket: &impl AsFd,
    value: &impl Serialize,
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    let file = rustix::fs::memfd_create("step", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&text)?;
    file.rewind()?;
    let all: Vec<_> = [file.as_fd()]
        .into_iter()
        .chain(descriptors.iter().copied())
        .collect();
    Ok(send(socket, b"step", &all)?)
}

/// Receives what [`send_value`] sends; none at the end, and when it is not that.
fn receive<T: DeserializeOwned>(socket: &impl AsFd) -> Option<(T, std::vec::IntoIter<OwnedFd>)> {
    let mut buffer = [0; 16];
    let (_, descriptors) = receive_message(socket, &mut buffer)?;
    let mut descriptors = descriptors.into_iter();
    let mut text = Vec::new();
    std::fs::File::from(descriptors.next()?)
        .read_to_end(&mut text)
        .ok()?;
    Some((serde_json::from_slice(&text).ok()?, descriptors))
}
