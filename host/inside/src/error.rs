//! What a container's first process fails with.

use std::io;

/// What a container's first process fails with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine is gone.
    #[error("the engine is gone")]
    Gone,
    /// The engine, or what claims to be one, says what cannot be.
    #[error("what the engine sent does not read: {0}")]
    Unreadable(String),
    /// A file operation.
    #[error("{context}: {source}")]
    Io {
        /// What was done.
        context: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Trees.
    #[error(transparent)]
    Store(#[from] wharf_store::Error),
    /// The program.
    #[error(transparent)]
    Runner(#[from] wharf_runner::Error),
}

/// The result of a container's first process.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what was done when it fails.
pub(crate) trait Context<T> {
    fn context(self, what: &str) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|error| Error::Io {
            context: what.to_owned(),
            source: error.into(),
        })
    }
}
