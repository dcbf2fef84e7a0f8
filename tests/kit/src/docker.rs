//! A real Docker daemon: the one that is there, or Debian's `dockerd` started for this run.

use std::io::BufWriter;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use tempfile::TempDir;

use crate::image::Image;
use crate::process::{self, Server};
use crate::{Error, Result, paths, shared};

/// Two daemons in one network namespace break each other's firewall rules. A daemon that the kit starts holds this
/// file's lock for as long as it lives, even when the process that started it is gone.
const LOCK: &str = "/run/lock/wharf-dockerd.lock";
/// Where a daemon listens unless told otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// A Docker daemon that answers. One that was started here stops with the last clone.
#[derive(Debug, Clone)]
pub struct Daemon {
    host: String,
    client: PathBuf,
    own: Option<Arc<Started>>,
}

/// A daemon that this process has started.
#[derive(Debug)]
struct Started {
    server: Server,
    firewall: Vec<u8>,
    // The last field, so that the files go after the daemon.
    files: TempDir,
}

impl Daemon {
    /// The daemon that is there already: that of this run (see [`shared`]), `DOCKER_HOST`, or the usual socket.
    pub fn existing() -> Option<Self> {
        let client = client()?;
        let named = shared::get(shared::DOCKER_HOST).or_else(|| shared::get("DOCKER_HOST"));
        let host = match named {
            Some(host) => host,
            None if Path::new(SOCKET).exists() => format!("unix://{SOCKET}"),
            None => return None,
        };
        let daemon = Self {
            host,
            client,
            own: None,
        };
        daemon.answers().then_some(daemon)
    }

    /// The daemon that is there, or one of this process's own, which stops when this is dropped.
    pub fn existing_or_start() -> Result<Self> {
        Self::existing().map_or_else(Self::start, Ok)
    }

    /// Starts Debian's `dockerd`, as root. Waits until no other daemon of the kit's runs on this machine.
    pub fn start() -> Result<Self> {
        if !paths::is_root() {
            return Err(no_docker(
                "there is none to be reached, and starting one needs root",
            ));
        }
        let dockerd = process::require("dockerd", "docker.io")?;
        let client = client().ok_or_else(|| no_docker("the client `docker` is not installed (docker.io)"))?;
        let lock = process::lock(Path::new(LOCK))?;
        let firewall =
            process::run(&mut Command::new(process::require("iptables-save", "iptables")?))?.stdout;
        // Short, because paths of sockets end at 108 bytes; under target, because overlay wants a real file system.
        let parent = paths::target().join("docker");
        sweep(&parent);
        fs::create_dir_all(&parent).map_err(Error::io("creating", &parent))?;
        let files = tempfile::Builder::new()
            .prefix("d")
            .tempdir_in(&parent)
            .map_err(Error::io("making a directory in", &parent))?;
        let run = fs::canonicalize(files.path()).map_err(Error::io("finding", files.path()))?;
        let host = format!("unix://{}", run.join("sock").display());
        let args: Vec<_> = [
            format!("--host={host}"),
            format!("--data-root={}", run.join("data").display()),
            format!("--exec-root={}", run.join("exec").display()),
            format!("--pidfile={}", run.join("pid").display()),
        ]
        .into();
        let (out, log) = (run.join("out"), run.join("log"));
        let server = Server::start(&dockerd, &args, Some(lock), (&out, &log), Duration::from_secs(30))?;
        let daemon = Self {
            host,
            client,
            own: Some(Arc::new(Started {
                server,
                firewall,
                files,
            })),
        };
        daemon.wait_until_ready(&log)?;
        Ok(daemon)
    }

