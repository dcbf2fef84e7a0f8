//! Finds the daemon and sees whether it can be used.

use std::{io::ErrorKind, path::PathBuf, time::Duration};

use bollard::{ClientVersion, Docker};

use crate::{DockerError, DockerOptions};

/// Where Docker listens unless it is told otherwise.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// The oldest version of the API that is spoken.
const OLDEST: (usize, usize) = (1, 41);
/// How long the daemon may take to say that it is there.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long it may take for anything else, in seconds: it takes an image's bytes in, and starts containers.
const WORK_LIMIT: u64 = 120;

/// A daemon that answered.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) docker: Docker,
}

impl Daemon {
    /// Its version and the API's that is spoken with it, for people.
    pub async fn version(&self) -> String {
        let api = self.docker.client_version();
        let api = format!("API {}.{}", api.major_version, api.minor_version);
        let version = tokio::time::timeout(ANSWER_LIMIT, self.docker.version()).await;
        match version
            .ok()
            .and_then(Result::ok)
            .and_then(|answer| answer.version)
        {
            Some(version) => format!("version {version}, {api}"),
            None => api,
        }
    }
}

/// The daemon that the options name, when it is there, lets this user in and is new enough.
pub async fn reach(options: &DockerOptions) -> Result<Daemon, DockerError> {
    reach_at(options.host.as_deref()).await
}

/// The daemon at `unix://PATH`, as in `DOCKER_HOST`, or at the usual socket.
pub async fn reach_at(host: Option<&str>) -> Result<Daemon, DockerError> {
    let socket = socket(host)?;
    match tokio::net::UnixStream::connect(&socket).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(DockerError::Forbidden(socket));
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Err(DockerError::Absent(socket));
        }
        Err(error) => {
            return Err(DockerError::Silent {
                socket,
                why: error.to_string(),
            });
        }
    }
    let silent = |why: String| DockerError::Silent {
        socket: socket.clone(),
        why,
    };
    let path = socket.to_string_lossy();
    let docker = Docker::connect_with_unix(&path, WORK_LIMIT, bollard::API_DEFAULT_VERSION)
        .map_err(|error| silent(error.to_string()))?;
    let docker = tokio::time::timeout(ANSWER_LIMIT, docker.negotiate_version())
        .await
        .map_err(|_| silent(format!("nothing for {} s", ANSWER_LIMIT.as_secs())))?
        .map_err(|error| silent(error.to_string()))?;
    let ClientVersion {
        major_version,
        minor_version,
    } = docker.client_version();
    if (major_version, minor_version) < OLDEST {
        return Err(DockerError::Old {
            socket,
            found: format!("{major_version}.{minor_version}"),
        });
    }
    Ok(Daemon { docker })
}

fn socket(host: Option<&str>) -> Result<PathBuf, DockerError> {
    match host.filter(|host| !host.is_empty()) {
        None => Ok(USUAL_SOCKET.into()),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => Err(DockerError::Elsewhere(host.to_owned())),
        },
    }
}
