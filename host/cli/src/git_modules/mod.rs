//! Modules in git repositories. An engine fetches a repository's files, which are kept here by their commit; what is built of them is
//! built in steps, never by this machine's own cargo.

mod step;
mod tree;

use std::{
    cell::RefCell,
    fs,
    path::PathBuf,
};

use wharf_build::{Foreign, Recipe};
use wharf_client::Meanings;
use wharf_digest::Digest;
use wharf_graph::{
    build::GitRepository,
    read::{Answer, Question},
    source::{Access, Checkout, Reference, Repository, RepositoryPlace, is_commit},
};
use wharf_manifest::{Dependency, GitReference};

use crate::{
    error::Report,
    places::Places,
    progress::Style,
    registries::Reach,
    run::{self, RunOptions},
};

/// The files of commits, on this machine.
#[derive(Debug)]
pub(crate) struct Checkouts {
    kept: PathBuf,
    style: Style,
    reach: Reach,
    /// What references mean, as far as it is known.
    pins: RefCell<Meanings>,
}

impl Checkouts {
    /// Those of this user. References mean what `pins` say, and are looked up when these say nothing.
    pub(crate) fn new(places: &Places, style: Style, reach: &Reach, pins: Meanings) -> Self {
        Self {
            kept: places.cache.join("git"),
            style,
            reach: reach.clone(),
            pins: RefCell::new(pins),
        }
    }

    /// What references are known to mean now.
    pub(crate) fn pins(&self) -> Meanings {
        self.pins.borrow().clone()
    }

    /// The source of a dependency in a repository; of no other.
    pub(crate) fn source(&self, dependency: &Dependency) -> Option<Result<Foreign, Report>> {
        let Dependency::Git {
            url,
            reference,
            directory,
        } = dependency
        else {
            return None;
        };
        Some(self.find(url, reference, directory.as_deref()))
    }

    /// The source of the module in a directory of a repository, or at its root.
    pub(crate) fn find(
        &self,
        url: &str,
        reference: &GitReference,
        directory: Option<&str>,
    ) -> Result<Foreign, Report> {
        let (tree, commit) = self.tree(url, reference)?;
        let tree = fs::canonicalize(&tree)
            .map_err(|error| Report::failed(format!("{} cannot be read: {error}", tree.display())))?;
        let found = fs::canonicalize(tree.join(directory.unwrap_or_default())).ok();
        let found = found.filter(|found| found.starts_with(&tree) && found.join("wharf.toml").is_file());
        let Some(found) = found else {
            let place = match directory {
                None => "at its root".to_owned(),
                Some(directory) => format!("in {directory}"),
            };
            return Err(
                Report::usage(format!("{url} has no wharf.toml {place} at its commit {commit}"))
                    .with_hint("`directory` says where the module is in its repository"),
            );
        };
        Ok(Foreign {
            url: url.to_owned(),
            tree,
            directory: found,
        })
    }

    /// The files of a commit, and which it is.
    fn tree(&self, url: &str, reference: &GitReference) -> Result<(PathBuf, String), Report> {
        let (reference, name) = named(url, reference)?;
        let known = match (&reference, &name) {
            (Reference::Commit(commit), _) => Some(commit.clone()),
            (_, Some(name)) => self.pins.borrow().get(name).cloned(),
            _ => None,
        };
        if let Some(commit) = &known {
            let tree = self.place(url, commit);
            if tree.is_dir() {
                return Ok((tree, commit.clone()));
            }
        } else if self.reach.pinning.locked {
            let name = name.as_deref().unwrap_or(url);
            return Err(Report::usage(format!(
                "wharf.lock does not say which commit {name} is, and it was to be left as it is"
            )));
        }
        if self.reach.pinning.offline {
            return Err(Report::usage(format!(
                "a module of {url} is not on this machine, and nothing was to be fetched"
            )));
        }
        let commit = self.fetch(url, reference)?;
        if let Some(name) = name {
            self.pins.borrow_mut().insert(name, commit.clone());
        }
        Ok((self.place(url, &commit), commit))
    }

    fn place(&self, url: &str, commit: &str) -> PathBuf {
        self.kept.join(Digest::of(url.as_bytes()).short()).join(commit)
    }

    /// Has the engine fetch a commit, and puts its files here; which commit it is.
    fn fetch(&self, url: &str, reference: Reference) -> Result<String, Report> {
        let tree = GitRepository::at(url, Access::Open, "")
            .reference(reference)
            .tree(Checkout::default());
        let options = RunOptions {
            meanings: self.pins(),
            ..RunOptions::default()
        };
        run::run(self.reach.engine()?, self.style, options, |within| async move {
            let commit = match within.session.read(tree.node(), Question::GitCommit).await? {
                Answer::Text(commit) if is_commit(&commit) => commit,
                _ => return Err(Report::failed(format!("the engine does not say which commit of {url} it has"))),
            };
            let place = self.place(url, &commit);
            if place.is_dir() {
                return Ok(commit);
            }
            let failed = |error: std::io::Error| Report::failed(format!("cannot write to {}: {error}", self.kept.display()));
            let beside = place.parent().unwrap_or(&self.kept);
            fs::create_dir_all(beside).map_err(failed)?;
            let draft = tempfile::tempdir_in(beside).map_err(failed)?;
            let files = draft.path().join("files");
            within.session.export_directory(tree.node(), &files).await?;
            tree::make_safe(&files).map_err(failed)?;
            // Another command may have put the same there meanwhile.
            match fs::rename(&files, &place) {
                Err(error) if !place.is_dir() => Err(failed(error)),
                _ => Ok(commit),
            }
        })
    }

    /// Builds a module of a repository in a step.
    pub(crate) fn build(&self, foreign: &Foreign, recipe: &Recipe) -> Result<PathBuf, Report> {
        step::build(foreign, recipe, &self.reach, self.style)
    }
}

/// The reference as an engine is asked for it, and what a lock calls it when it may mean another commit tomorrow.
fn named(url: &str, reference: &GitReference) -> Result<(Reference, Option<String>), Report> {
    let reference = match reference {
        GitReference::Head => Reference::Head,
        GitReference::Branch(name) => Reference::Branch(name.clone()),
        GitReference::Tag(name) => Reference::Tag(name.clone()),
        GitReference::Commit(commit) if is_commit(commit) => Reference::Commit(commit.clone()),
        GitReference::Commit(commit) => {
            return Err(Report::usage(format!(
                "{commit:?} is not the whole name of a commit of {url}, which has 40 or 64 digits"
            )));
        }
    };
    let repository: Repository = Repository {
        place: RepositoryPlace::Url(url.to_owned()),
        access: Access::Open,
        known_hosts: String::new(),
        hosts: None,
    };
    let name = repository.name_in_lock(&reference);
    Ok((reference, name))
}

/// What wharf.lock calls the reference of a dependency in a repository, when it may mean another commit tomorrow.
pub(crate) fn pin(dependency: &Dependency) -> Option<String> {
    match dependency {
        Dependency::Git { url, reference, .. } => named(url, reference).ok()?.1,
        _ => None,
    }
}

/// Is what was written the address of a repository?
pub(crate) fn is_address(written: &str) -> bool {
    ["https://", "http://", "ssh://"]
        .iter()
        .any(|scheme| written.starts_with(scheme))
}
