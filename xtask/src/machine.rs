//! What the figures were taken on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wharf_testkit::docker::Daemon;

/// Facts of the machine and of what was measured.
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    memory_gib: u64,
    kernel: String,
    cgroups: &'static str,
    file_system: String,
    engine: &'static str,
    docker: Option<String>,
    commit: String,
    date: String,
    /// Processes that ran or wanted to, in the minute before.
    load: String,
}

impl Machine {
    /// With a store at this place, on such an engine.
    pub(crate) fn look(store: &Path, engine: &'static str, daemon: Option<&Daemon>) -> Self {
        let store = store.display().to_string();
        let docker = daemon.and_then(|daemon| {
            let output = daemon.run(["version", "--format", "{{.Server.Version}}"]).ok()?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        });
        Self {
            processor: field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kibibytes("MemTotal").unwrap_or_default().div_ceil(1 << 20),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            cgroups: if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) {
                "v2"
            } else {
                "v1"
            },
            file_system: said("findmnt", &["-n", "-o", "FSTYPE", "-T", &store]),
            engine,
            docker,
            commit: said("git", &["describe", "--always", "--dirty"]),
            date: said("date", &["--utc", "+%Y-%m-%d %H:%M UTC"]),
            load: first_word("/proc/loadavg"),
        }
    }

    /// One sentence.
    pub(crate) fn text(&self) -> String {
        let docker = self
            .docker
            .as_ref()
            .map_or_else(String::new, |version| format!(", Docker {version}"));
        format!(
            "{} of {}, {} GiB, Linux {}, cgroups {}, {}{docker}, engine: {}, load before: {}; {}, commit {}",
            self.processors,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.cgroups,
            self.file_system,
            self.engine,
            self.load,
            self.date,
            self.commit
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "processor": self.processor,
            "processors": self.processors,
            "memory_gib": self.memory_gib,
            "kernel": self.kernel,
            "cgroups": self.cgroups,
            "file_system": self.file_system,
            "engine": self.engine,
            "docker": self.docker,
            "commit": self.commit,
            "date": self.date,
            "load": self.load,
        })
    }
}

/// A value of `/proc/meminfo`, in KiB.
pub(crate) fn kibibytes(name: &str) -> Option<u64> {
    field("/proc/meminfo", name)?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The value of the first line `NAME : VALUE`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn first_word(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// What a program printed; nothing when it cannot be run.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(wharf_testkit::paths::workspace())
        .output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
