//! One run of one client: its nodes, its pins, and the way back to it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wharf_digest::Digest;
use wharf_graph::{
    Error, Node, NodeId,
    image::Platform,
    op::SecretId,
    plan::{Location, Pins, Planned, Planner, Tree},
    publish::Login,
};
use wharf_oci::{Credential, CredentialSource, Registry};
use wharf_proto::v1::{
    CredentialRequest, Event, Explained, Kind, Log, Outcome, SecretRequest, SessionDown, Started, event,
    session_down,
};
use zeroize::Zeroizing;

use crate::{
    evaluate::Made,
    image::{Resolutions, Source},
};

/// A session's number: unique while the engine lives.
pub(crate) type SessionId = u64;

/// One run of one client.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) no_cache: bool,
    pub(crate) explain: bool,
    /// Ends when the client is gone.
    pub(crate) cancelled: CancellationToken,
    pub(crate) resolutions: Resolutions,
    /// Registries, with what the client is logged in as.
    pub(crate) registry: Registry,
    /// Where images were found that are not where the client's own login leads, by manifest.
    sources: Mutex<HashMap<String, Source>>,
    graph: Mutex<Graph>,
    /// The way back to the client; none once the session is closed, however long work that it began is held elsewhere.
    down: Mutex<Option<mpsc::UnboundedSender<Result<SessionDown, tonic::Status>>>>,
    secrets: Mutex<HashMap<u64, oneshot::Sender<Result<Zeroizing<Vec<u8>>, String>>>>,
    credentials: Mutex<HashMap<u64, oneshot::Sender<Option<Credential>>>>,
    next_request: AtomicU64,
    /// What this run has made or found, so that it stays and is found again without the index.
    made: Mutex<HashMap<Digest, Arc<Made>>>,
    /// Steps that were reported, so that each is counted once.
    reported: Mutex<HashSet<Digest>>,
}

