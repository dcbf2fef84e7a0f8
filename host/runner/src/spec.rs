//! OCI runtime specifications with Docker's defaults, from the few things that differ between steps.

use std::sync::LazyLock;

use oci_spec::runtime::{Linux, Spec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wharf_userns::{Ids, ids};

use crate::{
    error::{Error, Result},
    passwd::User,
    seccomp,
};

/// Docker's defaults as data.
const DEFAULTS: &str = include_str!("../data/docker.json");

/// A bind mount of a file or directory of the engine's host.
#[derive(Clone, Debug)]
pub struct Bind {
    /// On the host.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// Can the step write to it?
    pub writable: bool,
}

/// What kind of device a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// One of characters.
    Character,
    /// One of blocks.
    Block,
}

/// A device beside the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Where in the container.
    pub path: String,
    /// What kind.
    pub kind: DeviceKind,
    /// The driver's number.
    pub major: u32,
    /// The device's number.
    pub minor: u32,
    /// Permission bits of the node.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What may be done with the device: any of `r`, `w` and `m`.
    pub access: String,
}

/// What differs between steps.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// Who it runs as.
    pub user: User,
    /// Name of the host in the container.
    pub hostname: String,
    /// Files and directories of the engine's host.
    pub binds: Vec<Bind>,
    /// Devices beside the usual ones.
    pub devices: Vec<DeviceNode>,
    /// Directories in memory: destination, bytes at most, mode.
    pub temporary: Vec<(String, Option<u64>, u32)>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub millicpus: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// The program search path of a container that sets none.
pub fn default_path() -> String {
    defaults()["path"].as_str().unwrap_or_default().to_owned()
}

fn defaults() -> &'static Value {
    static PARSED: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(DEFAULTS).expect("the shipped defaults are JSON"));
    &PARSED
}

/// What the kernel gives, in the order in which it is mounted.
fn system_mounts() -> Value {
    let system = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    // Terminals belong to a group of their own, where there is another group than root's.
    let terminals = if ids() == Ids::One { "gid=0" } else { "gid=5" };
    json!([
        system("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        system(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        system(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                terminals,
            ],
        ),
        system("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        system("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        system(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
    ])
}

/// What a step mounts itself.
fn own_mounts(process: &Process) -> impl Iterator<Item = Value> {
    let temporary = process.temporary.iter().map(|(destination, size, mode)| {
        let mut options = vec!["nosuid".to_owned(), "nodev".to_owned(), format!("mode={mode:o}")];
        options.extend(size.map(|size| format!("size={size}")));
        json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
    });
    let binds = process.binds.iter().map(|bind| {
        let access = if bind.writable { "rw" } else { "ro" };
        json!({
            "destination": bind.destination, "type": "bind", "source": bind.source, "options": ["rbind", "rprivate", access]
        })
    });
    temporary.chain(binds)
}

/// The devices that a container may use.
fn devices() -> Value {
    let device = |kind: &str, major: Option<i64>, minor: Option<i64>, access: &str| json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access });
    let mut devices = vec![
        json!({ "allow": false, "access": "rwm" }),
        device("c", None, None, "m"),
        device("b", None, None, "m"),
        device("c", Some(136), None, "rwm"),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] {
        devices.push(device("c", Some(major), Some(minor), "rwm"));
    }
    devices.into()
}

/// A process's own devices: their nodes, and the rules that let it use them.
fn own_devices(process: &Process) -> (Vec<Value>, Vec<Value>) {
    let kind = |device: &DeviceNode| match device.kind {
        DeviceKind::Character => "c",
        DeviceKind::Block => "b",
    };
    let devices = process.devices.iter();
    let nodes = devices.clone().map(|device| {
        json!({
            "path": device.path, "type": kind(device), "major": device.major, "minor": device.minor,
            "fileMode": device.mode, "uid": device.uid, "gid": device.gid,
        })
    });
    let usable = devices.filter(|device| !device.access.is_empty());
    let rules = usable.map(|device| {
        json!({
            "allow": true, "type": kind(device), "major": device.major, "minor": device.minor, "access": device.access,
        })
    });
    (nodes.collect(), rules.collect())
}

