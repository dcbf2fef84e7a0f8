//! Trees: directory trees to be made, each with its keys.

use std::{collections::BTreeMap, sync::Arc};

use wharf_digest::Digest;

use super::{
    key,
    service::{self, Bound},
};
use crate::{
    error::shell_words,
    gpu::GpuRequest,
    image::Platform,
    node::NodeId,
    op::{CopyOptions, Expect, Limits, Mount, Network, SecretId, Stdin, Stream, TreeEdit},
    source::{Checkout, FetchRequest, Repository, RepositoryPlace},
};

/// A path in a tree. What directories and files of the graph are: nothing is copied until somebody needs a root.
#[derive(Clone, Debug)]
pub struct Location {
    /// The tree.
    pub tree: Arc<Tree>,
    /// Absolute path in it.
    pub path: String,
}

/// A directory tree to be made.
#[derive(Debug)]
pub struct Tree {
    /// The digest under which the result is remembered: the operation and its inputs' keys.
    pub key: Digest,
    /// The digest of the operation alone: equal for the same work on other inputs.
    pub op_key: Digest,
    /// How it is made.
    pub make: Make,
}

/// How a tree is made.
#[derive(Debug)]
pub enum Make {
    /// Nothing in it.
    Empty,
    /// An image's root file system.
    Image {
        /// The node whose pin holds the manifest.
        node: NodeId,
        /// The manifest, as its pin has it.
        manifest: String,
        /// For people.
        reference: String,
    },
    /// What the caller's host sent.
    Upload {
        /// The node that was pinned.
        node: NodeId,
        /// Digest of the sent content.
        content: Digest,
        /// For people: the path on the caller's host.
        path: String,
    },
    /// Another tree, changed.
    Edit {
        /// The tree.
        base: Arc<Tree>,
        /// The change; its paths are absolute.
        edit: TreeEdit<Location>,
    },
    /// What `upper` has that `lower` has not.
    Diff {
        /// What there was.
        lower: Location,
        /// What there is.
        upper: Location,
    },
    /// A step's root file system afterwards.
    Exec(Box<Step>),
    /// A fetched file, under its own name.
    Fetch {
        /// How it is fetched when it is not there.
        request: FetchRequest,
        /// What its content is.
        digest: String,
    },
    /// What a file holds as an archive.
    Unpack {
        /// The file.
        source: Location,
    },
    /// The files of a commit.
    Git {
        /// Whose.
        repository: Repository<Location>,
        /// Which: all its hexadecimal digits.
        commit: String,
        /// How they arrive.
        checkout: Checkout,
    },
    /// One file with what a step printed.
    Output {
        /// The step's tree.
        of: Arc<Tree>,
        /// Which output.
        stream: Stream,
    },
}

/// A process to run, as far as the graph settles it.
#[derive(Debug)]
pub struct Step {
    /// Its root file system.
    pub root: Arc<Tree>,
    /// Program and arguments, expanded.
    pub args: Vec<String>,
    /// Variables, sorted; `HOME` and the like come when it runs.
    pub env: BTreeMap<String, String>,
    /// Secret variables.
    pub secret_env: BTreeMap<String, SecretId>,
    /// Variables whose values are in no key.
    pub volatile_env: BTreeMap<String, String>,
    /// Whose those are, where clients are told apart: one client's values decide no other's results.
    pub volatile_of: Option<String>,
    /// Absolute.
    pub workdir: String,
    /// As it was set; empty is root.
    pub user: String,
    /// Standard input.
    pub stdin: Stdin,
    /// Absolute path that also gets standard output.
    pub redirect_stdout: Option<String>,
    /// Absolute path that also gets standard error.
    pub redirect_stderr: Option<String>,
    /// Mounts by absolute path.
    pub mounts: BTreeMap<String, Mount<Location>>,
    /// What it can reach.
    pub network: Network,
    /// The services that it reaches whatever else it can, by name.
    pub services: Bound,
    /// The GPUs that it has. How many they are is in the key.
    pub gpus: Option<GpuRequest>,
    /// Its platform.
    pub platform: Platform,
    /// Not in the key: which exit codes count as done.
    pub expect: Expect,
    /// Not in the key.
    pub limits: Limits,
    /// Not in the key.
    pub timeout: Option<std::time::Duration>,
    /// Set when the step is never looked up: a number of this run, in the key.
    pub nonce: Option<u64>,
    /// Not in the key: shown instead of the arguments.
    pub reason: Option<String>,
}

impl Step {
    /// What people call it: the reason that was given, or the command.
    pub fn title(&self) -> String {
        self.reason.clone().unwrap_or_else(|| shell_words(&self.args))
    }

    /// The places whose content decides what it does, in a fixed order: its root, what is mounted, and the same of its
    /// services.
    pub fn inputs(&self) -> Vec<Location> {
        std::iter::once(Location::root(Arc::clone(&self.root)))
            .chain(self.mounts.values().filter_map(|mount| mount.source().cloned()))
            .chain(self.services.values().flat_map(|service| service.inputs()))
            .collect()
    }

    /// Moves the trees that it holds into `orphans`.
    pub(super) fn take_trees(self, orphans: &mut Vec<Arc<Tree>>) {
        orphans.push(self.root);
        for mount in self.mounts.into_values() {
            match mount {
                Mount::Directory { source, .. } | Mount::File { source, .. } => orphans.push(source.tree),
                Mount::Cache(volume) => orphans.extend(volume.source.map(|source| source.tree)),
                Mount::Secret { .. } | Mount::Temp { .. } => {}
            }
        }
        service::take_trees(self.services, orphans);
    }
}

