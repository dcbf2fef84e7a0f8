//! Other engines of a run, which the user's configuration names: what they make, and how another engine gets it.
//!
//! A directory that a target makes is a source to every other engine. It is pinned by its content: the target evaluates it, and
//! what the other engine lacks of it is brought there, through this process. What was brought once is known by its digest,
//! and is brought again only when the engine has lost it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use wharf_digest::{Digest, Hasher};
use wharf_graph::{
    Error, Node,
    op::Filter,
    read::{Answer, Question},
};

use crate::{
    connect::Connection,
    lock,
    session::{Connector, Session, defect},
    upload::{self, Content, Uploader},
};

/// Finds an engine that the user's configuration names.
pub type Targets = Box<dyn Fn(&str) -> Result<Connector, Error> + Send + Sync>;

/// How long a directory that holds what is on its way may be left when its process has ended early.
const LEFT: Duration = Duration::from_secs(24 * 60 * 60);
/// How the names of such directories start.
const ON_ITS_WAY: &str = "on-its-way-";

/// The targets that a run uses, each with one session.
#[derive(Default)]
pub(crate) struct InUse {
    find: OnceLock<Targets>,
    sessions: Mutex<HashMap<String, Session>>,
}

impl InUse {
    /// Says how targets are found; there are none otherwise.
    pub(crate) fn offer(&self, targets: Targets) {
        self.find.set(targets).ok();
    }

    /// The session with a target.
    pub(crate) fn session(
        &self,
        name: &str,
        begin: impl FnOnce(Connector) -> Session,
    ) -> Result<Session, Error> {
        let mut sessions = lock(&self.sessions);
        if let Some(session) = sessions.get(name) {
            return Ok(session.clone());
        }
        let none = || Error::NotFound(format!("there is no target {name}: this run was told of none"));
        let connector = self.find.get().ok_or_else(none)?(name)?;
        let session = begin(connector);
        sessions.insert(name.to_owned(), session.clone());
        Ok(session)
    }
}

/// A directory that another engine makes.
pub(crate) struct Made<'a> {
    /// The session with that engine.
    pub(crate) there: Session,
    /// Of what it is made.
    pub(crate) node: &'a Arc<Node>,
    /// Where digests of files are kept between runs.
    pub(crate) cache: &'a Path,
}

impl Made<'_> {
    /// Makes sure that the engine at `connection` has it; its content, and whether anything had to be sent.
    pub(crate) async fn bring(&self, connection: &Connection) -> Result<(Digest, bool), Error> {
        let Answer::Text(made) = self.there.read(self.node, Question::Digest).await? else {
            return Err(defect("a digest is text"));
        };
        let note = Note::of(self.cache, &made);
        if let Some(content) = note.read()
            && upload::is_complete(connection, &content).await?
        {
            return Ok((content.digest, false));
        }
        std::fs::create_dir_all(self.cache).map_err(|error| unkept(self.cache, &error))?;
        remove_left(self.cache);
        let way = tempfile::Builder::new()
            .prefix(ON_ITS_WAY)
            .tempdir_in(self.cache)
            .map_err(|error| unkept(self.cache, &error))?;
        let (tree, digests) = (way.path().join("tree"), way.path().join("digests"));
        self.there.export_directory(self.node, &tree).await?;
        let everything = Filter::default();
        let sent = Uploader::new(digests)
            .upload_tree(connection, &tree, Some(&everything))
            .await;
        // Gigabytes are not removed between two polls of a runtime that has one thread.
        tokio::task::spawn_blocking(move || drop(way));
        let (content, sent) = sent?;
        note.write(&content);
        Ok((content.digest, sent))
    }
}

fn unkept(cache: &Path, error: &std::io::Error) -> Error {
    let place = cache.display();
    Error::other(
        "files",
        format!("what a target made cannot be kept in {place} on its way: {error}"),
    )
}

/// Removes what processes have left that ended early.
fn remove_left(cache: &Path) {
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        let is_old = || {
            entry
                .metadata()
                .ok()?
                .modified()
                .ok()?
                .elapsed()
                .ok()
                .map(|age| age > LEFT)
        };
        if entry.file_name().to_string_lossy().starts_with(ON_ITS_WAY) && is_old() == Some(true) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// What a digest of a target's directory is as content of an upload.
struct Note(PathBuf);

impl Note {
    fn of(cache: &Path, made: &str) -> Self {
        let name = Hasher::in_domain("made on a target")
            .field(made.as_bytes())
            .finish();
        Self(cache.join(name.to_hex()))
    }

    fn read(&self) -> Option<Content> {
        postcard::from_bytes(&std::fs::read(&self.0).ok()?).ok()
    }

    /// One that cannot be written costs time, not correctness.
    fn write(&self, content: &Content) {
        let written = postcard::to_stdvec(content).map(|bytes| std::fs::write(&self.0, bytes));
        if let Ok(Err(error)) = written {
            tracing::debug!("what a target made is not noted: {error}");
        }
    }
}
