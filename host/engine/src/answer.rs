//! Answers to questions: evaluates as much as one needs, and reads.

use std::{
    fs::File,
    io::{Read as _, Seek, SeekFrom},
    sync::Arc,
};

use wharf_digest::Digest;
use wharf_graph::{
    Error,
    plan::{ContainerPlan, Location, Planned},
    read::{Answer, FileKind, Question, READ_LIMIT, Read, Stat},
};
use wharf_store::{Store, tree::View};

use crate::{
    engine::{Engine, store_error},
    evaluate::{Made, StepOutput},
    git::is_about_git,
    search,
    session::Session,
};

/// So many bytes are read sooner than another thread is woken to read them.
const SHORT: u64 = 64 * 1024;

impl Engine {
    /// Answers a question of a session.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        session: &Arc<Session>,
        read: &Read,
    ) -> Result<Answer, Error> {
        let node = session.node(read.node)?;
        if is_about_git(&read.question) {
            return self.answer_git(session, &node, &read.question).await;
        }
        let planned = self.plan(session, &node).await?;
        match planned {
            Planned::Container(container) => self.answer_container(session, &container, &read.question).await,
            Planned::Directory(place) => self.answer_directory(session, &place, &read.question).await,
            Planned::File(place) => self.answer_file(session, &place, &read.question).await,
            Planned::Service(service) => self.answer_service(session, &service, &read.question).await,
            Planned::Changeset(plan) => self.answer_changeset(session, &plan, &read.question).await,
            Planned::Failed(error) => Err(error),
        }
    }

    async fn answer_container(
        self: &Arc<Self>,
        session: &Arc<Session>,
        container: &ContainerPlan,
        question: &Question,
    ) -> Result<Answer, Error> {
        match question {
            Question::Configuration => Ok(Answer::Configuration(Box::new(container.configuration()))),
            Question::Sync => {
                self.realize(session, &container.root).await?;
                Ok(Answer::Done)
            }
            Question::Stdout => self.output_text(session, container, |output| output.stdout).await,
            Question::Stderr => self.output_text(session, container, |output| output.stderr).await,
            Question::CombinedOutput => {
                self.output_text(session, container, |output| output.combined)
                    .await
            }
            Question::ExitCode => Ok(Answer::ExitCode(
                self.last_step(session, container).await?.exit_code,
            )),
            Question::Digest => self.container_digest(session, container).await,
            // Large, and not part of what every waiting read holds.
            Question::Terminal(command) => Box::pin(self.answer_terminal(session, container, command)).await,
            Question::Exists(path) | Question::Stat(path) => {
                let place = container.place(path)?;
                let question = match question {
                    Question::Exists(_) => Question::Exists("/".to_owned()),
                    _ => Question::Stat("/".to_owned()),
                };
                self.answer_directory(session, &place, &question).await
            }
            other => Err(wrong_question("container", other)),
        }
    }

    /// Digest of everything that an image of the container would hold.
    async fn container_digest(
        self: &Arc<Self>,
        session: &Arc<Session>,
        container: &ContainerPlan,
    ) -> Result<Answer, Error> {
        let made = self.realize(session, &container.root).await?;
        let content = self
            .with_store(move |store| store.content_digest_at(&made.snapshot, "/"))
            .await?;
        let material = wharf_proto::encode(&(
            "wharf container",
            content,
            &container.config,
            &container.annotations,
            &container.platform,
        ));
        Ok(Answer::Text(Digest::of(&material).to_string()))
    }

    async fn answer_directory(
        self: &Arc<Self>,
        session: &Arc<Session>,
        place: &Location,
        question: &Question,
    ) -> Result<Answer, Error> {
        let made = self.realize(session, &place.tree).await?;
        let (root, question) = (place.path.clone(), question.clone());
        if question == Question::Sync {
            return Ok(Answer::Done);
        }
        self.with_view(&made, move |store, view| {
            directory_answer(store, view, &root, &question)
        })
        .await
    }

    async fn answer_file(
        self: &Arc<Self>,
        session: &Arc<Session>,
        place: &Location,
        question: &Question,
    ) -> Result<Answer, Error> {
        let made = self.realize(session, &place.tree).await?;
        let (path, question) = (place.path.clone(), question.clone());
        self.with_view(&made, move |store, view| {
            file_answer(store, view, &path, &question)
        })
        .await
    }

    async fn last_step(
        self: &Arc<Self>,
        session: &Arc<Session>,
        container: &ContainerPlan,
    ) -> Result<StepOutput, Error> {
        let none = || Error::Invalid("the container has run nothing: call with-exec first".to_owned());
        let tree = container.last_step.as_ref().ok_or_else(none)?;
        let made = self.realize(session, tree).await?;
        made.output.clone().ok_or_else(none)
    }

    async fn output_text(
        self: &Arc<Self>,
        session: &Arc<Session>,
        container: &ContainerPlan,
        which: impl Fn(&StepOutput) -> Digest,
    ) -> Result<Answer, Error> {
        let blob = which(&self.last_step(session, container).await?);
        self.blob_text(blob).await.map(Answer::Text)
    }

    /// What a step has printed, as text.
    pub(crate) async fn blob_text(self: &Arc<Self>, blob: Digest) -> Result<String, Error> {
        let lost = || {
            Error::other(
                "store",
                "the output of a remembered step is no longer in the store: run with --no-cache",
            )
        };
        let file = self.look(|store| store.blob(&blob))?.ok_or_else(lost)?;
        let size = file.metadata().map_err(io_error)?.len();
        if size > READ_LIMIT {
            return Err(too_large("the output", size));
        }
        if size <= SHORT {
            return text_of(file, size);
        }
        self.with_store(move |_| Ok(text_of(file, size))).await?
    }

    /// Does blocking work on a tree that exists.
    pub(crate) async fn with_view<T: Send + 'static>(
        self: &Arc<Self>,
        made: &Arc<Made>,
        work: impl FnOnce(&Store, &View<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let snapshot = made.snapshot.clone();
        self.with_store(move |store| {
            let view = View::new(store, &snapshot)?;
            Ok(work(store, &view))
        })
        .await?
    }
}

