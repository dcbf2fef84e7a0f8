//! Rules for what steps send and get: a table of the packet filter (nftables) of the runner's own, put in place in one
//! transaction. In the filter's own language:
//!
//! ```text
//! table inet wharf {
//!     chain prerouting { type filter hook prerouting priority mangle;
//!         iifname "wharf*" ct state established,related accept
//!         iifname "wharf*" ip daddr <resolver> udp dport 53 accept     (tcp too, for each resolver)
//!         iifname "wharf*" fib daddr type local drop
//!         iifname "wharf*" ip daddr <closed> drop                      (for each)
//!         iifname "wharf*" ip daddr 169.254.0.0/16 drop
//!         iifname "wharf*" ip daddr 10.88.0.0/16 drop
//!         iifname "wharf*" meta nfproto ipv6 drop }
//!     chain forward { type filter hook forward priority filter - 5;
//!         oifname "wharf*" ct state established,related accept
//!         oifname "wharf*" drop }
//!     chain postrouting { type nat hook postrouting priority srcnat;
//!         ip saddr 10.88.0.0/16 oifname != "wharf*" masquerade } }
//! ```
//!
//! And in the namespace in which the links of filtered steps end:
//!
//! ```text
//! table inet wharf {
//!     chain prerouting { type nat hook prerouting priority dstnat;
//!         meta nfproto ipv4 udp dport 53 redirect to :53
//!         meta nfproto ipv4 tcp dport 53 redirect to :53
//!         meta nfproto ipv4 meta l4proto tcp redirect to :15001 }
//!     chain input { type filter hook input priority filter;
//!         meta nfproto ipv4 udp dport 53 accept
//!         meta nfproto ipv4 tcp dport 53 accept
//!         meta nfproto ipv4 tcp dport 15001 accept
//!         drop }
//!     chain forward { type filter hook forward priority filter;
//!         drop } }
//! ```

use std::{io, net::Ipv4Addr};

use super::netlink::{ACKNOWLEDGE, Attributes, Messages, Socket};

const TABLE: &str = "wharf";
/// Where filtered steps' questions for names arrive, and the port to which they are sent.
pub(super) const QUESTIONS: u16 = 53;
/// Where all their other connections arrive.
pub(super) const CONNECTIONS: u16 = 15001;
/// How the names of the host's ends of links begin.
pub(super) const PREFIX: &str = "wharf";

// What linux/netfilter/nf_tables.h names. Attributes count from 1 within their kind.
const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;
const INET: u8 = 1;
/// The register that comparisons use, and the one that takes the verdict.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const META_PROTOCOL_FAMILY: u32 = 15;
const META_TRANSPORT: u32 = 16;
const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// Bits of a connection's state: established or related; and of a packet that belongs to none and begins none.
const KNOWN: u32 = 0x6;
const INVALID: u32 = 0x1;

/// A part of a rule.
enum Part<'r> {
    In,
    Out,
    NotOut,
    /// Of a connection in one of these states.
    Connection(u32),
    /// The first bytes of an address, at an offset of the network header.
    Address(u32, &'r [u8]),
    Port(u8, u16),
    ToTheHost,
    Version4,
    Version6,
    Transport(u8),
    /// To this port of the address of the interface by which it came.
    Redirect(u16),
    Verdict(u32),
    Masquerade,
}

fn expression(list: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    list.nest(1, &[], |element| {
        element.text(1, name);
        element.nest(2, &[], fill);
    });
}

fn meta(list: &mut Attributes<'_>, key: u32) {
    expression(list, "meta", |data| {
        data.big(1, REGISTER);
        data.big(2, key);
    });
}

fn compare(list: &mut Attributes<'_>, operation: u32, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.big(1, REGISTER);
        data.big(2, operation);
        data.nest(3, &[], |data| data.bytes(1, value));
    });
}

fn payload(list: &mut Attributes<'_>, base: u32, offset: u32, length: usize) {
    expression(list, "payload", |data| {
        data.big(1, REGISTER);
        data.big(2, base);
        data.big(3, offset);
        data.big(4, length as u32);
    });
}

