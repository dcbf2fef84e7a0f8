//! Commits as directories, with their submodules.

use std::{
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    remote::Remote,
    repository::{Depth, Repository},
};

/// How deep submodules may lie in one another.
const DEEPEST: usize = 8;
/// How a file starts that stands for one of LFS.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// No such file is longer.
const LONGEST_POINTER: u64 = 1024;

/// What was checked out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedOut {
    /// Paths of files that stand for others, which LFS keeps elsewhere. They are here as they are in git.
    pub lfs_pointers: Vec<String>,
}

/// A submodule of a commit.
struct Submodule {
    path: String,
    url: String,
    commit: String,
}

impl Repository<'_> {
    /// Writes the files of a commit that is here into the empty directory `to`. Submodules are fetched into the directories
    /// that `place` gives for their addresses.
    ///
    /// # Errors
    /// When a submodule cannot be fetched, or a file not be written.
    pub async fn check_out(
        &self,
        remote: &Remote,
        commit: &str,
        to: &Path,
        place: &(dyn Fn(&Remote) -> std::io::Result<PathBuf> + Sync),
    ) -> Result<CheckedOut> {
        self.write_files(commit, to).await?;
        let mut left: Vec<_> = self
            .submodules(commit)
            .await?
            .into_iter()
            .map(|module| (1, remote.clone(), to.to_owned(), module))
            .collect();
        while let Some((depth, parent, above, module)) = left.pop() {
            if depth > DEEPEST {
                return Err(Error::Damaged(format!(
                    "submodules lie more than {DEEPEST} deep in one another"
                )));
            }
            let (remote, to) = (parent.submodule(&module.url)?, above.join(&module.path));
            let repository = Repository::open(self.git, &place(&remote)?).await?;
            repository
                .fetch(&remote, &module.commit, Depth::Commits(1))
                .await?;
            repository.write_files(&module.commit, &to).await?;
            let inner = repository.submodules(&module.commit).await?;
            left.extend(
                inner
                    .into_iter()
                    .map(|module| (depth + 1, remote.clone(), to.clone(), module)),
            );
        }
        let to = to.to_owned();
        tokio::task::spawn_blocking(move || settle(&to))
            .await
            .map_err(std::io::Error::other)?
    }

    async fn write_files(&self, commit: &str, to: &Path) -> Result<()> {
        let index = tempfile::tempdir()?;
        for args in [
            ["read-tree", commit].as_slice(),
            &["checkout-index", "--all", "--force"],
        ] {
            let mut run = self.run(args.iter().copied());
            run.command
                .env("GIT_WORK_TREE", to)
                .env("GIT_INDEX_FILE", index.path().join("index"))
                .current_dir(to);
            run.done().await?;
        }
        Ok(())
    }

    async fn submodules(&self, commit: &str) -> Result<Vec<Submodule>> {
        let listed = self.run(["ls-tree", "-r", "-z", commit]).done().await?;
        // Each is `mode type object`, a tab and the path.
        let links: Vec<(String, String)> = listed
            .split(|byte| *byte == 0)
            .filter_map(|line| {
                std::str::from_utf8(line)
                    .ok()?
                    .strip_prefix("160000 commit ")?
                    .split_once('\t')
            })
            .map(|(commit, path)| (path.to_owned(), commit.to_owned()))
            .collect();
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let blob = format!("{commit}:.gitmodules");
        let args = [
            "config",
            "--blob",
            &blob,
            "-z",
            "--get-regexp",
            r"^submodule\..*\.(path|url)$",
        ];
        // A repository without the file has links that lead nowhere: their directories stay empty, as in git.
        let text = self.run(args).done().await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let settings: Vec<(&str, &str)> = text
            .split('\0')
            .filter_map(|pair| pair.split_once('\n'))
            .collect();
        let url_of = |path: &str| {
            let (name, _) = settings
                .iter()
                .find(|(name, value)| name.ends_with(".path") && *value == path)?;
            let wanted = format!("{}.url", name.strip_suffix(".path")?);
            settings
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, url)| (*url).to_owned())
        };
        let mut found = Vec::new();
        for (path, commit) in links {
            let inside = Path::new(&path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if !inside {
                return Err(Error::Damaged(format!(
                    "a submodule lies at {path:?}, outside of its repository"
                )));
            }
            found.extend(url_of(&path).map(|url| Submodule { path, url, commit }));
        }
        Ok(found)
    }

    /// Makes the directory `to`, which has a commit's files, a repository with so much of the commit's history. It is the
    /// remote's as `git clone` would have it.
    ///
    /// # Errors
    /// When the history cannot be read or not be written.
    pub async fn add_git_directory(
        &self,
        remote: &Remote,
        commit: &str,
        depth: Depth,
        to: &Path,
    ) -> Result<()> {
        let git = self.git;
        let inside = |args: &[&str]| {
            let mut run = git.run(args);
            run.command.current_dir(to);
            run.done()
        };
        inside(&["init", "--quiet", "--template=", "--initial-branch=main"]).await?;
        let own = self.remote();
        let directory = format!("--git-dir={}", to.join(".git").display());
        let depth = match depth {
            Depth::Commits(count) => Some(format!("--depth={}", count.max(1))),
            Depth::All => None,
        };
        // By address, so that a part of the history can be asked for.
        let url = format!("file://{}", own.url);
        let mut args = vec![
            directory.as_str(),
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--update-shallow",
        ];
        args.extend(depth.as_deref());
        let target = format!("+{commit}:refs/remotes/origin/HEAD");
        args.extend(["--", url.as_str(), target.as_str()]);
        git.ask(&own, &args).await?;
        inside(&["update-ref", "--no-deref", "HEAD", commit]).await?;
        inside(&["update-ref", "-d", "refs/remotes/origin/HEAD"]).await?;
        inside(&["reset", "--quiet"]).await?;
        if own.url != remote.url {
            inside(&["config", "remote.origin.url", remote.url.as_str()]).await?;
            inside(&[
                "config",
                "remote.origin.fetch",
                "+refs/heads/*:refs/remotes/origin/*",
            ])
            .await?;
        }
        Ok(())
    }
}

/// Gives files the two modes that git knows, whatever mask this process has, and finds those that stand for others.
fn settle(to: &Path) -> Result<CheckedOut> {
    let mut found = CheckedOut::default();
    for entry in walkdir::WalkDir::new(to).min_depth(1) {
        let entry = entry.map_err(std::io::Error::from)?;
        let metadata = entry.metadata().map_err(std::io::Error::from)?;
        if metadata.is_symlink() {
            continue;
        }
        let is_program = metadata.is_dir() || metadata.permissions().mode() & 0o100 != 0;
        let mode = if is_program { 0o755 } else { 0o644 };
        std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode))?;
        if metadata.is_file() && metadata.len() <= LONGEST_POINTER {
            let mut start = Vec::new();
            std::fs::File::open(entry.path())?
                .take(POINTER.len() as u64)
                .read_to_end(&mut start)?;
            if start == POINTER {
                let path = entry.path().strip_prefix(to).unwrap_or(entry.path());
                found.lfs_pointers.push(path.display().to_string());
            }
        }
    }
    Ok(found)
}
