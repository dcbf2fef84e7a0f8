//! The git program: how it is run, and what its words mean.

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use base64::Engine as _;
use rustix::fs::{MemfdFlags, Mode};
use tokio::process::Command;
use wharf_http::Patience;
use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    remote::{Access, Kind, Remote},
};

/// Variables of the environment that say how the network is reached.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];
/// Variables of the environment that say where programs and their libraries are.
const OWN: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];
/// Where systems keep the certificates that they trust.
const TRUSTED: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// The name of the configuration that all of git's own processes read.
const CONFIGURATION: &str = "config";
/// The repositories that it works in are ours, whoever owns their files.
const TRUSTING: &str = "[safe]\n\tdirectory = *\n";
/// As much of git's explanation as an error quotes.
const QUOTED: usize = 400;

/// The git program, and the certificates that it trusts.
#[derive(Debug)]
pub struct Git {
    program: PathBuf,
    /// Git's home: nothing of a user's is in it.
    home: tempfile::TempDir,
    certificates: Option<PathBuf>,
}

/// What one run of git is given beside its arguments: kept until it ends.
pub(crate) struct Run {
    pub(crate) command: Command,
    _held: Vec<OwnedFd>,
}

impl Git {
    /// The git program of this machine, trusting the certificates of `ca_bundle` beside the machine's own.
    ///
    /// # Errors
    /// When there is none, or the certificates cannot be read.
    pub fn find(ca_bundle: Option<&Path>) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let program = std::env::split_paths(&path)
            .map(|directory| directory.join("git"))
            .find(|program| program.is_file())
            .ok_or(Error::NoProgram)?;
        let home = tempfile::Builder::new().prefix("wharf-git-").tempdir()?;
        std::fs::write(home.path().join(CONFIGURATION), TRUSTING)?;
        let certificates = ca_bundle.map(|own| merged(own, home.path())).transpose()?;
        Ok(Self {
            program,
            home,
            certificates,
        })
    }

    /// Git, about to work on no repository or on the one in `directory`.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .envs(
                OWN.iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.home.path().join(CONFIGURATION))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "")
            .envs(
                PROXIES
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let settings = [
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("core.logAllRefUpdates", "false"),
            ("credential.helper", ""),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("protocol.version", "2"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", "30"),
        ];
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        if let Some(certificates) = &self.certificates {
            let mut setting = OsString::from("http.sslCAInfo=");
            setting.push(certificates);
            command.arg("-c").arg(setting);
        }
        command.args(args);
        Run {
            command,
            _held: Vec::new(),
        }
    }

    /// Git, about to speak to a remote repository. Its address is not among the arguments yet.
    /// One that may ask some servers alone follows no answer to another, and finds its own where we did.
    pub(crate) async fn run_with<A: AsRef<OsStr>>(
        &self,
        remote: &Remote,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Run> {
        let place = place(remote).await?;
        let mut settings = Vec::new();
        if let (Kind::Http, Some(place)) = (remote.kind, &place) {
            settings.extend(["-c".into(), "http.followRedirects=false".into()]);
            settings.extend(["-c".into(), place.as_setting()]);
        }
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        let mut run = self.run(settings.into_iter().map(OsString::from).chain(args));
        let protocol = match remote.kind {
            Kind::Http => "https:http",
            Kind::Ssh => "ssh",
            Kind::Local => "file",
        };
        run.command.env("GIT_ALLOW_PROTOCOL", protocol);
        if let Access::Password { user, password } = &remote.access {
            let pair = Zeroizing::new([user.as_bytes(), b":", password].concat());
            let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*pair));
            run.command
                .env("GIT_CONFIG_COUNT", "1")
                .env(
                    "GIT_CONFIG_KEY_0",
                    format!("http.{}/.extraHeader", remote.origin()),
                )
                .env(
                    "GIT_CONFIG_VALUE_0",
                    format!("Authorization: Basic {}", &*encoded),
                );
        }
        if remote.kind == Kind::Ssh {
            let known = in_memory("known hosts", remote.known_hosts.as_bytes())?;
            let mut ssh = format!(
                "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=10 \
                 -o ServerAliveInterval=15 -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile={}",
                path_of(&known)
            );
            if let Some(place) = &place {
                ssh.push_str(&place.as_options());
            }
            run._held.push(known);
            if let Access::Key(key) = &remote.access {
                let mut key = key.clone();
                if key.last() != Some(&b'\n') {
                    key.push(b'\n');
                }
                let key = in_memory("key", &key)?;
                ssh.push_str(" -i ");
                ssh.push_str(&path_of(&key));
                run._held.push(key);
            }
            run.command
                .env("GIT_SSH_COMMAND", ssh)
                .env("GIT_SSH_VARIANT", "ssh");
        }
        Ok(run)
    }

    /// Runs git against a remote repository to its end, more than once when the reason for its failure may pass.
    pub(crate) async fn ask<A: AsRef<OsStr>>(&self, remote: &Remote, args: &[A]) -> Result<Output> {
        let mut patience = Patience::default();
        loop {
            let mut run = self.run_with(remote, args).await?;
            let output = run.command.output().await?;
            if output.status.success() {
                return Ok(output);
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let error = explain(remote, &said);
            if !may_pass(&said) {
                return Err(error);
            }
            tracing::debug!("{}: {said}; asking again", remote.url);
            if patience.wait(String::new(), None).await.is_err() {
                return Err(error);
            }
        }
    }
}

