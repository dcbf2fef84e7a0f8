//! Which engine a command speaks to, and how it is found or started.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use wharf_client::{Address, ConnectError, Connection, Launch, Remote, ensure_local, proto};

use wharf_docker::{Daemon, DockerOptions, Found, Steps};
use wharf_gpu::GpuOptions;

use crate::{
    args::{EngineArgs, GpuArgs},
    docker_rights::{AUTO, BUILT_IN, DOCKER},
    error::Report,
    places::{Places, name_of_store},
};

/// How long an engine that is told to end may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What `--engine` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    /// The first that works.
    Auto,
    /// In a container of Docker.
    Docker,
    /// On this host.
    Local,
    /// One that runs already.
    Unix(PathBuf),
    /// One that runs on another machine.
    Tcp(Address),
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "docker" => Ok(Self::Docker),
            "local" => Ok(Self::Local),
            _ if text.starts_with("tcp://") => text
                .parse()
                .map(Self::Tcp)
                .map_err(|error: wharf_tls::AddressError| error.to_string()),
            _ => match text.strip_prefix("unix://") {
                Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
                _ => Err(
                    "an engine is auto, docker, local, unix:// and an absolute path, or tcp://HOST:PORT"
                        .to_owned(),
                ),
            },
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Docker => f.write_str("docker"),
            Self::Local => f.write_str("local"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// All that decides which engine is used and how it is started.
#[derive(Clone, Debug)]
pub(crate) struct EngineSettings {
    pub(crate) choice: EngineChoice,
    pub(crate) runtime: String,
    pub(crate) ca_cert: Option<PathBuf>,
    pub(crate) mirrors: Vec<String>,
    /// Where an engine on this host finds GPUs.
    pub(crate) gpus: GpuOptions,
    /// Does an engine in Docker get the host's GPUs?
    pub(crate) docker_gpus: bool,
    /// What this client shows to an engine on another machine.
    pub(crate) certificates: PathBuf,
    pub(crate) places: Places,
}

/// Where the chosen engine is, or would be.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a container of Docker.
    Docker(Box<DockerOptions>),
    /// On this host.
    Local,
    /// Behind this socket.
    Unix(PathBuf),
    /// On another machine.
    Tcp(Address),
}

impl EngineSettings {
    /// From the command line and the environment.
    pub(crate) fn of(args: &EngineArgs) -> Result<Self, Report> {
        let places = Places::find()?;
        Ok(Self {
            certificates: certificates(args.engine_certs.clone(), &places),
            choice: args.engine.clone(),
            runtime: runtime_name(&args.runtime)?,
            ca_cert: ca_bundle(args.ca_cert.as_deref())?,
            mirrors: mirrors_of_environment()?,
            gpus: gpus_of_environment(),
            docker_gpus: args.docker_gpus,
            places,
        })
    }

    /// From the environment alone, for commands that say nothing about engines.
    pub(crate) fn of_environment(ca_cert: Option<&Path>) -> Result<Self, Report> {
        #[derive(clap::Parser)]
        struct Environment {
            #[command(flatten)]
            engine: EngineArgs,
        }
        let read = <Environment as clap::Parser>::try_parse_from(["wharf"]);
        let mut args = read.map_err(|error| Report::usage(error.to_string()))?.engine;
        args.ca_cert = ca_cert.map(Path::to_owned).or(args.ca_cert);
        Self::of(&args)
    }

    /// Arguments of `wharf engine serve`, beside the socket and the store.
    pub(crate) fn serve_args(&self, steps: Steps) -> Vec<String> {
        let runtime = match steps {
            Steps::InDocker => DOCKER,
            Steps::InEngine if self.runtime == AUTO => BUILT_IN,
            Steps::InEngine => &self.runtime,
        };
        let mut args = vec!["--runtime".to_owned(), runtime.to_owned()];
        for mirror in &self.mirrors {
            args.extend(["--mirror".to_owned(), mirror.clone()]);
        }
        args
    }

