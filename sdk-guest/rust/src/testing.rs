//! Tests of a module's functions without an engine, in plain `cargo test`: a function is run against a recorder, and what it
//! plans is compared as text. Nothing is executed; reads are answered by the test.
//!
//! ```
//! use wharf_sdk::{prelude::*, testing};
//!
//! async fn count(source: Directory) -> Result<u32> {
//!     let counted = image::pull("busybox:latest")
//!         .with_mounted_directory("/src", &source)
//!         .with_exec(["sh", "-c", "ls /src | wc -l"]);
//!     Ok(counted.stdout().await?.trim().parse()?)
//! }
//!
//! let plan = testing::Planner::new()
//!     .answer("stdout", "3\n")
//!     .plan(count(testing::directory("source")));
//! assert_eq!(plan.returned, Ok(3));
//! assert_eq!(
//!     plan.to_string(),
//!     r#"
//! container 1
//!   image::pull("busybox:latest")
//!   .with_mounted_directory("/src", source)
//!   .with_exec(["sh", "-c", "ls /src | wc -l"])
//! container 1.stdout() -> "3\n"
//! "#
//!     .trim_start()
//! );
//! ```

use std::{fmt, future::Future};

use futures_util::FutureExt;

pub use crate::native::Answer;
use crate::{
    CacheVolume, Changeset, Container, Directory, File, Secret, Service,
    bindings::wharf::pipeline as raw,
    native::{Handle, Handles, Node, Recording, planned},
    wire::Wire,
};

/// A directory that a caller could pass, shown by this name.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// async fn function(value: Directory) -> File {
///     value.file("README.md")
/// }
/// let plan = testing::plan(function(testing::directory("given")));
/// assert!(plan.to_string().contains("given"));
/// ```
pub fn directory(name: &str) -> Directory {
    raw::filesystem::Directory::of(Node::stand_in("directory", name)).into()
}

/// A file that a caller could pass, shown by this name.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// async fn function(value: File) -> Directory {
///     value.unpack()
/// }
/// let plan = testing::plan(function(testing::file("given")));
/// assert!(plan.to_string().contains("given"));
/// ```
pub fn file(name: &str) -> File {
    raw::filesystem::File::of(Node::stand_in("file", name)).into()
}

/// A container that a caller could pass, shown by this name.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// async fn function(value: Container) -> Container {
///     value.with_workdir("/")
/// }
/// let plan = testing::plan(function(testing::container("given")));
/// assert!(plan.to_string().contains("given"));
/// ```
pub fn container(name: &str) -> Container {
    raw::container::Container::of(Node::stand_in("container", name)).into()
}

/// A secret that a caller could pass, shown by this name. It has no value.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// async fn function(value: Secret) -> Container {
///     Container::new().with_secret_variable("TOKEN", &value)
/// }
/// let plan = testing::plan(function(testing::secret("given")));
/// assert!(plan.to_string().contains("given"));
/// ```
pub fn secret(name: &str) -> Secret {
    raw::secret::Secret::of(Node::stand_in("secret", name)).into()
}

/// A cache volume that a caller could pass, shown by this name.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// async fn function(value: CacheVolume) -> Container {
///     Container::new().with_mounted_cache("/cache", &value)
/// }
/// let plan = testing::plan(function(testing::cache("given")));
/// assert!(plan.to_string().contains("given"));
/// ```
pub fn cache(name: &str) -> CacheVolume {
    raw::cache::Volume::of(Node::stand_in("cache volume", name)).into()
}

/// A service that a caller could pass, shown by this name.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// async fn function(value: Service) -> Container {
///     Container::new().with_service("db", &value)
/// }
/// let plan = testing::plan(function(testing::service("given")));
/// assert!(plan.to_string().contains("given"));
/// ```
pub fn service(name: &str) -> Service {
    raw::service::Service::of(Node::stand_in("service", name)).into()
}

/// Changes that a caller could pass, shown by this name.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// async fn function(value: Changeset) -> Directory {
///     value.after()
/// }
/// let plan = testing::plan(function(testing::changeset("given")));
/// assert!(plan.to_string().contains("given"));
/// ```
pub fn changeset(name: &str) -> Changeset {
    raw::filesystem::Changeset::of(Node::stand_in("changeset", name)).into()
}

/// What a function planned.
#[derive(Debug)]
pub struct Plan<T> {
    /// What the function returned.
    pub returned: T,
    text: String,
}

/// The graph behind what was read and returned, then the reads with their answers, then the handles that were returned.
/// Every chain of builders is a block with a line for each call.
impl<T> fmt::Display for Plan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Answers for the reads of a function.
#[derive(Default)]
pub struct Planner {
    recording: Recording,
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planner").finish_non_exhaustive()
    }
}

impl Planner {
    /// No answers.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// let plan = Planner::new().plan(async { Container::new() });
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The next read of this name (`stdout`, `entries`, `exists` …) is told this. Several of one name are told in their
    /// order, each once. An [`Error`](crate::Error) makes the read fail. A read without an answer fails and says so; `sync`
    /// and `export` need none.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// async fn first(source: Directory) -> Result<String> {
    ///     Ok(source.entries("/").await?.remove(0))
    /// }
    /// let plan = Planner::new().answer("entries", ["a", "b"]).plan(first(Directory::new()));
    /// assert_eq!(plan.returned, Ok("a".to_owned()));
    /// ```
    #[must_use]
    pub fn answer(mut self, read: &str, answer: impl Into<Answer>) -> Self {
        self.recording.answers.push_back((read.to_owned(), answer.into()));
        self
    }

    /// Runs a function and records what it plans. One that is not `async` is written `async { function() }`.
    ///
    /// # Panics
    /// When the function panics, or waits for something else than a read.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// fn tools() -> Container {
    ///     image::pull("alpine:3.20").with_exec(["apk", "add", "git"])
    /// }
    /// let plan = Planner::new().plan(async { tools() });
    /// assert!(plan.to_string().contains(r#".with_exec(["apk", "add", "git"])"#));
    /// ```
    pub fn plan<T>(self, function: impl Future<Output = T>) -> Plan<T>
    where
        T: Wire<Raw: Handles>,
    {
        let (returned, recording) = self.recording.run(|| function.now_or_never());
        let returned =
            returned.expect("the function waits for something that is not a read: a test cannot answer it");
        let parts = returned.lower();
        let mut handles = Vec::new();
        parts.handles(&mut handles);
        Plan {
            returned: T::lift(parts),
            text: planned(&recording, &handles),
        }
    }
}

/// Runs a function and records what it plans, without an answer for any read: see [`Planner::plan`].
///
/// # Panics
/// When the function panics, or waits for something else than a read.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing};
/// let plan = testing::plan(async { host::directory(".").file("README.md") });
/// assert!(plan.to_string().contains("README.md"));
/// ```
pub fn plan<T>(function: impl Future<Output = T>) -> Plan<T>
where
    T: Wire<Raw: Handles>,
{
    Planner::new().plan(function)
}
