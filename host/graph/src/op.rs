//! The operations. What they mean is in [`crate::plan`]; how they are made is in [`crate::build`].

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use wharf_hosts::Hosts;

use crate::{
    error::Error,
    gpu::GpuRequest,
    image::Platform,
    node::NodeId,
    publish::Login,
    source::{Checkout, FetchRequest, FetchSecret, Reference, Repository},
};

/// What of a tree is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Filter {
    /// Gitignore patterns of which one must match; empty takes everything.
    pub include: Vec<String>,
    /// Gitignore patterns that leave out.
    pub exclude: Vec<String>,
    /// Leave out what the tree's own ignore files leave out.
    pub gitignore: bool,
}

impl Filter {
    /// Does it let everything through?
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// How copied files arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CopyOptions {
    /// What is taken.
    pub filter: Filter,
    /// `user[:group]`, names or numbers; as in the source when absent.
    pub owner: Option<String>,
    /// Permission bits of files; as in the source when absent.
    pub mode: Option<u32>,
}

/// A change of a directory tree. `S` is what sources are named by: nodes in the graph, locations in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreeEdit<S = NodeId> {
    /// Lay a directory's contents over what is under `path`.
    CopyDirectory {
        /// Where to; made when missing.
        path: String,
        /// A directory.
        source: S,
        /// What and how.
        options: CopyOptions,
    },
    /// Put files.
    CopyFiles {
        /// Where to.
        path: String,
        /// Files.
        sources: Vec<S>,
        /// `path` is a directory whatever it looks like.
        into_directory: bool,
        /// How they arrive; the filter is not used.
        options: CopyOptions,
    },
    /// Write a file.
    NewFile {
        /// Where to; parents are made.
        path: String,
        /// Its bytes.
        contents: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// `user[:group]`; root when absent.
        owner: Option<String>,
    },
    /// Make a directory and its parents.
    NewDirectory {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
        /// `user[:group]`; root when absent.
        owner: Option<String>,
    },
    /// Make a symbolic link.
    Symlink {
        /// What it points to, as it stands.
        target: String,
        /// Where it is.
        path: String,
    },
    /// Remove paths with all below them.
    Remove {
        /// The paths.
        paths: Vec<String>,
    },
    /// Set the owner of a path and all below it.
    Chown {
        /// The path.
        path: String,
        /// `user[:group]`.
        owner: String,
    },
    /// Set every modification time.
    Timestamps {
        /// Seconds since 1970.
        seconds: u64,
    },
    /// Remove what the first of two directories has and the second has not.
    RemoveGone {
        /// What there was, and what there is.
        between: [S; 2],
    },
    /// Apply a unified diff.
    Patch(String),
    /// Put other text in place of text of a file.
    Replace {
        /// The file.
        path: String,
        /// What is looked for.
        text: String,
        /// What stands there afterwards.
        replacement: String,
        /// In every place; otherwise there must be one.
        all: bool,
    },
}

impl<S> TreeEdit<S> {
    /// What it takes from.
    pub fn sources(&self) -> &[S] {
        match self {
            Self::CopyDirectory { source, .. } => std::slice::from_ref(source),
            Self::CopyFiles { sources, .. } => sources,
            Self::RemoveGone { between } => between,
            _ => &[],
        }
    }

