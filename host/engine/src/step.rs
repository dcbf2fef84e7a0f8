//! Running one step: from a plan and the trees it works on to a new layer, an exit code and logs.

use std::{
    fs::File,
    io::{Seek, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, chown},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering},
};

use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;
use wharf_graph::{
    Error, ExecFailure,
    op::{CacheVolume, Mount, Network, SecretId, Sharing, Stdin},
    plan::{Location, Step, Tree},
};
use wharf_runner::{
    Exit, NetworkMode, Overlay, OverlayMount, StepIo,
    passwd::{self, User},
    spec::{self, Bind, Process},
};
use wharf_store::{LayerDraft, LogDraft, Pin, Snapshot, VolumeId, edit, tree::View};
use zeroize::Zeroizing;

use crate::{
    edit::resolve_owner,
    engine::Engine,
    evaluate::{Made, StepOutput},
    image::of_store,
    log::{Pump, Scrubber, Tail},
    session::{Audience, lock},
};

/// The name of a step's host: the same everywhere, so that results are.
const HOSTNAME: &str = "wharf";
/// Where steps with network find the certificates that the engine was given.
const CERTIFICATES: &str = "/run/wharf/ca-certificates.crt";
/// Variables by which programs are told of certificates.
const CERTIFICATE_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
];

/// What a step needs for as long as it runs: given back when it is dropped.
#[derive(Default)]
struct Held {
    drafts: Vec<LayerDraft>,
    volumes: Vec<wharf_store::CacheVolume>,
    pins: Vec<Pin>,
    secrets: Vec<Zeroizing<Vec<u8>>>,
    files: Option<tempfile::TempDir>,
}

impl Engine {
    /// Runs a step whose inputs are made.
    pub(crate) async fn run_step(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        step: &Step,
        inputs: &[Arc<Made>],
        audience: &Audience,
        cancel: &CancellationToken,
    ) -> Result<(Snapshot, StepOutput), Error> {
        self.running_steps.fetch_add(1, Ordering::Relaxed);
        let outcome = self.run_step_counted(tree, step, inputs, audience, cancel).await;
        self.running_steps.fetch_sub(1, Ordering::Relaxed);
        outcome
    }

    async fn run_step_counted(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        step: &Step,
        inputs: &[Arc<Made>],
        audience: &Audience,
        cancel: &CancellationToken,
    ) -> Result<(Snapshot, StepOutput), Error> {
        let root = inputs[0].snapshot.clone();
        let mut held = Held::default();
        held.pins
            .extend(inputs.iter().map(|made| self.store.pin(&made.snapshot)));
        let user = self.user(&root, &step.user).await?;
        let mut process = self.process(step, user)?;
        let overlays = self
            .mounts(step, inputs, &root, audience, cancel, &mut process, &mut held)
            .await?;
        for (name, secret) in &step.secret_env {
            let value = audience.secret(secret).await?;
            let text = String::from_utf8(value.to_vec()).map_err(|_| {
                Error::Invalid(format!(
                    "the secret {} is not text: mount it as a file",
                    secret.uri
                ))
            })?;
            process.env.push(format!("{name}={text}"));
            held.secrets.push(value);
        }
        let stdin = self.stdin(step, audience, &mut held).await?;
        let base = root.clone();
        let draft = self.with_store(move |store| store.new_layer(&base)).await?;
        let lowers = {
            let root = root.clone();
            self.with_store(move |store| store.lower_paths(&root)).await?
        };
        let runner_step = wharf_runner::Step {
            spec: spec::docker_like(&process).map_err(|error| runner_error(&error))?,
            root: Overlay {
                lowers,
                upper: Some((draft.path(), draft.work())),
            },
            mounts: overlays,
            network: match step.network {
                Network::None => NetworkMode::None,
                Network::All => NetworkMode::Bridged,
            },
            hosts: Vec::new(),
            timeout: step.timeout,
        };
        let logs = Logs::start(self, tree, audience, &held.secrets)?;
        let io = StepIo {
            stdin,
            stdout: logs.stdout,
            stderr: logs.stderr,
        };
        let outcome = self
            .runner
            .run(runner_step, io, cancel.clone())
            .await
            .map_err(|error| runner_error(&error))?;
        let (output, tails) = logs
            .finish
            .await
            .map_err(|error| Error::other("defect", error.to_string()))??;
        drop(held);
        let exit_code = match judge(step, &outcome.exit, &tails) {
            Ok(exit_code) => exit_code,
            Err(error) => return Err(self.with_log(error, &output).await),
        };
        let layer = self.with_store(move |store| store.publish(draft)).await?;
        let snapshot = self.redirect(step, root.with(layer), &output).await?;
        Ok((snapshot, StepOutput { exit_code, ..output }))
    }

