//! The engine: what it owns, how it starts and ends.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    net::UnixListener,
    sync::{OnceCell, mpsc},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wharf_egress::Gate;
use wharf_git::Git;
use wharf_gpu::{GpuOptions, Gpus};
use wharf_graph::Error;
use wharf_http::{Fetcher, SettingsError};
use wharf_oci::{Registry, RegistryConfig};
use wharf_proto::{
    MESSAGE_LIMIT, VERSION,
    v1::{
        PruneReply, SessionOpen, StatusReply, UsageReply, UsageRow, VerifyReply, engine_server::EngineServer,
    },
};
use wharf_runner::{Runner, RunnerConfig};
use wharf_store::{Store, StoreOptions};

use crate::{
    containers::{Containers, ContainersConfig},
    egress::name_servers,
    evaluate::Flights,
    image::{Images, registry_error},
    peer::{Peer, PeerLimits, Peers},
    remote::{Door, RemoteConfig, RemoteError, connections},
    runs::Runs,
    server::{Service, until_idle},
    service::Services,
    session::{Outgoing, Session, SessionId, lock},
    turns::{Line, Turns},
    upload::CHANGED_WHILE_SENT,
    users::Users,
    volumes::Volumes,
};

/// How many steps run at once for each processor: steps wait for networks and disks more than they compute.
const STEPS_PER_PROCESSOR: usize = 16;

/// What an engine needs to start.
#[derive(Debug)]
pub struct EngineConfig {
    /// The socket to listen on.
    pub socket: PathBuf,
    /// The directory that holds everything it remembers.
    pub store: PathBuf,
    /// The store's size limit in bytes.
    pub max_bytes: Option<u64>,
    /// How steps are run.
    pub runner: RunnerConfig,
    /// How registries are reached.
    pub registries: RegistryConfig,
    /// A file of certificates that steps with network trust, beside their image's own.
    pub ca_bundle: Option<PathBuf>,
    /// Each step is a container of this daemon, and not one that the engine makes.
    pub containers: Option<ContainersConfig>,
    /// Where GPUs are found.
    pub gpus: GpuOptions,
    /// End after this long without a client.
    pub idle: Duration,
    /// How other machines reach it; they do not when absent.
    pub remote: Option<RemoteConfig>,
}

