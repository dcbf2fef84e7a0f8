//! The one error type of the kit.

use std::path::{Path, PathBuf};

/// What can go wrong while the kit makes or runs something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read or written.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done, as in "reading".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be started, or ended with an error.
    #[error("`{command}` failed: {why}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status and the end of its error output, or why it did not start.
        why: String,
    },
    /// A program is missing; it comes with `package`.
    #[error("`{program}` is not installed; run `cargo xtask setup` (Debian package {package})")]
    Missing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: String,
    },
    /// A server did not get ready in time.
    #[error("{what} did not get ready: {why}")]
    NotReady {
        /// The server.
        what: &'static str,
        /// The end of its log.
        why: String,
    },
    /// There is no Docker daemon and none can be started.
    #[error("no Docker daemon: {why}")]
    NoDocker {
        /// Why not.
        why: String,
    },
    /// A registry refused what was sent to it.
    #[error("registry {address}: {why}")]
    Registry {
        /// The registry's address.
        address: String,
        /// What was refused, and how.
        why: String,
    },
    /// Base images are made as root.
    #[error("{what} needs root: run it as root, or copy target/fixtures from a machine where it was made")]
    NeedsRoot {
        /// What needs root.
        what: String,
    },
    /// The host's apt sources name no Debian archive.
    #[error("found no Debian archive in the host's apt sources; name one in WHARF_DEBIAN_MIRROR")]
    NoDebianMirror,
    /// A recorded answer is missing or is not what Docker answers.
    #[error("recorded answer {name}: {why}")]
    Answer {
        /// The case.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the kit's own is not what it should be.
    #[error("{path}: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The kit's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
