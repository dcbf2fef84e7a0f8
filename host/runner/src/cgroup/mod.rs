//! Limits: a control group for each step, on version 1 and 2 of cgroups, as far as the engine may use them.

mod devices;

use std::{
    io,
    path::{Path, PathBuf},
};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};
use rustix::{
    mount::MountFlags,
    process::{Pid, Signal},
};

use wharf_userns::ids;

use crate::error::{Context, Error, Result};

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// The group of version 1 that steps with the usual devices share: making one for each takes longer than all else here.
const USUAL: &str = "usual";
/// Moves the one thread that writes to it. Moving a process takes a lock of the kernel's that costs about 10 ms, for the sake
/// of other threads that an init does not have.
const JOIN_THREAD: &str = "tasks";

/// Which controllers the engine can use, found out at the start.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// The groups' name, relative to each hierarchy.
    name: String,
    /// The engine's own group under each controller; the steps' are in it.
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    /// Version 1 only: every step with the usual devices is in the group [`USUAL`] of it.
    devices: Option<PathBuf>,
    /// Version 1 only: what steps used is read here.
    accounting: Option<PathBuf>,
    /// Version 2: one hierarchy for everything.
    unified: bool,
    /// Version 2: what of it is the engine's to divide.
    base: PathBuf,
    usual_devices: Vec<LinuxDeviceCgroup>,
}

/// What a step used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The kernel ended a process of it because its memory was used up.
    pub(crate) ran_out_of_memory: bool,
    /// The most memory it used at once, in bytes.
    pub(crate) peak_memory: Option<u64>,
    /// Processor time in microseconds.
    pub(crate) cpu_us: Option<u64>,
}

/// One step's groups; those that were made for it are removed when it is dropped.
#[derive(Debug)]
pub(crate) struct StepCgroup {
    id: u64,
    directories: Vec<PathBuf>,
    /// Files by which the step joins its groups.
    pub(crate) procs: Vec<PathBuf>,
    memory: Option<PathBuf>,
    accounting: Option<PathBuf>,
    unified: bool,
}

impl Cgroups {
    /// Finds what there is, removes what an earlier engine of this name left, and makes the engine's own groups. Steps may
    /// use the devices given and, unless their specification says otherwise, no others.
    pub(crate) fn probe(name: &str, usual_devices: Vec<LinuxDeviceCgroup>) -> Self {
        let root = Path::new(ROOT);
        let unified = root.join("cgroup.controllers").exists();
        let mut cgroups = Self {
            name: name.to_owned(),
            memory: None,
            pids: None,
            cpu: None,
            devices: None,
            accounting: None,
            unified,
            base: base(),
            usual_devices,
        };
        if unified {
            let own = cgroups.base.join(name);
            cgroups.probe_unified(&own);
            return cgroups;
        }
        for hierarchy in std::fs::read_dir(root).into_iter().flatten().flatten() {
            clean(&hierarchy.path().join(name));
        }
        let own = |controller: &str| make_own(&root.join(controller), name);
        cgroups.memory = own("memory");
        cgroups.pids = own("pids");
        cgroups.cpu = own("cpu");
        cgroups.devices = own("devices");
        cgroups.accounting = own("cpuacct");
        let usual = cgroups.devices.as_ref().map(|own| own.join(USUAL));
        let allowed = usual.is_some_and(|usual| {
            std::fs::create_dir_all(&usual).is_ok() && allow_devices(&usual, &cgroups.usual_devices).is_ok()
        });
        if !allowed {
            // In a container that may use fewer devices itself; its own list then holds for steps too.
            cgroups.devices = None;
        }
        cgroups
    }

