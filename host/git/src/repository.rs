//! A bare repository of ours: commits are fetched into it, each once.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    program::Git,
    remote::Remote,
};

/// How much of a commit's history is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Depth {
    /// So many commits, the commit itself among them; at least one.
    Commits(u32),
    /// All of it.
    All,
}

/// A commit in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its hexadecimal digits.
    pub commit: String,
    /// Who wrote it: `Name <address>`.
    pub author: String,
    /// When it was written, in seconds since 1970.
    pub seconds: i64,
    /// The first line of its message.
    pub subject: String,
}

/// A bare repository of ours.
#[derive(Debug)]
pub struct Repository<'g> {
    pub(crate) git: &'g Git,
    pub(crate) path: PathBuf,
}

impl<'g> Repository<'g> {
    /// The repository in this directory, made when it is empty.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn open(git: &'g Git, path: &Path) -> Result<Self> {
        if !path.join("HEAD").is_file() {
            let args = [
                "init",
                "--quiet",
                "--bare",
                "--template=",
                "--initial-branch=main",
                "--",
            ];
            let mut run = git.run(args);
            run.command.arg(path);
            run.done().await?;
        }
        Ok(Self {
            git,
            path: path.to_owned(),
        })
    }

    /// The repository that a caller's directory holds, bare or in `.git`: a copy that is ours to change. What could make git run
    /// programs is not taken over.
    ///
    /// # Errors
    /// When the directory holds no repository.
    pub fn of_directory(git: &'g Git, path: &Path) -> Result<Self> {
        // Nothing is looked at through a link: none is to lead out of the copy.
        let kind = |path: PathBuf| {
            std::fs::symlink_metadata(path)
                .ok()
                .map(|metadata| metadata.file_type())
        };
        let is_directory = |path| kind(path).is_some_and(|kind| kind.is_dir());
        let inner = path.join(".git");
        let path = if is_directory(inner.clone()) {
            inner
        } else {
            path.to_owned()
        };
        let has_head = kind(path.join("HEAD")).is_some_and(|kind| kind.is_file());
        if !has_head || !is_directory(path.join("objects")) {
            return Err(Error::Damaged(
                "the directory is no git repository: it has no .git, and is no bare one".to_owned(),
            ));
        }
        for entry in walkdir::WalkDir::new(&path) {
            let entry = entry.map_err(std::io::Error::from)?;
            if !entry.file_type().is_dir() && !entry.file_type().is_file() {
                let name = entry.path().strip_prefix(&path).unwrap_or(entry.path());
                return Err(Error::Damaged(format!(
                    "the directory is no git repository as git makes it: {} is neither file nor directory",
                    name.display()
                )));
            }
        }
        for kept_out in [
            "config",
            "config.worktree",
            "commondir",
            "gitdir",
            "index",
            "objects/info/alternates",
        ] {
            remove(std::fs::remove_file(path.join(kept_out)))?;
        }
        for kept_out in ["hooks", "info", "modules", "worktrees"] {
            remove(std::fs::remove_dir_all(path.join(kept_out)))?;
        }
        std::fs::create_dir_all(path.join("refs"))?;
        std::fs::write(
            path.join("config"),
            "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
        )?;
        Ok(Self { git, path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This repository as others would ask it.
    pub fn remote(&self) -> Remote {
        Remote::local(&self.path)
    }

    /// Git, about to work on this repository.
    pub(crate) fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> crate::program::Run {
        let mut run = self.git.run(args);
        run.command.env("GIT_DIR", &self.path);
        run
    }

    /// Is the commit here, with as much of its history?
    async fn has(&self, commit: &str, depth: Depth) -> bool {
        let object = format!("{commit}^{{commit}}");
        if self.run(["cat-file", "-e", &object]).done().await.is_err() {
            return false;
        }
        // What ends too early is in the list of commits whose parents are missing.
        let shallow = std::fs::read_to_string(self.path.join("shallow")).unwrap_or_default();
        if depth == Depth::Commits(1) || shallow.is_empty() {
            return true;
        }
        let count = match depth {
            Depth::Commits(count) => count.to_string(),
            Depth::All => u32::MAX.to_string(),
        };
        let Ok(listed) = self.run(["rev-list", "--max-count", &count, commit]).done().await else {
            return false;
        };
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let ends = |commit: &str| shallow.lines().any(|line| line == commit);
        match depth {
            Depth::Commits(count) => listed.lines().count() >= count as usize || !listed.lines().any(ends),
            Depth::All => !listed.lines().any(ends),
        }
    }

    /// Makes sure that a commit is here, with so much of its history; the remote is asked only when it is not.
    ///
    /// # Errors
    /// When the remote does not answer, refuses to, or has no such commit.
    pub async fn fetch(&self, remote: &Remote, commit: &str, depth: Depth) -> Result<()> {
        if self.has(commit, depth).await {
            return Ok(());
        }
        let target = format!("+{commit}:refs/wharf/{commit}");
        let depth_args = match depth {
            Depth::Commits(count) => Some(format!("--depth={}", count.max(1))),
            Depth::All if self.path.join("shallow").is_file() => Some("--unshallow".to_owned()),
            Depth::All => None,
        };
        let by_commit = self.fetch_refs(remote, depth_args.as_deref(), &[&target]).await;
        if by_commit.is_ok() && self.has(commit, Depth::Commits(1)).await {
            return Ok(());
        }
        // A server may not send a commit that no reference names: it is looked for below those that it has.
        let all = [
            "+refs/heads/*:refs/wharf/heads/*",
            "+refs/tags/*:refs/wharf/tags/*",
        ];
        let unshallow = self.path.join("shallow").is_file().then_some("--unshallow");
        match by_commit {
            Err(error @ (Error::Refused { .. } | Error::UnknownHost { .. } | Error::NoRepository { .. })) => {
                return Err(error);
            }
            _ => self.fetch_refs(remote, unshallow, &all).await?,
        }
        if self.has(commit, Depth::Commits(1)).await {
            return Ok(());
        }
        Err(Error::NoReference {
            url: remote.url.clone(),
            what: format!("commit {commit}"),
            near: Vec::new(),
        })
    }

    async fn fetch_refs(&self, remote: &Remote, depth: Option<&str>, refs: &[&str]) -> Result<()> {
        let directory = format!("--git-dir={}", self.path.display());
        let mut args: Vec<&str> = vec![
            &directory,
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
        ];
        args.extend(depth);
        args.extend(["--", remote.url.as_str()]);
        args.extend(refs);
        self.git.ask(remote, &args).await.map(|_| ())
    }

    /// The last commits up to this one, the newest first. They have to be here.
    ///
    /// # Errors
    /// When the repository is damaged.
    pub async fn log(&self, commit: &str, count: u32) -> Result<Vec<LogEntry>> {
        let count = count.to_string();
        let args = [
            "log",
            "--no-show-signature",
            "--format=%H%x00%an <%ae>%x00%at%x00%s",
            "--max-count",
            &count,
            commit,
            "--",
        ];
        let text = self.run(args).done().await?;
        let entry = |line: &str| {
            let mut fields = line.split('\0').map(str::to_owned);
            Some(LogEntry {
                commit: fields.next()?,
                author: fields.next()?,
                seconds: fields.next()?.parse().ok()?,
                subject: fields.next()?,
            })
        };
        Ok(String::from_utf8_lossy(&text).lines().filter_map(entry).collect())
    }
}

fn remove(outcome: std::io::Result<()>) -> Result<()> {
    match outcome {
        Err(error)
            if !matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
