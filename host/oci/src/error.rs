//! What goes wrong with images and registries, in words for the person who named them.

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
    #[error("there is no image {reference}: {registry} does not have it")]
    NotFound {
        /// The image.
        reference: String,
        /// Who was asked.
        registry: String,
    },
    /// The registry wants credentials, or others.
    #[error("{registry} refused access to {reference}{}: log in with `docker login {registry}`", user.as_ref().map(|user| format!(" for user {user}")).unwrap_or_default())]
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
        "{registry} cannot be reached for {reference}: {why}. Check the network, or set a mirror in WHARF_REGISTRY_MIRRORS"
    )]
    Unavailable {
        /// The image.
        reference: String,
        /// Who was asked.
        registry: String,
        /// Why.
        why: String,
    },
    /// The image has no manifest for the platform.
    #[error("{reference} has no image for {wanted}; it has: {}", have.join(", "))]
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
pub type Result<T> = std::result::Result<T, Error>;