    fn probe_unified(&mut self, own: &Path) {
        clean(own);
        let base = self.base.clone();
        if !writable(&base, || std::fs::create_dir_all(own)) {
            return;
        }
        for (controller, slot) in [
            ("memory", &mut self.memory),
            ("pids", &mut self.pids),
            ("cpu", &mut self.cpu),
        ] {
            let enable =
                |group: &Path| std::fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
            if enable(&base).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {
                // Groups with limited children hold no processes themselves: the engine moves into one of its own.
                move_into_leaf(&base, &base.join(leaf_name(&self.name)));
                enable(&base).ok();
            }
            *slot = enable(own).is_ok().then(|| own.to_owned());
        }
    }

    /// What cannot be enforced here, in words.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = [(&self.memory, "memory"), (&self.pids, "pids"), (&self.cpu, "cpu")]
            .into_iter()
            .filter(|(directory, _)| directory.is_none())
            .map(|(_, name)| format!("{name} limits (cgroups)"))
            .collect();
        let has_devices = if !ids().are_the_machines() {
            // Steps have the devices that they are lent, and nobody in them can make others.
            true
        } else if self.unified {
            self.base.join(&self.name).exists()
        } else {
            self.devices.is_some()
        };
        if !has_devices {
            missing.push("the device allow-list (cgroups)".to_owned());
        }
        missing
    }

    /// Refuses limits that cannot be enforced.
    fn check(&self, resources: &LinuxResources) -> Result<()> {
        let cpu = resources.cpu().as_ref();
        let memory = resources.memory().as_ref();
        for (asked, there, name) in [
            (
                memory.is_some_and(|memory| memory.limit().is_some()),
                self.memory.is_some(),
                "memory",
            ),
            (resources.pids().is_some(), self.pids.is_some(), "pids"),
            (
                cpu.is_some_and(|cpu| cpu.quota().is_some()),
                self.cpu.is_some(),
                "cpu",
            ),
            (
                cpu.is_some_and(|cpu| cpu.cpus().is_some() || cpu.mems().is_some()),
                false,
                "cpuset",
            ),
            (resources.block_io().is_some(), false, "blkio"),
            (resources.hugepage_limits().is_some(), false, "hugetlb"),
            (resources.network().is_some(), false, "network"),
        ] {
            if asked && !there {
                return Err(Error::Limit(name));
            }
        }
        Ok(())
    }

    /// A group for one step, without limits yet.
    pub(crate) fn for_step(&self, id: u64) -> Result<StepCgroup> {
        let mut step = self.empty(id);
        step.memory = step.make(self.memory.as_ref())?;
        Ok(step)
    }

    /// Sets a step's limits. One that cannot be enforced is an error.
    pub(crate) fn limit(&self, step: &mut StepCgroup, resources: &LinuxResources) -> Result<()> {
        self.check(resources)?;
        if let (Some(directory), Some(limit)) = (
            &step.memory,
            resources
                .memory()
                .as_ref()
                .and_then(oci_spec::runtime::LinuxMemory::limit),
        ) {
            self.limit_memory(directory, limit)?;
        }
        if let Some(limit) = resources.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit)
            && let Some(directory) = step.make(self.pids.as_ref())?
        {
            set(&directory, "pids.max", &limit.to_string())?;
        }
        let quota = resources
            .cpu()
            .as_ref()
            .and_then(|cpu| Some((cpu.quota()?, cpu.period().unwrap_or(100_000))));
        if let Some((quota, period)) = quota
            && let Some(directory) = step.make(self.cpu.as_ref())?
        {
            if self.unified {
                set(&directory, "cpu.max", &format!("{quota} {period}"))?;
            } else {
                set(&directory, "cpu.cfs_period_us", &period.to_string())?;
                set(&directory, "cpu.cfs_quota_us", &quota.to_string())?;
            }
        }
        self.limit_devices(step, resources.devices().as_deref().unwrap_or_default())
    }

    fn limit_memory(&self, directory: &Path, limit: i64) -> Result<()> {
        let limit = limit.to_string();
        // Without the second a step would swap instead of ending; not every kernel accounts for swap.
        if self.unified {
            set(directory, "memory.max", &limit)?;
            set(directory, "memory.swap.max", "0").ok();
        } else {
            set(directory, "memory.limit_in_bytes", &limit)?;
            set(directory, "memory.memsw.limit_in_bytes", &limit).ok();
        }
        Ok(())
    }

    fn limit_devices(&self, step: &mut StepCgroup, rules: &[LinuxDeviceCgroup]) -> Result<()> {
        if self.unified {
            let own = self.base.join(&self.name);
            if own.exists()
                && ids().are_the_machines()
                && !rules.is_empty()
                && let Some(directory) = step.make(Some(&own))?
            {
                devices::attach(&directory, rules).context("setting the device allow-list")?;
            }
        } else if rules == self.usual_devices {
            step.procs
                .extend(self.devices.iter().map(|own| own.join(USUAL).join(JOIN_THREAD)));
        } else if let Some(directory) = step.make(self.devices.as_ref())? {
            allow_devices(&directory, rules)?;
        }
        Ok(())
    }

    /// The groups that an OCI runtime makes for a step, and their path in its specification.
    pub(crate) fn for_runtime(&self, id: u64, resources: &LinuxResources) -> Result<(StepCgroup, String)> {
        self.check(resources)?;
        let mut step = self.empty(id);
        let of = |own: &Option<PathBuf>| own.as_ref().map(|own| own.join(id.to_string()));
        step.memory = of(&self.memory);
        step.accounting = if self.unified {
            of(&self.cpu)
        } else {
            of(&self.accounting)
        };
        Ok((step, format!("/{}/{id}", self.name)))
    }

    fn empty(&self, id: u64) -> StepCgroup {
        StepCgroup {
            id,
            directories: Vec::new(),
            procs: Vec::new(),
            memory: None,
            accounting: None,
            unified: self.unified,
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // As far as no step is in them.
        for own in [
            &self.memory,
            &self.pids,
            &self.cpu,
            &self.devices,
            &self.accounting,
        ]
        .into_iter()
        .flatten()
        {
            std::fs::remove_dir(own.join(USUAL)).ok();
            std::fs::remove_dir(own).ok();
        }
    }
}

