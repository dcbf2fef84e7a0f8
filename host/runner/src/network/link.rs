//! A step's link: a pair of virtual interfaces, one end in the step's namespace, one on the host, with a route to one
//! address.

use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
};

use super::netlink::{ACKNOWLEDGE, CREATE, Messages, Socket};

// Attributes of links, from linux/if_link.h and linux/veth.h, that have no names in libc.
pub(super) const LINK_INFO: u16 = libc::IFLA_LINKINFO;
pub(super) const INFO_KIND: u16 = libc::IFLA_INFO_KIND;
pub(super) const INFO_DATA: u16 = libc::IFLA_INFO_DATA;
pub(super) const VETH_PEER: u16 = 1;
/// Every namespace's loopback interface.
pub(super) const LOOPBACK: u32 = 1;
/// Number of a step's interface in its own namespace.
const INSIDE: u32 = 2;

/// What `ifinfomsg` holds: no family, type 0, the index, and whether the interface is to be up.
pub(super) fn link_header(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

pub(super) fn add_address(messages: &mut Messages, index: u32, address: Ipv4Addr) {
    let mut header = [libc::AF_INET as u8, 32, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    messages.add(libc::RTM_NEWADDR, CREATE | ACKNOWLEDGE, &header, |attributes| {
        attributes.bytes(libc::IFA_LOCAL, &address.octets());
        attributes.bytes(libc::IFA_ADDRESS, &address.octets());
    });
}

/// A route to one address over the interface, or, given a gateway, to everything.
pub(super) fn add_route(
    messages: &mut Messages,
    index: u32,
    to: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
) {
    let length = if to.is_some() { 32 } else { 0 };
    let scope = if gateway.is_some() {
        libc::RT_SCOPE_UNIVERSE
    } else {
        libc::RT_SCOPE_LINK
    };
    let header = [
        libc::AF_INET as u8,
        length,
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT,
        scope,
        libc::RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    messages.add(libc::RTM_NEWROUTE, CREATE | ACKNOWLEDGE, &header, |attributes| {
        if let Some(to) = to {
            attributes.bytes(libc::RTA_DST, &to.octets());
        }
        if let Some(gateway) = gateway {
            attributes.bytes(libc::RTA_GATEWAY, &gateway.octets());
        }
        attributes.bytes(libc::RTA_OIF, &index.to_ne_bytes());
    });
}

/// A new network namespace; the calling thread stays in it, so it must be one that ends.
pub(super) fn enter_new_namespace() -> io::Result<OwnedFd> {
    // SAFETY: this changes only the namespace of this thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
}

/// Links the namespace, in which the calling thread is, to the host, whose socket is given. The host's end is in the group
/// that has this process's number, so that an engine's links can be told from others' (`ip link show group`).
pub(super) fn connect(
    host: &Socket,
    namespace: &OwnedFd,
    host_name: &str,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> io::Result<()> {
    let mut pair = Messages::default();
    pair.add(
        libc::RTM_NEWLINK,
        CREATE | ACKNOWLEDGE,
        &link_header(0, true),
        |attributes| {
            attributes.text(libc::IFLA_IFNAME, host_name);
            attributes.bytes(libc::IFLA_GROUP, &std::process::id().to_ne_bytes());
            attributes.nest(LINK_INFO, &[], |info| {
                info.bytes(INFO_KIND, b"veth");
                info.nest(INFO_DATA, &[], |data| {
                    // It cannot be brought up before the other end is there.
                    data.nest(VETH_PEER, &link_header(INSIDE, false), |peer| {
                        peer.text(libc::IFLA_IFNAME, "eth0");
                        peer.bytes(
                            libc::IFLA_NET_NS_FD,
                            &(namespace.as_raw_fd() as u32).to_ne_bytes(),
                        );
                    });
                });
            });
        },
    );
    host.apply(&pair)?;
    let mut which = Messages::default();
    which.add(
        libc::RTM_GETLINK,
        ACKNOWLEDGE,
        &link_header(0, false),
        |attributes| {
            attributes.text(libc::IFLA_IFNAME, host_name);
        },
    );
    let answer = host.ask(&which)?;
    let index = answer
        .get(4..8)
        .and_then(|index| index.try_into().ok())
        .map_or(0, u32::from_ne_bytes);
    let mut outside = Messages::default();
    add_address(&mut outside, index, gateway);
    add_route(&mut outside, index, Some(address), None);
    host.apply(&outside)?;

    let mut inside = Messages::default();
    for index in [LOOPBACK, INSIDE] {
        inside.add(libc::RTM_NEWLINK, ACKNOWLEDGE, &link_header(index, true), |_| {});
    }
    add_address(&mut inside, INSIDE, address);
    add_route(&mut inside, INSIDE, Some(gateway), None);
    add_route(&mut inside, INSIDE, None, Some(gateway));
    Socket::open(libc::NETLINK_ROUTE)?.apply(&inside)
}
