//! The way to the engine of another machine: TLS, with a certificate on both sides.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::Uri;
use wharf_tls::Address;

use crate::{
    connect::{ConnectError, Connection, endpoint, greet},
    lock,
};

/// How long an engine may take until it has answered.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// How often the engine is asked whether it is still there, and how long it may take to say so.
const ALIVE: Duration = Duration::from_secs(20);

/// An engine on another machine, and who this client is there.
#[derive(Clone, Debug)]
pub struct Remote {
    address: Address,
    certificates: PathBuf,
    config: Arc<ClientConfig>,
}

/// A connection whose other end has taken this one's certificate.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Remote {
    /// With the certificate, the key and the authority in a directory.
    pub fn new(address: &Address, certificates: &Path) -> Result<Self, ConnectError> {
        let config = wharf_tls::client_config(certificates).map_err(|error| {
            let next = match &error {
                wharf_tls::Error::Missing(_) => format!(
                    "an engine on another machine wants to know who you are: put the three files that `wharf engine certs \
                     --client NAME` makes there into {}, or name their directory with --engine-certs",
                    certificates.display()
                ),
                wharf_tls::Error::Open(key) => format!("`chmod 600 {}`", key.display()),
                _ => "`wharf engine certs --client NAME` makes another certificate, where the engine's authority is".to_owned(),
            };
            ConnectError::Remote {
                address: address.clone(),
                why: error.to_string(),
                next,
            }
        })?;
        Ok(Self {
            address: address.clone(),
            certificates: certificates.to_owned(),
            config,
        })
    }

    pub(crate) fn failed(&self, why: impl Into<String>, next: impl Into<String>) -> ConnectError {
        ConnectError::Remote {
            address: self.address.clone(),
            why: why.into(),
            next: next.into(),
        }
    }

    pub(crate) async fn open(&self) -> Result<(Connection, String), ConnectError> {
        // Opened once by hand, so that what is wrong is not wrapped four times.
        let first = Mutex::new(Some(self.dial().await?));
        let remote = self.clone();
        let unanswered = |why: String| {
            let next = "look at the engine's log on its own machine";
            self.failed(format!("it took this client in and did not answer: {why}"), next)
        };
        let channel = endpoint()
            .http2_keep_alive_interval(ALIVE)
            .keep_alive_timeout(ALIVE)
            .keep_alive_while_idle(true)
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let first = lock(&first).take();
                let remote = remote.clone();
                async move {
                    let stream = match first {
                        Some(stream) => stream,
                        None => remote.dial().await.map_err(io::Error::other)?,
                    };
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            }))
            .await
            .map_err(|error| unanswered(error.to_string()))?;
        greet(channel)
            .await
            .map_err(|status| unanswered(status.message().to_owned()))
    }

    /// A stream on which the engine has said its first word, so that both sides have taken the other's certificate.
    async fn dial(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let Address { host, port } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| self.unreachable(&error))?;
        let name = ServerName::try_from(host.clone())
            .map_err(|error| self.failed(error.to_string(), "name the engine as its certificate does"))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| self.refused(&error))?;
        // An engine says after its side of the handshake whether it takes the certificate: in place of its first word.
        let mut first = [0];
        match stream.read(&mut first).await {
            Ok(0) => {
                let why = "it ended the connection when it had seen this client's certificate";
                return Err(self.failed(why, "look at the engine's log on its own machine"));
            }
            Ok(_) => {}
            Err(error) => return Err(self.refused(&error)),
        }
        let (reader, writer) = tokio::io::split(stream);
        let reader = io::Cursor::new(first).chain(reader);
        Ok(Box::new(tokio::io::join(reader, writer)))
    }

    /// There is no connection at all.
    fn unreachable(&self, error: &io::Error) -> ConnectError {
        let host = &self.address.host;
        let listens = format!(
            "`wharf engine serve --listen {}` on {host} starts an engine there",
            self.address
        );
        match error.kind() {
            io::ErrorKind::ConnectionRefused => self.failed("nothing listens there", listens),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                let next = format!("look whether {host} is up, and at firewalls on the way");
                self.failed(format!("{host} does not answer: {error}"), next)
            }
            _ => self.failed(
                error.to_string(),
                format!("look whether {host} is the right name; {listens}"),
            ),
        }
    }

    /// One side does not take the other's certificate, or something else speaks there.
    fn refused(&self, error: &io::Error) -> ConnectError {
        let Some(tls) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        else {
            let why = format!("the connection broke before the engine had answered: {error}");
            return self.failed(
                why,
                "look whether it is an engine that listens there, and at its log",
            );
        };
        let why = wharf_tls::of_client(tls, &self.address.host, &self.certificates);
        let next = match tls {
            rustls::Error::InvalidMessage(_) => "look whether it is an engine that listens there".to_owned(),
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
            ) => "name the engine as its certificate does, or make it one for this name: `wharf engine certs --host`".to_owned(),
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
            ) => "whoever runs the engine makes it another one: `wharf engine certs --host`".to_owned(),
            _ => format!(
                "ask whoever runs the engine for a certificate (`wharf engine certs --client NAME`), and put it into {}",
                self.certificates.display()
            ),
        };
        self.failed(why, next)
    }
}
