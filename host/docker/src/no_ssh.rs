//! Where no way through ssh can be opened: a socket of this process's own would have to stand for the daemon.

use std::{convert::Infallible, path::PathBuf};

use crate::DockerError;

/// There is none.
#[derive(Debug)]
pub(crate) struct Tunnel(Infallible);

impl Tunnel {
    /// Says so.
    pub(crate) fn open(destination: &str, _: Option<u16>) -> Result<Self, DockerError> {
        Err(DockerError::Address(format!(
            "ssh://{destination}: a daemon behind ssh is reached from Linux, macOS and WSL: here, name its port as tcp://HOST:PORT"
        )))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        match self.0 {}
    }

    pub(crate) fn words(&self) -> Option<String> {
        match self.0 {}
    }
}
