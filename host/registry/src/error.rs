//! What goes wrong with modules in registries, in words for the person who named them.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What goes wrong with modules in registries. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a module's name.
    #[error(
        "{0:?} is no module's name: a name is namespace:name in lower case, as in acme:tool or acme:tool@1.2; a module's place in a registry is registry.example/acme/tool:1.2.0"
    )]
    Name(String),
    /// Not a version, or range of versions.
    #[error(
        "{version:?} in {text} is no version: write acme:tool@1.2.0 for that one, acme:tool@1.2 for the newest that fits"
    )]
    Version {
        /// All that was written.
        text: String,
        /// The part that should be a version.
        version: String,
    },
    /// A reference that does not say which registry.
    #[error("{0:?} does not say which registry has the module: write it as registry.example/{0}")]
    NoHost(String),
    /// No setting says where modules of a namespace are.
    #[error(
        "no setting says which registry has {name}: add to the file of registries\n\n[namespace_registries]\n{namespace} = \"registry.example\"\n\nfor all modules of the namespace {namespace}, or `default_registry` for all"
    )]
    NoRegistry {
        /// The module.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// A file of settings does not read.
    #[error("{}: {why}", file.display())]
    Settings {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// What a registry says of itself does not read.
    #[error("{registry} says at /.well-known/wasm-pkg/registry.json what cannot be followed: {why}")]
    Metadata {
        /// The registry.
        registry: String,
        /// Why.
        why: String,
    },
    /// There is no such module, or no such version of it.
    #[error("{registry} has no {module}{}", there(.versions))]
    NotFound {
        /// The module.
        module: String,
        /// Who was asked.
        registry: String,
        /// The versions that there are.
        versions: Vec<String>,
    },
    /// It is something else.
    #[error("{module} cannot be used: {why}")]
    NotAModule {
        /// What was named.
        module: String,
        /// What it is instead.
        why: String,
    },
    /// What arrived or was kept is not what it should be.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// What a registry says of a component is not so.
    #[error(
        "{module} is not what its registry says of it: its {part} differ from what was described. It is not used; tell its publisher"
    )]
    Misdescribed {
        /// The module.
        module: String,
        /// Which part.
        part: &'static str,
    },
    /// The component that is to be published cannot be.
    #[error("{what} cannot be published: {why}")]
    Unpublishable {
        /// What.
        what: String,
        /// Why, and what to do.
        why: String,
    },
    /// That version is there, and is another.
    #[error(
        "{reference} is published already, as {there}, and is another component than this one ({own}): what is published is never replaced. Raise `version` in wharf.toml"
    )]
    Published {
        /// Where.
        reference: String,
        /// The digest that is there.
        there: String,
        /// The digest that was to be published.
        own: String,
    },
    /// No choice of versions suits all.
    #[error(
        "these modules do not go together:\n{0}\nchange what one of them wants, or publish a version that suits all"
    )]
    Conflict(String),
    /// Something went wrong with a module that others call.
    #[error("{source}\n  called by {chain}")]
    Through {
        /// Who calls whom, from the module that it began with.
        chain: String,
        /// What went wrong.
        source: Box<Error>,
    },
    /// wharf.lock does not read.
    #[error("{}: {why}. `wharf update` writes it anew", file.display())]
    Lock {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// wharf.lock would have to change.
    #[error(
        "wharf.lock does not hold what is called, and with --locked it stays as it is: {0}. Run `wharf update` without --locked, and keep what it writes under version control"
    )]
    Stale(String),
    /// The registry has lost what was locked.
    #[error(
        "{registry} no longer has {module} ({digest}), which wharf.lock names: ask its publisher, or choose another version with `wharf update {name}`"
    )]
    Lost {
        /// The module and its version.
        module: String,
        /// Its name.
        name: String,
        /// The digest that is gone.
        digest: String,
        /// Who was asked.
        registry: String,
    },
    /// A version is another than it was.
    #[error(
        "{module} was {locked} and is {there} in {registry} now: a version that was published has been replaced there. It is not used; ask its publisher, and remove it from wharf.lock only if you trust what it is now"
    )]
    Moved {
        /// The module and its version.
        module: String,
        /// The digest that wharf.lock has.
        locked: String,
        /// The digest that the registry has.
        there: String,
        /// The registry.
        registry: String,
    },
    /// A module of a registry calls one that is in no registry.
    #[error(
        "{name} is in a git repository, and what a registry has calls modules of registries alone: it has to be published, too"
    )]
    Git {
        /// The dependency.
        name: String,
    },
    /// A key does not read, or cannot be used.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// A module lacks a signature that a policy wants.
    #[error("{module} is not used: {how}, and {} wants one for {about}", file.display())]
    Unsigned {
        /// The module.
        module: String,
        /// What it has instead.
        how: &'static str,
        /// The namespace or the repositories that the line is about.
        about: String,
        /// The policy.
        file: PathBuf,
    },
    /// It would have to be fetched.
    #[error("{module} is not on this machine, and with --offline it is not fetched: {hint}")]
    Offline {
        /// The module.
        module: String,
        /// What to do.
        hint: &'static str,
    },
    /// A tag or a name without a lock.
    #[error(
        "{module} may be another tomorrow, and --locked takes only what is fixed: write its digest behind it, as `wharf inspect {module}` shows it"
    )]
    Unlocked {
        /// The module.
        module: String,
    },
    /// The registry wants credentials, or others.
    #[error(
        "{registry} refused access to {module}{}: check that it exists, and log in with `wharf login {registry}`",
        user.as_ref().map(|user| format!(" for user {user}")).unwrap_or_default()
    )]
    Refused {
        /// The module.
        module: String,
        /// Who was asked.
        registry: String,
        /// As whom.
        user: Option<String>,
    },
    /// The registry did not answer, or not sensibly.
    #[error(transparent)]
    Registry(wharf_oci::Error),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The result of work on modules in registries.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Could it go well on another day, without anything being changed here?
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Registry(wharf_oci::Error::Unavailable { .. }) | Self::Refused { .. } => true,
            Self::Through { source, .. } => source.is_unreachable(),
            _ => false,
        }
    }

    /// Is the command line or a file of settings wrong?
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Name(_)
            | Self::Version { .. }
            | Self::NoHost(_)
            | Self::NoRegistry { .. }
            | Self::Settings { .. }
            | Self::Unpublishable { .. }
            | Self::Unlocked { .. }
            | Self::Key(_)
            | Self::Conflict(_)
            | Self::Lock { .. }
            | Self::Stale(_)
            | Self::Git { .. }
            | Self::Registry(wharf_oci::Error::Reference { .. } | wharf_oci::Error::Settings(_)) => true,
            Self::Through { source, .. } => source.is_usage(),
            _ => false,
        }
    }
}

impl From<wharf_oci::Error> for Error {
    fn from(error: wharf_oci::Error) -> Self {
        match error {
            wharf_oci::Error::NotFound { reference, registry } => Self::NotFound {
                module: reference,
                registry,
                versions: Vec::new(),
            },
            wharf_oci::Error::Refused {
                reference,
                registry,
                user,
            } => Self::Refused {
                module: reference,
                registry,
                user,
            },
            wharf_oci::Error::Damaged { reference, what, why } => Self::Damaged {
                what: format!("{what} of {reference}"),
                why,
            },
            other => Self::Registry(other),
        }
    }
}

fn there(versions: &[String]) -> String {
    match versions {
        [] => ". Check its name and version".to_owned(),
        some => format!("; it has {}", some.join(", ")),
    }
}
