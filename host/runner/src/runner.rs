//! The runner: what the engine talks to.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    os::{
        fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use oci_spec::runtime::Spec;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, unix::AsyncFd},
    net::unix::pipe,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use crate::{
    binary,
    cgroup::{Cgroups, StepCgroup},
    error::{Context, Error, Result},
    helper::{self, Job, Report},
    network::{Networks, StepNetwork},
    overlay::{Overlay, OverlayMount},
};

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
}

/// A step.
#[derive(Debug)]
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

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel ended it because its memory was used up.
    OutOfMemory,
    /// Its time was over.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// There is no such program.
    NotFound,
    /// The program cannot be executed.
    NotExecutable,
}

impl Exit {
    /// The exit code as a shell would see it.
    pub fn code(&self) -> i32 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(signal) => 128 + signal,
            Self::OutOfMemory | Self::TimedOut | Self::Cancelled => 137,
            Self::NotFound => 127,
            Self::NotExecutable => 126,
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug)]
pub struct StepOutcome {
    /// How it ended.
    pub exit: Exit,
    /// Processor time in microseconds.
    pub cpu_us: Option<u64>,
    /// The most memory it used at once, in bytes.
    pub peak_memory: Option<u64>,
}

type Answers = Arc<Mutex<HashMap<u64, oneshot::Sender<std::result::Result<OwnedFd, i32>>>>>;

/// Runs steps.
#[derive(Debug)]
pub struct Runner {
    config: RunnerConfig,
    cgroups: Arc<Cgroups>,
    networks: Arc<Networks>,
    socket: OwnedFd,
    answers: Answers,
    next: AtomicU64,
    helper: Mutex<std::process::Child>,
}