    async fn user(self: &Arc<Self>, root: &Snapshot, user: &str) -> Result<User, Error> {
        let (root, user) = (root.clone(), user.to_owned());
        self.with_store(move |store| {
            let view = View::new(store, &root)?;
            let users = view.read_text("/etc/passwd")?.unwrap_or_default();
            let groups = view.read_text("/etc/group")?.unwrap_or_default();
            Ok(passwd::resolve(&user, &users, &groups).map_err(|error| Error::Invalid(error.to_string())))
        })
        .await?
    }

    fn process(&self, step: &Step, user: User) -> Result<Process, Error> {
        let mut env = step.env.clone();
        env.extend(step.volatile_env.clone());
        env.entry("PATH".to_owned()).or_insert_with(spec::default_path);
        env.entry("HOME".to_owned()).or_insert_with(|| user.home.clone());
        env.entry("HOSTNAME".to_owned())
            .or_insert_with(|| HOSTNAME.to_owned());
        let mut binds = Vec::new();
        if let (Network::All, Some(bundle)) = (step.network, &self.ca_bundle) {
            binds.push(bind(bundle, CERTIFICATES, false));
            for name in CERTIFICATE_VARIABLES {
                env.entry(name.to_owned())
                    .or_insert_with(|| CERTIFICATES.to_owned());
            }
        }
        Ok(Process {
            args: step.args.clone(),
            env: env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            cwd: step.workdir.clone(),
            user,
            hostname: HOSTNAME.to_owned(),
            binds,
            temporary: Vec::new(),
            memory: step.limits.memory,
            millicpus: step.limits.millicpus,
            pids: step.limits.pids,
        })
    }

    /// Brings about what is mounted. Directories become overlays of their own, so nothing a step writes is shared.
    #[allow(clippy::too_many_arguments)]
    async fn mounts(
        self: &Arc<Self>,
        step: &Step,
        inputs: &[Arc<Made>],
        root: &Snapshot,
        audience: &Audience,
        cancel: &CancellationToken,
        process: &mut Process,
        held: &mut Held,
    ) -> Result<Vec<OverlayMount>, Error> {
        let mut overlays = Vec::new();
        let mut sources = inputs[1..].iter();
        for (path, mount) in &step.mounts {
            let source = mount.source().and_then(|place| Some((place, sources.next()?)));
            match (mount, source) {
                (Mount::Directory { owner, .. }, Some((place, made))) => {
                    overlays.push(
                        self.directory_mount(path, place, made, owner.as_deref(), root, held)
                            .await?,
                    );
                }
                (Mount::File { owner, .. }, Some((place, made))) => {
                    let file = self
                        .file_mount(path, place, made, owner.as_deref(), root, held)
                        .await?;
                    process.binds.push(bind(&file, path, false));
                }
                (Mount::Cache(volume), source) => {
                    let taken = self.volume(volume, source, root, cancel).await?;
                    process
                        .binds
                        .push(bind(taken.path(), path, volume.sharing != Sharing::ReadOnly));
                    held.volumes.push(taken);
                }
                (Mount::Secret { secret, owner, mode }, _) => {
                    let owner = owner
                        .as_deref()
                        .map(|owner| resolve_owner(&self.store, root, owner))
                        .transpose()?;
                    let file = self
                        .secret_file(path, secret, owner.unwrap_or_default(), *mode, audience, held)
                        .await?;
                    process.binds.push(bind(&file, path, false));
                }
                (Mount::Temp { size }, _) => process.temporary.push((path.clone(), *size, 0o1777)),
                (Mount::Directory { .. } | Mount::File { .. }, None) => {
                    return Err(Error::other(
                        "defect",
                        format!("what is mounted on {path} was not made"),
                    ));
                }
            }
        }
        Ok(overlays)
    }

