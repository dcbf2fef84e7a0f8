//! The planner: folds nodes, each once.

use std::{collections::HashMap, sync::Arc};

use wharf_digest::Digest;

use super::{
    container::ContainerPlan,
    path::absolute,
    service::{Service, bind},
    tree::{Location, Make, Tree},
};
use crate::{
    error::Error,
    image::{ImageConfig, Platform},
    node::{Node, NodeId},
    op::{Configure, CopyOptions, FileEdit, Op, SecretId, TreeEdit},
    source::FetchRequest,
};

/// What an image reference meant when it was resolved.
#[derive(Clone, Debug)]
pub struct ImagePin {
    /// Digest of the manifest of the platform, `sha256:…`; where clients are told apart, also where it was given to them.
    pub manifest: String,
    /// The reference with that digest.
    pub reference: String,
    /// The platform.
    pub platform: Platform,
    /// The image's configuration.
    pub config: ImageConfig,
}

/// What sources mean for the length of one run.
#[derive(Debug, Default)]
pub struct Pins {
    /// Images by node.
    pub images: HashMap<NodeId, ImagePin>,
    /// Content of host directories and files by node.
    pub uploads: HashMap<NodeId, Digest>,
    /// Content of fetched files by node, as `blake3:…` or the digest that was given. Requests whose digest is known need none.
    pub fetched: HashMap<NodeId, String>,
    /// Commits of references by node: all their hexadecimal digits.
    pub commits: HashMap<NodeId, String>,
    /// What secret values that modules hold are called in keys.
    pub values: HashMap<SecretId, SecretId>,
}

/// A node, folded.
#[derive(Clone, Debug)]
pub enum Planned {
    /// A directory.
    Directory(Location),
    /// A file.
    File(Location),
    /// A container.
    Container(Arc<ContainerPlan>),
    /// A service.
    Service(Arc<Service>),
    /// What leads from one directory to another.
    Changeset(Arc<ChangesetPlan>),
    /// Forcing it fails with this error.
    Failed(Error),
}

/// The name under which an archive of the caller's Docker is sent.
pub const DOCKER_ARCHIVE: &str = "image.tar";

/// A source that the caller has to pin first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a source of the graph was not pinned")]
pub struct PlanError(pub NodeId);

/// Two directories and what the second has that the first has not, or has otherwise.
#[derive(Clone, Debug)]
pub struct ChangesetPlan {
    /// What there was.
    pub before: Location,
    /// What there is.
    pub after: Location,
    /// A tree with what is new or another.
    pub difference: Location,
}

/// Folds the nodes of one run.
#[derive(Debug)]
pub struct Planner {
    platform: Platform,
    nonce: u64,
    /// Whose run it is, where clients are told apart.
    scope: Option<String>,
    memo: HashMap<NodeId, Planned>,
}

impl Planner {
    /// A planner for a run. `platform` is the engine's; `nonce` tells this run from others, for steps that are never
    /// looked up.
    pub fn new(platform: Platform, nonce: u64) -> Self {
        Self {
            platform,
            nonce,
            scope: None,
            memo: HashMap::new(),
        }
    }

    /// Plans for one client among several: secrets, cache volumes and services of its machine are named as its own in keys,
    /// and files whose digests it gives are pinned as all others are.
    #[must_use]
    pub fn within(mut self, scope: Option<String>) -> Self {
        self.scope = scope;
        self
    }

    /// The sources below `node` that `pins` lacks.
    pub fn unpinned(&self, node: &Arc<Node>, pins: &Pins) -> Vec<Arc<Node>> {
        let mut nodes = node.closure(|id| self.memo.contains_key(&id));
        let is_unnamed = |op: &Op| op.secret_values().any(|secret| !pins.values.contains_key(secret));
        nodes.retain(|node| match node.op() {
            op if is_unnamed(op) => true,
            Op::Image { .. } | Op::ImageArchive { .. } => !pins.images.contains_key(&node.id()),
            Op::HostDirectory { .. } | Op::OnTarget { .. } | Op::HostFile(_) | Op::DockerArchive(_) => {
                !pins.uploads.contains_key(&node.id())
            }
            Op::Fetch(request) => {
                // That a client knows a digest does not say that it was ever given the file.
                let is_proof = request.known_digest().is_some() && self.scope.is_none();
                !is_proof && !pins.fetched.contains_key(&node.id())
            }
            Op::Git { .. } => !pins.commits.contains_key(&node.id()),
            _ => false,
        });
        nodes
    }

