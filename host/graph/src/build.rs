//! Typed handles whose methods append nodes: one method for each builder of `wharf:pipeline`. None of them can fail; what
//! is wrong shows when the result is forced.

use std::{sync::Arc, time::Duration};

use wharf_hosts::Hosts;

use crate::{
    error::Error,
    gpu::GpuRequest,
    image::Platform,
    node::Node,
    op::{
        CacheVolume, Configure, CopyOptions, ExecOptions, FileEdit, Filter, HostPort, Mount, Network, Op,
        SecretId, ServiceOptions, Sharing, Stdin, Stream, TreeEdit,
    },
    publish::Login,
    source::{Access, Checkout, FetchRequest, Reference, Repository, RepositoryPlace},
};

/// Default permission bits of new files.
pub const FILE_MODE: u32 = 0o644;
/// Default permission bits of new directories.
pub const DIRECTORY_MODE: u32 = 0o755;
/// Default permission bits of mounted secrets.
pub const SECRET_MODE: u32 = 0o400;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Arc<Node>);

        impl $name {
            /// The handle of a node that is known to be of this kind.
            pub fn of_node(node: Arc<Node>) -> Self {
                Self(node)
            }

            /// A value whose forcing fails with this error.
            pub fn failed(error: Error) -> Self {
                Self(Node::new(Op::Fail(error), Vec::new()))
            }

            /// The node.
            pub fn node(&self) -> &Arc<Node> {
                &self.0
            }

            fn with(op: Op, inputs: &[&Arc<Node>]) -> Self {
                Self(Node::new(op, inputs.iter().copied().cloned().collect()))
            }
        }
    };
}

handle!(
    /// A directory tree.
    Directory
);
handle!(
    /// One file.
    File
);
handle!(
    /// A root file system, the configuration of its processes, and mounts.
    Container
);

handle!(
    /// A process that steps reach while it runs, or a port of the caller's machine.
    Service
);

/// A secret: its name for people and its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The name under which it was passed.
    pub name: String,
    /// Who it belongs to and where its value comes from.
    pub id: SecretId,
}

/// A cache volume.
#[derive(Clone, Debug)]
pub struct Volume {
    volume: CacheVolume,
    source: Option<Directory>,
    failed: Option<Error>,
}

impl Volume {
    /// The volume of this name in this module or project.
    pub fn new(scope: &str, name: &str) -> Self {
        let volume = CacheVolume {
            scope: scope.to_owned(),
            name: name.to_owned(),
            sharing: Sharing::default(),
            source: None,
            owner: None,
        };
        Self {
            volume,
            source: None,
            failed: None,
        }
    }

    /// A volume whose use fails with this error.
    pub fn failed(error: Error) -> Self {
        Self {
            failed: Some(error),
            ..Self::new("", "")
        }
    }

    /// Share it in another way.
    #[must_use]
    pub fn with_sharing(mut self, sharing: Sharing) -> Self {
        self.volume.sharing = sharing;
        self
    }

    /// Fill it from this directory when it is first used.
    #[must_use]
    pub fn with_source(mut self, source: &Directory) -> Self {
        self.volume.source = Some(source.0.id());
        self.source = Some(source.clone());
        self
    }

    /// Owner of its root when it is first used.
    #[must_use]
    pub fn with_owner(mut self, owner: &str) -> Self {
        self.volume.owner = Some(owner.to_owned());
        self
    }
}

/// A git repository.
#[derive(Clone, Debug)]
pub struct GitRepository {
    repository: Repository,
    within: Option<Directory>,
}

/// A commit of a repository, by a name.
#[derive(Clone, Debug)]
pub struct GitReference {
    of: GitRepository,
    reference: Reference,
}

impl GitRepository {
    /// The repository at an address, asked as `access` says; `known_hosts` has the keys of ssh servers.
    pub fn at(url: &str, access: Access, known_hosts: &str) -> Self {
        Self {
            repository: Repository {
                place: RepositoryPlace::Url(url.to_owned()),
                access,
                known_hosts: known_hosts.to_owned(),
                hosts: None,
            },
            within: None,
        }
    }

