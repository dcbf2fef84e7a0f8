//! Connections: of the unix socket, and of other machines, over TLS with a certificate on both sides.

use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt};
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use wharf_tls::Address;

use crate::peer::{Peer, PeerLimits};

/// How long a client may take until it has said who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many may be about to say who they are.
const STRANGERS: usize = 256;
/// Connections that wait to be served.
const AHEAD: usize = 16;
/// The first byte of what speaks TLS.
const TLS_RECORD: u8 = 0x16;
/// How long one that speaks something else is listened to after it was told so.
const FAREWELL: Duration = Duration::from_secs(1);
/// A client that is gone without a word is looked for after so long without one, so often, and so many times.
const ALIVE: (Duration, Duration, u32) = (Duration::from_secs(20), Duration::from_secs(5), 4);

/// How an engine is reached from other machines.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Where it listens.
    pub listen: Address,
    /// The directory of its certificate, its key and its authority.
    pub certificates: PathBuf,
    /// How much of it one client may have.
    pub limits: PeerLimits,
}

/// Why it cannot be.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is no certificate that can be used.
    #[error(transparent)]
    Certificates(#[from] wharf_tls::Error),
    /// Nothing can listen there.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Where.
        listen: Address,
        /// Why.
        source: io::Error,
    },
}

/// Listens for other machines, before the engine is ready for them.
pub(crate) struct Door {
    listener: TcpListener,
    tls: TlsAcceptor,
    shown: Address,
}

impl Door {
    pub(crate) async fn open(config: &RemoteConfig) -> Result<Self, RemoteError> {
        let tls: Arc<ServerConfig> = wharf_tls::server_config(&config.certificates)?;
        let failed = |source| RemoteError::Listen {
            listen: config.listen.clone(),
            source,
        };
        let listener = TcpListener::bind((config.listen.host.as_str(), config.listen.port)).await;
        let listener = listener.map_err(failed)?;
        // Port 0 becomes one that was free.
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self {
            listener,
            tls: tls.into(),
            shown: Address {
                port,
                ..config.listen.clone()
            },
        })
    }

    /// Lets in who may come in, until the engine ends or nobody takes them.
    async fn attend(self, let_in: mpsc::Sender<io::Result<Accepted>>, stopping: CancellationToken) {
        let room = Arc::new(Semaphore::new(STRANGERS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stopping.cancelled() => return,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of open files there may be too many, for a while.
                    tracing::warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                tracing::warn!("{from} is not let in: {STRANGERS} others have not said yet who they are");
                continue;
            };
            let (tls, let_in) = (self.tls.clone(), let_in.clone());
            tokio::spawn(async move {
                let admitted = tokio::time::timeout(HANDSHAKE, admit(stream, &tls)).await;
                drop(place);
                let late = || Err(format!("it said nothing for {} s", HANDSHAKE.as_secs()));
                match admitted.unwrap_or_else(|_| late()) {
                    Ok(accepted) => {
                        tracing::info!("{from} is {}", accepted.peer);
                        let_in.send(Ok(accepted)).await.ok();
                    }
                    Err(why) => tracing::warn!("{from} is not let in: {why}"),
                }
            });
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

/// All connections, in the order in which they are let in.
pub(crate) fn connections(
    socket: UnixListener,
    door: Option<Door>,
    stopping: &CancellationToken,
) -> impl Stream<Item = io::Result<Accepted>> + Send + use<> {
    let own = UnixListenerStream::new(socket).map(|stream| stream.and_then(Accepted::local));
    let (let_in, others) = mpsc::channel(AHEAD);
    if let Some(door) = door {
        tokio::spawn(door.attend(let_in, stopping.clone()));
    }
    futures::stream::select(own, ReceiverStream::new(others))
}

/// Finds out who is there. The error is for the engine's log: the client is told by TLS.
async fn admit(mut stream: TcpStream, tls: &TlsAcceptor) -> Result<Accepted, String> {
    let broken = |error: io::Error| format!("its connection broke: {error}");
    let mut first = [0];
    if stream.peek(&mut first).await.map_err(broken)? == 0 {
        return Err("it ended the connection at once".to_owned());
    }
    if first[0] != TLS_RECORD {
        refuse_plain(&mut stream).await.ok();
        return Err("it does not speak TLS".to_owned());
    }
    stream.set_nodelay(true).map_err(broken)?;
    watch(&stream).map_err(broken)?;
    let stream = tls.accept(stream).await.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(tls) => wharf_tls::of_server(tls),
            None => format!("its connection broke: {error}"),
        }
    })?;
    let chain = stream.get_ref().1.peer_certificates();
    let own = chain.and_then(<[_]>::first);
    let own = own.ok_or_else(|| "it showed no certificate".to_owned())?;
    let subject = wharf_tls::subject(own).map_err(|error| error.to_string())?;
    Ok(Accepted {
        wire: Wire::Tls(Box::new(stream)),
        peer: Peer::Remote(Arc::new(subject)),
    })
}

/// Says to who speaks no TLS what is spoken here, so that most programs show it.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    let words = "This is a Wharf engine. It takes TLS connections only, and only with a client's certificate: use \
                 `wharf --engine tcp://HOST:PORT`.\n";
    let mut answer = Vec::new();
    write!(
        answer,
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{words}",
        words.len()
    )?;
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // Ended with something unread, the connection would be reset, and the words lost on their way.
    let mut rest = stream.take(64 * 1024);
    let mut nowhere = tokio::io::sink();
    let unread = tokio::io::copy(&mut rest, &mut nowhere);
    tokio::time::timeout(FAREWELL, unread).await.ok();
    Ok(())
}

/// Has the kernel look whether the other machine is still there.
fn watch(stream: &TcpStream) -> io::Result<()> {
    let (idle, interval, count) = ALIVE;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, interval)?;
    sockopt::set_tcp_keepcnt(stream, count)?;
    let unanswered = idle + interval * count;
    sockopt::set_tcp_user_timeout(stream, unanswered.as_millis() as u32)?;
    Ok(())
}

/// A connection, and whose it is.
pub(crate) struct Accepted {
    wire: Wire,
    peer: Peer,
}

enum Wire {
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Accepted {
    fn local(stream: UnixStream) -> io::Result<Self> {
        let uid = stream.peer_cred()?.uid();
        Ok(Self {
            wire: Wire::Unix(stream),
            peer: Peer::Local { uid },
        })
    }
}

impl Connected for Accepted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Unix(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