    /// The same edit with other names for its sources and with every path of its target passed through `path`.
    pub fn try_map<T, E>(
        &self,
        mut source: impl FnMut(&S) -> Result<T, E>,
        at: impl Fn(&str) -> String,
    ) -> Result<TreeEdit<T>, E> {
        Ok(match self {
            Self::CopyDirectory {
                path,
                source: from,
                options,
            } => TreeEdit::CopyDirectory {
                path: at(path),
                source: source(from)?,
                options: options.clone(),
            },
            Self::CopyFiles {
                path,
                sources,
                into_directory,
                options,
            } => TreeEdit::CopyFiles {
                path: at(path),
                sources: sources.iter().map(source).collect::<Result<_, _>>()?,
                into_directory: *into_directory || path.ends_with('/'),
                options: options.clone(),
            },
            Self::NewFile {
                path,
                contents,
                mode,
                owner,
            } => TreeEdit::NewFile {
                path: at(path),
                contents: contents.clone(),
                mode: *mode,
                owner: owner.clone(),
            },
            Self::NewDirectory { path, mode, owner } => TreeEdit::NewDirectory {
                path: at(path),
                mode: *mode,
                owner: owner.clone(),
            },
            Self::Symlink { target, path } => TreeEdit::Symlink {
                target: target.clone(),
                path: at(path),
            },
            Self::Remove { paths } => TreeEdit::Remove {
                paths: paths.iter().map(|path| at(path)).collect(),
            },
            Self::Chown { path, owner } => TreeEdit::Chown {
                path: at(path),
                owner: owner.clone(),
            },
            Self::Timestamps { seconds } => TreeEdit::Timestamps { seconds: *seconds },
            Self::RemoveGone {
                between: [before, after],
            } => TreeEdit::RemoveGone {
                between: [source(before)?, source(after)?],
            },
            Self::Patch(patch) => TreeEdit::Patch(patch.clone()),
            Self::Replace {
                path,
                text,
                replacement,
                all,
            } => TreeEdit::Replace {
                path: at(path),
                text: text.clone(),
                replacement: replacement.clone(),
                all: *all,
            },
        })
    }
}

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileEdit {
    /// Another name.
    Rename(String),
    /// Another owner, `uid[:gid]`.
    Chown(String),
    /// A modification time in seconds since 1970.
    Timestamp(u64),
    /// Other permission bits.
    Mode(u32),
    /// Other text in place of some.
    Replace {
        /// What is looked for.
        text: String,
        /// What stands there afterwards.
        replacement: String,
        /// In every place; otherwise there must be one.
        all: bool,
    },
}

/// One of a step's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// What a file that holds it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Which exit codes count as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expect {
    /// 0.
    #[default]
    Success,
    /// All but 0.
    Failure,
    /// All.
    Any,
}

impl Expect {
    /// Is this exit code one of them?
    pub fn accepts(self, exit_code: i32) -> bool {
        match self {
            Self::Success => exit_code == 0,
            Self::Failure => exit_code != 0,
            Self::Any => true,
        }
    }
}

/// What a step's standard input is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// At its end from the start.
    #[default]
    Empty,
    /// This text.
    Text(String),
    /// A secret's value.
    Secret(SecretId),
}

/// Limits of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Thousandths of a processor.
    pub millicpus: Option<u32>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processes and threads at once.
    pub pids: Option<u32>,
}

/// How a command runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOptions {
    /// Standard input.
    pub stdin: Stdin,
    /// Write standard output to this file of the container, too.
    pub redirect_stdout: Option<String>,
    /// Write standard error to this file of the container, too.
    pub redirect_stderr: Option<String>,
    /// Which exit codes count as done.
    pub expect: Expect,
    /// Put the entrypoint before the arguments.
    pub use_entrypoint: bool,
    /// Expand variables in the arguments.
    pub expand: bool,
    /// End the step after this long.
    pub timeout: Option<Duration>,
    /// Run it even when its result is remembered.
    pub no_cache: bool,
    /// Limits.
    pub limits: Limits,
    /// Shown to the user instead of the arguments.
    pub reason: Option<String>,
}

/// How an image's health check is run; zero is Docker's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckOptions {
    /// From one run to the next.
    pub interval: Duration,
    /// A run that takes longer has failed.
    pub timeout: Duration,
    /// A run that fails so soon after the start does not count.
    pub start_period: Duration,
    /// From one run to the next in the start period.
    pub start_interval: Duration,
    /// How many runs that fail in a row make it unhealthy.
    pub retries: u32,
}

/// What a step can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Network {
    /// Loopback only.
    #[default]
    None,
    /// Everything but the host itself.
    All,
    /// These hosts.
    Hosts(Hosts),
}

/// Identity of a secret: who it belongs to and where its value comes from, never the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretId {
    /// The project or module that it was given to.
    pub owner: String,
    /// `env:NAME`, `file:PATH` or `cmd:COMMAND`; `value:…` for a value that a module holds, which is named by the store's
    /// engine before it is in a key.
    pub uri: String,
}

impl SecretId {
    /// Is it a value that a module holds?
    pub fn is_value(&self) -> bool {
        self.uri.starts_with("value:")
    }

    /// The secret as a client knows it, of one that was named in a scope.
    #[must_use]
    pub fn out_of(&self, scope: &str) -> Self {
        let owner = self.owner.strip_suffix(&within("", scope)).unwrap_or(&self.owner);
        Self {
            owner: owner.to_owned(),
            uri: self.uri.clone(),
        }
    }
}

