//! Where Docker is: as `DOCKER_HOST` says, as the context says that the user has chosen, or at the usual socket.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::DockerError;

/// Where Docker listens unless it is told otherwise.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// The same on Windows.
const USUAL_PIPE: &str = "//./pipe/docker_engine";
/// The context that stands for the usual socket.
const USUAL_CONTEXT: &str = "default";

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a socket of this host.
    Unix(PathBuf),
    /// On a named pipe of this host, which is Windows.
    Pipe(String),
    /// On a port.
    Tcp {
        /// Host and port.
        authority: String,
        /// With TLS, and these.
        tls: Option<Tls>,
    },
    /// On a host that ssh leads to.
    Ssh {
        /// The host, with a user before it when one was named.
        destination: String,
        /// Another port than ssh's own.
        port: Option<u16>,
    },
}

/// What TLS needs, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Who signs for the daemon.
    pub ca: PathBuf,
    /// Who this is.
    pub certificate: PathBuf,
    /// The key to that.
    pub key: PathBuf,
}

impl Tls {
    /// The files in a directory, under the names that Docker gives them.
    fn within(directory: &Path) -> Result<Self, DockerError> {
        let file = |name: &str| {
            let path = directory.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(DockerError::Address(format!(
                    "TLS with Docker needs ca.pem, cert.pem and key.pem, and there is no {}",
                    path.display()
                )))
            }
        };
        Ok(Self {
            ca: file("ca.pem")?,
            certificate: file("cert.pem")?,
            key: file("key.pem")?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Pipe(path) => write!(f, "npipe://{path}"),
            Self::Tcp { authority, .. } => write!(f, "tcp://{authority}"),
            Self::Ssh { destination, port } => {
                write!(f, "ssh://{destination}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

/// An address, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where it is.
    pub address: Address,
    /// `DOCKER_HOST`, or a context; nothing for the usual socket.
    pub by: Option<String>,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.by, &self.address) {
            // As it has always been named.
            (None, Address::Unix(path)) => write!(f, "{}", path.display()),
            (None, address) => write!(f, "{address}"),
            (Some(by), Address::Unix(path)) => write!(f, "{} ({by})", path.display()),
            (Some(by), address) => write!(f, "{address} ({by})"),
        }
    }
}

/// What of the environment says where Docker is.
pub(crate) struct Surroundings<'s> {
    /// Variables.
    pub(crate) variable: &'s dyn Fn(&str) -> Option<String>,
    /// The directory of Docker's own settings.
    pub(crate) config: Option<PathBuf>,
}

impl Located {
    /// As `host` says, which is `DOCKER_HOST`, or as the environment does.
    pub fn find(host: Option<&str>) -> Result<Self, DockerError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let config = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".docker")));
        let surroundings = Surroundings {
            variable: &variable,
            config,
        };
        Self::within(host, &surroundings)
    }

    pub(crate) fn within(host: Option<&str>, surroundings: &Surroundings<'_>) -> Result<Self, DockerError> {
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            let tls = surroundings.tls_of_variables(host)?;
            return Ok(Self {
                address: parse(host, tls, "DOCKER_HOST")?,
                by: Some("DOCKER_HOST".to_owned()),
            });
        }
        match surroundings.context()? {
            Some(name) if name != USUAL_CONTEXT => surroundings.of_context(&name),
            _ => Ok(Self {
                address: if cfg!(windows) {
                    Address::Pipe(USUAL_PIPE.to_owned())
                } else {
                    Address::Unix(USUAL_SOCKET.into())
                },
                by: None,
            }),
        }
    }

    /// Can a directory of this host be mounted into the daemon's containers?
    pub fn shares_files(&self) -> bool {
        self.socket().is_some()
    }

    /// The daemon's socket, when it is on this host.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match &self.address {
            Address::Unix(socket) if cfg!(target_os = "linux") => Some(socket),
            _ => None,
        }
    }
}

