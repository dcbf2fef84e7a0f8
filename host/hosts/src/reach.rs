//! Whose an address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anybody's.
    Public,
    /// Of a network that is not part of the internet: a company's, a home's, a provider's.
    Private,
    /// This machine's own, a link's, many machines' at once, or a cloud's metadata server: no name may lead there.
    Never,
}

/// Servers that tell a machine of a cloud who it is, at addresses that do not show it.
const METADATA: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The same, of version 6.
const METADATA6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl Reach {
    /// Whose this address is.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_4(address),
            IpAddr::V6(address) => Self::of_6(address),
        }
    }

    fn of_4(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        let is_never = first == 0
            || first >= 224
            || address.is_loopback()
            || address.is_link_local()
            || METADATA.contains(&address);
        if is_never {
            Self::Never
        } else if address.is_private() || first == 100 && (64..128).contains(&second) {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_6(address: Ipv6Addr) -> Self {
        let segments = address.segments();
        let inner = match segments {
            // An address of version 4, written as one of version 6, behind a translator, or as a place of its own.
            [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
            [0x2002, high, low, ..] => Some((high, low)),
            _ => None,
        };
        if let Some((high, low)) = inner {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            return Self::of_4(Ipv4Addr::new(a, b, c, d));
        }
        let is_never = segments[..6] == [0; 6]
            || address.is_multicast()
            || address.is_unicast_link_local()
            || METADATA6.contains(&address);
        if is_never {
            Self::Never
        } else if address.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reach;

    #[test]
    fn addresses_are_told_apart() {
        for (address, reach) in [
            ("93.184.215.14", Reach::Public),
            ("2606:4700::1111", Reach::Public),
            ("10.0.0.1", Reach::Private),
            ("172.31.0.1", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd12::1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("0.0.0.0", Reach::Never),
            ("127.0.0.53", Reach::Never),
            ("169.254.169.254", Reach::Never),
            ("100.100.100.200", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("::1", Reach::Never),
            ("::", Reach::Never),
            ("::7f00:1", Reach::Never),
            ("fe80::1", Reach::Never),
            ("ff02::1", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("::ffff:127.0.0.1", Reach::Never),
            ("64:ff9b::a9fe:a9fe", Reach::Never),
            ("2002:7f00:1::", Reach::Never),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }
}
