//! What engine and first process say to each other while a step runs.

use std::{
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Mutex,
};

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::unix::pipe,
    sync::mpsc,
    task::JoinHandle,
};
use wharf_docker::{DockerError, StepContainer};
use wharf_inside::{Frame, HEADER, Job, Kind};
use wharf_runner::{Error, Exit, Result, StepIo, StepOutcome};

use super::{io_error, refused};
use crate::session::lock;

/// Bytes that are sent at once.
const PIECE: usize = 64 * 1024;
/// Pieces that wait to be taken.
const AHEAD: usize = 16;

/// What a container is sent beside its job.
pub(super) enum Content {
    /// A file's bytes.
    File(PathBuf),
    /// What an overlay of these directories shows.
    Tree(Vec<PathBuf>),
}

impl Content {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::File(path) => io::copy(&mut std::fs::File::open(path)?, to).map(drop),
            Self::Tree(directories) => wharf_store::write_tree(directories, to).map_err(io::Error::other),
        }
    }
}

/// A layer on its way from a container into a directory.
pub(super) struct Import {
    pieces: Mutex<Option<mpsc::Sender<Bytes>>>,
    done: JoinHandle<wharf_store::Result<()>>,
}

impl Import {
    /// What a step makes; nowhere when it is not wanted.
    pub(super) fn into(directory: Option<PathBuf>) -> Self {
        let (pieces, taken) = mpsc::channel(AHEAD);
        let done = tokio::task::spawn_blocking(move || {
            let mut pieces = Taken {
                pieces: taken,
                piece: Bytes::new(),
            };
            let read = match &directory {
                Some(directory) => wharf_store::read_layer(&mut pieces, directory),
                None => Ok(()),
            };
            // The container goes on until it has said all.
            io::copy(&mut pieces, &mut io::sink()).ok();
            read
        });
        Self {
            pieces: Mutex::new(Some(pieces)),
            done,
        }
    }

    async fn take(&self, piece: Bytes) {
        let pieces = lock(&self.pieces).clone();
        if let Some(pieces) = pieces {
            pieces.send(piece).await.ok();
        }
    }

    /// Waits until all is in its place. What was cut off with the step is not needed.
    pub(super) async fn end(self, outcome: &StepOutcome) -> Result<()> {
        lock(&self.pieces).take();
        let read = self.done.await.map_err(|error| Error::Setup(error.to_string()))?;
        match read {
            Err(error) if !matches!(outcome.exit, Exit::Cancelled | Exit::TimedOut) => {
                Err(Error::Setup(error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// Reads what comes from elsewhere.
struct Taken {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Taken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Frames of data on their way to a container.
struct Sent(mpsc::Sender<Vec<u8>>);

impl Sent {
    fn frame(&self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let frame = [&Frame::header(kind, bytes), bytes].concat();
        // The container has ended.
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(frame).map_err(gone)
    }
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        self.frame(Kind::Data, piece)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends the job and all that belongs to it, the standard input last.
fn say(job: &Job, contents: &[Content], stdin: OwnedFd, sent: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    let sent = Sent(sent);
    sent.frame(Kind::Job, &serde_json::to_vec(job)?)?;
    for content in contents {
        let mut pieces = io::BufWriter::with_capacity(PIECE, Sent(sent.0.clone()));
        content.write(&mut pieces)?;
        pieces.flush()?;
        sent.frame(Kind::End, b"")?;
    }
    let mut pieces = Sent(sent.0.clone());
    io::copy(&mut std::fs::File::from(stdin), &mut pieces)?;
    sent.frame(Kind::End, b"")
}

/// Tells a container what to do and listens until it has done it: how the step ended, or none when the container ended first.
pub(super) async fn talk(
    container: &mut StepContainer,
    job: Job,
    contents: Vec<Content>,
    io: StepIo,
    import: &Import,
) -> Result<Option<StepOutcome>> {
    let StepIo {
        stdin,
        stdout,
        stderr,
    } = io;
    let (frames, waiting) = mpsc::channel(AHEAD);
    let said = tokio::task::spawn_blocking(move || say(&job, &contents, stdin, frames));
    let says = speak(&mut container.input, waiting, said);
    let listens = listen(&mut container.output, stdout, stderr, import);
    tokio::select! {
        // Its input stays open for as long as it runs.
        failed = says => Err(failed),
        heard = listens => heard,
    }
}

/// Sends what is to be said. Returns only with why it could not be.
async fn speak(
    input: &mut (impl AsyncWrite + Unpin),
    mut waiting: mpsc::Receiver<Vec<u8>>,
    said: JoinHandle<io::Result<()>>,
) -> Error {
    while let Some(frame) = waiting.recv().await {
        if input.write_all(&frame).await.is_err() || input.flush().await.is_err() {
            // It has ended, and says how.
            return std::future::pending().await;
        }
    }
    match said.await {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) => io_error("sending a step's files", error),
        Err(error) => Error::Setup(error.to_string()),
    }
}

async fn listen(
    output: &mut (impl futures::Stream<Item = std::result::Result<Bytes, DockerError>> + Unpin),
    stdout: OwnedFd,
    stderr: OwnedFd,
    import: &Import,
) -> Result<Option<StepOutcome>> {
    let open = |pipe| pipe::Sender::from_owned_fd(pipe).map_err(|error| io_error("a step's output", error));
    let (mut stdout, mut stderr) = (open(stdout)?, open(stderr)?);
    let mut heard = BytesMut::new();
    let mut outcome = None;
    while let Some(piece) = output.next().await {
        heard.extend_from_slice(&piece.map_err(|error| refused(&error))?);
        while let Some((kind, bytes)) = next(&mut heard)? {
            match kind {
                // Whoever reads it is not interested any more.
                Kind::Stdout => drop(stdout.write_all(&bytes).await),
                Kind::Stderr => drop(stderr.write_all(&bytes).await),
                Kind::Layer => import.take(bytes).await,
                Kind::Outcome => outcome = Some(serde_json::from_slice(&bytes).map_err(damaged)?),
                Kind::Done => return Ok(Some(outcome.unwrap_or_else(|| super::ended(Exit::Code(0))))),
                Kind::Failed => return Err(Error::Setup(String::from_utf8_lossy(&bytes).into_owned())),
                Kind::Job | Kind::Data | Kind::End => return Err(damaged("a frame out of place")),
            }
        }
    }
    Ok(None)
}

/// The next frame, when all of it is there.
fn next(heard: &mut BytesMut) -> Result<Option<(Kind, Bytes)>> {
    let Some(header) = heard.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let (kind, length) = Frame::read_header(*header).map_err(damaged)?;
    if heard.len() < HEADER + length {
        return Ok(None);
    }
    heard.advance(HEADER);
    Ok(Some((kind, heard.split_to(length).freeze())))
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::Setup(format!("what a step's first process says does not read: {why}"))
}
