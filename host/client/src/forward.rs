//! Connections that pass through the protocol, at the client's end: from ports of this machine into a service, and from a
//! step to what listens on this machine.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, future::select_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Status, Streaming};
use wharf_graph::{
    Error, Node,
    op::HostPort,
    plan::{Port, Transport},
    read::{Answer, Question},
};
use wharf_proto::v1::{
    Dial, DialFailed, Dialled, Event, IntoService, Notice, Piece, SessionUp, event, piece, session_up,
};

use crate::{
    connect::Connection,
    lock,
    session::{Session, defect},
};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;
/// Pieces on their way at once.
const AHEAD: usize = 8;
/// How long a connection to something on this machine may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Places of this machine that the engine may ask for connections to.
pub(crate) type Allowed = Arc<Mutex<HashSet<(String, u16)>>>;

/// Makes the connection that the engine asks for, when it was allowed, or says why there is none.
pub(crate) async fn answer_dial(
    dial: Dial,
    session: u64,
    allowed: Allowed,
    connection: Connection,
    answers: mpsc::UnboundedSender<SessionUp>,
) {
    match try_dial(&dial, session, &allowed, &connection).await {
        Ok((near, up, down)) => {
            // The session ends by this, however long the connection lasts.
            drop(answers);
            join(near, up, down).await;
        }
        Err(why) => {
            let failed = DialFailed {
                request: dial.request,
                error: why,
            };
            let message = Some(session_up::Message::DialFailed(failed));
            answers.send(SessionUp { message }).ok();
        }
    }
}

async fn try_dial(
    dial: &Dial,
    session: u64,
    allowed: &Allowed,
    connection: &Connection,
) -> Result<(TcpStream, mpsc::Sender<Piece>, Streaming<Piece>), String> {
    let place = format!("{}:{}", dial.host, dial.port);
    let port = u16::try_from(dial.port).map_err(|_| format!("{place} is no place"))?;
    let is_allowed = lock(allowed).contains(&(dial.host.clone(), port));
    if !is_allowed {
        return Err(format!("{place} of this machine was not passed to this run"));
    }
    let near = tokio::time::timeout(PATIENCE, TcpStream::connect((dial.host.as_str(), port))).await;
    let near = match near {
        Ok(Ok(near)) => near,
        Ok(Err(error)) => return Err(format!("{place} of this machine cannot be reached: {error}")),
        Err(_) => return Err(format!("{place} of this machine does not answer")),
    };
    let opening = piece::Message::Dialled(Dialled {
        session,
        request: dial.request,
    });
    let (up, down) = open(connection, opening)
        .await
        .map_err(|error| error.to_string())?;
    Ok((near, up, down))
}

/// A connection through the protocol, which begins with this message.
async fn open(
    connection: &Connection,
    opening: piece::Message,
) -> Result<(mpsc::Sender<Piece>, Streaming<Piece>), Error> {
    let (up, pieces) = mpsc::channel(AHEAD);
    let opening = Piece {
        message: Some(opening),
    };
    up.send(opening).await.map_err(defect)?;
    let reply = connection.client().forward(ReceiverStream::new(pieces)).await;
    let down = reply.map_err(|status| Error::Unavailable(status.message().to_owned()))?;
    Ok((up, down.into_inner()))
}

/// Moves bytes both ways until both directions have ended. Each ends by itself; when the engine is gone, so is the connection.
async fn join<S>(near: TcpStream, up: mpsc::Sender<Piece>, mut down: S)
where
    S: Stream<Item = Result<Piece, Status>> + Unpin,
{
    near.set_nodelay(true).ok();
    let (mut from_near, mut to_near) = near.into_split();
    let outwards = async {
        let mut buffer = vec![0; PIECE];
        loop {
            let count = from_near.read(&mut buffer).await.unwrap_or_default();
            let message = Some(piece::Message::Bytes(buffer[..count].to_vec()));
            if up.send(Piece { message }).await.is_err() || count == 0 {
                return;
            }
        }
    };
    // True when all was said, or when the near end takes no more: what it says itself may still be on its way.
    let inwards = async {
        while let Some(Ok(piece)) = down.next().await {
            let Some(piece::Message::Bytes(bytes)) = piece.message else {
                continue;
            };
            if bytes.is_empty() {
                to_near.shutdown().await.ok();
                return true;
            }
            if to_near.write_all(&bytes).await.is_err() {
                return true;
            }
        }
        false
    };
    let is_engine_there = {
        let mut outwards = std::pin::pin!(outwards);
        let mut inwards = std::pin::pin!(inwards);
        tokio::select! {
            is_engine_there = &mut inwards => {
                if is_engine_there {
                    outwards.await;
                }
                is_engine_there
            }
            () = &mut outwards => inwards.await,
        }
    };
    if !is_engine_there {
        return;
    }
    // The engine ends the call when it has all, and sees that nobody listens any more. A call that is dropped before takes
    // along what is still on its way.
    drop(up);
    while let Some(Ok(_)) = down.next().await {}
}