    /// Folds a node and all below it.
    pub fn plan(&mut self, node: &Arc<Node>, pins: &Pins) -> Result<Planned, PlanError> {
        for node in node.closure(|id| self.memo.contains_key(&id)) {
            let planned = self.fold(&node, pins)?.unwrap_or_else(Planned::Failed);
            let planned = self.as_ours(planned);
            self.memo.insert(node.id(), planned);
        }
        Ok(self.memo[&node.id()].clone())
    }

    /// The same, as this run's client's.
    fn as_ours(&self, planned: Planned) -> Planned {
        match planned {
            Planned::Container(container) if container.scope != self.scope => {
                let mut container = ContainerPlan::clone(&container);
                container.scope.clone_from(&self.scope);
                Planned::Container(Arc::new(container))
            }
            planned => planned,
        }
    }

    fn fold(&self, node: &Node, pins: &Pins) -> Result<Result<Planned, Error>, PlanError> {
        let unpinned = PlanError(node.id());
        let named;
        let op = if node.op().secret_values().next().is_some() {
            named = node.op().with_named_values(&pins.values).ok_or(unpinned)?;
            &named
        } else {
            node.op()
        };
        let scoped;
        let op = match &self.scope {
            Some(scope) => {
                scoped = op.within(scope);
                &scoped
            }
            None => op,
        };
        Ok(match op {
            Op::Image { reference, .. } => {
                let pin = pins.images.get(&node.id()).ok_or(unpinned)?;
                Ok(Planned::Container(Arc::new(image(node.id(), reference, pin))))
            }
            Op::HostDirectory { path, .. } => {
                let content = *pins.uploads.get(&node.id()).ok_or(unpinned)?;
                Ok(Planned::Directory(upload(node.id(), content, path)))
            }
            Op::OnTarget { target, .. } => {
                let content = *pins.uploads.get(&node.id()).ok_or(unpinned)?;
                let made_there = format!("what {target} made");
                Ok(Planned::Directory(upload(node.id(), content, &made_there)))
            }
            Op::HostFile(path) => {
                let content = *pins.uploads.get(&node.id()).ok_or(unpinned)?;
                let name = path.rsplit('/').next().unwrap_or(path);
                let root = upload(node.id(), content, path);
                Ok(Planned::File(Location {
                    path: absolute("/", name),
                    ..root
                }))
            }
            Op::ImageArchive { .. } => {
                let pin = pins.images.get(&node.id()).ok_or(unpinned)?;
                Ok(Planned::Container(Arc::new(image(
                    node.id(),
                    &pin.reference,
                    pin,
                ))))
            }
            Op::DockerArchive(name) => {
                let content = *pins.uploads.get(&node.id()).ok_or(unpinned)?;
                Ok(Planned::File(Location {
                    path: absolute("/", DOCKER_ARCHIVE),
                    ..upload(node.id(), content, name)
                }))
            }
            Op::Fetch(request) => {
                let pinned = pins.fetched.get(&node.id()).map(String::as_str);
                let known = request.known_digest().filter(|_| self.scope.is_none());
                let digest = pinned.or(known).ok_or(unpinned)?;
                Ok(Planned::File(fetched(request, digest)))
            }
            Op::Git {
                repository, checkout, ..
            } => {
                let commit = pins.commits.get(&node.id()).ok_or(unpinned)?;
                repository
                    .try_map(|directory| self.directory(directory))
                    .map(|repository| {
                        Planned::Directory(Location::root(Tree::new(Make::Git {
                            repository,
                            commit: commit.clone(),
                            checkout: *checkout,
                        })))
                    })
            }
            op => self.fold_op(op),
        })
    }

