//! The name servers that steps with network ask.

/// Where systemd's resolver lists the servers that it asks itself.
const BEHIND_SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// The contents of steps' `/etc/resolv.conf`.
pub(crate) fn resolv_conf() -> String {
    let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    usable(own, || std::fs::read_to_string(BEHIND_SYSTEMD).ok())
}

/// A step's loopback is its own, so servers on the host's loopback are replaced by those behind them, when they are known.
fn usable(own: String, behind: impl Fn() -> Option<String>) -> String {
    let only_loopback = |text: &str| {
        let mut servers = text
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver"))
            .map(str::trim)
            .peekable();
        servers.peek().is_some() && servers.all(|server| server.starts_with("127.") || server == "::1")
    };
    if !only_loopback(&own) {
        return own;
    }
    behind().filter(|text| !only_loopback(text)).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::usable;

    #[test]
    fn a_loopback_resolver_is_looked_behind() {
        let behind = || Some("nameserver 10.0.0.2\n".to_owned());
        assert_eq!(
            usable("nameserver 127.0.0.53\n".to_owned(), behind),
            "nameserver 10.0.0.2\n"
        );
        assert_eq!(
            usable("nameserver 9.9.9.9\n".to_owned(), behind),
            "nameserver 9.9.9.9\n"
        );
        assert_eq!(
            usable("nameserver 127.0.0.53\n".to_owned(), || None),
            "nameserver 127.0.0.53\n"
        );
    }
}
