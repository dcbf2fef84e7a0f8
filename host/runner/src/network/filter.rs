//! Where the links of filtered steps end: a namespace of the engine's with nothing in it but these links and the engine's own
//! sockets. It forwards nothing and has no route beyond the links, so that a step with such a link reaches these sockets or
//! nobody, whatever becomes of any rule of the packet filter. The rules here are what brings connections to arbitrary addresses
//! to the sockets ([`rules::install_filter`]).

use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::Mutex,
};

use super::{
    join::in_thread,
    link::{self, LOOPBACK, link_header},
    netlink::{ACKNOWLEDGE, Messages, Socket},
    rules,
};
use crate::error::Result;

/// What takes all that filtered steps send.
#[derive(Debug)]
pub struct FilterSockets {
    /// Takes every connection, but those for names; the kernel knows where each was to go.
    pub connections: TcpListener,
    /// Takes questions for names by datagrams, whichever server was asked.
    pub questions: UdpSocket,
    /// The same by connections.
    pub long_questions: TcpListener,
}

/// The namespace.
#[derive(Debug)]
pub(super) struct Filter {
    namespace: OwnedFd,
    host: Mutex<Socket>,
}

impl Filter {
    /// Makes it. Blocking.
    pub(super) fn new() -> Result<Self> {
        in_thread(|| {
            let namespace = link::enter_new_namespace()?;
            let host = Socket::open(libc::NETLINK_ROUTE)?;
            let mut loopback = Messages::default();
            loopback.add(
                libc::RTM_NEWLINK,
                ACKNOWLEDGE,
                &link_header(LOOPBACK, true),
                |_| {},
            );
            host.apply(&loopback)?;
            set("ipv4/ip_forward", "0")?;
            // Who sends is known by its address: a link takes none but its step's own.
            set("ipv4/conf/all/rp_filter", "1")?;
            set("ipv4/conf/default/rp_filter", "1")?;
            match set("ipv6/conf/default/disable_ipv6", "1") {
                // The machine has none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
            rules::install_filter()?;
            Ok(Self {
                namespace,
                host: Mutex::new(host),
            })
        })
    }

    /// A socket in it, by which links are made.
    pub(super) fn host(&self) -> &Mutex<Socket> {
        &self.host
    }

    /// Opens the sockets; once. Blocking.
    pub(super) fn open(&self) -> Result<FilterSockets> {
        in_thread(|| {
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(self.namespace.as_fd(), Some(kind))?;
            let any = Ipv4Addr::UNSPECIFIED;
            Ok(FilterSockets {
                connections: TcpListener::bind((any, rules::CONNECTIONS))?,
                questions: UdpSocket::bind((any, rules::QUESTIONS))?,
                long_questions: TcpListener::bind((any, rules::QUESTIONS))?,
            })
        })
    }
}

/// Sets a setting of the namespace that the calling thread is in.
fn set(name: &str, value: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/sys/net/{name}"), value)
}