struct Graph {
    nodes: HashMap<NodeId, Arc<Node>>,
    pins: Pins,
    planner: Planner,
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        nonce: u64,
        (no_cache, explain): (bool, bool),
        registry: &Registry,
        down: mpsc::UnboundedSender<Result<SessionDown, tonic::Status>>,
    ) -> Arc<Self> {
        let planner = Planner::new(Platform::host(), nonce);
        Arc::new_cyclic(|own| Self {
            id,
            no_cache,
            explain,
            cancelled: CancellationToken::new(),
            resolutions: Resolutions::default(),
            registry: registry.for_another(credentials_of(own.clone())),
            sources: Mutex::default(),
            graph: Mutex::new(Graph {
                nodes: HashMap::new(),
                pins: Pins::default(),
                planner,
            }),
            down: Mutex::new(Some(down)),
            secrets: Mutex::default(),
            credentials: Mutex::default(),
            next_request: AtomicU64::new(1),
            made: Mutex::default(),
            reported: Mutex::default(),
        })
    }

    /// Takes nodes in, inputs first, and what host directories among them hold.
    pub(crate) fn add(&self, encodings: &[Vec<u8>], pins: &[(NodeId, Digest)]) -> Result<(), Error> {
        let mut graph = lock(&self.graph);
        for encoding in encodings {
            let node = Node::decode(encoding, |id| graph.nodes.get(&id).cloned())
                .map_err(|error| Error::other("protocol", error.to_string()))?;
            graph.nodes.entry(node.id()).or_insert(node);
        }
        graph.pins.uploads.extend(pins.iter().copied());
        Ok(())
    }

    /// A node that was sent.
    pub(crate) fn node(&self, id: NodeId) -> Result<Arc<Node>, Error> {
        let unknown = || Error::other("protocol", "a question about a node that was not sent");
        lock(&self.graph).nodes.get(&id).cloned().ok_or_else(unknown)
    }

    /// Image nodes below `node` that are not resolved yet.
    pub(crate) fn unresolved(&self, node: &Arc<Node>) -> Vec<Arc<Node>> {
        let graph = lock(&self.graph);
        graph.planner.unpinned(node, &graph.pins)
    }

    /// Notes what an image node means for the rest of the run.
    pub(crate) fn pin_image(&self, node: NodeId, pin: wharf_graph::plan::ImagePin) {
        lock(&self.graph).pins.images.entry(node).or_insert(pin);
    }

    /// What a node means. Its images must be pinned.
    pub(crate) fn plan(&self, node: &Arc<Node>) -> Result<Planned, Error> {
        let mut graph = lock(&self.graph);
        let Graph { pins, planner, .. } = &mut *graph;
        let unpinned = |_| {
            Error::other(
                "protocol",
                "a host directory was not sent with the nodes that use it",
            )
        };
        match planner.plan(node, pins).map_err(unpinned)? {
            Planned::Failed(error) => Err(error),
            planned => Ok(planned),
        }
    }

    /// What was made in this run.
    pub(crate) fn made(&self, key: &Digest) -> Option<Arc<Made>> {
        lock(&self.made).get(key).cloned()
    }

    /// Notes what was made or found.
    pub(crate) fn keep(&self, key: Digest, made: &Arc<Made>) {
        lock(&self.made).insert(key, Arc::clone(made));
    }

    /// Asks the client for a secret's value.
    pub(crate) async fn secret(&self, secret: &SecretId) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (answer, answered) = oneshot::channel();
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        lock(&self.secrets).insert(request, answer);
        let message = SecretRequest {
            request,
            owner: secret.owner.clone(),
            uri: secret.uri.clone(),
        };
        self.send(session_down::Message::Secret(message));
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(message)) => Err(Error::NotFound(message)),
            Err(_) => Err(Error::Cancelled),
        }
    }

    /// Passes the client's answer to whoever asked.
    pub(crate) fn secret_answered(&self, request: u64, outcome: Result<Zeroizing<Vec<u8>>, String>) {
        if let Some(waiting) = lock(&self.secrets).remove(&request) {
            waiting.send(outcome).ok();
        }
    }

    /// Registries as a login that a pipeline brought says, or as what the client is logged in as.
    pub(crate) async fn registry_as(&self, login: Option<&Login>) -> Result<Registry, Error> {
        let Some(Login { user, password }) = login else {
            return Ok(self.registry.clone());
        };
        let value = self.secret(password).await?;
        let not_text = || Error::Invalid(format!("the password of {user} is not text"));
        let text = std::str::from_utf8(&value).map_err(|_| not_text())?;
        let credential = Credential::Password {
            user: user.clone(),
            password: text.to_owned(),
        };
        Ok(self
            .registry
            .for_another(Arc::new(move |_| Some(credential.clone()))))
    }

    /// Notes where an image was found.
    pub(crate) fn found_in(&self, manifest: &str, source: Source) {
        lock(&self.sources).insert(manifest.to_owned(), source);
    }

    /// Where an image was found.
    pub(crate) fn source_of(&self, manifest: &str) -> Source {
        let found = lock(&self.sources).get(manifest).cloned();
        found.unwrap_or_else(|| Source::Registry(self.registry.clone()))
    }

    /// Asks the client what it is logged in to a registry as.
    async fn credential(&self, server: &str) -> Option<Credential> {
        let (answer, answered) = oneshot::channel();
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        lock(&self.credentials).insert(request, answer);
        if self.cancelled.is_cancelled() {
            return None;
        }
        let server = server.to_owned();
        self.send(session_down::Message::Credential(CredentialRequest {
            request,
            server,
        }));
        answered.await.ok().flatten()
    }

    /// Passes the client's answer to whoever asked.
    pub(crate) fn credential_answered(&self, request: u64, credential: Option<Credential>) {
        if let Some(waiting) = lock(&self.credentials).remove(&request) {
            waiting.send(credential).ok();
        }
    }

    /// Gives up on everything that waits for this client.
    pub(crate) fn close(&self) {
        self.cancelled.cancel();
        lock(&self.secrets).clear();
        lock(&self.credentials).clear();
        // What was sent before still arrives, then the client's stream ends.
        lock(&self.down).take();
    }

    pub(crate) fn send(&self, message: session_down::Message) {
        // A client that is gone needs no events.
        if let Some(down) = &*lock(&self.down) {
            down.send(Ok(SessionDown {
                message: Some(message),
            }))
            .ok();
        }
    }

    /// Tells the client what happened to a piece of work.
    pub(crate) fn tell(&self, key: Digest, what: event::What) {
        self.send(session_down::Message::Event(Event {
            key: key.as_bytes().to_vec(),
            what: Some(what),
        }));
    }

    /// Says why a step hit or missed, when the client asked for it.
    pub(crate) fn explain(&self, tree: &Tree, reason: impl FnOnce() -> String) {
        if self.explain {
            let what = Explained {
                title: tree.title(),
                reason: reason(),
            };
            self.tell(tree.key, event::What::Explained(what));
        }
    }

    /// Reports a remembered result: the tree's own step and all below it that were not reported yet.
    pub(crate) fn tell_hit(&self, tree: &Arc<Tree>, microseconds: u64) {
        let mut new_steps = Vec::new();
        {
            let mut reported = lock(&self.reported);
            let mut stack = vec![Arc::clone(tree)];
            while let Some(tree) = stack.pop() {
                if !reported.insert(tree.key) {
                    continue;
                }
                stack.extend(tree.inputs().into_iter().map(|Location { tree, .. }| tree));
                if tree.step().is_some() {
                    new_steps.push(tree);
                }
            }
        }
        for step in new_steps {
            let own_time = if step.key == tree.key { microseconds } else { 0 };
            self.tell(
                step.key,
                event::What::Started(Started {
                    title: step.title(),
                    kind: Kind::Step.into(),
                }),
            );
            let finished = wharf_proto::v1::Finished {
                outcome: Outcome::Hit.into(),
                microseconds: own_time,
                error: String::new(),
            };
            self.tell(step.key, event::What::Finished(finished));
        }
    }

    /// Notes that a step was reported by its own events.
    pub(crate) fn mark_reported(&self, key: Digest) {
        lock(&self.reported).insert(key);
    }
}