impl StepCgroup {
    fn make(&mut self, parent: Option<&PathBuf>) -> Result<Option<PathBuf>> {
        let Some(parent) = parent else { return Ok(None) };
        let directory = parent.join(self.id.to_string());
        if !self.directories.contains(&directory) {
            std::fs::create_dir(&directory).context("making a control group")?;
            // Version 2 takes whole processes only.
            self.procs
                .push(directory.join(if self.unified { "cgroup.procs" } else { JOIN_THREAD }));
            self.directories.push(directory.clone());
        }
        Ok(Some(directory))
    }

    /// What the step used; before its groups are gone.
    pub(crate) fn usage(&self) -> Usage {
        let (events, peak) = if self.unified {
            ("memory.events", "memory.peak")
        } else {
            ("memory.oom_control", "memory.max_usage_in_bytes")
        };
        let memory = |file: &str| std::fs::read_to_string(self.memory.as_ref()?.join(file)).ok();
        let killed = |line: &str| {
            line.strip_prefix("oom_kill ")
                .is_some_and(|count| count.trim() != "0")
        };
        Usage {
            ran_out_of_memory: memory(events).is_some_and(|text| text.lines().any(killed)),
            peak_memory: memory(peak).and_then(|text| text.trim().parse().ok()),
            cpu_us: self.processor_time(),
        }
    }

    fn processor_time(&self) -> Option<u64> {
        let directory = self.accounting.as_ref()?;
        if self.unified {
            let text = std::fs::read_to_string(directory.join("cpu.stat")).ok()?;
            return text
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        }
        let nanoseconds: u64 = std::fs::read_to_string(directory.join("cpuacct.usage"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(nanoseconds / 1000)
    }
}

impl Drop for StepCgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            remove(directory);
        }
    }
}

