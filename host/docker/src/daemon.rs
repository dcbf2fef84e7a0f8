//! Finds the daemon and sees whether it can be used.

use std::{io::ErrorKind, path::Path, time::Duration};

use bollard::{ClientVersion, Docker};

use crate::{
    DockerError, DockerOptions,
    address::{Address, Located, Tls},
    ssh::Tunnel,
};

/// The oldest version of the API that is spoken.
const OLDEST: (usize, usize) = (1, 41);
/// How long a daemon of this host may take to say that it is there, and one elsewhere.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const FAR_ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take for anything else, in seconds: it takes an image's bytes in, and starts containers.
const WORK_LIMIT: u64 = 120;

/// A daemon that answered.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) docker: Docker,
    located: Located,
    /// Kept for as long as the daemon is spoken to.
    _tunnel: Option<Tunnel>,
}

impl Daemon {
    /// Its version and the API's that is spoken with it, for people.
    pub async fn version(&self) -> String {
        let api = self.docker.client_version();
        let api = format!("API {}.{}", api.major_version, api.minor_version);
        let version = tokio::time::timeout(limit(&self.located.address), self.docker.version()).await;
        match version
            .ok()
            .and_then(Result::ok)
            .and_then(|answer| answer.version)
        {
            Some(version) => format!("version {version}, {api}"),
            None => api,
        }
    }

    /// Where it is.
    pub fn located(&self) -> &Located {
        &self.located
    }
}

/// The daemon that the options name, when it is there, lets this user in and is new enough.
pub async fn reach(options: &DockerOptions) -> Result<Daemon, DockerError> {
    reach_at(options.host.as_deref()).await
}

/// The daemon at an address as `DOCKER_HOST` has it, or where the user's context or the usual socket leads.
pub async fn reach_at(host: Option<&str>) -> Result<Daemon, DockerError> {
    let located = Located::find(host)?;
    let (docker, tunnel) = match &located.address {
        Address::Unix(socket) => (on_socket(socket, &located).await?, None),
        Address::Pipe(path) => (on_pipe(path, &located)?, None),
        Address::Tcp { authority, tls } => (on_port(authority, tls.as_ref(), &located).await?, None),
        Address::Ssh { destination, port } => {
            let tunnel = Tunnel::open(destination, *port)?;
            let docker = client_of(&tunnel.socket(), &located)?;
            (docker, Some(tunnel))
        }
    };
    let silent = |why: String| DockerError::Silent {
        // What ssh says of it tells more than that nothing came.
        why: tunnel.as_ref().and_then(Tunnel::words).unwrap_or(why),
        place: located.to_string(),
    };
    let limit = limit(&located.address);
    let docker = tokio::time::timeout(limit, docker.negotiate_version())
        .await
        .map_err(|_| silent(format!("nothing for {} s", limit.as_secs())))?
        .map_err(|error| silent(innermost(&error)))?;
    let ClientVersion {
        major_version,
        minor_version,
    } = docker.client_version();
    if (major_version, minor_version) < OLDEST {
        return Err(DockerError::Old {
            place: located.to_string(),
            found: format!("{major_version}.{minor_version}"),
        });
    }
    Ok(Daemon {
        docker,
        located,
        _tunnel: tunnel,
    })
}

fn limit(address: &Address) -> Duration {
    match address {
        Address::Unix(_) | Address::Pipe(_) => ANSWER_LIMIT,
        Address::Tcp { .. } | Address::Ssh { .. } => FAR_ANSWER_LIMIT,
    }
}

#[cfg(windows)]
fn on_pipe(path: &str, located: &Located) -> Result<Docker, DockerError> {
    let client = Docker::connect_with_named_pipe(path, WORK_LIMIT, bollard::API_DEFAULT_VERSION);
    client.map_err(|error| DockerError::Silent {
        place: located.to_string(),
        why: error.to_string(),
    })
}

#[cfg(not(windows))]
fn on_pipe(_: &str, located: &Located) -> Result<Docker, DockerError> {
    Err(DockerError::Address(format!(
        "{located}: only Windows has named pipes"
    )))
}

#[cfg(not(unix))]
fn client_of(_: &Path, located: &Located) -> Result<Docker, DockerError> {
    Err(DockerError::Address(format!(
        "{located}: this system has no unix sockets: name the daemon's pipe or port"
    )))
}

#[cfg(unix)]
fn client_of(socket: &Path, located: &Located) -> Result<Docker, DockerError> {
    let client = Docker::connect_with_unix(
        &socket.to_string_lossy(),
        WORK_LIMIT,
        bollard::API_DEFAULT_VERSION,
    );
    client.map_err(|error| DockerError::Silent {
        place: located.to_string(),
        why: error.to_string(),
    })
}

/// A daemon of this host. Its socket is tried by hand, so that what is wrong is told apart.
async fn on_socket(socket: &Path, located: &Located) -> Result<Docker, DockerError> {
    let place = located.to_string();
    match wharf_platform::socket::connect(socket).await {
        Ok(_) => client_of(socket, located),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(DockerError::Forbidden(place)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Err(DockerError::Absent(place))
        }
        Err(error) => Err(DockerError::Silent {
            place,
            why: error.to_string(),
        }),
    }
}

/// A daemon that listens on a port.
async fn on_port(authority: &str, tls: Option<&Tls>, located: &Located) -> Result<Docker, DockerError> {
    let silent = |why: String| DockerError::Silent {
        place: located.to_string(),
        why,
    };
    let connected = tokio::time::timeout(FAR_ANSWER_LIMIT, tokio::net::TcpStream::connect(authority));
    match connected.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return Err(DockerError::Absent(located.to_string()));
        }
        Ok(Err(error)) => return Err(silent(error.to_string())),
        Err(_) => {
            return Err(silent(format!(
                "no connection within {} s",
                FAR_ANSWER_LIMIT.as_secs()
            )));
        }
    }
    let version = bollard::API_DEFAULT_VERSION;
    let address = format!("tcp://{authority}");
    let client = match tls {
        None => Docker::connect_with_http(&address, WORK_LIMIT, version),
        Some(Tls { ca, certificate, key }) => {
            Docker::connect_with_ssl(&address, key, certificate, ca, WORK_LIMIT, version)
        }
    };
    client.map_err(|error| silent(innermost(&error)))
}

/// What an error comes from in the end: that a connection failed says little, that a certificate is another authority's much.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = error.to_string();
        cause = error.source();
    }
    // Some end in the address of a page for programmers.
    match words.split_once(": https://") {
        Some((words, _)) => words.to_owned(),
        None => words,
    }
}
