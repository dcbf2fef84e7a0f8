//! Netlink messages, as few kinds as are needed: requests with attributes, and the kernel's acknowledgements.
//!
//! Written here because the crates for it wait on a connection that belongs to an async runtime, while each step's socket
//! belongs to a thread that has entered a namespace and ends a moment later.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

pub(super) const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
pub(super) const ACKNOWLEDGE: u16 = libc::NLM_F_ACK as u16;
/// What is made must be new.
pub(super) const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
/// An attribute that holds attributes.
const NESTED: u16 = libc::NLA_F_NESTED as u16;
const HEADER: usize = 16;

/// Messages in one buffer, to be sent at once.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// The sequence number of the last message.
    sequence: u32,
}

impl Messages {
    /// Adds a message; `fill` adds its attributes.
    pub(super) fn add(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.sequence += 1;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(fixed);
        pad(&mut self.bytes);
        fill(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Adds attributes to a message.
pub(super) struct Attributes<'m>(&'m mut Vec<u8>);

impl Attributes<'_> {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        pad(self.0);
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// A number in the network's byte order, as the packet filter has them.
    pub(super) fn big(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn nest(&mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend((kind | NESTED).to_ne_bytes());
        self.0.extend(fixed);
        fill(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A netlink socket; it stays in the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open(protocol: libc::c_int) -> io::Result<Self> {
        // SAFETY: the kernel has just given us the descriptor that is taken over.
        unsafe {
            let socket = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
            if socket < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(socket)))
        }
    }

    /// Sends messages and waits until the last one is acknowledged. The first refusal is the outcome.
    pub(super) fn apply(&self, messages: &Messages) -> io::Result<()> {
        self.ask(messages).map(drop)
    }

    /// Like [`Self::apply`]; the answer's own bytes (without header) are returned, if there is one.
    pub(super) fn ask(&self, messages: &Messages) -> io::Result<Vec<u8>> {
        rustix::net::send(&self.0, &messages.bytes, rustix::net::SendFlags::empty())?;
        let mut outcome = Ok(Vec::new());
        let mut buffer = vec![0; 65_536];
        loop {
            // SAFETY: the buffer is as long as is said.
            let count =
                unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if count < 0 {
                return Err(io::Error::last_os_error());
            }
            let mut rest = &buffer[..count as usize];
            while rest.len() >= HEADER {
                let length = (word(rest, 0) as usize).clamp(HEADER, rest.len());
                let (message, after) = rest.split_at(length);
                rest = after
                    .get(length.next_multiple_of(4) - length..)
                    .unwrap_or_default();
                let kind = u16::from_ne_bytes([message[4], message[5]]);
                let sequence = word(message, 8);
                if i32::from(kind) != libc::NLMSG_ERROR {
                    outcome = outcome.map(|_: Vec<u8>| message[HEADER..].to_vec());
                    continue;
                }
                let error = word(message, HEADER) as i32;
                if error != 0 && outcome.is_ok() {
                    outcome = Err(io::Error::from_raw_os_error(-error));
                }
                // A refused batch of the packet filter is answered by its first message alone, with no more to come.
                if sequence == messages.sequence || (error != 0 && sequence == 1) {
                    return outcome;
                }
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}
