//! What is asked for: a URL, headers, and who asks. Values that are secret do not show in debugging output.

use std::fmt;

use reqwest::{
    Url,
    header::{
        AUTHORIZATION, COOKIE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, PROXY_AUTHORIZATION,
    },
};
use serde::{Deserialize, Serialize};
use wharf_hosts::Hosts;

use crate::{digest::Expected, error::Error};

/// A secret value and what it is used for. Never sent to another server than the one that was asked.
pub enum Secret<'v> {
    /// The value of a header.
    Header(&'v str, &'v [u8]),
    /// A bearer token.
    Bearer(&'v [u8]),
    /// A user's password.
    Basic(&'v str, &'v [u8]),
}

/// A file to be fetched.
#[derive(Clone)]
pub struct Request {
    pub(crate) url: Url,
    pub(crate) shown: String,
    pub(crate) headers: HeaderMap,
    /// Sent to the server that was asked and to no other.
    pub(crate) secret_headers: HeaderMap,
    pub(crate) user: Option<String>,
    pub(crate) expected: Option<Expected>,
    pub(crate) known: Option<Validators>,
    /// The servers that may be asked, wherever answers lead; any when absent.
    pub(crate) hosts: Option<Hosts>,
}

/// What a server says a file's content can be told by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .map(str::to_owned)
        };
        Self {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        }
    }

    /// Do they tell anything?
    pub fn can_tell(&self) -> bool {
        self.condition().is_some()
    }

    /// What makes a request for a part one for the same file: a strong tag, or a date. A weak tag tells too little.
    pub(crate) fn condition(&self) -> Option<String> {
        let strong = self.etag.clone().filter(|etag| !etag.starts_with("W/"));
        strong.or_else(|| self.last_modified.clone())
    }
}

impl Request {
    /// A request for the file at this URL, which people see as `shown`: URLs often hold tokens.
    ///
    /// # Errors
    /// When the URL is none, is not of `http` or `https`, or holds a password.
    pub fn new(url: &str, shown: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::Invalid(format!("{shown} cannot be fetched: {why}"));
        let parsed = Url::parse(url).map_err(|error| invalid(format!("it is no URL: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            let scheme = parsed.scheme();
            return Err(invalid(format!(
                "files are fetched by https and http, not by {scheme}"
            )));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(invalid(
                "it has credentials in it: give them as a secret, beside the URL".to_owned(),
            ));
        }
        Ok(Self {
            url: parsed,
            shown: shown.to_owned(),
            headers: HeaderMap::new(),
            secret_headers: HeaderMap::new(),
            user: None,
            expected: None,
            known: None,
            hosts: None,
        })
    }

    /// Sends a header along.
    ///
    /// # Errors
    /// When name or value are not those of a header.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let parsed = header_name(name)?;
        let value = HeaderValue::from_str(value).map_err(|_| {
            Error::Invalid(format!(
                "the value of the header {name} has characters that no header can"
            ))
        })?;
        let headers = if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&parsed) {
            &mut self.secret_headers
        } else {
            &mut self.headers
        };
        headers.append(parsed, value);
        Ok(())
    }

    /// Sends a secret along.
    ///
    /// # Errors
    /// When the secret's value cannot stand in a header.
    pub fn secret(&mut self, secret: &Secret<'_>) -> Result<(), Error> {
        let (name, text) = match secret {
            Secret::Header(name, value) => (header_name(name)?, value.to_vec()),
            Secret::Bearer(token) => (AUTHORIZATION, [b"Bearer ", *token].concat()),
            Secret::Basic(user, password) => {
                self.user = Some((*user).to_owned());
                let pair = [user.as_bytes(), b":", password].concat();
                (AUTHORIZATION, format!("Basic {}", base64(&pair)).into_bytes())
            }
        };
        let mut value = HeaderValue::from_bytes(&text).map_err(|_| {
            Error::Invalid(format!(
                "the secret for the header {name} has characters that no header can: a line end at its end, perhaps"
            ))
        })?;
        value.set_sensitive(true);
        self.secret_headers.append(name, value);
        Ok(())
    }

    /// Asks no other servers than these.
    pub fn only_from(&mut self, hosts: Hosts) {
        self.hosts = Some(hosts);
    }

    /// Checks the content against this digest.
    pub fn expect(&mut self, expected: Expected) {
        self.expected = Some(expected);
    }

    /// The digest that the content is checked against.
    pub fn expected(&self) -> Option<&Expected> {
        self.expected.as_ref()
    }

    /// Asks for the content only when it is not the one that is told by these.
    pub fn unless(&mut self, known: Validators) {
        self.known = Some(known);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("url", &self.shown)
            .finish_non_exhaustive()
    }
}

fn header_name(name: &str) -> Result<HeaderName, Error> {
    name.parse()
        .map_err(|_| Error::Invalid(format!("{name:?} is no name of a header")))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Request, Secret};

    #[test]
    fn other_urls_are_refused_without_their_credentials() {
        let refused = |url| Request::new(url, "that file").unwrap_err().to_string();
        let text = refused("https://ann:word@a.example/x");
        assert!(!text.contains("word") && text.contains("secret"), "{text}");
        assert!(refused("ftp://a.example/x").contains("not by ftp"));
        assert!(refused("a.example/x").contains("no URL"));
    }

    #[test]
    fn a_secret_is_not_in_debugging_output_or_errors() {
        let mut request = Request::new("https://a.example/x?key=word", "https://a.example/x").unwrap();
        request.secret(&Secret::Bearer(b"opensesame")).unwrap();
        let text = format!("{request:?} {:?}", request.secret_headers);
        assert!(!text.contains("opensesame") && !text.contains("word"), "{text}");
        let error = request
            .secret(&Secret::Header("x-token", b"open\nsesame"))
            .unwrap_err();
        assert!(!error.to_string().contains("sesame") && error.to_string().contains("x-token"));
    }
}
