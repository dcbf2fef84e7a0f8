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

use futures::{Stream, StreamExt};
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
pub(crate) struct Far<S = Streaming<Piece>> {
    pub(crate) up: S,
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

/// Moves bytes both ways until both directions have ended. Each ends by itself: a server that takes no more, and answers, is
/// heard to the end. When the far end is gone, so is the connection.
pub(crate) async fn join<S>(near: TcpStream, far: Far<S>)
where
    S: Stream<Item = Result<Piece, Status>> + Unpin,
{
    near.set_nodelay(true).ok();
    let (mut from_near, mut to_near) = near.into_split();
    let Far { mut up, down } = far;
    // What is left of the far end when all was said, or when the near end takes no more; nothing when it is gone.
    let inwards = async move {
        while let Some(Ok(piece)) = up.next().await {
            let Some(piece::Message::Bytes(bytes)) = piece.message else {
                continue;
            };
            if bytes.is_empty() {
                to_near.shutdown().await.ok();
                return Some(up);
            }
            if to_near.write_all(&bytes).await.is_err() {
                return Some(up);
            }
        }
        None
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
        left = &mut inwards => if let Some(mut up) = left {
            tokio::select! {
                () = outwards => {}
                // What still comes is for nobody. Its end says that nobody listens any more, either.
                () = async { while let Some(Ok(_)) = up.next().await {} } => {}
            }
        },
        () = &mut outwards => {
            inwards.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    fn said(text: &[u8]) -> Piece {
        Piece {
            message: Some(piece::Message::Bytes(text.to_vec())),
        }
    }

    /// A connection whose other end has answered, and was closed before it read what it was sent.
    async fn answered_and_closed(answer: &[u8]) -> TcpStream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (near, server) = tokio::join!(TcpStream::connect(at), listener.accept());
        let (mut near, (mut server, _)) = (near.unwrap(), server.unwrap());
        near.write_all(b"never read").await.unwrap();
        server.readable().await.unwrap();
        server.write_all(answer).await.unwrap();
        drop(server);
        near
    }

    #[tokio::test]
    async fn an_answer_arrives_although_its_server_hears_no_more() {
        // Which direction is looked at first is left to chance.
        for _ in 0..64 {
            let near = answered_and_closed(b"enough").await;
            let (up, pieces) = mpsc::channel(AHEAD);
            let (down, mut answers) = mpsc::channel(AHEAD);
            for _ in 0..4 {
                up.send(Ok(said(b"more"))).await.unwrap();
            }
            let far = Far {
                up: ReceiverStream::new(pieces),
                down,
            };
            join(near, far).await;
            let mut heard = Vec::new();
            while let Some(Ok(piece)) = answers.recv().await {
                heard.push(piece);
            }
            assert_eq!(heard, [said(b"enough"), said(b"")]);
        }
    }

    #[tokio::test]
    async fn the_connection_ends_when_the_far_end_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let (up, pieces) = mpsc::channel(AHEAD);
        let (down, _answers) = mpsc::channel(AHEAD);
        let far = Far {
            up: ReceiverStream::new(pieces),
            down,
        };
        drop(up);
        join(near, far).await;
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
