//! Networks that reach services: a link between two namespaces, and sockets in one.
//!
//! Neither end has an address of its own. Each namespace has one address, and a route to the other's over the link; both
//! refuse to forward packets, so that a link leads to its other end and no further.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{
    COUNT, Networks, StepNetwork,
    link::{self, INFO_DATA, INFO_KIND, LINK_INFO, LOOPBACK, VETH_PEER, add_address, add_route, link_header},
    netlink::{ACKNOWLEDGE, CREATE, Messages, Socket},
};
use crate::error::{Error, Result};

impl Networks {
    /// A namespace with an address and no way out. Blocking.
    pub(crate) fn apart(&self) -> Result<StepNetwork> {
        in_thread(|| {
            let namespace = link::enter_new_namespace()?;
            let number = self
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
                .ok_or_else(|| io::Error::other(format!("more than {COUNT} steps have a network")))?;
            let network = StepNetwork {
                namespace,
                number,
                free: Arc::clone(&self.free),
            };
            let mut inside = Messages::default();
            inside.add(
                libc::RTM_NEWLINK,
                ACKNOWLEDGE,
                &link_header(LOOPBACK, true),
                |_| {},
            );
            add_address(&mut inside, LOOPBACK, network.address());
            Socket::open(libc::NETLINK_ROUTE)?.apply(&inside)?;
            Ok(network)
        })
    }

    /// Links a step's network to those of services. Blocking.
    pub(crate) fn join(step: &StepNetwork, services: &[Arc<StepNetwork>]) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        in_thread(|| {
            step.enter()?;
            forward_nothing()?;
            let socket = Socket::open(libc::NETLINK_ROUTE)?;
            for service in services {
                make_link(&socket, step, service)?;
                route_to(&socket, service)?;
            }
            for service in services {
                service.enter()?;
                forward_nothing()?;
                route_to(&Socket::open(libc::NETLINK_ROUTE)?, step)?;
            }
            Ok(())
        })
    }
}

/// What `work` does in a thread of its own: one that changes its namespace must not be used for anything else afterwards.
pub(super) fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let done = scope.spawn(work).join();
        done.unwrap_or_else(|_| Err(io::Error::other("a thread ended badly")))
    })
    .map_err(|error| Error::Network(error.to_string()))
}

/// What the link to another step's network is called, at this end.
fn link_name(other: &StepNetwork) -> String {
    format!("to{}", other.number)
}

/// A pair of interfaces, one end in each namespace, neither up.
fn make_link(socket: &Socket, step: &StepNetwork, service: &StepNetwork) -> io::Result<()> {
    let mut pair = Messages::default();
    let header = link_header(0, false);
    pair.add(libc::RTM_NEWLINK, CREATE | ACKNOWLEDGE, &header, |attributes| {
        attributes.text(libc::IFLA_IFNAME, &link_name(service));
        attributes.nest(LINK_INFO, &[], |info| {
            info.bytes(INFO_KIND, b"veth");
            info.nest(INFO_DATA, &[], |data| {
                data.nest(VETH_PEER, &header, |peer| {
                    peer.text(libc::IFLA_IFNAME, &link_name(step));
                    let namespace = service.namespace.as_raw_fd() as u32;
                    peer.bytes(libc::IFLA_NET_NS_FD, &namespace.to_ne_bytes());
                });
            });
        });
    });
    socket.apply(&pair)
}

/// The namespace that the calling thread is in passes no packet on. It may have begun with the host's own setting.
fn forward_nothing() -> io::Result<()> {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0")
}

