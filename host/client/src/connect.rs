//! A connection to an engine: over its unix socket, or over TLS to another machine.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{
    Status,
    transport::{Channel, Endpoint, Uri},
};
use wharf_graph::gpu::Gpu;
use wharf_proto::{
    MESSAGE_LIMIT, VERSION,
    v1::{self, GpusReply, GpusRequest, HelloRequest, engine_client::EngineClient},
};
use wharf_tls::Address;

use crate::remote::{self, Remote};

/// Why no engine could be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens.
    #[error("no engine answers on {}: {source}", socket.display())]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another version of Wharf listens.
    #[error(
        "the engine on {} is version {engine}, this is {VERSION}: `wharf engine stop` ends it, the next call starts one of \
         this version", socket.display()
    )]
    Version {
        /// Where.
        socket: PathBuf,
        /// Its version.
        engine: String,
    },
    /// The engine of another machine cannot be used.
    #[error("no connection to the engine on {address}: {why}")]
    Remote {
        /// Where.
        address: Address,
        /// What was tried, and what is wrong.
        why: String,
        /// What to do.
        next: String,
    },
    /// It could not be started.
    #[error(transparent)]
    Launch(#[from] crate::launch::LaunchError),
    /// Another place for an engine could not offer one.
    #[error("{0}")]
    Place(String),
}

/// An engine that answered.
#[derive(Clone, Debug)]
pub struct Connection {
    client: EngineClient<Channel>,
    pid: u32,
}

impl Connection {
    /// Connects and checks that the engine is of this version.
    pub async fn open(socket: &Path) -> Result<Self, ConnectError> {
        Self::of_this_version(Self::open_any_version(socket).await?, socket)
    }

    /// Refuses an engine of another version.
    pub fn of_this_version(
        (connection, version): (Self, String),
        socket: &Path,
    ) -> Result<Self, ConnectError> {
        if version != VERSION {
            return Err(ConnectError::Version {
                socket: socket.to_owned(),
                engine: version,
            });
        }
        Ok(connection)
    }

    /// Connects to an engine of whatever version, which is returned.
    pub async fn open_any_version(socket: &Path) -> Result<(Self, String), ConnectError> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::Unreachable {
            socket: socket.to_owned(),
            source,
        };
        // Connected once by hand, so that "no such file" stays that and is not wrapped four times.
        let first = wharf_platform::socket::connect(socket)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let path = socket.to_owned();
        let again = move || {
            let path = path.clone();
            async move { wharf_platform::socket::connect(&path).await }
        };
        Self::over_streams(first, again, socket).await
    }

    /// Speaks to an engine over a stream that leads to it, from whatever version, which is returned. `place` says where it is.
    pub async fn over<S>(stream: S, place: &Path) -> Result<(Self, String), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let again = || async { Err(std::io::Error::other("the way to the engine is closed")) };
        Self::over_streams(stream, again, place).await
    }

    async fn over_streams<S, F>(
        first: S,
        again: impl Fn() -> F + Clone + Send + 'static,
        place: &Path,
    ) -> Result<(Self, String), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = std::io::Result<S>> + Send + 'static,
    {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::Unreachable {
            socket: place.to_owned(),
            source,
        };
        let first = std::sync::Mutex::new(Some(first));
        let channel = endpoint()
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let first = first.lock().expect("nobody panics with it").take();
                let again = again.clone();
                async move {
                    let stream = match first {
                        Some(stream) => stream,
                        None => again().await?,
                    };
                    Ok::<_, std::io::Error>(TokioIo::new(stream))
                }
            }))
            .await
            .map_err(|error| unreachable(error.into()))?;
        greet(channel)
            .await
            .map_err(|status| unreachable(status.message().to_owned().into()))
    }

    /// Connects to the engine of another machine, which has to be of this version.
    pub async fn open_remote(remote: &Remote) -> Result<Self, ConnectError> {
        let (connection, engine) = Self::open_remote_any_version(remote).await?;
        if engine != VERSION {
            let why = format!("it is version {engine}, this is {VERSION}");
            return Err(remote.failed(why, "install the same version on both machines"));
        }
        Ok(connection)
    }

    /// The same with an engine of whatever version, which is returned.
    pub async fn open_remote_any_version(remote: &Remote) -> Result<(Self, String), ConnectError> {
        let opened = tokio::time::timeout(remote::LIMIT, remote.open()).await;
        opened.unwrap_or_else(|_| {
            let why = format!("it did not answer within {} s", remote::LIMIT.as_secs());
            Err(remote.failed(
                why,
                "look at the engine's log on its own machine, and at firewalls on the way",
            ))
        })
    }

    /// The engine's process id, as the engine says.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The engine's GPUs.
    pub async fn gpus(&self) -> Result<GpusReply, Status> {
        Ok(self.client().gpus(GpusRequest {}).await?.into_inner())
    }

    /// The generated client.
    pub fn client(&self) -> EngineClient<Channel> {
        self.client.clone()
    }
}

/// Asks who is there.
pub(crate) async fn greet(channel: Channel) -> Result<(Connection, String), Status> {
    let mut client = EngineClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let hello = HelloRequest {
        version: VERSION.to_owned(),
    };
    let hello = client.hello(hello).await?.into_inner();
    let connection = Connection {
        client,
        pid: hello.pid,
    };
    Ok((connection, hello.version))
}

/// How calls to an engine are made.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::from_static("http://engine.invalid")
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
}

/// A GPU as modules see it.
pub fn gpu(device: v1::Gpu) -> Gpu {
    Gpu {
        name: device.name,
        uuid: device.uuid,
        memory_total: device.memory_total,
        memory_free: device.memory_free,
        compute_capability: device.compute_capability,
        driver: device.driver,
        utilisation: device.utilisation,
        is_free: device.is_free,
        is_usable: device.is_usable,
    }
}
