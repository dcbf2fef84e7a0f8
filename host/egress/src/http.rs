//! For which hosts a client of HTTP/1 asks, which is not encrypted: every request of a connection is looked at before it goes on.

use httparse::{EMPTY_HEADER, ParserConfig, Request, Status};

/// The longest head of a request, in bytes.
const LONGEST: usize = 64 << 10;
/// How many headers a request may have.
const HEADERS: usize = 128;

/// The requests of one connection, as far as they have come.
#[derive(Default)]
pub(crate) struct Requests {
    held: Vec<u8>,
    place: Place,
}

/// Where the next bytes belong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// To a head.
    #[default]
    Head,
    /// To a body, of which so many bytes are to come.
    Body(u64),
    /// To the line that says how long the next part of a body is.
    Length,
    /// To a part of a body, of which so many bytes are to come, a line's end among them.
    Part(u64),
    /// To what follows the last part of a body.
    Trailer,
}

/// Why a connection does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This is no request of HTTP/1 that can be read in one way alone.
    Unreadable,
    /// A request is for this host.
    Host(String),
}

/// Could these first bytes of a connection be a request? None as long as nobody can tell.
pub(crate) fn is_request(first: &[u8]) -> Option<bool> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let names_http = |line: &[u8]| line.windows(5).any(|window| window == b"HTTP/");
    match Request::new(&mut headers).parse(first) {
        Ok(Status::Complete(_)) => Some(true),
        Ok(Status::Partial) => None,
        // What looks like one to somebody is taken for one, and found to be unreadable.
        Err(_) => Some(names_http(line)),
    }
}

impl Requests {
    /// Takes what the client sent, and gives back what may go on to the server: requests whose host `is_allowed`.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        is_allowed: impl Fn(&str) -> bool,
    ) -> Result<Vec<u8>, Refusal> {
        self.held.extend_from_slice(bytes);
        let mut done = 0;
        loop {
            let rest = &self.held[done..];
            let (taken, next) = match self.place {
                Place::Head => match head(rest, &is_allowed)? {
                    Some((length, next)) => (length, next),
                    None => break,
                },
                Place::Body(0) => (0, Place::Head),
                Place::Part(0) => (0, Place::Length),
                Place::Body(_) | Place::Part(_) if rest.is_empty() => break,
                Place::Body(left) => {
                    let taken = left.min(rest.len() as u64);
                    (taken as usize, Place::Body(left - taken))
                }
                Place::Part(left) => {
                    let taken = left.min(rest.len() as u64);
                    (taken as usize, Place::Part(left - taken))
                }
                Place::Length => match httparse::parse_chunk_size(rest) {
                    Ok(Status::Complete((length, 0))) => (length, Place::Trailer),
                    Ok(Status::Complete((length, size))) => {
                        let with_line_end = size.checked_add(2).ok_or(Refusal::Unreadable)?;
                        (length, Place::Part(with_line_end))
                    }
                    Ok(Status::Partial) => break,
                    Err(_) => return Err(Refusal::Unreadable),
                },
                Place::Trailer => match rest.iter().position(|byte| *byte == b'\n') {
                    Some(end) if rest[..end].iter().all(|byte| *byte == b'\r') => (end + 1, Place::Head),
                    Some(end) => (end + 1, Place::Trailer),
                    None => break,
                },
            };
            done += taken;
            self.place = next;
        }
        let on = self.held.drain(..done).collect();
        if self.held.len() > LONGEST {
            return Err(Refusal::Unreadable);
        }
        Ok(on)
    }
}

/// The length of a request's head, and what comes behind it; none when it is not complete.
fn head(bytes: &[u8], is_allowed: impl Fn(&str) -> bool) -> Result<Option<(usize, Place)>, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    let length = match ParserConfig::default().parse_request(&mut request, bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(Refusal::Unreadable),
    };
    let values = |name: &'static str| {
        let of_name = request
            .headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name));
        of_name.map(|header| std::str::from_utf8(header.value).unwrap_or("?").trim())
    };
    // Any other target names a host of its own, as for a proxy.
    if !request
        .path
        .is_some_and(|path| path.starts_with('/') || path == "*")
    {
        return Err(Refusal::Unreadable);
    }
    let mut hosts = values("host");
    let host = hosts.next().ok_or(Refusal::Unreadable)?.to_ascii_lowercase();
    if hosts.next().is_some() {
        return Err(Refusal::Unreadable);
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => &host,
    };
    if !is_allowed(name) {
        return Err(Refusal::Host(name.to_owned()));
    }
    let lengths: Vec<_> = values("content-length").collect();
    let codings: Vec<_> = values("transfer-encoding").collect();
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Place::Head,
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Place::Body(length.parse().map_err(|_| Refusal::Unreadable)?)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Place::Length,
        // Somebody else may read another length from it, and a request where we saw a body.
        _ => return Err(Refusal::Unreadable),
    };
    Ok(Some((length, body)))
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Requests, is_request};

    fn pushed(text: &str) -> Result<String, Refusal> {
        let allowed = |host: &str| host == "a.example";
        let whole = Requests::default().push(text.as_bytes(), allowed);
        let mut byte_by_byte = Requests::default();
        let mut bytes = Ok(Vec::new());
        for byte in text.bytes() {
            bytes =
                bytes.and_then(|before: Vec<u8>| Ok([before, byte_by_byte.push(&[byte], allowed)?].concat()));
        }
        if whole.is_ok() {
            assert_eq!(whole, bytes);
        }
        whole.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn every_request_of_a_connection_is_looked_at() {
        let get = "GET /x HTTP/1.1\r\nHost: A.example:80\r\n\r\n";
        let put = "PUT / HTTP/1.1\r\nhost: a.example\r\nContent-Length: 5\r\n\r\nGET /";
        let parts = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
        let all = [get, put, parts, get].concat();
        assert_eq!(pushed(&all), Ok(all.clone()));
        let evil = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        for before in ["", get, put, parts] {
            let text = [before, evil].concat();
            assert_eq!(
                pushed(&text),
                Err(Refusal::Host("evil.example".to_owned())),
                "{text}"
            );
        }
        assert_eq!(pushed("GET / HTTP/1.1\r\nHost: a.exa"), Ok(String::new()));
    }

    #[test]
    fn what_can_be_read_in_two_ways_goes_no_further() {
        for text in [
            "GET http://evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "CONNECT evil.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nHost: evil.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(pushed(text), Err(Refusal::Unreadable), "{text}");
        }
    }

    #[test]
    fn requests_are_told_from_other_protocols() {
        for (first, is) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some(true)),
            ("GET / HT", None),
            ("PRI * HTTP/2.0\r\n\r\n", Some(true)),
            ("GET  / HTTP/1.1 \r\n", Some(true)),
            ("SSH-2.0-OpenSSH_9.2\r\n", Some(false)),
            ("\u{0}\u{1}", Some(false)),
        ] {
            assert_eq!(is_request(first.as_bytes()), is, "{first:?}");
        }
    }
}