    async fn directory_mount(
        self: &Arc<Self>,
        path: &str,
        place: &Location,
        made: &Made,
        owner: Option<&str>,
        root: &Snapshot,
        held: &mut Held,
    ) -> Result<OverlayMount, Error> {
        let owner = owner
            .map(|owner| resolve_owner(&self.store, root, owner))
            .transpose()?;
        let (from, source) = (place.path.clone(), made.snapshot.clone());
        let (lowers, draft, pin) = self
            .with_store(move |store| {
                let mut tree = edit::subtree(store, &source, &from)?;
                if let Some(owner) = owner {
                    tree = edit::chown(store, &tree, "/", owner)?;
                }
                Ok((
                    store.lower_paths(&tree)?,
                    store.new_layer(&tree)?,
                    store.pin(&tree),
                ))
            })
            .await?;
        let overlay = Overlay {
            lowers,
            upper: Some((draft.path(), draft.work())),
        };
        held.drafts.push(draft);
        held.pins.push(pin);
        Ok(OverlayMount {
            destination: path.to_owned(),
            overlay,
        })
    }

    async fn file_mount(
        self: &Arc<Self>,
        path: &str,
        place: &Location,
        made: &Made,
        owner: Option<&str>,
        root: &Snapshot,
        held: &mut Held,
    ) -> Result<PathBuf, Error> {
        let owner = owner
            .map(|owner| resolve_owner(&self.store, root, owner))
            .transpose()?;
        let (from, source) = (place.path.clone(), made.snapshot.clone());
        let mut copied = self
            .with_store(move |store| {
                let view = View::new(store, &source)?;
                Ok((view.open_file(&from)?, view.stat(&from, true)?))
            })
            .await?;
        let target = file_in(held, path)?;
        let (uid, gid) = owner.unwrap_or((copied.1.uid, copied.1.gid));
        let mut file = new_file(&target, copied.1.mode).map_err(io_error)?;
        std::io::copy(&mut copied.0, &mut file).map_err(io_error)?;
        chown(&target, Some(uid), Some(gid)).map_err(io_error)?;
        Ok(target)
    }

    async fn volume(
        self: &Arc<Self>,
        volume: &CacheVolume<Location>,
        source: Option<(&Location, &Arc<Made>)>,
        root: &Snapshot,
        cancel: &CancellationToken,
    ) -> Result<wharf_store::CacheVolume, Error> {
        let id = VolumeId {
            scope: volume.scope.clone(),
            name: volume.name.clone(),
        };
        let sharing = match volume.sharing {
            Sharing::Shared | Sharing::ReadOnly => wharf_store::Sharing::Shared,
            Sharing::Private => wharf_store::Sharing::Private,
            Sharing::Locked => wharf_store::Sharing::Locked,
        };
        let source = source.map(|(place, made)| (made.snapshot.clone(), place.path.clone()));
        let owner = volume
            .owner
            .as_deref()
            .map(|owner| resolve_owner(&self.store, root, owner))
            .transpose()?;
        let cancelled = cancel.clone();
        let taken = self
            .with_store(move |store| {
                let Some(taken) = store.volume(&id, sharing, || cancelled.is_cancelled())? else {
                    return Ok(None);
                };
                if taken.is_fresh() {
                    if let Some((snapshot, path)) = source {
                        edit::fill(store, &snapshot, &path, taken.path())?;
                    }
                    if let Some((uid, gid)) = owner {
                        let context = || "a cache volume's owner".to_owned();
                        chown(taken.path(), Some(uid), Some(gid)).map_err(|source| {
                            wharf_store::Error::Io {
                                context: context(),
                                source,
                            }
                        })?;
                    }
                }
                Ok(Some(taken))
            })
            .await?;
        taken.ok_or(Error::Cancelled)
    }

