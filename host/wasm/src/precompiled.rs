//! Compiled code, kept between runs in a private directory under the component's digest and the compiler's own version.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use wasmtime::{Engine, component::Component};
use wharf_digest::Digest;
use wharf_platform::file;

use crate::outline::Outline;

/// The ending of files with what is known of a component. It changes with what they hold.
const OUTLINE: &str = "outline-1";
/// Tells the drafts of one process apart.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// Where compiled code is kept.
#[derive(Clone, Debug)]
pub(crate) struct Precompiled {
    directory: PathBuf,
}

impl Precompiled {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// The component of this digest, when its code is kept.
    pub(crate) fn find(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        if !file::is_private_directory(&self.directory) || !path.exists() {
            return None;
        }
        load(engine, &path).ok()
    }

    /// Compiles the component of these bytes, and keeps its code.
    pub(crate) fn make(&self, engine: &Engine, bytes: &[u8], digest: Digest) -> wasmtime::Result<Component> {
        let code = engine.precompile_component(bytes)?;
        let path = self.path(engine, digest);
        match self.keep(&code, &path) {
            Ok(()) => load(engine, &path),
            Err(error) => {
                tracing::debug!("compiled code is not kept: {error}");
                load_bytes(engine, &code)
            }
        }
    }

    /// What is known of the component of this digest without its code.
    pub(crate) fn outline(&self, engine: &Engine, digest: Digest) -> Option<Outline> {
        if !file::is_private_directory(&self.directory) {
            return None;
        }
        let text = std::fs::read(self.path(engine, digest).with_extension(OUTLINE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps what is known of it.
    pub(crate) fn keep_outline(&self, engine: &Engine, digest: Digest, outline: &Outline) {
        let path = self.path(engine, digest).with_extension(OUTLINE);
        let text = serde_json::to_vec(outline).map_err(std::io::Error::from);
        if let Err(error) = text.and_then(|text| self.keep(&text, &path)) {
            tracing::debug!("what a module has is not kept: {error}");
        }
    }

    fn path(&self, engine: &Engine, digest: Digest) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let name = format!("{}-{:016x}.cwasm", digest.to_hex(), hasher.finish());
        self.directory.join(name)
    }

    fn keep(&self, data: &[u8], path: &Path) -> std::io::Result<()> {
        file::create_private_directory(&self.directory)?;
        // Several threads may have the same component to keep.
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = path.with_extension(format!("{}-{number}.new", std::process::id()));
        std::fs::write(&draft, data)?;
        std::fs::rename(&draft, path)
    }
}

#[allow(unsafe_code)]
fn load(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by this function's counterpart in a directory that only this user can write to, under
    // the compiler's own compatibility hash, which wasmtime checks once more.
    unsafe { Component::deserialize_file(engine, path) }
}

#[allow(unsafe_code)]
fn load_bytes(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the compiler has just made it.
    unsafe { Component::deserialize(engine, code) }
}
