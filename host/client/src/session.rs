//! One run: a lazily opened session with an engine.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, Weak},
};

use futures::future::{BoxFuture, try_join_all};
use tokio::sync::{OnceCell, mpsc};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tokio_util::io::SyncIoBridge;
use tonic::Status;
use wharf_digest::Digest;
use wharf_graph::{
    Error, Node, NodeId, Op,
    gpu::Gpu,
    op::SecretId,
    plan::DOCKER_ARCHIVE,
    publish::Publish,
    read::{Answer, Question, Read},
};
use wharf_oci::{CredentialSource, docker_credentials, docker_credentials_at};
use wharf_proto::{
    decode, encode,
    v1::{
        Event, ExportRequest, Meaning, Pin, PublishRequest, ReadRequest, SessionOpen, SessionUp,
        export_reply, publish_reply, read_reply, session_down, session_up,
    },
};
use zeroize::Zeroizing;

use crate::{
    answers::Answers,
    asked::Asked,
    connect::{ConnectError, Connection, gpu},
    events::Events,
    export,
    forward::Allowed,
    lock,
    named::Named,
    secrets::{Secrets, SecretsRead},
    targets::{InUse, Made, Targets},
    terminal::Terminals,
    upload::Uploader,
};

/// Finds or starts the engine when it is first needed.
pub type Connector = Box<dyn Fn() -> BoxFuture<'static, Result<Connection, ConnectError>> + Send + Sync>;

/// Writes the archive of an image of the user's Docker, by name, to a file.
pub type DockerImages = Box<dyn Fn(String, PathBuf) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// What holds for a whole run.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Run every step although its result is remembered.
    pub no_cache: bool,
    /// Report for each step why it hit or missed.
    pub explain: bool,
    /// Open a shell where a step fails.
    pub interactive: bool,
    /// What references of images and commits mean, whatever they mean elsewhere now.
    pub meanings: Meanings,
    /// Refuse what may mean something else tomorrow and has no meaning here.
    pub locked: bool,
    /// Where digests of the host's files are kept between runs.
    pub stat_cache: PathBuf,
    /// Docker's configuration file with logins; the user's own unless given.
    pub logins: Option<PathBuf>,
}

/// What references mean: digests of images by the images' names, commits by the repository and the reference.
pub type Meanings = BTreeMap<String, String>;

/// One run. Cheap to clone; the run ends when the last clone is dropped.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    connector: Connector,
    events: Events,
    open: OnceCell<Open>,
    sent: Mutex<HashSet<NodeId>>,
    uploads: Mutex<HashMap<NodeId, Arc<OnceCell<Digest>>>>,
    named: Named,
    run: Arc<Run>,
    /// The run's other engines.
    targets: Weak<InUse>,
    /// The same where this is the session of the run's own engine, with which they end.
    own_targets: Option<Arc<InUse>>,
}

/// What the sessions of one run share, whichever engines they are with.
pub(crate) struct Run {
    options: SessionOptions,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) allowed: Allowed,
    pub(crate) credentials: CredentialSource,
    docker: OnceLock<DockerImages>,
    pub(crate) terminals: OnceLock<Arc<Terminals>>,
    uploader: Uploader,
    /// What this run has found out.
    pub(crate) found: Mutex<Meanings>,
}

struct Open {
    connection: Connection,
    id: u64,
    /// Kept open: its end ends the session.
    up: mpsc::UnboundedSender<SessionUp>,
    answers: Answers,
}

impl Session {
    /// A session that connects when something is first forced. Events about its work go to `events`.
    pub fn new(connector: Connector, options: SessionOptions, events: mpsc::UnboundedSender<Event>) -> Self {
        let targets = Arc::new(InUse::default());
        let run = Run {
            uploader: Uploader::new(options.stat_cache.clone()),
            credentials: match &options.logins {
                Some(file) => docker_credentials_at(file.clone()),
                None => docker_credentials(),
            },
            options,
            secrets: Arc::default(),
            allowed: Allowed::default(),
            docker: OnceLock::new(),
            terminals: OnceLock::new(),
            found: Mutex::default(),
        };
        Self(Arc::new(Inner {
            connector,
            events: Events::new(events),
            open: OnceCell::new(),
            sent: Mutex::default(),
            uploads: Mutex::default(),
            named: Named::default(),
            run: Arc::new(run),
            targets: Arc::downgrade(&targets),
            own_targets: Some(targets),
        }))
    }

