//! Hosts in addresses of files and repositories.

use crate::pattern::{Pattern, split_port};

/// The host that an address is on, as a list names it (`example.com`, `10.0.0.1`, `[::1]`), and the port: of `https://…`,
/// `http://…`, `ssh://user@host/…` and `user@host:path`. None for what can be read in more than one way.
pub fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (usual, authority) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let usual = match scheme.to_ascii_lowercase().as_str() {
                "http" => 80,
                "https" => 443,
                "ssh" => 22,
                _ => return None,
            };
            (usual, rest.split(['/', '?', '#']).next()?)
        }
        // As scp has it: what is behind the colon is a path. `https:/host` is not meant so.
        None => {
            let (place, path) = url.split_once(':')?;
            let is_scheme = ["http", "https", "ssh", "git", "ftp", "file"]
                .iter()
                .any(|scheme| place.eq_ignore_ascii_case(scheme));
            if is_scheme && path.starts_with('/') {
                return None;
            }
            (22, place)
        }
    };
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (host, port) = split_port(place);
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => usual,
    };
    let host: Pattern = host.parse().ok()?;
    host.is_one().then(|| (host.to_string(), port))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn hosts_are_read_from_addresses() {
        for (url, host, port) in [
            ("https://A.example/x", "a.example", 443),
            ("http://127.0.0.1:8080", "127.0.0.1", 8080),
            ("https://a.example?x=https://evil.example", "a.example", 443),
            ("ssh://git@a.example:2222/x.git", "a.example", 2222),
            ("git@a.example:team/x.git", "a.example", 22),
            ("https://user:word@a.example/", "a.example", 443),
            ("https://[0::1]:1/", "[::1]", 1),
        ] {
            assert_eq!(host_and_port(url), Some((host.to_owned(), port)), "{url}");
        }
        for url in [
            "https:/a.example",
            "https://*.example/",
            "https://evil.example\\.a.example/",
            "https://a.example\t/",
            "https:///x",
            "ftp://a.example/",
            "a.example/x",
            "https://a.example:x/",
        ] {
            assert_eq!(host_and_port(url), None, "{url}");
        }
    }
}
