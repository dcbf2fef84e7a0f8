//! Steps run by an OCI runtime's own program: the same specification, the same file systems, mounted on the host's side.
//!
//! The program makes and starts the container and removes it afterwards; in between it is not running, and the container's
//! first process is a child of this one, so that its end is seen as it is.

use std::{
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::{
    mount::UnmountFlags,
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions},
};

use crate::{
    arrange::{Wanted, arrange},
    cgroup::StepCgroup,
    error::{Context, Error, Result},
    helper::{mount_overlay, open_directory},
    network::StepNetwork,
    outcome::{self, Exit, StepOutcome},
    overlay::Overlay,
    remote::{Asks, Beside, attend},
    runner::{Step, StepIo, first_argument},
    running::{Running, Stop, wait},
    stubs::{self, PointKind, Points, Stub},
    terminal::{Io, pass_on},
};

/// What one run needs.
pub(crate) struct Tools<'r> {
    pub(crate) runtime: &'r Path,
    pub(crate) state: &'r Path,
    pub(crate) bundle: &'r Path,
    pub(crate) cgroup: &'r StepCgroup,
    pub(crate) id: u64,
}

/// Containers that the runtime leaves behind become children of this process.
pub(crate) fn adopt_containers() -> Result<()> {
    rustix::process::set_child_subreaper(rustix::process::getpid().into()).context("adopting containers")
}

/// Mounts of one run on the host's side; taken away in reverse.
struct Mounted(Vec<PathBuf>);

impl Mounted {
    fn add(&mut self, tools: &Tools<'_>, overlay: &Overlay, at: PathBuf) -> Result<()> {
        std::fs::create_dir_all(&at).context(&at.display().to_string())?;
        let target = open_directory(&at).context("a mount point")?;
        let said = "mounting a step's file system";
        mount_overlay(overlay, &tools.state.join("empty"), &target).context(said)?;
        self.0.push(at);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            rustix::mount::unmount(path, UnmountFlags::DETACH).ok();
        }
    }
}

/// The container of one run, as the runtime knows it; removed when it is dropped.
struct Container<'t> {
    tools: &'t Tools<'t>,
    name: String,
    /// Numbers programs that run beside the step's.
    next: AtomicU64,
}