    /// The same run's session with another engine.
    fn with_target(&self, name: &str) -> Result<Self, Error> {
        let targets = self.0.targets.upgrade().ok_or(Error::Cancelled)?;
        targets.session(name, |connector| {
            Self(Arc::new(Inner {
                connector,
                events: self.0.events.of_target(name),
                open: OnceCell::new(),
                sent: Mutex::default(),
                uploads: Mutex::default(),
                named: Named::default(),
                run: Arc::clone(&self.0.run),
                targets: Weak::clone(&self.0.targets),
                own_targets: None,
            }))
        })
    }

    /// Says how engines are found that the user's configuration names; there are none otherwise.
    pub fn offer_targets(&self, targets: Targets) {
        if let Some(in_use) = self.0.targets.upgrade() {
            in_use.offer(targets);
        }
    }

    /// Says how images of the user's Docker are had; there are none otherwise.
    pub fn offer_docker(&self, images: DockerImages) {
        self.0.run.docker.set(images).ok();
    }

    /// Says how the user's terminal is lent; there is none otherwise.
    pub fn offer_terminal(&self, terminals: Terminals) {
        self.0.run.terminals.set(Arc::new(terminals)).ok();
    }

    /// Allows the engine to ask for this secret.
    pub fn register_secret(&self, secret: SecretId) {
        self.0.run.secrets.register(secret);
    }

    /// Keeps a value that a module made, for the length of the run, and says how it is named.
    pub fn hold_secret(&self, owner: &str, value: Zeroizing<Vec<u8>>) -> SecretId {
        self.0.run.secrets.hold(owner, value)
    }

    /// Was this passed to the run as a secret, whoever it belongs to?
    pub fn is_secret(&self, uri: &str) -> bool {
        self.0.run.secrets.is_source(uri)
    }

    /// The files that were passed to the run as secrets.
    pub fn secret_files(&self) -> Vec<std::path::PathBuf> {
        self.0.run.secrets.files()
    }

    /// The values of secrets that this run reads.
    pub fn secrets_read(&self) -> SecretsRead {
        SecretsRead(Arc::clone(&self.0.run.secrets))
    }

    /// What this run has found out that references mean, beside what it was told.
    pub fn found_meanings(&self) -> Meanings {
        lock(&self.0.run.found).clone()
    }

    /// The value of a secret of this run.
    pub async fn secret_value(&self, secret: SecretId) -> Result<Zeroizing<Vec<u8>>, Error> {
        let secrets = Arc::clone(&self.0.run.secrets);
        let value = tokio::task::spawn_blocking(move || secrets.value(&secret)).await;
        value
            .map_err(defect)?
            .map_err(|error| Error::NotFound(error.to_string()))
    }

    /// Places of this machine that the engine may ask for connections to.
    pub(crate) fn allowed(&self) -> &Allowed {
        &self.0.run.allowed
    }

    /// Where events about this run's work go.
    pub(crate) fn events(&self) -> &Events {
        &self.0.events
    }

    /// The engine's connection and the session's number, opened when it is not.
    pub(crate) async fn opened(&self) -> Result<(Connection, u64), Error> {
        let open = self.open().await.map_err(|error| unreachable_engine(&error))?;
        Ok((open.connection.clone(), open.id))
    }

    /// The engine's connection, opened when it is not.
    pub async fn connection(&self) -> Result<Connection, ConnectError> {
        Ok(self.open().await?.connection.clone())
    }

    /// Asks a question of a node.
    pub async fn read(&self, node: &Arc<Node>, question: Question) -> Result<Answer, Error> {
        let open = self.open().await.map_err(|error| unreachable_engine(&error))?;
        let (nodes, pins) = self.unsent(open, node).await?;
        let question = ReadRequest {
            request: 0,
            nodes: encodings(&nodes),
            pins,
            read: encode(&Read {
                node: node.id(),
                question,
            }),
        };
        let reply = open.answers.ask(question, &open.up).await?;
        self.mark_sent(&nodes);
        match reply.outcome {
            Some(read_reply::Outcome::Answer(bytes)) => decode(&bytes).map_err(defect),
            Some(read_reply::Outcome::Error(bytes)) => Err(decode(&bytes).unwrap_or_else(defect)),
            None => Err(defect(wharf_proto::DecodeError)),
        }
    }

    /// The engine's GPUs.
    pub async fn gpus(&self) -> Result<Vec<Gpu>, Error> {
        let (connection, _) = self.opened().await?;
        let reply = connection.gpus().await.map_err(|status| broken_call(&status))?;
        Ok(reply.devices.into_iter().map(gpu).collect())
    }

