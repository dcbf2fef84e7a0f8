//! A world for one test: its own home, store and engine, and the `wharf` program run in it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

use tempfile::TempDir;

use crate::docker::Daemon;
use crate::fixtures::{self, Mirror};
use crate::ordinary::{self, User};
use crate::{Error, Result, ca, paths, process, shared};

/// Which engine a world's pipelines run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A process on this host, as root.
    Local,
    /// A container of the run's Docker daemon.
    Docker,
}

/// Where a test runs `wharf`. Dropping it stops its engine and removes its files.
#[derive(Debug)]
pub struct World {
    program: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    // A daemon of this world's own outlives its engine.
    daemon: Option<Daemon>,
    // Who runs `wharf`; whoever runs the test when absent.
    user: Option<User>,
    root: TempDir,
}

impl World {
    /// A world on the engine that the run of the tests is for (`WHARF_TEST_ENGINE`: `docker`, or the `unix://SOCKET` of one
    /// that runs), with the runtime that it is for (`WHARF_TEST_RUNTIME`): usually on the local one, with the built-in runner.
    pub fn new() -> Result<Self> {
        let engine = shared::get(shared::ENGINE).unwrap_or_default();
        if engine == "docker" {
            return Self::on(Engine::Docker);
        }
        let mut world = Self::on(Engine::Local)?;
        if engine.starts_with("unix://") {
            world.set("WHARF_ENGINE", engine);
        } else if let Some(runtime) = shared::get(shared::RUNTIME) {
            world.set("WHARF_RUNTIME", runtime);
        }
        Ok(world)
    }

    /// A world on one kind of engine. The base images are to be had in it under their usual names.
    pub fn on(engine: Engine) -> Result<Self> {
        let daemon = match engine {
            Engine::Local => None,
            Engine::Docker => Some(Daemon::existing_or_start()?),
        };
        Self::of(program()?, daemon)
    }

    /// A world for one `wharf` program, with its engine in that daemon, or on this host.
    pub fn of(program: PathBuf, daemon: Option<Daemon>) -> Result<Self> {
        let root = TempDir::with_prefix("wharf-world-").map_err(Error::io("making", env::temp_dir()))?;
        let mut world = Self {
            program,
            environment: BTreeMap::new(),
            daemon: None,
            user: None,
            root,
        };
        for name in ["home", "work", "wharf"] {
            let dir = world.path(name);
            fs::create_dir(&dir).map_err(Error::io("creating", &dir))?;
        }
        world.set("PATH", env::var_os("PATH").unwrap_or_default());
        world.set("HOME", world.path("home"));
        world.set("WHARF_HOME", world.path("wharf"));
        // What modules depend on is the same in all worlds, and takes longest.
        world.set("WHARF_BUILDS", paths::target().join("builds"));
        world.set("WHARF_STORE", world.path("wharf/store"));
        for (name, usual) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            // The toolchain is the host's; without these it would be looked for in the new home.
            let dir = env::var_os(name)
                .map(PathBuf::from)
                .or_else(|| Some(env::home_dir()?.join(usual)));
            world.set(name, dir.unwrap_or_default());
        }
        if let Some(bundle) = ca::bundle() {
            world.set("WHARF_CA_CERT", bundle);
        }
        match daemon {
            None => {
                world.set("WHARF_ENGINE", "local");
                world.set("WHARF_REGISTRY_MIRRORS", mirror()?.setting());
            }
            Some(daemon) => world.use_docker(daemon)?,
        }
        Ok(world)
    }

    /// Sets a variable that every later run of `wharf` gets.
    pub fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.environment
            .insert(name.as_ref().into(), value.as_ref().into());
    }

    /// Runs steps with another runtime, as in `runc`.
    #[must_use]
    pub fn with_runtime(mut self, runtime: &str) -> Self {
        self.set("WHARF_RUNTIME", runtime);
        self
    }

    /// The same, in which an ordinary user runs `wharf`, and which is the user's with all that is in it. Needs root.
    pub fn of_an_ordinary_user(mut self) -> Result<Self> {
        // What is compiled for all worlds is not the user's.
        self.set("WHARF_BUILDS", self.path("wharf/builds"));
        let mut user = User::with_home(&self.path("home"))?;
        user.exposed.push(self.program.clone());
        give(self.root.path())?;
        self.user = Some(user);
        Ok(self)
    }

    /// Changes what that user has, from the next `wharf` on.
    pub fn change_user(&mut self, change: impl FnOnce(&mut User)) {
        if let Some(user) = &mut self.user {
            change(user);
        }
    }

    /// A path in the world; the directory `work` is where `wharf` runs.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(below)
    }

    /// Writes the user's `targets.toml`.
    pub fn set_targets(&self, text: &str) -> Result<()> {
        let file = self.path("wharf/config/targets.toml");
        let directory = self.path("wharf/config");
        fs::create_dir_all(&directory).map_err(Error::io("creating", &directory))?;
        fs::write(&file, text).map_err(Error::io("writing", &file))
    }

    /// This world's engine, as another's `targets.toml` has it.
    pub fn as_target(&self, name: &str) -> String {
        let socket = self.path("wharf/run/engine.sock");
        format!("[targets.{name}]\nengine = \"unix://{}\"\n", socket.display())
    }

    /// Writes a file below `work`, with its directories.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("work").join(path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(&path, content.as_ref())
        };
        write().unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
        path
    }

    /// The world's Docker daemon, when its engine runs there.
    pub fn daemon(&self) -> Option<&Daemon> {
        self.daemon.as_ref()
    }

    /// Runs `wharf` in the directory `work`.
    pub fn wharf<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        Done::of(self.command(args))
    }

    /// A `wharf` command that a test wants to change before it runs; see [`Done::of`].
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = match &self.user {
            None => Command::new(&self.program),
            Some(user) => user.command(&self.program),
        };
        command
            .args(args)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.path("work"));
        command.stdin(Stdio::null());
        command
    }

    /// A `wharf` command of a user for whom the kernel makes no user namespaces, in that user's home, which is open to all.
    pub fn command_without_namespaces(&self, home: &Path, args: &[&str]) -> Command {
        let mut command = User::without_namespaces(home, &self.program, args)
            .unwrap_or_else(|error| panic!("an ordinary user: {error}"));
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// A line for a shell, where `wharf` is this world's.
    pub fn shell(&self, directory: &Path, line: &str) -> Command {
        let mut path = self
            .program
            .parent()
            .unwrap_or(Path::new("/"))
            .as_os_str()
            .to_owned();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .env_clear()
            .envs(&self.environment)
            .env("PATH", path)
            .current_dir(directory)
            .stdin(Stdio::null());
        command
    }

    /// The processes of this world that still run: `wharf`, its engine and their helpers.
    pub fn processes(&self) -> Vec<u32> {
        let mut mark = OsString::from("WHARF_HOME=");
        mark.push(self.path("wharf"));
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_encoded_bytes())
        })
        .collect()
    }

    fn use_docker(&mut self, daemon: Daemon) -> Result<()> {
        self.set("WHARF_ENGINE", "docker");
        self.set("DOCKER_HOST", daemon.host());
        let setting = match shared::get(shared::DOCKER_MIRROR) {
            Some(setting) => setting,
            None => docker_mirror(&daemon)?.setting(),
        };
        self.set("WHARF_REGISTRY_MIRRORS", setting);
        self.daemon = Some(daemon);
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // An engine that never started has nothing to stop.
        let _ = self
            .command(["engine", "stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        for pid in self.processes() {
            process::kill(pid);
        }
    }
}