/// What a name of a client's is called where clients are told apart.
fn within(name: &str, scope: &str) -> String {
    format!("{name} of {scope}")
}

/// How steps share a cache volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One at a time.
    Locked,
    /// Not writable.
    ReadOnly,
}

/// A cache volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheVolume<S = NodeId> {
    /// The module or project that named it.
    pub scope: String,
    /// Its name there.
    pub name: String,
    /// How it is shared.
    pub sharing: Sharing,
    /// A directory that fills it when it is first used.
    pub source: Option<S>,
    /// Owner of its root when it is first used, `uid[:gid]`.
    pub owner: Option<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount<S = NodeId> {
    /// A directory; writes are discarded.
    Directory {
        /// The directory.
        source: S,
        /// `user[:group]` of all of it.
        owner: Option<String>,
    },
    /// A file, read-only.
    File {
        /// The file.
        source: S,
        /// `user[:group]`.
        owner: Option<String>,
    },
    /// A cache volume.
    Cache(CacheVolume<S>),
    /// A secret's value as a file.
    Secret {
        /// The secret.
        secret: SecretId,
        /// `user[:group]`; root when absent.
        owner: Option<String>,
        /// Permission bits.
        mode: u32,
    },
    /// An empty directory in memory.
    Temp {
        /// Bytes at most.
        size: Option<u64>,
    },
}

impl<S> Mount<S> {
    /// What it takes from.
    pub fn source(&self) -> Option<&S> {
        match self {
            Self::Directory { source, .. } | Self::File { source, .. } => Some(source),
            Self::Cache(volume) => volume.source.as_ref(),
            Self::Secret { .. } | Self::Temp { .. } => None,
        }
    }

    /// The same mount with another name for its source.
    pub fn try_map<T, E>(&self, source: impl FnOnce(&S) -> Result<T, E>) -> Result<Mount<T>, E> {
        Ok(match self {
            Self::Directory { source: from, owner } => Mount::Directory {
                source: source(from)?,
                owner: owner.clone(),
            },
            Self::File { source: from, owner } => Mount::File {
                source: source(from)?,
                owner: owner.clone(),
            },
            Self::Cache(volume) => Mount::Cache(CacheVolume {
                scope: volume.scope.clone(),
                name: volume.name.clone(),
                sharing: volume.sharing,
                source: volume.source.as_ref().map(source).transpose()?,
                owner: volume.owner.clone(),
            }),
            Self::Secret { secret, owner, mode } => Mount::Secret {
                secret: secret.clone(),
                owner: owner.clone(),
                mode: *mode,
            },
            Self::Temp { size } => Mount::Temp { size: *size },
        })
    }
}

/// How a container serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceOptions {
    /// The command; empty runs the default arguments.
    pub args: Vec<String>,
    /// Put the entrypoint before the arguments; when there are none, unless told otherwise.
    pub use_entrypoint: Option<bool>,
    /// How long it may take until it is healthy.
    pub start_timeout: Option<Duration>,
    /// Limits.
    pub limits: Limits,
}

/// A port of a service and the port of the caller's machine that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// On the caller's machine.
    pub host: u16,
    /// Of the service.
    pub service: u16,
}

/// A change of a container that runs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Configure {
    /// Set a variable.
    Env {
        /// Name.
        name: String,
        /// Value.
        value: String,
        /// Expand variables in the value.
        expand: bool,
    },
    /// Remove a variable.
    UnsetEnv(String),
    /// Set a variable to a secret's value.
    SecretEnv(String, SecretId),
    /// Remove a secret variable.
    UnsetSecretEnv(String),
    /// Set a variable that is in no key.
    VolatileEnv(String, String),
    /// Set the working directory.
    Workdir(String),
    /// Back to `/`.
    UnsetWorkdir,
    /// Set the user.
    User(String),
    /// Back to root.
    UnsetUser,
    /// Set or remove (empty) the entrypoint.
    Entrypoint {
        /// The entrypoint.
        args: Vec<String>,
        /// Do not reset the default arguments.
        keep_default_args: bool,
    },
    /// Set or remove (empty) the default arguments.
    DefaultArgs(Vec<String>),
    /// Set a label.
    Label(String, String),
    /// Remove a label.
    UnsetLabel(String),
    /// Set an annotation.
    Annotation(String, String),
    /// Remove an annotation.
    UnsetAnnotation(String),
    /// Note a port, as `80/tcp`.
    Expose(String),
    /// Remove a noted port.
    Unexpose(String),
    /// What later steps can reach.
    Network(Network),
    /// Mount at a path.
    Mount(String, Mount),
    /// Take the mount at a path away.
    Unmount(String),
    /// Let steps of modules that get the container see the cache volume at a path, and write to it or not.
    LendCache(String, bool),
    /// It goes from one module to another, each named by its scope: the steps that the next one adds have the secrets,
    /// caches, services, network and GPUs of the next one, and find those of the last one again when it comes back.
    HandOver {
        /// Who had it.
        from: String,
        /// Who gets it.
        to: String,
    },
    /// The GPUs that later steps have.
    Gpus(Option<GpuRequest>),
    /// Set the image's health check.
    HealthCheck {
        /// The command.
        args: Vec<String>,
        /// How it is run.
        options: HealthCheckOptions,
    },
    /// Remove the image's health check.
    UnsetHealthCheck,
}

