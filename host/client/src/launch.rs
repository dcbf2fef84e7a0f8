//! Starts the embedded engine: a process of its own, found again by its socket, gone after an idle time.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::connect::{ConnectError, Connection};

/// How long an engine may take to answer after it was started.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What is needed to start an engine.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program, normally this one.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The socket that it will listen on.
    pub socket: PathBuf,
    /// Where its messages go.
    pub log: PathBuf,
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file or directory that it needs.
    #[error("cannot start the engine: {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended at once.
    #[error("the engine ended as it started ({status}): {message}")]
    Ended {
        /// How.
        status: std::process::ExitStatus,
        /// Its last words.
        message: String,
    },
    /// It never answered.
    #[error("the engine did not answer within {} s; its log is {}", START_LIMIT.as_secs(), log.display())]
    Silent {
        /// Where its messages are.
        log: PathBuf,
    },
}

/// The socket of the embedded engine whose files are under `run`.
pub fn local_socket(run: &Path) -> PathBuf {
    run.join("engine.sock")
}

/// The engine on the launch's socket, started when none answers.
pub async fn ensure_local(launch: &Launch) -> Result<Connection, ConnectError> {
    match Connection::open(&launch.socket).await {
        Err(ConnectError::Unreachable { .. }) => {}
        answer => return answer,
    }
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| LaunchError::Io { path, source }
    };
    let directory = launch.socket.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(io_error(directory))?;
    // Many clients may find no engine at the same time: one starts it, the others wait for the lock and then find it.
    let lock_path = launch.socket.with_extension("start.lock");
    let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
        .await
        .map_err(io::Error::other)
        .and_then(|locked| locked)
        .map_err(io_error(&lock_path))?;
    match Connection::open(&launch.socket).await {
        Err(ConnectError::Unreachable { .. }) => {}
        answer => return answer,
    }
    let connection = start(launch).await?;
    drop(lock);
    Ok(connection)
}

async fn start(launch: &Launch) -> Result<Connection, ConnectError> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&launch.log)
        .map_err(|source| LaunchError::Io {
            path: launch.log.clone(),
            source,
        })?;
    let before = log.metadata().map_or(0, |metadata| metadata.len());
    let spawn_error = |source| LaunchError::Io {
        path: launch.program.clone(),
        source,
    };
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| is_an_engines(name)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(spawn_error)?)
        .stderr(log);
    let mut child = wharf_platform::process::detach(&mut command)
        .spawn()
        .map_err(spawn_error)?;
    let started = Instant::now();
    while started.elapsed() < START_LIMIT {
        match Connection::open(&launch.socket).await {
            Err(ConnectError::Unreachable { .. }) => {}
            answer => return answer,
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(LaunchError::Ended {
                status,
                message: last_words(&launch.log, before),
            }
            .into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err(LaunchError::Silent {
        log: launch.log.clone(),
    }
    .into())
}

/// Is a variable of the client one for the engine that it starts, too? Others may hold secrets, and the engine outlives the run
/// that was given them.
fn is_an_engines(name: &OsStr) -> bool {
    const NAMES: [&str; 15] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TERM",
        "TMPDIR",
        "TZ",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "DOCKER_HOST",
        "DOCKER_CONFIG",
        "DOCKER_CERT_PATH",
        "DOCKER_TLS_VERIFY",
    ];
    const PREFIXES: [&str; 8] = [
        "WHARF_",
        "XDG_",
        "LC_",
        "RUST_",
        "SSL_CERT_",
        "NVIDIA_",
        "CUDA_",
        "LLVM_PROFILE",
    ];
    let Some(name) = name.to_str() else { return false };
    let is_proxy = name.to_ascii_lowercase().ends_with("_proxy");
    is_proxy || NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What was written to the log since it was `before` bytes long, its last lines.
fn last_words(log: &Path, before: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let new = text.get(before as usize..).unwrap_or_default();
    let lines: Vec<_> = String::from_utf8_lossy(new).lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
