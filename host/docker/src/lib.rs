//! Runs the engine in one container of a Docker daemon, here or elsewhere, started through the Docker API.
//!
//! The container's image is made of the running program and the shared libraries it has loaded, so that engine and client
//! are always the same build. Images go to and come from the same daemon. Its store is a named volume that outlives it; its socket lies in a directory of the host
//! that is mounted into it, where that can be, and is reached by a process in the container otherwise. What the engine says and does is `wharf-engine`'s; what speaks to it is `wharf-client`'s.

mod address;
mod container;
mod daemon;
mod elf;
mod error;
mod git;
mod gpus;
mod image;
mod images;
#[cfg_attr(not(unix), path = "no_ssh.rs")]
mod ssh;
#[cfg(unix)]
mod steps;
mod stream;

pub use address::{Address, Located, Tls};
pub use container::{Found, RIGHTS_MARK, STEP_SOCKET, find, logs, ready, remove_store, start, stop};
pub use daemon::{Daemon, reach, reach_at};
pub use error::DockerError;
pub use gpus::GpuDriver;
pub use image::{OwnProgram, own_program};
pub use images::{load, save};
#[cfg(unix)]
pub use steps::{StepContainer, StepDaemon, StepPlan, StepVolume};
pub use stream::{Stream, dial};

use std::path::PathBuf;

use wharf_platform::file::Facts;

/// What the engine's container is made of.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// The daemon, as in `DOCKER_HOST`; where the user's context or the usual socket leads when there is none.
    pub host: Option<String>,
    /// This program.
    pub program: PathBuf,
    /// The host's directory for the engine's socket.
    pub run: PathBuf,
    /// Tells this engine from others of the same daemon.
    pub name: String,
    /// Arguments of `wharf engine serve`, beside the socket and the store.
    pub args: Vec<String>,
    /// Certificates that registries and steps with network trust.
    pub ca_bundle: Option<PathBuf>,
    /// Give the container the host's GPUs, when it has any.
    pub gpus: bool,
    /// Who makes the containers of steps.
    pub steps: Steps,
}

/// Who makes the containers of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// The engine, within its own.
    InEngine,
    /// The daemon, one for each step: the engine needs no rights of its own.
    InDocker,
}

impl DockerOptions {
    /// The container's name.
    pub fn container(&self) -> String {
        format!("wharf-engine-{}", self.name)
    }

    /// The volume's name: it holds what the engine remembers.
    pub fn volume(&self) -> String {
        match self.steps {
            Steps::InEngine => format!("wharf-store-{}", self.name),
            // What an engine without rights cannot read and write in the other is kept otherwise in this one.
            Steps::InDocker => format!("wharf-steps-{}", self.name),
        }
    }

    /// Is the engine reached through its daemon, as no directory of this host can be mounted?
    pub fn is_streamed(&self) -> Result<bool, DockerError> {
        Ok(!Located::find(self.host.as_deref())?.shares_files())
    }

    /// The engine's socket on the host, where a directory can be mounted.
    pub fn socket(&self) -> PathBuf {
        self.run.join("engine.sock")
    }

    /// All that a running engine has to have been started with, in a text that is compared.
    pub fn settings(&self) -> Result<String, DockerError> {
        let facts = |path: &PathBuf| {
            let metadata = std::fs::metadata(path);
            metadata
                .map(|metadata| Facts::of(&metadata))
                .map_err(|source| DockerError::io("look at", path, source))
        };
        let program = facts(&self.program)?;
        let mut settings = vec![
            format!(
                "program {} {} {}",
                self.program.display(),
                program.size,
                program.modified
            ),
            format!("inode {}", program.inode),
        ];
        if let Some(bundle) = &self.ca_bundle {
            let facts = facts(bundle)?;
            settings.push(format!("certificates {} {}", bundle.display(), facts.modified));
        }
        if self.gpus {
            settings.push("with GPUs".to_owned());
        }
        settings.extend(self.args.iter().cloned());
        Ok(settings.join("\n"))
    }
}
