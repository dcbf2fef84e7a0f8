//! Why a file did not come, in words for the person who named it. URLs are shown without what may be secret in them.

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL, a header or a digest makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The server has nothing there.
    #[error("there is nothing at {url}: the server answered {status}")]
    NotFound {
        /// Where.
        url: String,
        /// As the server said it.
        status: String,
    },
    /// The server wants credentials, or others.
    #[error("{url} is refused{}: the server answered {status}. {}",
        user.as_ref().map(|user| format!(" to user {user}")).unwrap_or_default(),
        if *had_credentials { "Check the secret that was given" } else { "Give the credentials that it wants as a secret" })]
    Refused {
        /// Where.
        url: String,
        /// As the server said it.
        status: String,
        /// As whom.
        user: Option<String>,
        /// Were credentials sent?
        had_credentials: bool,
    },
    /// A server may not be asked.
    #[error("{url} leads to {host}, which is not in the list of hosts {hosts}")]
    NotAllowed {
        /// What was asked for.
        url: String,
        /// Which server, with its port.
        host: String,
        /// Those that may be asked.
        hosts: String,
    },
    /// The server did not answer, or not sensibly.
    #[error("{url} cannot be fetched: {why}")]
    Unavailable {
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// What arrived is not what the digest names.
    #[error(
        "{url} is not what was asked for: its digest is {found} and should be {expected} ({size} bytes arrived)"
    )]
    Digest {
        /// Where.
        url: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
        /// How much arrived.
        size: u64,
    },
    /// What arrived could not be written.
    #[error("what arrived cannot be kept: {0}")]
    Io(#[from] std::io::Error),
}

/// The reason at the bottom of an error: what the ones above it repeat.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
