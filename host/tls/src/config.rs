//! Certificates as they are read and used.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::CryptoProvider, server::WebPkiClientVerifier,
    version::TLS13,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use wharf_digest::{Digest, Hasher};
use wharf_platform::file::is_open_to_others;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{AUTHORITY, CLIENT, Error, SERVER};

/// What is spoken within.
const PROTOCOL: &[u8] = b"h2";

/// Who a certificate is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Its common name, for people.
    pub name: String,
    /// The digest of the whole name and of its authority's: a certificate that was renewed has the same.
    pub id: Digest,
}

/// How a client speaks to engines, with what its directory holds.
pub fn client_config(directory: &Path) -> Result<Arc<ClientConfig>, Error> {
    let own = Own::read(directory, CLIENT)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| own.invalid(&error))?
        .with_root_certificates(own.authorities.clone())
        .with_client_auth_cert(own.chain.clone(), own.key.clone_key())
        .map_err(|error| own.invalid(&error))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A certificate is looked at each time.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// How an engine speaks to clients, with what its directory holds: only to those whose certificate its authority signed.
pub fn server_config(directory: &Path) -> Result<Arc<ServerConfig>, Error> {
    let own = Own::read(directory, SERVER)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(own.authorities.clone()), provider())
        .build()
        .map_err(|error| Error::Invalid {
            path: directory.join(AUTHORITY),
            why: error.to_string(),
        })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| own.invalid(&error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(own.chain.clone(), own.key.clone_key())
        .map_err(|error| own.invalid(&error))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Who a certificate is of. It has been verified: this looks at the name alone.
pub fn subject(certificate: &CertificateDer<'_>) -> Result<Subject, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Error::Nameless)?;
    let subject = parsed.subject();
    let name = subject
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok());
    let name = name.filter(|name| !name.is_empty()).ok_or(Error::Nameless)?;
    let mut id = Hasher::in_domain("who a certificate is of");
    id.field(parsed.issuer().as_raw()).field(subject.as_raw());
    Ok(Subject {
        // What is printed for people must not move their cursor.
        name: name.chars().filter(|c| !c.is_control()).collect(),
        id: id.finish(),
    })
}

/// One side's files.
struct Own {
    certificate: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: RootCertStore,
}

impl Own {
    fn read(directory: &Path, [certificate, key]: [&str; 2]) -> Result<Self, Error> {
        let [authority, certificate, key] = [AUTHORITY, certificate, key].map(|name| directory.join(name));
        let mut authorities = RootCertStore::empty();
        for one in certificates(&authority)? {
            authorities.add(one).map_err(|error| Error::Invalid {
                path: authority.clone(),
                why: error.to_string(),
            })?;
        }
        Ok(Self {
            chain: certificates(&certificate)?,
            key: private_key(&key)?,
            certificate,
            authorities,
        })
    }

    fn invalid(&self, error: &rustls::Error) -> Error {
        let why = match error {
            rustls::Error::InconsistentKeys(_) => "the key beside it is another one's".to_owned(),
            other => other.to_string(),
        };
        Error::Invalid {
            path: self.certificate.clone(),
            why,
        }
    }
}

/// The certificates in a file: at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| unreadable(path, error))?;
    if found.is_empty() {
        return Err(unreadable(path, pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// A key that only its owner can read.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, error))?;
    match std::fs::metadata(path) {
        Ok(metadata) if is_open_to_others(&metadata) => Err(Error::Open(path.to_owned())),
        Ok(_) => Ok(key),
        Err(source) => Err(unreadable(path, pem::Error::Io(source))),
    }
}

fn unreadable(path: &Path, error: pem::Error) -> Error {
    let path = path.to_owned();
    match error {
        pem::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Error::Missing(path),
        pem::Error::Io(source) => Error::Io { path, source },
        pem::Error::NoItemsFound => Error::Invalid {
            path,
            why: "there is nothing of this kind in it".to_owned(),
        },
        error => Error::Invalid {
            path,
            why: format!("it is no PEM file: {error}"),
        },
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