/// One operation. Inputs are named by id; the comment says what kind of node each makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Fails when it is forced; stands for any kind.
    Fail(Error),

    /// Directory: empty.
    EmptyDirectory,
    /// Directory: of the caller's host.
    HostDirectory {
        /// Absolute path on the caller's host.
        path: String,
        /// What is taken.
        filter: Filter,
    },
    /// Directory: the part of a directory below a path.
    Subdirectory(NodeId, String),
    /// Directory: changed.
    EditDirectory(NodeId, TreeEdit),
    /// Directory: filtered.
    FilterDirectory(NodeId, Filter),
    /// Directory: what the second has that the first has not.
    Diff(NodeId, NodeId),
    /// Directory: a container's root file system.
    Rootfs(NodeId),
    /// Directory: a path of a container, mounts seen.
    ContainerDirectory(NodeId, String),

    /// File: of the caller's host.
    HostFile(String),
    /// File: of this name and with these bytes.
    NewFile {
        /// Its name.
        name: String,
        /// Its bytes.
        contents: Vec<u8>,
    },
    /// File: in a directory.
    FileAt(NodeId, String),
    /// File: in a container, mounts seen.
    ContainerFile(NodeId, String),
    /// File: changed.
    EditFile(NodeId, FileEdit),

    /// Container: empty, of the engine's platform unless given.
    Scratch(Option<Platform>),
    /// Container: an image of a registry.
    Image {
        /// As Docker reads it.
        reference: String,
        /// The engine's unless given.
        platform: Option<Platform>,
        /// Who the registry is told that we are; what the caller is logged in as unless given.
        login: Option<Login>,
    },
    /// Container: the image in an archive.
    ImageArchive {
        /// The archive: what `docker save` or an OCI tool writes.
        file: NodeId,
        /// The engine's unless given.
        platform: Option<Platform>,
    },
    /// File: an archive of an image of the caller's Docker.
    DockerArchive(String),
    /// Container: the first with the second as its root file system.
    WithRootfs(NodeId, NodeId),
    /// Container: configured.
    Configure(NodeId, Configure),
    /// Container: its root file system changed.
    EditRootfs(NodeId, TreeEdit),
    /// Container: after a command.
    Exec {
        /// Where it runs.
        container: NodeId,
        /// The command; empty runs the default arguments.
        args: Vec<String>,
        /// How.
        options: ExecOptions,
    },
    /// Container: the first, whose later steps reach the second, a service, by a name.
    Bind {
        /// The container.
        container: NodeId,
        /// The service.
        service: NodeId,
        /// The name.
        alias: String,
    },

    /// Service: a container's process.
    Service {
        /// The container.
        container: NodeId,
        /// How it runs.
        options: ServiceOptions,
    },
    /// Service: what listens on the caller's own machine.
    HostService {
        /// Name or address, as the caller's machine knows it.
        host: String,
        /// The ports.
        ports: Vec<HostPort>,
    },

    /// File: fetched by URL.
    Fetch(FetchRequest),
    /// Directory: what an archive or a compressed file holds.
    Unpack(NodeId),
    /// Directory: the files of a commit.
    Git {
        /// Whose.
        repository: Repository,
        /// Which.
        reference: Reference,
        /// How they arrive.
        checkout: Checkout,
    },

    /// File: what the last step of a container printed.
    StepOutput(NodeId, Stream),
    /// Changeset: from the first directory to the second.
    Changeset(NodeId, NodeId),

    /// Directory: what another engine makes of a directory. It is a source: the client brings its content, and the engine that
    /// is asked for it never sees of what it is made.
    OnTarget {
        /// The directory; no input.
        directory: NodeId,
        /// The engine, as the user's configuration names it.
        target: String,
    },
}

