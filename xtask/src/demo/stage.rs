//! Where the pipeline runs: a copy of it, a hub and a registry of its own, and secrets of this run.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wharf_testkit::docker::Daemon;
use wharf_testkit::{Hub, Registry, ca, models, ordinary::User, paths, shared};

use super::{emptied, place};
use crate::ordinary;
use crate::shell::{Done, Failure};

/// The model's repository.
pub(super) const REPOSITORY: &str = "sentence-transformers/all-MiniLM-L6-v2";
/// Who may publish.
pub(super) const USER: &str = "ann";

/// The demo's places and settings.
pub(super) struct Stage {
    directory: PathBuf,
    wharf: PathBuf,
    pub(super) hub: Hub,
    registry: Registry,
    variables: Vec<(String, String)>,
    /// Who runs it, when that is another user.
    user: Option<User>,
    /// The Docker daemon that the engine may run in.
    daemon: Option<Daemon>,
}

impl Stage {
    /// Fetches the model, starts the servers and copies the pipeline.
    pub(super) fn set(engine: &str) -> Result<Self, Failure> {
        let is_rootless = engine == shared::ROOTLESS;
        // What root's engine keeps is nothing for that of another user.
        let directory = place().join(if is_rootless { engine } else { "" });
        let engine = if is_rootless { "local" } else { engine };
        let daemon = match engine {
            "auto" => Daemon::existing(),
            "docker" => Some(Daemon::existing_or_start()?),
            _ => None,
        };
        // An engine in a container reaches this machine by another address, and trusts no registry without TLS there.
        let gateway = daemon.as_ref().map(Daemon::gateway).transpose()?;
        let address = gateway.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (token, password) = (secret()?, secret()?);
        models::minilm()?;
        let hub = hub(address, &token).map_err(|error| unreachable(gateway, &error))?;
        let kept = directory.join("registry");
        emptied(&kept)?;
        let registry = match gateway {
            Some(address) => Registry::start_secured_for(&kept, address, USER, &password),
            None => Registry::start_for(&kept, USER, &password),
        }?;
        let module = directory.join("llm-deploy");
        models::copy_pipeline(&module, &address.to_string())?;
        let mut stage = Self {
            user: if is_rootless { ordinary::user()? } else { None },
            wharf: paths::target().join("debug/wharf"),
            hub,
            registry,
            variables: vec![
                (
                    "WHARF_HOME".to_owned(),
                    directory.join("wharf").display().to_string(),
                ),
                ("WHARF_ENGINE".to_owned(), engine.to_owned()),
                ("HF_TOKEN".to_owned(), token),
                ("REGISTRY_PASSWORD".to_owned(), password),
            ],
            directory,
            daemon,
        };
        if let Some(host) = stage.own_daemon() {
            println!("No Docker runs here: one is started for the demo.");
            stage.set_variable("DOCKER_HOST", &host);
        }
        stage.trust()?;
        Ok(stage)
    }

    /// Lets engines trust the registry's certificate beside those that they trust anyway.
    fn trust(&mut self) -> Done {
        let Some(certificate) = self.registry.certificate() else {
            return Ok(());
        };
        let mut bundle = ca::bundle().map(fs::read).transpose()?.unwrap_or_default();
        bundle.push(b'\n');
        bundle.extend(fs::read(certificate)?);
        let file = self.directory.join("trusted.pem");
        fs::write(&file, bundle)?;
        self.set_variable("WHARF_CA_CERT", &file.display().to_string());
        Ok(())
    }

    /// The Docker daemon that the engine may run in.
    pub(super) fn daemon(&self) -> Option<&Daemon> {
        self.daemon.as_ref()
    }

    /// Where the daemon is, when it was started for the demo.
    fn own_daemon(&self) -> Option<String> {
        let own = self.daemon.as_ref().filter(|daemon| daemon.is_own());
        own.map(|daemon| daemon.host().to_owned())
    }

    pub(super) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// A `wharf` command as the demo's person.
    pub(super) fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = ordinary::command(self.user.as_ref(), &self.wharf);
        command
            .args(args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(paths::workspace()).stdin(Stdio::null());
        command
    }

    /// A command about the pipeline.
    pub(super) fn module_command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = self.command(args);
        command.arg("-m").arg(self.shown(&self.module()));
        command
    }

    /// The pipeline.
    pub(super) fn deploy(&self) -> Command {
        let mut command = self.module_command(["call", "--progress", "plain"]);
        let to = format!("{}/search/minilm:1.0.0", self.registry.address());
        command.args(["deploy", "--to", &to]);
        command.args(["--endpoint", &self.hub.url(), "--token", "env:HF_TOKEN"]);
        command.args(["--user", USER, "--password", "env:REGISTRY_PASSWORD"]);
        command
    }

    /// How many blobs the registry was sent so far.
    pub(super) fn uploads(&self) -> usize {
        uploads(&self.registry)
    }

    fn module(&self) -> PathBuf {
        self.directory.join("llm-deploy")
    }

    /// The application that the image answers with.
    pub(super) fn handler(&self) -> PathBuf {
        self.module().join("app/handler.py")
    }

    /// A path as a person in the repository would write it.
    pub(super) fn shown(&self, path: &Path) -> String {
        let shown = path.strip_prefix(paths::workspace()).unwrap_or(path);
        shown.display().to_string()
    }
}

/// A hub with the model for whoever has the token.
pub(super) fn hub(address: IpAddr, token: &str) -> Result<Hub, Failure> {
    let hub = Hub::start_on(address)?;
    hub.commit(REPOSITORY, &["main"], &models::minilm()?)?;
    hub.close(REPOSITORY, token);
    Ok(hub)
}

/// How many blobs a registry was sent so far.
pub(super) fn uploads(registry: &Registry) -> usize {
    let requests = registry.requests().into_iter();
    requests
        .filter(|request| request.method == "POST" && request.status < 400)
        .count()
}

/// A value that no other run has.
pub(super) fn secret() -> Result<String, Failure> {
    let text = fs::read_to_string(Path::new("/proc/sys/kernel/random/uuid"))?;
    Ok(text.trim().replace('-', ""))
}

fn unreachable(gateway: Option<IpAddr>, error: &Failure) -> Failure {
    match gateway {
        Some(address) => format!(
            "the engine would run in Docker, whose containers reach {address}, and this machine cannot serve there: {error}; \
             try --engine local"
        )
        .into(),
        None => error.to_string().into(),
    }
}
