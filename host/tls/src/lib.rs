//! How clients and engines on two machines know each other: addresses, certificates, and what is wrong with them.
//!
//! An authority of the engine's own signs both sides' certificates; neither trusts any other. Connections are TLS 1.3, and
//! who the client is comes out of its certificate alone.

mod address;
mod config;
mod make;
mod words;

use std::path::PathBuf;

pub use address::{Address, AddressError};
pub use config::{Subject, client_config, server_config, subject};
pub use make::{LONGEST, Wanted, make};
pub use words::{of_client, of_server};

/// The authority's certificate, in every directory.
pub const AUTHORITY: &str = "ca.pem";
/// The authority's key, which stays where certificates are made.
pub const AUTHORITY_KEY: &str = "ca-key.pem";
/// An engine's certificate and key.
pub const SERVER: [&str; 2] = ["server.pem", "server-key.pem"];
/// A client's certificate and key.
pub const CLIENT: [&str; 2] = ["client.pem", "client-key.pem"];
/// The directory that has a directory for each client.
pub const CLIENTS: &str = "clients";

/// What is wrong with certificates, as files or as they were asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A host that no certificate can be for.
    #[error("`{0}` is neither a host's name nor an address")]
    Host(String),
    /// A client that cannot be called so.
    #[error(
        "a client cannot be called `{0}`: a name has letters, digits, dots, dashes and underscores, 64 at most, and begins with a letter or digit"
    )]
    Client(String),
    /// One client asked for twice.
    #[error("the client `{0}` is asked for twice")]
    Twice(String),
    /// A time that certificates cannot hold.
    #[error("certificates hold for 1 to {LONGEST} days, not for {0}")]
    Days(u32),
    /// There is an authority, and nothing else was asked for.
    #[error("{} has an authority already, and nothing else was asked for", .0.display())]
    Nothing(PathBuf),
    /// A file that would have to be overwritten.
    #[error("{} is there already, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// An authority without its other half.
    #[error("{} is there and {} is not: an authority needs both", there.display(), lacks.display())]
    Half {
        /// What there is.
        there: PathBuf,
        /// What there is not.
        lacks: PathBuf,
    },
    /// A file that is not there.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// A key that others can read.
    #[error("{} can be read by others than its owner", .0.display())]
    Open(PathBuf),
    /// A file or directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{}: {why}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No certificate could be made.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate that says of nobody that it is theirs.
    #[error("the certificate names nobody: its subject has no common name")]
    Nameless,
}
