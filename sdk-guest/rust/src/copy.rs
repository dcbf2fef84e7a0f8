//! What of a directory is taken when it is copied: the options of `with_directory_opts` and its kin.

use crate::bindings::wharf::pipeline::filesystem as raw;
use crate::text::owned;

/// What of a directory is taken, and how it arrives. All settings are optional.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// fn sources(project: &Directory) -> Directory {
///     let options = CopyOptions::new().include(["src/**", "Cargo.*"]).exclude(["**/*.bak"]);
///     project.filter(&options)
/// }
/// ```
#[derive(Debug)]
pub struct CopyOptions(pub(crate) raw::CopyOptions);

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CopyOptions {
    /// Take everything, keep mode and owner.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let all = CopyOptions::new();
    /// ```
    pub fn new() -> Self {
        Self(raw::CopyOptions::new())
    }

    /// Take only what matches one of these patterns (gitignore syntax with `**`; a leading `!` takes out again).
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let sources = CopyOptions::new().include(["*.rs", "Cargo.*"]);
    /// ```
    #[must_use]
    pub fn include(self, patterns: impl IntoIterator<Item: Into<String>>) -> Self {
        self.0.set_include(&owned(patterns));
        self
    }

    /// Leave out what matches one of these patterns, after `include`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let without = CopyOptions::new().exclude(["target", "*.log"]);
    /// ```
    #[must_use]
    pub fn exclude(self, patterns: impl IntoIterator<Item: Into<String>>) -> Self {
        self.0.set_exclude(&owned(patterns));
        self
    }

    /// Leave out what the tree's own .gitignore files leave out. Default: false, except for the host's directories.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tracked = host::directory_opts(".", &CopyOptions::new().gitignore(true));
    /// ```
    #[must_use]
    pub fn gitignore(self, enabled: bool) -> Self {
        self.0.set_gitignore(enabled);
        self
    }

    /// Owner and group of what arrives: `user`, `user:group`, names or numbers. Default: as in the source.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let for_the_app = CopyOptions::new().owner("app:app");
    /// ```
    #[must_use]
    pub fn owner(self, owner: impl AsRef<str>) -> Self {
        self.0.set_owner(owner.as_ref());
        self
    }

    /// Permission bits of files that arrive, such as 0o644. Default: as in the source.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let programs = CopyOptions::new().include(["*.sh"]).mode(0o755);
    /// ```
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.0.set_mode(mode);
        self
    }
}
