//! The runner: what the engine talks to.

use std::{
    fmt,
    net::IpAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use oci_spec::runtime::{Mount, Spec};
use tokio_util::sync::CancellationToken;
use wharf_userns::ids;

use crate::{
    arrange::arrange,
    binary,
    cgroup::Cgroups,
    error::{Context, Error, Result},
    ground,
    helper::{Job, Report},
    helper_process::HelperProcess,
    network::{FilterSockets, Networks, StepNetwork, filtered_resolv_conf},
    outcome::{self, StepOutcome},
    overlay::{Overlay, OverlayMount},
    remote::{Asks, attend},
    running::{Stop, wait},
    seccomp::Filter,
    slot::{Makers, Slots},
    stubs,
    system::System,
    terminal::{Console, Io, pass_on},
};

/// The part of the runner's directory that its owner may use.
const SCRATCH: &str = "scratch";

/// What runs the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// This crate.
    BuiltIn,
    /// An OCI runtime's program, such as runc.
    Binary(PathBuf),
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => write!(f, "built-in"),
            Self::Binary(program) => write!(f, "{}", program.display()),
        }
    }
}

/// How steps are run.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// What runs them.
    pub runtime: Runtime,
    /// Program and arguments that call [`crate::helper_main`].
    pub helper: (PathBuf, Vec<String>),
    /// A directory of the runner's own, in memory if possible: secrets lie in it while a step uses them.
    pub state: PathBuf,
    /// A directory of the runner's own on the file system of the steps' roots.
    pub ground: PathBuf,
    /// Name of the engine's control groups; no other engine on this machine has it.
    pub name: String,
    /// Contents of steps' `/etc/resolv.conf`.
    pub resolv_conf: String,
}

/// What a step can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// Loopback.
    #[default]
    None,
    /// A network of its own with a way out.
    Bridged,
    /// A network of its own that ends at the sockets of [`Runner::filter_sockets`].
    Filtered,
}

/// A step.
#[derive(Clone, Debug)]
pub struct Step {
    /// The process and its container; root and network are added.
    pub spec: Spec,
    /// The root file system.
    pub root: Overlay,
    /// More overlays in it.
    pub mounts: Vec<OverlayMount>,
    /// What it can reach.
    pub network: NetworkMode,
    /// Names for its hosts file.
    pub hosts: Vec<(String, IpAddr)>,
    /// It is ended after this long.
    pub timeout: Option<Duration>,
    /// Which of its mounted files must not come to lie on a disk.
    pub private: Vec<String>,
}

/// A step's standard descriptors.
#[derive(Debug)]
pub struct StepIo {
    /// What it reads.
    pub stdin: OwnedFd,
    /// Where it writes.
    pub stdout: OwnedFd,
    /// Where it writes errors.
    pub stderr: OwnedFd,
}

/// Runs steps.
#[derive(Debug)]
pub struct Runner {
    config: RunnerConfig,
    cgroups: Arc<Cgroups>,
    networks: Arc<Networks>,
    /// Containers of the built-in runtime; none where another one runs the steps.
    slots: Option<Arc<Slots>>,
    next: AtomicU64,
}

