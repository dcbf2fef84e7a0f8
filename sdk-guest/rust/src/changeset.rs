//! What leads from one directory to another.

use crate::bindings::wharf::pipeline::{eval, filesystem as raw};
use crate::{DiffStat, Directory, Result};

/// The changes that lead from one directory to another. A function that returns one shows its user a patch.
///
/// ```
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
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let before = host::directory("src");
    /// let after = image::pull("rust:1").with_directory("/src", &before).with_exec(["rustfmt", "/src/lib.rs"]).directory("/src");
    /// let formatted = Changeset::new(&before, &after);
    /// ```
    pub fn new(before: &Directory, after: &Directory) -> Self {
        Self(raw::Changeset::new(&before.0, &after.0))
    }

    /// What there was.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// let untouched = changes.before();
    /// ```
    pub fn before(&self) -> Directory {
        self.0.before().into()
    }

    /// What there is.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// let formatted = changes.after();
    /// ```
    pub fn after(&self) -> Directory {
        self.0.after().into()
    }

    /// Paths that are there only after, sorted, directories with a `/` behind.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("added_paths", ["docs/", "docs/new.md"]).plan(async {
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// for path in changes.added_paths().await? {
    ///     log::info(format!("new: {path}"));
    /// }
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn added_paths(&self) -> Result<Vec<String>> {
        Ok(eval::added_paths(&self.0).await?)
    }

    /// Paths whose content, mode or owner is another, sorted.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("modified_paths", ["src/lib.rs"]).plan(async {
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// let rust = changes.modified_paths().await?.iter().any(|path| path.ends_with(".rs"));
    /// # assert!(rust);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn modified_paths(&self) -> Result<Vec<String>> {
        Ok(eval::modified_paths(&self.0).await?)
    }

    /// Paths that were there only before, sorted.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("removed_paths", ["old.txt"]).plan(async {
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// let removed = changes.removed_paths().await?;
    /// # assert_eq!(removed, ["old.txt"]);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn removed_paths(&self) -> Result<Vec<String>> {
        Ok(eval::removed_paths(&self.0).await?)
    }

    /// Is there no change?
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("is_empty", false).plan(async {
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// if !changes.is_empty().await? {
    ///     log::warn("the sources are not formatted");
    /// }
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(eval::is_empty(&self.0).await?)
    }

    /// Lines that came and went, by file.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("diff_stats", Vec::<wharf_sdk::DiffStat>::new()).plan(async {
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// let lines: u64 = changes.diff_stats().await?.iter().map(|file| file.added_lines).sum();
    /// # assert_eq!(lines, 0);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn diff_stats(&self) -> Result<Vec<DiffStat>> {
        Ok(eval::diff_stats(&self.0).await?)
    }

    /// The changes as a unified diff that [`Directory::with_patch`] and `git apply` take. Files that are not text are named
    /// in it, their bytes are not.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("as_patch", "--- a/x").plan(async {
    /// # let changes = host::directory("src").changes_to(&Directory::new());
    /// let patch = File::new("fix.patch", changes.as_patch().await?);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn as_patch(&self) -> Result<String> {
        Ok(eval::as_patch(&self.0).await?)
    }
}