impl Op {
    /// The secrets of sources: those whose values are needed to fetch them.
    pub fn source_secrets(&self) -> Vec<&SecretId> {
        match self {
            Self::Fetch(request) => request.secrets.iter().map(FetchSecret::id).collect(),
            Self::Git { repository, .. } => repository.access.secret().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The secrets that are part of what the operation means.
    pub fn secrets(&self) -> Vec<&SecretId> {
        match self {
            Self::Configure(_, Configure::SecretEnv(_, secret))
            | Self::Configure(_, Configure::Mount(_, Mount::Secret { secret, .. })) => vec![secret],
            Self::Exec { options, .. } => match &options.stdin {
                Stdin::Secret(secret) => vec![secret],
                _ => Vec::new(),
            },
            source => source.source_secrets(),
        }
    }

    fn secrets_mut(&mut self) -> Vec<&mut SecretId> {
        match self {
            Self::Configure(_, Configure::SecretEnv(_, secret))
            | Self::Configure(_, Configure::Mount(_, Mount::Secret { secret, .. })) => vec![secret],
            Self::Exec { options, .. } => match &mut options.stdin {
                Stdin::Secret(secret) => vec![secret],
                _ => Vec::new(),
            },
            Self::Fetch(request) => request.secrets.iter_mut().map(FetchSecret::id_mut).collect(),
            Self::Git { repository, .. } => repository.access.secret_mut().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The values that modules hold among its secrets: they have other names in keys.
    pub fn secret_values(&self) -> impl Iterator<Item = &SecretId> {
        self.secrets().into_iter().filter(|secret| secret.is_value())
    }

    /// The same with the names that values have in keys; none where one has no name yet.
    pub(crate) fn with_named_values(&self, names: &HashMap<SecretId, SecretId>) -> Option<Self> {
        let mut op = self.clone();
        for secret in op.secrets_mut() {
            if secret.is_value() {
                secret.clone_from(names.get(secret)?);
            }
        }
        Some(op)
    }

    /// The same as one client's: its secrets and cache volumes are nobody else's, whatever others call theirs.
    pub(crate) fn within(&self, scope: &str) -> Self {
        let mut op = self.clone();
        for secret in op.secrets_mut() {
            secret.owner = within(&secret.owner, scope);
        }
        if let Self::Configure(_, Configure::Mount(_, Mount::Cache(volume))) = &mut op {
            volume.scope = within(&volume.scope, scope);
        }
        op
    }

    /// The nodes that the operation names, in a fixed order.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Self::Fail(_)
            | Self::EmptyDirectory
            | Self::HostDirectory { .. }
            | Self::OnTarget { .. }
            | Self::HostFile(_)
            | Self::NewFile { .. }
            | Self::Scratch(_)
            | Self::DockerArchive(_)
            | Self::Image { .. }
            | Self::Fetch(_)
            | Self::HostService { .. } => Vec::new(),
            Self::ImageArchive { file, .. } => vec![*file],
            Self::Subdirectory(node, _)
            | Self::FilterDirectory(node, _)
            | Self::Rootfs(node)
            | Self::ContainerDirectory(node, _)
            | Self::FileAt(node, _)
            | Self::ContainerFile(node, _)
            | Self::StepOutput(node, _)
            | Self::EditFile(node, _)
            | Self::Unpack(node) => vec![*node],
            Self::Exec { container, .. } | Self::Service { container, .. } => vec![*container],
            Self::Bind {
                container, service, ..
            } => vec![*container, *service],
            Self::Git { repository, .. } => repository.directory().copied().into_iter().collect(),
            Self::Diff(one, other) | Self::WithRootfs(one, other) | Self::Changeset(one, other) => {
                vec![*one, *other]
            }
            Self::EditDirectory(base, edit) | Self::EditRootfs(base, edit) => std::iter::once(*base)
                .chain(edit.sources().iter().copied())
                .collect(),
            Self::Configure(container, change) => {
                let mounted = if let Configure::Mount(_, mount) = change {
                    mount.source().copied()
                } else {
                    None
                };
                std::iter::once(*container).chain(mounted).collect()
            }
        }
    }
}