    /// The engine that is used: as the choice says and this host allows. `auto` looks for a Docker that answers.
    pub(crate) async fn place(&self) -> Result<Place, ConnectError> {
        match &self.choice {
            EngineChoice::Unix(path) => Ok(Place::Unix(path.clone())),
            EngineChoice::Tcp(address) => Ok(Place::Tcp(address.clone())),
            EngineChoice::Local => Ok(Place::Local),
            EngineChoice::Docker => Ok(Place::Docker(Box::new(self.docker_options()?))),
            EngineChoice::Auto => {
                let options = Box::new(self.docker_options()?);
                match wharf_docker::reach(&options).await {
                    Ok(_) => Ok(Place::Docker(options)),
                    Err(error) => match not_local() {
                        None => Ok(Place::Local),
                        Some(why) => Err(ConnectError::Place(format!(
                            "there is no engine to use: one on this host {why}; {error}"
                        ))),
                    },
                }
            }
        }
    }

    /// The engine, started when none runs.
    pub(crate) async fn connect(&self) -> Result<Connection, ConnectError> {
        match self.place().await? {
            Place::Docker(options) => self.connect_docker(&options).await,
            Place::Unix(path) => Connection::open(&path).await.map_err(|error| match error {
                ConnectError::Unreachable { .. } => ConnectError::Place(format!(
                    "{error}: `wharf engine serve --socket {}` starts one there",
                    path.display()
                )),
                error => error,
            }),
            Place::Tcp(address) => Connection::open_remote(&self.remote(&address)?).await,
            Place::Local => self.connect_local().await,
        }
    }

    /// An engine on another machine, with this client's certificate.
    pub(crate) fn remote(&self, address: &Address) -> Result<Remote, ConnectError> {
        Remote::new(address, &self.certificates)
    }

    /// What an engine in Docker is made of.
    pub(crate) fn docker_options(&self) -> Result<DockerOptions, ConnectError> {
        let run = self.places.run.join("docker");
        let steps = self.docker_steps();
        Ok(DockerOptions {
            host: std::env::var("DOCKER_HOST").ok(),
            program: engine_program()?,
            name: name_of_store(&run).trim_start_matches("wharf-").to_owned(),
            run,
            args: self.serve_args(steps),
            steps,
            ca_bundle: self.ca_cert.clone(),
            gpus: self.docker_gpus,
        })
    }

    async fn connect_docker(&self, options: &DockerOptions) -> Result<Connection, ConnectError> {
        let place_error = |error: wharf_docker::DockerError| ConnectError::Place(error.to_string());
        let settings = options.settings().map_err(place_error)?;
        let note = self.places.run.join("docker-engine.settings");
        // As on this host: an engine that runs and fits is found without asking Docker for it.
        let is_here = !options.is_streamed().map_err(place_error)?;
        if is_here
            && let Ok(connection) = Connection::open(&options.socket()).await
            && std::fs::read_to_string(&note).is_ok_and(|noted| noted == settings)
        {
            return Ok(connection);
        }
        if ![AUTO, BUILT_IN, DOCKER].contains(&self.runtime.as_str()) {
            return Err(ConnectError::Place(format!(
                "an engine in Docker runs steps with its own runtime, as {} is not in its container: leave --runtime away, \
                 or use --engine local on Linux",
                self.runtime
            )));
        }
        let daemon = wharf_docker::reach(options).await.map_err(place_error)?;
        if !daemon.located().shares_files() {
            return self.connect_streamed(&daemon, options).await;
        }
        // Many clients may find no engine at the same time: one starts it, the others wait and then find it.
        let _starting = self.lock_start().await?;
        let found = wharf_docker::find(&daemon, options).await.map_err(place_error)?;
        if found == Found::Other
            && let Ok((connection, _)) = Connection::open_any_version(&options.socket()).await
        {
            refuse_busy(&connection).await?;
        }
        let settings = match found {
            Found::Fitting => wharf_docker::ready(&daemon, options).await.map(|()| settings),
            Found::None | Found::Other => match self.start_in_docker(&daemon, options).await {
                Ok(started) => started.settings(),
                Err(error) => Err(error),
            },
        }
        .map_err(place_error)?;
        let connection = Connection::open(&options.socket()).await?;
        // Without the note the next command asks Docker again, which is slower and no more.
        std::fs::write(&note, settings).ok();
        Ok(connection)
    }

