//! Why the engine is not in Docker.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the engine is not in Docker.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// There is no daemon.
    #[error("there is no Docker at {0}: start it, or use `--engine local` on Linux")]
    Absent(String),
    /// There is one, for others.
    #[error(
        "this user may not use the Docker at {0}: join the group that owns the socket (usually `docker`), or use \
         `--engine local` on Linux"
    )]
    Forbidden(String),
    /// It is not known where it is, or how it is spoken to.
    #[error("{0}")]
    Address(String),
    /// It is there and says nothing.
    #[error(
        "the Docker at {place} does not answer: {why}; see whether `docker version` gets an answer there, or choose another with DOCKER_HOST or \
         `docker context use`"
    )]
    Silent {
        /// Where it is, and who says so.
        place: String,
        /// What it did instead.
        why: String,
    },
    /// It is older than what the engine needs.
    #[error(
        "the Docker at {place} speaks API {found}, and 1.41 (Docker 20.10) or newer is needed: upgrade it, or use \
         `--engine local` on Linux"
    )]
    Old {
        /// Where it is, and who says so.
        place: String,
        /// The newest version it speaks.
        found: String,
    },
    /// It has no room for it.
    #[error(
        "Docker cannot {doing}: its disk is full; `docker system df` says what takes room there, and `docker system prune` makes some"
    )]
    Full {
        /// What was asked for.
        doing: &'static str,
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
    /// It refuses the engine what it needs to make containers.
    #[error(
        "this Docker refuses the engine what it needs to make containers: {0}; leave --runtime away, or use `--runtime docker`: each \
         step is a container of it then, slower"
    )]
    Rights(String),
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
        move |error| {
            let why = match error {
                bollard::errors::Error::DockerResponseServerError { message, .. } => message,
                other => other.to_string(),
            };
            Self::said(doing, why)
        }
    }

    /// What a daemon said when it did not do something.
    pub(crate) fn said(doing: &'static str, why: String) -> Self {
        if why.contains("no space left on device") {
            return Self::Full { doing };
        }
        Self::Refused { doing, why }
    }
}

#[cfg(test)]
mod tests {
    use super::DockerError;

    #[test]
    fn a_full_disk_is_told_from_what_is_refused() {
        let said = |message: &str| {
            let error = bollard::errors::Error::DockerResponseServerError {
                status_code: 500,
                message: message.to_owned(),
            };
            DockerError::refused("take the engine's image in")(error).to_string()
        };
        let full = said("write /var/lib/docker/tmp/x: no space left on device");
        assert!(
            full.contains("its disk is full") && full.contains("docker system df"),
            "{full}"
        );
        assert_eq!(
            said("no such thing"),
            "Docker cannot take the engine's image in: no such thing"
        );
    }
}
