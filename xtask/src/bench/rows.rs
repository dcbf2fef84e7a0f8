//! The rows of the table, by family.

mod fetched;
mod handover;
mod images;
mod modules;
mod places;
mod published;
mod remembered;
mod steps;
mod uploads;

use super::Bench;
use super::figures::{Budget, Outcome, Unit};
use crate::shell::Failure;

/// One row: what is measured, in what, and what it should not exceed.
pub(super) struct Row {
    /// As `--only` takes it.
    pub(super) name: &'static str,
    /// As the table has it.
    pub(super) what: &'static str,
    pub(super) unit: Unit,
    pub(super) budget: Budget,
    /// What does the same work beside it; empty when nothing here does.
    pub(super) peer: &'static str,
    pub(super) measure: fn(&Bench<'_>) -> Result<Outcome, Failure>,
}

/// What `docker build` does.
const DOCKER_BUILD: &str = "docker build";

/// Every row, those last that remove many files: for minutes after that the file system makes new ones more slowly.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    [
        // First: where many files were removed, ext4 makes new ones slowly for minutes, and most rows end by removing theirs.
        uploads::ROWS,
        places::ROWS,
        steps::ROWS,
        remembered::ROWS,
        modules::ROWS,
        images::ROWS,
        published::ROWS,
        fetched::ROWS,
        handover::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// The rows' names.
pub(super) fn names() -> Vec<&'static str> {
    all().map(|row| row.name).collect()
}