    /// Pushes containers to a registry as one image; returns its reference with its digest.
    pub async fn publish(&self, containers: &[Arc<Node>], publish: &Publish) -> Result<String, Error> {
        let open = self.open().await.map_err(|error| unreachable_engine(&error))?;
        let (mut nodes, mut pins) = (Vec::new(), Vec::new());
        for container in containers {
            let (unsent, pinned) = self.unsent(open, container).await?;
            nodes.extend(unsent);
            pins.extend(pinned);
        }
        self.0.named.add_publish(publish);
        let request = PublishRequest {
            session: open.id,
            nodes: encodings(&nodes),
            pins,
            publish: encode(publish),
        };
        let reply = open.connection.client().publish(request).await;
        let reply = reply.map_err(|status| broken_call(&status))?.into_inner();
        self.mark_sent(&nodes);
        match reply.outcome {
            Some(publish_reply::Outcome::Reference(reference)) => Ok(reference),
            Some(publish_reply::Outcome::Error(bytes)) => Err(decode(&bytes).unwrap_or_else(defect)),
            None => Err(defect(wharf_proto::DecodeError)),
        }
    }

    /// Writes a directory's contents into the directory `to`.
    pub async fn export_directory(&self, node: &Arc<Node>, to: &Path) -> Result<(), Error> {
        let to = to.to_owned();
        self.export(node, move |stream| export::unpack(stream, &to)).await
    }

    /// Writes a file to `to`, or into it when it is a directory.
    pub async fn export_file(&self, node: &Arc<Node>, to: &Path) -> Result<(), Error> {
        let to = to.to_owned();
        self.export(node, move |stream| export::unpack_file(stream, &to))
            .await
    }

    /// Writes a container as an OCI archive to `to`.
    pub async fn export_container(&self, node: &Arc<Node>, to: &Path) -> Result<(), Error> {
        let to = to.to_owned();
        self.export(node, move |stream| export::write_archive(stream, &to))
            .await
    }

