//! Sockets that are files.

use std::{io, path::Path};

/// A connection to one.
#[cfg(unix)]
pub type Stream = tokio::net::UnixStream;
/// What there would be a connection of.
#[cfg(not(unix))]
pub type Stream = tokio::io::DuplexStream;

/// Connects to the socket at a path.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    #[cfg(unix)]
    {
        Stream::connect(path).await
    }
    #[cfg(not(unix))]
    {
        Err(crate::missing(&format!(
            "{} would be a unix socket",
            path.display()
        )))
    }
}
