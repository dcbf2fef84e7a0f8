//! Programs that the kit runs: to their end, or as servers that stop with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use crate::{Error, Result, paths};

/// How much of a program's error output an error quotes.
const TAIL: usize = 2000;

/// The path of a program, or an error that names the Debian package that has it.
pub fn require(program: &str, package: &str) -> Result<PathBuf> {
    paths::program(program).ok_or_else(|| Error::Missing {
        program: program.into(),
        package: package.into(),
    })
}

/// Runs a command to its end and returns its output; anything but success is an error with the end of its output.
pub fn run(command: &mut Command) -> Result<Output> {
    let line = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Command {
            command: line.clone(),
            why: error.to_string(),
        })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    Err(Error::Command {
        command: line,
        why: format!("{}\n{}", output.status, tail(said)),
    })
}

/// The end of a program's output, as text.
pub fn tail(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..])
        .trim_end()
        .to_owned()
}

/// A server: it is told to stop when this is dropped, and when this process dies.
#[derive(Debug)]
pub struct Server {
    child: Mutex<Child>,
    patience: Duration,
}

impl Server {
    /// Starts `command`; both outputs go to the files named, its input is `stdin` or nothing.
    ///
    /// `patience` is how long it may take to stop before it is killed.
    pub fn start(
        program: &Path,
        args: &[String],
        stdin: Option<File>,
        (stdout, stderr): (&Path, &Path),
        patience: Duration,
    ) -> Result<Self> {
        // `setpriv` sets the parent-death signal and becomes the program, so the pid is the program's own.
        let setpriv = require("setpriv", "util-linux")?;
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "TERM"]).arg(program).args(args);
        command.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(File::create(stdout).map_err(Error::io("creating", stdout))?);
        command.stderr(File::create(stderr).map_err(Error::io("creating", stderr))?);
        let line = format!("{command:?}");
        let child = spawn_from_keeper(command).map_err(|error| Error::Command {
            command: line,
            why: error.to_string(),
        })?;
        Ok(Self {
            child: Mutex::new(child),
            patience,
        })
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.lock().id()
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.lock().try_wait().ok().flatten()
    }

    /// Tells it to stop and waits until it has.
    pub fn stop(&self) {
        let mut child = self.lock();
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        terminate(child.id());
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Both fail only when it has ended meanwhile, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Asks a process to end. One that is gone already is no error.
pub fn terminate(pid: u32) {
    signal("TERM", pid);
}

/// Ends a process at once.
pub fn kill(pid: u32) {
    signal("KILL", pid);
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill")
        .args(["-s", name, "--", &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// The parent-death signal comes when the *thread* that started a process ends, and test threads end early. So one
/// thread that lives as long as the process starts them all.
fn spawn_from_keeper(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                // The one who asked may be gone; then the child ends with this process.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, reply) = channel();
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| io::Error::other("the thread that starts servers is gone"))?;
    reply
        .recv()
        .map_err(|_| io::Error::other("the thread that starts servers is gone"))?
}

/// Holds an exclusive lock on a file for as long as the value, or a child that inherits the file, lives.
pub fn lock(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
    }
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("opening", path))?;
    file.lock().map_err(Error::io("locking", path))?;
    Ok(file)
}

/// Asks again and again until there is an answer or the time is over.
pub fn wait_for<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