    async fn export(
        &self,
        node: &Arc<Node>,
        write: impl FnOnce(Box<dyn std::io::Read + Send>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let open = self.open().await.map_err(|error| unreachable_engine(&error))?;
        let (nodes, pins) = self.unsent(open, node).await?;
        let request = ExportRequest {
            session: open.id,
            nodes: encodings(&nodes),
            pins,
            node: node.id().0.as_bytes().to_vec(),
        };
        let mut replies = open
            .connection
            .client()
            .export(request)
            .await
            .map_err(|status| broken_call(&status))?
            .into_inner();
        // The first reply says whether there is anything to write, so that nothing is touched when there is not.
        let first = match replies.next().await {
            Some(Ok(reply)) => reply,
            Some(Err(status)) => return Err(broken_call(&status)),
            None => return Err(defect(wharf_proto::DecodeError)),
        };
        let failure = Arc::new(Mutex::new(None));
        let failure_seen = Arc::clone(&failure);
        let pieces = tokio_stream::once(Ok(first)).chain(replies).map(move |reply| {
            let error = match reply.map(|reply| reply.message) {
                Ok(Some(export_reply::Message::Tar(bytes))) => return Ok(std::io::Cursor::new(bytes)),
                Ok(Some(export_reply::Message::Error(bytes))) => decode(&bytes).unwrap_or_else(defect),
                Ok(None) => defect(wharf_proto::DecodeError),
                Err(status) => broken_call(&status),
            };
            *lock(&failure) = Some(error);
            Err(std::io::Error::other("the export broke off"))
        });
        let reader = SyncIoBridge::new(tokio_util::io::StreamReader::new(pieces));
        let written = tokio::task::spawn_blocking(move || write(Box::new(reader)))
            .await
            .map_err(defect)?;
        self.mark_sent(&nodes);
        match lock(&failure_seen).take() {
            Some(error) => Err(error),
            None => written,
        }
    }

    async fn open(&self) -> Result<&Open, ConnectError> {
        self.0.open.get_or_try_init(|| self.open_now()).await
    }

    async fn open_now(&self) -> Result<Open, ConnectError> {
        let connection = (self.0.connector)().await?;
        let (up, up_messages) = mpsc::unbounded_channel();
        let mut meanings = self.found_meanings();
        meanings.extend(self.0.run.options.meanings.clone());
        let opening = SessionOpen {
            no_cache: self.0.run.options.no_cache,
            explain: self.0.run.options.explain,
            interactive: self.0.run.options.interactive,
            // What another engine of this run has found out holds here, too.
            meanings: meanings.iter().map(meaning).collect(),
            locked: self.0.run.options.locked,
        };
        up.send(SessionUp {
            message: Some(session_up::Message::Open(opening)),
        })
        .ok();
        let broken = |why: &str| ConnectError::Place(format!("the engine did not open a session: {why}"));
        let mut down = connection
            .client()
            .session(UnboundedReceiverStream::new(up_messages))
            .await
            .map_err(|status| broken(status.message()))?
            .into_inner();
        let opened = down
            .next()
            .await
            .transpose()
            .map_err(|status| broken(status.message()))?;
        let Some(Some(session_down::Message::Opened(opened))) = opened.map(|message| message.message) else {
            return Err(broken("its first message was another"));
        };
        let answers = Answers::default();
        let client = Asked {
            run: Arc::clone(&self.0.run),
            is_target: self.0.own_targets.is_none(),
            named: self.0.named.clone(),
            events: self.0.events.clone(),
            answers: answers.clone(),
            connection: connection.clone(),
            session: opened.session,
            up: up.downgrade(),
        };
        tokio::spawn(client.until_the_end(down));
        Ok(Open {
            connection,
            id: opened.session,
            up,
            answers,
        })
    }

    /// The nodes below `node` that the engine has not seen, and pins for the host directories among them.
    async fn unsent(&self, open: &Open, node: &Arc<Node>) -> Result<(Vec<Arc<Node>>, Vec<Pin>), Error> {
        let nodes = {
            let sent = lock(&self.0.sent);
            node.closure(|id| sent.contains(&id))
        };
        self.0.named.add(&nodes);
        let of_client = nodes.iter().filter(|node| {
            matches!(
                node.op(),
                Op::HostDirectory { .. } | Op::HostFile(_) | Op::DockerArchive(_) | Op::OnTarget { .. }
            )
        });
        let pins = try_join_all(of_client.map(|node| self.pin(open, node))).await?;
        Ok((nodes, pins))
    }

    /// The content of a source that this client has, brought to the engine once per run however many reads need it.
    async fn pin(&self, open: &Open, node: &Arc<Node>) -> Result<Pin, Error> {
        let cell = Arc::clone(lock(&self.0.uploads).entry(node.id()).or_default());
        let content = cell.get_or_try_init(|| self.bring(open, node)).await?;
        Ok(Pin {
            node: node.id().0.as_bytes().to_vec(),
            content: content.as_bytes().to_vec(),
        })
    }

    async fn bring(&self, open: &Open, node: &Arc<Node>) -> Result<Digest, Error> {
        match node.op() {
            Op::DockerArchive(name) => self.bring_image(open, name, node.id()).await,
            Op::OnTarget { target, .. } => self.bring_from(open, target, node).await,
            op => {
                let uploader = &self.0.run.uploader;
                let (connection, events) = (&open.connection, &self.0.events);
                uploader.upload(connection, op, events, node.id()).await
            }
        }
    }

    /// What another engine makes. Boxed, as its session may need what yet another one makes: it would contain itself.
    fn bring_from<'a>(
        &'a self,
        open: &'a Open,
        target: &'a str,
        node: &'a Node,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        Box::pin(async move {
            let directory = node
                .elsewhere()
                .ok_or_else(|| defect("a directory of a target was sent without what it is made of"))?;
            let made = Made {
                there: self.with_target(target)?,
                node: directory,
                cache: &self.0.run.options.stat_cache,
            };
            let (title, events) = (format!("bring what {target} makes"), &self.0.events);
            events
                .upload(node.id(), title, made.bring(&open.connection))
                .await
        })
    }

    async fn bring_image(&self, open: &Open, name: &str, node: NodeId) -> Result<Digest, Error> {
        let uploader = &self.0.run.uploader;
        let none = || Error::Unavailable(format!("there is no Docker to take the image {name} from"));
        let images = self.0.run.docker.get().ok_or_else(none)?;
        let directory = tempfile::tempdir().map_err(defect)?;
        let archive = directory.path().join(DOCKER_ARCHIVE);
        images(name.to_owned(), archive.clone()).await?;
        let file = Op::HostFile(archive.display().to_string());
        uploader
            .upload(&open.connection, &file, &self.0.events, node)
            .await
    }

    fn mark_sent(&self, nodes: &[Arc<Node>]) {
        lock(&self.0.sent).extend(nodes.iter().map(|node| node.id()));
    }
}

fn meaning((reference, value): (&String, &String)) -> Meaning {
    Meaning {
        reference: reference.clone(),
        value: value.clone(),
    }
}

fn encodings(nodes: &[Arc<Node>]) -> Vec<Vec<u8>> {
    nodes.iter().map(|node| node.encoding().to_vec()).collect()
}

fn unreachable_engine(error: &ConnectError) -> Error {
    Error::Unavailable(error.to_string())
}

pub(crate) fn broken_call(status: &Status) -> Error {
    match status.code() {
        tonic::Code::Cancelled => Error::Cancelled,
        _ => Error::Unavailable(format!("the engine broke off: {}", status.message())),
    }
}

pub(crate) fn defect(error: impl std::fmt::Display) -> Error {
    Error::other("protocol", error.to_string())
}