    async fn secret_file(
        &self,
        path: &str,
        secret: &SecretId,
        owner: (u32, u32),
        mode: u32,
        audience: &Audience,
        held: &mut Held,
    ) -> Result<PathBuf, Error> {
        let value = audience.secret(secret).await?;
        let target = file_in(held, path)?;
        new_file(&target, mode)
            .and_then(|mut file| file.write_all(&value))
            .map_err(io_error)?;
        chown(&target, Some(owner.0), Some(owner.1)).map_err(io_error)?;
        held.secrets.push(value);
        Ok(target)
    }

    async fn stdin(&self, step: &Step, audience: &Audience, held: &mut Held) -> Result<OwnedFd, Error> {
        let memory = |bytes: &[u8]| {
            let file = rustix::fs::memfd_create("stdin", rustix::fs::MemfdFlags::CLOEXEC)?;
            let mut file = File::from(file);
            file.write_all(bytes)?;
            file.rewind()?;
            Ok(OwnedFd::from(file))
        };
        match &step.stdin {
            Stdin::Empty => File::open("/dev/null").map(OwnedFd::from),
            Stdin::Text(text) => memory(text.as_bytes()),
            Stdin::Secret(secret) => {
                let value = audience.secret(secret).await?;
                let file = memory(&value);
                held.secrets.push(value);
                file
            }
        }
        .map_err(io_error)
    }

    /// Puts what was printed into the files that were asked for.
    async fn redirect(
        self: &Arc<Self>,
        step: &Step,
        mut snapshot: Snapshot,
        output: &StepOutput,
    ) -> Result<Snapshot, Error> {
        for (path, blob) in [
            (&step.redirect_stdout, output.stdout),
            (&step.redirect_stderr, output.stderr),
        ] {
            let Some(path) = path.clone() else { continue };
            snapshot = self
                .with_store(move |store| {
                    let lost = || wharf_store::Error::NotFound("a step's output".to_owned());
                    let mut content = store.blob(&blob)?.ok_or_else(lost)?;
                    edit::write_file(store, &snapshot, &path, &mut content, 0o644, (0, 0))
                })
                .await?;
        }
        Ok(snapshot)
    }
}

/// A step's outputs on their way to the store and to whoever watches.
struct Logs {
    stdout: OwnedFd,
    stderr: OwnedFd,
    finish: tokio::task::JoinHandle<Result<(StepOutput, [Tail; 2]), Error>>,
}

impl Logs {
    fn start(
        engine: &Arc<Engine>,
        tree: &Tree,
        audience: &Audience,
        secrets: &[Zeroizing<Vec<u8>>],
    ) -> Result<Self, Error> {
        let scrubber = Scrubber::new(secrets.iter().map(|secret| secret.as_slice()));
        let combined = Arc::new(Mutex::new(of_store(engine.store.new_log())?));
        let mut ends = Vec::new();
        let mut pumps = Vec::new();
        for stderr in [false, true] {
            let (read, write) =
                rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io_error)?;
            let pump = Pump {
                key: tree.key,
                stderr,
                audience: audience.clone(),
                scrubber: scrubber.clone(),
                own: of_store(engine.store.new_log())?,
                combined: Arc::clone(&combined),
            };
            let pipe = pipe::Receiver::from_owned_fd(read).map_err(io_error)?;
            pumps.push(tokio::spawn(pump.run(pipe)));
            ends.push(write);
        }
        let engine = Arc::clone(engine);
        let finish = tokio::spawn(async move {
            let mut finished: Vec<(LogDraft, Tail)> = Vec::new();
            for pump in pumps {
                finished.push(
                    pump.await
                        .map_err(|error| Error::other("defect", error.to_string()))?
                        .map_err(io_error)?,
                );
            }
            let empty = of_store(engine.store.new_log())?;
            let combined = std::mem::replace(&mut *lock(&combined), empty);
            engine
                .with_store(move |store| {
                    let mut finished = finished.into_iter();
                    let (Some((stdout, out_tail)), Some((stderr, err_tail))) =
                        (finished.next(), finished.next())
                    else {
                        return Err(wharf_store::Error::NotFound("a step's output".to_owned()));
                    };
                    let output = StepOutput {
                        exit_code: 0,
                        stdout: store.publish_log(stdout)?,
                        stderr: store.publish_log(stderr)?,
                        combined: store.publish_log(combined)?,
                    };
                    Ok((output, [out_tail, err_tail]))
                })
                .await
        });
        let mut ends = ends.into_iter();
        match (ends.next(), ends.next()) {
            (Some(stdout), Some(stderr)) => Ok(Self {
                stdout,
                stderr,
                finish,
            }),
            _ => Err(Error::other("defect", "a step has no pipes")),
        }
    }
}

