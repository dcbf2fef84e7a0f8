//! What can go wrong when a module is built.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The result of this crate's functions.
pub(crate) type Result<T, E = BuildError> = std::result::Result<T, E>;

/// What can go wrong when a module is built. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No wharf.toml there.
    #[error(
        "{0} is not a module's directory: it has no wharf.toml; `wharf init` writes one, `-m DIR` names another directory"
    )]
    NotAModule(PathBuf),
    /// No Cargo.toml beside wharf.toml.
    #[error("{0} has a wharf.toml and no Cargo.toml: a module of sdk \"rust\" is a cargo package")]
    NoCargoManifest(PathBuf),
    /// wharf.toml cannot be understood.
    #[error("{path}: {message}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// It was not built, and nothing is to be built now.
    #[error("{0} is not built: `wharf build` builds it")]
    NotBuilt(PathBuf),
    /// A dependency is not where the manifest says.
    #[error(
        "`{name}`, which {importer} depends on, is not at {path}: [dependencies] of {manifest} names a module's directory or a component's file"
    )]
    NoDependency {
        /// The dependency.
        name: String,
        /// Who depends on it.
        importer: String,
        /// Where it should be.
        path: PathBuf,
        /// The manifest that says so.
        manifest: PathBuf,
    },
    /// A dependency has another name.
    #[error(
        "{importer} depends on `{name}`, and the module at {path} is called `{found}`: [dependencies] has to name it so"
    )]
    OtherName {
        /// The name in the manifest.
        name: String,
        /// Who depends on it.
        importer: String,
        /// Where it is.
        path: PathBuf,
        /// What it calls itself.
        found: String,
    },
    /// A dependency that this program cannot find by itself.
    #[error("`{name}`, which {importer} depends on, cannot be had: {why}")]
    NotFound {
        /// The dependency.
        name: String,
        /// Who depends on it.
        importer: String,
        /// Why.
        why: String,
    },
    /// A module in a git repository cannot be used.
    #[error("the module of {url} cannot be used: {why}")]
    Foreign {
        /// The repository.
        url: String,
        /// Why.
        why: String,
    },
    /// Modules cannot be composed.
    #[error(transparent)]
    Composition(#[from] wharf_manifest::CompositionError),
    /// No cargo.
    #[error("cargo is needed to build {0}, and is not installed")]
    NoCargo(PathBuf),
    /// The standard library for WebAssembly is missing.
    #[error("Rust's target for WebAssembly is not installed: run `rustup target add wasm32-wasip2`")]
    NoTarget,
    /// cargo has said what.
    #[error("cargo could not build {module}{}", tail(.output))]
    Cargo {
        /// The module's directory.
        module: PathBuf,
        /// The last lines that cargo printed.
        output: String,
    },
    /// cargo has built, and no component came of it.
    #[error("{0} does not build a component: its Cargo.toml needs\n[lib]\ncrate-type = [\"cdylib\"]")]
    NoComponent(PathBuf),
    /// What cargo has built is not a component.
    #[error("what cargo has built is not a component that can be read: {0}")]
    Component(String),
    /// The SDK could not be put beside the module.
    #[error(transparent)]
    Sdk(#[from] wharf_scaffold::ScaffoldError),
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn tail(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(":\n{output}")
    }
}

impl BuildError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
