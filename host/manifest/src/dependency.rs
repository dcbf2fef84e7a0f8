//! One line of `[dependencies]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use semver::VersionReq;
use serde::{Deserialize, Serialize};

use crate::nearest::unknown;

/// Where a module that another one calls comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "DependencyTable", into = "DependencyTable")]
pub enum Dependency {
    /// A version that fits, from the registry that the name's namespace stands for: `"1"` or `{ version = "1" }`.
    Registry {
        /// Which versions fit.
        version: VersionReq,
    },
    /// A repository of a registry: `{ oci = "registry.example/acme/quantize", version = "0.3" }`. Without a version the
    /// reference has a tag or a digest.
    Oci {
        /// The repository, with a tag or digest or without.
        reference: String,
        /// Which versions fit.
        version: Option<VersionReq>,
    },
    /// A module's directory, or a component's file, relative to this wharf.toml: `{ path = "../local" }`.
    Path(PathBuf),
    /// A module in a git repository: `{ git = "https://…", tag = "v1", directory = "modules/x" }`.
    Git {
        /// The repository.
        url: String,
        /// What of it.
        reference: GitReference,
        /// Where the module is in it.
        directory: Option<String>,
    },
}

/// What of a git repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitReference {
    /// Its main branch.
    Head,
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// A commit.
    Commit(String),
}

/// Where the module comes from: a version, or a table with one of `version`, `oci`, `path` and `git`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only its shape is used")]
pub(crate) enum DependencyFile {
    /// Which versions of the namespace's registry fit, as in `"1"` or `"0.3.2"`.
    Version(String),
    Table(DependencyTable),
}

#[derive(Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DependencyTable {
    /// Which versions fit, as in `"1"` or `"0.3.2"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// A repository of a registry, as in `registry.example/acme/quantize`.
    #[serde(skip_serializing_if = "Option::is_none")]
    oci: Option<String>,
    /// A module's directory or a component's file, relative to this wharf.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    /// The URL of a git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    git: Option<String>,
    /// A branch of the git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    /// A tag of the git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    /// A commit of the git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// Where the module is in the git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
}

const FIELDS: [&str; 8] = [
    "version",
    "oci",
    "path",
    "git",
    "branch",
    "tag",
    "commit",
    "directory",
];

impl Dependency {
    /// Reads what stands behind a dependency's name.
    pub(crate) fn read(value: toml::Value) -> Result<Self, String> {
        let table = match value {
            toml::Value::String(version) => {
                return Ok(Self::Registry {
                    version: requirement(&version)?,
                });
            }
            toml::Value::Table(table) => table,
            _ => {
                return Err(
                    r#"it is a version, as in "1", or a table, as in { path = "../local" }"#.to_owned(),
                );
            }
        };
        if let Some(key) = table.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(unknown(&format!("`{key}`"), key, &FIELDS));
        }
        let table: DependencyTable = table
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        table.checked()
    }
}

impl TryFrom<DependencyTable> for Dependency {
    type Error = String;

    fn try_from(table: DependencyTable) -> Result<Self, String> {
        table.checked()
    }
}

impl From<Dependency> for DependencyTable {
    fn from(dependency: Dependency) -> Self {
        let mut table = Self::default();
        match dependency {
            Dependency::Registry { version } => table.version = Some(version.to_string()),
            Dependency::Oci { reference, version } => {
                table.oci = Some(reference);
                table.version = version.map(|version| version.to_string());
            }
            Dependency::Path(path) => table.path = Some(path),
            Dependency::Git {
                url,
                reference,
                directory,
            } => {
                (table.git, table.directory) = (Some(url), directory);
                match reference {
                    GitReference::Head => {}
                    GitReference::Branch(branch) => table.branch = Some(branch),
                    GitReference::Tag(tag) => table.tag = Some(tag),
                    GitReference::Commit(commit) => table.commit = Some(commit),
                }
            }
        }
        table
    }
}

impl DependencyTable {
    fn checked(self) -> Result<Dependency, String> {
        let version = self.version.as_deref().map(requirement).transpose()?;
        let of_git = [
            ("branch", self.branch.is_some()),
            ("tag", self.tag.is_some()),
            ("commit", self.commit.is_some()),
            ("directory", self.directory.is_some()),
        ];
        if self.git.is_none()
            && let Some((key, _)) = of_git.iter().find(|(_, is_set)| *is_set)
        {
            return Err(format!("`{key}` goes with `git`"));
        }
        if version.is_some() && (self.path.is_some() || self.git.is_some()) {
            return Err(
                "`version` goes with `oci` or stands alone: a path or a git reference is one version"
                    .to_owned(),
            );
        }
        match (self.oci, self.path, self.git) {
            (Some(reference), None, None) => Ok(Dependency::Oci { reference, version }),
            (None, Some(path), None) => Ok(Dependency::Path(path)),
            (None, None, Some(url)) => Ok(Dependency::Git {
                url,
                reference: match (self.branch, self.tag, self.commit) {
                    (None, None, None) => GitReference::Head,
                    (Some(branch), None, None) => GitReference::Branch(branch),
                    (None, Some(tag), None) => GitReference::Tag(tag),
                    (None, None, Some(commit)) => GitReference::Commit(commit),
                    _ => return Err("one of `branch`, `tag` and `commit` is enough".to_owned()),
                },
                directory: self.directory,
            }),
            (None, None, None) => match version {
                Some(version) => Ok(Dependency::Registry { version }),
                None => Err("it needs one of `version`, `oci`, `path` and `git`".to_owned()),
            },
            _ => Err("it has one place: `oci`, `path` or `git`".to_owned()),
        }
    }
}

fn requirement(text: &str) -> Result<VersionReq, String> {
    text.parse()
        .map_err(|error| format!("`{text}` says no versions ({error}); write \"1\", \"0.3.2\" or \"=1.2.3\""))
}
