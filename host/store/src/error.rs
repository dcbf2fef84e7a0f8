//! What the store fails with.

use std::{io, path::PathBuf};

/// What the store fails with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path of a tree does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A path or an argument makes no sense for what is asked.
    #[error("{0}")]
    Invalid(String),
    /// The bytes of a file of an uploaded tree are not there, or not any more.
    #[error("the content of {0} was not sent")]
    NotReceived(String),
    /// The disk is full.
    #[error("the disk that holds the store is full: free some space, or run `wharf cache prune`")]
    Full,
    /// Another process owns the store.
    #[error("the store {} is used by another engine", .0.display())]
    Locked(PathBuf),
    /// A newer version of Wharf wrote the store.
    #[error(
        "the store {} is of version {found}, this Wharf knows up to {known}: use the newer Wharf, or another directory with \
         WHARF_STORE", path.display()
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The owners of its files mean others to this engine.
    #[error(
        "the files in the store {} belong to {found}, and this engine has {own}: `wharf engine reset` removes what it remembers, \
         or name another directory with WHARF_STORE", path.display()
    )]
    OtherIds {
        /// Which.
        path: PathBuf,
        /// Whose ids they have.
        found: String,
        /// Whose ids this engine has.
        own: &'static str,
    },
    /// The index failed.
    #[error("the store's index: {0}")]
    Index(#[from] rusqlite::Error),
    /// A file operation failed.
    #[error("{context}: {source}")]
    Io {
        /// What was done.
        context: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// The store's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An operation on files that failed: a full disk by name, anything else with what was done.
    pub fn io(context: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io {
                context: context.into(),
                source,
            },
        }
    }
}

/// Says what was done when it fails.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::io(what(), error))
    }
}
