//! What loading and calling a module fails with.

use std::path::PathBuf;

/// Why a module could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("the module {} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is another one than a moment ago.
    #[error("the module {} changed while it was loaded: run again", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// It is no component.
    #[error("{name} is not a Wharf module: {why}")]
    NotAModule {
        /// The file.
        name: String,
        /// What it is instead.
        why: String,
    },
    /// It imports what no host has.
    #[error(
        "{name} imports {import}, which this host does not have: it was built for another host or a newer Wharf"
    )]
    UnknownImport {
        /// The module.
        name: String,
        /// The import.
        import: String,
    },
    /// It imports a module that it does not name.
    #[error(
        "{name} imports {import}, and {package} is no dependency of it: [dependencies] of its wharf.toml has to name it, as in \
         \"{package}\" = {{ path = \"../{directory}\" }}", directory = package.rsplit(':').next().unwrap_or(package)
    )]
    NoDependency {
        /// The module.
        name: String,
        /// The import.
        import: String,
        /// The module that it would come from.
        package: String,
    },
    /// A module that it calls is not the one that it was built for.
    #[error("{name} cannot call {import}: {what}")]
    Unfit {
        /// The module.
        name: String,
        /// The import.
        import: String,
        /// What does not fit.
        what: String,
    },
    /// The component runtime itself.
    #[error("the component runtime cannot be started: {0}")]
    Runtime(String),
}

/// Why a call did not return a value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such function.
    #[error("{module} has no function {function}")]
    NoFunction {
        /// The module.
        module: String,
        /// The function.
        function: String,
    },
    /// The function returned an error of the pipeline.
    #[error(transparent)]
    Failed(#[from] wharf_graph::Error),
    /// The function returned an error in words of its own.
    #[error("{0}")]
    Message(String),
    /// The module broke.
    #[error("{function} of {module} {what}")]
    Trap {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// What happened.
        what: String,
    },
    /// Its code, which is loaded when it is first called, could not be.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An argument does not fit.
    #[error("{0}")]
    Argument(String),
}