impl Container<'_> {
    fn command(&self, log: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(self.tools.runtime);
        command
            .arg("--root")
            .arg(self.tools.state.join("runtime"))
            .arg("--log")
            .arg(log);
        command.args(["--log-format", "json"]);
        command
    }

    /// Runs a program beside the step's own.
    async fn beside(&self, spec: &Spec, wanted: Beside) {
        let Beside {
            args,
            io,
            timeout,
            answer,
        } = wanted;
        match self.execute(spec, args, io).await {
            Ok(Ok(process)) => {
                let ended = async {
                    process.ended().await?;
                    how_ended(&process)
                };
                Beside::finish(answer, timeout, ended, || process.kill()).await;
            }
            Ok(Err(exit)) => drop(answer.send(Ok(exit))),
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    /// A program that runs as the specification's own does; how it ended when it could not be run.
    async fn execute(
        &self,
        spec: &Spec,
        args: Vec<String>,
        io: StepIo,
    ) -> Result<std::result::Result<Running, Exit>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = |what: &str| self.tools.bundle.join(format!("beside{number}.{what}"));
        let (log, pid_file, process_file) = (place("log"), place("pid"), place("json"));
        let program = args.first().cloned().unwrap_or_default();
        let mut process = spec.process().clone().unwrap_or_default();
        process.set_args(Some(args));
        let text = serde_json::to_vec(&process).map_err(|error| Error::Setup(error.to_string()))?;
        std::fs::write(&process_file, text).context("a program beside a step's")?;
        let mut execute = self.command(&log);
        execute
            .args(["exec", "--detach", "--process"])
            .arg(&process_file)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.name);
        execute.stdin(io.stdin).stdout(io.stdout).stderr(io.stderr);
        let said = self.tools.runtime.display().to_string();
        let done = tokio::process::Command::from(execute)
            .status()
            .await
            .context(&said)?;
        if !done.success() {
            return not_made(&log, &program).map(|outcome| Err(outcome.exit));
        }
        running(&pid_file).map(Ok)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let mut command = self.command(Path::new("/dev/null"));
        command
            .args(["delete", "--force", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().ok();
    }
}

/// Runs a step with an OCI runtime.
pub(crate) async fn run(
    tools: &Tools<'_>,
    mut step: Step,
    io: Io,
    network: Option<&StepNetwork>,
    stop: Stop,
    asks: Asks,
) -> Result<StepOutcome> {
    let mut mounted = Mounted(Vec::new());
    let root = tools.bundle.join("rootfs");
    mounted.add(tools, &step.root, root.clone())?;
    let plain = step.spec.mounts().clone().unwrap_or_default();
    let mut mounts = Vec::new();
    for (number, wanted) in arrange(plain, std::mem::take(&mut step.mounts))
        .into_iter()
        .enumerate()
    {
        mounts.push(match wanted {
            Wanted::Plain(mount) => mount,
            Wanted::Overlay(mount) => {
                let at = tools.bundle.join(format!("mount{number}"));
                mounted.add(tools, &mount.overlay, at.clone())?;
                bind(&mount.destination, at)
            }
        });
    }
    let upper = step.root.upper.take().map(|(upper, _)| upper);
    let upper = upper.as_deref();
    let made = make_mount_points(&root, upper, &mounts)?;
    step.spec.set_mounts(Some(mounts));
    if let Some(network) = network {
        enter_network(&mut step, network);
    }
    step.spec
        .save(tools.bundle.join("config.json"))
        .map_err(|error| Error::Setup(error.to_string()))?;
    let outcome = run_container(tools, &step.spec, io, stop, asks).await;
    drop(mounted);
    if let Some(upper) = upper {
        stubs::remove(upper, &made);
    }
    outcome
}

fn bind(destination: &str, source: PathBuf) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(destination.into());
    mount.set_typ(Some("bind".to_owned()));
    mount.set_source(Some(source));
    mount.set_options(Some(["rbind", "rprivate", "rw"].map(str::to_owned).into()));
    mount
}

/// Makes the mount points that are missing, so that it is known which they were.
fn make_mount_points(root: &Path, upper: Option<&Path>, mounts: &[Mount]) -> Result<Vec<Stub>> {
    let opened: OwnedFd = open_directory(root).context("a step's root")?;
    let mut points = Points::new(&opened, root, upper);
    for (number, mount) in mounts.iter().enumerate() {
        let destination = mount.destination();
        // What lies in something that is mounted before it is made there by the runtime.
        if mounts[..number]
            .iter()
            .any(|outer| destination.starts_with(outer.destination()))
        {
            continue;
        }
        let is_file = mount.source().as_ref().is_some_and(|source| source.is_file());
        // runc gives a file system in memory the mode of what it is mounted on.
        let mode = mount
            .options()
            .iter()
            .flatten()
            .find_map(|option| option.strip_prefix("mode="));
        let kind = match mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()) {
            _ if is_file => PointKind::File,
            Some(mode) => PointKind::DirectoryWithMode(mode),
            None => PointKind::Directory,
        };
        let destination = destination.to_string_lossy();
        points.place(&destination, kind).context(&destination)?;
    }
    Ok(points.stubs)
}

fn enter_network(step: &mut Step, network: &StepNetwork) {
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        network.namespace.as_raw_fd()
    );
    let Some(linux) = step.spec.linux_mut() else {
        return;
    };
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    for namespace in namespaces
        .iter_mut()
        .filter(|namespace| namespace.typ() == LinuxNamespaceType::Network)
    {
        namespace.set_path(Some(path.clone().into()));
    }
    linux.set_namespaces(Some(namespaces));
}

