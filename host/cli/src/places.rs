//! Where Wharf keeps its files.

use std::path::{Path, PathBuf};

use wharf_digest::Digest;

use crate::error::Report;

/// A socket's path has to fit into the kernel's 108 bytes, the draft's name under which it is bound first included.
const SOCKET_PATH_LIMIT: usize = 100;

/// The kernel's number for file systems in memory.
#[cfg(target_os = "linux")]
const TMPFS: u64 = 0x0102_1994;

/// The directories of one user, or of one `WHARF_HOME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// What can be made again: precompiled modules, digests of files.
    pub(crate) cache: PathBuf,
    /// What modules depend on, compiled once for all of them.
    pub(crate) builds: PathBuf,
    /// Logs, and records of runs.
    pub(crate) state: PathBuf,
    /// The engine's socket.
    pub(crate) run: PathBuf,
    /// What an engine on this host remembers.
    pub(crate) store: PathBuf,
    /// What the user has set: which registry has which modules.
    pub(crate) config: PathBuf,
    /// What the user has set for wkg: the same, of which Wharf knows, too.
    pub(crate) wkg_config: Option<PathBuf>,
}

impl Places {
    /// As the environment says.
    pub(crate) fn find() -> Result<Self, Report> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let user = wharf_platform::process::user();
        let places = Self::from_variables(variable, std::env::home_dir(), user)?;
        if places.socket().as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(Report::usage(format!(
                "the engine's socket would be {}, which is longer than a socket's name can be",
                places.socket().display()
            ))
            .with_hint("set WHARF_HOME to a shorter directory"));
        }
        Ok(places)
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<PathBuf>,
        home: Option<PathBuf>,
        user: Option<u32>,
    ) -> Result<Self, Report> {
        let mut places = if let Some(base) = variable("WHARF_HOME") {
            let base =
                std::path::absolute(base).map_err(|error| Report::usage(format!("WHARF_HOME: {error}")))?;
            Self {
                cache: base.join("cache"),
                builds: base.join("cache/builds"),
                state: base.join("state"),
                run: base.join("run"),
                store: base.join("store"),
                config: base.join("config"),
                wkg_config: None,
            }
        } else {
            let home = home.ok_or_else(|| {
                Report::usage("neither WHARF_HOME nor HOME says where files can be kept")
                    .with_hint("set WHARF_HOME")
            })?;
            let xdg = |name: &str, usual: &str| {
                variable(name)
                    .filter(|path| path.is_absolute())
                    .unwrap_or_else(|| home.join(usual))
                    .join("wharf")
            };
            let state = xdg("XDG_STATE_HOME", ".local/state");
            let run = match variable("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()) {
                Some(directory) => directory.join("wharf"),
                None if user == Some(0) => PathBuf::from("/run/wharf"),
                None => state.join("run"),
            };
            let config = xdg("XDG_CONFIG_HOME", ".config");
            let cache = xdg("XDG_CACHE_HOME", ".cache");
            Self {
                builds: cache.join("builds"),
                cache,
                run,
                wkg_config: Some(config.with_file_name("wasm-pkg").join("config.toml")),
                config,
                store: xdg("XDG_DATA_HOME", ".local/share").join("store"),
                state,
            }
        };
        for (name, place) in [
            ("WHARF_STORE", &mut places.store),
            ("WHARF_BUILDS", &mut places.builds),
        ] {
            if let Some(path) = variable(name) {
                *place =
                    std::path::absolute(path).map_err(|error| Report::usage(format!("{name}: {error}")))?;
            }
        }
        Ok(places)
    }

    /// The socket of the engine on this host.
    pub(crate) fn socket(&self) -> PathBuf {
        wharf_client::local_socket(&self.run)
    }

    /// The records of runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// The file that says what an hour costs.
    pub(crate) fn prices(&self) -> PathBuf {
        self.config.join("prices.toml")
    }

    /// The file that names engines.
    pub(crate) fn targets(&self) -> PathBuf {
        self.config.join("targets.toml")
    }

    /// What a client shows to engines of other machines.
    pub(crate) fn client_certificates(&self) -> PathBuf {
        self.config.join("certs")
    }

    /// What an engine shows to clients of other machines, and the authority of both.
    pub(crate) fn engine_certificates(&self) -> PathBuf {
        self.config.join("engine-certs")
    }

    /// Files that say which registry has which modules, the later over the earlier.
    pub(crate) fn registries(&self) -> Vec<PathBuf> {
        let own = self.config.join("registries.toml");
        self.wkg_config.iter().cloned().chain([own]).collect()
    }

    /// Files that say whose signature a module needs: an operator's and the user's.
    pub(crate) fn policies(&self) -> [PathBuf; 2] {
        [
            PathBuf::from("/etc/wharf/policy.toml"),
            self.config.join("policy.toml"),
        ]
    }

    /// The log of the engine on this host.
    pub(crate) fn engine_log(&self) -> PathBuf {
        self.state.join("engine.log")
    }
}

/// A short name for a store, the same on each start: control groups and the runner's directory have it.
pub(crate) fn name_of_store(store: &Path) -> String {
    format!(
        "wharf-{}",
        &Digest::of(store.as_os_str().as_encoded_bytes()).to_hex()[..12]
    )
}

/// A directory for the runner's short-lived files, in memory where there is memory to be had: secrets lie in it while a
/// step uses them.
#[cfg(target_os = "linux")]
pub(crate) fn runner_state(store: &Path, run: &Path) -> PathBuf {
    let is_memory = |path: &&Path| {
        rustix::fs::statfs(*path).is_ok_and(|facts| facts.f_type as u64 == TMPFS)
            && rustix::fs::access(*path, rustix::fs::Access::WRITE_OK).is_ok()
    };
    let memory = [Path::new("/run"), Path::new("/dev/shm")]
        .into_iter()
        .find(is_memory);
    memory
        .unwrap_or(run)
        .join(format!("{}-runner", name_of_store(store)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)], user: u32) -> Places {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| PathBuf::from(value))
        };
        Places::from_variables(variable, Some(PathBuf::from("/home/me")), Some(user)).unwrap()
    }

    #[test]
    fn a_home_of_its_own_holds_everything() {
        let places = places(&[("WHARF_HOME", "/w"), ("XDG_RUNTIME_DIR", "/run/user/1")], 1);
        assert_eq!(places.socket(), Path::new("/w/run/engine.sock"));
        assert_eq!(places.store, Path::new("/w/store"));
        assert_eq!(places.builds, Path::new("/w/cache/builds"));
    }

    #[test]
    fn the_usual_places_otherwise() {
        let places = places(
            &[
                ("XDG_RUNTIME_DIR", "/run/user/1"),
                ("WHARF_STORE", "/big/store"),
                ("WHARF_BUILDS", "/big/builds"),
            ],
            1,
        );
        assert_eq!(places.run, Path::new("/run/user/1/wharf"));
        assert_eq!(places.cache, Path::new("/home/me/.cache/wharf"));
        assert_eq!(places.store, Path::new("/big/store"));
        assert_eq!(places.builds, Path::new("/big/builds"));
        assert_eq!(
            places.registries(),
            [
                "/home/me/.config/wasm-pkg/config.toml",
                "/home/me/.config/wharf/registries.toml"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn names_of_stores_differ() {
        assert_ne!(name_of_store(Path::new("/a")), name_of_store(Path::new("/b")));
    }
}
