//! The engine's container: made, found, ended.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use bollard::{
    body_full,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveVolumeOptions, StartContainerOptions,
        StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
    },
};
use futures::TryStreamExt;

use crate::{Daemon, DockerError, DockerOptions, Steps, gpus, image, stream};

/// Where the host's directory for the socket is mounted.
const RUN: &str = "/run/wharf";
/// Where the volume is mounted.
const STORE: &str = "/var/lib/wharf";
/// The engine's socket in the container.
pub(crate) const SOCKET: &str = "/run/wharf/engine.sock";
/// Certificates, in the container.
const CERTIFICATES: &str = "/run/wharf/ca-certificates.crt";
/// What the engine needs beside Docker's usual capabilities: mounts and namespaces; networks of steps; looking into steps'
/// processes; device nodes of images.
const CAPABILITIES: [&str; 4] = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "MKNOD"];
/// Says what a container was started with.
const SETTINGS_LABEL: &str = "dev.wharf.settings";
/// Where the daemon's socket is mounted when each step is a container of it.
pub const STEP_SOCKET: &str = "/run/docker.sock";
/// Where a daemon that is not behind a socket of this host listens on its own.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// What an engine says that may not make containers, before it says why.
pub const RIGHTS_MARK: &str = "this container may not make others: ";
/// How a daemon, or what stands before it, says that something is forbidden.
const FORBIDDEN: u16 = 403;
/// How long the engine may take to listen.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to end, in seconds.
const STOP_LIMIT: i32 = 20;
/// Lines of the log that an error shows.
const LAST_LINES: &str = "15";

/// The engine's container, as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none, or it has ended.
    None,
    /// It runs, as the options say.
    Fitting,
    /// It runs with other settings or another program.
    Other,
}

/// Looks for the container.
pub async fn find(daemon: &Daemon, options: &DockerOptions) -> Result<Found, DockerError> {
    let inspected = daemon
        .docker
        .inspect_container(&options.container(), None::<InspectContainerOptions>)
        .await;
    let container = match inspected {
        Ok(container) => container,
        Err(error) if is_missing(&error) => return Ok(Found::None),
        Err(error) => return Err(DockerError::refused("look at the engine's container")(error)),
    };
    if container.state.and_then(|state| state.running) != Some(true) {
        return Ok(Found::None);
    }
    let settings = options.settings()?;
    let labels = container
        .config
        .and_then(|config| config.labels)
        .unwrap_or_default();
    Ok(if labels.get(SETTINGS_LABEL) == Some(&settings) {
        Found::Fitting
    } else {
        Found::Other
    })
}

/// Starts the container, in place of one that is there, and waits until the engine listens. The volume stays.
pub async fn start(daemon: &Daemon, options: &DockerOptions) -> Result<(), DockerError> {
    let image = image::ensure(daemon, options).await?;
    remove(daemon, options).await?;
    let is_streamed = !daemon.located().shares_files();
    fs::create_dir_all(&options.run).map_err(|source| DockerError::io("make", &options.run, source))?;
    if !is_streamed {
        fs::remove_file(options.socket()).ok();
    }
    let mut body = body(options, image, daemon.located().socket())?;
    if options.gpus
        && let Some(driver) = daemon.gpus().await?
    {
        gpus::add(&mut body, driver);
    }
    let name = options.container();
    let named = CreateContainerOptionsBuilder::new().name(&name).build();
    let create = || daemon.docker.create_container(Some(named.clone()), body.clone());
    let created = match create().await {
        // Somebody who uses another version here has removed the image in between, as no container used it.
        Err(error) if is_missing(&error) => {
            image::ensure(daemon, options).await?;
            create().await
        }
        created => created,
    };
    created.map_err(|error| rights_or(options, "make the engine's container", error))?;
    if let Some(bundle) = options.ca_bundle.as_ref().filter(|_| is_streamed) {
        send_certificates(daemon, &name, bundle).await?;
    }
    daemon
        .docker
        .start_container(&name, None::<StartContainerOptions>)
        .await
        .map_err(|error| rights_or(options, "start the engine's container", error))?;
    match ready(daemon, options).await {
        Err(DockerError::NotUp { log, .. })
            if options.steps == Steps::InEngine && log.contains(RIGHTS_MARK) =>
        {
            let why = log.split(RIGHTS_MARK).nth(1).unwrap_or_default();
            Err(DockerError::Rights(
                why.lines().next().unwrap_or_default().to_owned(),
            ))
        }
        outcome => outcome,
    }
}

