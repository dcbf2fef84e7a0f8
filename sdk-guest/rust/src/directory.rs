//! A directory tree as a value, with its builders and reads.

use crate::bindings::wharf::pipeline::{eval, exports, filesystem as raw};
use crate::{Changeset, CopyOptions, File, Result, SearchMatch, SearchOptions, Stat, text::owned};

/// A directory tree. Every builder returns a new one and leaves this as it was.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// /// The directory with a version in it, and how many scripts it has.
/// async fn prepared(source: Directory, version: String) -> Result<(Directory, u64)> {
///     let scripts = source.glob("**/*.sh").await?.len();
///     if source.exists("VERSION").await? {
///         return Err("there is a version already".into());
///     }
///     let prepared = source.without_directory("tmp").with_new_file("VERSION", version);
///     Ok((prepared, scripts as u64))
/// }
/// ```
#[derive(Debug)]
pub struct Directory(pub(crate) raw::Directory);

impl From<raw::Directory> for Directory {
    fn from(directory: raw::Directory) -> Self {
        Self(directory)
    }
}

impl From<Directory> for raw::Directory {
    fn from(directory: Directory) -> Self {
        directory.0
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    /// An empty directory.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let site = Directory::new().with_new_file("index.html", "<h1>Hello</h1>\n");
    /// ```
    pub fn new() -> Self {
        Self(raw::Directory::new())
    }

    /// The subdirectory at `path` as a tree of its own.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let docs = host::directory(".").directory("docs");
    /// ```
    #[must_use]
    pub fn directory(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.subdirectory(path.as_ref()))
    }

    /// The file at `path`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let manifest = host::directory(".").file("Cargo.toml");
    /// ```
    pub fn file(&self, path: impl AsRef<str>) -> File {
        self.0.file(path.as_ref()).into()
    }

    /// Put the contents of `source` under `path`, made when missing, over what is there.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let bundle = Directory::new().with_directory("site", &host::directory("public"));
    /// ```
    #[must_use]
    pub fn with_directory(&self, path: impl AsRef<str>, source: &Directory) -> Self {
        Self(self.0.with_directory(path.as_ref(), &source.0, None))
    }

    /// As [`with_directory`](Self::with_directory), taking what the options let through.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let pages = CopyOptions::new().include(["*.html"]);
    /// let site = Directory::new().with_directory_opts("/", &host::directory("public"), &pages);
    /// ```
    #[must_use]
    pub fn with_directory_opts(
        &self,
        path: impl AsRef<str>,
        source: &Directory,
        options: &CopyOptions,
    ) -> Self {
        Self(self.0.with_directory(path.as_ref(), &source.0, Some(&options.0)))
    }

