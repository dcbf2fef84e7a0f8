//! Makes an authority and what it signs. Nothing is ever overwritten.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::ServerName;
use time::{Duration, OffsetDateTime};
use wharf_platform::file;

use crate::{AUTHORITY, AUTHORITY_KEY, CLIENT, CLIENTS, Error, SERVER};

/// Days that a certificate holds at most, and that an authority does.
pub const LONGEST: u32 = 3650;
/// Clocks of two machines differ.
const BEFORE: Duration = Duration::hours(1);
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where the authority is, or will be.
    pub directory: PathBuf,
    /// Names and addresses under which clients reach the engine; none makes no certificate for it.
    pub hosts: Vec<String>,
    /// Names of clients.
    pub clients: Vec<String>,
    /// How long certificates hold.
    pub days: u32,
}

/// Makes what is wanted, and the authority when there is none. What was written, in the order in which it was.
pub fn make(wanted: &Wanted) -> Result<Vec<PathBuf>, Error> {
    check(wanted)?;
    let paths = [AUTHORITY, AUTHORITY_KEY].map(|name| wanted.directory.join(name));
    let [has_certificate, has_key] = [paths[0].exists(), paths[1].exists()];
    let [certificate, key] = paths;
    let (there, lacks) = if has_key {
        (key.clone(), certificate.clone())
    } else {
        (certificate.clone(), key.clone())
    };
    if has_certificate != has_key {
        return Err(Error::Half { there, lacks });
    }
    if has_key && wanted.hosts.is_empty() && wanted.clients.is_empty() {
        return Err(Error::Nothing(wanted.directory.clone()));
    }
    directory(&wanted.directory)?;
    let mut made = Vec::new();
    let authority = if has_key {
        read_authority(&certificate, &key)?
    } else {
        let (params, pair) = new_authority()?;
        write(&key, &pair.serialize_pem(), KEY_MODE)?;
        write(&certificate, &params.self_signed(&pair)?.pem(), CERTIFICATE_MODE)?;
        made.extend([certificate.clone(), key]);
        Issuer::new(params, pair)
    };
    if !wanted.hosts.is_empty() {
        let mut params = CertificateParams::new(wanted.hosts.clone())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let name = format!("wharf engine {}", wanted.hosts[0]);
        let to = SERVER.map(|file| wanted.directory.join(file));
        made.extend(sign(params, &name, wanted.days, &authority, to)?);
    }
    for client in &wanted.clients {
        let own = of_client(&wanted.directory, client);
        directory(&own)?;
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let to = CLIENT.map(|file| own.join(file));
        made.extend(sign(params, client, wanted.days, &authority, to)?);
        // What a client needs is in one directory, which can be handed over as it is.
        let copy = own.join(AUTHORITY);
        let text = std::fs::read_to_string(&certificate).map_err(|source| Error::Io {
            path: certificate.clone(),
            source,
        })?;
        write(&copy, &text, CERTIFICATE_MODE)?;
        made.push(copy);
    }
    Ok(made)
}

/// The directory of one client.
fn of_client(directory: &Path, client: &str) -> PathBuf {
    directory.join(CLIENTS).join(client)
}

/// Refuses what cannot be made before anything is.
fn check(wanted: &Wanted) -> Result<(), Error> {
    if wanted.days == 0 || wanted.days > LONGEST {
        return Err(Error::Days(wanted.days));
    }
    for host in &wanted.hosts {
        ServerName::try_from(host.as_str()).map_err(|_| Error::Host(host.clone()))?;
    }
    let mut seen = BTreeSet::new();
    for client in &wanted.clients {
        let is_name = client.len() <= 64
            && client.starts_with(|c: char| c.is_ascii_alphanumeric())
            && client
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        if !is_name {
            return Err(Error::Client(client.clone()));
        }
        if !seen.insert(client) {
            return Err(Error::Twice(client.clone()));
        }
    }
    let server = SERVER.map(|file| wanted.directory.join(file));
    let server = server.into_iter().filter(|_| !wanted.hosts.is_empty());
    let clients = wanted
        .clients
        .iter()
        .map(|client| of_client(&wanted.directory, client));
    match server.chain(clients).find(|path| path.exists()) {
        Some(there) => Err(Error::Exists(there)),
        None => Ok(()),
    }
}

/// A new authority. Each has a name of its own: whose certificate is of another one is told that, not that a signature is bad.
fn new_authority() -> Result<(CertificateParams, KeyPair), Error> {
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let mark = wharf_digest::Digest::of(pair.public_key_raw()).to_hex();
    hold(&mut params, &format!("wharf authority {}", &mark[..12]), LONGEST);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params, pair))
}

