//! What running a step fails with, as opposed to how a step ends.

use std::io;

/// What running a step fails with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Steps cannot be run here at all.
    #[error("steps cannot be run here: {0}")]
    Unsupported(String),
    /// A limit was asked for that this machine cannot enforce.
    #[error(
        "a {0} limit cannot be enforced here: the {0} controller of cgroups is not available to the engine"
    )]
    Limit(&'static str),
    /// The step's network could not be made.
    #[error("the step's network could not be set up: {0}")]
    Network(String),
    /// The step's file system or namespaces could not be made.
    #[error("the step could not be set up: {0}")]
    Setup(String),
    /// The helper process is gone.
    #[error("the process that runs steps has ended: stop the engine with `wharf engine stop` and run again")]
    HelperGone,
    /// Steps that run elsewhere cannot have it.
    #[error("{0}")]
    Elsewhere(String),
    /// Something was asked of a step that has ended.
    #[error("the step has ended")]
    Ended,
    /// A file operation failed.
    #[error("{context}: {source}")]
    Io {
        /// What was done.
        context: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// The runner's result.
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