impl Session {
    /// Allows the engine to ask for connections to a port that this machine knows.
    pub fn allow_dial(&self, host: &str, port: u16) {
        lock(self.allowed()).insert((host.to_owned(), port));
    }

    /// Starts a service and lets this machine's own programs reach it on ports of the loopback interface: those that are given
    /// (0 is one that is free), or the service's own. Returns when the service ends.
    pub async fn up(&self, service: &Arc<Node>, ports: &[HostPort]) -> Result<(), Error> {
        let ports = match ports {
            [] => self.own_ports(service).await?,
            ports => ports.to_vec(),
        };
        // Taken before anything runs: a port that is not free is said at once.
        let mut listeners = Vec::new();
        for port in &ports {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port.host));
            let listener = TcpListener::bind(at).await;
            let listener = listener.map_err(|error| {
                Error::Unavailable(format!(
                    "port {} of this machine cannot be listened on: {error}",
                    port.host
                ))
            })?;
            listeners.push((listener, port.service));
        }
        self.read(service, Question::Start).await?;
        for (listener, port) in &listeners {
            let at = listener.local_addr().map_err(defect)?;
            self.notice(service, format!("{at} leads to port {port} of the service"));
        }
        let accepting = listeners
            .iter()
            .map(|(listener, port)| Box::pin(self.accept(service, listener, *port)));
        tokio::select! {
            ended = self.read(service, Question::Ended) => ended.map(drop),
            (error, ..) = select_all(accepting) => Err(error),
        }
    }

    async fn own_ports(&self, service: &Arc<Node>) -> Result<Vec<HostPort>, Error> {
        let Answer::Ports(ports) = self.read(service, Question::Ports).await? else {
            return Err(defect(wharf_proto::DecodeError));
        };
        let own = |port: &Port| HostPort {
            host: port.number,
            service: port.number,
        };
        let ports: Vec<_> = ports
            .iter()
            .filter(|port| port.transport == Transport::Tcp)
            .map(own)
            .collect();
        if ports.is_empty() {
            let message = "the service exposes no TCP port: say which lead to it, as in 8080:80";
            return Err(Error::Invalid(message.to_owned()));
        }
        Ok(ports)
    }

    fn notice(&self, about: &Arc<Node>, text: String) {
        self.events().send(Event {
            key: about.id().0.as_bytes().to_vec(),
            what: Some(event::What::Notice(Notice { text })),
        });
    }

    async fn accept(&self, service: &Arc<Node>, listener: &TcpListener, port: u16) -> Error {
        let (connection, session) = match self.opened().await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        loop {
            let near = match listener.accept().await {
                Ok((near, _)) => near,
                Err(error) => return Error::Unavailable(error.to_string()),
            };
            let opening = piece::Message::Into(IntoService {
                session,
                node: service.id().0.as_bytes().to_vec(),
                port: u32::from(port),
            });
            let connection = connection.clone();
            tokio::spawn(async move {
                // Whoever connected sees a connection that ends; the service's own end is said by who waits for it.
                if let Ok((up, down)) = open(&connection, opening).await {
                    join(near, up, down).await;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &[u8]) -> Piece {
        Piece {
            message: Some(piece::Message::Bytes(text.to_vec())),
        }
    }

    #[tokio::test]
    async fn an_answer_is_passed_on_although_its_server_hears_no_more() {
        // Which direction is looked at first is left to chance.
        for _ in 0..64 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let (near, server) = tokio::join!(TcpStream::connect(at), listener.accept());
            let (mut near, (mut server, _)) = (near.unwrap(), server.unwrap());
            near.write_all(b"never read").await.unwrap();
            server.readable().await.unwrap();
            server.write_all(b"enough").await.unwrap();
            drop(server);
            let (up, mut answers) = mpsc::channel(AHEAD);
            let pieces = std::iter::repeat_with(|| Ok(said(b"more"))).take(4);
            join(near, up, tokio_stream::iter(pieces)).await;
            let mut heard = Vec::new();
            while let Some(piece) = answers.recv().await {
                heard.push(piece);
            }
            assert_eq!(heard, [said(b"enough"), said(b"")]);
        }
    }
}
