//! Where things are: directories, mirrors, certificates.

use std::path::{Path, PathBuf};

/// Directories of this user's Wharf.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Compiled code, digests of files.
    pub(crate) cache: PathBuf,
    /// What is remembered.
    pub(crate) store: PathBuf,
    /// The engine's socket and log.
    pub(crate) run: PathBuf,
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Settings {
    /// From the environment: WHARF_HOME holds everything when it is set, the usual places of the system otherwise.
    pub(crate) fn load() -> Self {
        let home = variable("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let place = |name: &str, fallback: &str, own: &str| match variable("WHARF_HOME") {
            Some(base) => base.join(own),
            None => variable(name).unwrap_or_else(|| home.join(fallback)).join("wharf"),
        };
        let data = place("XDG_DATA_HOME", ".local/share", "data");
        Self {
            cache: place("XDG_CACHE_HOME", ".cache", "cache"),
            store: variable("WHARF_STORE").unwrap_or_else(|| data.join("store")),
            run: match variable("WHARF_HOME") {
                Some(base) => base.join("run"),
                None => variable("XDG_RUNTIME_DIR").unwrap_or_else(|| home.join(".local/state")).join("wharf"),
            },
        }
    }

    /// The engine's log.
    pub(crate) fn engine_log(&self) -> PathBuf {
        self.run.join("engine.log")
    }
}

/// Mirrors from WHARF_REGISTRY_MIRRORS: `docker.io=http://127.0.0.1:5000,…`.
pub(crate) fn mirrors() -> Vec<String> {
    let text = std::env::var("WHARF_REGISTRY_MIRRORS").unwrap_or_default();
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(str::to_owned).collect()
}

/// The host's certificates: what the environment names, or the first of the usual places.
pub(crate) fn host_certificates() -> Option<PathBuf> {
    let usual = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    variable("SSL_CERT_FILE").into_iter().chain(usual.map(PathBuf::from)).find(|path| path.is_file())
}

/// A runtime as it is written: a name is looked for on the search path.
pub(crate) fn runtime_program(name: &str) -> Result<Option<PathBuf>, String> {
    if name == "builtin" {
        return Ok(None);
    }
    if name.contains('/') {
        let path = Path::new(name);
        return if path.is_file() { Ok(Some(path.to_owned())) } else { Err(format!("{name} does not exist")) };
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    found.map(Some).ok_or_else(|| format!("the runtime {name} is not installed: write builtin, or a path"))
}