    /// An engine in a Docker elsewhere, which is asked for it each time.
    async fn connect_streamed(
        &self,
        daemon: &Daemon,
        options: &DockerOptions,
    ) -> Result<Connection, ConnectError> {
        let place_error = |error: wharf_docker::DockerError| ConnectError::Place(error.to_string());
        let _starting = self.lock_start().await?;
        let found = wharf_docker::find(daemon, options).await.map_err(place_error)?;
        if found == Found::Other
            && let Ok((connection, _)) = streamed(daemon, options).await
        {
            refuse_busy(&connection).await?;
        }
        match found {
            Found::Fitting => wharf_docker::ready(daemon, options).await,
            Found::None | Found::Other => self.start_in_docker(daemon, options).await.map(drop),
        }
        .map_err(place_error)?;
        let place = PathBuf::from(daemon.located().to_string());
        Connection::of_this_version(streamed(daemon, options).await?, &place)
    }

    /// Held while an engine in Docker is looked for and started.
    async fn lock_start(&self) -> Result<std::fs::File, ConnectError> {
        let path = self.places.run.join("docker.start.lock");
        let lock = {
            let path = path.clone();
            move || {
                std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
                let file = std::fs::File::create(&path)?;
                file.lock().map(|()| file)
            }
        };
        let locked = tokio::task::spawn_blocking(lock).await;
        locked
            .map_err(std::io::Error::other)
            .and_then(|locked| locked)
            .map_err(|source| wharf_client::LaunchError::Io { path, source }.into())
    }

    async fn connect_local(&self) -> Result<Connection, ConnectError> {
        if let Some(why) = not_local() {
            return Err(ConnectError::Place(format!(
                "an engine on this host {why}: use --engine docker, or run this as root on Linux"
            )));
        }
        if self.runtime == DOCKER {
            return Err(ConnectError::Place(
                "steps are containers of the Docker that the engine is in, and this one is on this host: use --engine docker, or leave \
                 --runtime away"
                    .to_owned(),
            ));
        }
        let launch = self.launch()?;
        let wanted = launch.args.join("\n");
        let note = self.places.run.join("engine.args");
        let io_error = |path: &Path, source| wharf_client::LaunchError::Io {
            path: path.to_owned(),
            source,
        };
        // Connecting first keeps the usual case, an engine that runs and fits, to one small file and one socket.
        if let Ok(connection) = Connection::open(&launch.socket).await {
            if std::fs::read_to_string(&note).is_ok_and(|noted| noted == wanted) {
                return Ok(connection);
            }
            replace_idle(&connection).await?;
        }
        for directory in [&self.places.run, &self.places.state] {
            std::fs::create_dir_all(directory).map_err(|source| io_error(directory, source))?;
        }
        std::fs::write(&note, wanted).map_err(|source| io_error(&note, source))?;
        ensure_local(&launch).await
    }

    fn launch(&self) -> Result<Launch, ConnectError> {
        let socket = self.places.socket();
        let store = &self.places.store;
        let mut args = vec!["engine".to_owned(), "serve".to_owned()];
        args.extend([
            "--socket".to_owned(),
            text_of(&socket)?,
            "--store".to_owned(),
            text_of(store)?,
        ]);
        if let Some(bundle) = &self.ca_cert {
            args.extend(["--ca-cert".to_owned(), text_of(bundle)?]);
        }
        if let Some(library) = &self.gpus.library {
            args.extend(["--nvml".to_owned(), text_of(library)?]);
        }
        for directory in &self.gpus.cdi_directories {
            args.extend(["--cdi-dir".to_owned(), text_of(directory)?]);
        }
        args.extend(self.serve_args(Steps::InEngine));
        Ok(Launch {
            program: this_program()?,
            args,
            socket,
            log: self.places.engine_log(),
        })
    }
}

