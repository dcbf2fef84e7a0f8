//! Git repositories, through the git program: what they have, fetched and checked out.
//!
//! - [`Remote`]: where a repository is and as whom it is asked. [`Git::refs`] says what it has, [`Refs`] what a name means in it.
//! - [`Repository`]: a bare repository of ours that commits are fetched into and checked out from, with their submodules.
//!
//! Git runs without the configuration, credentials and hooks of whoever runs it: what it may do is what it was given. Secrets are
//! handed to it in memory; they are in no argument and no file.

mod checkout;
mod error;
mod program;
mod refs;
mod remote;
mod repository;

pub use checkout::CheckedOut;
pub use error::{Error, Result};
pub use program::Git;
pub use refs::{Name, Refs};
pub use remote::{Access, Remote};
pub use repository::{Depth, LogEntry, Repository};
