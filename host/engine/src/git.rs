//! Commits of git repositories: what a reference means for the length of a run, and a commit's files.
//!
//! A repository is asked once a run what it has. What is fetched of it is kept, so that the next commit costs only what is new
//! in it; a commit that is given by its digits and was checked out before costs nothing at all. Who sends a secret along is
//! given what was fetched with it before only when the server accepted the very value.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::sync::OnceCell;
use wharf_digest::{Digest, Hasher};
use wharf_git::{Depth, Git, Name, Refs, Remote};
use wharf_graph::{
    Error, Node, Op,
    plan::{Location, Planned},
    read::{Answer, Commit, Question},
    source::{Access, Checkout, Reference, Repository, RepositoryPlace},
};
use wharf_proto::v1::{Kind, Notice, event};
use wharf_store::{Sharing, Snapshot, VolumeId, edit};

use crate::{
    audience::Audience,
    engine::Engine,
    fetch::not_allowed,
    meanings::Moving,
    session::{Session, lock},
};

/// Whose the volumes are that hold what was fetched: nobody's module has such a name.
const SCOPE: &str = "git repositories";
/// Names of files that a warning lists.
const LISTED: usize = 5;

/// What repositories have, as they said in this session.
#[derive(Default)]
pub(crate) struct Asked(Mutex<HashMap<Digest, Arc<OnceCell<Arc<Refs>>>>>);

/// A repository of ours to fetch into, and where its submodules go.
struct Place {
    repository: PathBuf,
    modules: PathBuf,
    /// Held as long as it is used.
    _held: Box<dyn std::any::Any + Send + Sync>,
}

impl Engine {
    /// Finds out what the references among these nodes mean, all at once.
    pub(crate) async fn pin_commits(
        self: &Arc<Self>,
        session: &Arc<Session>,
        nodes: &[Arc<Node>],
    ) -> Result<(), Error> {
        let pinning = nodes.iter().filter_map(|node| match node.op() {
            Op::Git {
                repository,
                reference,
                ..
            } => Some(async move {
                let commit = self.commit_of(session, node, repository, reference).await?;
                session.pin_commit(node.id(), commit);
                Ok::<_, Error>(())
            }),
            _ => None,
        });
        futures::future::try_join_all(pinning).await.map(|_| ())
    }

