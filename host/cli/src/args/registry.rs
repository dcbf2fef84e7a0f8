//! What commands about modules and logins of registries take.

use std::path::PathBuf;

use clap::Args;

use super::{Loudness, ModuleArg};

/// Whom connections to registries trust.
#[derive(Debug, Args)]
pub(crate) struct Certificates {
    /// Certificates that are trusted beside the host's own
    #[arg(long, env = "WHARF_CA_CERT", value_name = "PATH", hide_env_values = true)]
    pub(crate) ca_cert: Option<PathBuf>,
}

/// The module whose wharf.toml is changed.
#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    /// The module whose wharf.toml and wharf.lock it is: a directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) module: PathBuf,
    #[command(flatten)]
    pub(crate) certificates: Certificates,
    #[command(flatten)]
    pub(crate) loudness: Loudness,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Comments and order of wharf.toml stay as they are. Nothing is written when the modules do not go together."
)]
pub(crate) struct AddArgs {
    /// What is called: acme:tool, acme:tool@1.2, registry.example/acme/tool:1.2.0, or a path
    #[arg(value_name = "REF|PATH")]
    pub(crate) reference: String,
    /// The name that it is called by, when it gives itself none
    #[arg(long, value_name = "NAMESPACE:NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Only these modules, or pinned images and repositories; all of them when none is named
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without REF the module's own name says where it goes, by the file of registries. What is published under a \
                  version is never replaced; the same module again is no error."
)]
pub(crate) struct PublishArgs {
    /// Where to: registry.example/acme/tool, with the version as its tag or without one, or acme:tool; wharf.toml has the
    /// name and the version
    #[arg(value_name = "REF")]
    pub(crate) reference: Option<String>,
    #[command(flatten)]
    pub(crate) module: ModuleArg,
    /// A further tag that follows this version, such as latest; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Sign it with a key in PEM (PKCS #8: ECDSA on P-256, or Ed25519): a file, or env:NAME
    #[arg(long, value_name = "PATH|env:NAME")]
    pub(crate) sign_key: Option<String>,
    /// Show what would be published, and publish nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) certificates: Certificates,
    #[command(flatten)]
    pub(crate) loudness: Loudness,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The login is kept where Docker keeps its own: by the credential helper that ~/.docker/config.json names, or in \
                  that file. So `docker login` and `wharf login` know of each other."
)]
pub(crate) struct LoginArgs {
    /// The registry, as it stands in references: ghcr.io, registry.example:5000
    #[arg(default_value = "docker.io")]
    pub(crate) registry: String,
    /// The user; asked for when it is not given
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Read the password, or a token in its place, from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) certificates: Certificates,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry
    #[arg(default_value = "docker.io")]
    pub(crate) registry: String,
}
