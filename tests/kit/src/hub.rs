//! A hub of model repositories on loopback, with the API that the hub's own client speaks: revisions and trees, files that are
//! redirected to another server when they are large, tokens, conditions and ranges. It counts what it sends.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    Error, Result,
    http::{Asked, HttpServer, Reply},
    process,
};

/// Files of so many bytes are stored as large ones.
const LARGE: u64 = 1 << 20;
/// Entries of a tree on one page.
const PAGE: usize = 3;

/// What is done with an answer that brings a large file's bytes.
pub type Fault = Box<dyn Fn(&Asked, Reply) -> Reply + Send>;

/// A hub.
#[derive(Debug)]
pub struct Hub {
    server: HttpServer,
    storage: HttpServer,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    repositories: Mutex<BTreeMap<String, Repository>>,
    fault: Mutex<Option<Fault>>,
    storage: Mutex<String>,
}

#[derive(Debug, Default)]
struct Repository {
    /// Who may see it: everybody when there is none.
    token: Option<String>,
    /// Commits by what they are called.
    revisions: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<Entry>>,
}

/// A file of a commit.
#[derive(Clone, Debug)]
struct Entry {
    path: String,
    place: PathBuf,
    size: u64,
    git: String,
    /// Of a large file.
    sha256: Option<String>,
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first word that a program says of a file: its digest.
fn said(program: &str, args: &[&str], file: &Path) -> Result<String> {
    let output = process::run(Command::new(program).args(args).arg(file))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

impl Entry {
    fn of(root: &Path, place: PathBuf) -> Result<Self> {
        let path = place.strip_prefix(root).unwrap_or(&place).display().to_string();
        let size = place.metadata().map_err(Error::io("reading", &place))?.len();
        let sha256 = (size >= LARGE).then(|| said("sha256sum", &[], &place));
        Ok(Self {
            git: said("git", &["hash-object", "--no-filters"], &place)?,
            sha256: sha256.transpose()?,
            path,
            place,
            size,
        })
    }

    fn lfs(&self, digest: &str) -> Option<Value> {
        let sha256 = self.sha256.as_ref()?;
        Some(json!({ digest: sha256, "size": self.size, "pointerSize": 134 }))
    }

    fn sibling(&self, blobs: bool) -> Value {
        let mut entry = json!({ "rfilename": self.path });
        if blobs {
            entry["size"] = json!(self.size);
            entry["blobId"] = json!(self.git);
            if let Some(lfs) = self.lfs("sha256") {
                entry["lfs"] = lfs;
            }
        }
        entry
    }

    fn in_tree(&self) -> Value {
        let mut entry = json!({ "type": "file", "oid": self.git, "size": self.size, "path": self.path });
        if let Some(lfs) = self.lfs("oid") {
            entry["lfs"] = lfs;
        }
        entry
    }

    fn etag(&self) -> &str {
        self.sha256.as_deref().unwrap_or(&self.git)
    }
}

impl Hub {
    /// A hub on loopback, without repositories.
    pub fn start() -> Result<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The same on another address of this machine.
    pub fn start_on(address: IpAddr) -> Result<Self> {
        let state: Arc<State> = Arc::default();
        let own = Arc::clone(&state);
        let storage = HttpServer::start_on(address, move |asked| own.stored(asked))?;
        *lock(&state.storage) = storage.url("");
        let own = Arc::clone(&state);
        let server = HttpServer::start_on(address, move |asked| own.answer(asked))?;
        Ok(Self {
            server,
            storage,
            state,
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// Makes a commit of a directory's files, under these names.
    pub fn commit(&self, repository: &str, names: &[&str], directory: &Path) -> Result<String> {
        let mut files = Vec::new();
        below(directory, &mut files).map_err(Error::io("reading", directory))?;
        let entries: Vec<_> = files
            .into_iter()
            .map(|place| Entry::of(directory, place))
            .collect::<Result<_>>()?;
        let parts: Vec<_> = entries
            .iter()
            .map(|entry| format!("{} {}", entry.path, entry.git))
            .collect();
        let name =
            tempfile::NamedTempFile::new().map_err(Error::io("making a file in", std::env::temp_dir()))?;
        fs::write(name.path(), parts.join("\n")).map_err(Error::io("writing", name.path()))?;
        let commit = said("sha1sum", &[], name.path())?;
        let mut repositories = lock(&self.state.repositories);
        let repository = repositories.entry(repository.to_owned()).or_default();
        for name in names.iter().copied().chain([commit.as_str()]) {
            repository.revisions.insert(name.to_owned(), commit.clone());
        }
        repository.files.insert(commit.clone(), entries);
        Ok(commit)
    }

    /// Shows a repository to nobody who has not this token.
    pub fn close(&self, repository: &str, token: &str) {
        let mut repositories = lock(&self.state.repositories);
        repositories.entry(repository.to_owned()).or_default().token = Some(token.to_owned());
    }

    /// Does this with every answer that brings a large file's bytes from now on.
    pub fn fail(&self, fault: impl Fn(&Asked, Reply) -> Reply + Send + 'static) {
        *lock(&self.state.fault) = Some(Box::new(fault));
    }

    /// Brings them as they are from now on.
    pub fn heal(&self) {
        *lock(&self.state.fault) = None;
    }

    /// Bytes of large files that were sent so far.
    pub fn sent(&self) -> u64 {
        self.storage.sent("/")
    }

    /// What was asked so far, of the hub and of its storage.
    pub fn asked(&self) -> Vec<Asked> {
        [self.server.asked(), self.storage.asked()].concat()
    }

    /// How many files were asked for.
    pub fn files_asked(&self) -> usize {
        let asked = self.server.asked();
        asked
            .iter()
            .filter(|asked| asked.path.contains("/resolve/"))
            .count()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("State").field(&*lock(&self.repositories)).finish()
    }
}

impl State {
    fn answer(&self, asked: &Asked) -> Reply {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let parts: Vec<String> = path.trim_start_matches('/').split('/').map(plain).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (owner, name, what, revision, rest) = match &parts[..] {
            ["api", "models", owner, name] => (owner, name, "revision", "main", &[][..]),
            ["api", "models", owner, name, what, revision, rest @ ..] => {
                (owner, name, *what, *revision, rest)
            }
            [owner, name, "resolve", revision, rest @ ..] => (owner, name, "resolve", *revision, rest),
            _ => return Reply::status(404),
        };
        let repositories = lock(&self.repositories);
        let repository = repositories.get(&format!("{owner}/{name}"));
        let is_let_in = |repository: &&Repository| {
            let token = repository.token.as_ref();
            token.is_none_or(|token| asked.header("authorization") == format!("Bearer {token}"))
        };
        let Some(repository) = repository.filter(is_let_in) else {
            // What somebody may not see is not told from what is not there.
            return Reply::status(401).with("X-Error-Code", "RepoNotFound");
        };
        let Some(commit) = repository.revisions.get(revision) else {
            return Reply::status(404).with("X-Error-Code", "RevisionNotFound");
        };
        let entries = repository.files.get(commit).map_or(&[][..], Vec::as_slice);
        match what {
            "revision" => {
                let blobs = query
                    .split('&')
                    .any(|part| matches!(part, "blobs=true" | "blobs=True"));
                let siblings: Vec<_> = entries.iter().map(|entry| entry.sibling(blobs)).collect();
                let id = format!("{owner}/{name}");
                json_reply(&json!({
                    "_id": "0", "id": id, "modelId": id, "sha": commit, "private": repository.token.is_some(), "gated": false,
                    "disabled": false, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings,
                }))
            }
            "tree" => self.tree(asked, entries, query),
            "resolve" => self.resolve(asked, commit, entries, &rest.join("/")),
            _ => Reply::status(404),
        }
    }

    /// A page of a tree.
    fn tree(&self, asked: &Asked, entries: &[Entry], query: &str) -> Reply {
        let cursor = query
            .split('&')
            .find_map(|part| part.strip_prefix("cursor=")?.parse().ok());
        let from: usize = cursor.unwrap_or(0);
        let page: Vec<_> = entries.iter().skip(from).take(PAGE).map(Entry::in_tree).collect();
        let reply = json_reply(&json!(page));
        if from + PAGE >= entries.len() {
            return reply;
        }
        let path = asked.path.split('?').next().unwrap_or_default();
        let next = format!(
            "http://{}{path}?recursive=true&cursor={}",
            asked.header("host"),
            from + PAGE
        );
        reply.with("Link", &format!("<{next}>; rel=\"next\""))
    }

    /// A file, or where it is.
    fn resolve(&self, asked: &Asked, commit: &str, entries: &[Entry], path: &str) -> Reply {
        let Some(entry) = entries.iter().find(|entry| entry.path == path) else {
            return Reply::status(404).with("X-Error-Code", "EntryNotFound");
        };
        let reply = match &entry.sha256 {
            None => on_disk(asked, entry, entry.etag()),
            Some(sha256) => Reply::redirect(&format!(
                "{}/{sha256}?signature={}",
                lock(&self.storage),
                signature(sha256)
            ))
            .with("X-Linked-ETag", &format!("\"{sha256}\""))
            .with("X-Linked-Size", &entry.size.to_string()),
        };
        reply.with("X-Repo-Commit", commit)
    }

    /// A large file, for whoever was sent here, without the hub's token.
    fn stored(&self, asked: &Asked) -> Reply {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let sha256 = path.trim_start_matches('/');
        if query != format!("signature={}", signature(sha256)) {
            return Reply::status(403);
        }
        if !asked.header("authorization").is_empty() {
            return Reply::status(400);
        }
        let repositories = lock(&self.repositories);
        let entries = repositories
            .values()
            .flat_map(|repository| repository.files.values().flatten());
        let Some(entry) = entries
            .into_iter()
            .find(|entry| entry.sha256.as_deref() == Some(sha256))
        else {
            return Reply::status(404);
        };
        let reply = on_disk(asked, entry, sha256);
        match &*lock(&self.fault) {
            Some(fault) => fault(asked, reply),
            None => reply,
        }
    }
}

/// What lets a client of the storage in: only the hub says it.
fn signature(sha256: &str) -> String {
    sha256.chars().rev().collect()
}

/// What is on the disk now; a file that has gone is the server's fault.
fn on_disk(asked: &Asked, entry: &Entry, etag: &str) -> Reply {
    Reply::on_disk(asked, &entry.place, etag).unwrap_or_else(|_| Reply::status(500))
}

fn json_reply(value: &Value) -> Reply {
    Reply::whole(value.to_string()).with("Content-Type", "application/json")
}

/// A part of a path without its escapes.
fn plain(part: &str) -> String {
    let mut bytes = part.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: Vec<u8> = bytes.by_ref().take(2).collect();
            let digits = String::from_utf8_lossy(&digits);
            plain.extend(u8::from_str_radix(&digits, 16).ok());
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn below(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            below(&entry, files)?;
        } else {
            files.push(entry);
        }
    }
    Ok(())
}
