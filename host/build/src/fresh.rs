//! Whether anything has changed since the last build, by facts about files: cargo with nothing to do costs 50 ms, this
//! costs one.
//!
//! What went into a build is what the compiler says it has read, each package's manifest, the lock, and the files that
//! choose the toolchain. A file counts as the same while its size, time of change and inode are.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use wharf_digest::Digest;
use wharf_platform::file::Facts;

use crate::{BuildError, error::Result, write_atomically};

/// What decides about a build besides files.
const VARIABLES: [&str; 3] = ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC"];

#[derive(Serialize, Deserialize)]
struct Record {
    /// The versions of this crate and of the SDK that it carries: others may build otherwise.
    builder: String,
    variables: Vec<Option<String>>,
    digest: Digest,
    inputs: Vec<(PathBuf, Option<Facts>)>,
}

/// Facts about a file that change when it is written.
fn facts(path: &Path) -> Option<Facts> {
    fs::metadata(path).ok().as_ref().map(Facts::of)
}

/// The digest of the component when it is what a build would make.
pub(crate) fn check(record: &Path, component: &Path) -> Option<Digest> {
    let record: Record = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
    let same = record.builder == builder()
        && record.variables == variables()
        && record.inputs.iter().any(|(path, _)| path == component)
        && record.inputs.iter().all(|(path, then)| facts(path) == *then);
    same.then_some(record.digest)
}

/// Notes what went into the component.
pub(crate) fn record(
    record: &Path,
    component: &Path,
    directory: &Path,
    sources: &[PathBuf],
    digest: Digest,
) -> Result<()> {
    let mut paths: BTreeSet<PathBuf> = sources.iter().cloned().collect();
    paths.insert(component.to_owned());
    for name in ["wharf.toml", "Cargo.toml", "Cargo.lock"] {
        paths.insert(directory.join(name));
    }
    for above in directory.ancestors() {
        for name in [
            "rust-toolchain.toml",
            "rust-toolchain",
            ".cargo/config.toml",
            ".cargo/config",
        ] {
            paths.insert(above.join(name));
        }
    }
    paths.extend(sources.iter().filter_map(|source| manifest_of(source)));
    let inputs = paths.into_iter().map(|path| {
        let facts = facts(&path);
        (path, facts)
    });
    let entry = Record {
        builder: builder(),
        variables: variables(),
        digest,
        inputs: inputs.collect(),
    };
    let bytes = serde_json::to_vec(&entry).map_err(|error| BuildError::Component(error.to_string()))?;
    write_atomically(record, &bytes)
}

/// The manifest of the package that a source belongs to.
fn manifest_of(source: &Path) -> Option<PathBuf> {
    source
        .ancestors()
        .skip(1)
        .map(|above| above.join("Cargo.toml"))
        .find(|manifest| manifest.is_file())
}

fn builder() -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), wharf_scaffold::SDK_DIGEST)
}

fn variables() -> Vec<Option<String>> {
    VARIABLES.iter().map(|name| env::var(name).ok()).collect()
}
