//! What is wrong with a connection, in words: which side does not like what of which.

use std::path::Path;

use rustls::{AlertDescription, CertificateError, Error};

use crate::{AUTHORITY, CLIENT, SERVER};

/// Why a client could not speak to the engine on `host`, with what is in `directory`.
pub fn of_client(error: &Error, host: &str, directory: &Path) -> String {
    let own = directory.join(CLIENT[0]);
    let (own, authority) = (own.display(), directory.join(AUTHORITY));
    match error {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the engine's certificate is of another authority than {}",
                authority.display()
            ),
            CertificateError::NotValidForNameContext { presented, .. } => format!(
                "the engine's certificate is for {}, not for {host}",
                names(presented)
            ),
            CertificateError::NotValidForName => format!("the engine's certificate is not for {host}"),
            other => format!("the engine's certificate {}", of_certificate(other)),
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => "the engine was shown no certificate".to_owned(),
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                format!("the engine takes certificates of another authority than that of {own}")
            }
            AlertDescription::CertificateExpired => {
                format!("the engine says that {own} has expired, or does not hold yet")
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                format!("the engine does not take {own} as a client's certificate")
            }
            other => format!("the engine ended the connection: {other:?}"),
        },
        Error::InvalidMessage(_) => "what answers there does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}

/// Why an engine did not let a client in.
pub fn of_server(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "it showed no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!("its certificate is of another authority than {AUTHORITY}")
        }
        Error::InvalidCertificate(other) => format!("its certificate {}", of_certificate(other)),
        Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::DecryptError | AlertDescription::BadCertificate,
        ) => format!(
            "it does not take {}: it knows another authority, or this engine by another name",
            SERVER[0]
        ),
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            format!("it says that {} has expired, or does not hold yet", SERVER[0])
        }
        Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "does not hold yet: is this machine's clock right?".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not made for this side of a connection".to_owned()
        }
        other => format!("cannot be used: {other}"),
    }
}

/// What a certificate is for, as its reader may type it.
fn names(presented: &[String]) -> String {
    let name = |shown: &String| {
        let inner = shown.split_once('(').map_or(shown.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let names: Vec<_> = presented.iter().map(name).collect();
    if names.is_empty() {
        "no host".to_owned()
    } else {
        names.join(" and ")
    }
}