fn set(directory: &Path, file: &str, value: &str) -> Result<()> {
    std::fs::write(directory.join(file), value).context(&format!("setting {file} of a step"))
}

/// Writes version 1's allow-list.
fn allow_devices(directory: &Path, rules: &[LinuxDeviceCgroup]) -> Result<()> {
    for rule in rules {
        let number = |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let access = rule.access().clone().unwrap_or_else(|| "rwm".to_owned());
        let (major, minor) = (number(rule.major()), number(rule.minor()));
        let line = match rule.typ() {
            Some(oci_spec::runtime::LinuxDeviceType::B) => format!("b {major}:{minor} {access}"),
            Some(oci_spec::runtime::LinuxDeviceType::C) => format!("c {major}:{minor} {access}"),
            _ => "a".to_owned(),
        };
        let file = if rule.allow() {
            "devices.allow"
        } else {
            "devices.deny"
        };
        std::fs::write(directory.join(file), &line)
            .context(&format!("setting the device allow-list to {line}"))?;
    }
    Ok(())
}

/// The engine's own group in a version 1 hierarchy.
fn make_own(hierarchy: &Path, name: &str) -> Option<PathBuf> {
    let directory = hierarchy.join(name);
    let made = writable(hierarchy, || std::fs::create_dir_all(&directory));
    (made && directory.join("cgroup.procs").exists()).then_some(directory)
}

/// Does something in a hierarchy, which in a container may have been mounted read-only.
fn writable(hierarchy: &Path, mut action: impl FnMut() -> io::Result<()>) -> bool {
    match action() {
        Err(error) if error.raw_os_error() == Some(libc::EROFS) => {
            let remounted = rustix::mount::mount_remount(hierarchy, MountFlags::BIND, "");
            remounted.is_ok() && action().is_ok()
        }
        outcome => outcome.is_ok(),
    }
}

/// The group in which an engine itself is, where steps' groups are beside it.
fn leaf_name(name: &str) -> String {
    format!("{name}-engine")
}

/// The group of version 2 that is the engine's to divide: all of them for root, and for others the one that they were started
/// in, which is theirs when somebody has given it to them.
fn base() -> PathBuf {
    let root = PathBuf::from(ROOT);
    if ids().are_the_machines() {
        return root;
    }
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = root.join(own.unwrap_or_default());
    match own.file_name().and_then(|name| name.to_str()) {
        Some(name) if name.ends_with("-engine") => own.parent().map_or(root, Path::to_owned),
        _ => own,
    }
}

/// Puts this process, which has no step yet, beside where the groups of steps will be: a group whose children have limits holds
/// no processes itself. For engines of ordinary users, from outside of their namespace.
pub fn make_room(name: &str) {
    if !Path::new(ROOT).join("cgroup.controllers").exists() {
        return;
    }
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let leaf = Path::new(ROOT)
        .join(own.unwrap_or_default())
        .join(leaf_name(name));
    if std::fs::create_dir_all(&leaf).is_ok() && std::fs::write(leaf.join("cgroup.procs"), "0").is_err() {
        std::fs::remove_dir(&leaf).ok();
    }
}

fn move_into_leaf(base: &Path, leaf: &Path) {
    std::fs::create_dir_all(leaf).ok();
    let all = std::fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
    for pid in all.lines() {
        // The kernel's own threads stay where they are.
        std::fs::write(leaf.join("cgroup.procs"), pid).ok();
    }
}

/// Removes a group; processes that are on their way out get a moment.
fn remove(directory: &Path) {
    for _ in 0..100 {
        match std::fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            _ => return,
        }
    }
}

/// Ends what an earlier engine left in its groups and removes them.
fn clean(own: &Path) {
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            clean(&entry.path());
            end_all(&entry.path());
            remove(&entry.path());
        }
    }
}

fn end_all(group: &Path) {
    for pid in std::fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
    {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
}
