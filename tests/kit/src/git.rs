//! Real git repositories and real servers of them: git's own over HTTP, and OpenSSH.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::http::{Asked, HttpServer, Reply};
use crate::process::{self, Server, require};
use crate::{Error, Result};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A repository with a working tree, to be changed and committed.
#[derive(Debug)]
pub struct GitRepository {
    path: PathBuf,
}

impl GitRepository {
    /// A new one in this directory, made when it is missing.
    pub fn new(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::io("creating", path))?;
        let repository = Self {
            path: path.to_owned(),
        };
        repository.git(&["init", "-q", "--initial-branch=main"])?;
        Ok(repository)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs git in it, with a configuration that is the same everywhere; what it printed.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(require("git", "git")?);
        command
            .args(["-c", "user.name=Ann Author", "-c", "user.email=ann@example.org"])
            .args(["-c", "protocol.file.allow=always", "-c", "commit.gpgSign=false"])
            .args(args)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let output = process::run(&mut command)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Writes a file and commits everything; the commit's digits.
    pub fn commit(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
        }
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "-q", "-m", &format!("Write {name}")])?;
        self.git(&["rev-parse", "HEAD"])
    }
}

/// Serves the repositories below `root` over HTTP, by git's own program, to those whom `admits` lets in.
pub fn serve_git(root: &Path, admits: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Result<HttpServer> {
    serve_git_on(IpAddr::V4(Ipv4Addr::LOCALHOST), root, admits)
}

/// The same on another address of this machine.
pub fn serve_git_on(
    address: IpAddr,
    root: &Path,
    admits: impl Fn(&Asked) -> bool + Send + Sync + 'static,
) -> Result<HttpServer> {
    let output = process::run(Command::new(require("git", "git")?).arg("--exec-path"))?;
    let program = Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("git-http-backend");
    let root = root.display().to_string();
    HttpServer::start_on(address, move |asked| {
        if !admits(asked) {
            return Reply::status(401).with("WWW-Authenticate", "Basic realm=\"test\"");
        }
        let environment = [
            ("GIT_PROJECT_ROOT", root.as_str()),
            ("GIT_HTTP_EXPORT_ALL", "1"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ];
        Reply::cgi(asked, &program, &environment).unwrap_or_else(|_| Reply::status(500))
    })
}

/// An OpenSSH server on loopback that lets one new key in.
#[derive(Debug)]
pub struct SshServer {
    directory: tempfile::TempDir,
    port: u16,
    _server: Server,
}

impl SshServer {
    /// Starts it. It serves what its own user can read.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// The same with more lines of settings.
    pub fn start_with(more: &str) -> Result<Self> {
        let directory = tempfile::tempdir().map_err(Error::io("creating", Path::new("a directory")))?;
        let at = |name: &str| directory.path().join(name);
        for name in ["host", "user", "other"] {
            let mut keygen = Command::new(require("ssh-keygen", "openssh-client")?);
            process::run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(name)))?;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(Error::io("listening on", Path::new("127.0.0.1")))?
            .port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\n{more}",
            at("host").display(),
            at("user.pub").display(),
        );
        fs::write(at("config"), config).map_err(Error::io("writing", &at("config")))?;
        // Where OpenSSH's server locks itself into before it knows who comes.
        let empty = Path::new("/run/sshd");
        fs::create_dir_all(empty).map_err(Error::io("creating", empty))?;
        fs::set_permissions(empty, fs::Permissions::from_mode(0o755)).map_err(Error::io("setting", empty))?;
        let args = ["-D", "-e", "-f"]
            .map(str::to_owned)
            .into_iter()
            .chain([at("config").display().to_string()]);
        let server = Server::start(
            &require("sshd", "openssh-server")?,
            &args.collect::<Vec<_>>(),
            None,
            (&at("out"), &at("log")),
            PATIENCE,
        )?;
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        process::wait_for(PATIENCE, answers).ok_or_else(|| Error::Command {
            command: "sshd".to_owned(),
            why: fs::read_to_string(at("log")).unwrap_or_default(),
        })?;
        Ok(Self {
            directory,
            port,
            _server: server,
        })
    }

    /// The address of a path on it.
    pub fn url(&self, path: &Path) -> String {
        format!("{}{}", self.host(), path.display())
    }

    /// Its own address.
    pub fn host(&self) -> String {
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        format!("ssh://{user}@127.0.0.1:{}", self.port)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.directory.path().join(name);
        fs::read_to_string(&path).map_err(Error::io("reading", &path))
    }

    /// The private key that it lets in.
    pub fn key(&self) -> Result<String> {
        self.read("user")
    }

    /// A private key that it does not know.
    pub fn other_key(&self) -> Result<String> {
        self.read("other")
    }

    /// Its line of a file of known hosts.
    pub fn known_hosts(&self) -> Result<String> {
        Ok(format!("[127.0.0.1]:{} {}", self.port, self.read("host.pub")?))
    }
}
