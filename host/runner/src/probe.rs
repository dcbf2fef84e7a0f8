//! What this host lets steps have, tried out without leaving a trace: for people who ask why no engine runs here.

use std::{io, os::fd::AsFd, path::Path, thread};

use rustix::{
    fs::{Access, access},
    mount::FsOpenFlags,
};

use serde::{Deserialize, Serialize};
use wharf_userns::ids;

use crate::{helper::USER_XATTR, network};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Controllers that steps' limits need.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// One thing that steps need of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// What it is, in a word.
    pub name: String,
    /// What was found.
    pub found: Found,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// It works, with a word on how.
    Works(String),
    /// Steps run, and something does not hold for them.
    Limited(String),
    /// Steps cannot run.
    Fails(String),
}

/// Tries what the built-in runtime uses. `beside` is a directory on the file system that will hold layers; it has to exist
/// and be writable. Blocking, for some milliseconds.
pub fn probe(beside: &Path) -> Vec<Feature> {
    let (namespaces, network) = in_namespaces(beside);
    let feature = |name: &str, found| Feature {
        name: name.to_owned(),
        found,
    };
    vec![
        feature("namespaces", namespaces),
        feature(
            "overlay",
            works_or_fails(try_overlay(beside), "mounts on the store's file system"),
        ),
        feature("seccomp", seccomp()),
        feature("cgroups", cgroups()),
        feature("network", network),
    ]
}

/// Why this process is root of less than the machine, if it is.
pub fn lacks_root() -> Option<String> {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let all = u32::MAX.to_string();
    let is_all = map.split_whitespace().eq(["0", "0", all.as_str()]);
    (!is_all).then(|| "it is in a user namespace".to_owned())
}

fn works_or_fails(outcome: io::Result<()>, word: &str) -> Found {
    match outcome {
        Ok(()) => Found::Works(word.to_owned()),
        Err(error) => Found::Fails(error.to_string()),
    }
}

/// New namespaces of all kinds, and the packet filter's rules in a network of their own.
fn in_namespaces(beside: &Path) -> (Found, Found) {
    // A thread of its own, which ends with what it has entered.
    let tried = thread::spawn(|| {
        let kinds = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWCGROUP;
        // SAFETY: plain system call; it changes this thread alone.
        if unsafe { libc::unshare(kinds) } != 0 {
            let error = io::Error::last_os_error();
            return (Err(error), None);
        }
        (Ok(()), Some(network::try_rules()))
    })
    .join();
    let (namespaces, rules) =
        tried.unwrap_or_else(|_| (Err(io::Error::other("the thread that tried ended badly")), None));
    let network = match rules {
        Some(Ok(())) if !wharf_userns::owns_network() => match network::try_uplink(beside) {
            Ok(program) => Found::Works(format!("packet filter (nftables), and a way out by {program}")),
            Err(error) => Found::Limited(format!("steps with network do not run: {error}")),
        },
        Some(Ok(())) => Found::Works("packet filter (nftables)".to_owned()),
        Some(Err(error)) => Found::Limited(format!(
            "steps with network do not run: the packet filter (nftables) takes no rules: {error}"
        )),
        None => Found::Limited("not tried".to_owned()),
    };
    (
        works_or_fails(namespaces, "mount, pid, ipc, uts, net and cgroup"),
        network,
    )
}

/// Makes an overlay as steps' roots are, and mounts it nowhere.
fn try_overlay(beside: &Path) -> io::Result<()> {
    let directory = beside.join(format!(".probe-{}", std::process::id()));
    let made = make_overlay(&directory);
    std::fs::remove_dir_all(&directory).ok();
    made
}

fn make_overlay(directory: &Path) -> io::Result<()> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !ids().are_the_machines() {
        rustix::mount::fsconfig_set_flag(fs.as_fd(), USER_XATTR)?;
    }
    for (option, name) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
        let path = directory.join(name);
        std::fs::create_dir_all(&path)?;
        rustix::mount::fsconfig_set_string(fs.as_fd(), option, path)?;
    }
    Ok(rustix::mount::fsconfig_create(fs.as_fd())?)
}

fn seccomp() -> Found {
    match std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Found::Works("filters system calls".to_owned())
        }
        Ok(_) => Found::Fails("the kernel's filters cannot refuse calls".to_owned()),
        Err(error) => Found::Fails(format!("the kernel has no filters for system calls: {error}")),
    }
}

fn cgroups() -> Found {
    let root = Path::new(CGROUPS);
    let unified = std::fs::read_to_string(root.join("cgroup.controllers"));
    let (version, lacking): (_, Vec<_>) = if let Ok(controllers) = &unified {
        let has = |name: &&str| controllers.split_whitespace().any(|there| there == *name);
        (2, CONTROLLERS.into_iter().filter(|name| !has(name)).collect())
    } else {
        let lacks = |name: &&str| access(root.join(name), Access::WRITE_OK).is_err();
        (1, CONTROLLERS.into_iter().filter(lacks).collect())
    };
    if unified.is_ok() && access(root, Access::WRITE_OK).is_err() {
        return Found::Limited(format!(
            "limits of memory, processes and processors are not held: {CGROUPS} is read-only"
        ));
    }
    if lacking.is_empty() && ids().are_the_machines() {
        return Found::Works(format!("version {version}, with {}", CONTROLLERS.join(", ")));
    }
    Found::Limited(format!(
        "version {version}; limits are not held for: {}",
        lacking.join(", ")
    ))
}
