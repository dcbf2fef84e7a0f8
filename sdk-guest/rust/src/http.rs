//! The right to fetch files by URL. The engine fetches them: no step needs a network for it.
//!
//! ```
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
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let data = http::fetch("https://example.com/data.csv").file();
/// ```
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
    /// What the content must be: `sha256:` and 64 hexadecimal digits (or `sha512:`, `blake3:`, git's
    /// `gitoid:blob:sha1:`). Anything else is an error, and a file that is known by its digest is not asked for again.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tool = http::fetch("https://example.com/tool")
    ///     .digest("sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae")
    ///     .file();
    /// ```
    #[must_use]
    pub fn digest(self, digest: impl AsRef<str>) -> Self {
        self.options.set_digest(digest.as_ref());
        self
    }

    /// Send a header along.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let page = http::fetch("https://example.com/api").header("Accept", "application/json").file();
    /// ```
    #[must_use]
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.options.add_header(name.as_ref(), value.as_ref());
        self
    }

    /// Send a header along whose value is secret. Not sent to another server when the one that is asked redirects.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn private(key: &Secret) -> File {
    ///     http::fetch("https://example.com/model.bin").secret_header("X-Api-Key", key).file()
    /// }
    /// # private(&Secret::of_value("key", "x"));
    /// ```
    #[must_use]
    pub fn secret_header(self, name: impl AsRef<str>, value: &Secret) -> Self {
        self.options.add_secret_header(name.as_ref(), &value.0);
        self
    }

    /// Send a secret as a bearer token.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn private(token: &Secret) -> File {
    ///     http::fetch("https://example.com/model.bin").bearer_auth(token).file()
    /// }
    /// # private(&Secret::of_value("token", "x"));
    /// ```
    #[must_use]
    pub fn bearer_auth(self, token: &Secret) -> Self {
        self.options.set_bearer_auth(&token.0);
        self
    }

    /// Send a user's name, and a secret as the password.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn private(password: &Secret) -> File {
    ///     http::fetch("https://example.com/model.bin").basic_auth("ann", password).file()
    /// }
    /// # private(&Secret::of_value("password", "x"));
    /// ```
    #[must_use]
    pub fn basic_auth(self, user: impl AsRef<str>, password: &Secret) -> Self {
        self.options.set_basic_auth(user.as_ref(), &password.0);
        self
    }

    /// Name of the file. Default: the last part of the URL's path.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let jar = http::fetch("https://example.com/download?id=17").name("app.jar").file();
    /// ```
    #[must_use]
    pub fn name(self, name: impl AsRef<str>) -> Self {
        self.options.set_name(name.as_ref());
        self
    }

    /// Permission bits of the file. Default: 0o644.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tool = http::fetch("https://example.com/kubectl").mode(0o755).file();
    /// ```
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.options.set_mode(mode);
        self
    }

    /// The file.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let kubectl = http::fetch("https://example.com/kubectl").mode(0o755).file();
    /// let tools = image::pull("alpine:3.20").with_file("/usr/local/bin/kubectl", &kubectl);
    /// ```
    pub fn file(&self) -> File {
        raw::fetch(&self.url, Some(&self.options)).into()
    }

    /// What the file holds, as [`File::unpack`].
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let sources = http::fetch("https://example.com/zlib-1.3.1.tar.gz").unpack().directory("zlib-1.3.1");
    /// ```
    pub fn unpack(&self) -> Directory {
        self.file().unpack()
    }
}

impl From<Fetch> for File {
    fn from(fetch: Fetch) -> Self {
        fetch.file()
    }
}
