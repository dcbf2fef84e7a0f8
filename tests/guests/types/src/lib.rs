//! Functions whose parameters and results are types of their own, defined in other files, with handles inside.

mod report;

/// What the tests of types call.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use crate::report::{Job, Level, Origin, Report};

    /// Says what came.
    pub fn describe(
        /// The job.
        job: Option<Job>,
        /// How hard to try.
        #[default(Level::VerySlow)]
        level: Level,
        /// Where from.
        origins: Vec<Origin>,
        pairs: Vec<(Level, u8)>,
    ) -> String {
        format!("{job:?} {level:?} {origins:?} {pairs:?}")
    }

    /// Runs the job: its text is written into a file of the directory that the report holds.
    pub async fn work(
        /// The job.
        job: Job,
    ) -> Result<Report> {
        job.work().await
    }

    /// What is written in what somebody else's report holds.
    pub async fn open(
        /// The report.
        report: Report,
    ) -> Result<Vec<String>> {
        report.open().await
    }

    /// Where something comes from, as it came.
    pub fn origin(origin: Origin) -> Option<Origin> {
        Some(origin)
    }

    /// The module's own note.
    #[check]
    pub async fn note(
        /// Where it lies.
        #[default_path("data")]
        data: Directory,
    ) -> Result<String> {
        data.file("note.txt").contents().await
    }
}
