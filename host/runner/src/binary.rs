//! Steps run by an OCI runtime's own program: the same specification, the same file systems, mounted on the host's side.
//!
//! The program makes and starts the container and removes it afterwards; in between it is not running, and the container's
//! first process is a child of this one, so that its end is seen as it is.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
};

use oci_spec::runtime::{LinuxNamespaceType, Mount};
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
    runner::{Step, StepIo},
    running::{Running, Stop, wait},
    stubs::{self, PointKind, Points, Stub},
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
    io: StepIo,
    network: Option<&StepNetwork>,
    program: &str,
    stop: Stop,
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
    let outcome = run_container(tools, io, program, stop).await;
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

async fn run_container(tools: &Tools<'_>, io: StepIo, program: &str, stop: Stop) -> Result<StepOutcome> {
    let container = Container {
        tools,
        name: format!("wharf-{}-{}", std::process::id(), tools.id),
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
        .arg(&pid_file)
        .arg(&container.name);
    create.stdin(io.stdin).stdout(io.stdout).stderr(io.stderr);
    let made = tokio::process::Command::from(create)
        .status()
        .await
        .context(&said)?;
    if !made.success() {
        return not_made(&log, program);
    }
    let process = std::fs::read_to_string(&pid_file).context("the container's process")?;
    let process = process.trim().parse().ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| Error::Setup(format!("{said} named no process")))?;
    let process =
        Running::new(rustix::process::pidfd_open(process, PidfdFlags::empty()).context("watching a step")?)?;
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
    let stopped = wait(&process, stop).await?;
    let usage = tools.cgroup.usage();
    let status = rustix::process::waitid(
        WaitId::PidFd(std::os::fd::AsFd::as_fd(process.descriptor())),
        WaitIdOptions::EXITED,
    )
    .context("a step's exit status")?;
    let exit = match (
        stopped,
        status.map(|status| (status.exit_status(), status.terminating_signal())),
    ) {
        (Some(stopped), _) => stopped,
        (None, _) if usage.ran_out_of_memory => Exit::OutOfMemory,
        (None, Some((Some(code), _))) => Exit::Code(code),
        (None, Some((_, Some(signal)))) => Exit::Signal(signal),
        (None, _) => Exit::Signal(libc::SIGKILL),
    };
    Ok(StepOutcome {
        exit,
        message: None,
        cpu_us: usage.cpu_us,
        peak_memory: usage.peak_memory,
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
