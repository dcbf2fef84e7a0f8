//! What commands about modules and logins of registries take.

use std::path::PathBuf;

use clap::Args;
use wharf_manifest::GitReference;

use super::{Loudness, ModuleArg};
use crate::error::Report;

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
    /// What is called: acme:tool, acme:tool@1.2, registry.example/acme/tool:1.2.0, a path, or the https:// address of a git
    /// repository
    #[arg(value_name = "REF|PATH|URL")]
    pub(crate) reference: String,
    /// The name that it is called by, when it gives itself none
    #[arg(long, value_name = "NAMESPACE:NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) git: GitArgs,
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
}

/// Which module of a git repository.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GitArgs {
    /// A branch of the repository; its main one by default
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tag", "commit"])]
    branch: Option<String>,
    /// A tag of the repository
    #[arg(long, value_name = "NAME", conflicts_with = "commit")]
    tag: Option<String>,
    /// A commit of the repository, by its whole name
    #[arg(long, value_name = "HEX")]
    commit: Option<String>,
    /// Where the module is in the repository; its root by default
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
}

impl GitArgs {
    /// Refuses them for what is in no repository.
    pub(crate) fn only_of_repositories(&self) -> Result<(), Report> {
        let set = [
            ("branch", self.branch.is_some()),
            ("tag", self.tag.is_some()),
            ("commit", self.commit.is_some()),
            ("directory", self.directory.is_some()),
        ];
        match set.iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => Err(Report::usage(format!(
                "--{name} goes with the address of a git repository, as in https://git.example/acme/tools"
            ))),
            None => Ok(()),
        }
    }

    /// Which commit is meant.
    pub(crate) fn reference(&self) -> GitReference {
        match (&self.branch, &self.tag, &self.commit) {
            (Some(branch), ..) => GitReference::Branch(branch.clone()),
            (_, Some(tag), _) => GitReference::Tag(tag.clone()),
            (.., Some(commit)) => GitReference::Commit(commit.clone()),
            _ => GitReference::Head,
        }
    }

    /// Where the module is in the repository; nothing for its root.
    pub(crate) fn directory(&self) -> Option<String> {
        let plain = self.directory.as_deref()?.trim_start_matches("./").trim_end_matches('/');
        (!plain.is_empty() && plain != ".").then(|| plain.to_owned())
    }

    /// What wharf.toml says about it.
    pub(crate) fn fields(&self, url: &str) -> Vec<(&'static str, String)> {
        let more = [
            ("branch", self.branch.clone()),
            ("tag", self.tag.clone()),
            ("commit", self.commit.clone()),
            ("directory", self.directory()),
        ];
        let more = more.into_iter().filter_map(|(key, value)| Some((key, value?)));
        std::iter::once(("git", url.to_owned())).chain(more).collect()
    }
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
