//! The same pipeline as a shell script, with a Docker daemon, a hub and a registry of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wharf_testkit::docker::Daemon;
use wharf_testkit::{Hub, Registry, ca, paths, process, python};

use super::stage::{self, REPOSITORY, USER};
use super::{emptied, place};
use crate::shell::Failure;

/// The hub's own client, as the script imports it.
const CLIENT: &str = "huggingface_hub==0.36.0";

/// What the script runs with.
pub(super) struct ByHand {
    daemon: Daemon,
    hub: Hub,
    registry: Registry,
    directory: PathBuf,
    path: OsString,
    variables: Vec<(&'static str, String)>,
}

/// One run of the script.
pub(super) struct Beside {
    pub(super) took: Duration,
    /// Bytes of weights that the hub sent, and blobs that the registry was sent.
    pub(super) fetched: u64,
    pub(super) uploads: usize,
}

impl ByHand {
    /// Starts a daemon that remembers nothing, and what the script talks to.
    pub(super) fn new() -> Result<Self, Failure> {
        if Daemon::existing().is_some() {
            return Err(
                "the comparison takes a Docker daemon that remembers nothing: stop the one that runs".into(),
            );
        }
        let directory = place().join("by-hand");
        emptied(&directory)?;
        let daemon = Daemon::start()?;
        let (token, password) = (stage::secret()?, stage::secret()?);
        let hub = stage::hub(IpAddr::V4(Ipv4Addr::LOCALHOST), &token)?;
        let registry = Registry::start_for(&directory.join("registry"), USER, &password)?;
        // The client that builds with BuildKit, and the Python that has the hub's client.
        let docker = daemon.buildkit()?;
        let python = python::with("huggingface-hub", &[CLIENT])?;
        let mut path = OsString::new();
        for program in [python.as_path(), Path::new(docker.get_program())] {
            path.push(program.parent().unwrap_or(Path::new("/")));
            path.push(":");
        }
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let shown = |name: &str| directory.join(name).display().to_string();
        let mut variables = vec![
            ("DOCKER_HOST", daemon.host().to_owned()),
            ("DOCKER_CONFIG", shown("docker")),
            ("HF_ENDPOINT", hub.url()),
            ("HF_HOME", shown("hf")),
            ("HF_HUB_DISABLE_PROGRESS_BARS", "1".to_owned()),
            ("HF_TOKEN", token),
            ("REGISTRY_PASSWORD", password),
            ("REGISTRY_USER", USER.to_owned()),
            ("REPOSITORY", REPOSITORY.to_owned()),
            ("WORK", shown("work")),
        ];
        variables.extend(ca::bundle().map(|bundle| ("CA_BUNDLE", bundle.display().to_string())));
        let app = paths::workspace().join("examples/llm-deploy/app");
        process::run(Command::new("cp").arg("-r").arg(app).arg(&directory))?;
        fs::create_dir_all(directory.join("docker"))?;
        Ok(Self {
            daemon,
            hub,
            registry,
            directory,
            path,
            variables,
        })
    }

    /// Takes the base image from this registry.
    pub(super) fn pull_from(&mut self, mirror: &str) {
        let image = format!("{mirror}/library/python:3.11-slim");
        self.variables.push(("PYTHON", image));
    }

    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The application that the image answers with.
    pub(super) fn handler(&self) -> PathBuf {
        self.directory.join("app/handler.py")
    }

    /// Runs the script and shows what it says.
    pub(super) fn run(&self) -> Result<Beside, Failure> {
        let (fetched, uploads) = (self.hub.sent(), stage::uploads(&self.registry));
        let script = "examples/llm-deploy/by-hand/deploy.sh";
        let to = format!("{}/search/minilm:1.0.0", self.registry.address());
        println!("$ {script} {to} app");
        let mut command = Command::new(paths::workspace().join(script));
        command
            .arg(&to)
            .arg(self.directory.join("app"))
            .env("PATH", &self.path)
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().into_iter();
        for line in stdout.flat_map(|stdout| BufReader::new(stdout).lines()) {
            println!("  {}", line?);
        }
        let status = child.wait()?;
        let took = start.elapsed();
        if !status.success() {
            return Err(format!("{script} failed ({status})").into());
        }
        Ok(Beside {
            took,
            fetched: self.hub.sent() - fetched,
            uploads: stage::uploads(&self.registry) - uploads,
        })
    }
}
