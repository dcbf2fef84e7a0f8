//! For which host a client of TLS asks: read from its first message, which is not encrypted.

use rustls::server::Acceptor;

/// The longest first message that is read, in bytes: keys of new kinds make it long, nothing makes it this long.
const LONGEST: usize = 64 << 10;

/// How far a client's first message is read.
pub(crate) struct Hello {
    acceptor: Acceptor,
    read: usize,
}

/// What is known of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is not complete.
    Part,
    /// It is for the host of this name, in lower case.
    Host(String),
    /// It names no host.
    Nobody,
    /// It is not one of TLS.
    Broken,
}

impl Hello {
    pub(crate) fn new() -> Self {
        Self {
            acceptor: Acceptor::default(),
            read: 0,
        }
    }

    /// Could bytes that start so be of TLS?
    pub(crate) fn starts(first: u8) -> bool {
        first == 0x16
    }

    /// Reads on.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Said {
        self.read += bytes.len();
        if self.read > LONGEST {
            return Said::Broken;
        }
        while !bytes.is_empty() {
            match self.acceptor.read_tls(&mut bytes) {
                Ok(0) | Err(_) => return Said::Broken,
                Ok(_) => {}
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let host = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return host.map_or(Said::Nobody, Said::Host);
                }
                Err(_) => return Said::Broken,
            }
        }
        Said::Part
    }
}

#[cfg(test)]
mod tests {
    use super::{Hello, Said};

    /// A first message of TLS 1.2 with these extensions.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &with_length(&[0xc0, 0x2f]),
            &[1, 0],
            &with_length(extensions),
        ]
        .concat();
        let handshake = [&[1, 0][..], &with_length(&body)].concat();
        [&[0x16, 3, 1][..], &with_length(&handshake)].concat()
    }

    const SCHEMES: &[u8] = &[0, 13, 0, 4, 0, 2, 4, 1];

    fn named(name: &str) -> Vec<u8> {
        let length = name.len() as u8;
        let server_name = [
            &[0, 0, 0, length + 5, 0, length + 3, 0, 0, length][..],
            name.as_bytes(),
        ]
        .concat();
        message(&[&server_name, SCHEMES].concat())
    }

    #[test]
    fn the_host_is_read_however_the_message_comes() {
        let bytes = named("A.example");
        let host = Said::Host("a.example".to_owned());
        assert_eq!(Hello::new().push(&bytes), host);
        let mut hello = Hello::new();
        let (last, before) = bytes.split_last().unwrap();
        for byte in before {
            assert_eq!(hello.push(&[*byte]), Said::Part);
        }
        assert_eq!(hello.push(&[*last]), host);
    }

    #[test]
    fn what_names_no_host_or_is_no_message_is_told() {
        assert_eq!(Hello::new().push(&message(SCHEMES)), Said::Nobody);
        assert_eq!(Hello::new().push(&[0x16, 3, 1, 0, 4, 2, 0, 0, 0]), Said::Broken);
        assert_eq!(Hello::new().push(b"\x16GET / HTTP/1.1\r\n"), Said::Broken);
    }
}
