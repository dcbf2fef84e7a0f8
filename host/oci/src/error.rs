//! What goes wrong with images and registries, in words for the person who named them.

use wharf_http::innermost;

use crate::place::Place;

/// What goes wrong with images and registries.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference does not read.
    #[error(
        "{reference:?} is not an image reference: {why}. Write it as `python:3.11-slim` or `ghcr.io/acme/app:1.0`"
    )]
    Reference {
        /// As it was written.
        reference: String,
        /// Why.
        why: String,
    },
    /// The registry has no such image.
    #[error("there is no image {reference}: {registry} does not have it. Check its name and tag")]
    NotFound {
        /// The image.
        reference: String,
        /// Who was asked.
        registry: String,
    },
    /// The registry wants credentials, or others.
    #[error(
        "{registry} refused access to {reference}{}: check that the image exists, and log in with `wharf login {registry}`",
        user.as_ref().map(|user| format!(" for user {user}")).unwrap_or_default()
    )]
    Refused {
        /// The image.
        reference: String,
        /// Who was asked.
        registry: String,
        /// As whom.
        user: Option<String>,
    },
    /// The registry did not answer, or not sensibly.
    #[error(
        "{registry} cannot be reached for {reference}: {why}. Check the network and the registry, or set a mirror in WHARF_REGISTRY_MIRRORS"
    )]
    Unavailable {
        /// The image.
        reference: String,
        /// Who was asked.
        registry: String,
        /// What was tried, with addresses, and why it failed.
        why: String,
    },
    /// The registry does not do what it is asked.
    #[error("{registry} does not accept {reference}: {why}")]
    Rejected {
        /// The image.
        reference: String,
        /// Who was asked.
        registry: String,
        /// What it says.
        why: String,
    },
    /// The image has no manifest for the platform.
    #[error("{reference} has no image for {wanted}; it has: {}", if have.is_empty() { "none that says".to_owned() } else { have.join(", ") })]
    Platform {
        /// The image.
        reference: String,
        /// The platform.
        wanted: String,
        /// What there is.
        have: Vec<String>,
    },
    /// What arrived is not what the digest names.
    #[error("{what} of {reference} is damaged: {why}")]
    Damaged {
        /// The image.
        reference: String,
        /// Which part.
        what: String,
        /// Why.
        why: String,
    },
    /// The settings make no sense.
    #[error("{0}")]
    Settings(String),
    /// A file operation failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The result of work on images.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes wrong at one place. Another place may do better.
#[derive(Debug)]
pub(crate) enum Failure {
    NotFound,
    Refused { user: Option<String> },
    Unavailable { why: String },
    Rejected { why: String },
    Damaged { what: String, why: String },
    Platform { wanted: String, have: Vec<String> },
}

impl Failure {
    pub(crate) fn unavailable(why: String) -> Self {
        Self::Unavailable { why }
    }

    pub(crate) fn unreachable(error: &reqwest::Error) -> Self {
        let why = if error.is_timeout() {
            "no connection within 5 s".to_owned()
        } else {
            innermost(error)
        };
        Self::Unavailable { why }
    }

    pub(crate) fn damaged(what: &str, why: impl ToString) -> Self {
        Self::Damaged {
            what: what.to_owned(),
            why: why.to_string(),
        }
    }
}

/// Why none of several places had something: what the last of them, the registry itself, says, and for a registry
/// that cannot be reached what the others said too.
pub(crate) fn explain(reference: &str, registry: &Place, failures: Vec<(Place, Failure)>) -> Error {
    let brief = |(place, failure): &(Place, Failure)| match failure {
        Failure::NotFound => format!("{} does not have it", place.base),
        Failure::Refused { .. } => format!("{} refuses access", place.base),
        Failure::Unavailable { why } | Failure::Rejected { why } | Failure::Damaged { why, .. } => {
            format!("{}: {why}", place.base)
        }
        Failure::Platform { wanted, .. } => format!("{} does not have it for {wanted}", place.base),
    };
    let tried: Vec<String> = failures.iter().map(brief).collect();
    let own = failures
        .into_iter()
        .rev()
        .find(|(place, _)| place.name == registry.name);
    let reference = reference.to_owned();
    match own {
        Some((place, Failure::NotFound)) => Error::NotFound {
            reference,
            registry: place.name,
        },
        Some((place, Failure::Refused { user })) => Error::Refused {
            reference,
            registry: place.name,
            user,
        },
        Some((place, Failure::Rejected { why })) => Error::Rejected {
            reference,
            registry: place.name,
            why,
        },
        Some((_, Failure::Platform { wanted, have })) => Error::Platform {
            reference,
            wanted,
            have,
        },
        Some((place, Failure::Damaged { what, why })) => Error::Damaged {
            reference,
            what: format!("{what} that {} sent", place.base),
            why,
        },
        Some((_, Failure::Unavailable { .. })) | None => Error::Unavailable {
            reference,
            registry: registry.name.clone(),
            why: tried.join("; "),
        },
    }
}
