//! What leads from one directory to another.

use crate::bindings::wharf::pipeline::{eval, filesystem as raw};
use crate::{DiffStat, Directory, Result};

/// The changes that lead from one directory to another. A function that returns one shows its user a patch.
///
/// ```no_run
/// # use wharf_sdk::prelude::*;
/// # async fn example(source: Directory) -> Result<Option<Changeset>> {
/// let image = image::pull("python:3.11-slim").with_directory("/src", &source);
/// let formatted = image.with_exec(["python", "/src/format.py"]).directory("/src");
/// let changes = source.changes_to(&formatted);
/// log::info(format!("{} files are not formatted", changes.modified_paths().await?.len()));
/// # Ok(Some(changes))
/// # }
/// ```
#[derive(Debug)]
pub struct Changeset(pub(crate) raw::Changeset);

impl From<raw::Changeset> for Changeset {
    fn from(changes: raw::Changeset) -> Self {
        Self(changes)
    }
}

impl From<Changeset> for raw::Changeset {
    fn from(changes: Changeset) -> Self {
        changes.0
    }
}

impl Changeset {
    /// The changes that lead from `before` to `after`.
    pub fn new(before: &Directory, after: &Directory) -> Self {
        Self(raw::Changeset::new(&before.0, &after.0))
    }

    /// What there was.
    pub fn before(&self) -> Directory {
        self.0.before().into()
    }

    /// What there is.
    pub fn after(&self) -> Directory {
        self.0.after().into()
    }

    /// Paths that are there only after, sorted, directories with a `/` behind.
    pub async fn added_paths(&self) -> Result<Vec<String>> {
        Ok(eval::added_paths(&self.0).await?)
    }

    /// Paths whose content, mode or owner is another, sorted.
    pub async fn modified_paths(&self) -> Result<Vec<String>> {
        Ok(eval::modified_paths(&self.0).await?)
    }

    /// Paths that were there only before, sorted.
    pub async fn removed_paths(&self) -> Result<Vec<String>> {
        Ok(eval::removed_paths(&self.0).await?)
    }

    /// Is there no change?
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(eval::is_empty(&self.0).await?)
    }

    /// Lines that came and went, by file.
    pub async fn diff_stats(&self) -> Result<Vec<DiffStat>> {
        Ok(eval::diff_stats(&self.0).await?)
    }

    /// The changes as a unified diff that [`Directory::with_patch`] and `git apply` take. Files that are not text are named
    /// in it, their bytes are not.
    pub async fn as_patch(&self) -> Result<String> {
        Ok(eval::as_patch(&self.0).await?)
    }
}