/// Why an engine did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] wharf_store::Error),
    /// Steps cannot be run.
    #[error(transparent)]
    Runner(#[from] wharf_runner::Error),
    /// Registries cannot be reached.
    #[error(transparent)]
    Registry(#[from] wharf_oci::Error),
    /// Files cannot be fetched.
    #[error(transparent)]
    Http(#[from] SettingsError),
    /// The socket cannot be listened on.
    #[error("cannot listen on {}: {source}", socket.display())]
    Socket {
        /// Which.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other machines cannot reach it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The protocol's server ended.
    #[error("the engine's server ended: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// A running engine.
pub(crate) struct Engine {
    pub(crate) store: Arc<Store>,
    pub(crate) store_path: PathBuf,
    pub(crate) runner: Runs,
    pub(crate) runtime_name: String,
    pub(crate) registry: Registry,
    pub(crate) images: Images,
    pub(crate) fetcher: Fetcher,
    /// Found when it is first needed.
    pub(crate) git: OnceCell<Git>,
    pub(crate) private_key: OnceCell<[u8; 32]>,
    pub(crate) ca_bundle: Option<PathBuf>,
    pub(crate) flights: Flights,
    pub(crate) users: Users,
    pub(crate) services: Services,
    /// How many steps may run at once, and whose is next.
    pub(crate) turns: Arc<Turns>,
    /// Who may use which cache volume.
    pub(crate) volumes: Volumes,
    /// Where those steps go through that may reach some hosts alone; opened when it is first needed.
    pub(crate) gate: OnceCell<Arc<Gate>>,
    /// The servers that look names up for it.
    pub(crate) name_servers: Vec<IpAddr>,
    /// Who has which GPU.
    pub(crate) gpus: Arc<Gpus>,
    pub(crate) running_steps: AtomicUsize,
    pub(crate) sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    /// What clients of other machines have of it, and how much one of them may.
    pub(crate) peers: Peers,
    pub(crate) peer_limits: PeerLimits,
    pub(crate) stopping: CancellationToken,
    next_session: AtomicU64,
    started: Instant,
}

/// Runs an engine until it is told to stop or nobody needed it for the idle time. The socket appears when it is ready.
pub async fn serve(config: EngineConfig, stop: CancellationToken) -> Result<(), EngineError> {
    let door = match &config.remote {
        Some(remote) => Some(Door::open(remote).await?),
        None => None,
    };
    let options = StoreOptions {
        max_bytes: config.max_bytes,
        ..StoreOptions::default()
    };
    let store = Store::open(&config.store, options)?;
    let name_servers = name_servers(&config.runner.resolv_conf);
    let (runner, runtime_name) = match config.containers {
        None => {
            let name = config.runner.runtime.to_string();
            (Runs::Own(Box::new(Runner::start(config.runner).await?)), name)
        }
        Some(containers) => {
            let started = Containers::start(containers, &config.store, &config.runner.state).await?;
            let name = started.runtime_name();
            (Runs::Docker(Box::new(started)), name)
        }
    };
    // After the runner's start: steps keep the limit that this process was given.
    open_many_files();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let engine = Arc::new(Engine {
        store,
        store_path: config.store,
        runner,
        runtime_name,
        registry: Registry::new(config.registries)?,
        images: Images::default(),
        fetcher: Fetcher::new(config.ca_bundle.as_deref())?,
        git: OnceCell::new(),
        private_key: OnceCell::new(),
        ca_bundle: config.ca_bundle,
        flights: Flights::default(),
        users: Users::default(),
        services: Services::default(),
        turns: Turns::new(processors * STEPS_PER_PROCESSOR),
        volumes: Volumes::default(),
        gate: OnceCell::new(),
        name_servers,
        gpus: Gpus::new(config.gpus),
        running_steps: AtomicUsize::new(0),
        sessions: Mutex::default(),
        peers: Peers::default(),
        peer_limits: config.remote.map_or(PeerLimits::NONE, |remote| remote.limits),
        stopping: stop,
        next_session: AtomicU64::new(1),
        started: Instant::now(),
    });
    let socket_error = |source| EngineError::Socket {
        socket: config.socket.clone(),
        source,
    };
    let listener = listen(&config.socket).map_err(socket_error)?;
    tracing::info!("engine {VERSION} listens on {}", config.socket.display());
    if let Some(door) = &door {
        tracing::info!("engine {VERSION} listens on {door}, for those with a certificate of its authority");
    }
    let incoming = connections(listener, door, &engine.stopping);
    let service = EngineServer::new(Service(Arc::clone(&engine)))
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .max_frame_size(Some(1024 * 1024))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, {
            let ended = until_idle(Arc::clone(&engine), config.idle);
            let (engine, socket) = (Arc::clone(&engine), config.socket.clone());
            async move {
                ended.await;
                // Gone first, so that a client that comes now starts another engine.
                std::fs::remove_file(socket).ok();
                engine.close_all_sessions();
            }
        });
    server.await?;
    engine.runner.shutdown().await;
    tracing::info!("engine ended");
    Ok(())
}

/// Lets this process open as many files as it may let itself: clients, steps and deep trees all take some.
fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

/// Listens under another name first: the socket appears under its own when connecting to it works, readable by the owner of
/// its directory alone.
fn listen(socket: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let draft = socket.with_extension("new");
    std::fs::remove_file(&draft).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let listener = UnixListener::bind(&draft)?;
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))?;
    // An engine in a container is root for a user who is not.
    let directory = std::fs::metadata(socket.parent().unwrap_or(std::path::Path::new("/")))?;
    std::os::unix::fs::chown(&draft, Some(directory.uid()), Some(directory.gid()))?;
    std::fs::rename(&draft, socket)?;
    Ok(listener)
}

impl Engine {
    /// Does blocking work on the store, off the threads that serve.
    pub(crate) async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, wharf_store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(outcome) => outcome.map_err(|error| store_error(&error)),
            Err(error) => Err(Error::other(
                "defect",
                format!("work on the store ended badly: {error}"),
            )),
        }
    }

    /// Looks up what takes microseconds: to hand it to another thread and back would take several times as long.
    pub(crate) fn look<T>(
        &self,
        look: impl FnOnce(&Store) -> Result<T, wharf_store::Error>,
    ) -> Result<T, Error> {
        look(&self.store).map_err(|error| store_error(&error))
    }

    pub(crate) fn open_session(
        &self,
        peer: Peer,
        open: &SessionOpen,
        down: mpsc::UnboundedSender<Outgoing>,
    ) -> Result<Arc<Session>, Status> {
        self.peers.enter(&peer, &self.peer_limits)?;
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos() as u64;
        let line = match &peer {
            Peer::Local { .. } => Line::local(id),
            Peer::Remote(subject) => Line {
                session: id,
                peer: Some(subject.id),
                most: self.peer_limits.steps,
            },
        };
        let session = Session::new(line, peer, now ^ id, open, &self.registry, down);
        lock(&self.sessions).insert(id, Arc::clone(&session));
        Ok(session)
    }

    pub(crate) fn close_session(&self, id: SessionId) {
        let session = lock(&self.sessions).remove(&id);
        if let Some(session) = session {
            session.close();
            self.peers.leave(&session.peer);
        }
        self.services.session_closed(id);
    }

    fn close_all_sessions(&self) {
        let sessions: Vec<_> = lock(&self.sessions).drain().collect();
        for (_, session) in sessions {
            session.close();
        }
    }

    /// What it is and has; for a client of another machine what that one has of it.
    pub(crate) fn status(&self, peer: &Peer) -> StatusReply {
        if peer.is_remote() {
            return StatusReply {
                version: VERSION.to_owned(),
                runtime: self.runtime_name.clone(),
                sessions: self.peers.sessions(peer) as u64,
                running_steps: self.turns.running(peer) as u64,
                missing: self.runner.missing(),
                client: peer.to_string(),
                ..StatusReply::default()
            };
        }
        StatusReply {
            client: String::new(),
            version: VERSION.to_owned(),
            pid: wharf_userns::own_pid(),
            store: self.store_path.display().to_string(),
            runtime: self.runtime_name.clone(),
            rights: wharf_runner::ordinary::rights(),
            sessions: lock(&self.sessions).len() as u64,
            running_steps: self.running_steps.load(Ordering::Relaxed) as u64,
            uptime_seconds: self.started.elapsed().as_secs(),
            missing: self.runner.missing(),
        }
    }

    pub(crate) async fn usage(&self) -> Result<UsageReply, Error> {
        let usage = self.with_store(Store::usage).await?;
        let row = |(kind, count, bytes): (&str, u64, u64)| UsageRow {
            kind: kind.to_owned(),
            count,
            bytes,
        };
        Ok(UsageReply {
            rows: usage.rows.into_iter().map(row).collect(),
        })
    }

    pub(crate) async fn verify(&self) -> Result<VerifyReply, Error> {
        let verified = self.with_store(Store::verify).await?;
        Ok(VerifyReply {
            results: verified.results,
            files: verified.blobs,
            damaged: verified.damaged,
        })
    }

    pub(crate) async fn prune(&self, keep: Duration, volumes: bool) -> Result<PruneReply, Error> {
        let freed = self.with_store(move |store| store.prune(keep, volumes)).await?;
        self.runner.pruned().await;
        Ok(PruneReply {
            count: freed.count,
            bytes: freed.bytes,
        })
    }
}

/// The store's errors as a module sees them.
pub(crate) fn store_error(error: &wharf_store::Error) -> Error {
    // A layer is unpacked while it arrives, so what the registry says comes as an error of reading.
    if let wharf_store::Error::Io { source, .. } = error
        && let Some(error) = source.get_ref().and_then(|inner| inner.downcast_ref())
    {
        return registry_error(error);
    }
    match error {
        wharf_store::Error::NotFound(message) => Error::NotFound(message.clone()),
        wharf_store::Error::Invalid(message) => Error::Invalid(message.clone()),
        // Another upload's tree took it over, or it was pruned since the client asked: sending it again mends that.
        wharf_store::Error::NotReceived(_) => Error::other(CHANGED_WHILE_SENT, error.to_string()),
        other => Error::other("store", other.to_string()),
    }
}
