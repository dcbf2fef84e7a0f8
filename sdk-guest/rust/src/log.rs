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
pub fn info(message: impl AsRef<str>) {
    raw::info(message.as_ref());
}

/// Something that may be wrong.
pub fn warn(message: impl AsRef<str>) {
    raw::warn(message.as_ref());
}

/// Something that is wrong.
pub fn error(message: impl AsRef<str>) {
    raw::error(message.as_ref());
}

/// How far the work is: `current` of `total`.
pub fn progress(current: u64, total: u64) {
    raw::progress(current, total);
}

/// A word about a place in a file of the project, and its line, from 1, when it is known.
///
/// ```no_run
/// # use wharf_sdk::prelude::*;
/// # async fn example(source: Directory) -> Result<()> {
/// for found in source.search(r"\bdbg!\(").await? {
///     let line = u32::try_from(found.line).ok();
///     log::annotate(log::Level::Warn, "left from debugging", &found.path, line);
/// }
/// # Ok(())
/// # }
/// ```
pub fn annotate(level: Level, message: impl AsRef<str>, path: impl AsRef<str>, line: Option<u32>) {
    raw::annotate(level, message.as_ref(), path.as_ref(), line);
}

/// Words that belong together: each is shown behind the group's title. Groups of concurrent work do not mix.
///
/// ```no_run
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
    pub fn new(title: impl AsRef<str>) -> Self {
        Self(raw::Group::new(title.as_ref()))
    }

    /// Something worth knowing.
    pub fn info(&self, message: impl AsRef<str>) {
        self.0.say(Level::Info, message.as_ref());
    }

    /// Something that may be wrong.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.0.say(Level::Warn, message.as_ref());
    }

    /// Something that is wrong.
    pub fn error(&self, message: impl AsRef<str>) {
        self.0.say(Level::Error, message.as_ref());
    }

    /// How far the group's work is: `current` of `total`.
    pub fn progress(&self, current: u64, total: u64) {
        self.0.progress(current, total);
    }
}
