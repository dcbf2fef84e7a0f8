//! Where the host keeps the certificates it trusts.

use std::env;
use std::path::PathBuf;

/// The places where systems keep their bundle, in the order in which they are tried.
const PLACES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The host's bundle of trusted certificates: `SSL_CERT_FILE`, or where its system keeps it.
pub fn bundle() -> Option<PathBuf> {
    env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .into_iter()
        .chain(PLACES.map(PathBuf::from))
        .find(|file| file.is_file())
}