/// How a run of `wharf` ended.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, as text.
    pub stderr: String,
    line: String,
}

impl Done {
    /// Runs a command to its end.
    pub fn of(mut command: Command) -> Self {
        use std::os::unix::process::ExitStatusExt;
        // Of one that another program runs, its own.
        let all: Vec<_> = command.get_args().collect();
        let own = all.iter().position(|arg| *arg == "--").map_or(0, |at| at + 2);
        let line = all
            .get(own..)
            .unwrap_or(&all)
            .iter()
            .map(|arg| arg.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let output: Output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let code = output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
        Self {
            code,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            line,
        }
    }

    /// Asserts that it succeeded, and returns its standard output as text without the last line end.
    #[track_caller]
    pub fn ok(&self) -> &str {
        self.exits(0);
        self.text()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            code,
            "`wharf {}`\n{}{}",
            self.line,
            self.text(),
            self.stderr
        );
        self
    }

    /// Asserts that standard error holds a text.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(
            self.stderr.contains(text),
            "`wharf {}` does not say {text:?}:\n{}",
            self.line,
            self.stderr
        );
        self
    }

    /// Standard output as text without the last line end.
    #[track_caller]
    pub fn text(&self) -> &str {
        let text = std::str::from_utf8(&self.stdout).unwrap_or_else(|error| panic!("{}: {error}", self.line));
        text.strip_suffix('\n').unwrap_or(text)
    }
}

/// Gives a directory with all that is in it to the ordinary user.
fn give(directory: &Path) -> Result<()> {
    let change = |path: &Path| {
        std::os::unix::fs::lchown(path, Some(ordinary::ID), Some(ordinary::ID))
            .map_err(Error::io("giving away", path))
    };
    change(directory)?;
    for entry in fs::read_dir(directory)
        .map_err(Error::io("reading", directory))?
        .flatten()
    {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            give(&entry.path())?;
        } else {
            change(&entry.path())?;
        }
    }
    Ok(())
}

/// The program under test: `WHARF_BIN`, or what the last build left in the target directory.
fn program() -> Result<PathBuf> {
    let named = shared::get(shared::WHARF_BIN).map(PathBuf::from);
    let program = named.unwrap_or_else(|| paths::target().join("debug/wharf"));
    if program.is_file() {
        return Ok(program);
    }
    let why = "it is not built: run `cargo build -p wharf-cli`, or name it in WHARF_BIN".into();
    Err(Error::Command {
        command: program.display().to_string(),
        why,
    })
}

/// This process's mirror; the registry behind it stops with the process.
fn mirror() -> Result<&'static Mirror> {
    static MIRROR: OnceLock<Mirror> = OnceLock::new();
    if let Some(mirror) = MIRROR.get() {
        return Ok(mirror);
    }
    let made = fixtures::mirror()?;
    Ok(MIRROR.get_or_init(|| made))
}

/// This process's mirror, reachable from within containers too.
fn docker_mirror(daemon: &Daemon) -> Result<&'static Mirror> {
    static MIRROR: OnceLock<Mirror> = OnceLock::new();
    if let Some(mirror) = MIRROR.get() {
        return Ok(mirror);
    }
    let mut made = Mirror::start()?;
    made.also_on(daemon.gateway()?)?;
    Ok(MIRROR.get_or_init(|| made))
}