    /// The same, for which no other servers are asked than these; any when absent.
    #[must_use]
    pub fn only_from(mut self, hosts: Option<Hosts>) -> Self {
        self.repository.hosts = hosts;
        self
    }

    /// The repository that a directory holds.
    pub fn of_directory(directory: &Directory) -> Self {
        Self {
            repository: Repository {
                place: RepositoryPlace::Directory(directory.0.id()),
                access: Access::Open,
                known_hosts: String::new(),
                hosts: None,
            },
            within: Some(directory.clone()),
        }
    }

    /// A repository whose use fails with this error.
    pub fn failed(error: Error) -> Self {
        Self::of_directory(&Directory::failed(error))
    }

    /// One of its commits.
    pub fn reference(&self, reference: Reference) -> GitReference {
        GitReference {
            of: self.clone(),
            reference,
        }
    }
}

impl GitReference {
    /// The commit's files.
    pub fn tree(&self, checkout: Checkout) -> Directory {
        let op = Op::Git {
            repository: self.of.repository.clone(),
            reference: self.reference.clone(),
            checkout,
        };
        let inputs = self
            .of
            .within
            .iter()
            .map(|within| Arc::clone(&within.0))
            .collect();
        Directory(Node::new(op, inputs))
    }
}

impl Directory {
    /// An empty directory.
    pub fn empty() -> Self {
        Self::with(Op::EmptyDirectory, &[])
    }

    /// A directory of the caller's host, by absolute path.
    pub fn host(path: &str, filter: Filter) -> Self {
        Self::with(
            Op::HostDirectory {
                path: path.to_owned(),
                filter,
            },
            &[],
        )
    }

    /// What another engine makes of this, by its name in the user's configuration.
    #[must_use]
    pub fn on_target(&self, target: &str) -> Self {
        let op = Op::OnTarget {
            directory: self.0.id(),
            target: target.to_owned(),
        };
        Self(Node::made_elsewhere(op, &self.0))
    }

    /// The part below `path`.
    #[must_use]
    pub fn directory(&self, path: &str) -> Self {
        Self::with(Op::Subdirectory(self.0.id(), path.to_owned()), &[&self.0])
    }

    /// The file at `path`.
    pub fn file(&self, path: &str) -> File {
        File::with(Op::FileAt(self.0.id(), path.to_owned()), &[&self.0])
    }

    /// Changed by `edit`, whose sources are these nodes.
    #[must_use]
    pub fn edit(&self, edit: Edit) -> Self {
        let (edit, inputs) = edit.onto(&self.0);
        Self(Node::new(Op::EditDirectory(self.0.id(), edit), inputs))
    }

    /// Only what the filter lets through.
    #[must_use]
    pub fn filter(&self, filter: Filter) -> Self {
        Self::with(Op::FilterDirectory(self.0.id(), filter), &[&self.0])
    }

    /// What `other` has that this has not.
    #[must_use]
    pub fn diff(&self, other: &Self) -> Self {
        Self::with(Op::Diff(self.0.id(), other.0.id()), &[&self.0, &other.0])
    }

    /// Removes what the changes remove and lays over what they add and modify.
    #[must_use]
    pub fn with_changes(&self, changes: &Changeset) -> Self {
        let Changeset { before, after, .. } = changes;
        self.edit(Edit::remove_gone(before, after))
            .edit(Edit::copy_directory(
                "/",
                &before.diff(after),
                CopyOptions::default(),
            ))
    }
}

/// What leads from one directory to another.
#[derive(Clone, Debug)]
pub struct Changeset {
    node: Arc<Node>,
    before: Directory,
    after: Directory,
}

impl Changeset {
    /// From `before` to `after`.
    pub fn new(before: &Directory, after: &Directory) -> Self {
        let op = Op::Changeset(before.0.id(), after.0.id());
        Self {
            node: Node::new(op, vec![Arc::clone(&before.0), Arc::clone(&after.0)]),
            before: before.clone(),
            after: after.clone(),
        }
    }

    /// The node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What there was.
    pub fn before(&self) -> &Directory {
        &self.before
    }