/// Where a client's certificate is: as it was named, or among the user's settings.
pub(crate) fn certificates(named: Option<PathBuf>, places: &Places) -> PathBuf {
    let named = named.filter(|path| !path.as_os_str().is_empty());
    named.unwrap_or_else(|| places.client_certificates())
}

/// A connection to an engine in a Docker elsewhere, and its version.
pub(crate) async fn streamed(
    daemon: &Daemon,
    options: &DockerOptions,
) -> Result<(Connection, String), ConnectError> {
    let stream = wharf_docker::dial(daemon, options).await;
    let stream = stream.map_err(|error| ConnectError::Place(error.to_string()))?;
    Connection::over(stream, Path::new(&daemon.located().to_string())).await
}

/// Ends an engine that was started with other settings, if nobody uses it.
async fn replace_idle(connection: &Connection) -> Result<(), ConnectError> {
    refuse_busy(connection).await?;
    stop(connection).await
}

/// An engine that somebody uses is not replaced.
async fn refuse_busy(connection: &Connection) -> Result<(), ConnectError> {
    let broken = |status: tonic::Status| ConnectError::Place(format!("the engine: {}", status.message()));
    let status = connection
        .client()
        .status(proto::StatusRequest {})
        .await
        .map_err(broken)?
        .into_inner();
    if status.sessions > 0 {
        return Err(ConnectError::Place(
            "the engine runs with other settings (runtime, mirrors, certificates or store) and is in use: wait until \
             it is idle, or end it with `wharf engine stop`"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Tells an engine to end and waits until it has.
pub(crate) async fn stop(connection: &Connection) -> Result<(), ConnectError> {
    let broken = |status: tonic::Status| ConnectError::Place(format!("the engine: {}", status.message()));
    connection
        .client()
        .stop(proto::StopRequest {})
        .await
        .map_err(broken)?;
    let process = PathBuf::from(format!("/proc/{}", connection.pid()));
    let started = Instant::now();
    while is_running(&process) {
        if started.elapsed() > STOP_LIMIT {
            let message = format!(
                "the engine (process {}) was told to end and has not",
                connection.pid()
            );
            return Err(ConnectError::Place(message));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Does the process live? A zombie, whose parent is slow to ask, does not.
fn is_running(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// This program's own path.
pub(crate) fn this_program() -> Result<PathBuf, ConnectError> {
    std::env::current_exe()
        .map_err(|error| ConnectError::Place(format!("this program does not know its path: {error}")))
}

/// The program that an engine in Docker is made of: this one, unless another is named.
fn engine_program() -> Result<PathBuf, ConnectError> {
    let named = std::env::var_os("WHARF_ENGINE_PROGRAM").filter(|named| !named.is_empty());
    match named.map(std::path::absolute) {
        Some(Ok(program)) => Ok(program),
        Some(Err(error)) => Err(ConnectError::Place(format!("WHARF_ENGINE_PROGRAM: {error}"))),
        None if cfg!(target_os = "linux") => this_program(),
        None => Err(ConnectError::Place(
            "an engine in Docker is made of a build for Linux, and this is one for another system: name a static one of the \
             same version in WHARF_ENGINE_PROGRAM"
                .to_owned(),
        )),
    }
}

/// Why no engine can run on this host, as far as that is known before one is started: as root, or as an ordinary user in a
/// namespace of its own, on Linux.
#[cfg(target_os = "linux")]
fn not_local() -> Option<String> {
    if !crate::ordinary::is_one() {
        return None;
    }
    let obstacle = wharf_userns::obstacle()?;
    let next = obstacle.next().unwrap_or_default();
    Some(format!(
        "needs root or a user namespace, and {obstacle} (next: {next})"
    ))
}

#[cfg(not(target_os = "linux"))]
fn not_local() -> Option<String> {
    Some("needs Linux, and this is another system".to_owned())
}

fn text_of(path: &Path) -> Result<String, ConnectError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| ConnectError::Place(format!("{}: this path has to be UTF-8", path.display())))
}

/// `builtin`, `docker`, `auto`, or the absolute path of a runtime.
pub(crate) fn runtime_name(text: &str) -> Result<String, Report> {
    if [AUTO, BUILT_IN, DOCKER].contains(&text) || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    if text.contains('/') {
        let path =
            std::path::absolute(text).map_err(|error| Report::usage(format!("--runtime {text}: {error}")))?;
        return Ok(path.display().to_string());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(text))
        .find(|program| program.is_file());
    found.map(|program| program.display().to_string()).ok_or_else(|| {
        Report::usage(format!(
            "--runtime {text}: there is no program of this name in PATH"
        ))
        .with_hint(
            "a runtime is auto, builtin, docker, or an OCI runtime such as runc or crun, by name or path",
        )
    })
}

/// The host's certificates: as named, as the environment says, or where distributions keep them.
pub(crate) fn ca_bundle(named: Option<&Path>) -> Result<Option<PathBuf>, Report> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        let absolute = std::path::absolute(path)
            .ok()
            .filter(|path| path.is_file())
            .ok_or_else(|| Report::usage(format!("--ca-cert {}: there is no such file", path.display())))?;
        return Ok(Some(absolute));
    }
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let from_environment = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    Ok(from_environment
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .find(|path| path.is_file()))
}

/// A mirror's two halves.
pub(crate) fn mirror(text: &str) -> Result<(String, String), Report> {
    let halves = text
        .split_once('=')
        .filter(|(registry, mirror)| !registry.is_empty() && !mirror.is_empty());
    let (registry, mirror) = halves.ok_or_else(|| {
        Report::usage(format!("`{text}` is no mirror"))
            .with_hint("write REGISTRY=URL: docker.io=http://127.0.0.1:5000")
    })?;
    Ok((registry.to_owned(), mirror.to_owned()))
}

/// The mirrors that the environment names, each `REGISTRY=URL`.
pub(crate) fn mirrors_of_environment() -> Result<Vec<String>, Report> {
    let text = std::env::var("WHARF_REGISTRY_MIRRORS").unwrap_or_default();
    let mirrors = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    mirrors
        .map(|part| mirror(part).map(|_| part.to_owned()))
        .collect()
}

impl From<GpuArgs> for GpuOptions {
    fn from(args: GpuArgs) -> Self {
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        Self {
            library: args.nvml.filter(named),
            cdi_directories: args.cdi_directories.into_iter().filter(named).collect(),
        }
    }
}

/// Where the environment says that GPUs are found.
pub(crate) fn gpus_of_environment() -> GpuOptions {
    let directories = std::env::var_os("WHARF_CDI_DIRS").unwrap_or_default();
    GpuArgs {
        nvml: std::env::var_os("WHARF_NVML").map(PathBuf::from),
        cdi_directories: std::env::split_paths(&directories).collect(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_named() {
        assert_eq!("auto".parse(), Ok(EngineChoice::Auto));
        assert_eq!("unix:///run/x".parse(), Ok(EngineChoice::Unix("/run/x".into())));
        assert!("unix://x".parse::<EngineChoice>().is_err());
        let remote: EngineChoice = "tcp://build.example:7420".parse().unwrap();
        assert_eq!(remote.to_string(), "tcp://build.example:7420");
        assert!("tcp://build.example".parse::<EngineChoice>().is_err());
        assert!("podman".parse::<EngineChoice>().is_err());
    }

    #[test]
    fn a_mirror_has_two_halves() {
        assert_eq!(
            mirror("a=http://b").unwrap(),
            ("a".to_owned(), "http://b".to_owned())
        );
        assert!(mirror("a").is_err());
        assert!(mirror("=b").is_err());
    }

    #[test]
    fn runtimes_are_found_or_refused() {
        assert_eq!(runtime_name("builtin").unwrap(), "builtin");
        assert_eq!(runtime_name("/x/runc").unwrap(), "/x/runc");
        assert!(runtime_name("no-such-runtime").is_err());
    }
}