    async fn commit_of(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<String, Error> {
        let known = name_of(reference).as_ref().and_then(Name::known);
        let moving = match known {
            Some(_) => None,
            None => session.meanings.commit(repository, reference)?,
        };
        let (fixed, told_as) = match moving {
            Some(Moving::Fixed(commit)) => (Some(commit), None),
            Some(Moving::Free(name)) => (None, Some(name)),
            None => (known, None),
        };
        if let Some(commit) = fixed {
            if !self.may_have(session, repository).await? {
                // The server says whether this client may see it.
                self.refs_of(session, node, repository).await?;
            }
            return Ok(commit);
        }
        let refs = self.refs_of(session, node, repository).await?;
        let commit = match name_of(reference) {
            Some(name) => refs.commit(&name),
            None => refs
                .latest_version()
                .and_then(|tag| refs.commit(&Name::Tag(tag.to_owned()))),
        };
        let commit = commit.map_err(|error| git_error(&error))?;
        if let Some(name) = told_as {
            session.tell_meaning(name, &commit);
        }
        Ok(commit)
    }

    /// May this client have what was fetched of a repository before? Everybody of this machine, of one that is asked as
    /// nobody.
    async fn may_have(&self, session: &Arc<Session>, repository: &Repository) -> Result<bool, Error> {
        if repository.directory().is_some() {
            return Ok(true);
        }
        let Some(name) = self.proof(session, repository).await? else {
            return Ok(true);
        };
        Ok(self.look(|store| store.note(&name))?.is_some())
    }

    /// Under which name it is noted that a server accepted a secret's value, or a client of another machine without one; none
    /// when no proof is needed.
    async fn proof<S>(&self, session: &Session, repository: &Repository<S>) -> Result<Option<Digest>, Error> {
        let Some(secret) = repository.access.secret() else {
            return Ok(session.peer.proof("repository", repository.shown().as_bytes()));
        };
        let value = session.secret(secret).await?;
        let private = self.private_key().await?;
        let mut hasher = Hasher::in_domain("who may have a repository");
        hasher
            .field(&private)
            .field(repository.shown().as_bytes())
            .field(&wharf_proto::encode(&repository.access));
        hasher.field(&value);
        let name = hasher.finish();
        Ok(Some(
            session.peer.proof("repository", name.as_bytes()).unwrap_or(name),
        ))
    }

    /// What a repository has; it is asked once a run.
    async fn refs_of(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
        repository: &Repository,
    ) -> Result<Arc<Refs>, Error> {
        let name = Digest::of(&wharf_proto::encode(repository));
        let cell = Arc::clone(lock(&session.git.0).entry(name).or_default());
        let ask = || async {
            let git = self.git().await?;
            if repository.directory().is_some() {
                let location = self.directory_of(session, node).await?;
                let made = self.realize(session, &location.tree).await?;
                let place = self.copy_of(&made.snapshot, &location.path).await?;
                let own = wharf_git::Repository::of_directory(git, &place.repository)
                    .map_err(|error| git_error(&error))?;
                let refs = git.refs(&own.remote()).await.map_err(|error| git_error(&error))?;
                return Ok(Arc::new(refs));
            }
            let audience = Audience::of(session);
            let remote = remote_of(repository, &audience).await?;
            let title = format!("git ls-remote {}", repository.shown());
            let asking = async { git.refs(&remote).await.map_err(|error| git_error(&error)) };
            let refs = audience.during(name, &title, Kind::Pull, asking).await?;
            if let Some(proof) = self.proof(session, repository).await? {
                self.with_store(move |store| store.put_note(&proof, b"accepted"))
                    .await?;
            }
            Ok::<_, Error>(Arc::new(refs))
        };
        cell.get_or_try_init(ask).await.cloned()
    }

    /// The directory that a commit's repository is in.
    async fn directory_of(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
    ) -> Result<Location, Error> {
        let input = node
            .inputs()
            .first()
            .ok_or_else(|| Error::other("defect", "a repository without its directory"))?;
        // Planned as any other node: its own sources are pinned first.
        let planned = Box::pin(self.plan(session, input)).await?;
        match planned {
            Planned::Directory(location) => Ok(location),
            _ => Err(Error::Invalid(
                "a repository is in a directory, not in anything else".to_owned(),
            )),
        }
    }

    /// The tree of a commit's files.
    pub(crate) async fn check_out(
        self: &Arc<Self>,
        key: Digest,
        repository: &Repository<Location>,
        commit: &str,
        checkout: Checkout,
        inputs: &[Snapshot],
        audience: &Audience,
    ) -> Result<Snapshot, Error> {
        let title = format!(
            "git {} at {}",
            repository.shown(),
            commit.get(..12).unwrap_or(commit)
        );
        let depth = match (checkout.keep_git_dir, checkout.depth) {
            (true, None) => Depth::All,
            (true, Some(depth)) => Depth::Commits(depth),
            (false, _) => Depth::Commits(1),
        };
        let work = async {
            let (place, remote) = self
                .fetched(repository, commit, depth, inputs.first(), audience)
                .await?;
            let git = self.git().await?;
            let draft = self
                .with_store(|store| store.new_layer(&Snapshot::default()))
                .await?;
            let to = draft.path();
            let done = async {
                let own = wharf_git::Repository::open(git, &place.repository).await?;
                let modules = |remote: &Remote| {
                    let directory = place.modules.join(Digest::of(remote.url().as_bytes()).to_hex());
                    std::fs::create_dir_all(&directory).map(|()| directory)
                };
                let done = own.check_out(&remote, commit, &to, &modules).await?;
                if checkout.keep_git_dir {
                    own.add_git_directory(&remote, commit, depth, &to).await?;
                }
                Ok::<_, wharf_git::Error>(done)
            };
            let done = done.await.map_err(|error| git_error(&error))?;
            warn_of_lfs(key, repository.shown(), &done.lfs_pointers, audience);
            let layer = self.with_store(move |store| store.publish(draft)).await?;
            Ok::<_, Error>(Snapshot::new([layer]))
        };
        audience.during(key, &title, Kind::Pull, work).await
    }

    /// A repository of ours that has a commit, and the remote that it came from.
    async fn fetched(
        self: &Arc<Self>,
        repository: &Repository<Location>,
        commit: &str,
        depth: Depth,
        input: Option<&Snapshot>,
        audience: &Audience,
    ) -> Result<(Place, Remote), Error> {
        let git = self.git().await?;
        if let (Some(location), Some(snapshot)) = (repository.directory(), input) {
            let place = self.copy_of(snapshot, &location.path).await?;
            let own = wharf_git::Repository::of_directory(git, &place.repository)
                .map_err(|error| git_error(&error))?;
            let remote = own.remote();
            let repository = own.path().to_owned();
            return Ok((Place { repository, ..place }, remote));
        }
        let remote = remote_of(repository, audience).await?;
        let place = self.volume_of(repository, audience).await?;
        let done = async {
            let own = wharf_git::Repository::open(git, &place.repository).await?;
            own.fetch(&remote, commit, depth).await
        };
        done.await.map_err(|error| git_error(&error))?;
        Ok((place, remote))
    }

    /// The volume that holds what was fetched of a repository, for those who ask as the same. One at a time has it.
    async fn volume_of(
        self: &Arc<Self>,
        repository: &Repository<Location>,
        audience: &Audience,
    ) -> Result<Place, Error> {
        let name = format!(
            "{} {}",
            repository.shown(),
            Digest::of(&wharf_proto::encode(&repository.access)).to_hex()
        );
        let id = VolumeId {
            scope: SCOPE.to_owned(),
            name,
        };
        let waiting = audience.clone();
        let give_up = move || waiting.sessions().is_empty();
        let volume = self
            .with_store(move |store| store.volume(&id, Sharing::Locked, give_up))
            .await?;
        let volume = volume.ok_or(Error::Cancelled)?;
        let (repository, modules) = (volume.path().join("repository"), volume.path().join("modules"));
        std::fs::create_dir_all(&repository).map_err(|error| Error::other("store", error.to_string()))?;
        Ok(Place {
            repository,
            modules,
            _held: Box::new(volume),
        })
    }

    /// A copy of a directory that git may work in.
    async fn copy_of(self: &Arc<Self>, snapshot: &Snapshot, path: &str) -> Result<Place, Error> {
        let (snapshot, path) = (snapshot.clone(), path.to_owned());
        let draft = self
            .with_store(move |store| {
                let draft = store.new_layer(&Snapshot::default())?;
                edit::fill(store, &snapshot, &path, &draft.path())?;
                Ok(draft)
            })
            .await?;
        Ok(Place {
            repository: draft.path(),
            modules: draft.work(),
            _held: Box::new(draft),
        })
    }

    async fn git(&self) -> Result<&Git, Error> {
        let find = || async { Git::find(self.ca_bundle.as_deref()) };
        self.git
            .get_or_try_init(find)
            .await
            .map_err(|error| git_error(&error))
    }

    /// Answers a question about a commit's repository.
    pub(crate) async fn answer_git(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
        question: &Question,
    ) -> Result<Answer, Error> {
        let Op::Git {
            repository,
            reference,
            ..
        } = node.op()
        else {
            return Err(Error::other(
                "protocol",
                "only a commit's directory can answer that",
            ));
        };
        match question {
            Question::GitCommit => Ok(Answer::Text(
                self.commit_of(session, node, repository, reference).await?,
            )),
            Question::GitLog(count) => self.git_log(session, node, repository, reference, *count).await,
            _ => {
                let refs = self.refs_of(session, node, repository).await?;
                let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
                Ok(match question {
                    Question::GitTags(patterns) => Answer::Names(own(refs
                        .tags_like(patterns)
                        .map_err(|error| git_error(&error))?)),
                    Question::GitLatestVersion => Answer::Text(
                        refs.latest_version()
                            .map_err(|error| git_error(&error))?
                            .to_owned(),
                    ),
                    _ => Answer::Names(own(refs.branches())),
                })
            }
        }
    }

    async fn git_log(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
        repository: &Repository,
        reference: &Reference,
        count: u32,
    ) -> Result<Answer, Error> {
        let commit = self.commit_of(session, node, repository, reference).await?;
        let within = match repository.directory() {
            Some(_) => Some(self.directory_of(session, node).await?),
            None => None,
        };
        let input = match &within {
            Some(location) => Some(self.realize(session, &location.tree).await?.snapshot.clone()),
            None => None,
        };
        let lost = || Error::other("defect", "a repository without its directory");
        let repository = repository.try_map(|_| within.clone().ok_or_else(lost))?;
        let audience = Audience::of(session);
        let depth = Depth::Commits(count.max(1));
        let (place, _) = self
            .fetched(&repository, &commit, depth, input.as_ref(), &audience)
            .await?;
        let log = async {
            let own = wharf_git::Repository::open(self.git().await?, &place.repository)
                .await
                .map_err(|error| git_error(&error))?;
            own.log(&commit, count).await.map_err(|error| git_error(&error))
        };
        let entry = |entry: wharf_git::LogEntry| Commit {
            id: entry.commit,
            author: entry.author,
            seconds: entry.seconds,
            subject: entry.subject,
        };
        Ok(Answer::Commits(log.await?.into_iter().map(entry).collect()))
    }
}

/// Is this a question about a repository?
pub(crate) fn is_about_git(question: &Question) -> bool {
    matches!(
        question,
        Question::GitCommit
            | Question::GitTags(_)
            | Question::GitBranches
            | Question::GitLatestVersion
            | Question::GitLog(_)
    )
}

fn name_of(reference: &Reference) -> Option<Name> {
    Some(match reference {
        Reference::Head => Name::Head,
        Reference::Branch(name) => Name::Branch(name.clone()),
        Reference::Tag(name) => Name::Tag(name.clone()),
        Reference::Commit(commit) => Name::Commit(commit.clone()),
        Reference::Any(name) => Name::Any(name.clone()),
        Reference::LatestVersion => return None,
    })
}

async fn remote_of<S>(repository: &Repository<S>, audience: &Audience) -> Result<Remote, Error> {
    let RepositoryPlace::Url(url) = &repository.place else {
        return Err(Error::other("defect", "a directory is no remote"));
    };
    let access = match &repository.access {
        Access::Open => wharf_git::Access::Open,
        Access::Password(user, secret) => wharf_git::Access::Password {
            user: user.clone(),
            password: audience.secret(secret).await?,
        },
        Access::Key(secret) => wharf_git::Access::Key(audience.secret(secret).await?),
    };
    Remote::new(url, access, &repository.known_hosts)
        .and_then(|remote| remote.only_from(repository.hosts.clone()))
        .map_err(|error| git_error(&error))
}

fn warn_of_lfs(key: Digest, repository: &str, pointers: &[String], audience: &Audience) {
    if pointers.is_empty() {
        return;
    }
    let more = if pointers.len() > LISTED { " …" } else { "" };
    let names = pointers
        .iter()
        .take(LISTED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let text = format!(
        "{repository} keeps {} file(s) in LFS, which is not supported: they are here as pointers ({names}{more})",
        pointers.len()
    );
    for session in audience.sessions() {
        session.tell(key, event::What::Notice(Notice { text: text.clone() }));
    }
}

/// What git's failure is for a module.
fn git_error(error: &wharf_git::Error) -> Error {
    let message = error.to_string();
    match error {
        wharf_git::Error::Url { .. } | wharf_git::Error::Damaged(_) => Error::Invalid(message),
        wharf_git::Error::NoRepository { .. } | wharf_git::Error::NoReference { .. } => {
            Error::NotFound(message)
        }
        wharf_git::Error::Refused { .. }
        | wharf_git::Error::UnknownHost { .. }
        | wharf_git::Error::Unavailable { .. } => Error::Unavailable(message),
        wharf_git::Error::NotAllowed { url, host, .. } => not_allowed("git", url, host),
        wharf_git::Error::NoProgram | wharf_git::Error::Io(_) => Error::other("git", message),
    }
}