    /// What there is.
    pub fn after(&self) -> &Directory {
        &self.after
    }
}

/// An edit and the nodes that it takes from.
#[derive(Clone, Debug)]
pub struct Edit {
    edit: TreeEdit,
    sources: Vec<Arc<Node>>,
}

impl Edit {
    fn onto(self, base: &Arc<Node>) -> (TreeEdit, Vec<Arc<Node>>) {
        (
            self.edit,
            std::iter::once(Arc::clone(base)).chain(self.sources).collect(),
        )
    }

    fn plain(edit: TreeEdit) -> Self {
        Self {
            edit,
            sources: Vec::new(),
        }
    }

    /// Lay a directory's contents over what is under `path`.
    pub fn copy_directory(path: &str, source: &Directory, options: CopyOptions) -> Self {
        let edit = TreeEdit::CopyDirectory {
            path: path.to_owned(),
            source: source.0.id(),
            options,
        };
        Self {
            edit,
            sources: vec![Arc::clone(&source.0)],
        }
    }

    /// Put a file at `path`, or into it when it ends in `/` or names a directory.
    pub fn copy_file(path: &str, source: &File, options: CopyOptions) -> Self {
        Self::files(path, std::slice::from_ref(source), false, options)
    }

    /// Put files into the directory `path`.
    pub fn copy_files(path: &str, sources: &[File], options: CopyOptions) -> Self {
        Self::files(path, sources, true, options)
    }

    fn files(path: &str, sources: &[File], into_directory: bool, options: CopyOptions) -> Self {
        let ids = sources.iter().map(|file| file.0.id()).collect();
        let edit = TreeEdit::CopyFiles {
            path: path.to_owned(),
            sources: ids,
            into_directory,
            options,
        };
        Self {
            edit,
            sources: sources.iter().map(|file| Arc::clone(&file.0)).collect(),
        }
    }

    /// Write a file.
    pub fn new_file(path: &str, contents: &[u8], mode: Option<u32>, owner: Option<&str>) -> Self {
        Self::plain(TreeEdit::NewFile {
            path: path.to_owned(),
            contents: contents.to_vec(),
            mode: mode.unwrap_or(FILE_MODE),
            owner: owner.map(str::to_owned),
        })
    }

    /// Make a directory.
    pub fn new_directory(path: &str, mode: Option<u32>, owner: Option<&str>) -> Self {
        Self::plain(TreeEdit::NewDirectory {
            path: path.to_owned(),
            mode: mode.unwrap_or(DIRECTORY_MODE),
            owner: owner.map(str::to_owned),
        })
    }