    /// Its address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether this process has started it.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The client, set up to speak to this daemon.
    pub fn docker(&self) -> Command {
        let mut command = Command::new(&self.client);
        command
            .env("DOCKER_HOST", &self.host)
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null());
        command
    }

    /// Runs the client to its end; anything but success is an error.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        process::run(self.docker().args(args))
    }

    /// `docker build` with BuildKit.
    ///
    /// From version 23 on the client needs its buildx plugin for that, so a client that can is looked for.
    pub fn buildkit(&self) -> Result<Command> {
        let able = clients().into_iter().find(|client| {
            let asks = |args: &[&str]| Command::new(client).args(args).output();
            let buildx = asks(&["buildx", "version"]).is_ok_and(|output| output.status.success());
            buildx || asks(&["--version"]).is_ok_and(|output| builds_by_itself(&output.stdout))
        });
        let able = able.ok_or_else(|| no_docker("no client on this machine can build with BuildKit"))?;
        let mut command = Command::new(able);
        command
            .env("DOCKER_HOST", &self.host)
            .env("DOCKER_BUILDKIT", "1")
            .env_remove("DOCKER_CONTEXT");
        command.arg("build").stdin(Stdio::null());
        Ok(command)
    }

    /// Loads a base image under its name, unless the daemon has this very image.
    pub fn load(&self, image: &Image) -> Result<()> {
        let id = image.config()?.digest;
        let known = self
            .docker()
            .args(["image", "inspect", "--format", "{{.Id}}", &image.name])
            .output();
        if known.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == id) {
            return Ok(());
        }
        let archive = tempfile::NamedTempFile::new().map_err(Error::io("making", env::temp_dir()))?;
        image.write_docker_archive(BufWriter::new(archive.as_file()))?;
        self.run([
            std::ffi::OsStr::new("load"),
            "--input".as_ref(),
            archive.path().as_os_str(),
        ])?;
        Ok(())
    }

    /// The host's address as containers on the default bridge see it.
    pub fn gateway(&self) -> Result<IpAddr> {
        let format = "{{with index .IPAM.Config 0}}{{.Gateway}} {{.Subnet}}{{end}}";
        let output = self.run(["network", "inspect", "--format", format, "bridge"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        gateway_of(text.trim_end()).ok_or_else(|| no_docker(&format!("its bridge has no gateway: {text:?}")))
    }

    fn answers(&self) -> bool {
        let version = ["version", "--format", "{{.Server.APIVersion}}"];
        self.docker()
            .args(version)
            .output()
            .is_ok_and(|output| output.status.success())
    }

    fn wait_until_ready(&self, log: &Path) -> Result<()> {
        let ended = || self.own.as_ref().and_then(|own| own.server.ended());
        let ready = process::wait_for(Duration::from_mins(1), || {
            if ended().is_some() {
                Some(false)
            } else {
                self.answers().then_some(true)
            }
        });
        if ready == Some(true) {
            return Ok(());
        }
        let log = fs::read(log).unwrap_or_default();
        Err(Error::NotReady {
            what: "dockerd",
            why: process::tail(&log),
        })
    }
}

impl Drop for Started {
    /// Stops the daemon and takes back what it leaves behind: its bridge, its firewall rules, its mounts.
    fn drop(&mut self) {
        self.server.stop();
        // What is gone already is as good as removed.
        let _ = Command::new("ip")
            .args(["link", "delete", "docker0"])
            .stderr(Stdio::null())
            .status();
        restore_firewall(&self.firewall);
        unmount_below(self.files.path());
    }
}

/// Reads `GATEWAY SUBNET`; without a gateway it is the subnet's first address, as Docker's is.
fn gateway_of(text: &str) -> Option<IpAddr> {
    let (gateway, subnet) = text.split_once(' ')?;
    if let Ok(address) = gateway.parse() {
        return Some(address);
    }
    let network: std::net::Ipv4Addr = subnet.split_once('/')?.0.parse().ok()?;
    Some(IpAddr::V4((u32::from(network) + 1).into()))
}

/// Puts the tables back that `iptables-save` has read; where it has read none, Docker's are emptied.
fn restore_firewall(saved: &[u8]) {
    const EMPTY: &str = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n\
        *nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n";
    let mut rules = EMPTY.as_bytes().to_vec();
    rules.extend_from_slice(saved);
    let Ok(mut child) = Command::new("iptables-restore").stdin(Stdio::piped()).spawn() else {
        return;
    };
    if let Some(mut stdin) = child.stdin.take() {
        let _ = std::io::Write::write_all(&mut stdin, &rules);
    }
    let _ = child.wait();
}

/// Removes what daemons left that were killed. None of them lives: the lock is ours.
fn sweep(parent: &Path) {
    unmount_below(parent);
    let _ = fs::remove_dir_all(parent);
}

/// Takes away what is mounted below a directory.
pub(crate) fn unmount_below(dir: &Path) {
    let Ok(dir) = fs::canonicalize(dir) else { return };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new);
    for point in points.filter(|point| point.starts_with(&dir)) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(point)
            .stderr(Stdio::null())
            .status();
    }
}

/// The first client on this machine.
fn client() -> Option<PathBuf> {
    clients().into_iter().next()
}

/// Every `docker` in `PATH`.
fn clients() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join("docker"))
        .filter(|file| file.is_file())
        .collect()
}

/// Before version 23 the client could speak to BuildKit without a plugin.
fn builds_by_itself(version: &[u8]) -> bool {
    let text = String::from_utf8_lossy(version);
    let major = text
        .strip_prefix("Docker version ")
        .and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| (18..23).contains(&major))
}

fn no_docker(why: &str) -> Error {
    Error::NoDocker { why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_gateway_with_or_without_its_name() {
        let gateway = Some(IpAddr::from([172, 17, 0, 1]));
        assert_eq!(gateway_of("172.17.0.1 172.17.0.0/16"), gateway);
        assert_eq!(gateway_of(" 172.17.0.0/16"), gateway);
        assert_eq!(gateway_of(""), None);
    }

    #[test]
    fn knows_which_clients_build_without_a_plugin() {
        assert!(builds_by_itself(b"Docker version 20.10.24+dfsg1, build 297e128"));
        assert!(!builds_by_itself(b"Docker version 28.2.2, build e6534b4"));
        assert!(!builds_by_itself(b"podman version 4.3.1"));
    }
}
