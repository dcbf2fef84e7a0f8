//! A Docker that ssh leads to, by the way that Docker's own command takes: `docker system dial-stdio` at the other end.
//!
//! A socket of this process's own stands for the daemon. Each connection to it is an ssh of its own.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
    process::Command,
    task::JoinHandle,
};

use crate::DockerError;

/// How long is waited for what ssh says when nothing comes through it any more.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Bytes of what ssh says that are kept.
const SAID: u64 = 2000;

/// The way to a daemon through ssh; closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    directory: tempfile::TempDir,
    said: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Opens it. That nobody answers shows when it is used.
    pub(crate) fn open(destination: &str, port: Option<u16>) -> Result<Self, DockerError> {
        let failed = |source| DockerError::io("open a way to ssh in", &std::env::temp_dir(), source);
        // Nobody but its owner can enter such a directory.
        let directory = tempfile::Builder::new()
            .prefix("wharf-ssh-")
            .tempdir()
            .map_err(failed)?;
        let listener = UnixListener::bind(directory.path().join("sock")).map_err(failed)?;
        let said = Arc::<Mutex<String>>::default();
        let (destination, heard) = (destination.to_owned(), Arc::clone(&said));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (destination, heard) = (destination.clone(), Arc::clone(&heard));
                tokio::spawn(async move {
                    carry(stream, &destination, port, &heard).await;
                });
            }
        });
        Ok(Self {
            directory,
            said,
            task,
        })
    }

    /// The socket that stands for the daemon.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// What ssh has said, when it has.
    pub(crate) fn words(&self) -> Option<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Some(said.trim().to_owned()).filter(|said| !said.is_empty())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one connection to its end. What ssh says of it, when that is its failure, is kept before the connection is closed: whoever
/// sees it closed asks why.
async fn carry(mut stream: UnixStream, destination: &str, port: Option<u16>, heard: &Mutex<String>) {
    if let Some(words) = carry_until_its_end(&mut stream, destination, port).await {
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

async fn carry_until_its_end(
    stream: &mut UnixStream,
    destination: &str,
    port: Option<u16>,
) -> Option<String> {
    let mut command = Command::new("ssh");
    // Nobody is there to be asked for a password.
    command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]);
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", destination, "docker", "system", "dial-stdio"]);
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Some(format!("ssh cannot be run: {error}")),
    };
    let (mut to, mut from, errors) = (child.stdin.take()?, child.stdout.take()?, child.stderr.take()?);
    let (mut ours, mut theirs) = stream.split();
    let up = async {
        tokio::io::copy(&mut ours, &mut to).await.ok();
        drop(to);
    };
    let down = async {
        tokio::io::copy(&mut from, &mut theirs).await.ok();
    };
    let hear = async {
        let mut words = Vec::new();
        let mut errors = errors.take(SAID);
        errors.read_to_end(&mut words).await.ok();
        // More than that is read and forgotten: a full pipe would hold ssh up.
        tokio::io::copy(&mut errors.into_inner(), &mut tokio::io::sink())
            .await
            .ok();
        String::from_utf8_lossy(&words).into_owned()
    };
    // When ssh has ended nothing comes any more, whatever is still sent.
    let end = async {
        tokio::pin!(hear, down);
        // Nothing comes any more, and what is said of that comes soon; an ssh that others share keeps its errors open.
        tokio::select! {
            words = &mut hear => {
                down.await;
                words
            }
            () = &mut down => tokio::time::timeout(LAST_WORDS, hear).await.unwrap_or_default(),
        }
    };
    let words = tokio::select! {
        words = end => words,
        () = async { up.await; std::future::pending().await } => return None,
    };
    let ended = tokio::time::timeout(LAST_WORDS, child.wait()).await;
    match ended {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) if words.trim().is_empty() => Some(format!("ssh ended with {status}")),
        _ => Some(words).filter(|words| !words.trim().is_empty()),
    }
}