/// What a session's client is logged in as. The source is asked where it may block.
fn credentials_of(session: Weak<Session>) -> CredentialSource {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |server| {
        let session = session.upgrade()?;
        runtime.block_on(session.credential(server))
    })
}

/// A piece of work's audience: the sessions that wait for it.
#[derive(Clone, Default)]
pub(crate) struct Audience(Arc<Mutex<Vec<Arc<Session>>>>);

impl Audience {
    pub(crate) fn join(&self, session: &Arc<Session>) {
        let mut sessions = lock(&self.0);
        if !sessions.iter().any(|member| member.id == session.id) {
            sessions.push(Arc::clone(session));
        }
    }

    /// Those whose client is still there.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.0)
            .iter()
            .filter(|session| !session.cancelled.is_cancelled())
            .cloned()
            .collect()
    }

    pub(crate) fn tell(&self, key: Digest, what: &event::What) {
        for session in self.sessions() {
            session.mark_reported(key);
            session.tell(key, what.clone());
        }
    }

    pub(crate) fn log(&self, key: Digest, stderr: bool, bytes: &[u8]) {
        for session in self.sessions() {
            session.tell(
                key,
                event::What::Log(Log {
                    stderr,
                    bytes: bytes.to_vec(),
                }),
            );
        }
    }

    pub(crate) fn explain(&self, tree: &Tree, reason: impl Fn() -> String) {
        for session in self.sessions() {
            session.explain(tree, &reason);
        }
    }

    /// A secret's value from whichever client has it.
    pub(crate) async fn secret(&self, secret: &SecretId) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut outcome = Err(Error::Cancelled);
        for session in self.sessions() {
            outcome = session.secret(secret).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

/// A lock that a panic elsewhere does not spoil: what these guard is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