/// The kernel's settings, of which one names all groups: those that there are.
fn sysctl(usual: &Value) -> Value {
    let mut settings = usual.clone();
    let last = match ids() {
        Ids::Machine => return settings,
        Ids::Range { groups, .. } => groups - 1,
        Ids::One => 0,
    };
    settings["net.ipv4.ping_group_range"] = format!("0 {last}").into();
    settings
}

/// What is the same for every step.
fn common() -> &'static std::result::Result<Spec, String> {
    static COMMON: LazyLock<std::result::Result<Spec, String>> = LazyLock::new(|| {
        let defaults = defaults();
        let namespaces =
            ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
        let spec = json!({
            "ociVersion": "1.0.2",
            "root": { "path": "rootfs", "readonly": false },
            "mounts": system_mounts(),
            "linux": {
                "namespaces": namespaces,
                "resources": { "devices": devices() },
                "maskedPaths": defaults["maskedPaths"],
                "readonlyPaths": defaults["readonlyPaths"],
                "sysctl": sysctl(&defaults["sysctl"]),
            },
        });
        let mut spec: Spec = serde_json::from_value(spec).map_err(|error| error.to_string())?;
        if let Some(linux) = spec.linux_mut() {
            linux.set_seccomp(Some(seccomp::standard().clone()));
        }
        Ok(spec)
    });
    &COMMON
}

/// The supplementary groups, the user's own among them: without it a program that gives its group up could get at what is
/// closed to that group.
fn all_groups(user: &User) -> Vec<u32> {
    let mut groups = user.groups.clone();
    if !groups.contains(&user.gid) {
        groups.push(user.gid);
    }
    groups
}

/// A specification with Docker's defaults for everything that `process` does not say. The root file system and the network
/// namespace are added when it is run.
pub fn docker_like(process: &Process) -> Result<Spec> {
    let mut spec = common().clone().map_err(|error| broken(&error))?;
    let capabilities = &defaults()["capabilities"];
    let user = &process.user;
    // A user other than root starts with none; they can only be gained by way of setuid programs.
    let own = if user.uid == 0 {
        capabilities.clone()
    } else {
        json!([])
    };
    spec.set_process(Some(read(json!({
        "terminal": false,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": all_groups(user), "umask": 0o22 },
        "args": process.args,
        "env": process.env,
        "cwd": process.cwd,
        "capabilities": {
            "bounding": capabilities, "effective": own, "permitted": own,
            "inheritable": [], "ambient": [],
        },
        "rlimits": [{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }],
        "noNewPrivileges": false,
        "oomScoreAdj": 0,
    }))?));
    spec.set_hostname(Some(process.hostname.clone()));
    if let Some(mounts) = spec.mounts_mut() {
        for mount in own_mounts(process) {
            mounts.push(read(mount)?);
        }
    }
    if !process.devices.is_empty()
        && let Some(linux) = spec.linux_mut()
    {
        add_devices(linux, process)?;
    }
    if let Some(resources) = spec
        .linux_mut()
        .as_mut()
        .and_then(|linux| linux.resources_mut().as_mut())
    {
        if let Some(memory) = process.memory {
            resources.set_memory(read(json!({ "limit": memory, "swap": memory }))?);
        }
        if let Some(millicpus) = process.millicpus {
            let quota = i64::from(millicpus) * 100;
            resources.set_cpu(read(json!({ "period": 100_000, "quota": quota }))?);
        }
        if let Some(pids) = process.pids {
            resources.set_pids(read(json!({ "limit": pids }))?);
        }
    }
    Ok(spec)
}

fn add_devices(linux: &mut Linux, process: &Process) -> Result<()> {
    let (nodes, rules) = own_devices(process);
    linux.set_devices(read(nodes.into())?);
    if let Some(resources) = linux.resources_mut() {
        let mut all = resources.devices().clone().unwrap_or_default();
        all.extend(read::<Vec<_>>(rules.into())?);
        resources.set_devices(Some(all));
    }
    Ok(())
}

/// A part of a specification.
fn read<T: DeserializeOwned>(part: Value) -> Result<T> {
    serde_json::from_value(part).map_err(|error| broken(&error))
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::Setup(format!("the specification does not hold together: {error}"))
}