fn read_authority(certificate: &Path, key: &Path) -> Result<Issuer<'static, KeyPair>, Error> {
    let text = std::fs::read_to_string(key).map_err(|source| Error::Io {
        path: key.to_owned(),
        source,
    })?;
    let invalid = |path: &Path, why: &str| Error::Invalid {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let pair = KeyPair::from_pem(&text).map_err(|_| invalid(key, "it is no private key"))?;
    let own = crate::config::certificates(certificate)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&own[0])
        .map_err(|_| invalid(certificate, "it is no certificate"))?;
    if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
        return Err(invalid(certificate, "the key beside it is another one's"));
    }
    Ok(Issuer::from_ca_cert_der(&own[0], pair)?)
}

/// Who it is of, and how long it holds.
fn hold(params: &mut CertificateParams, name: &str, days: u32) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BEFORE;
    params.not_after = now + Duration::days(days.into());
}

/// A new key and the certificate that the authority signs for it.
fn sign(
    mut params: CertificateParams,
    name: &str,
    days: u32,
    authority: &Issuer<'_, KeyPair>,
    [certificate, key]: [PathBuf; 2],
) -> Result<[PathBuf; 2], Error> {
    hold(&mut params, name, days);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let pair = KeyPair::generate()?;
    let signed = params.signed_by(&pair, authority)?;
    write(&key, &pair.serialize_pem(), KEY_MODE)?;
    write(&certificate, &signed.pem(), CERTIFICATE_MODE)?;
    Ok([certificate, key])
}

fn directory(path: &Path) -> Result<(), Error> {
    let made = file::create_private_directory(path);
    made.map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// A file that was not there.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let opened = file::create_new(path, mode);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Io {
            path: path.to_owned(),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn wanted(directory: &Path, hosts: &[&str], clients: &[&str]) -> Wanted {
        Wanted {
            directory: directory.join("certs"),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            clients: clients.iter().map(|&client| client.to_owned()).collect(),
            days: 365,
        }
    }

    #[test]
    fn what_is_made_can_be_used_and_keys_are_the_owners() {
        let directory = tempfile::tempdir().unwrap();
        let made = make(&wanted(directory.path(), &["localhost", "127.0.0.1"], &["ann"])).unwrap();
        for path in &made {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            let is_key = path.to_string_lossy().ends_with("key.pem");
            assert_eq!(
                mode,
                if is_key { KEY_MODE } else { CERTIFICATE_MODE },
                "{}",
                path.display()
            );
        }
        let certs = directory.path().join("certs");
        crate::server_config(&certs).unwrap();
        let ann = certs.join("clients/ann");
        crate::client_config(&ann).unwrap();
        let certificate = crate::config::certificates(&ann.join("client.pem")).unwrap();
        assert_eq!(crate::subject(&certificate[0]).unwrap().name, "ann");
        // One more, by the same authority; its name is another's.
        make(&wanted(directory.path(), &[], &["bob"])).unwrap();
        let other = crate::config::certificates(&certs.join("clients/bob/client.pem")).unwrap();
        assert_ne!(
            crate::subject(&certificate[0]).unwrap().id,
            crate::subject(&other[0]).unwrap().id
        );
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_made() {
        let directory = tempfile::tempdir().unwrap();
        let again = wanted(directory.path(), &["localhost"], &["ann"]);
        make(&again).unwrap();
        assert!(matches!(make(&again), Err(Error::Exists(_))));
        assert!(matches!(
            make(&wanted(directory.path(), &[], &["bob", "ann"])),
            Err(Error::Exists(_))
        ));
        assert!(!directory.path().join("certs/clients/bob").exists());
        assert!(matches!(
            make(&wanted(directory.path(), &[], &[])),
            Err(Error::Nothing(_))
        ));
        std::fs::remove_file(directory.path().join("certs/ca-key.pem")).unwrap();
        assert!(matches!(
            make(&wanted(directory.path(), &[], &["bob"])),
            Err(Error::Half { .. })
        ));
    }

    #[test]
    fn bad_wishes_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for host in ["", "a b", "http://a", "a:1"] {
            let refused = make(&wanted(directory.path(), &[host], &[]));
            assert!(matches!(refused, Err(Error::Host(_))), "{host}");
        }
        for client in ["", "../x", ".", "a/b", "-a", "a b"] {
            let refused = make(&wanted(directory.path(), &[], &[client]));
            assert!(matches!(refused, Err(Error::Client(_))), "{client}");
        }
        let twice = make(&wanted(directory.path(), &[], &["ann", "ann"]));
        assert!(matches!(twice, Err(Error::Twice(_))));
        for days in [0, LONGEST + 1] {
            let refused = make(&Wanted {
                days,
                ..wanted(directory.path(), &[], &["ann"])
            });
            assert!(matches!(refused, Err(Error::Days(_))));
        }
        assert!(!directory.path().join("certs").exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        make(&wanted(directory.path(), &["localhost"], &[])).unwrap();
        let certs = directory.path().join("certs");
        let key = certs.join("server-key.pem");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(crate::server_config(&certs), Err(Error::Open(_))));
    }
}
