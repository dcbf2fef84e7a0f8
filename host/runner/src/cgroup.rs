//! Limits: a control group for each step, on version 1 and 2 of cgroups, as far as the engine may use them.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;

use crate::error::{Context, Error, Result};

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Which controllers the engine can use, found out at the start.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// The engine's own group under each controller; the step's are in it.
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    devices: Option<PathBuf>,
    /// One hierarchy for everything.
    unified: bool,
}

/// One step's groups; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct StepCgroup {
    directories: Vec<PathBuf>,
    /// `cgroup.procs` files that the step joins.
    pub(crate) procs: Vec<PathBuf>,
    memory: Option<PathBuf>,
    unified: bool,
}

impl Cgroups {
    /// Finds what there is, removes what an earlier engine of this name left, and makes the engine's own groups.
    pub(crate) fn probe(name: &str) -> Self {
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            return Self::probe_unified(&root.join(name));
        }
        let own = |controller: &str| {
            let directory = root.join(controller).join(name);
            clean(&directory);
            std::fs::create_dir_all(&directory)
                .ok()
                .filter(|()| directory.join("cgroup.procs").exists())?;
            Some(directory)
        };
        let cgroups = Self {
            memory: own("memory"),
            pids: own("pids"),
            cpu: own("cpu"),
            devices: own("devices"),
            unified: false,
        };
        cgroups
    }

    fn probe_unified(own: &Path) -> Self {
        clean(own);
        let mut cgroups = Self {
            memory: None,
            pids: None,
            cpu: None,
            devices: None,
            unified: true,
        };
        if std::fs::create_dir_all(own).is_err() {
            return cgroups;
        }
        // Processes live in leaves only: the engine moves out of the way of its own group's children.
        let root_control = Path::new(ROOT).join("cgroup.subtree_control");
        for controller in ["memory", "pids", "cpu"] {
            std::fs::write(&root_control, format!("+{controller}")).ok();
            let enabled =
                std::fs::write(own.join("cgroup.subtree_control"), format!("+{controller}")).is_ok();
            let slot = match controller {
                "memory" => &mut cgroups.memory,
                "pids" => &mut cgroups.pids,
                _ => &mut cgroups.cpu,
            };
            *slot = enabled.then(|| own.to_owned());
        }
        cgroups
    }

    /// What cannot be enforced here, in words.
    pub(crate) fn missing(&self) -> Vec<String> {
        let lacks =
            |what: &Option<PathBuf>, name: &str| what.is_none().then(|| format!("{name} limits (cgroups)"));
        let mut missing: Vec<String> = [
            lacks(&self.memory, "memory"),
            lacks(&self.pids, "pids"),
            lacks(&self.cpu, "cpu"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.devices.is_none() {
            missing.push("the device allow-list (cgroups)".to_owned());
        }
        missing
    }

    /// Allows steps the devices of the specification and no others; the same for all, so it is set once.
    pub(crate) fn allow_devices(&self, resources: &LinuxResources) -> Result<()> {
        let Some(devices) = &self.devices else {
            return Ok(());
        };
        for rule in resources.devices().iter().flatten() {
            let number =
                |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
            let kind = match rule.typ() {
                Some(oci_spec::runtime::LinuxDeviceType::B) => "b",
                Some(oci_spec::runtime::LinuxDeviceType::C) => "c",
                _ => "a",
            };
            let access = rule.access().clone().unwrap_or_else(|| "rwm".to_owned());
            let line = format!(
                "{kind} {}:{} {access}",
                number(rule.major()),
                number(rule.minor())
            );
            let file = if rule.allow() {
                "devices.allow"
            } else {
                "devices.deny"
            };
            let line = if kind == "a" { "a".to_owned() } else { line };
            std::fs::write(devices.join(file), line).context("setting the device allow-list")?;
        }
        Ok(())
    }

    /// A group for one step with its limits. A limit that cannot be enforced is an error.
    pub(crate) fn for_step(&self, id: u64, resources: &LinuxResources) -> Result<StepCgroup> {
        let mut step = StepCgroup {
            directories: Vec::new(),
            procs: Vec::new(),
            memory: None,
            unified: self.unified,
        };
        let memory = resources
            .memory()
            .as_ref()
            .and_then(oci_spec::runtime::LinuxMemory::limit);
        let pids = resources.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit);
        let quota = resources
            .cpu()
            .as_ref()
            .and_then(|cpu| Some((cpu.quota()?, cpu.period()?)));
        if let Some(directory) = step.make(self.memory.as_ref(), id, memory.is_some(), "memory")? {
            if let Some(limit) = memory {
                let limit = limit.to_string();
                if self.unified {
                    set(&directory, "memory.max", &limit)?;
                    set(&directory, "memory.swap.max", "0").ok();
                } else {
                    set(&directory, "memory.limit_in_bytes", &limit)?;
                    // Without this a step would swap instead of ending; not every kernel accounts for swap.
                    set(&directory, "memory.memsw.limit_in_bytes", &limit).ok();
                }
            }
            step.memory = Some(directory);
        }
        if let Some(directory) = step.make(self.pids.as_ref(), id, pids.is_some(), "pids")?
            && let Some(limit) = pids
        {
            set(&directory, "pids.max", &limit.to_string())?;
        }
        if let Some((quota, period)) = quota
            && let Some(directory) = step.make(self.cpu.as_ref(), id, true, "cpu")?
        {
            if self.unified {
                set(&directory, "cpu.max", &format!("{quota} {period}"))?;
            } else {
                set(&directory, "cpu.cfs_period_us", &period.to_string())?;
                set(&directory, "cpu.cfs_quota_us", &quota.to_string())?;
            }
        }
        step.procs
            .extend(self.devices.iter().map(|devices| devices.join("cgroup.procs")));
        Ok(step)
    }
}

impl StepCgroup {
    fn make(
        &mut self,
        parent: Option<&PathBuf>,
        id: u64,
        needed: bool,
        name: &'static str,
    ) -> Result<Option<PathBuf>> {
        let Some(parent) = parent else {
            return if needed { Err(Error::Limit(name)) } else { Ok(None) };
        };
        let directory = parent.join(id.to_string());
        if !self.directories.contains(&directory) {
            std::fs::create_dir(&directory).context("making a control group")?;
            self.procs.push(directory.join("cgroup.procs"));
            self.directories.push(directory.clone());
        }
        Ok(Some(directory))
    }

    /// Did the kernel end a process of the step because its memory was used up?
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some(memory) = &self.memory else { return false };
        let file = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = std::fs::read_to_string(memory.join(file)).unwrap_or_default();
        text.lines().any(|line| {
            line.strip_prefix("oom_kill ")
                .is_some_and(|count| count.trim() != "0")
        })
    }

    /// The most memory that the step used at once, in bytes.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let file = if self.unified {
            "memory.peak"
        } else {
            "memory.max_usage_in_bytes"
        };
        std::fs::read_to_string(self.memory.as_ref()?.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
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
        let directory = entry.path();
        if !directory.is_dir() {
            continue;
        }
        for pid in std::fs::read_to_string(directory.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
        {
            if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
        remove(&directory);
    }
}
