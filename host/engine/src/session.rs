//! One run of one client: its nodes, its pins, and the way back to it.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
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
    CredentialRequest, Event, Explained, Finished, Kind, Log, Outcome, ReadReply, SecretRequest, SessionOpen,
    Started, event, session_down,
};
use wharf_store::{Seen, Spent};
use zeroize::Zeroizing;

use crate::{
    evaluate::Made,
    fetch::Pinned,
    forward::Dials,
    git,
    image::{Resolutions, Source},
    meanings::{self, Meanings},
    peer::Peer,
    terminal::Terminals,
    turns::Line,
};

/// Bytes of steps' output that wait in memory for one client; what comes while there are more waits in the step's log.
const LOG_AHEAD: usize = 4 * 1024 * 1024;
/// What a piece of output takes in memory beside its bytes, about.
const PIECE_OVERHEAD: usize = 256;

/// A session's number: unique while the engine lives.
pub(crate) type SessionId = u64;

/// One run of one client.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// Whose it is.
    pub(crate) peer: Peer,
    /// Its place among those who want turns.
    pub(crate) line: Line,
    pub(crate) no_cache: bool,
    pub(crate) explain: bool,
    /// A shell is opened where a step fails.
    pub(crate) interactive: bool,
    /// Ends when the client is gone.
    pub(crate) cancelled: CancellationToken,
    /// What references mean by the client's lock.
    pub(crate) meanings: Meanings,
    pub(crate) resolutions: Resolutions,
    pub(crate) fetched: Pinned,
    pub(crate) git: git::Asked,
    /// Registries, with what the client is logged in as.
    pub(crate) registry: Registry,
    /// Where images were found that are not where the client's own login leads, by manifest.
    sources: Mutex<HashMap<String, Source>>,
    graph: Mutex<Graph>,
    /// The way back to the client; none once the session is closed, however long work that it began is held elsewhere.
    down: Mutex<Option<mpsc::UnboundedSender<Outgoing>>>,
    /// Bytes of output on their way to the client in memory.
    log_ahead: AtomicUsize,
    /// Questions that wait for their answers.
    questions: Mutex<HashMap<u64, CancellationToken>>,
    secrets: Mutex<HashMap<u64, oneshot::Sender<Result<Zeroizing<Vec<u8>>, String>>>>,
    pub(crate) dials: Dials,
    pub(crate) terminals: Terminals,
    credentials: Mutex<HashMap<u64, oneshot::Sender<Option<Credential>>>>,
    next_request: AtomicU64,
    /// What this run has made or found, so that it stays and is found again without the index.
    made: Mutex<HashMap<Digest, Arc<Made>>>,
    /// Layers that this run has found in their place.
    pub(crate) seen: Seen,
    /// Was it told what its steps lack because of where this engine runs?
    pub(crate) was_told: AtomicBool,
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
        line: Line,
        peer: Peer,
        nonce: u64,
        open: &SessionOpen,
        registry: &Registry,
        down: mpsc::UnboundedSender<Outgoing>,
    ) -> Arc<Self> {
        let planner = Planner::new(Platform::host(), nonce).within(peer.scope());
        Arc::new_cyclic(|own| Self {
            id: line.session,
            peer,
            line,
            no_cache: open.no_cache,
            explain: open.explain,
            interactive: open.interactive,
            cancelled: CancellationToken::new(),
            meanings: Meanings::of(open),
            resolutions: Resolutions::default(),
            fetched: Pinned::default(),
            git: git::Asked::default(),
            registry: registry.for_another(credentials_of(own.clone())),
            sources: Mutex::default(),
            graph: Mutex::new(Graph {
                nodes: HashMap::new(),
                pins: Pins::default(),
                planner,
            }),
            down: Mutex::new(Some(down)),
            log_ahead: AtomicUsize::new(0),
            questions: Mutex::default(),
            secrets: Mutex::default(),
            dials: Dials::default(),
            terminals: Terminals::default(),
            credentials: Mutex::default(),
            next_request: AtomicU64::new(1),
            made: Mutex::default(),
            seen: Seen::default(),
            was_told: AtomicBool::new(false),
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

    /// Nodes of images, fetched files and commits below `node` that are not resolved yet, and those whose secret values have no
    /// name yet.
    pub(crate) fn unresolved(&self, node: &Arc<Node>) -> Vec<Arc<Node>> {
        let graph = lock(&self.graph);
        graph.planner.unpinned(node, &graph.pins)
    }

    /// Notes what an image node means for the rest of the run.
    pub(crate) fn pin_image(&self, node: NodeId, pin: wharf_graph::plan::ImagePin) {
        lock(&self.graph).pins.images.entry(node).or_insert(pin);
    }

    /// Notes what a node's URL holds for the rest of the run.
    pub(crate) fn pin_fetched(&self, node: NodeId, digest: String) {
        lock(&self.graph).pins.fetched.entry(node).or_insert(digest);
    }

    /// Notes what commit a node's reference means for the rest of the run.
    pub(crate) fn pin_commit(&self, node: NodeId, commit: String) {
        lock(&self.graph).pins.commits.entry(node).or_insert(commit);
    }

    /// Notes what a secret value is called in keys for the rest of the run.
    pub(crate) fn pin_value(&self, secret: SecretId, named: SecretId) {
        lock(&self.graph).pins.values.insert(secret, named);
    }

    /// The client's own name for a secret that has another in keys.
    fn own_name(&self, secret: &SecretId) -> Option<SecretId> {
        let graph = lock(&self.graph);
        let mut values = graph.pins.values.iter();
        values
            .find(|(_, named)| *named == secret)
            .map(|(own, _)| own.clone())
    }

    /// What a node means. Its sources must be pinned.
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

    /// Takes in a question; what is returned is cancelled when nobody waits for the answer any more.
    pub(crate) fn asked(&self, request: u64) -> CancellationToken {
        let given_up = CancellationToken::new();
        lock(&self.questions).insert(request, given_up.clone());
        given_up
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn give_up(&self, request: u64) {
        if let Some(question) = lock(&self.questions).remove(&request) {
            question.cancel();
        }
    }

    /// Sends an answer.
    pub(crate) fn answered(&self, reply: ReadReply) {
        lock(&self.questions).remove(&reply.request);
        self.send(session_down::Message::Answer(reply));
    }

    /// Asks the client for a secret's value.
    pub(crate) async fn secret(&self, secret: &SecretId) -> Result<Zeroizing<Vec<u8>>, Error> {
        let named = match self.peer.scope() {
            Some(scope) => secret.out_of(&scope),
            None => secret.clone(),
        };
        let own = if named.is_value() {
            self.own_name(&named).unwrap_or(named)
        } else {
            named
        };
        let (answer, answered) = oneshot::channel();
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        lock(&self.secrets).insert(request, answer);
        let message = SecretRequest {
            request,
            owner: own.owner,
            uri: own.uri,
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
        self.dials.clear();
        self.terminals.clear();
        lock(&self.credentials).clear();
        // What was sent before still arrives, then the client's stream ends.
        lock(&self.down).take();
    }

    pub(crate) fn send(&self, message: session_down::Message) {
        self.send_out(Outgoing::Message(message));
    }

    pub(crate) fn send_out(&self, outgoing: Outgoing) {
        // A client that is gone needs no events.
        if let Some(down) = &*lock(&self.down) {
            down.send(outgoing).ok();
        }
    }

    /// Takes room for a piece of output on its way to the client in memory, when there is any.
    pub(crate) fn has_room(&self, bytes: &[u8]) -> bool {
        let size = bytes.len() + PIECE_OVERHEAD;
        let taken = |ahead| (ahead + size <= LOG_AHEAD).then_some(ahead + size);
        self.log_ahead
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }

    /// The message for the client, when it is this one's turn to go out.
    pub(crate) async fn take_out(&self, outgoing: Outgoing) -> session_down::Message {
        match outgoing {
            Outgoing::Message(message) => {
                if let session_down::Message::Event(Event {
                    what: Some(event::What::Log(log)),
                    ..
                }) = &message
                {
                    self.log_ahead
                        .fetch_sub(log.bytes.len() + PIECE_OVERHEAD, Ordering::Relaxed);
                }
                message
            }
            Outgoing::Logged { key, stderr, logged } => {
                let read = tokio::task::spawn_blocking(move || logged.read()).await;
                let bytes = read.map_err(std::io::Error::other).flatten();
                let lost = |error| format!("[output that cannot be read back: {error}]\n").into_bytes();
                log_event(key, stderr, bytes.unwrap_or_else(lost))
            }
        }
    }

    /// Tells the client what happened to a piece of work.
    pub(crate) fn tell(&self, key: Digest, what: event::What) {
        self.send(session_down::Message::Event(Event {
            key: key.as_bytes().to_vec(),
            what: Some(what),
        }));
    }

    /// Tells the client what a reference was found out to mean, for its lock.
    pub(crate) fn tell_meaning(&self, reference: String, value: &str) {
        self.send(session_down::Message::Event(Event {
            key: Vec::new(),
            what: Some(meanings::told(reference, value)),
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
    pub(crate) fn tell_hit(&self, tree: &Arc<Tree>, spent: Spent, below: &dyn Fn(&[Digest]) -> Vec<Spent>) {
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
        let keys: Vec<_> = new_steps.iter().map(|step| step.key).collect();
        // One that is alone is known already, and most are.
        let all = if keys == [tree.key] {
            Vec::new()
        } else {
            below(&keys)
        };
        for (at, step) in new_steps.into_iter().enumerate() {
            let spent = if step.key == tree.key {
                spent
            } else {
                all.get(at).copied().unwrap_or_default()
            };
            self.tell(
                step.key,
                event::What::Started(Started {
                    title: step.title(),
                    kind: Kind::Step.into(),
                }),
            );
            let finished = Finished {
                outcome: Outcome::Hit.into(),
                microseconds: spent.duration_us,
                error: String::new(),
                gpus: spent.gpus,
                cpu_microseconds: spent.cpu_us,
                peak_memory: spent.peak_memory,
            };
            self.tell(step.key, event::What::Finished(finished));
        }
    }

    /// Notes that a step was reported by its own events.
    pub(crate) fn mark_reported(&self, key: Digest) {
        lock(&self.reported).insert(key);
    }
}

/// What is on its way to a client.
pub(crate) enum Outgoing {
    Message(session_down::Message),
    /// Output that the client was not ready for.
    Logged {
        key: Digest,
        stderr: bool,
        logged: Logged,
    },
}

/// Where in a step's log a piece of its output lies.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

impl Logged {
    fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        Ok(bytes)
    }
}

/// A piece of output as clients are sent it.
pub(crate) fn log_event(key: Digest, stderr: bool, bytes: Vec<u8>) -> session_down::Message {
    session_down::Message::Event(Event {
        key: key.as_bytes().to_vec(),
        what: Some(event::What::Log(Log { stderr, bytes })),
    })
}

/// What a session's client is logged in as. The source is asked where it may block.
fn credentials_of(session: Weak<Session>) -> CredentialSource {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |server| {
        let session = session.upgrade()?;
        runtime.block_on(session.credential(server))
    })
}

/// A lock that a panic elsewhere does not spoil: what these guard is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
