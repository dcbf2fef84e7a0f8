//! Builds modules: from Rust source to one component that carries its own documentation.
//!
//! Only the working tree's own modules are built here, with the trust that `cargo build` has: the one that is asked for, and
//! those that it depends on by path. Modules in git repositories are built elsewhere ([`Foreign`]). Nothing is loaded or run.

mod bindings;
mod cargo;
mod compose;
mod error;
mod foreign;
mod fresh;
mod package;
mod sections;
mod shared;
mod vendor;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use wharf_digest::Digest;
use wharf_manifest::Manifest;

pub use compose::{Composed, Finder, Found, Wanted, Workshop, compose, compose_found};
pub use error::BuildError;
use error::Result;
pub use foreign::{Foreign, Recipe};

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

/// Builds the module in this directory when its sources have changed.
fn build_one(directory: &Path, manifest: &Manifest, workshop: &Workshop<'_>) -> Result<Built> {
    let output = directory.join(".wharf");
    let component = built_component(directory);
    let record = output.join("module.json");
    if let Some(digest) = fresh::check(&record, &component) {
        return Ok(Built {
            path: component,
            digest,
            fresh: true,
        });
    }
    let artifact = match &manifest.module.component {
        Some(component) => cargo::Artifact::prebuilt(directory.join(component)),
        None => {
            if carries_sdk(directory) {
                wharf_scaffold::ensure_sdk(directory)?;
            }
            cargo::compile(
                directory,
                &output.join("target"),
                workshop.shared,
                workshop.on_output,
            )?
        }
    };
    let compiled = fs::read(&artifact.wasm).map_err(BuildError::io("read", &artifact.wasm))?;
    let bytes = sections::append(&compiled, manifest, package::facts(directory))?;
    fs::create_dir_all(&output).map_err(BuildError::io("create", &output))?;
    write_atomically(&component, &bytes)?;
    let digest = Digest::of(&bytes);
    fresh::record(&record, &component, directory, &artifact.sources, digest)?;
    Ok(Built {
        path: component,
        digest,
        fresh: false,
    })
}

/// The manifest of the module in this directory, which is checked to be one.
pub fn manifest(directory: &Path) -> Result<Manifest, BuildError> {
    let path = directory.join("wharf.toml");
    if !path.is_file() {
        return Err(BuildError::NotAModule(directory.to_owned()));
    }
    let text = fs::read_to_string(&path).map_err(BuildError::io("read", &path))?;
    let manifest = Manifest::parse(&text).map_err(|message| BuildError::Manifest { path, message })?;
    if manifest.module.component.is_none() && !directory.join("Cargo.toml").is_file() {
        return Err(BuildError::NoCargoManifest(directory.to_owned()));
    }
    Ok(manifest)
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
