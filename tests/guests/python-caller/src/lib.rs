//! Calls a module that is written in Python.

/// Calls a module that is written in Python.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use super::foreign_python as python;

    /// What it says of texts, steps and directories.
    pub async fn foreign(
        /// The image in which its steps run.
        image: String,
    ) -> Result<String> {
        let source = Directory::new().with_new_file("hello", "hello");
        let (loud, report, put) = join!(
            python::shout("ahoy".to_owned(), python::Level::High),
            python::both(image.clone()),
            python::put(&source, image.clone()),
        );
        let (loud, report) = (loud?, report?);
        let hello = put?.file("/source/hello").contents().await?;
        Ok(format!("{loud} {:?} {} {hello}", report.lines, report.code))
    }
}
