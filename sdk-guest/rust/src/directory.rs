//! A directory tree as a value, with its builders and reads.

use crate::bindings::wharf::pipeline::{eval, exports, filesystem as raw};
use crate::{Changeset, File, Result, SearchMatch, SearchOptions, Stat, text::owned};

/// What of a directory is taken, and how it arrives. All settings are optional.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// fn sources(project: &Directory) -> Directory {
///     let options = CopyOptions::new().include(["src/**", "Cargo.*"]).exclude(["**/*.bak"]);
///     project.filter(&options)
/// }
/// ```
#[derive(Debug)]
pub struct CopyOptions(pub(crate) raw::CopyOptions);

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CopyOptions {
    /// Take everything, keep mode and owner.
    pub fn new() -> Self {
        Self(raw::CopyOptions::new())
    }

    /// Take only what matches one of these patterns (gitignore syntax with `**`; a leading `!` takes out again).
    #[must_use]
    pub fn include(self, patterns: impl IntoIterator<Item: Into<String>>) -> Self {
        self.0.set_include(&owned(patterns));
        self
    }

    /// Leave out what matches one of these patterns, after `include`.
    #[must_use]
    pub fn exclude(self, patterns: impl IntoIterator<Item: Into<String>>) -> Self {
        self.0.set_exclude(&owned(patterns));
        self
    }

    /// Leave out what the tree's own .gitignore files leave out. Default: false, except for the host's directories.
    #[must_use]
    pub fn gitignore(self, enabled: bool) -> Self {
        self.0.set_gitignore(enabled);
        self
    }

    /// Owner and group of what arrives: `user`, `user:group`, names or numbers. Default: as in the source.
    #[must_use]
    pub fn owner(self, owner: impl AsRef<str>) -> Self {
        self.0.set_owner(owner.as_ref());
        self
    }

    /// Permission bits of files that arrive, such as 0o644. Default: as in the source.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.0.set_mode(mode);
        self
    }
}

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
    pub fn new() -> Self {
        Self(raw::Directory::new())
    }

    /// The subdirectory at `path` as a tree of its own.
    #[must_use]
    pub fn directory(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.subdirectory(path.as_ref()))
    }

    /// The file at `path`.
    pub fn file(&self, path: impl AsRef<str>) -> File {
        self.0.file(path.as_ref()).into()
    }

    /// Put the contents of `source` under `path`, made when missing, over what is there.
    #[must_use]
    pub fn with_directory(&self, path: impl AsRef<str>, source: &Directory) -> Self {
        Self(self.0.with_directory(path.as_ref(), &source.0, None))
    }

    /// As [`with_directory`](Self::with_directory), taking what the options let through.
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
    #[must_use]
    pub fn with_file(&self, path: impl AsRef<str>, source: &File) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, None))
    }

    /// As [`with_file`](Self::with_file), with owner and mode from the options.
    #[must_use]
    pub fn with_file_opts(&self, path: impl AsRef<str>, source: &File, options: &CopyOptions) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, Some(&options.0)))
    }

    /// Put several files into the directory `path`, each under its own name.
    #[must_use]
    pub fn with_files<'a>(&self, path: impl AsRef<str>, sources: impl IntoIterator<Item = &'a File>) -> Self {
        let sources: Vec<_> = sources.into_iter().map(|file| &file.0).collect();
        Self(self.0.with_files(path.as_ref(), &sources, None))
    }

    /// Write a file with this text, mode 0o644.
    #[must_use]
    pub fn with_new_file(&self, path: impl AsRef<str>, contents: impl AsRef<str>) -> Self {
        Self(self.0.with_new_file(path.as_ref(), contents.as_ref(), None))
    }

    /// Write a file with this text and mode.
    #[must_use]
    pub fn with_new_file_mode(&self, path: impl AsRef<str>, contents: impl AsRef<str>, mode: u32) -> Self {
        Self(self.0.with_new_file(path.as_ref(), contents.as_ref(), Some(mode)))
    }

    /// Make a directory and its parents. Mode 0o755 unless given.
    #[must_use]
    pub fn with_new_directory(&self, path: impl AsRef<str>, mode: Option<u32>) -> Self {
        Self(self.0.with_new_directory(path.as_ref(), mode))
    }

    /// Make a symbolic link at `path` that points to `target`, which need not exist.
    #[must_use]
    pub fn with_symlink(&self, target: impl AsRef<str>, path: impl AsRef<str>) -> Self {
        Self(self.0.with_symlink(target.as_ref(), path.as_ref()))
    }

    /// Remove the directory at `path` with all below it; what is not there is no error.
    #[must_use]
    pub fn without_directory(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_directory(path.as_ref()))
    }

    /// Remove the file at `path`; what is not there is no error.
    #[must_use]
    pub fn without_file(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_file(path.as_ref()))
    }

    /// Remove several files.
    #[must_use]
    pub fn without_files(&self, paths: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.without_files(&owned(paths)))
    }

    /// Keep only what the options' include, exclude and gitignore let through.
    #[must_use]
    pub fn filter(&self, options: &CopyOptions) -> Self {
        Self(self.0.filter(&options.0))
    }

    /// What `other` has that this directory has not, or has otherwise; removals are not part of it.
    #[must_use]
    pub fn diff(&self, other: &Directory) -> Self {
        Self(self.0.diff(&other.0))
    }

    /// Apply changes: what they add and modify is laid over this directory, what they remove is removed.
    #[must_use]
    pub fn with_changes(&self, changes: &Changeset) -> Self {
        Self(self.0.with_changes(&changes.0))
    }

    /// The changes that lead from this directory to `after`.
    pub fn changes_to(&self, after: &Directory) -> Changeset {
        Changeset::new(self, after)
    }

    /// Apply a unified diff, of git or of diff(1), whose paths are relative to this directory; git's prefixes `a/` and `b/`
    /// are taken off. A hunk that does not fit is an error that names the file, once the result is read.
    ///
    /// ```no_run
    /// # use wharf_sdk::prelude::*;
    /// # async fn example(source: Directory) -> Result<String> {
    /// let patch = source.file("debian/patches/fix.patch").contents().await?;
    /// source.with_patch(patch).file("src/main.c").contents().await
    /// # }
    /// ```
    #[must_use]
    pub fn with_patch(&self, patch: impl AsRef<str>) -> Self {
        Self(self.0.with_patch(patch.as_ref()))
    }

    /// Set owner and group (numbers) of `path` and all below it.
    #[must_use]
    pub fn chown(&self, path: impl AsRef<str>, owner: impl AsRef<str>) -> Self {
        Self(self.0.chown(path.as_ref(), owner.as_ref()))
    }

    /// Set every modification time to this many seconds since 1970; times set so are part of the identity.
    #[must_use]
    pub fn with_timestamps(&self, seconds: u64) -> Self {
        Self(self.0.with_timestamps(seconds))
    }

    /// Names of the entries at `path`, sorted, directories with a `/` behind.
    pub async fn entries(&self, path: impl Into<String>) -> Result<Vec<String>> {
        Ok(eval::entries(&self.0, path.into()).await?)
    }

    /// Paths below the directory that match a pattern with `*`, `**` and `?`, sorted.
    pub async fn glob(&self, pattern: impl Into<String>) -> Result<Vec<String>> {
        Ok(eval::glob(&self.0, pattern.into()).await?)
    }

    /// Does the path exist in the directory?
    pub async fn exists(&self, path: impl Into<String>) -> Result<bool> {
        Ok(eval::directory_exists(&self.0, path.into()).await?)
    }

    /// Facts about a path; symbolic links are followed inside the root.
    pub async fn stat(&self, path: impl Into<String>) -> Result<Stat> {
        Ok(eval::directory_stat(&self.0, path.into()).await?)
    }

    /// The nearest path of this name in the directory `start` or above it; none when there is none.
    pub async fn find_up(&self, name: impl Into<String>, start: impl Into<String>) -> Result<Option<String>> {
        Ok(eval::directory_find_up(&self.0, name.into(), start.into()).await?)
    }

    /// Lines of its files that match a regular expression, by path and line. Files that are not text are passed over.
    ///
    /// ```no_run
    /// # use wharf_sdk::prelude::*;
    /// # async fn example(source: Directory) -> Result<()> {
    /// for found in source.search(r"TODO|FIXME").await? {
    ///     log::warn(format!("{}:{}: {}", found.path, found.line, found.text));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn search(&self, pattern: impl Into<String>) -> Result<Vec<SearchMatch>> {
        Ok(eval::directory_search(&self.0, pattern.into(), None).await?)
    }

    /// As [`search`](Self::search), with options.
    pub async fn search_opts(
        &self,
        pattern: impl Into<String>,
        options: &SearchOptions,
    ) -> Result<Vec<SearchMatch>> {
        Ok(eval::directory_search(&self.0, pattern.into(), Some(&options.0)).await?)
    }

    /// Digest of names, types, modes, owners and bytes; the same on every machine.
    pub async fn digest(&self) -> Result<String> {
        Ok(eval::directory_digest(&self.0).await?)
    }

    /// Bytes of all its files together.
    pub async fn size(&self) -> Result<u64> {
        Ok(eval::directory_size(&self.0).await?)
    }

    /// Make the directory, read nothing.
    pub async fn sync(&self) -> Result<()> {
        Ok(eval::directory_sync(&self.0).await?)
    }

    /// Write the contents into the directory `path` of the caller's disk, made when missing.
    pub async fn export(&self, path: impl Into<String>) -> Result<()> {
        Ok(exports::export_directory(&self.0, path.into()).await?)
    }
}
