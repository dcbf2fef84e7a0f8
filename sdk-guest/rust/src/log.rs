//! Words for the person who watches the run, shown among the steps under the module's name.
//!
//! ```
//! use wharf_sdk::prelude::*;
//!
//! async fn each(files: Vec<File>) -> Result<u64> {
//!     let mut bytes = 0;
//!     for (done, file) in files.iter().enumerate() {
//!         log::progress(done as u64, files.len() as u64);
//!         bytes += file.size().await?;
//!     }
//!     log::info(format!("{bytes} bytes in {} files", files.len()));
//!     Ok(bytes)
//! }
//! ```

use crate::bindings::wharf::pipeline::log as raw;

pub use raw::Level;

/// Something worth knowing.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// log::info("3 of 5 packages have changed");
/// ```
pub fn info(message: impl AsRef<str>) {
    raw::info(message.as_ref());
}

/// Something that may be wrong.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// log::warn("the cache is not used: Cargo.lock is missing");
/// ```
pub fn warn(message: impl AsRef<str>) {
    raw::warn(message.as_ref());
}

/// Something that is wrong.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// log::error("no package has tests");
/// ```
pub fn error(message: impl AsRef<str>) {
    raw::error(message.as_ref());
}

/// How far the work is: `current` of `total`.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let packages = ["core", "cli", "docs"];
/// for (done, package) in packages.iter().enumerate() {
///     log::progress(done as u64, packages.len() as u64);
/// }
/// ```
pub fn progress(current: u64, total: u64) {
    raw::progress(current, total);
}

/// A word about a place in a file of the project, and its line, from 1, when it is known.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing::Planner};
/// # let plan = Planner::new().answer("search", Vec::<wharf_sdk::SearchMatch>::new()).plan(async {
/// for found in host::directory("src").search(r"\bdbg!\(").await? {
///     let line = u32::try_from(found.line).ok();
///     log::annotate(log::Level::Warn, "left from debugging", &found.path, line);
/// }
/// # Ok(()) });
/// # assert_eq!(plan.returned, Ok::<(), Error>(()));
/// ```
pub fn annotate(level: Level, message: impl AsRef<str>, path: impl AsRef<str>, line: Option<u32>) {
    raw::annotate(level, message.as_ref(), path.as_ref(), line);
}

/// Words that belong together: each is shown behind the group's title. Groups of concurrent work do not mix.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// # async fn example(containers: Vec<Container>) -> Result<()> {
/// let group = log::Group::new("warming up");
/// for (at, container) in containers.iter().enumerate() {
///     container.sync().await?;
///     group.progress(at as u64 + 1, containers.len() as u64);
/// }
/// group.info("done");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Group(raw::Group);

impl Group {
    /// A group with this title, which is shown.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let group = log::Group::new("integration tests");
    /// ```
    pub fn new(title: impl AsRef<str>) -> Self {
        Self(raw::Group::new(title.as_ref()))
    }

    /// Something worth knowing.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # let group = log::Group::new("integration tests");
    /// group.info("the database is up");
    /// ```
    pub fn info(&self, message: impl AsRef<str>) {
        self.0.say(Level::Info, message.as_ref());
    }

    /// Something that may be wrong.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # let group = log::Group::new("integration tests");
    /// group.warn("two tests were skipped");
    /// ```
    pub fn warn(&self, message: impl AsRef<str>) {
        self.0.say(Level::Warn, message.as_ref());
    }

    /// Something that is wrong.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # let group = log::Group::new("integration tests");
    /// group.error("the server did not answer");
    /// ```
    pub fn error(&self, message: impl AsRef<str>) {
        self.0.say(Level::Error, message.as_ref());
    }

    /// How far the group's work is: `current` of `total`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # let group = log::Group::new("integration tests");
    /// group.progress(3, 8);
    /// ```
    pub fn progress(&self, current: u64, total: u64) {
        self.0.progress(current, total);
    }
}
