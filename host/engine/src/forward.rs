//! Connections that pass through the protocol: from the client's machine into a service, and from a service's network to the
//! client's machine. A stream of pieces each way; an empty piece ends its direction.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tonic::{Status, Streaming};
use wharf_graph::Error;
use wharf_proto::v1::{Dial, Piece, piece, session_down};

use crate::{
    engine::Engine,
    session::{Session, lock},
};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;
/// Pieces on their way at once.
pub(crate) const AHEAD: usize = 8;
/// How long a connection into a service, or the client's answer to a call for one, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The two directions of a connection at the client.
pub(crate) struct Far {
    pub(crate) up: Streaming<Piece>,
    pub(crate) down: mpsc::Sender<Result<Piece, Status>>,
}

/// Connections that a client was asked for.
#[derive(Default)]
pub(crate) struct Dials {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Far, String>>>>,
    next: AtomicU64,
}

impl Dials {
    /// Gives up on every connection that was asked for.
    pub(crate) fn clear(&self) {
        lock(&self.waiting).clear();
    }
}

impl Session {
    /// Asks the client to connect to a port that its machine knows.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<Far, Error> {
        let (answer, answered) = oneshot::channel();
        let request = self.dials.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.dials.waiting).insert(request, answer);
        self.send(session_down::Message::Dial(Dial {
            request,
            host: host.to_owned(),
            port: u32::from(port),
        }));
        let outcome = tokio::time::timeout(PATIENCE, answered).await;
        lock(&self.dials.waiting).remove(&request);
        match outcome {
            Ok(Ok(Ok(far))) => Ok(far),
            Ok(Ok(Err(why))) => Err(Error::Unavailable(why)),
            Ok(Err(_)) => Err(Error::Cancelled),
            Err(_) => Err(Error::Unavailable(format!("nobody answered for {host}:{port}"))),
        }
    }

    /// Passes the client's answer to whoever asked for the connection.
    pub(crate) fn dialled(&self, request: u64, outcome: Result<Far, String>) {
        if let Some(waiting) = lock(&self.dials.waiting).remove(&request) {
            waiting.send(outcome).ok();
        }
    }
}

impl Engine {
    /// Connects the client with a port of a service, which runs for as long as the connection lasts.
    pub(crate) async fn connect_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<wharf_graph::Node>,
        port: u16,
        far: Far,
    ) -> Result<(), Error> {
        let lease = self.lease_of(session, node).await?;
        let network = lease.ready().await?;
        let dialled = tokio::task::spawn_blocking(move || network.dial(port, PATIENCE)).await;
        let near = dialled
            .map_err(io::Error::other)
            .and_then(|dialled| dialled)
            .and_then(to_tokio)
            .map_err(|error| {
                Error::Unavailable(format!("the service does not answer on port {port}: {error}"))
            })?;
        join(near, far).await;
        Ok(())
    }
}

/// A connection of the standard library as the runtime has them.
fn to_tokio(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// Moves bytes both ways until both directions have ended.
pub(crate) async fn join(near: TcpStream, far: Far) {
    near.set_nodelay(true).ok();
    let (mut from_near, mut to_near) = near.into_split();
    let Far { mut up, down } = far;
    let inwards = async {
        while let Some(Ok(piece)) = up.next().await {
            let Some(piece::Message::Bytes(bytes)) = piece.message else {
                continue;
            };
            if bytes.is_empty() {
                return to_near.shutdown().await.is_ok();
            }
            if to_near.write_all(&bytes).await.is_err() {
                return false;
            }
        }
        false
    };
    let outwards = async {
        let mut buffer = vec![0; PIECE];
        loop {
            let count = from_near.read(&mut buffer).await.unwrap_or_default();
            let message = Some(piece::Message::Bytes(buffer[..count].to_vec()));
            if down.send(Ok(Piece { message })).await.is_err() || count == 0 {
                return;
            }
        }
    };
    let mut outwards = std::pin::pin!(outwards);
    let mut inwards = std::pin::pin!(inwards);
    tokio::select! {
        // One that breaks off takes the other with it.
        is_in_order = &mut inwards => if is_in_order { outwards.await },
        () = &mut outwards => {
            inwards.await;
        }
    }
}