/// Brings this end of the link to another network up and sends what is for it there. The calling thread is inside.
fn route_to(socket: &Socket, other: &StepNetwork) -> io::Result<()> {
    let mut which = Messages::default();
    which.add(
        libc::RTM_GETLINK,
        ACKNOWLEDGE,
        &link_header(0, false),
        |attributes| {
            attributes.text(libc::IFLA_IFNAME, &link_name(other));
        },
    );
    let index = socket
        .ask(&which)?
        .get(4..8)
        .and_then(|index| index.try_into().ok())
        .map_or(0, u32::from_ne_bytes);
    let mut inside = Messages::default();
    inside.add(libc::RTM_NEWLINK, ACKNOWLEDGE, &link_header(index, true), |_| {});
    add_route(&mut inside, index, Some(other.address()), None);
    socket.apply(&inside)
}

impl StepNetwork {
    /// Moves the calling thread into it, which must be one that ends.
    fn enter(&self) -> io::Result<()> {
        let kind = rustix::thread::LinkNameSpaceType::Network;
        Ok(rustix::thread::move_into_link_name_space(
            self.namespace.as_fd(),
            Some(kind),
        )?)
    }

    /// Connects to a port of its own address, from inside. Blocking.
    pub fn dial(&self, port: u16, patience: Duration) -> io::Result<TcpStream> {
        let to = SocketAddr::from((self.address(), port));
        self.inside(move || TcpStream::connect_timeout(&to, patience))
    }

    /// Listens on a port of its own address. Blocking.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let at = SocketAddr::from((self.address(), port));
        self.inside(move || TcpListener::bind(at))
    }

    /// What `work` makes of sockets there: they stay in the namespace in which they were opened.
    fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                self.enter()?;
                work()
            });
            let done = done.join();
            done.unwrap_or_else(|_| Err(io::Error::other("a thread ended badly")))
        })
    }
}

/// Ports on which something listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// Of TCP.
    pub tcp: Vec<u16>,
    /// Of UDP.
    pub udp: Vec<u16>,
}

impl StepNetwork {
    /// Where something inside listens for those outside. Asks the kernel and sends nothing, so what listens does not see
    /// it. Blocking.
    pub fn listening(&self) -> io::Result<Listening> {
        let own = self.address();
        self.inside(|| {
            let ports = |table: &str, state: &str| {
                let text =
                    std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
                listeners(&text, state, own)
            };
            Ok(Listening {
                tcp: [ports("tcp", TCP_LISTENS), ports("tcp6", TCP_LISTENS)].concat(),
                udp: [ports("udp", UDP_LISTENS), ports("udp6", UDP_LISTENS)].concat(),
            })
        })
    }
}

/// States of sockets that wait for whoever comes, as the kernel's tables have them.
const TCP_LISTENS: &str = "0A";
const UDP_LISTENS: &str = "07";

/// Ports of sockets in that state which take what is sent to `own`.
fn listeners(table: &str, state: &str, own: Ipv4Addr) -> Vec<u16> {
    // An address is printed as the numbers that its bytes make on this machine.
    let own = format!("{:08X}", u32::from_ne_bytes(own.octets()));
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let is_listening = words.nth(1)? == state;
        let is_reachable = address.bytes().all(|digit| digit == b'0') || address.ends_with(&own);
        (is_listening && is_reachable).then_some(())?;
        u16::from_str_radix(port, 16).ok()
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{TCP_LISTENS, listeners};

    #[test]
    fn a_port_counts_when_others_can_reach_it() {
        let own = Ipv4Addr::new(10, 88, 0, 5);
        let hex = format!("{:08X}", u32::from_ne_bytes(own.octets()));
        let table = format!(
            "  sl  local_address rem_address   st\n\
             0: 00000000:0050 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:0051 00000000:0000 0A 00000000:00000000\n\
             2: {hex}:0052 00000000:0000 0A 00000000:00000000\n\
             3: 00000000:0053 00000000:0000 01 00000000:00000000\n\
             4: 00000000000000000000000000000000:0054 00000000000000000000000000000000:0000 0A 0\n"
        );
        assert_eq!(listeners(&table, TCP_LISTENS, own), [0x50, 0x52, 0x54]);
    }
}