impl Surroundings<'_> {
    /// The context that was chosen: by a variable, or in Docker's settings.
    fn context(&self) -> Result<Option<String>, DockerError> {
        if let Some(name) = (self.variable)("DOCKER_CONTEXT") {
            return Ok(Some(name));
        }
        let Some(path) = self.config.as_ref().map(|config| config.join("config.json")) else {
            return Ok(None);
        };
        // Without settings there is no choice; with settings that cannot be read Docker's own command would not go on either.
        let Ok(text) = fs::read(&path) else {
            return Ok(None);
        };
        let config: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| DockerError::Address(format!("{}: {error}", path.display())))?;
        let name = config.get("currentContext").and_then(serde_json::Value::as_str);
        Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
    }

    /// Where a context leads.
    fn of_context(&self, name: &str) -> Result<Located, DockerError> {
        let wrong = |why: String| DockerError::Address(format!("the Docker context {name}: {why}"));
        let contexts = self
            .config
            .as_ref()
            .ok_or_else(|| wrong("there is no home directory".to_owned()))?
            .join("contexts");
        // Directories are named by digest: a name can be anything.
        let directory: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let file = contexts.join("meta").join(&directory).join("meta.json");
        let text = fs::read(&file).map_err(|error| {
            wrong(format!(
                "{}: {error}; `docker context ls` lists those there are",
                file.display()
            ))
        })?;
        let meta: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("{}: {error}", file.display())))?;
        let endpoint = meta.pointer("/Endpoints/docker");
        let host = endpoint
            .and_then(|endpoint| endpoint.get("Host")?.as_str())
            .filter(|host| !host.is_empty())
            .ok_or_else(|| wrong(format!("{} names no host", file.display())))?;
        let skips = endpoint.and_then(|endpoint| endpoint.get("SkipTLSVerify")?.as_bool());
        let tls = contexts.join("tls").join(&directory).join("docker");
        let tls = if host.starts_with("tcp://") && tls.is_dir() {
            if skips == Some(true) {
                return Err(wrong(
                    "it does not check who answers, which Wharf does".to_owned(),
                ));
            }
            Some(Tls::within(&tls)?)
        } else {
            None
        };
        let by = format!("the context {name}");
        Ok(Located {
            address: parse(host, tls, &by)?,
            by: Some(by),
        })
    }

    /// TLS as Docker's variables say.
    fn tls_of_variables(&self, host: &str) -> Result<Option<Tls>, DockerError> {
        let asked = (self.variable)("DOCKER_TLS_VERIFY").is_some() || (self.variable)("DOCKER_TLS").is_some();
        if !asked || !host.starts_with("tcp://") {
            return Ok(None);
        }
        let directory = (self.variable)("DOCKER_CERT_PATH").map(PathBuf::from);
        let directory = directory
            .or_else(|| self.config.clone())
            .ok_or_else(|| DockerError::Address("DOCKER_CERT_PATH names no directory".to_owned()))?;
        Tls::within(&directory).map(Some)
    }
}

/// An address as Docker writes it.
fn parse(host: &str, tls: Option<Tls>, by: &str) -> Result<Address, DockerError> {
    let wrong = || {
        DockerError::Address(format!(
            "{by} is {host}: write unix:// and a socket's path, tcp://HOST:PORT or ssh://USER@HOST"
        ))
    };
    let (scheme, rest) = host.split_once("://").ok_or_else(wrong)?;
    let port_of = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Address::Unix(rest.into())),
        "npipe" if cfg!(windows) => Ok(Address::Pipe(rest.to_owned())),
        "tcp" => {
            let rest = rest.trim_end_matches('/');
            let usual = if tls.is_some() { 2376 } else { 2375 };
            let (name, port) = match rest.rsplit_once(':') {
                Some((name, port)) if !port.ends_with(']') => (name, port_of(port).ok_or_else(wrong)?),
                _ => (rest, usual),
            };
            if !is_host(name) {
                return Err(wrong());
            }
            Ok(Address::Tcp {
                authority: format!("{name}:{port}"),
                tls,
            })
        }
        "ssh" => {
            let rest = rest.trim_end_matches('/');
            let (destination, port) = match rest.rsplit_once(':') {
                Some((name, port)) if !port.ends_with(']') => (name, Some(port_of(port).ok_or_else(wrong)?)),
                _ => (rest, None),
            };
            let (user, name) = destination.rsplit_once('@').unwrap_or(("", destination));
            // ssh takes what begins with a dash for an option, and reads users with words in them in its own way.
            if !is_host(name) || user.starts_with('-') || user.contains([':', ' ', '@', '/']) {
                return Err(wrong());
            }
            Ok(Address::Ssh {
                destination: destination.to_owned(),
                port,
            })
        }
        _ => Err(wrong()),
    }
}

