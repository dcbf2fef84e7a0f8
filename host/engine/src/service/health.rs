//! Whether a service is healthy: something listens on each of its ports, and its image's check passes.

use std::{
    fs::File,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt, net::unix::pipe};
use wharf_graph::{
    Error,
    plan::{HealthCheck, Port, Service, Transport},
    shell_words,
};
use wharf_runner::{Exit, Remote, StepIo, StepNetwork};
use wharf_scrub::Scrubber;
use zeroize::Zeroizing;

use crate::step::{io_error, runner_error};

/// How long to wait between two looks at the ports of a service that is not healthy yet: at first, and at most.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(200)];
/// How long to wait after a check that has failed, at first.
const CHECKS: Duration = Duration::from_millis(100);
/// As much of what a check prints as is kept.
const QUOTED: u64 = 4096;

/// A service whose health is asked for.
pub(super) struct Patient<'p> {
    pub(super) service: &'p Service,
    pub(super) network: &'p Arc<StepNetwork>,
    pub(super) remote: &'p Remote,
    /// Its secrets, which what its check prints may hold.
    pub(super) secrets: &'p [Zeroizing<Vec<u8>>],
}

impl Patient<'_> {
    /// Waits until it is healthy; in words what it lacks when it is not after so long.
    pub(super) async fn healthy(
        &self,
        check: Option<&HealthCheck>,
        patience: Duration,
    ) -> Result<(), String> {
        let late = |lacks: &str| format!("the service was not healthy after {patience:?}: {lacks}");
        let begun = Instant::now();
        self.listens(begun, patience)
            .await
            .map_err(|lacks| late(&lacks))?;
        match check {
            Some(check) => {
                let passes = self.passes(check, begun, patience).await;
                passes.map_err(|lacks| late(&lacks))
            }
            None => Ok(()),
        }
    }

    /// Waits until something listens on each port.
    async fn listens(&self, begun: Instant, patience: Duration) -> Result<(), String> {
        let [mut pause, longest] = LOOKS;
        loop {
            let network = Arc::clone(self.network);
            let listening = tokio::task::spawn_blocking(move || network.listening()).await;
            let listening = listening
                .map_err(std::io::Error::other)
                .and_then(|listening| listening)
                .map_err(|error| io_error(error).to_string())?;
            let is_silent = |port: &&Port| match port.transport {
                Transport::Tcp => !listening.tcp.contains(&port.number),
                Transport::Udp => !listening.udp.contains(&port.number),
            };
            let silent = self.service.ports.iter().filter(is_silent);
            let silent: Vec<_> = silent.map(Port::to_string).collect();
            if silent.is_empty() {
                return Ok(());
            }
            if begun.elapsed() >= patience {
                return Err(format!("nothing listens on {}", silent.join(" and ")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Runs the check until it passes: often at first, later as often as it says.
    async fn passes(&self, check: &HealthCheck, begun: Instant, patience: Duration) -> Result<(), String> {
        let (mut pause, mut before) = (CHECKS, None);
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            let lacks = match self.run(check, check.timeout.min(left)).await {
                // It had no time to say anything; the one before had.
                Ok((Exit::TimedOut, _)) if left < check.timeout && before.is_some() => {
                    before.unwrap_or_default()
                }
                Ok((Exit::Code(0), _)) => return Ok(()),
                Ok((exit, printed)) => lacks(check, &exit, &printed),
                Err(error) => format!(
                    "its check `{}` could not be run: {error}",
                    shell_words(&check.args)
                ),
            };
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(lacks);
            }
            before = Some(lacks);
            tokio::time::sleep(pause.min(check.interval).min(left)).await;
            pause = pause.saturating_mul(2).min(check.interval);
        }
    }

    /// Runs the check once: how it ended, and the beginning of what it printed.
    async fn run(&self, check: &HealthCheck, timeout: Duration) -> Result<(Exit, Vec<u8>), Error> {
        let (writer, reader) = pipe_pair()?;
        let io = StepIo {
            stdin: File::open("/dev/null").map_err(io_error)?.into(),
            stdout: writer.try_clone().map_err(io_error)?,
            stderr: writer,
        };
        let exit = self.remote.beside(check.args.clone(), io, timeout);
        let mut exit = std::pin::pin!(exit);
        let mut reading = std::pin::pin!(read(reader));
        // What it has left behind may hold the pipe open.
        let (exit, printed) = tokio::select! {
            exit = &mut exit => (exit, tokio::time::timeout(CHECKS, reading).await.unwrap_or_default()),
            printed = &mut reading => (exit.await, printed),
        };
        let exit = exit.map_err(|error| runner_error(&error))?;
        let mut scrubber = Scrubber::new(self.secrets.iter().map(|secret| secret.as_slice()));
        let mut shown = scrubber.push(&printed);
        shown.extend(scrubber.finish());
        Ok((exit, shown))
    }
}

/// What a check that failed says, in words.
fn lacks(check: &HealthCheck, exit: &Exit, printed: &[u8]) -> String {
    let how = match exit {
        Exit::TimedOut | Exit::Cancelled => "took too long".to_owned(),
        Exit::NotFound => "was not found".to_owned(),
        Exit::NotExecutable => "cannot be executed".to_owned(),
        other => format!("ended with exit code {}", other.code()),
    };
    let command = shell_words(&check.args);
    let printed = String::from_utf8_lossy(printed);
    match printed.trim() {
        "" => format!("its check `{command}` {how}"),
        printed => format!("its check `{command}` {how}: {printed}"),
    }
}

fn pipe_pair() -> Result<(OwnedFd, pipe::Receiver), Error> {
    let (reader, writer) = std::io::pipe().map_err(io_error)?;
    let reader = pipe::Receiver::from_owned_fd(reader.into()).map_err(io_error)?;
    Ok((writer.into(), reader))
}

/// The beginning of what comes; the rest is read and dropped, so that nobody waits to write it.
async fn read(reader: pipe::Receiver) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut reader = reader.take(QUOTED);
    reader.read_to_end(&mut kept).await.ok();
    let mut rest = reader.into_inner();
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.ok();
    kept
}
