//! The way to an engine whose socket cannot be here: a process in its container, whose input and output Docker hands through.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::StreamReader;

use crate::{Daemon, DockerError, DockerOptions, container::SOCKET, image::PROGRAM};

/// Bytes to and from an engine.
pub struct Stream {
    read: Pin<Box<dyn AsyncRead + Send>>,
    write: Pin<Box<dyn AsyncWrite + Send>>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_shutdown(context)
    }
}

/// A connection to the engine in the container.
pub async fn dial(daemon: &Daemon, options: &DockerOptions) -> Result<Stream, DockerError> {
    let command = [PROGRAM, "engine", "connect", "--socket", SOCKET];
    let (output, input) = exec(daemon, options, &command, true).await?;
    let bytes = output.filter_map(async |piece| match piece {
        Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => Some(Ok::<Bytes, _>(message)),
        // What the process says when it cannot do it.
        Ok(LogOutput::StdErr { message }) => Some(Err(io::Error::other(
            String::from_utf8_lossy(&message).trim().to_owned(),
        ))),
        Ok(LogOutput::StdIn { .. }) => None,
        Err(error) => Some(Err(io::Error::other(error.to_string()))),
    });
    Ok(Stream {
        read: Box::pin(StreamReader::new(bytes.boxed())),
        write: input,
    })
}

/// Does the engine in the container listen?
pub(crate) async fn listens(daemon: &Daemon, options: &DockerOptions) -> bool {
    let command = [PROGRAM, "engine", "connect", "--socket", SOCKET, "--probe"];
    let Ok((output, _)) = exec(daemon, options, &command, false).await else {
        return false;
    };
    let said: Result<Vec<LogOutput>, _> = output.try_collect().await;
    said.is_ok_and(|said| said.iter().any(|piece| piece.as_ref().starts_with(b"listens")))
}

type Output = Pin<Box<dyn futures::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Runs a program in the container.
async fn exec(
    daemon: &Daemon,
    options: &DockerOptions,
    command: &[&str],
    with_input: bool,
) -> Result<(Output, Input), DockerError> {
    let refused = DockerError::refused("open a way into the engine's container");
    let wanted = CreateExecOptions {
        attach_stdin: Some(with_input),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
        ..CreateExecOptions::default()
    };
    let made = daemon.docker.create_exec(&options.container(), wanted).await;
    let id = made.map_err(&refused)?.id;
    let started = daemon.docker.start_exec(&id, None::<StartExecOptions>).await;
    match started.map_err(&refused)? {
        StartExecResults::Attached { output, input } => Ok((output, input)),
        StartExecResults::Detached => Err(DockerError::Refused {
            doing: "open a way into the engine's container",
            why: "it is not attached to what runs there".to_owned(),
        }),
    }
}
