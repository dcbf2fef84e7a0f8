//! Why the engine is not in Docker.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the engine is not in Docker.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// There is no daemon.
    #[error("there is no Docker at {}: start it, or use `--engine local` as root", .0.display())]
    Absent(PathBuf),
    /// There is one, for others.
    #[error(
        "this user may not use the Docker at {}: join the group that owns the socket (usually `docker`), or use \
         `--engine local` as root", .0.display()
    )]
    Forbidden(PathBuf),
    /// The daemon is not on this host.
    #[error(
        "DOCKER_HOST is {0}, and the engine can only be started in a Docker of this host yet: set it to unix:// and a \
         socket's path, or use `--engine local` as root"
    )]
    Elsewhere(String),
    /// It is there and says nothing.
    #[error("the Docker at {socket} does not answer: {why}", socket = socket.display())]
    Silent {
        /// Its socket.
        socket: PathBuf,
        /// What it did instead.
        why: String,
    },
    /// It is older than what the engine needs.
    #[error("the Docker at {socket} speaks API {found}, and 1.41 (Docker 20.10) or newer is needed", socket = socket.display())]
    Old {
        /// Its socket.
        socket: PathBuf,
        /// The newest version it speaks.
        found: String,
    },
    /// It refused something.
    #[error("Docker cannot {doing}: {why}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// Its words.
        why: String,
    },
    /// The engine's container ended, or the engine in it never listened.
    #[error("the engine in the container {container} did not come up; it said:\n{log}")]
    NotUp {
        /// The container's name.
        container: String,
        /// The end of its log.
        log: String,
    },
    /// A file of the host.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl DockerError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn refused(doing: &'static str) -> impl Fn(bollard::errors::Error) -> Self {
        move |error| Self::Refused {
            doing,
            why: match error {
                bollard::errors::Error::DockerResponseServerError { message, .. } => message,
                other => other.to_string(),
            },
        }
    }
}