    /// Make a symbolic link at `path`.
    pub fn symlink(target: &str, path: &str) -> Self {
        Self::plain(TreeEdit::Symlink {
            target: target.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Remove paths.
    pub fn remove(paths: &[String]) -> Self {
        Self::plain(TreeEdit::Remove {
            paths: paths.to_vec(),
        })
    }

    /// Change the owner of all below `path`.
    pub fn chown(path: &str, owner: &str) -> Self {
        Self::plain(TreeEdit::Chown {
            path: path.to_owned(),
            owner: owner.to_owned(),
        })
    }

    /// Set every modification time.
    pub fn timestamps(seconds: u64) -> Self {
        Self::plain(TreeEdit::Timestamps { seconds })
    }

    /// Apply a unified diff.
    pub fn patch(patch: &str) -> Self {
        Self::plain(TreeEdit::Patch(patch.to_owned()))
    }

    fn remove_gone(before: &Directory, after: &Directory) -> Self {
        Self {
            edit: TreeEdit::RemoveGone {
                between: [before.0.id(), after.0.id()],
            },
            sources: vec![Arc::clone(&before.0), Arc::clone(&after.0)],
        }
    }
}

impl File {
    /// A file of this name with this text.
    pub fn new(name: &str, contents: &[u8]) -> Self {
        Self::with(
            Op::NewFile {
                name: name.to_owned(),
                contents: contents.to_vec(),
            },
            &[],
        )
    }

    /// A file of the caller's host, by absolute path.
    pub fn host(path: &str) -> Self {
        Self::with(Op::HostFile(path.to_owned()), &[])
    }

    /// A file fetched by URL.
    pub fn fetch(request: FetchRequest) -> Self {
        Self::with(Op::Fetch(request), &[])
    }

    /// What the file holds as an archive or a compressed file.
    pub fn unpack(&self) -> Directory {
        Directory::with(Op::Unpack(self.0.id()), &[&self.0])
    }

    /// The same file, changed.
    #[must_use]
    pub fn edit(&self, edit: FileEdit) -> Self {
        Self::with(Op::EditFile(self.0.id(), edit), &[&self.0])
    }
}

impl Container {
    /// An empty container.
    pub fn scratch(platform: Option<Platform>) -> Self {
        Self::with(Op::Scratch(platform), &[])
    }

    /// An image of a registry.
    pub fn image(reference: &str, platform: Option<Platform>) -> Self {
        Self::image_as(reference, platform, None)
    }

    /// An image of a registry that is told who we are.
    pub fn image_as(reference: &str, platform: Option<Platform>, login: Option<Login>) -> Self {
        Self::with(
            Op::Image {
                reference: reference.to_owned(),
                platform,
                login,
            },
            &[],
        )
    }

    /// The image in an archive.
    pub fn of_archive(file: &File, platform: Option<Platform>) -> Self {
        let op = Op::ImageArchive {
            file: file.0.id(),
            platform,
        };
        Self::with(op, &[&file.0])
    }

    /// An image of the caller's Docker.
    pub fn of_docker(name: &str) -> Self {
        let archive = File::with(Op::DockerArchive(name.to_owned()), &[]);
        Self::of_archive(&archive, None)
    }

    /// The same configuration over another root.
    #[must_use]
    pub fn with_rootfs(&self, root: &Directory) -> Self {
        Self::with(Op::WithRootfs(self.0.id(), root.0.id()), &[&self.0, &root.0])
    }

    /// The root file system.
    pub fn rootfs(&self) -> Directory {
        Directory::with(Op::Rootfs(self.0.id()), &[&self.0])
    }

    /// The directory at `path`, mounts seen.
    pub fn directory(&self, path: &str) -> Directory {
        Directory::with(Op::ContainerDirectory(self.0.id(), path.to_owned()), &[&self.0])
    }

    /// The file at `path`, mounts seen.
    pub fn file(&self, path: &str) -> File {
        File::with(Op::ContainerFile(self.0.id(), path.to_owned()), &[&self.0])
    }

    /// Run a command.
    #[must_use]
    pub fn with_exec(&self, args: &[String], options: ExecOptions) -> Self {
        Self::with(
            Op::Exec {
                container: self.0.id(),
                args: args.to_vec(),
                options,
            },
            &[&self.0],
        )
    }

    /// What the last step printed, as a file.
    pub fn output_file(&self, stream: Stream) -> File {
        File::with(Op::StepOutput(self.0.id(), stream), &[&self.0])
    }

    /// Change what runs nothing.
    #[must_use]
    pub fn configure(&self, change: Configure) -> Self {
        Self::with(Op::Configure(self.0.id(), change), &[&self.0])
    }

    /// The container as another module gets it: see [`Configure::HandOver`].
    #[must_use]
    pub fn handed_over(&self, from: &str, to: &str) -> Self {
        self.configure(Configure::HandOver {
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }

    /// Change the root file system.
    #[must_use]
    pub fn edit(&self, edit: Edit) -> Self {
        let (edit, inputs) = edit.onto(&self.0);
        Self(Node::new(Op::EditRootfs(self.0.id(), edit), inputs))
    }

    /// What later steps can reach.
    #[must_use]
    pub fn with_network(&self, network: Network) -> Self {
        self.configure(Configure::Network(network))
    }

    /// The GPUs that later steps have.
    #[must_use]
    pub fn with_gpus(&self, request: Option<GpuRequest>) -> Self {
        self.configure(Configure::Gpus(request))
    }

    fn mount(&self, path: &str, mount: Mount, source: Option<&Arc<Node>>) -> Self {
        let inputs: Vec<_> = std::iter::once(&self.0).chain(source).collect();
        Self::with(
            Op::Configure(self.0.id(), Configure::Mount(path.to_owned(), mount)),
            &inputs,
        )
    }

    /// Mount a directory; writes to it are discarded.
    #[must_use]
    pub fn with_mounted_directory(&self, path: &str, source: &Directory, owner: Option<&str>) -> Self {
        let mount = Mount::Directory {
            source: source.0.id(),
            owner: owner.map(str::to_owned),
        };
        self.mount(path, mount, Some(&source.0))
    }

    /// Mount a file, read-only.
    #[must_use]
    pub fn with_mounted_file(&self, path: &str, source: &File, owner: Option<&str>) -> Self {
        let mount = Mount::File {
            source: source.0.id(),
            owner: owner.map(str::to_owned),
        };
        self.mount(path, mount, Some(&source.0))
    }

    /// Mount a cache volume.
    #[must_use]
    pub fn with_mounted_cache(&self, path: &str, volume: &Volume) -> Self {
        if let Some(error) = &volume.failed {
            return Self::failed(error.clone());
        }
        let source = volume.source.as_ref().map(Directory::node);
        self.mount(path, Mount::Cache(volume.volume.clone()), source)
    }

    /// Mount a secret's value as a file.
    #[must_use]
    pub fn with_mounted_secret(
        &self,
        path: &str,
        secret: &Secret,
        owner: Option<&str>,
        mode: Option<u32>,
    ) -> Self {
        let mount = Mount::Secret {
            secret: secret.id.clone(),
            owner: owner.map(str::to_owned),
            mode: mode.unwrap_or(SECRET_MODE),
        };
        self.mount(path, mount, None)
    }

    /// Mount an empty directory in memory.
    #[must_use]
    pub fn with_mounted_temp(&self, path: &str, size: Option<u64>) -> Self {
        self.mount(path, Mount::Temp { size }, None)
    }
}

impl Container {
    /// The same, whose later steps reach a service by this name.
    #[must_use]
    pub fn with_service(&self, alias: &str, service: &Service) -> Self {
        Self::with(
            Op::Bind {
                container: self.0.id(),
                service: service.0.id(),
                alias: alias.to_owned(),
            },
            &[&self.0, &service.0],
        )
    }

    /// The service that its process is.
    pub fn as_service(&self, options: ServiceOptions) -> Service {
        Service::with(
            Op::Service {
                container: self.0.id(),
                options,
            },
            &[&self.0],
        )
    }
}

impl Service {
    /// What listens on the caller's own machine.
    pub fn host(host: &str, ports: &[HostPort]) -> Self {
        Self::with(
            Op::HostService {
                host: host.to_owned(),
                ports: ports.to_vec(),
            },
            &[],
        )
    }
}

impl ExecOptions {
    /// Standard input from text.
    #[must_use]
    pub fn with_stdin(mut self, text: &str) -> Self {
        self.stdin = Stdin::Text(text.to_owned());
        self
    }

    /// End the step after this long.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Container, Directory, Edit};
    use crate::{
        node::Node,
        op::{ExecOptions, Filter},
    };
    use std::collections::HashMap;

    #[test]
    fn a_closure_is_in_order_and_decodes_to_the_same_nodes() {
        let source = Directory::host("/src", Filter::default());
        let container = Container::image("python:3.11-slim", None)
            .edit(Edit::copy_directory(
                "/src",
                &source,
                crate::op::CopyOptions::default(),
            ))
            .with_exec(&["make".to_owned()], ExecOptions::default());
        let mut known = HashMap::new();
        for node in container.node().closure(|_| false) {
            let copy = Node::decode(node.encoding(), |id| known.get(&id).cloned()).unwrap();
            assert_eq!(copy.id(), node.id());
            known.insert(copy.id(), copy);
        }
        assert_eq!(known.len(), 4);
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let mut container = Container::scratch(None);
        for step in 0..200_000 {
            container = container.with_exec(&[step.to_string()], ExecOptions::default());
        }
        assert_eq!(container.node().closure(|_| false).len(), 200_001);
    }
}
