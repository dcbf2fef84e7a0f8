//! Running one step: from a plan and the trees it works on to a new layer, an exit code and logs.

mod mounts;
mod outputs;

use std::{
    fs::File,
    io::{Seek, Write},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use mounts::bind;
pub(crate) use outputs::Outputs;
use outputs::redirect;
use tokio_util::sync::CancellationToken;
use wharf_graph::{
    Error, ExecFailure,
    op::{Mount, Network, Stdin},
    plan::{Step, Tree},
};
use wharf_runner::{
    Exit, Overlay, StepIo, StepOutcome,
    passwd::User,
    spec::{self, Process},
};
use wharf_store::{LayerDraft, Pin, Snapshot, Spent, VolumeId};
use zeroize::Zeroizing;

use crate::{
    audience::Audience,
    egress::network_mode,
    engine::Engine,
    evaluate::{Made, record},
    gpu::Leased,
    image::of_store,
    log::Tail,
    service::Bound,
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
pub(crate) struct Held {
    drafts: Vec<LayerDraft>,
    /// What is mounted in several places is taken once, except for private ones.
    volumes: Vec<(VolumeId, wharf_store::CacheVolume)>,
    pins: Vec<Pin>,
    pub(crate) secrets: Vec<Zeroizing<Vec<u8>>>,
    files: Option<tempfile::TempDir>,
}

/// A process that is ready to run.
pub(crate) struct Prepared {
    pub(crate) step: wharf_runner::Step,
    pub(crate) stdin: OwnedFd,
    /// What it writes.
    pub(crate) draft: LayerDraft,
    pub(crate) held: Held,
}

/// What a failed step leaves to whoever wants to look at it: the step, what it has written, and what it needed.
pub(crate) struct Left {
    pub(crate) step: wharf_runner::Step,
    pub(crate) draft: LayerDraft,
    pub(crate) held: Held,
}

/// What is known of a step once it has ended, however it did.
#[derive(Default)]
pub(crate) struct After {
    /// What is left of one that failed, when somebody wants to look at it.
    pub(crate) left: Option<Box<Left>>,
    pub(crate) used: Used,
}

/// What a process used, where it was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// Processor time in microseconds.
    pub(crate) cpu_us: Option<u64>,
    /// The most memory at once, in bytes.
    pub(crate) peak_memory: Option<u64>,
}

impl From<&StepOutcome> for Used {
    fn from(outcome: &StepOutcome) -> Self {
        Self {
            cpu_us: outcome.cpu_us,
            peak_memory: outcome.peak_memory,
        }
    }
}

/// What a step stands on.
struct Ground {
    user: User,
    /// The directories of its root file system, the highest first.
    lowers: Vec<PathBuf>,
    draft: LayerDraft,
}

impl Engine {
    /// Runs a step whose inputs are made, and remembers its result. When it fails and somebody wants to look at what is left of
    /// it, that is put into `after`, as what it used is.
    #[allow(clippy::too_many_arguments)]
    pub(crate) async fn run_step(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        step: &Step,
        inputs: &[Arc<Made>],
        bound: &Bound,
        gpus: &Leased,
        audience: &Audience,
        cancel: &CancellationToken,
        after: &mut After,
    ) -> Result<Arc<Made>, Error> {
        self.running_steps.fetch_add(1, Ordering::Relaxed);
        let outcome = self
            .run_step_counted(tree, step, inputs, bound, gpus, audience, cancel, after)
            .await;
        self.running_steps.fetch_sub(1, Ordering::Relaxed);
        outcome
    }

    #[allow(clippy::too_many_arguments)]
    async fn run_step_counted(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        step: &Step,
        inputs: &[Arc<Made>],
        bound: &Bound,
        gpus: &Leased,
        audience: &Audience,
        cancel: &CancellationToken,
        after: &mut After,
    ) -> Result<Arc<Made>, Error> {
        let started = Instant::now();
        if let Some(lack) = wharf_runner::ordinary::one_id() {
            audience.tell_once(tree.key, &lack);
        }
        let root = inputs[0].snapshot.clone();
        let prepared = self.prepare(step, inputs, bound, gpus, audience, cancel).await?;
        let Prepared {
            step: runner_step,
            stdin,
            draft,
            held,
        } = prepared;
        let (stdout, stderr, reading) =
            Outputs::open(&self.store, tree.key, audience, &held.secrets)?.split();
        let io = StepIo {
            stdin,
            stdout,
            stderr,
        };
        let to_look_at = audience.is_interactive().then(|| Box::new(runner_step.clone()));
        let network = bound.network(self, &step.network, tree.key, audience).await?;
        let outcome = match network {
            None => self.runner.run(runner_step, io, cancel.clone()).await,
            Some(network) => {
                self.runner
                    .run_in(&network, runner_step, io, cancel.clone())
                    .await
            }
        };
        let outcome = outcome.map_err(|error| runner_error(&error))?;
        let used = Used::from(&outcome);
        after.used = used;
        let gpus = gpus.count();
        let printed = reading.end().await?;
        match judge(step, &outcome.exit, &printed.tails) {
            Ok(exit_code) => {
                drop(held);
                let (tree, inputs) = (Arc::clone(tree), inputs.to_vec());
                self.with_store(move |store| {
                    let output = printed.publish(store, exit_code)?;
                    let layer = store.publish(draft)?;
                    let made = Made {
                        snapshot: match tree.step() {
                            Some(step) => redirect(store, step, root.with(layer), &output)?,
                            None => root.with(layer),
                        },
                        output: Some(output),
                        spent: Spent {
                            duration_us: started.elapsed().as_micros() as u64,
                            cpu_us: used.cpu_us,
                            peak_memory: used.peak_memory,
                            gpus,
                        },
                    };
                    store.put_result(&record(&tree, &inputs, &made))?;
                    Ok(Arc::new(made))
                })
                .await
            }
            Err(error) => {
                if error != Error::Cancelled {
                    after.left = to_look_at.map(|step| {
                        Box::new(Left {
                            step: *step,
                            draft,
                            held,
                        })
                    });
                }
                let exit_code = outcome.exit.code();
                let output = self
                    .with_store(move |store| printed.publish(store, exit_code))
                    .await?;
                Err(self.with_log(error, &output).await)
            }
        }
    }

    /// Brings about what a process needs before it runs.
    #[allow(clippy::too_many_arguments)]
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        step: &Step,
        inputs: &[Arc<Made>],
        bound: &Bound,
        gpus: &Leased,
        audience: &Audience,
        cancel: &CancellationToken,
    ) -> Result<Prepared, Error> {
        let root = inputs[0].snapshot.clone();
        let mut held = Held::default();
        held.pins
            .extend(inputs.iter().map(|made| self.store.pin(&made.snapshot)));
        let ground = self.ground(&root, &step.user).await?;
        let mut process = self.process(step, ground.user)?;
        let mounts = self
            .mounts(step, inputs, &root, audience, cancel, &mut process, &mut held)
            .await?;
        gpus.give_to(&mut process);
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
        let draft = ground.draft;
        let step = wharf_runner::Step {
            spec: spec::docker_like(&process).map_err(|error| runner_error(&error))?,
            root: Overlay {
                lowers: ground.lowers,
                upper: Some((draft.path(), draft.work())),
            },
            mounts,
            network: network_mode(&step.network),
            hosts: bound.hosts(),
            timeout: step.timeout,
            private: secret_files(step),
        };
        Ok(Prepared {
            step,
            stdin,
            draft,
            held,
        })
    }

    /// What a step stands on, in one visit to the store.
    async fn ground(self: &Arc<Self>, root: &Snapshot, user: &str) -> Result<Ground, Error> {
        let (engine, root, user) = (Arc::clone(self), root.clone(), user.to_owned());
        self.with_store(move |store| {
            let user = engine.users.find(store, &root, &user)?;
            Ok(user.and_then(|user| {
                Ok(Ground {
                    user,
                    lowers: of_store(store.lower_paths(&root))?,
                    draft: of_store(store.new_layer(&root))?,
                })
            }))
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
        if let (Network::All | Network::Hosts(_), Some(bundle)) = (&step.network, &self.ca_bundle) {
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
            devices: Vec::new(),
            temporary: Vec::new(),
            memory: step.limits.memory,
            millicpus: step.limits.millicpus,
            pids: step.limits.pids,
        })
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
}

/// Where a step finds secrets.
fn secret_files(step: &Step) -> Vec<String> {
    let secrets = step
        .mounts
        .iter()
        .filter(|(_, mount)| matches!(mount, Mount::Secret { .. }));
    secrets.map(|(path, _)| path.clone()).collect()
}

/// The exit code when it counts as done; the failure in words otherwise.
fn judge(step: &Step, exit: &Exit, tails: &[Tail; 2]) -> Result<i32, Error> {
    let always_fails = matches!(exit, Exit::OutOfMemory | Exit::Cancelled | Exit::TimedOut);
    if step.expect.accepts(exit.code()) && !always_fails {
        return Ok(exit.code());
    }
    Err(failure(step, exit, tails))
}

/// How a process ended, in words, with the end of what it printed.
pub(crate) fn failure(step: &Step, exit: &Exit, tails: &[Tail; 2]) -> Error {
    let exit_code = exit.code();
    let program = step.args.first().map_or("", String::as_str);
    let reason = match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("ended by signal {signal} (exit code {exit_code})"),
        Exit::OutOfMemory => {
            let limit = step
                .limits
                .memory
                .map(|bytes| format!(" (limit {} MiB)", bytes / 1024 / 1024));
            format!("out of memory{}", limit.unwrap_or_default())
        }
        Exit::NotFound if program.contains('/') => {
            format!("exec: \"{program}\": no such file or directory")
        }
        Exit::NotFound => format!("exec: \"{program}\": executable file not found in $PATH"),
        Exit::NotExecutable => format!("exec: \"{program}\": permission denied"),
        Exit::Cancelled => return Error::Cancelled,
        Exit::TimedOut => {
            let limit = step.timeout.unwrap_or_default();
            return Error::TimedOut(format!(
                "`{}` took longer than {limit:?}",
                wharf_graph::shell_words(&step.args)
            ));
        }
    };
    Error::Exec(Box::new(ExecFailure {
        args: step.args.clone(),
        exit_code,
        reason,
        stdout_tail: tails[0].text(),
        stderr_tail: tails[1].text(),
        log: String::new(),
    }))
}

pub(crate) fn io_error(error: impl Into<std::io::Error>) -> Error {
    Error::other("engine", error.into().to_string())
}

pub(crate) fn runner_error(error: &wharf_runner::Error) -> Error {
    match error {
        wharf_runner::Error::Limit(_) => Error::Invalid(error.to_string()),
        wharf_runner::Error::Elsewhere(words) => Error::other("unsupported", words.clone()),
        _ => Error::other("runner", error.to_string()),
    }
}
