//! Builds modules: from Rust source to one component that carries its own documentation.
//!
//! Only the working tree's own module is built here, with the trust that `cargo build` has. Nothing is loaded or run.

mod cargo;
mod error;
mod fresh;
mod manifest;
mod sections;
mod vendor;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use wharf_digest::Digest;

pub use error::BuildError;
use error::Result;
pub use manifest::{Manifest, ModuleTable, manifest_schema};

/// A built module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The component.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Whether it was there already and nothing was compiled.
    pub fresh: bool,
}

/// Where the component of the module in this directory lies once it is built.
pub fn built_component(directory: &Path) -> PathBuf {
    directory.join(".wharf").join("module.wasm")
}

/// Builds the module in this directory when its sources have changed; `on_output` gets each line that cargo prints, as it
/// comes. A file is taken for a component and passed through.
pub fn build(path: &Path, on_output: &dyn Fn(&str)) -> Result<Built, BuildError> {
    if path.is_file() {
        let bytes = fs::read(path).map_err(BuildError::io("read", path))?;
        return Ok(Built {
            path: path.to_owned(),
            digest: Digest::of(&bytes),
            fresh: true,
        });
    }
    let directory = fs::canonicalize(path).map_err(BuildError::io("open", path))?;
    let manifest = Manifest::load(&directory)?;
    let output = directory.join(".wharf");
    let component = built_component(&directory);
    let record = output.join("module.json");
    if let Some(digest) = fresh::check(&record, &component) {
        return Ok(Built {
            path: component,
            digest,
            fresh: true,
        });
    }
    if carries_sdk(&directory) {
        wharf_scaffold::ensure_sdk(&directory)?;
    }
    let artifact = cargo::compile(&directory, &output.join("target"), on_output)?;
    let compiled = fs::read(&artifact.wasm).map_err(BuildError::io("read", &artifact.wasm))?;
    let bytes = sections::append(&compiled, &manifest)?;
    write_atomically(&component, &bytes)?;
    let digest = Digest::of(&bytes);
    fresh::record(&record, &component, &directory, &artifact.sources, digest)?;
    Ok(Built {
        path: component,
        digest,
        fresh: false,
    })
}

/// Whether the module's SDK is the one that this program carries: its Cargo.toml names it at the place where that is put.
fn carries_sdk(directory: &Path) -> bool {
    let Ok(text) = fs::read_to_string(directory.join("Cargo.toml")) else {
        return false;
    };
    let package: toml::Table = text.parse().unwrap_or_default();
    let path = package
        .get("dependencies")
        .and_then(|dependencies| dependencies.get("wharf-sdk")?.get("path")?.as_str());
    path.is_some_and(|path| Path::new(path).starts_with(wharf_scaffold::SDK))
}

/// Writes a file so that nobody ever sees half of it.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(BuildError::io("write", path))?;
    file.write_all(bytes).map_err(BuildError::io("write", path))?;
    file.persist(path)
        .map_err(|error| BuildError::io("write", path)(error.error))?;
    Ok(())
}
