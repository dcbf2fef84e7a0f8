//! Steps as containers of the Docker daemon whose container the engine is: for daemons that refuse the engine what it needs to make
//! containers itself.
//!
//! A step's root is an image of the store's own layers (see [`images`]); its first process is this program, which runs the step and
//! says what it has changed (see `wharf-inside`). What this cannot do is refused, never done by half.

mod caches;
mod images;
mod talk;

use std::{
    collections::HashMap,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use oci_spec::runtime::Spec;
use tokio_util::sync::CancellationToken;
use wharf_docker::{DockerError, StepDaemon, StepPlan, StepVolume};
use wharf_inside::{HOME, Job, PRIVATE, PlacedFile};
use wharf_runner::{Error, Exit, NetworkMode, Result, Step, StepIo, StepOutcome};

use self::{caches::Caches, images::Images, talk::Content};

/// What an engine needs to run steps as containers of a daemon.
#[derive(Clone, Debug)]
pub struct ContainersConfig {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Tells what is this engine's from what is others'.
    pub name: String,
}

/// How much memory a container may use for files that must not come to lie on a disk.
const PRIVATE_OPTIONS: &str = "mode=711,nosuid,nodev,noexec,size=64m";
/// Threads of a container's first process.
const OWN_THREADS: i64 = 4;
/// What steps cannot have here.
const LACKS: [&str; 4] = [
    "services (steps are containers of Docker)",
    "networks of some hosts alone (steps are containers of Docker)",
    "terminals (steps are containers of Docker)",
    "GPUs (steps are containers of Docker)",
];

/// Runs steps as containers of a daemon.
#[derive(Debug)]
pub(crate) struct Containers {
    daemon: StepDaemon,
    images: Images,
    caches: Caches,
    scratch: PathBuf,
    version: String,
}

/// What a step is to a daemon, and what its first process is sent.
struct Asked {
    plan: StepPlan,
    job: Job,
    /// The contents of the job's files and trees, in their order.
    contents: Vec<Content>,
}

impl Containers {
    /// Reaches the daemon and removes what an earlier engine has left there.
    pub(crate) async fn start(config: ContainersConfig, store: &Path, state: &Path) -> Result<Self> {
        let daemon = StepDaemon::connect(&config.socket, &config.name).await;
        let daemon = daemon.map_err(|error| refused(&error))?;
        daemon.sweep().await.map_err(|error| refused(&error))?;
        let scratch = state.join("scratch");
        let emptied = || {
            match std::fs::remove_dir_all(&scratch) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::create_dir_all(&scratch)
        };
        emptied().map_err(|source| io_error("the directory of steps' files", source))?;
        let caches = Caches::new(daemon.clone(), store);
        caches.keep().await.map_err(|error| refused(&error))?;
        let version = daemon.version().await;
        let images = {
            let daemon = daemon.clone();
            tokio::task::spawn_blocking(move || Images::new(daemon)).await
        };
        let images = images.map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Self {
            images: images.map_err(|error| refused(&error))?,
            caches,
            scratch,
            version,
            daemon,
        })
    }

    pub(crate) fn runtime_name(&self) -> String {
        format!("each step is a container of {}", self.version)
    }

    pub(crate) fn missing() -> Vec<String> {
        LACKS.map(str::to_owned).into()
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.scratch.clone()
    }

    /// Removes the volumes of caches that are forgotten.
    pub(crate) async fn pruned(&self) {
        if let Err(error) = self.caches.keep().await {
            tracing::warn!("{error}");
        }
    }

    pub(crate) async fn shutdown(&self) {
        self.images.clear().await;
    }

    /// Runs a step to its end. Cancelling ends every process of it.
    pub(crate) async fn run(&self, step: Step, io: StepIo, cancel: CancellationToken) -> Result<StepOutcome> {
        refuse(&step)?;
        let over = step.timeout;
        let upper = step.root.upper.as_ref().map(|(upper, _)| upper.clone());
        let made = async {
            let image = self.images.of(&step.root.lowers).await;
            let image = image.map_err(|error| refused(&error))?;
            let mut asked = self.ask(step).await?;
            asked.plan.image.clone_from(&image.name);
            Ok::<_, Error>((image, asked))
        };
        let (image, asked) = tokio::select! {
            made = made => made?,
            () = cancel.cancelled() => return Ok(ended(Exit::Cancelled)),
        };
        let is_limited = asked.plan.memory.is_some();
        let started = self.daemon.start(asked.plan).await;
        let mut container = started.map_err(|error| refused(&error))?;
        let stopped = async {
            let over = async {
                match over {
                    Some(over) => tokio::time::sleep(over).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => Exit::Cancelled,
                () = over => Exit::TimedOut,
            }
        };
        let import = talk::Import::into(upper);
        let talked = tokio::select! {
            talked = talk::talk(&mut container, asked.job, asked.contents, io, &import) => talked,
            why = stopped => Ok(Some(ended(why))),
        };
        let outcome = match talked {
            Ok(Some(outcome)) => import.end(&outcome).await.map(|()| outcome),
            // It ended in the middle of what it had to say.
            Ok(None) if container.was_killed().await && is_limited => Ok(ended(Exit::OutOfMemory)),
            Ok(None) => Err(Error::Setup(
                "its container ended before it did; what the engine or somebody else removed cannot go on"
                    .to_owned(),
            )),
            Err(error) => Err(error),
        };
        container.remove().await;
        drop(image);
        outcome
    }

    /// The step in the words of the daemon and of its first process.
    async fn ask(&self, step: Step) -> Result<Asked> {
        let mut plan = StepPlan {
            entrypoint: self.images.entrypoint.clone(),
            hostname: step.spec.hostname().clone().unwrap_or_default(),
            network: step.network == NetworkMode::Bridged,
            temporary: HashMap::from([(PRIVATE.to_owned(), PRIVATE_OPTIONS.to_owned())]),
            ..StepPlan::default()
        };
        let mut files = (Vec::new(), Vec::new());
        let mut trees = (Vec::new(), Vec::new());
        for mount in step.spec.mounts().iter().flatten() {
            let target = mount.destination().to_string_lossy().into_owned();
            if target == HOME || target.starts_with(&format!("{HOME}/")) {
                return Err(Error::Elsewhere(format!(
                    "nothing can be mounted on {target}: it is Wharf's own where steps are containers of Docker"
                )));
            }
            let source = mount.source().clone().unwrap_or_default();
            let options = mount.options().clone().unwrap_or_default();
            match mount.typ().as_deref() {
                Some("tmpfs") if source == Path::new("tmpfs") && !target.starts_with("/dev") => {
                    // What may be executed there has to be said.
                    let options: Vec<_> = options.iter().map(String::as_str).chain(["exec"]).collect();
                    plan.temporary.insert(target, options.join(","));
                }
                Some("bind") if source.is_dir() => {
                    let name = self.caches.volume(&source, &self.images).await?;
                    plan.volumes.push(StepVolume {
                        target,
                        name: Some(name),
                        writable: !options.iter().any(|option| option == "ro"),
                    });
                }
                Some("bind") => {
                    let stat = std::fs::metadata(&source).map_err(|error| io_error(&target, error))?;
                    files.0.push(PlacedFile {
                        mode: stat.permissions().mode() & 0o7777,
                        owner: (stat.uid(), stat.gid()),
                        private: step.private.contains(&target),
                        path: target,
                    });
                    files.1.push(Content::File(source));
                }
                _ => {}
            }
        }
        for mount in step.mounts {
            plan.volumes.push(StepVolume {
                target: mount.destination.clone(),
                name: None,
                writable: true,
            });
            trees.0.push(mount.destination);
            trees.1.push(Content::Tree(mount.overlay.lowers));
        }
        limit(&mut plan, &step.spec);
        let mut spec = step.spec;
        // The container has its own.
        spec.set_mounts(None).set_linux(None);
        Ok(Asked {
            plan,
            job: Job {
                spec: Some(spec),
                files: files.0,
                trees: trees.0,
            },
            contents: files.1.into_iter().chain(trees.1).collect(),
        })
    }
}

fn limit(plan: &mut StepPlan, spec: &Spec) {
    let Some(resources) = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) else {
        return;
    };
    plan.memory = resources.memory().as_ref().and_then(|memory| memory.limit());
    plan.pids = resources.pids().as_ref().map(|pids| pids.limit() + OWN_THREADS);
    plan.nano_cpus = resources.cpu().as_ref().and_then(|cpu| {
        let period = cpu.period().filter(|period| *period > 0)?;
        Some(cpu.quota()? * 1_000_000_000 / period as i64)
    });
}

/// Refuses what cannot be had.
fn refuse(step: &Step) -> Result<()> {
    if step.network == NetworkMode::Filtered {
        return Err(lacks("reach some hosts alone"));
    }
    if !step.hosts.is_empty() {
        return Err(lacks("use services"));
    }
    let devices = step
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.devices().as_ref());
    if devices.is_some_and(|devices| !devices.is_empty()) {
        return Err(lacks("give steps GPUs"));
    }
    Ok(())
}

/// What no step can have here, by name.
pub(crate) fn lacks(what: &str) -> Error {
    Error::Elsewhere(format!(
        "there is no way to {what} here: this Docker refuses the engine the rights to make containers itself, so each step is a \
         container of it (`wharf engine status`); use an engine with those rights, or --engine local"
    ))
}

fn ended(exit: Exit) -> StepOutcome {
    StepOutcome {
        exit,
        message: None,
        cpu_us: None,
        peak_memory: None,
    }
}

fn refused(error: &DockerError) -> Error {
    Error::Setup(error.to_string())
}

fn io_error(context: &str, source: std::io::Error) -> Error {
    Error::Io {
        context: context.to_owned(),
        source,
    }
}