async fn run_container(
    tools: &Tools<'_>,
    spec: &Spec,
    io: Io,
    stop: Stop,
    asks: Asks,
) -> Result<StepOutcome> {
    let program = &first_argument(spec);
    let container = Container {
        tools,
        name: format!("wharf-{}-{}", std::process::id(), tools.id),
        next: AtomicU64::new(1),
    };
    let said = tools.runtime.display().to_string();
    let log = tools.bundle.join("runtime.log");
    let pid_file = tools.bundle.join("pid");
    let mut create = container.command(&log);
    create
        .arg("create")
        .arg("--bundle")
        .arg(tools.bundle)
        .arg("--pid-file")
        .arg(&pid_file);
    // It connects and sends the terminal before it has made the container.
    let terminal = match io {
        Io::Streams(io) => {
            create.stdin(io.stdin).stdout(io.stdout).stderr(io.stderr);
            None
        }
        Io::Terminal(console) => {
            let socket = tools.bundle.join("console");
            let listener = UnixListener::bind(&socket).context("a terminal's socket")?;
            listener.set_nonblocking(true).context("a terminal's socket")?;
            create.arg("--console-socket").arg(&socket);
            let null = || Stdio::null();
            create.stdin(null()).stdout(null()).stderr(null());
            Some((listener, console.opened))
        }
    };
    create.arg(&container.name);
    let made = tokio::process::Command::from(create)
        .status()
        .await
        .context(&said)?;
    if !made.success() {
        return not_made(&log, program);
    }
    if let Some((listener, opened)) = terminal {
        let (socket, _) = listener.accept().context("a terminal's socket")?;
        pass_on(socket.into(), opened);
    }
    let process = running(&pid_file)?;
    let mut start = container.command(&log);
    start
        .args(["start", &container.name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = tokio::process::Command::from(start)
        .status()
        .await
        .context(&said)?;
    if !started.success() {
        return not_made(&log, program);
    }
    let stopped = attend(
        wait(&process, stop),
        asks,
        |signal| process.signal(signal),
        |beside| container.beside(spec, beside),
    )
    .await?;
    let usage = tools.cgroup.usage();
    let exit = match (stopped, how_ended(&process)?) {
        (Some(stopped), _) => stopped,
        (None, _) if usage.ran_out_of_memory => Exit::OutOfMemory,
        (None, exit) => exit,
    };
    Ok(StepOutcome {
        exit,
        message: None,
        cpu_us: usage.cpu_us,
        peak_memory: usage.peak_memory,
    })
}

/// The process that the runtime has named in a file.
fn running(pid_file: &Path) -> Result<Running> {
    let text = std::fs::read_to_string(pid_file).context("the container's process")?;
    let process = text.trim().parse().ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| Error::Setup(format!("{text:?} is no process")))?;
    Running::new(rustix::process::pidfd_open(process, PidfdFlags::empty()).context("watching a step")?)
}

/// How a process that has ended did so.
fn how_ended(process: &Running) -> Result<Exit> {
    let status = rustix::process::waitid(
        WaitId::PidFd(std::os::fd::AsFd::as_fd(process.descriptor())),
        WaitIdOptions::EXITED,
    )
    .context("a step's exit status")?;
    let ways = status.map(|status| (status.exit_status(), status.terminating_signal()));
    Ok(match ways {
        Some((Some(code), _)) => Exit::Code(code),
        Some((_, Some(signal))) => Exit::Signal(signal),
        _ => Exit::Signal(libc::SIGKILL),
    })
}

/// Why the container could not be made or started: the program, or something else. The runtime's log says.
fn not_made(log: &Path, program: &str) -> Result<StepOutcome> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let failures: Vec<String> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|entry| entry["level"] == "error")
        .filter_map(|entry| entry["msg"].as_str().map(str::to_owned))
        .collect();
    let message = failures.join("; ");
    let quoted = format!("{program:?}");
    // runc quotes the program after "exec:"; crun begins with "executable file".
    let is_program = message.contains(&format!("exec: {quoted}")) || message.contains("executable file");
    let number = if !is_program {
        return Err(Error::Setup(message));
    } else if message.contains("permission denied") || message.contains("Permission denied") {
        libc::EACCES
    } else if message.contains("is a directory") {
        libc::EISDIR
    } else if message.contains("exec format error") {
        libc::ENOEXEC
    } else {
        libc::ENOENT
    };
    let (exit, message) = outcome::not_run(program, number)?;
    Ok(StepOutcome {
        exit,
        message: Some(message),
        cpu_us: None,
        peak_memory: None,
    })
}