    fn fold_op(&self, op: &Op) -> Result<Planned, Error> {
        Ok(match op {
            Op::Fail(error) => return Err(error.clone()),
            Op::EmptyDirectory => Planned::Directory(Location::root(Tree::new(Make::Empty))),
            Op::Subdirectory(of, path) => Planned::Directory(self.directory(of)?.inside(path)),
            Op::EditDirectory(base, edit) => {
                let edit = edit.try_map(|source| self.source(source), |path| absolute("/", path))?;
                let base = self.directory(base)?.rooted();
                Planned::Directory(Location::root(Tree::new(Make::Edit { base, edit })))
            }
            Op::FilterDirectory(of, filter) => {
                let options = CopyOptions {
                    filter: filter.clone(),
                    ..CopyOptions::default()
                };
                Planned::Directory(edit_of_nothing(TreeEdit::CopyDirectory {
                    path: "/".to_owned(),
                    source: self.directory(of)?,
                    options,
                }))
            }
            Op::Diff(lower, upper) => {
                let (lower, upper) = (self.directory(lower)?, self.directory(upper)?);
                Planned::Directory(Location::root(Tree::new(Make::Diff { lower, upper })))
            }
            Op::Rootfs(of) => Planned::Directory(Location::root(Arc::clone(&self.container(of)?.root))),
            Op::ContainerDirectory(of, path) => Planned::Directory(self.container(of)?.place(path)?),
            Op::NewFile { name, contents } => Planned::File(new_file(name, contents)?),
            Op::FileAt(of, path) => Planned::File(self.directory(of)?.inside(path)),
            Op::ContainerFile(of, path) => Planned::File(self.container(of)?.place(path)?),
            Op::EditFile(of, edit) => Planned::File(edited_file(self.file(of)?, edit)?),
            Op::Unpack(of) => {
                let source = self.file(of)?;
                Planned::Directory(Location::root(Tree::new(Make::Unpack { source })))
            }
            Op::Scratch(platform) => {
                let platform = platform.clone().unwrap_or_else(|| self.platform.clone());
                Planned::Container(Arc::new(ContainerPlan::scratch(platform)))
            }
            Op::WithRootfs(container, root) => {
                let root = self.directory(root)?.rooted();
                let container = ContainerPlan::clone(self.container(container)?);
                Planned::Container(Arc::new(ContainerPlan {
                    root,
                    last_step: None,
                    ..container
                }))
            }
            Op::Configure(container, change) => {
                let container = ContainerPlan::clone(self.container(container)?);
                let mount = match change {
                    Configure::Mount(_, mount) => Some(mount.try_map(|source| self.source(source))?),
                    _ => None,
                };
                Planned::Container(Arc::new(container.configured(change, mount)?))
            }
            Op::EditRootfs(container, edit) => {
                let container = ContainerPlan::clone(self.container(container)?);
                let edit = edit.try_map(|source| self.source(source), |path| container.at(path))?;
                Planned::Container(Arc::new(container.edited(edit)))
            }
            Op::Exec {
                container,
                args,
                options,
            } => {
                let container = ContainerPlan::clone(self.container(container)?);
                Planned::Container(Arc::new(container.after(args, options, self.nonce)?))
            }
            Op::Bind {
                container,
                service,
                alias,
            } => {
                let mut container = ContainerPlan::clone(self.container(container)?);
                bind(&mut container.services, alias, self.service(service)?)?;
                Planned::Container(Arc::new(container))
            }
            Op::Service { container, options } => Planned::Service(Arc::new(Service::of_container(
                self.container(container)?,
                options,
            )?)),
            Op::HostService { host, ports } => {
                Planned::Service(Arc::new(Service::of_host(host, ports, self.scope.as_deref())?))
            }
            Op::StepOutput(container, stream) => {
                Planned::File(self.container(container)?.output_file(*stream)?)
            }
            Op::Changeset(before, after) => Planned::Changeset(self.changeset(before, after)?),
            Op::Image { .. }
            | Op::ImageArchive { .. }
            | Op::DockerArchive(_)
            | Op::HostDirectory { .. }
            | Op::OnTarget { .. }
            | Op::HostFile(_)
            | Op::Fetch(_)
            | Op::Git { .. } => {
                unreachable!("sources are folded above")
            }
        })
    }

    fn changeset(&self, before: &NodeId, after: &NodeId) -> Result<Arc<ChangesetPlan>, Error> {
        let (before, after) = (self.directory(before)?, self.directory(after)?);
        let (lower, upper) = (before.clone(), after.clone());
        Ok(Arc::new(ChangesetPlan {
            before,
            after,
            difference: Location::root(Tree::new(Make::Diff { lower, upper })),
        }))
    }

    fn container(&self, id: &NodeId) -> Result<&ContainerPlan, Error> {
        match &self.memo[id] {
            Planned::Container(container) => Ok(container),
            Planned::Failed(error) => Err(error.clone()),
            Planned::Directory(_) | Planned::File(_) | Planned::Service(_) | Planned::Changeset(_) => {
                Err(wrong_kind("container"))
            }
        }
    }

    fn directory(&self, id: &NodeId) -> Result<Location, Error> {
        match &self.memo[id] {
            Planned::Directory(place) => Ok(place.clone()),
            Planned::Failed(error) => Err(error.clone()),
            Planned::Container(_) | Planned::File(_) | Planned::Service(_) | Planned::Changeset(_) => {
                Err(wrong_kind("directory"))
            }
        }
    }