impl Runner {
    /// Starts the helper and finds out what can be limited here. What an earlier runner of the same name and directory left
    /// behind is ended and cleared away.
    #[allow(
        clippy::unused_async,
        reason = "callers are async, and starting may come to wait"
    )]
    pub async fn start(config: RunnerConfig) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Unsupported("the engine is not root".to_owned()));
        }
        if let (Runtime::Binary(program), false) = (&config.runtime, ids().are_the_machines()) {
            return Err(Error::Unsupported(format!(
                "{} runs steps for engines of root alone: leave --runtime away",
                program.display()
            )));
        }
        let mut usual = crate::spec::docker_like(&crate::spec::Process::default())?;
        let devices = usual
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().as_ref()?.devices().clone());
        let cgroups = Arc::new(Cgroups::probe(&config.name, devices.unwrap_or_default()));
        clear_state(&config.state)?;
        ground::lay(&config.ground)?;
        let networks = Arc::new(Networks::new(&config.resolv_conf, &config.state));
        let slots = match config.runtime {
            Runtime::BuiltIn => {
                let helper = HelperProcess::start(&config.helper)?;
                let stage = config.state.join("stage");
                let makers = Makers {
                    helper,
                    networks: Arc::clone(&networks),
                    cgroups: Arc::clone(&cgroups),
                };
                Some(Slots::new(makers, stage, System::take(&mut usual)))
            }
            Runtime::Binary(_) => {
                binary::adopt_containers()?;
                None
            }
        };
        Ok(Self {
            config,
            cgroups,
            networks,
            slots,
            next: AtomicU64::new(1),
        })
    }

    /// What cannot be done here, in words.
    pub fn missing(&self) -> Vec<String> {
        let ids = crate::ordinary::lacks();
        self.cgroups.missing().into_iter().chain(ids).collect()
    }

    /// Where files for steps can lie while they run: in memory if possible, and gone when a runner starts here again.
    pub fn scratch(&self) -> PathBuf {
        self.config.state.join(SCRATCH)
    }

    /// Ends the helper and every step that still runs.
    #[allow(
        clippy::unused_async,
        reason = "callers are async, and ending may come to wait"
    )]
    pub async fn shutdown(&self) {
        if let Some(slots) = &self.slots {
            slots.end();
        }
    }

    /// Runs a step to its end. Cancelling, or dropping the future, ends every process of it.
    pub async fn run(&self, step: Step, io: StepIo, cancel: CancellationToken) -> Result<StepOutcome> {
        // Specifications are large, and so is a future that holds some.
        Box::pin(self.run_through(step, None, Io::Streams(io), cancel, Asks::none())).await
    }

    /// The same in a network that was made before, as [`Self::network`] makes them.
    pub async fn run_in(
        &self,
        network: &Arc<StepNetwork>,
        step: Step,
        io: StepIo,
        cancel: CancellationToken,
    ) -> Result<StepOutcome> {
        self.run_asked(network, step, io, cancel, Asks::none()).await
    }

    /// The same, with somebody who may ask things of the step while it runs.
    pub async fn run_asked(
        &self,
        network: &Arc<StepNetwork>,
        step: Step,
        io: StepIo,
        cancel: CancellationToken,
        asks: Asks,
    ) -> Result<StepOutcome> {
        let (network, io) = (Some(Arc::clone(network)), Io::Streams(io));
        Box::pin(self.run_through(step, network, io, cancel, asks)).await
    }

    /// The same on a terminal, in a network that was made before or one of its mode.
    pub async fn run_on_terminal(
        &self,
        network: Option<Arc<StepNetwork>>,
        step: Step,
        console: Console,
        cancel: CancellationToken,
    ) -> Result<StepOutcome> {
        let io = Io::Terminal(console);
        Box::pin(self.run_through(step, network, io, cancel, Asks::none())).await
    }

    /// A network of this mode that also reaches, and is reached by, each of these.
    pub async fn network(
        &self,
        mode: NetworkMode,
        services: Vec<Arc<StepNetwork>>,
    ) -> Result<Arc<StepNetwork>> {
        self.networks.with_services(mode, services).await
    }

    /// Opens the sockets that take what steps with a filtered network send. Before any of them runs, and once.
    pub async fn filter_sockets(&self) -> Result<FilterSockets> {
        self.networks.filter_sockets().await
    }

    async fn run_through(
        &self,
        mut step: Step,
        network: Option<Arc<StepNetwork>>,
        io: Io,
        cancel: CancellationToken,
        asks: Asks,
    ) -> Result<StepOutcome> {
        io.describe(&mut step.spec);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        step.root.lowers.push(self.config.ground.clone());
        let bundle = Bundle::create(&self.config.state.join("steps").join(id.to_string()))?;
        self.add_system_files(&mut step, &bundle.0)?;
        let program = first_argument(&step.spec);
        let stop = Stop {
            cancel,
            timeout: step.timeout,
        };
        let resources = step
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().clone())
            .unwrap_or_default();
        match (&self.config.runtime, &self.slots) {
            (Runtime::Binary(runtime), _) => {
                let network = match network {
                    None => self.networks.of_mode(step.network).await?,
                    made => made,
                };
                let (cgroup, path) = self.cgroups.for_runtime(id, &resources)?;
                let tools = binary::Tools {
                    runtime,
                    state: &self.config.state,
                    bundle: &bundle.0,
                    cgroup: &cgroup,
                    id,
                };
                if let Some(linux) = step.spec.linux_mut() {
                    linux.set_cgroups_path(Some(path.into()));
                }
                binary::run(&tools, step, io, network.as_deref(), stop, asks).await
            }
            (Runtime::BuiltIn, Some(slots)) => {
                let upper = step.root.upper.as_ref().map(|(upper, _)| upper.clone());
                let system = System::take(&mut step.spec);
                let mut slot = match network {
                    None => slots.take(system, step.network).await?,
                    Some(network) => slots.make(&system, Some(network)).await?,
                };
                self.cgroups.limit(slot.cgroup(), &resources)?;
                let job = self.job(step);
                let mut started = match io {
                    Io::Streams(io) => slot.start(job, &io.descriptors())?,
                    Io::Terminal(console) => {
                        let (near, theirs) = UnixStream::pair().context("a terminal's socket")?;
                        pass_on(near.into(), console.opened);
                        slot.start(job, &[theirs.as_fd()])?
                    }
                };
                let stopped = attend(
                    wait(&started.process, stop),
                    asks,
                    |signal| started.signal(signal),
                    |beside| started.beside(beside),
                )
                .await?;
                let reports = (&mut started.reports)
                    .await
                    .map_err(|error| Error::Setup(error.to_string()))?;
                if let Some(upper) = upper {
                    let made = reports.iter().find_map(|report| match report {
                        Report::Stubs(stubs) => Some(stubs.as_slice()),
                        _ => None,
                    });
                    stubs::remove(&upper, made.unwrap_or_default());
                }
                let outcome = outcome::of_reports(stopped, &reports, &program, started.cgroup.usage());
                // Nobody waits until it is gone.
                tokio::task::spawn_blocking(move || drop((started, bundle)));
                outcome
            }
            (Runtime::BuiltIn, None) => Err(Error::HelperGone),
        }
    }

    /// The step as its container takes it.
    fn job(&self, mut step: Step) -> Job {
        let mounts = step.spec.mounts().clone().unwrap_or_default();
        step.spec.set_mounts(None);
        let filter = Filter::of(
            step.spec
                .linux()
                .as_ref()
                .and_then(|linux| linux.seccomp().as_ref()),
        );
        if let Some(linux) = step.spec.linux_mut() {
            // Sent beside it, and mostly by name.
            linux.set_seccomp(None);
        }
        Job {
            spec: step.spec,
            root: step.root,
            mounts: arrange(mounts, step.mounts),
            filter,
            mount_point: self.config.state.join("root"),
            empty: self.config.state.join("empty"),
            cgroups: Vec::new(),
        }
    }

    /// The files that the runner itself puts into a container.
    fn add_system_files(&self, step: &mut Step, bundle: &Path) -> Result<()> {
        let hostname = step.spec.hostname().clone().unwrap_or_default();
        let mut hosts = vec![
            "127.0.0.1\tlocalhost".to_owned(),
            "::1\tlocalhost ip6-localhost ip6-loopback".to_owned(),
        ];
        if !hostname.is_empty() {
            hosts.push(format!("127.0.1.1\t{hostname}"));
        }
        hosts.extend(
            step.hosts
                .iter()
                .map(|(name, address)| format!("{address}\t{name}")),
        );
        let hosts = hosts.join("\n") + "\n";
        let resolv_conf = match step.network {
            NetworkMode::None => String::new(),
            NetworkMode::Bridged => self.config.resolv_conf.clone(),
            NetworkMode::Filtered => filtered_resolv_conf(),
        };
        let mut mounts = step.spec.mounts().clone().unwrap_or_default();
        for (name, text) in [
            ("hosts", hosts.as_str()),
            ("hostname", &format!("{hostname}\n")),
            ("resolv.conf", &resolv_conf),
        ] {
            let file = bundle.join(name);
            std::fs::write(&file, text).context("a step's system files")?;
            let mut mount = Mount::default();
            mount.set_destination(Path::new("/etc").join(name));
            mount.set_typ(Some("bind".to_owned()));
            mount.set_source(Some(file));
            mount.set_options(Some(["rbind", "rprivate", "rw"].map(str::to_owned).into()));
            mounts.push(mount);
        }
        step.spec.set_mounts(Some(mounts));
        Ok(())
    }
}