impl Part<'_> {
    fn write(&self, list: &mut Attributes<'_>) {
        match self {
            Part::In => {
                meta(list, META_INPUT_NAME);
                compare(list, EQUAL, PREFIX.as_bytes());
            }
            Part::Out | Part::NotOut => {
                meta(list, META_OUTPUT_NAME);
                let operation = if matches!(self, Part::Out) {
                    EQUAL
                } else {
                    NOT_EQUAL
                };
                compare(list, operation, PREFIX.as_bytes());
            }
            Part::Connection(states) => {
                expression(list, "ct", |data| {
                    data.big(1, REGISTER);
                    data.big(2, 0);
                });
                expression(list, "bitwise", |data| {
                    data.big(1, REGISTER);
                    data.big(2, REGISTER);
                    data.big(3, 4);
                    data.nest(4, &[], |mask| mask.bytes(1, &states.to_ne_bytes()));
                    data.nest(5, &[], |xor| xor.bytes(1, &[0; 4]));
                });
                compare(list, NOT_EQUAL, &[0; 4]);
            }
            Part::Address(offset, start) => {
                Part::Version4.write(list);
                payload(list, NETWORK_HEADER, *offset, start.len());
                compare(list, EQUAL, start);
            }
            Part::Port(transport, port) => {
                Part::Transport(*transport).write(list);
                payload(list, TRANSPORT_HEADER, 2, 2);
                compare(list, EQUAL, &port.to_be_bytes());
            }
            Part::ToTheHost => {
                expression(list, "fib", |data| {
                    data.big(1, REGISTER);
                    // The kind of the destination's address, by address alone.
                    data.big(2, 3);
                    data.big(3, 2);
                });
                compare(list, EQUAL, &u32::from(libc::RTN_LOCAL).to_ne_bytes());
            }
            Part::Version4 => {
                meta(list, META_PROTOCOL_FAMILY);
                compare(list, EQUAL, &[libc::NFPROTO_IPV4 as u8]);
            }
            Part::Transport(transport) => {
                meta(list, META_TRANSPORT);
                compare(list, EQUAL, &[*transport]);
            }
            Part::Redirect(port) => {
                expression(list, "immediate", |data| {
                    data.big(1, REGISTER);
                    data.nest(2, &[], |data| data.bytes(1, &port.to_be_bytes()));
                });
                expression(list, "redir", |data| data.big(1, REGISTER));
            }
            Part::Version6 => {
                meta(list, META_PROTOCOL_FAMILY);
                compare(list, EQUAL, &[libc::NFPROTO_IPV6 as u8]);
            }
            Part::Verdict(verdict) => expression(list, "immediate", |data| {
                data.big(1, VERDICT);
                data.nest(2, &[], |data| data.nest(2, &[], |inner| inner.big(1, *verdict)));
            }),
            Part::Masquerade => expression(list, "masq", |_| {}),
        }
    }
}

fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}

fn chain(messages: &mut Messages, name: &str, kind: &str, hook: u32, priority: i32) {
    messages.add(NEW_CHAIN, CREATE, &header(INET, 0), |attributes| {
        attributes.text(1, TABLE);
        attributes.text(3, name);
        attributes.nest(4, &[], |place| {
            place.big(1, hook);
            place.big(2, priority as u32);
        });
        attributes.big(5, ACCEPT);
        attributes.text(7, kind);
    });
}

fn rule(messages: &mut Messages, chain: &str, parts: &[Part<'_>]) {
    messages.add(NEW_RULE, CREATE | APPEND, &header(INET, 0), |attributes| {
        attributes.text(1, TABLE);
        attributes.text(2, chain);
        attributes.nest(4, &[], |list| {
            for part in parts {
                part.write(list);
            }
        });
    });
}

/// Where the rules are.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// Among the host's own.
    Host,
    /// In a network that is there for steps alone, beyond which a program passes on what they send.
    Own {
        /// Addresses that steps do not reach beside those that they never do.
        closed: &'a [Ipv4Addr],
    },
}

