//! A runner with a root file system, and steps in one line.

use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    net::IpAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use wharf_runner::{
    Asks, Error, Exit, NetworkMode, Overlay, OverlayMount, Runner, RunnerConfig, Runtime, Step, StepIo,
    StepOutcome, passwd, spec,
};

pub(crate) struct World {
    pub(crate) runner: Runner,
    pub(crate) root: PathBuf,
    scratch: tempfile::TempDir,
    next: AtomicU64,
}

/// What came out of a step.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) step: StepOutcome,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What it changed.
    pub(crate) upper: PathBuf,
}

/// What differs between the steps of tests.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) process: spec::Process,
    pub(crate) mounts: Vec<OverlayMount>,
    pub(crate) network: NetworkMode,
    pub(crate) hosts: Vec<(String, IpAddr)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: CancellationToken,
    pub(crate) stdin: &'static str,
    /// Layers above the image's.
    pub(crate) layers: Vec<PathBuf>,
    /// Changes to the specification that have no setting.
    pub(crate) change: Option<fn(&mut oci_spec::runtime::Spec)>,
}

/// A step that runs a shell script.
pub(crate) fn sh(script: &str) -> Wanted {
    run(&["sh", "-c", script])
}

/// A step that runs a program.
pub(crate) fn run(args: &[&str]) -> Wanted {
    let process = spec::Process {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec![format!("PATH={}", spec::default_path())],
        cwd: "/".to_owned(),
        hostname: "step".to_owned(),
        ..spec::Process::default()
    };
    Wanted {
        process,
        ..Wanted::default()
    }
}

impl World {
    pub(crate) async fn built_in() -> Self {
        Self::start(Runtime::BuiltIn).await
    }

    pub(crate) async fn runc() -> Self {
        Self::start(Runtime::Binary("runc".into())).await
    }

    async fn start(runtime: Runtime) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make containers, so they need root"
        );
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = scratch.path().join("image");
        fs::create_dir(&root).unwrap();
        wharf_testkit::fixtures::busybox().unwrap().unpack(&root).unwrap();
        let runner = Runner::start(config(runtime, scratch.path())).await.unwrap();
        Self {
            runner,
            root,
            scratch,
            next: AtomicU64::new(0),
        }
    }

    /// A fresh directory.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.path().join(format!("{name}{number}"));
        fs::create_dir(&path).unwrap();
        path
    }

    /// A fresh overlay over a directory, and its upper directory.
    pub(crate) fn overlay(&self, lowers: Vec<PathBuf>) -> (Overlay, PathBuf) {
        let (upper, work) = (self.directory("upper"), self.directory("work"));
        (
            Overlay {
                lowers,
                upper: Some((upper.clone(), work)),
            },
            upper,
        )
    }

    pub(crate) fn user(&self, name: &str) -> passwd::User {
        let read = |name: &str| fs::read_to_string(self.root.join("etc").join(name)).unwrap();
        passwd::resolve(name, &read("passwd"), &read("group")).unwrap()
    }

    pub(crate) async fn try_run(&self, wanted: Wanted) -> Result<Outcome, Error> {
        let run = async |step, io, cancel| self.runner.run(step, io, cancel).await;
        self.try_run_by(wanted, run).await
    }

    /// Runs a step of which things are asked meanwhile.
    pub(crate) async fn run_asked(&self, wanted: Wanted, asks: Asks) -> Outcome {
        let run = async |step: Step, io, cancel| {
            let network = self.runner.network(step.network, Vec::new()).await?;
            self.runner.run_asked(&network, step, io, cancel, asks).await
        };
        self.try_run_by(wanted, run).await.unwrap()
    }

    pub(crate) async fn try_run_by(
        &self,
        wanted: Wanted,
        run: impl AsyncFnOnce(Step, StepIo, CancellationToken) -> Result<StepOutcome, Error>,
    ) -> Result<Outcome, Error> {
        let mut lowers = wanted.layers;
        lowers.push(self.root.clone());
        let (root, upper) = self.overlay(lowers);
        let mut spec = spec::docker_like(&wanted.process)?;
        if let Some(change) = wanted.change {
            change(&mut spec);
        }
        let (mut stdin, mut stdout, mut stderr) = (file(), file(), file());
        stdin.write_all(wanted.stdin.as_bytes()).unwrap();
        stdin.rewind().unwrap();
        let step = Step {
            spec,
            root,
            mounts: wanted.mounts,
            network: wanted.network,
            hosts: wanted.hosts,
            timeout: wanted.timeout,
            private: Vec::new(),
        };
        let io = StepIo {
            stdin: stdin.into(),
            stdout: copy(&stdout),
            stderr: copy(&stderr),
        };
        let step = run(step, io, wanted.cancel).await?;
        Ok(Outcome {
            step,
            stdout: text(&mut stdout),
            stderr: text(&mut stderr),
            upper,
        })
    }

    pub(crate) async fn run(&self, wanted: Wanted) -> Outcome {
        self.try_run(wanted).await.unwrap()
    }

    /// What a script that has to succeed wrote.
    pub(crate) async fn output(&self, wanted: Wanted) -> String {
        let outcome = self.run(wanted).await;
        assert_eq!(outcome.step.exit, Exit::Code(0), "{outcome:?}");
        outcome.stdout.trim_end().to_owned()
    }
}

pub(crate) fn config(runtime: Runtime, scratch: &Path) -> RunnerConfig {
    RunnerConfig {
        runtime,
        helper: (env!("CARGO_BIN_EXE_wharf-runner-helper").into(), Vec::new()),
        state: scratch.join("state"),
        ground: scratch.join("ground"),
        name: format!("wharf-test-{}", std::process::id()),
        resolv_conf: fs::read_to_string("/etc/resolv.conf").unwrap(),
    }
}

fn file() -> File {
    tempfile::tempfile().unwrap()
}

fn copy(file: &File) -> OwnedFd {
    file.try_clone().unwrap().into()
}

fn text(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Everything below a directory: paths with their type, sorted.
pub(crate) fn tree(directory: &Path) -> Vec<String> {
    let output = Command::new("find")
        .arg(directory)
        .args(["-mindepth", "1", "-printf", "%y %P\n"])
        .output()
        .unwrap();
    let mut lines: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// Processes of the machine whose arguments hold the text.
pub(crate) fn processes_with(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).contains(text)
        })
        .count()
}
