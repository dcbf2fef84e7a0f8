//! `wharf engine connect`: the other end of a connection that comes through Docker.

use std::{io, path::Path, process::exit};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split, stdin, stdout};

use crate::{
    error::{Ended, Report},
    output,
};

/// Bytes that go on at once.
const PIECE: usize = 64 * 1024;

/// Carries bytes between this process's caller and an engine, until either has said all.
pub(crate) async fn run(socket: &Path, probe: bool) -> Result<(), Report> {
    let failed = |error: io::Error| Report::new(Ended::Unreachable, format!("{}: {error}", socket.display()));
    let stream = wharf_platform::socket::connect(socket).await.map_err(failed)?;
    if probe {
        return output::line("listens");
    }
    let (mut from, mut to) = split(stream);
    let up = async {
        copy(&mut stdin(), &mut to).await?;
        to.shutdown().await
    };
    let down = async {
        let mut out = stdout();
        // Each piece goes on as it comes: who waits for it has nothing else to ask.
        let mut buffer = vec![0; PIECE];
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return Ok::<_, io::Error>(());
            }
            out.write_all(&buffer[..count]).await?;
            out.flush().await?;
        }
    };
    tokio::pin!(up, down);
    let ended = tokio::select! {
        ended = &mut down => ended,
        sent = &mut up => match sent {
            Ok(()) => down.await,
            Err(error) => Err(error),
        },
    };
    // Standard input is read by a thread that nothing wakes: the process ends with its work.
    ended.map_err(failed)?;
    exit(0)
}