pub(crate) fn wrong_question(kind: &str, question: &Question) -> Error {
    Error::other("protocol", format!("a {kind} cannot answer {question:?}"))
}

pub(crate) fn too_large(what: &str, size: u64) -> Error {
    let limit = READ_LIMIT / 1024 / 1024;
    Error::Invalid(format!(
        "{what} has {size} bytes; a read returns at most {limit} MiB: read a range, or keep it a file"
    ))
}

/// A blob's bytes as text.
fn text_of(mut blob: File, size: u64) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(size as usize);
    blob.read_to_end(&mut bytes).map_err(io_error)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn io_error(error: std::io::Error) -> Error {
    Error::other("store", error.to_string())
}

fn directory_answer(
    store: &Store,
    view: &View<'_>,
    root: &str,
    question: &Question,
) -> Result<Answer, Error> {
    let inside = |path: &str| wharf_graph::plan::absolute(root, path.trim_start_matches('/'));
    match question {
        Question::Entries(path) => {
            let at = inside(path);
            let entries = view.read_dir(&at).map_err(|error| store_error(&error))?;
            let mut names = Vec::with_capacity(entries.len());
            for entry in entries {
                let name = text_name(&entry.name, &at)?;
                names.push(if entry.stat.is_directory() {
                    format!("{name}/")
                } else {
                    name
                });
            }
            names.sort();
            Ok(Answer::Names(names))
        }
        Question::Glob(pattern) => Ok(Answer::Names(glob(view, root, pattern)?)),
        Question::Search(search) => search::directory(view, root, search).map(Answer::Matches),
        Question::FindUp { name, start } => find_up(view, root, name, start).map(Answer::Found),
        Question::Exists(path) => match view.stat(&inside(path), true) {
            Ok(_) => Ok(Answer::Bool(true)),
            Err(wharf_store::Error::NotFound(_)) => Ok(Answer::Bool(false)),
            Err(error) => Err(store_error(&error)),
        },
        Question::Stat(path) => stat_answer(view, &inside(path)),
        Question::Digest => {
            let digest = store
                .content_digest_at(view.snapshot(), root)
                .map_err(|error| store_error(&error))?;
            Ok(Answer::Text(digest.to_string()))
        }
        Question::Size => {
            let mut size = 0;
            for entry in view.walk(root).map_err(|error| store_error(&error))? {
                let entry = entry.map_err(|error| store_error(&error))?;
                if entry.stat.is_file() {
                    size += entry.stat.size;
                }
            }
            Ok(Answer::Size(size))
        }
        other => Err(wrong_question("directory", other)),
    }
}