/// Where the server of a remote is that may lead to some places alone.
struct Place {
    host: String,
    port: u16,
    address: IpAddr,
}

/// Looks up where a remote's server is, when not every server may be asked for it.
async fn place(remote: &Remote) -> Result<Option<Place>> {
    let (Some(hosts), Some((host, port))) = (&remote.hosts, wharf_hosts::host_and_port(&remote.url)) else {
        return Ok(None);
    };
    let unavailable = |why: String| Error::Unavailable {
        url: remote.url.clone(),
        why,
    };
    let found = wharf_http::addresses_within(hosts, &host, port).await;
    let found = found.map_err(|error| unavailable(error.to_string()))?;
    let first = found
        .first()
        .ok_or_else(|| unavailable(format!("{host} has no address")))?;
    let address = first.ip();
    Ok(Some(Place { host, port, address }))
}

impl Place {
    /// For git, by https.
    fn as_setting(&self) -> String {
        let address = match self.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        format!("http.curloptResolve={}:{}:{address}", self.host, self.port)
    }

    /// For ssh, which knows the server's key by its name.
    fn as_options(&self) -> String {
        let alias = match self.port {
            22 => self.host.clone(),
            port => format!("[{}]:{port}", self.host),
        };
        format!(" -o HostName={} -o HostKeyAlias={alias}", self.address)
    }
}

impl Run {
    /// Runs it to its end; anything but success is an error with git's own words.
    pub(crate) async fn done(mut self) -> Result<Vec<u8>> {
        let output = self.command.output().await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Error::Damaged(format!(
            "git failed: {}",
            quoted(&String::from_utf8_lossy(&output.stderr))
        )))
    }
}

/// A file without a name, gone with the last who holds it. It is on no disk.
fn in_memory(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(std::io::Error::from)?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Where programs that we start find it.
fn path_of(file: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// One file with the machine's certificates and these: git takes only one.
fn merged(own: &Path, to: &Path) -> Result<PathBuf> {
    let system = TRUSTED
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .unwrap_or_default();
    let path = to.join("certificates.pem");
    std::fs::write(&path, [system, b"\n".to_vec(), std::fs::read(own)?].concat())?;
    Ok(path)
}

/// The part of git's words that says why.
fn quoted(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| {
        !line.is_empty()
            && !line.starts_with("Cloning into")
            && !line.starts_with("warning:")
            && !line.starts_with("hint:")
    });
    let text = lines
        .map(|line| {
            line.trim_start_matches("fatal: ")
                .trim_start_matches("error: ")
                .trim_start_matches("remote: ")
        })
        .collect::<Vec<_>>()
        .join("; ");
    text.chars().filter(|c| !c.is_control()).take(QUOTED).collect()
}

fn has(said: &str, words: &[&str]) -> bool {
    words.iter().any(|word| said.contains(word))
}

/// May another attempt do better?
fn may_pass(said: &str) -> bool {
    has(
        said,
        &[
            "early EOF",
            "RPC failed",
            "unexpected disconnect",
            "Connection reset",
            "returned error: 429",
            "returned error: 5",
            "Connection closed by remote",
        ],
    )
}

/// What git's words mean.
fn explain(remote: &Remote, said: &str) -> Error {
    let url = remote.url.clone();
    let refused = [
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "terminal prompts disabled",
        "returned error: 401",
        "returned error: 403",
        "Permission denied (",
        "invalid credentials",
    ];
    if has(said, &["Host key verification failed"]) {
        let host = remote.host.clone();
        return Error::UnknownHost { host };
    }
    if has(said, &refused) {
        return Error::Refused {
            host: remote.host.clone(),
            url,
            user: remote.user(),
            had_credentials: remote.access != Access::Open,
        };
    }
    let missing = [
        "epository not found",
        "does not appear to be a git repository",
        "not found",
        "returned error: 404",
    ];
    if has(said, &missing) && !has(said, &["remote ref"]) {
        return Error::NoRepository {
            url,
            said: quoted(said),
        };
    }
    Error::Unavailable {
        url,
        why: quoted(said),
    }
}

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::{Access, Error, Remote};

    #[test]
    fn gits_words_are_understood() {
        let remote = Remote::new("https://a.example/x.git", Access::Open, "").unwrap();
        let refused = "fatal: could not read Username for 'https://a.example': terminal prompts disabled";
        assert!(matches!(
            explain(&remote, refused),
            Error::Refused {
                had_credentials: false,
                ..
            }
        ));
        let missing = "remote: Not Found\nfatal: repository 'https://a.example/x.git/' not found";
        assert!(matches!(explain(&remote, missing), Error::NoRepository { .. }));
        let broken = "fatal: unable to access 'https://a.example/': Could not resolve host: a.example";
        let error = explain(&remote, broken);
        assert!(
            matches!(&error, Error::Unavailable { why, .. } if why.contains("resolve host")),
            "{error}"
        );
        let key = "Host key verification failed.\nfatal: Could not read from remote repository.";
        assert!(matches!(explain(&remote, key), Error::UnknownHost { .. }));
    }
}
