//! What goes to clients' disks: directories and files as tar streams, containers as OCI archives.

use std::{
    io::{self, Write},
    sync::Arc,
};

use tokio::sync::mpsc;
use wharf_graph::{Error, Node, plan::Planned};
use wharf_proto::v1::{ExportReply, export_reply};

use crate::{archive, engine::Engine, session::Session};

/// Bytes of one message.
const PIECE: usize = 256 * 1024;

type Replies = mpsc::Sender<Result<ExportReply, tonic::Status>>;

/// Sends what is written to it.
struct Sender {
    replies: Replies,
    buffer: Vec<u8>,
}

impl Sender {
    fn send(&mut self) -> io::Result<()> {
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        let reply = ExportReply {
            message: Some(export_reply::Message::Tar(bytes)),
        };
        self.replies
            .blocking_send(Ok(reply))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Engine {
    /// Streams what a node stands for.
    pub(crate) async fn export(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
        replies: Replies,
    ) -> Result<(), Error> {
        let mut sender = Sender {
            replies,
            buffer: Vec::with_capacity(PIECE),
        };
        let io_error = |error: io::Error| Error::other("store", error.to_string());
        match self.plan(session, node).await? {
            Planned::Directory(place) | Planned::File(place) => {
                let made = self.realize(session, &place.tree).await?;
                self.with_store(move |store| {
                    store.export(&made.snapshot, &place.path, &mut sender)?;
                    Ok(sender.flush().map_err(io_error))
                })
                .await?
            }
            Planned::Container(container) => {
                let made = self.realize(session, &container.root).await?;
                self.with_store(move |store| {
                    archive::write(store, &made.snapshot, &container, &mut sender)?;
                    Ok(sender.flush().map_err(io_error))
                })
                .await?
            }
            Planned::Service(_) => Err(Error::Invalid(
                "a service cannot be written: it is a process".to_owned(),
            )),
            Planned::Changeset(_) => Err(Error::Invalid(
                "a changeset cannot be written: write its patch, or the directory it leads to".to_owned(),
            )),
            Planned::Failed(error) => Err(error),
        }
    }
}
