//! Calls a module of the shelf.

/// Tests by way of wharf:python.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use super::wharf_python as python;

    /// Tests a project.
    pub async fn test(
        /// The project.
        source: Directory,
        /// An image with Python.
        image: String,
    ) -> Result<String> {
        python::test(&source, image::pull(image), Vec::new(), Vec::new(), Vec::new()).await
    }
}
