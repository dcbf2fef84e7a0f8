//! What an engine holds of the machine it runs on, so that tests can show that load leaves nothing behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::TestEngine;

/// How long what is being given back may take. The kernel removes network links and process namespaces behind our back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that belongs to one engine but is not in its memory. Connections to the index, which it keeps for the next
/// who reads, are counted for themselves: see [`TestEngine::index_connections`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Open files of it and of the processes below it: regular files by path, all else by what it is.
    descriptors: BTreeMap<String, usize>,
    /// Mount points in the engine's view and in ours that have to do with its directory.
    mounts: BTreeSet<String>,
    /// Processes below it, by name.
    processes: Vec<String>,
    /// Control groups of its steps, and processes in them or in any that they share.
    groups: BTreeSet<PathBuf>,
    /// Host's ends of its steps' network links.
    links: BTreeSet<String>,
    /// How many rules the packet filter has for steps.
    rules: usize,
    /// What is half made or half removed in its store, and what lies in its directory for running steps.
    files: BTreeSet<PathBuf>,
}

impl Footprint {
    /// What it holds now. The engine is a process of this test.
    pub fn of(engine: &TestEngine) -> Self {
        let pid = engine.pid();
        let below = processes_below(pid);
        // passt keeps pipes for connections to come, once it has passed some on.
        let ours = below.iter().filter(|(_, name)| !name.starts_with("passt"));
        Self {
            descriptors: descriptors(ours.map(|(process, _)| *process).chain([pid])),
            mounts: mounts(pid, engine.path()),
            processes: below.into_iter().map(|(_, name)| name).collect(),
            groups: groups(&crate::engine::group_name(&engine.store())),
            links: links(pid),
            rules: rules(),
            files: files(engine),
        }
    }

    /// What it holds once two looks at it are the same.
    pub async fn settled(engine: &TestEngine) -> Self {
        let mut before = Self::of(engine);
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = Self::of(engine);
            if now == before {
                return now;
            }
            before = now;
        }
    }

    /// Waits until the engine holds no more than this again.
    ///
    /// # Panics
    ///
    /// When it goes on holding more.
    pub async fn is_left_by(&self, engine: &TestEngine) {
        let since = Instant::now();
        loop {
            let now = Self::of(engine);
            if now.is_within(self) {
                return;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "the engine held\n{self:#?}\nand after the load\n{now:#?}\n{}",
                engine.log_text()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Footprint {
    /// Is there nothing that the other has not? Connections to a registry, for one, may have been closed since. Containers that
    /// wait for a step are others than before, but no more.
    fn is_within(&self, other: &Self) -> bool {
        let mut descriptors = self.descriptors.iter();
        descriptors.all(|(kind, count)| other.descriptors.get(kind).is_some_and(|others| count <= others))
            && self.mounts.is_subset(&other.mounts)
            && self.processes.len() <= other.processes.len()
            && self.groups.len() <= other.groups.len()
            && self.links.len() <= other.links.len()
            && self.rules <= other.rules
            && self.files.is_subset(&other.files)
    }
}

impl TestEngine {
    /// Bytes of memory that its process uses.
    pub fn memory(&self) -> u64 {
        status_bytes(self.pid(), "VmRSS:")
    }

    /// The most memory that its process used since [`Self::forget_peak`].
    pub fn peak_memory(&self) -> u64 {
        status_bytes(self.pid(), "VmHWM:")
    }

    /// Begins a new peak of memory.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("the peak is reset");
    }

    /// Open files of the index.
    pub fn index_connections(&self) -> usize {
        targets(self.pid()).filter(|target| is_index(target)).count()
    }

    /// Bytes of the index's log of writes.
    pub fn index_log(&self) -> u64 {
        fs::metadata(self.store().join("index.sqlite-wal")).map_or(0, |metadata| metadata.len())
    }
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the engine runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.expect("the kernel says how much memory a process has") * 1024
}

fn is_index(target: &Path) -> bool {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("index.sqlite")
}

/// What a process's descriptors lead to.
fn targets(pid: u32) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
}

fn descriptors(processes: impl Iterator<Item = u32>) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for target in processes.flat_map(targets).filter(|target| !is_index(target)) {
        let text = target.to_string_lossy();
        // `socket:[123]` and `pipe:[456]` have numbers.
        let kind = text.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

fn mounts(pid: u32, directory: &Path) -> BTreeSet<String> {
    let directory = directory.to_string_lossy().into_owned();
    let of = |process: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains(&directory))
            .map(|line| format!("{process}: {line}"))
            .collect::<Vec<_>>()
    };
    of("self").into_iter().chain(of(&pid.to_string())).collect()
}

fn processes_below(pid: u32) -> Vec<(u32, String)> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name is in parentheses and may hold anything.
        let Some((name, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let parent: u32 = rest
            .split_whitespace()
            .nth(1)
            .and_then(|parent| parent.parse().ok())
            .unwrap_or(0);
        parents.insert(process, (parent, name.to_owned()));
    }
    let is_below = |mut process: u32| {
        while let Some((parent, _)) = parents.get(&process) {
            if *parent == pid {
                return true;
            }
            process = *parent;
        }
        false
    };
    let below = parents.iter().filter(|(process, _)| is_below(**process));
    below
        .map(|(process, (_, name))| {
            (
                *process,
                name.split_once('(').map_or("", |(_, name)| name).to_owned(),
            )
        })
        .collect()
}

/// Groups of single steps in every hierarchy, and the processes in those or in the group that steps share.
fn groups(name: &str) -> BTreeSet<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    let mut found = BTreeSet::new();
    for own in hierarchies
        .map(|hierarchy| hierarchy.path().join(name))
        .chain([root.join(name)])
    {
        for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
            let group = entry.path();
            if !group.is_dir() {
                continue;
            }
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            found.extend(members.lines().map(|process| group.join("process").join(process)));
            if group.file_name().is_some_and(|name| name != "usual") {
                found.insert(group);
            }
        }
    }
    found
}

/// An engine's links are in the group that has its number: other tests' engines on this machine have links, too.
fn links(pid: u32) -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").expect("the machine has network links");
    let is_own = |link: &Path| {
        let group = fs::read_to_string(link.join("netdev_group"));
        group.is_ok_and(|group| group.trim().parse() == Ok(pid))
    };
    let links = entries.flatten().filter(|entry| is_own(&entry.path()));
    links
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn rules() -> usize {
    let output = std::process::Command::new("nft")
        .args(["list", "table", "inet", "wharf"])
        .output()
        .expect("nft runs");
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}

fn files(engine: &TestEngine) -> BTreeSet<PathBuf> {
    let store = engine.store();
    let state = engine.state();
    let directories = [
        store.join("drafts"),
        store.join("trash"),
        state.join("steps"),
        state.join("scratch"),
        state.join("root"),
        state.join("empty"),
    ];
    let within = |directory: &PathBuf| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    // The directories in which uploaded files arrive stay; what is in them does not.
    let arriving = within(&store.join("arriving"));
    directories.iter().chain(&arriving).flat_map(within).collect()
}