impl Runner {
    /// Starts the helper and finds out what can be limited here.
    pub async fn start(config: RunnerConfig) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Unsupported("the engine is not root".to_owned()));
        }
        for part in ["root", "empty", "steps"] {
            let path = config.state.join(part);
            if part == "steps" {
                std::fs::remove_dir_all(&path).ok();
            }
            std::fs::create_dir_all(&path).context(&path.display().to_string())?;
        }
        let cgroups = Cgroups::probe(&config.name);
        let empty = crate::spec::docker_like(&crate::spec::Process::default())?;
        if let Some(resources) = empty
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().as_ref())
        {
            cgroups.allow_devices(resources)?;
        }
        let answers = Answers::default();
        let (socket, helper) = start_helper(&config, &answers)?;
        Ok(Self {
            config,
            cgroups: Arc::new(cgroups),
            networks: Arc::new(Networks::new()),
            socket,
            answers,
            next: AtomicU64::new(1),
            helper: Mutex::new(helper),
        })
    }

    /// What cannot be done here, in words.
    pub fn missing(&self) -> Vec<String> {
        self.cgroups.missing()
    }

    /// Ends the helper and every step that still runs.
    pub async fn shutdown(&self) {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        helper.kill().ok();
        helper.wait().ok();
    }

    /// Runs a step to its end. Cancelling ends every process of it.
    pub async fn run(&self, mut step: Step, io: StepIo, cancel: CancellationToken) -> Result<StepOutcome> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let bundle = Bundle::create(&self.config.state.join("steps").join(id.to_string()))?;
        let network = match step.network {
            NetworkMode::None => None,
            NetworkMode::Bridged => {
                let networks = Arc::clone(&self.networks);
                let connected = tokio::task::spawn_blocking(move || networks.connect()).await;
                Some(connected.map_err(|error| Error::Network(error.to_string()))??)
            }
        };
        self.add_system_files(&mut step, &bundle.0)?;
        let timeout = step.timeout;
        let ended = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ended);
        if let Runtime::Binary(program) = &self.config.runtime {
            let tools = binary::Tools {
                program,
                state: &self.config.state,
                bundle: &bundle.0,
                id,
            };
            return binary::run(&tools, step, io, network.as_ref(), cancel, ended).await;
        }
        let cgroup = {
            let resources = step
                .spec
                .linux()
                .as_ref()
                .and_then(|linux| linux.resources().clone())
                .unwrap_or_default();
            self.cgroups.for_step(id, &resources)?
        };
        let upper = step.root.upper.as_ref().map(|(upper, _)| upper.clone());
        let (process, reports) = self.launch(id, step, io, &cgroup, network.as_ref()).await?;
        // SAFETY: the descriptor is owned by the registration and not replaced while it lasts.
        let process = unsafe { AsyncFd::register(process) }.context("watching a step")?;
        let stopped = tokio::select! {
            _ = process.readable() => None,
            () = cancel.cancelled() => Some(Exit::Cancelled),
            () = &mut ended => Some(Exit::TimedOut),
        };
        if stopped.is_some() {
            rustix::process::pidfd_send_signal(process.get_ref(), Signal::KILL).ok();
            // Process 1 is gone only when every process of its namespace is.
            process.readable().await.map(drop).context("watching a step")?;
        }
        let reports = reports.await.map_err(|error| Error::Setup(error.to_string()))?;
        if let Some(upper) = upper {
            remove_stubs(&upper, &reports);
        }
        outcome(stopped, &reports, &cgroup)
    }

    /// Sends the step to the helper; returns its process and, when it has ended, its reports.
    async fn launch(
        &self,
        id: u64,
        step: Step,
        io: StepIo,
        cgroup: &StepCgroup,
        network: Option<&StepNetwork>,
    ) -> Result<(OwnedFd, tokio::task::JoinHandle<Vec<Report>>)> {
        let job = Job {
            id,
            spec: step.spec,
            root: step.root,
            overlays: step.mounts,
            mount_point: self.config.state.join("root"),
            empty: self.config.state.join("empty"),
            cgroups: cgroup.procs.clone(),
            has_network: network.is_some(),
        };
        let text = serde_json::to_vec(&job).map_err(|error| Error::Setup(error.to_string()))?;
        let file = rustix::fs::memfd_create("step", rustix::fs::MemfdFlags::CLOEXEC)
            .context("a step's description")?;
        let mut file = std::fs::File::from(file);
        std::io::Write::write_all(&mut file, &text).context("a step's description")?;
        std::io::Seek::rewind(&mut file).context("a step's description")?;
        let (report_read, report_write) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("a step's pipe")?;
        let (answer, answered) = oneshot::channel();
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, answer);
        let mut descriptors = vec![
            file.as_fd(),
            io.stdin.as_fd(),
            io.stdout.as_fd(),
            io.stderr.as_fd(),
            report_write.as_fd(),
        ];
        descriptors.extend(network.map(|network| network.namespace.as_fd()));
        helper::send(&self.socket, b"step", &descriptors).map_err(|_| Error::HelperGone)?;
        drop((io, report_write));
        let process = answered.await.map_err(|_| Error::HelperGone)?.map_err(|number| {
            Error::Setup(format!("clone: {}", std::io::Error::from_raw_os_error(number)))
        })?;
        let mut reports = pipe::Receiver::from_owned_fd(report_read).context("a step's pipe")?;
        let reports = tokio::spawn(async move {
            let mut text = String::new();
            reports.read_to_string(&mut text).await.ok();
            text.lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect()
        });
        Ok((process, reports))
    }

    /// The files that the runner itself puts into a container.
    fn add_system_files(&self, step: &mut Step, bundle: &Path) -> Result<()> {
        let hostname = step.spec.hostname().clone().unwrap_or_default();
        let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        hosts.push_str(&format!("127.0.1.1\t{hostname}\n"));
        for (name, address) in &step.hosts {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        let resolv_conf = match step.network {
            NetworkMode::None => "",
            NetworkMode::Bridged => &self.config.resolv_conf,
        };
        let mut mounts = step.spec.mounts().clone().unwrap_or_default();
        for (name, text) in [
            ("hosts", hosts.as_str()),
            ("hostname", &format!("{hostname}\n")),
            ("resolv.conf", resolv_conf),
        ] {
            let file = bundle.join(name);
            std::fs::write(&file, text).context("a step's system files")?;
            let mount = serde_json::json!({
                "destination": format!("/etc/{name}"), "type": "bind", "source": file, "options": ["rbind", "rprivate", "rw"]
            });
            mounts.push(serde_json::from_value(mount).map_err(|error| Error::Setup(error.to_string()))?);
        }
        step.spec.set_mounts(Some(mounts));
        Ok(())
    }
}

