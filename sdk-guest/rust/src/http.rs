//! The right to fetch files by URL. The engine fetches them: no step needs a network for it.
//!
//! ```no_run
//! # use wharf_sdk::prelude::*;
//! # fn tools(token: Secret) -> (File, Directory) {
//! let tool = http::fetch("https://downloads.example/tool-1.4.0-linux.tar.gz")
//!     .digest("sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae");
//! let private = http::fetch("https://artifacts.example/model.bin").bearer_auth(&token);
//! # (private.into(),
//! tool.unpack()
//! # )
//! # }
//! ```

use crate::bindings::wharf::pipeline::http as raw;
use crate::{Directory, File, Secret};

/// The file at a URL of `https` or `http`. Without a digest the server is asked once a run whether it has another than the one
/// that is remembered.
pub fn fetch(url: impl Into<String>) -> Fetch {
    Fetch {
        url: url.into(),
        options: raw::FetchOptions::new(),
    }
}

/// A file to be fetched: what is asked for, and as whom. [`Fetch::file`], or `into()`, makes it a [`File`].
#[derive(Debug)]
pub struct Fetch {
    url: String,
    options: raw::FetchOptions,
}

impl Fetch {
    /// What the content must be: `sha256:` and 64 hexadecimal digits (or `sha512:`, `blake3:`). Anything else is an error, and a
    /// file that is known by its digest is not asked for again.
    #[must_use]
    pub fn digest(self, digest: impl AsRef<str>) -> Self {
        self.options.set_digest(digest.as_ref());
        self
    }

    /// Send a header along.
    #[must_use]
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.options.add_header(name.as_ref(), value.as_ref());
        self
    }

    /// Send a header along whose value is secret. Not sent to another server when the one that is asked redirects.
    #[must_use]
    pub fn secret_header(self, name: impl AsRef<str>, value: &Secret) -> Self {
        self.options.add_secret_header(name.as_ref(), &value.0);
        self
    }

    /// Send a secret as a bearer token.
    #[must_use]
    pub fn bearer_auth(self, token: &Secret) -> Self {
        self.options.set_bearer_auth(&token.0);
        self
    }

    /// Send a user's name, and a secret as the password.
    #[must_use]
    pub fn basic_auth(self, user: impl AsRef<str>, password: &Secret) -> Self {
        self.options.set_basic_auth(user.as_ref(), &password.0);
        self
    }

    /// Name of the file. Default: the last part of the URL's path.
    #[must_use]
    pub fn name(self, name: impl AsRef<str>) -> Self {
        self.options.set_name(name.as_ref());
        self
    }

    /// Permission bits of the file. Default: 0o644.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.options.set_mode(mode);
        self
    }

    /// The file.
    pub fn file(&self) -> File {
        raw::fetch(&self.url, Some(&self.options)).into()
    }

    /// What the file holds, as [`File::unpack`].
    pub fn unpack(&self) -> Directory {
        self.file().unpack()
    }
}

impl From<Fetch> for File {
    fn from(fetch: Fetch) -> Self {
        fetch.file()
    }
}
