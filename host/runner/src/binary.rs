//! Steps run by an OCI runtime's own program: the same specification, the same file systems, mounted on the host's side.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::mount::UnmountFlags;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Context, Error, Result},
    helper::{mount_overlay, place_in_root},
    network::StepNetwork,
    overlay::Overlay,
    runner::{Exit, Step, StepIo, StepOutcome},
};

/// What one run needs.
pub(crate) struct Tools<'r> {
    pub(crate) program: &'r Path,
    pub(crate) state: &'r Path,
    pub(crate) bundle: &'r Path,
    pub(crate) id: u64,
}

/// Mounts of one run on the host's side; taken away in reverse.
struct Mounted(Vec<PathBuf>);

impl Mounted {
    fn add(&mut self, tools: &Tools<'_>, overlay: &Overlay, at: PathBuf) -> Result<()> {
        std::fs::create_dir_all(&at).context(&at.display().to_string())?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let target: OwnedFd =
            rustix::fs::open(&at, flags, rustix::fs::Mode::empty()).context("a mount point")?;
        mount_overlay(overlay, &tools.state.join("empty"), &target)
            .context("mounting a step's file system")?;
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

/// Runs a step with an OCI runtime.
pub(crate) async fn run(
    tools: &Tools<'_>,
    mut step: Step,
    io: StepIo,
    network: Option<&StepNetwork>,
    cancel: CancellationToken,
    timeout: impl Future<Output = ()>,
) -> Result<StepOutcome> {
    let mut mounted = Mounted(Vec::new());
    let root = tools.bundle.join("rootfs");
    mounted.add(tools, &step.root, root.clone())?;
    let mut mounts = step.spec.mounts().clone().unwrap_or_default();
    for (number, mount) in step.mounts.iter().enumerate() {
        let at = tools.bundle.join(format!("mount{number}"));
        mounted.add(tools, &mount.overlay, at.clone())?;
        let bind = serde_json::json!({
            "destination": mount.destination, "type": "bind", "source": at, "options": ["rbind", "rprivate", "rw"]
        });
        mounts.push(serde_json::from_value(bind).map_err(|error| Error::Setup(error.to_string()))?);
    }
    // Outer paths before inner ones; what the system needs comes first and stays in order.
    let is_own = |mount: &oci_spec::runtime::Mount| mount.typ().as_deref() == Some("bind");
    let depth = |mount: &oci_spec::runtime::Mount| mount.destination().components().count();
    mounts.sort_by_key(|mount| (is_own(mount), if is_own(mount) { depth(mount) } else { 0 }));
    let stubs = make_mount_points(&root, &mounts)?;
    step.spec.set_mounts(Some(mounts));
    enter_network(&mut step, network)?;
    step.spec
        .save(tools.bundle.join("config.json"))
        .map_err(|error| Error::Setup(error.to_string()))?;
    let has_memory_limit = step
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref()?.memory().as_ref()?.limit())
        .is_some();
    let exit = run_program(tools, io, has_memory_limit, cancel, timeout).await?;
    drop(mounted);
    if let Some((upper, _)) = &step.root.upper {
        for stub in stubs.iter().rev() {
            let path = upper.join(stub.trim_start_matches('/'));
            std::fs::remove_dir(&path)
                .or_else(|_| remove_empty_file(&path))
                .ok();
        }
    }
    Ok(StepOutcome {
        exit,
        cpu_us: None,
        peak_memory: None,
    })
}

fn remove_empty_file(path: &Path) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_file() && metadata.len() == 0 {
        std::fs::remove_file(path)
    } else {
        Ok(())
    }
}

/// Makes the mount points that are missing, so that it is known which they were.
fn make_mount_points(root: &Path, mounts: &[oci_spec::runtime::Mount]) -> Result<Vec<String>> {
    use crate::helper::PointKind;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let root: OwnedFd = rustix::fs::open(root, flags, rustix::fs::Mode::empty()).context("a step's root")?;
    let mut made = Vec::new();
    for mount in mounts {
        let destination = mount.destination().to_string_lossy();
        let is_file = mount.source().as_ref().is_some_and(|source| source.is_file());
        // What lies in a file system that is mounted later is made there by the runtime.
        if destination.starts_with("/dev/")
            || destination.starts_with("/proc/")
            || destination.starts_with("/sys/")
        {
            continue;
        }
        let kind = if is_file {
            PointKind::File
        } else {
            PointKind::Directory
        };
        place_in_root(&root, &destination, kind, &mut made).context(&destination)?;
    }
    Ok(made)
}

fn enter_network(step: &mut Step, network: Option<&StepNetwork>) -> Result<()> {
    let Some(network) = network else { return Ok(()) };
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        network.namespace.as_raw_fd()
    );
    let mut spec = serde_json::to_value(&step.spec).map_err(|error| Error::Setup(error.to_string()))?;
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        for namespace in namespaces
            .iter_mut()
            .filter(|namespace| namespace["type"] == "network")
        {
            namespace["path"] = serde_json::json!(path);
        }
    }
    step.spec = serde_json::from_value(spec).map_err(|error| Error::Setup(error.to_string()))?;
    Ok(())
}

async fn run_program(
    tools: &Tools<'_>,
    io: StepIo,
    has_memory_limit: bool,
    cancel: CancellationToken,
    timeout: impl Future<Output = ()>,
) -> Result<Exit> {
    let name = format!("wharf-{}-{}", std::process::id(), tools.id);
    let log = tools.bundle.join("runtime.log");
    let said = tools.program.display().to_string();
    let command = || {
        let mut command = tokio::process::Command::new(tools.program);
        command.arg("--root").arg(tools.state.join("runtime"));
        command
    };
    let mut child = command()
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "run", "--bundle"])
        .arg(tools.bundle)
        .arg(&name)
        .stdin(Stdio::from(io.stdin))
        .stdout(Stdio::from(io.stdout))
        .stderr(Stdio::from(io.stderr))
        .spawn()
        .context(&said)?;
    let stopped = tokio::select! {
        status = child.wait() => {
            let status = status.context(&said)?;
            return Ok(judge(status, &log, has_memory_limit)?);
        }
        () = cancel.cancelled() => Exit::Cancelled,
        () = timeout => Exit::TimedOut,
    };
    command()
        .args(["delete", "--force", &name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .ok();
    child.wait().await.context(&said)?;
    Ok(stopped)
}

/// What the runtime's own end says of the step's. What went wrong before the program ran is in its log.
fn judge(status: std::process::ExitStatus, log: &Path, has_memory_limit: bool) -> Result<Exit> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let failure = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|entry| entry["level"] == "error")
        .and_then(|entry| entry["msg"].as_str().map(str::to_owned));
    if let Some(message) = failure {
        if message.contains("executable file not found") || message.contains("no such file or directory") {
            return Ok(Exit::NotFound);
        }
        if message.contains("permission denied")
            || message.contains("exec format error")
            || message.contains("is a directory")
        {
            return Ok(Exit::NotExecutable);
        }
        return Err(Error::Setup(message));
    }
    let code = status.code().unwrap_or(137);
    Ok(match code {
        137 if has_memory_limit => Exit::OutOfMemory,
        129..=192 => Exit::Signal(code - 128),
        code => Exit::Code(code),
    })
}