pub(crate) fn first_argument(spec: &Spec) -> String {
    let args = spec
        .process()
        .as_ref()
        .and_then(|process| process.args().as_ref());
    args.and_then(|args| args.first().cloned()).unwrap_or_default()
}

/// Makes the runner's directory as it is at the start, whatever an earlier one left in it.
fn clear_state(state: &Path) -> Result<()> {
    let said = state.display().to_string();
    std::fs::create_dir_all(state).context(&said)?;
    let state = state.canonicalize().context(&said)?;
    // Another runtime's file systems are mounted on the host's side; removing files must not go into them.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for at in mounts.lines().rev().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(at) != state && Path::new(at).starts_with(&state) {
            rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH).context(at)?;
        }
    }
    for (part, kept) in [
        ("root", true),
        ("stage", true),
        ("empty", true),
        ("steps", true),
        (SCRATCH, true),
        ("runtime", false),
    ] {
        let path = state.join(part);
        if path.exists() {
            std::fs::remove_dir_all(&path).context(&path.display().to_string())?;
        }
        if kept {
            std::fs::create_dir_all(&path).context(&path.display().to_string())?;
        }
    }
    Ok(())
}

/// A step's directory of the runner's own; gone with the step.
struct Bundle(PathBuf);

impl Bundle {
    fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir(path).context(&path.display().to_string())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
