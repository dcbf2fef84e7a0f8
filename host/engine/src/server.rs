//! The engine's side of the protocol.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use wharf_digest::Digest;
use wharf_graph::{Error, NodeId, publish::Publish, read::Read};
use wharf_oci::Credential;
use wharf_proto::{
    VERSION, decode, encode,
    v1::{
        self, credential_reply, export_reply, piece, publish_reply, read_reply, secret_reply, session_down,
        session_up, terminal_up,
    },
};
use zeroize::Zeroizing;

use crate::{
    engine::Engine,
    failure::{no_log, send_log},
    forward::{self, Far},
    peer::Peer,
    session::{Session, lock},
    terminal::Taken,
};

/// Messages of an export on their way at once.
const EXPORT_AHEAD: usize = 8;

/// The service, as tonic wants it.
pub(crate) struct Service(pub(crate) Arc<Engine>);

type Down<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::engine_server::Engine for Service {
    type SessionStream = Down<v1::SessionDown>;
    type ExportStream = Down<v1::ExportReply>;
    type StepLogStream = Down<v1::StepLogReply>;
    type ForwardStream = Down<v1::Piece>;
    type TerminalStream = Down<v1::TerminalDown>;

    async fn hello(&self, _: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        Ok(Response::new(v1::HelloReply {
            version: VERSION.to_owned(),
            pid: wharf_userns::own_pid(),
        }))
    }

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionUp>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = Peer::of(&request)?;
        let mut up = request.into_inner();
        let first = up.next().await.transpose()?.and_then(|message| message.message);
        let Some(session_up::Message::Open(open)) = first else {
            return Err(Status::invalid_argument("a session's first message opens it"));
        };
        let (down, messages) = mpsc::unbounded_channel();
        let session = self.0.open_session(peer, &open, down)?;
        session.send(session_down::Message::Opened(v1::SessionOpened {
            session: session.id,
        }));
        let engine = Arc::clone(&self.0);
        let listener = Arc::clone(&session);
        tokio::spawn(async move {
            while let Some(Ok(message)) = up.next().await {
                match message.message {
                    Some(session_up::Message::Secret(reply)) => {
                        let outcome = match reply.outcome {
                            Some(secret_reply::Outcome::Value(value)) => Ok(Zeroizing::new(value)),
                            Some(secret_reply::Outcome::Error(error)) => Err(error),
                            None => Err("the client sent no value".to_owned()),
                        };
                        listener.secret_answered(reply.request, outcome);
                    }
                    Some(session_up::Message::DialFailed(failed)) => {
                        listener.dialled(failed.request, Err(failed.error));
                    }
                    Some(session_up::Message::TerminalRefused(refused)) => {
                        listener.terminal_answered(refused.request, Err(refused.error));
                    }
                    Some(session_up::Message::Credential(reply)) => {
                        let credential = reply.credential.and_then(credential);
                        listener.credential_answered(reply.request, credential);
                    }
                    Some(session_up::Message::Read(question)) => answer(&engine, &listener, question),
                    Some(session_up::Message::GiveUp(request)) => listener.give_up(request),
                    Some(session_up::Message::Open(_)) | None => {}
                }
            }
            engine.close_session(listener.id);
        });
        // The stream also ends the session when the client stops reading it.
        let open = Arc::new(CloseOnDrop(Arc::clone(&self.0), session));
        let messages = UnboundedReceiverStream::new(messages).then(move |outgoing| {
            let open = Arc::clone(&open);
            async move {
                let message = Some(open.1.take_out(outgoing).await);
                Ok(v1::SessionDown { message })
            }
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn missing(
        &self,
        request: Request<v1::MissingRequest>,
    ) -> Result<Response<v1::MissingReply>, Status> {
        let peer = Peer::of(&request)?;
        let missing = self.0.missing(&peer, request.into_inner()).await;
        let reply = missing.map_err(|error| internal(&error))?;
        Ok(Response::new(reply))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadRequest>>,
    ) -> Result<Response<v1::UploadReply>, Status> {
        let peer = Peer::of(&request)?;
        let content = self.0.receive_upload(&peer, request.into_inner()).await?;
        Ok(Response::new(v1::UploadReply {
            content: content.as_bytes().to_vec(),
        }))
    }

    async fn export(
        &self,
        request: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let peer = Peer::of(&request)?;
        let request = request.into_inner();
        let session = self.session_of(&peer, request.session)?;
        let (replies, stream) = mpsc::channel(EXPORT_AHEAD);
        let engine = Arc::clone(&self.0);
        tokio::spawn(async move {
            let exported = async {
                engine.take_in(&session, &request.nodes, &pins(&request.pins)?)?;
                let node = session.node(node_id(&request.node)?)?;
                engine.export(&session, &node, replies.clone()).await
            };
            if let Err(error) = cancellable(&session, exported).await {
                engine.tells(&session.peer, &error);
                let message = Some(export_reply::Message::Error(encode(&error)));
                replies.send(Ok(v1::ExportReply { message })).await.ok();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn forward(
        &self,
        request: Request<Streaming<v1::Piece>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let peer = Peer::of(&request)?;
        let mut up = request.into_inner();
        let first = up.next().await.transpose()?.and_then(|piece| piece.message);
        let (down, pieces) = mpsc::channel(forward::AHEAD);
        let far = Far { up, down };
        match first {
            Some(piece::Message::Dialled(dialled)) => {
                self.session_of(&peer, dialled.session)?
                    .dialled(dialled.request, Ok(far));
            }
            Some(piece::Message::Into(into)) => {
                let session = self.session_of(&peer, into.session)?;
                let node = node_id(&into.node).and_then(|id| session.node(id));
                let node = node.map_err(|error| internal(&error))?;
                let port = u16::try_from(into.port).map_err(|_| Status::invalid_argument("no port"))?;
                let engine = Arc::clone(&self.0);
                tokio::spawn(async move {
                    let connection = engine.connect_in(&session, &node, port, far);
                    if let Err(error) = cancellable(&session, connection).await {
                        tracing::debug!("a connection into a service: {error}");
                    }
                });
            }
            _ => {
                return Err(Status::invalid_argument(
                    "a connection's first piece says which it is",
                ));
            }
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }

    async fn terminal(
        &self,
        request: Request<Streaming<v1::TerminalUp>>,
    ) -> Result<Response<Self::TerminalStream>, Status> {
        let peer = Peer::of(&request)?;
        let mut up = request.into_inner();
        let first = up.next().await.transpose()?.and_then(|message| message.message);
        let Some(terminal_up::Message::Taken(taken)) = first else {
            return Err(Status::invalid_argument(
                "a terminal's first message says for whom it is",
            ));
        };
        let (down, shown) = mpsc::channel(forward::AHEAD);
        let (session, request) = (self.session_of(&peer, taken.session)?, taken.request);
        session.terminal_answered(request, Ok(Taken::new(taken, up, down)));
        Ok(Response::new(Box::pin(ReceiverStream::new(shown))))
    }

    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishReply>, Status> {
        let peer = Peer::of(&request)?;
        let request = request.into_inner();
        let session = self.session_of(&peer, request.session)?;
        let publish: Publish =
            decode(&request.publish).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let outcome = async {
            self.0.take_in(&session, &request.nodes, &pins(&request.pins)?)?;
            self.0.publish(&session, &publish).await
        };
        let outcome = match cancellable(&session, outcome).await {
            Ok(reference) => publish_reply::Outcome::Reference(reference),
            Err(error) => {
                self.0.tells(&peer, &error);
                publish_reply::Outcome::Error(encode(&error))
            }
        };
        Ok(Response::new(v1::PublishReply {
            outcome: Some(outcome),
        }))
    }

    async fn step_log(
        &self,
        request: Request<v1::StepLogRequest>,
    ) -> Result<Response<Self::StepLogStream>, Status> {
        let peer = Peer::of(&request)?;
        let name = request.into_inner().log;
        let (pieces, stream) = mpsc::channel(EXPORT_AHEAD);
        let log = if self.0.may_read(&peer, &name).map_err(|error| internal(&error))? {
            self.0.failed_log(&name).await
        } else {
            Err(no_log(&name))
        };
        let log = log.map_err(|error| Status::not_found(error.to_string()))?;
        tokio::task::spawn_blocking(move || send_log(log, &pieces));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        Ok(Response::new(self.0.status(&Peer::of(&request)?)))
    }

    async fn gpus(&self, _: Request<v1::GpusRequest>) -> Result<Response<v1::GpusReply>, Status> {
        Ok(Response::new(
            self.0.gpus().await.map_err(|error| internal(&error))?,
        ))
    }

    async fn usage(&self, request: Request<v1::UsageRequest>) -> Result<Response<v1::UsageReply>, Status> {
        Peer::of(&request)?.administrate("see what everybody keeps in its store")?;
        Ok(Response::new(
            self.0.usage().await.map_err(|error| internal(&error))?,
        ))
    }

    async fn prune(&self, request: Request<v1::PruneRequest>) -> Result<Response<v1::PruneReply>, Status> {
        Peer::of(&request)?.administrate("remove what it remembers")?;
        let request = request.into_inner();
        let keep = Duration::from_secs(request.keep_seconds);
        Ok(Response::new(
            self.0
                .prune(keep, request.volumes)
                .await
                .map_err(|error| internal(&error))?,
        ))
    }

    async fn verify(&self, request: Request<v1::VerifyRequest>) -> Result<Response<v1::VerifyReply>, Status> {
        Peer::of(&request)?.administrate("have its store read through")?;
        Ok(Response::new(
            self.0.verify().await.map_err(|error| internal(&error))?,
        ))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopReply>, Status> {
        Peer::of(&request)?.administrate("end it")?;
        self.0.stopping.cancel();
        Ok(Response::new(v1::StopReply {}))
    }
}

impl Service {
    /// The client's session of this number; another's is none.
    fn session_of(&self, peer: &Peer, id: u64) -> Result<Arc<Session>, Status> {
        lock(&self.0.sessions)
            .get(&id)
            .filter(|session| session.peer == *peer)
            .cloned()
            .ok_or_else(|| Status::failed_precondition("the session has ended"))
    }
}

/// Answers a question in a task of its own. Whatever becomes of that, an answer is sent.
fn answer(engine: &Arc<Engine>, session: &Arc<Session>, question: v1::ReadRequest) {
    let (engine, session) = (Arc::clone(engine), Arc::clone(session));
    let request = question.request;
    let given_up = session.asked(request);
    tokio::spawn(async move {
        let work = async {
            engine.take_in(&session, &question.nodes, &pins(&question.pins)?)?;
            let read: Read =
                decode(&question.read).map_err(|error| Error::other("protocol", error.to_string()))?;
            engine.answer(&session, &read).await
        };
        let work = AssertUnwindSafe(cancellable(&session, work)).catch_unwind();
        let outcome = tokio::select! {
            outcome = work => outcome
                .unwrap_or_else(|_| Err(Error::other("defect", "the engine met a defect: its log says more"))),
            () = given_up.cancelled() => Err(Error::Cancelled),
        };
        let outcome = match outcome {
            Ok(answer) => read_reply::Outcome::Answer(encode(&answer)),
            Err(error) => {
                engine.tells(&session.peer, &error);
                read_reply::Outcome::Error(encode(&error))
            }
        };
        session.answered(v1::ReadReply {
            request,
            outcome: Some(outcome),
        });
    });
}

struct CloseOnDrop(Arc<Engine>, Arc<Session>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close_session(self.1.id);
    }
}

/// The work's outcome, or `Cancelled` as soon as the session's client is gone.
async fn cancellable<T>(session: &Session, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        outcome = work => outcome,
        () = session.cancelled.cancelled() => Err(Error::Cancelled),
    }
}

fn internal(error: &Error) -> Status {
    Status::internal(error.to_string())
}

/// A registry's credential as the client sent it: none when it is no text.
fn credential(sent: credential_reply::Credential) -> Option<Credential> {
    match sent {
        credential_reply::Credential::Password(v1::Password { user, password }) => {
            Some(Credential::Password {
                user,
                password: String::from_utf8(password).ok()?,
            })
        }
        credential_reply::Credential::IdentityToken(token) => {
            Some(Credential::IdentityToken(String::from_utf8(token).ok()?))
        }
    }
}

fn node_id(bytes: &[u8]) -> Result<NodeId, Error> {
    Digest::try_from(bytes)
        .map(NodeId)
        .map_err(|error| Error::other("protocol", error.to_string()))
}

fn pins(pins: &[v1::Pin]) -> Result<Vec<(NodeId, Digest)>, Error> {
    let pin = |pin: &v1::Pin| {
        let content =
            Digest::try_from(pin.content.as_slice()).map_err(|e| Error::other("protocol", e.to_string()))?;
        Ok((node_id(&pin.node)?, content))
    };
    pins.iter().map(pin).collect()
}

/// Ends when the engine has had no session for `idle`, or is told to stop.
pub(crate) fn until_idle(engine: Arc<Engine>, idle: Duration) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut last_busy = tokio::time::Instant::now();
        let mut tick = tokio::time::interval(Duration::from_secs(1).min(idle));
        loop {
            tokio::select! {
                () = engine.stopping.cancelled() => return,
                _ = tick.tick() => {}
            }
            if !lock(&engine.sessions).is_empty() || engine.running_steps.load(Ordering::Relaxed) > 0 {
                last_busy = tokio::time::Instant::now();
            }
            if last_busy.elapsed() >= idle {
                tracing::info!("no client for {} s: ending", idle.as_secs());
                engine.stopping.cancel();
                return;
            }
        }
    })
}
