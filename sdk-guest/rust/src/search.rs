//! What a search in files looks for.

use crate::bindings::wharf::pipeline::filesystem as raw;
use crate::text::owned;

/// How files are searched. All settings are optional.
#[derive(Debug)]
pub struct SearchOptions(pub(crate) raw::SearchOptions);

impl Default for SearchOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SearchOptions {
    /// A regular expression, letter case matters, in every file.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = SearchOptions::new();
    /// ```
    pub fn new() -> Self {
        Self(raw::SearchOptions::new())
    }

    /// The pattern is plain text. Default: false.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let text = SearchOptions::new().literal(true);
    /// ```
    #[must_use]
    pub fn literal(self, enabled: bool) -> Self {
        self.0.set_literal(enabled);
        self
    }

    /// Letter case does not matter. Default: false.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let any_case = SearchOptions::new().ignore_case(true);
    /// ```
    #[must_use]
    pub fn ignore_case(self, enabled: bool) -> Self {
        self.0.set_ignore_case(enabled);
        self
    }

    /// Look only into files that match one of these patterns (gitignore syntax).
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let python = SearchOptions::new().include(["*.py", "!tests/"]);
    /// ```
    #[must_use]
    pub fn include(self, patterns: impl IntoIterator<Item: Into<String>>) -> Self {
        self.0.set_include(&owned(patterns));
        self
    }

    /// Stop after so many lines. Without it more than 10000 are an error.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let first = SearchOptions::new().limit(1);
    /// ```
    #[must_use]
    pub fn limit(self, lines: u32) -> Self {
        self.0.set_limit(lines);
        self
    }
}