/// Puts the rules in place of earlier ones. Steps reach the resolvers even where they are the host itself.
pub(super) fn install(pool: &[u8], resolvers: &[Ipv4Addr], place: Place<'_>) -> io::Result<()> {
    let mut messages = begin();
    chain(
        &mut messages,
        "prerouting",
        "filter",
        libc::NF_INET_PRE_ROUTING as u32,
        -150,
    );
    let mut incoming = |parts: &[Part<'_>]| rule(&mut messages, "prerouting", parts);
    let closed = match place {
        Place::Host => &[],
        Place::Own { closed } => {
            // Of a packet that is no part of a connection the address is not put back, so that the kernel would take it for its own
            // and refuse it, which ends the connection. pasta tells of its window by packets without any flag.
            incoming(&[Part::Connection(INVALID), Part::Verdict(DROP)]);
            closed
        }
    };
    incoming(&[Part::In, Part::Connection(KNOWN), Part::Verdict(ACCEPT)]);
    for resolver in resolvers {
        for transport in [libc::IPPROTO_UDP, libc::IPPROTO_TCP] {
            let address = resolver.octets();
            let to = Part::Address(DESTINATION, &address);
            incoming(&[
                Part::In,
                to,
                Part::Port(transport as u8, 53),
                Part::Verdict(ACCEPT),
            ]);
        }
    }
    incoming(&[Part::In, Part::ToTheHost, Part::Verdict(DROP)]);
    for address in closed {
        let address = address.octets();
        incoming(&[
            Part::In,
            Part::Address(DESTINATION, &address),
            Part::Verdict(DROP),
        ]);
    }
    incoming(&[
        Part::In,
        Part::Address(DESTINATION, &[169, 254]),
        Part::Verdict(DROP),
    ]);
    incoming(&[Part::In, Part::Address(DESTINATION, pool), Part::Verdict(DROP)]);
    incoming(&[Part::In, Part::Version6, Part::Verdict(DROP)]);

    chain(
        &mut messages,
        "forward",
        "filter",
        libc::NF_INET_FORWARD as u32,
        -5,
    );
    rule(
        &mut messages,
        "forward",
        &[Part::Out, Part::Connection(KNOWN), Part::Verdict(ACCEPT)],
    );
    rule(&mut messages, "forward", &[Part::Out, Part::Verdict(DROP)]);

    chain(
        &mut messages,
        "postrouting",
        "nat",
        libc::NF_INET_POST_ROUTING as u32,
        100,
    );
    rule(
        &mut messages,
        "postrouting",
        &[Part::Address(SOURCE, pool), Part::NotOut, Part::Masquerade],
    );
    commit(messages)
}

/// Puts the rules in place where the links of filtered steps end.
pub(super) fn install_filter() -> io::Result<()> {
    const TCP: u8 = libc::IPPROTO_TCP as u8;
    const UDP: u8 = libc::IPPROTO_UDP as u8;
    let mut messages = begin();
    let hook = libc::NF_INET_PRE_ROUTING as u32;
    chain(&mut messages, "prerouting", "nat", hook, -100);
    for (which, to) in [
        (Part::Port(UDP, QUESTIONS), QUESTIONS),
        (Part::Port(TCP, QUESTIONS), QUESTIONS),
        (Part::Transport(TCP), CONNECTIONS),
    ] {
        rule(
            &mut messages,
            "prerouting",
            &[Part::Version4, which, Part::Redirect(to)],
        );
    }
    chain(&mut messages, "input", "filter", libc::NF_INET_LOCAL_IN as u32, 0);
    for (transport, port) in [(UDP, QUESTIONS), (TCP, QUESTIONS), (TCP, CONNECTIONS)] {
        let which = Part::Port(transport, port);
        rule(
            &mut messages,
            "input",
            &[Part::Version4, which, Part::Verdict(ACCEPT)],
        );
    }
    rule(&mut messages, "input", &[Part::Verdict(DROP)]);
    chain(
        &mut messages,
        "forward",
        "filter",
        libc::NF_INET_FORWARD as u32,
        0,
    );
    rule(&mut messages, "forward", &[Part::Verdict(DROP)]);
    commit(messages)
}

/// A transaction that begins with an empty table in place of an earlier one.
fn begin() -> Messages {
    let mut messages = Messages::default();
    messages.add(BATCH_BEGIN, 0, &header(0, 10), |_| {});
    let table = |attributes: &mut Attributes<'_>| attributes.text(1, TABLE);
    // Made before it is removed, so that there is something to remove.
    messages.add(NEW_TABLE, CREATE, &header(INET, 0), table);
    messages.add(DELETE_TABLE, 0, &header(INET, 0), table);
    messages.add(NEW_TABLE, CREATE, &header(INET, 0), table);
    messages
}

fn commit(mut messages: Messages) -> io::Result<()> {
    // Acknowledged last: what is refused before it is said before it.
    messages.add(BATCH_END, ACKNOWLEDGE, &header(0, 10), |_| {});
    Socket::open(libc::NETLINK_NETFILTER)?.apply(&messages)
}

#[cfg(test)]
mod tests;
