//! The caller's own files and environment, as far as they were granted. Relative paths start at the project's directory.
//!
//! ```
//! use wharf_sdk::prelude::*;
//!
//! /// The project's sources, and whether this is a machine of the CI.
//! async fn project() -> Result<(Directory, bool)> {
//!     let sources = host::directory_opts("src", &CopyOptions::new().exclude(["*.bak"]));
//!     Ok((sources, host::env_variable("CI").await?.is_some()))
//! }
//! ```

use crate::bindings::wharf::pipeline::host as raw;
use crate::{CopyOptions, Directory, File, Result, Service};

pub use raw::Forward;

/// A directory of the caller; .gitignore and .wharfignore are honoured.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let source = host::directory(".");
/// ```
pub fn directory(path: impl AsRef<str>) -> Directory {
    raw::directory_at(path.as_ref(), None).into()
}

/// As [`directory`], taking what the options let through.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let docs = host::directory_opts(".", &CopyOptions::new().include(["docs/", "*.md"]));
/// ```
pub fn directory_opts(path: impl AsRef<str>, options: &CopyOptions) -> Directory {
    raw::directory_at(path.as_ref(), Some(&options.0)).into()
}

/// A file of the caller.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let lock = host::file("Cargo.lock");
/// ```
pub fn file(path: impl AsRef<str>) -> File {
    raw::file_at(path.as_ref()).into()
}

/// What listens on a TCP port of the caller's machine, or of one that it reaches, as a service on the same port.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing::Planner};
/// # let plan = Planner::new().answer("stdout", "db:5432 - accepting connections\n").plan(async {
/// let database = host::service("localhost", 5432);
/// let ready = image::pull("postgres:17").with_service("db", &database).with_exec(["pg_isready", "-h", "db"]);
/// ready.stdout().await?;
/// # Ok(()) });
/// # assert_eq!(plan.returned, Ok::<(), Error>(()));
/// ```
pub fn service(host: impl AsRef<str>, port: u16) -> Service {
    service_on(
        host,
        &[Forward {
            host: port,
            service: port,
        }],
    )
}

/// As [`service`], with several ports, each under another number where that is wanted.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let both = [host::Forward { host: 8080, service: 80 }, host::Forward { host: 8443, service: 443 }];
/// let web = host::service_on("localhost", &both);
/// ```
pub fn service_on(host: impl AsRef<str>, ports: &[Forward]) -> Service {
    raw::service_at(host.as_ref(), ports).into()
}

/// The nearest path of this name in `start` or above it, relative to the project's directory; none when there is none.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing::Planner};
/// # let plan = Planner::new().answer("host::find_up", "Cargo.toml").plan(async {
/// let manifest = host::find_up("Cargo.toml", "crates/core").await?;
/// # assert_eq!(manifest.as_deref(), Some("Cargo.toml"));
/// # Ok(()) });
/// # assert_eq!(plan.returned, Ok::<(), Error>(()));
/// ```
pub async fn find_up(name: impl Into<String>, start: impl Into<String>) -> Result<Option<String>> {
    Ok(raw::find_up(name.into(), start.into()).await?)
}

/// A variable of the caller's environment; none when it is not set.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing::Planner};
/// # let plan = Planner::new().answer("host::env_variable", "true").plan(async {
/// let in_ci = host::env_variable("CI").await?.is_some();
/// # assert!(in_ci);
/// # Ok(()) });
/// # assert_eq!(plan.returned, Ok::<(), Error>(()));
/// ```
pub async fn env_variable(name: impl Into<String>) -> Result<Option<String>> {
    Ok(raw::env_variable(name.into()).await?)
}