/// A name or an address of a host.
fn is_host(name: &str) -> bool {
    let inner = name
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(name);
    !inner.is_empty()
        && !inner.starts_with('-')
        && inner
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':' | '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(host: Option<&str>, variables: &[(&str, &str)], config: &Path) -> Result<Located, DockerError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let surroundings = Surroundings {
            variable: &variable,
            config: Some(config.to_owned()),
        };
        Located::within(host, &surroundings)
    }

    fn shown(host: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        match find(Some(host), &[], directory.path()) {
            Ok(located) => located.address.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    fn context(directory: &Path, name: &str, meta: &str) -> PathBuf {
        let digest: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let place = directory.join("contexts/meta").join(&digest);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("meta.json"), meta).unwrap();
        directory.join("contexts/tls").join(digest).join("docker")
    }

    #[test]
    fn addresses_are_read_as_docker_writes_them() {
        for (host, address) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://box:2375", "tcp://box:2375"),
            ("tcp://box", "tcp://box:2375"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("ssh://ann@box", "ssh://ann@box"),
            ("ssh://box:2222", "ssh://box:2222"),
        ] {
            assert_eq!(shown(host), address);
        }
        for host in [
            "box",
            "unix://relative",
            "tcp://",
            "tcp://box:0",
            "tcp://box:many",
            "tcp://box/path",
            "ssh://-oProxyCommand=x",
            "ssh://-l@box",
            "ssh://ann:word@box",
            "http://box",
            "npipe:////./pipe/docker_engine",
        ] {
            let said = shown(host);
            assert!(said.contains(&format!("DOCKER_HOST is {host}: write")), "{said}");
        }
    }

    #[test]
    fn a_context_leads_where_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path();
        let usual = find(None, &[], config).unwrap();
        assert_eq!(usual.to_string(), "/var/run/docker.sock");
        let meta =
            "{\"Name\":\"box\",\"Endpoints\":{\"docker\":{\"Host\":\"tcp://box\",\"SkipTLSVerify\":false}}}";
        let tls = context(config, "box", meta);
        fs::write(config.join("config.json"), "{\"currentContext\":\"box\"}").unwrap();
        let plain = find(None, &[], config).unwrap();
        assert_eq!(plain.to_string(), "tcp://box:2375 (the context box)");
        assert!(!plain.shares_files());
        // With certificates of its own it is TLS, on its usual port.
        fs::create_dir_all(&tls).unwrap();
        let error = find(None, &[], config).unwrap_err().to_string();
        assert!(
            error.contains("there is no") && error.contains("ca.pem"),
            "{error}"
        );
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            fs::write(tls.join(name), "").unwrap();
        }
        let secured = find(None, &[], config).unwrap();
        assert!(
            matches!(&secured.address, Address::Tcp { authority, tls: Some(_) } if authority == "box:2376")
        );
        // A variable is stronger, and DOCKER_HOST the strongest.
        let usual = find(None, &[("DOCKER_CONTEXT", "default")], config).unwrap();
        assert_eq!(usual.by, None);
        let host = find(Some("unix:///x"), &[("DOCKER_CONTEXT", "box")], config).unwrap();
        assert_eq!(host.to_string(), "/x (DOCKER_HOST)");
        let error = find(None, &[("DOCKER_CONTEXT", "gone")], config)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the Docker context gone") && error.contains("docker context ls"),
            "{error}"
        );
        fs::write(config.join("config.json"), "{").unwrap();
        assert!(
            find(None, &[], config)
                .unwrap_err()
                .to_string()
                .contains("config.json")
        );
    }

    #[test]
    fn variables_ask_for_tls() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path();
        let variables = [
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", config.to_str().unwrap()),
        ];
        let error = find(Some("tcp://box"), &variables, config)
            .unwrap_err()
            .to_string();
        assert!(error.contains("ca.pem, cert.pem and key.pem"), "{error}");
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            fs::write(config.join(name), "").unwrap();
        }
        let located = find(Some("tcp://box"), &variables, config).unwrap();
        assert_eq!(located.to_string(), "tcp://box:2376 (DOCKER_HOST)");
    }
}