fn file_answer(store: &Store, view: &View<'_>, path: &str, question: &Question) -> Result<Answer, Error> {
    let failed = |error: wharf_store::Error| store_error(&error);
    match question {
        Question::FileStat => stat_answer(view, path),
        Question::Search(search) => {
            regular(view, path)?;
            search::file(view, path, search).map(Answer::Matches)
        }
        Question::Sync => {
            regular(view, path)?;
            Ok(Answer::Done)
        }
        Question::Size => Ok(Answer::Size(regular(view, path)?)),
        Question::Digest => {
            regular(view, path)?;
            Ok(Answer::Text(
                store
                    .content_digest_at(view.snapshot(), path)
                    .map_err(failed)?
                    .to_string(),
            ))
        }
        Question::Contents => {
            let size = regular(view, path)?;
            if size > READ_LIMIT {
                return Err(too_large(path, size));
            }
            read_range(view, path, 0, size)
        }
        Question::Range { offset, length } => {
            regular(view, path)?;
            if *length > READ_LIMIT {
                return Err(too_large("the range", *length));
            }
            read_range(view, path, *offset, *length)
        }
        other => Err(wrong_question("file", other)),
    }
}

/// Size of a regular file; an error for anything else.
fn regular(view: &View<'_>, path: &str) -> Result<u64, Error> {
    let stat = view.stat(path, true).map_err(|error| store_error(&error))?;
    if stat.is_file() {
        Ok(stat.size)
    } else {
        Err(Error::Invalid(format!("{path} is not a file")))
    }
}

fn read_range(view: &View<'_>, path: &str, offset: u64, length: u64) -> Result<Answer, Error> {
    let mut file = view.open_file(path).map_err(|error| store_error(&error))?;
    file.seek(SeekFrom::Start(offset)).map_err(io_error)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(io_error)?;
    Ok(Answer::Bytes(bytes))
}

fn stat_answer(view: &View<'_>, path: &str) -> Result<Answer, Error> {
    let stat = view.stat(path, true).map_err(|error| store_error(&error))?;
    let kind = match stat.kind {
        wharf_store::tree::Kind::File => FileKind::Regular,
        wharf_store::tree::Kind::Directory => FileKind::Directory,
        wharf_store::tree::Kind::Symlink => FileKind::Symlink,
        wharf_store::tree::Kind::Fifo => FileKind::Fifo,
        wharf_store::tree::Kind::Socket => FileKind::Socket,
        wharf_store::tree::Kind::CharDevice => FileKind::CharacterDevice,
        wharf_store::tree::Kind::BlockDevice => FileKind::BlockDevice,
    };
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Answer::Stat(Stat {
        name,
        kind,
        size: stat.size,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
    }))
}

/// A name that can cross to a module: text.
pub(crate) fn text_name(name: &[u8], directory: &str) -> Result<String, Error> {
    String::from_utf8(name.to_vec()).map_err(|error| {
        let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Error::Invalid(format!("{directory} holds a name that is not UTF-8: {lossy:?}"))
    })
}

/// The nearest path of a name in a directory or above it, relative to the root.
fn find_up(view: &View<'_>, root: &str, name: &str, start: &str) -> Result<Option<String>, Error> {
    if name.is_empty() || name.contains('/') {
        return Err(Error::Invalid(format!("{name:?} is no name of a file")));
    }
    let start = wharf_graph::plan::absolute("/", start);
    let mut here = start.trim_start_matches('/');
    loop {
        let path = format!("{here}/{name}");
        let path = path.trim_start_matches('/');
        match view.stat(&wharf_graph::plan::absolute(root, path), false) {
            Ok(_) => return Ok(Some(path.to_owned())),
            Err(wharf_store::Error::NotFound(_) | wharf_store::Error::Invalid(_)) => {}
            Err(error) => return Err(store_error(&error)),
        }
        match here.rsplit_once('/') {
            Some((above, _)) => here = above,
            None if here.is_empty() => return Ok(None),
            None => here = "",
        }
    }
}

fn glob(view: &View<'_>, root: &str, pattern: &str) -> Result<Vec<String>, Error> {
    let matcher = globset::GlobBuilder::new(pattern.trim_start_matches('/'))
        .literal_separator(true)
        .build()
        .map_err(|error| Error::Invalid(format!("the pattern {pattern:?} does not read: {error}")))?
        .compile_matcher();
    let mut found = Vec::new();
    for entry in view.walk(root).map_err(|error| store_error(&error))? {
        let entry = entry.map_err(|error| store_error(&error))?;
        let path = text_name(&entry.path, root)?;
        if matcher.is_match(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
