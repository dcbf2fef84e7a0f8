//! Why git did not do what it should, in words for the person who named the repository.

/// The result of work on repositories.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why git did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The git program is not there.
    #[error(
        "there is no `git` program where the engine runs: install git there; an engine in Docker takes this machine's along \
         when it is started anew (`wharf engine stop`)"
    )]
    NoProgram,
    /// The address does not read.
    #[error("{url:?} is no address of a repository: {why}")]
    Url {
        /// As it was written, without credentials.
        url: String,
        /// Why.
        why: String,
    },
    /// There is no such repository.
    #[error("there is no repository {url}, or it shows itself to nobody without credentials ({said})")]
    NoRepository {
        /// Where.
        url: String,
        /// Git's own words.
        said: String,
    },
    /// The repository has no such reference.
    #[error("{url} has no {what}{}", if near.is_empty() { String::new() } else { format!("; it has {}", near.join(", ")) })]
    NoReference {
        /// Where.
        url: String,
        /// What was asked for: `branch main`.
        what: String,
        /// Names that are near.
        near: Vec<String>,
    },
    /// The server wants credentials, or others.
    #[error("{host} refused access to {url}{}: {}", user.as_ref().map(|user| format!(" for user {user}")).unwrap_or_default(),
        if *had_credentials { "check the secret that was given" } else { "give a token, a password or a key as a secret" })]
    Refused {
        /// Which server.
        host: String,
        /// Where.
        url: String,
        /// As whom.
        user: Option<String>,
        /// Were credentials given?
        had_credentials: bool,
    },
    /// The server is not the one that is known by its name.
    #[error(
        "the key of {host} is not among the known hosts: give its line (`ssh-keyscan {host}`, compared with what its owner \
         publishes) as known hosts"
    )]
    UnknownHost {
        /// Which server.
        host: String,
    },
    /// A server may not be asked.
    #[error("{url} is on {host}, which is not in the list of hosts {hosts}")]
    NotAllowed {
        /// What was asked for.
        url: String,
        /// Which server, with its port.
        host: String,
        /// Those that may be asked.
        hosts: String,
    },
    /// The server did not answer, or not sensibly.
    #[error("{url} cannot be reached: {why}")]
    Unavailable {
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// What came is not what it should be.
    #[error("{0}")]
    Damaged(String),
    /// Files could not be read or written.
    #[error("git: {0}")]
    Io(#[from] std::io::Error),
}