/// What the daemon says of a container that it does not make: that it is the rights, or something else.
fn rights_or(options: &DockerOptions, doing: &'static str, error: bollard::errors::Error) -> DockerError {
    const WORDS: [&str; 6] = [
        "not permitted",
        "permission denied",
        "capabilit",
        "not allowed",
        "seccomp",
        "apparmor",
    ];
    if let (Steps::InEngine, bollard::errors::Error::DockerResponseServerError { status_code, message }) =
        (options.steps, &error)
    {
        let words = message.to_lowercase();
        if *status_code == FORBIDDEN || WORDS.iter().any(|word| words.contains(word)) {
            return DockerError::Rights(message.trim().to_owned());
        }
    }
    DockerError::refused(doing)(error)
}

/// Waits until the engine in a container that was started listens.
pub async fn ready(daemon: &Daemon, options: &DockerOptions) -> Result<(), DockerError> {
    let listening = async {
        while !listens(daemon, options).await {
            if find(daemon, options).await? == Found::None {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(true)
    };
    if tokio::time::timeout(START_LIMIT, listening)
        .await
        .unwrap_or(Ok(false))?
    {
        return Ok(());
    }
    let log = log_of(daemon, options, LAST_LINES).await?;
    Err(DockerError::NotUp {
        container: options.container(),
        log: log.trim_end().to_owned(),
    })
}

/// Does the engine listen? Asked in the container where its socket is not here.
async fn listens(daemon: &Daemon, options: &DockerOptions) -> bool {
    if daemon.located().shares_files() {
        return wharf_platform::socket::connect(&options.socket()).await.is_ok();
    }
    stream::listens(daemon, options).await
}

/// Puts certificates into a container that has not started.
async fn send_certificates(daemon: &Daemon, container: &str, bundle: &Path) -> Result<(), DockerError> {
    let unread = |source| DockerError::io("read", bundle, source);
    let bytes = fs::read(bundle).map_err(unread)?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut directory = image::header(tar::EntryType::Directory, 0o755, 0);
    archive
        .append_data(&mut directory, "run/wharf/", std::io::empty())
        .map_err(unread)?;
    let mut file = image::header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
    archive
        .append_data(&mut file, CERTIFICATES.trim_start_matches('/'), bytes.as_slice())
        .map_err(unread)?;
    let archive = archive.into_inner().map_err(unread)?;
    let to_root = UploadToContainerOptionsBuilder::new().path("/").build();
    daemon
        .docker
        .upload_to_container(container, Some(to_root), body_full(archive.into()))
        .await
        .map_err(DockerError::refused(
            "take certificates into the engine's container",
        ))
}

/// Ends the engine and removes its container; says whether there was one. The volume stays.
pub async fn stop(daemon: &Daemon, options: &DockerOptions) -> Result<bool, DockerError> {
    let was_there = find(daemon, options).await? != Found::None;
    if was_there {
        let patient = StopContainerOptionsBuilder::new().t(STOP_LIMIT).build();
        daemon
            .docker
            .stop_container(&options.container(), Some(patient))
            .await
            .map_err(DockerError::refused("stop the engine's container"))?;
    }
    remove(daemon, options).await?;
    Ok(was_there)
}

/// Removes the volume that holds what the engine remembers, which has to have ended.
pub async fn remove_store(daemon: &Daemon, options: &DockerOptions) -> Result<(), DockerError> {
    let removed = daemon
        .docker
        .remove_volume(&options.volume(), None::<RemoveVolumeOptions>)
        .await;
    match removed {
        Err(error) if !is_missing(&error) => Err(DockerError::refused("remove the engine's volume")(error)),
        _ => Ok(()),
    }
}

/// What the engine has said since it was started.
pub async fn logs(daemon: &Daemon, options: &DockerOptions) -> Result<String, DockerError> {
    log_of(daemon, options, "all").await
}

async fn log_of(daemon: &Daemon, options: &DockerOptions, lines: &str) -> Result<String, DockerError> {
    let wanted = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .tail(lines)
        .build();
    let pieces: Result<Vec<_>, _> = daemon
        .docker
        .logs(&options.container(), Some(wanted))
        .try_collect()
        .await;
    match pieces {
        Ok(pieces) => Ok(pieces.iter().map(ToString::to_string).collect()),
        Err(error) if is_missing(&error) => Ok(String::new()),
        Err(error) => Err(DockerError::refused("read the engine's log")(error)),
    }
}

async fn remove(daemon: &Daemon, options: &DockerOptions) -> Result<(), DockerError> {
    let forced = RemoveContainerOptionsBuilder::new().force(true).build();
    match daemon
        .docker
        .remove_container(&options.container(), Some(forced))
        .await
    {
        Err(error) if !is_missing(&error) => {
            Err(DockerError::refused("remove the engine's container")(error))
        }
        _ => Ok(()),
    }
}

fn body(
    options: &DockerOptions,
    image: String,
    socket: Option<&Path>,
) -> Result<ContainerCreateBody, DockerError> {
    let mut args: Vec<String> = ["engine", "serve", "--socket", SOCKET, "--store", STORE]
        .map(str::to_owned)
        .into();
    if let Some(bundle) = &options.ca_bundle {
        if socket.is_some() {
            // A copy, as the bundle may lie where the daemon cannot look.
            let copy = options.run.join("ca-certificates.crt");
            fs::copy(bundle, &copy).map_err(|source| DockerError::io("copy", bundle, source))?;
        }
        args.extend(["--ca-cert".to_owned(), CERTIFICATES.to_owned()]);
    }
    args.extend(options.args.iter().cloned());
    args.extend(match options.steps {
        Steps::InEngine => vec!["--try-rights".to_owned()],
        Steps::InDocker => vec!["--docker-name".to_owned(), options.name.clone()],
    });
    Ok(ContainerCreateBody {
        image: Some(image),
        cmd: Some(args),
        labels: Some(HashMap::from([(SETTINGS_LABEL.to_owned(), options.settings()?)])),
        host_config: Some(host_config(options, socket)),
        ..ContainerCreateBody::default()
    })
}

/// Everything that `--privileged` would give, less what the engine does not need.
fn host_config(options: &DockerOptions, socket: Option<&Path>) -> HostConfig {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut binds = vec![format!("{}:{STORE}", options.volume())];
    if socket.is_some() {
        binds.push(format!("{}:{RUN}", text(&options.run)));
    }
    if options.steps == Steps::InDocker {
        let socket = socket.unwrap_or(Path::new(USUAL_SOCKET));
        binds.push(format!("{}:{STEP_SOCKET}", text(socket)));
        return HostConfig {
            binds: Some(binds),
            shm_size: Some(1 << 30),
            ..HostConfig::default()
        };
    }
    HostConfig {
        binds: Some(binds),
        cap_add: Some(CAPABILITIES.map(str::to_owned).into()),
        security_opt: Some(vec![
            "seccomp=unconfined".to_owned(),
            "apparmor=unconfined".to_owned(),
        ]),
        // Steps get a /proc and /sys of their own, which the kernel allows only where none of it is hidden.
        masked_paths: Some(Vec::new()),
        readonly_paths: Some(Vec::new()),
        // Steps may use fewer devices than the engine: a list can only be made from one that is longer.
        device_cgroup_rules: Some(vec!["a *:* rwm".to_owned()]),
        // Secrets and bundles lie in memory.
        shm_size: Some(1 << 30),
        ..HostConfig::default()
    }
}

pub(crate) fn is_missing(error: &bollard::errors::Error) -> bool {
    matches!(
        error,
        bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }
    )
}