    fn file(&self, id: &NodeId) -> Result<Location, Error> {
        match &self.memo[id] {
            Planned::File(place) => Ok(place.clone()),
            Planned::Failed(error) => Err(error.clone()),
            Planned::Container(_) | Planned::Directory(_) | Planned::Service(_) | Planned::Changeset(_) => {
                Err(wrong_kind("file"))
            }
        }
    }

    fn service(&self, id: &NodeId) -> Result<Arc<Service>, Error> {
        match &self.memo[id] {
            Planned::Service(service) => Ok(Arc::clone(service)),
            Planned::Failed(error) => Err(error.clone()),
            Planned::Container(_) | Planned::Directory(_) | Planned::File(_) | Planned::Changeset(_) => {
                Err(wrong_kind("service"))
            }
        }
    }

    fn source(&self, id: &NodeId) -> Result<Location, Error> {
        match &self.memo[id] {
            Planned::File(place) | Planned::Directory(place) => Ok(place.clone()),
            Planned::Failed(error) => Err(error.clone()),
            Planned::Container(_) | Planned::Service(_) | Planned::Changeset(_) => {
                Err(wrong_kind("file or directory"))
            }
        }
    }
}

impl Location {
    fn inside(&self, path: &str) -> Self {
        // An absolute path means the directory's own root.
        let path = absolute(&self.path, absolute("/", path).trim_start_matches('/'));
        Self {
            tree: Arc::clone(&self.tree),
            path,
        }
    }
}

fn wrong_kind(wanted: &str) -> Error {
    Error::Invalid(format!(
        "a graph node that is no {wanted} stands where one is needed"
    ))
}

fn image(node: NodeId, reference: &str, pin: &ImagePin) -> ContainerPlan {
    let make = Make::Image {
        node,
        manifest: pin.manifest.clone(),
        reference: reference.to_owned(),
    };
    ContainerPlan {
        root: Tree::new(make),
        config: pin.config.clone(),
        image_ref: Some(pin.reference.clone()),
        ..ContainerPlan::scratch(pin.platform.clone())
    }
}

fn upload(node: NodeId, content: Digest, path: &str) -> Location {
    Location::root(Tree::new(Make::Upload {
        node,
        content,
        path: path.to_owned(),
    }))
}

/// The fetched file with this content, which lies in a tree of its own.
pub fn fetched(request: &FetchRequest, digest: &str) -> Location {
    let tree = Tree::new(Make::Fetch {
        request: request.clone(),
        digest: digest.to_owned(),
    });
    Location {
        path: absolute("/", &request.name()),
        tree,
    }
}

fn edit_of_nothing(edit: TreeEdit<Location>) -> Location {
    Location::root(Tree::new(Make::Edit {
        base: Tree::new(Make::Empty),
        edit,
    }))
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(Error::Invalid(format!("{name:?} cannot be the name of a file")));
    }
    Ok(())
}

fn new_file(name: &str, contents: &[u8]) -> Result<Location, Error> {
    check_name(name)?;
    let path = absolute("/", name);
    let edit = TreeEdit::NewFile {
        path: path.clone(),
        contents: contents.to_vec(),
        mode: crate::build::FILE_MODE,
        owner: None,
    };
    Ok(Location {
        path,
        ..edit_of_nothing(edit)
    })
}

fn edited_file(file: Location, edit: &FileEdit) -> Result<Location, Error> {
    let mut name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut options = CopyOptions::default();
    let mut then = None;
    match edit {
        FileEdit::Rename(to) => {
            check_name(to)?;
            name.clone_from(to);
        }
        FileEdit::Chown(owner) => options.owner = Some(owner.clone()),
        FileEdit::Timestamp(seconds) => then = Some(TreeEdit::Timestamps { seconds: *seconds }),
        FileEdit::Replace {
            text,
            replacement,
            all,
        } => {
            then = Some(TreeEdit::Replace {
                path: absolute("/", &name),
                text: text.clone(),
                replacement: replacement.clone(),
                all: *all,
            });
        }
        FileEdit::Mode(mode) => options.mode = Some(*mode),
    }
    let path = absolute("/", &name);
    let copy = TreeEdit::CopyFiles {
        path: path.clone(),
        sources: vec![file],
        into_directory: false,
        options,
    };
    let mut place = edit_of_nothing(copy);
    if let Some(edit) = then {
        place = Location::root(Tree::new(Make::Edit {
            base: place.tree,
            edit,
        }));
    }
    Ok(Location { path, ..place })
}
