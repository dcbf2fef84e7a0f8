//! Write Wharf pipeline modules in Rust: plain functions over containers, directories and files, typed and documented.
//!
//! ```ignore
//! /// Builds and tests the application.
//! #[wharf_sdk::module]
//! mod functions {
//!     use wharf_sdk::prelude::*;
//!
//!     /// What Python says of itself.
//!     pub async fn version(
//!         /// The image to ask.
//!         image: Option<String>,
//!     ) -> Result<String> {
//!         let base = image::pull(image.as_deref().unwrap_or("python:3.11-slim"));
//!         base.with_exec(["python", "-V"]).stdout().await
//!     }
//! }
//! ```
//!
//! Builders (`with_exec`, `with_directory` …) return at once: they describe. Reads (`stdout`, `contents`, `entries` …) are
//! awaited: they run what is missing. Await several at once with [`join!`] or [`join_all`].
//!
//! The crate compiles natively too: editors complete, unit tests of pure code run, and `testing` shows what a function plans
//! without an engine. What runs steps works only in `wharf call`.

mod bindings;
mod cache;
mod changeset;
mod container;
mod copy;
mod debug;
mod directory;
mod error;
mod exec;
mod file;
mod healthcheck;
#[cfg(not(target_arch = "wasm32"))]
mod native;
mod publish;
mod search;
mod secret;
mod service;
mod text;
mod wire;

pub mod git;
pub mod gpu;
pub mod host;
pub mod http;
pub mod image;
pub mod log;
pub mod module;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use cache::CacheVolume;
pub use changeset::Changeset;
pub use container::Container;
pub use copy::CopyOptions;
pub use directory::Directory;
pub use error::{Error, Result};
pub use exec::ExecOptions;
pub use file::File;
pub use futures_util::{
    future::{Either, join_all, select},
    join,
};
pub use healthcheck::HealthcheckOptions;
pub use publish::PublishOptions;
pub use search::SearchOptions;
pub use secret::Secret;
pub use service::{Service, ServiceOptions};
pub use wharf_sdk_macro::{Type, module};

pub use bindings::wharf::pipeline::{
    cache::Sharing,
    network::Mode as Network,
    publishing::Compression,
    service::{Port, Transport},
    types::{
        ChangeKind, Denial, DiffStat, ExecFailure, ExitExpectation as Expect, FileKind, OtherError, Platform,
        SearchMatch, Stat, Variable,
    },
};

/// What most modules use.
pub mod prelude {
    pub use crate::{
        CacheVolume, Changeset, Compression, Container, CopyOptions, Directory, Error, ExecOptions, Expect,
        File, HealthcheckOptions, Network, Platform, Port, PublishOptions, Result, SearchOptions, Secret,
        Service, ServiceOptions, Sharing, Transport, Type, git, gpu, host, http, image, join, join_all, log,
    };
}

/// What the module macro's expansion needs. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        bindings::wharf::pipeline as wit,
        wire::{Choice, Lent, Number, Wire, cross, lend, without_host},
    };
    pub use wharf_sdk_macro::{Wire, import};
    pub use wit_bindgen;
}