/// A step's directory of the runner's own; gone with the step.
struct Bundle(PathBuf);

impl Bundle {
    fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).context(&path.display().to_string())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn start_helper(config: &RunnerConfig, answers: &Answers) -> Result<(OwnedFd, std::process::Child)> {
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .context("the helper's socket")?;
    let mut command = Command::new(&config.helper.0);
    command
        .args(&config.helper.1)
        .stdin(std::process::Stdio::null())
        .env_clear();
    let socket = theirs.into_raw_fd();
    // SAFETY: between fork and exec only dup2 and fcntl are called, which are safe there.
    unsafe {
        command.pre_exec(move || {
            let done = if socket == helper::SOCKET {
                libc::fcntl(socket, libc::F_SETFD, 0)
            } else {
                libc::dup2(socket, helper::SOCKET)
            };
            if done < 0 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
    let child = command.spawn().context(&config.helper.0.display().to_string());
    // SAFETY: the child has its copy; this one was released above and is nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(socket) });
    let child = child?;
    let listening = ours.try_clone().context("the helper's socket")?;
    let answers = Arc::clone(answers);
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Some((count, descriptors)) = helper::receive_message(&listening, &mut buffer) {
            let (Some(id), Some(number)) = (buffer.get(..8), buffer.get(8..12).filter(|_| count == 12))
            else {
                break;
            };
            let id = u64::from_le_bytes(id.try_into().unwrap_or_default());
            let number = i32::from_le_bytes(number.try_into().unwrap_or_default());
            let answer = descriptors.into_iter().next().ok_or(number);
            if let Some(waiting) = answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
                waiting.send(answer).ok();
            }
        }
        // Those who wait learn that the helper is gone.
        answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    });
    Ok((ours, child))
}

/// Takes the mount points that had to be made out of the layer again, as far as nothing was put there.
fn remove_stubs(upper: &Path, reports: &[Report]) {
    let Some(Report::Stubs(stubs)) = reports.iter().find(|report| matches!(report, Report::Stubs(_))) else {
        return;
    };
    for stub in stubs.iter().rev() {
        let path = upper.join(stub.trim_start_matches('/'));
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => std::fs::remove_dir(&path).ok(),
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => std::fs::remove_file(&path).ok(),
            _ => None,
        };
    }
}

fn outcome(stopped: Option<Exit>, reports: &[Report], cgroup: &StepCgroup) -> Result<StepOutcome> {
    let used = reports.iter().find_map(|report| {
        if let Report::Used(used) = report {
            Some(*used)
        } else {
            None
        }
    });
    let last = reports
        .iter()
        .rev()
        .find(|report| !matches!(report, Report::Stubs(_) | Report::Used(_)));
    let exit = match (stopped, last) {
        (Some(stopped), _) => stopped,
        (None, Some(Report::Setup(message))) => return Err(Error::Setup(message.clone())),
        (None, _) if cgroup.ran_out_of_memory() => Exit::OutOfMemory,
        (None, Some(Report::Exited(code))) => Exit::Code(*code),
        (None, Some(Report::Signalled(signal))) => Exit::Signal(*signal),
        (None, Some(Report::Exec(libc::ENOENT | libc::ENOTDIR))) => Exit::NotFound,
        (None, Some(Report::Exec(libc::EACCES | libc::ENOEXEC | libc::EISDIR))) => Exit::NotExecutable,
        (None, Some(Report::Exec(number))) => {
            return Err(Error::Setup(
                std::io::Error::from_raw_os_error(*number).to_string(),
            ));
        }
        (None, _) => Exit::Signal(libc::SIGKILL),
    };
    Ok(StepOutcome {
        exit,
        cpu_us: used,
        peak_memory: cgroup.peak_memory(),
    })
}