/// The exit code when it counts as done; the failure in words otherwise.
fn judge(step: &Step, exit: &Exit, tails: &[Tail; 2]) -> Result<i32, Error> {
    let exit_code = exit.code();
    let program = step.args.first().map_or("", String::as_str);
    let (reason, always_fails) = match exit {
        Exit::Code(code) => (format!("exit code {code}"), false),
        Exit::Signal(signal) => (format!("ended by signal {signal} (exit code {exit_code})"), false),
        Exit::OutOfMemory => {
            let limit = step
                .limits
                .memory
                .map(|bytes| format!(" (limit {} MiB)", bytes / 1024 / 1024));
            (format!("out of memory{}", limit.unwrap_or_default()), true)
        }
        Exit::NotFound if program.contains('/') => {
            (format!("exec: \"{program}\": no such file or directory"), false)
        }
        Exit::NotFound => (
            format!("exec: \"{program}\": executable file not found in $PATH"),
            false,
        ),
        Exit::NotExecutable => (format!("exec: \"{program}\": permission denied"), false),
        Exit::Cancelled => return Err(Error::Cancelled),
        Exit::TimedOut => {
            let limit = step.timeout.unwrap_or_default();
            return Err(Error::TimedOut(format!(
                "`{}` took longer than {limit:?}",
                wharf_graph::shell_words(&step.args)
            )));
        }
    };
    if step.expect.accepts(exit_code) && !always_fails {
        return Ok(exit_code);
    }
    Err(Error::Exec(Box::new(ExecFailure {
        args: step.args.clone(),
        exit_code,
        reason,
        stdout_tail: tails[0].text(),
        stderr_tail: tails[1].text(),
        log: String::new(),
    })))
}

fn bind(source: &Path, destination: &str, writable: bool) -> Bind {
    Bind {
        source: source.to_string_lossy().into_owned(),
        destination: destination.to_owned(),
        writable,
    }
}

/// Where a mounted file lies while the step runs: in memory, where only the engine can look.
fn file_in(held: &mut Held, path: &str) -> Result<PathBuf, Error> {
    if held.files.is_none() {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        held.files = Some(
            tempfile::Builder::new()
                .prefix("wharf-")
                .tempdir_in(place)
                .map_err(io_error)?,
        );
    }
    let directory = held
        .files
        .as_ref()
        .map(tempfile::TempDir::path)
        .unwrap_or(Path::new("/"));
    Ok(directory.join(path.replace('/', "_")))
}

fn new_file(path: &Path, mode: u32) -> std::io::Result<File> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(file)
}

fn io_error(error: impl Into<std::io::Error>) -> Error {
    Error::other("engine", error.into().to_string())
}

fn runner_error(error: &wharf_runner::Error) -> Error {
    match error {
        wharf_runner::Error::Limit(_) => Error::Invalid(error.to_string()),
        _ => Error::other("runner", error.to_string()),
    }
}