    /// Put `source` at `path`; a path that ends in `/` or names a directory keeps the file's own name.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let bundle = Directory::new().with_file("LICENSE", &host::file("LICENSE"));
    /// ```
    #[must_use]
    pub fn with_file(&self, path: impl AsRef<str>, source: &File) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, None))
    }

    /// As [`with_file`](Self::with_file), with owner and mode from the options.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let program = CopyOptions::new().mode(0o755);
    /// let bundle = Directory::new().with_file_opts("bin/tool", &host::file("tool"), &program);
    /// ```
    #[must_use]
    pub fn with_file_opts(&self, path: impl AsRef<str>, source: &File, options: &CopyOptions) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, Some(&options.0)))
    }

    /// Put several files into the directory `path`, each under its own name.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let texts = [host::file("README.md"), host::file("LICENSE")];
    /// let bundle = Directory::new().with_files("doc", &texts);
    /// ```
    #[must_use]
    pub fn with_files<'a>(&self, path: impl AsRef<str>, sources: impl IntoIterator<Item = &'a File>) -> Self {
        let sources: Vec<_> = sources.into_iter().map(|file| &file.0).collect();
        Self(self.0.with_files(path.as_ref(), &sources, None))
    }

    /// Write a file with this text, mode 0o644.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let versioned = host::directory(".").with_new_file("VERSION", "1.4.2\n");
    /// ```
    #[must_use]
    pub fn with_new_file(&self, path: impl AsRef<str>, contents: impl AsRef<str>) -> Self {
        Self(self.0.with_new_file(path.as_ref(), contents.as_ref(), None))
    }

    /// Write a file with this text and mode.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let scripts = Directory::new().with_new_file_mode("run", "#!/bin/sh\nexec app\n", 0o755);
    /// ```
    #[must_use]
    pub fn with_new_file_mode(&self, path: impl AsRef<str>, contents: impl AsRef<str>, mode: u32) -> Self {
        Self(self.0.with_new_file(path.as_ref(), contents.as_ref(), Some(mode)))
    }

    /// Make a directory and its parents. Mode 0o755 unless given.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let home = Directory::new().with_new_directory(".ssh", Some(0o700));
    /// ```
    #[must_use]
    pub fn with_new_directory(&self, path: impl AsRef<str>, mode: Option<u32>) -> Self {
        Self(self.0.with_new_directory(path.as_ref(), mode))
    }

    /// Make a symbolic link at `path` that points to `target`, which need not exist.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let releases = host::directory("releases").with_symlink("1.4.2", "current");
    /// ```
    #[must_use]
    pub fn with_symlink(&self, target: impl AsRef<str>, path: impl AsRef<str>) -> Self {
        Self(self.0.with_symlink(target.as_ref(), path.as_ref()))
    }

    /// Remove the directory at `path` with all below it; what is not there is no error.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let sources = host::directory(".").without_directory("vendor");
    /// ```
    #[must_use]
    pub fn without_directory(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_directory(path.as_ref()))
    }

    /// Remove the file at `path`; what is not there is no error.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let sources = host::directory(".").without_file("rust-toolchain.toml");
    /// ```
    #[must_use]
    pub fn without_file(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_file(path.as_ref()))
    }

    /// Remove several files.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let sources = host::directory(".").without_files([".env", ".env.local"]);
    /// ```
    #[must_use]
    pub fn without_files(&self, paths: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.without_files(&owned(paths)))
    }

    /// Keep only what the options' include, exclude and gitignore let through.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let rust = host::directory(".").filter(&CopyOptions::new().include(["*.rs"]));
    /// ```
    #[must_use]
    pub fn filter(&self, options: &CopyOptions) -> Self {
        Self(self.0.filter(&options.0))
    }

    /// What `other` has that this directory has not, or has otherwise; removals are not part of it.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let base = image::pull("debian:12");
    /// let installed = base.with_network(Network::All).with_exec(["apt-get", "install", "-y", "jq"]);
    /// let added = base.rootfs().diff(&installed.rootfs());
    /// ```
    #[must_use]
    pub fn diff(&self, other: &Directory) -> Self {
        Self(self.0.diff(&other.0))
    }

    /// Apply changes: what they add and modify is laid over this directory, what they remove is removed.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let source = host::directory(".");
    /// let formatted = image::pull("rust:1").with_directory("/src", &source).with_exec(["rustfmt", "/src/lib.rs"]).directory("/src");
    /// let kept = source.with_changes(&source.changes_to(&formatted));
    /// ```
    #[must_use]
    pub fn with_changes(&self, changes: &Changeset) -> Self {
        Self(self.0.with_changes(&changes.0))
    }

    /// The changes that lead from this directory to `after`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let changes = host::directory("before").changes_to(&host::directory("after"));
    /// ```
    pub fn changes_to(&self, after: &Directory) -> Changeset {
        Changeset::new(self, after)
    }

    /// Apply a unified diff, of git or of diff(1), whose paths are relative to this directory; git's prefixes `a/` and `b/`
    /// are taken off. A hunk that does not fit is an error that names the file, once the result is read.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("contents", "--- a/x").plan(async {
    /// let patch = host::file("fix.patch").contents().await?;
    /// let fixed = host::directory("src").with_patch(patch);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    #[must_use]
    pub fn with_patch(&self, patch: impl AsRef<str>) -> Self {
        Self(self.0.with_patch(patch.as_ref()))
    }

    /// Set owner and group (numbers) of `path` and all below it.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let data = host::directory("data").chown("/", "1000:1000");
    /// ```
    #[must_use]
    pub fn chown(&self, path: impl AsRef<str>, owner: impl AsRef<str>) -> Self {
        Self(self.0.chown(path.as_ref(), owner.as_ref()))
    }

    /// Set every modification time to this many seconds since 1970; times set so are part of the identity.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let reproducible = host::directory("site").with_timestamps(0);
    /// ```
    #[must_use]
    pub fn with_timestamps(&self, seconds: u64) -> Self {
        Self(self.0.with_timestamps(seconds))
    }

    /// Names of the entries at `path`, sorted, directories with a `/` behind.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("entries", ["src/", "Cargo.toml"]).plan(async {
    /// let names = host::directory(".").entries("/").await?;
    /// let is_rust = names.iter().any(|name| name == "Cargo.toml");
    /// # assert!(is_rust);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn entries(&self, path: impl Into<String>) -> Result<Vec<String>> {
        Ok(eval::entries(&self.0, path.into()).await?)
    }

    /// Paths below the directory that match a pattern with `*`, `**` and `?`, sorted.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("glob", ["tests/a.rs"]).plan(async {
    /// let tests = host::directory(".").glob("tests/**/*.rs").await?;
    /// # assert_eq!(tests, ["tests/a.rs"]);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn glob(&self, pattern: impl Into<String>) -> Result<Vec<String>> {
        Ok(eval::glob(&self.0, pattern.into()).await?)
    }

    /// Does the path exist in the directory?
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("exists", true).plan(async {
    /// let has_lock = host::directory(".").exists("Cargo.lock").await?;
    /// # assert!(has_lock);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn exists(&self, path: impl Into<String>) -> Result<bool> {
        Ok(eval::directory_exists(&self.0, path.into()).await?)
    }

    /// Facts about a path; symbolic links are followed inside the root.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("stat", wharf_sdk::Stat { name: "app".into(), kind: wharf_sdk::FileKind::Regular, size: 5_000_000, mode: 0o755, uid: 0, gid: 0 }).plan(async {
    /// let stat = host::directory("dist").stat("app").await?;
    /// let is_program = stat.mode & 0o111 != 0;
    /// # assert!(is_program);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn stat(&self, path: impl Into<String>) -> Result<Stat> {
        Ok(eval::directory_stat(&self.0, path.into()).await?)
    }

    /// The nearest path of this name in the directory `start` or above it; none when there is none.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("find_up", "Cargo.toml").plan(async {
    /// let workspace = host::directory(".").find_up("Cargo.toml", "crates/core").await?;
    /// # assert_eq!(workspace.as_deref(), Some("Cargo.toml"));
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn find_up(&self, name: impl Into<String>, start: impl Into<String>) -> Result<Option<String>> {
        Ok(eval::directory_find_up(&self.0, name.into(), start.into()).await?)
    }

    /// Lines of its files that match a regular expression, by path and line. Files that are not text are passed over.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("search", Vec::<wharf_sdk::SearchMatch>::new()).plan(async {
    /// for found in host::directory("src").search(r"\bTODO\b").await? {
    ///     log::warn(format!("{}:{}: {}", found.path, found.line, found.text));
    /// }
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn search(&self, pattern: impl Into<String>) -> Result<Vec<SearchMatch>> {
        Ok(eval::directory_search(&self.0, pattern.into(), None).await?)
    }

    /// As [`search`](Self::search), with options.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("search", Vec::<wharf_sdk::SearchMatch>::new()).plan(async {
    /// let options = SearchOptions::new().literal(true).include(["*.py"]);
    /// let prints = host::directory("src").search_opts("print(", &options).await?.len();
    /// # assert_eq!(prints, 0);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn search_opts(
        &self,
        pattern: impl Into<String>,
        options: &SearchOptions,
    ) -> Result<Vec<SearchMatch>> {
        Ok(eval::directory_search(&self.0, pattern.into(), Some(&options.0)).await?)
    }

    /// Digest of names, types, modes, owners and bytes; the same on every machine.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("digest", "b3:0").plan(async {
    /// let digest = host::directory("site").digest().await?;
    /// # assert_eq!(digest, "b3:0");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn digest(&self) -> Result<String> {
        Ok(eval::directory_digest(&self.0).await?)
    }

    /// Bytes of all its files together.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("size", 4096_u64).plan(async {
    /// let kilobytes = host::directory("dist").size().await? / 1024;
    /// # assert_eq!(kilobytes, 4);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn size(&self) -> Result<u64> {
        Ok(eval::directory_size(&self.0).await?)
    }

    /// Make the directory, read nothing.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// image::pull("rust:1").with_exec(["cargo", "vendor"]).directory("/vendor").sync().await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn sync(&self) -> Result<()> {
        Ok(eval::directory_sync(&self.0).await?)
    }

    /// Write the contents into the directory `path` of the caller's disk, made when missing.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// image::pull("node:22").with_exec(["npm", "run", "build"]).directory("/src/dist").export("dist").await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn export(&self, path: impl Into<String>) -> Result<()> {
        Ok(exports::export_directory(&self.0, path.into()).await?)
    }
}