impl Location {
    /// The root of a tree.
    pub fn root(tree: Arc<Tree>) -> Self {
        Self {
            tree,
            path: "/".to_owned(),
        }
    }

    /// A tree whose root is this place: the tree itself where the place is its root.
    pub fn rooted(&self) -> Arc<Tree> {
        if self.path == "/" {
            return Arc::clone(&self.tree);
        }
        let edit = TreeEdit::CopyDirectory {
            path: "/".to_owned(),
            source: self.clone(),
            options: CopyOptions::default(),
        };
        Tree::new(Make::Edit {
            base: Tree::new(Make::Empty),
            edit,
        })
    }
}

impl Tree {
    /// A tree and its keys.
    pub fn new(make: Make) -> Arc<Self> {
        let (key, op_key) = key::keys(&make);
        Arc::new(Self { key, op_key, make })
    }

    /// The places whose content decides the result, in a fixed order.
    pub fn inputs(&self) -> Vec<Location> {
        match &self.make {
            Make::Empty | Make::Image { .. } | Make::Upload { .. } | Make::Fetch { .. } => Vec::new(),
            Make::Unpack { source } => vec![source.clone()],
            Make::Git { repository, .. } => repository.directory().cloned().into_iter().collect(),
            Make::Edit { base, edit } => std::iter::once(Location::root(Arc::clone(base)))
                .chain(edit.sources().iter().cloned())
                .collect(),
            Make::Diff { lower, upper } => vec![lower.clone(), upper.clone()],
            Make::Output { of, .. } => vec![Location::root(Arc::clone(of))],
            Make::Exec(step) => step.inputs(),
        }
    }

    /// The step, when a step makes the tree.
    pub fn step(&self) -> Option<&Step> {
        if let Make::Exec(step) = &self.make {
            Some(step)
        } else {
            None
        }
    }

    /// What people call it: the command, the image, the path.
    pub fn title(&self) -> String {
        match &self.make {
            Make::Empty => "empty directory".to_owned(),
            Make::Image { reference, .. } => format!("pull {reference}"),
            Make::Upload { path, .. } => format!("upload {path}"),
            Make::Edit { edit, .. } => edit_title(edit),
            Make::Diff { .. } => "difference".to_owned(),
            Make::Fetch { request, .. } => format!("fetch {}", request.shown()),
            Make::Unpack { source } => format!("unpack {}", source.path),
            Make::Git {
                repository, commit, ..
            } => git_title(repository.shown(), commit),
            Make::Output { stream, .. } => format!("keep {}", stream.name()),
            Make::Exec(step) => step.title(),
        }
    }
}

fn git_title(repository: &str, commit: &str) -> String {
    format!("git {repository} at {}", commit.get(..12).unwrap_or(commit))
}

fn edit_title<S>(edit: &TreeEdit<S>) -> String {
    match edit {
        TreeEdit::CopyDirectory { path, .. } => format!("copy to {path}"),
        TreeEdit::CopyFiles { path, sources, .. } => format!("copy {} file(s) to {path}", sources.len()),
        TreeEdit::NewFile { path, .. } => format!("write {path}"),
        TreeEdit::NewDirectory { path, .. } => format!("make {path}"),
        TreeEdit::Symlink { path, .. } => format!("link {path}"),
        TreeEdit::Remove { paths } => format!("remove {}", paths.join(", ")),
        TreeEdit::Chown { path, owner } => format!("give {path} to {owner}"),
        TreeEdit::Timestamps { .. } => "set timestamps".to_owned(),
        TreeEdit::RemoveGone { .. } => "remove what is gone".to_owned(),
        TreeEdit::Patch(_) => "apply a patch".to_owned(),
        TreeEdit::Replace { path, .. } => format!("replace in {path}"),
    }
}

impl Drop for Tree {
    /// Chains are thousands of trees long: taken apart in a loop, as recursion would overflow the stack.
    fn drop(&mut self) {
        let mut orphans = Vec::new();
        take_inputs(&mut self.make, &mut orphans);
        while let Some(tree) = orphans.pop() {
            if let Some(mut tree) = Arc::into_inner(tree) {
                take_inputs(&mut tree.make, &mut orphans);
            }
        }
    }
}

/// Moves the trees that `make` holds into `orphans`; `make` is not used afterwards.
fn take_inputs(make: &mut Make, orphans: &mut Vec<Arc<Tree>>) {
    match std::mem::replace(make, Make::Empty) {
        Make::Empty | Make::Image { .. } | Make::Upload { .. } | Make::Fetch { .. } => {}
        Make::Unpack { source } => orphans.push(source.tree),
        Make::Git { repository, .. } => {
            if let RepositoryPlace::Directory(directory) = repository.place {
                orphans.push(directory.tree);
            }
        }
        Make::Edit { base, edit } => {
            orphans.push(base);
            match edit {
                TreeEdit::CopyDirectory { source, .. } => orphans.push(source.tree),
                TreeEdit::CopyFiles { sources, .. } => {
                    orphans.extend(sources.into_iter().map(|source| source.tree));
                }
                TreeEdit::RemoveGone { between } => {
                    orphans.extend(between.into_iter().map(|source| source.tree));
                }
                _ => {}
            }
        }
        Make::Diff { lower, upper } => orphans.extend([lower.tree, upper.tree]),
        Make::Output { of, .. } => orphans.push(of),
        Make::Exec(step) => step.take_trees(orphans),
    }
}
