//! Programs on the user's terminal: in a container when a pipeline asks for it, and where a step failed when the user does.
//!
//! When a program is ready to run the client is asked for its terminal, and gives it when no other program has it. What is typed
//! and shown passes through a call of its own, which ends with the program, and the program with it.

mod pump;

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wharf_digest::Digest;
use wharf_graph::{
    Error,
    plan::{ContainerPlan, Step},
    read::Answer,
};
use wharf_proto::v1::{
    TerminalDown, TerminalRequest, TerminalTaken, TerminalUp, session_down, terminal_down,
};
use wharf_runner::{Console, Exit, Overlay, TerminalSize};
use wharf_scrub::Scrubber;
use wharf_store::{LayerDraft, Store};
use zeroize::Zeroizing;

use self::pump::{End, pump};
use crate::{
    audience::Audience,
    egress::Connected,
    engine::Engine,
    service::Bound,
    session::{Session, lock},
    step::{Held, Left, Prepared, failure, runner_error},
};

/// What runs where a step failed, and in a container when nothing else is named.
const SHELL: &str = "sh";
/// The kind of terminals that do not say theirs.
const USUAL_KIND: &str = "xterm";
/// How long a program's last output may take once it has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client's terminal, taken for one program.
pub(crate) struct Taken {
    size: TerminalSize,
    kind: String,
    up: Streaming<TerminalUp>,
    down: mpsc::Sender<Result<TerminalDown, Status>>,
}

impl Taken {
    pub(crate) fn new(
        taken: TerminalTaken,
        up: Streaming<TerminalUp>,
        down: mpsc::Sender<Result<TerminalDown, Status>>,
    ) -> Self {
        let is_plain = |kind: &String| {
            !kind.is_empty()
                && kind
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
        };
        Self {
            size: pump::size(taken.size.unwrap_or_default()),
            kind: Some(taken.kind)
                .filter(is_plain)
                .unwrap_or_else(|| USUAL_KIND.to_owned()),
            up,
            down,
        }
    }
}

/// Programs that wait for their client's terminal.
#[derive(Default)]
pub(crate) struct Terminals {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Taken, String>>>>,
    next: AtomicU64,
}

impl Terminals {
    /// Gives up on every terminal that was asked for.
    pub(crate) fn clear(&self) {
        lock(&self.waiting).clear();
    }
}

impl Session {
    /// Asks the client for its terminal and waits until it is this program's.
    async fn terminal(&self, program: &str, failed: Option<(&Step, &Error)>) -> Result<Taken, Error> {
        let (answer, answered) = oneshot::channel();
        let request = self.terminals.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.terminals.waiting).insert(request, answer);
        let (failed, reason) = failed.map(|(step, error)| (step.title(), how(error))).unzip();
        self.send(session_down::Message::Terminal(TerminalRequest {
            request,
            program: program.to_owned(),
            failed: failed.unwrap_or_default(),
            reason: reason.unwrap_or_default(),
        }));
        match answered.await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(why)) => Err(Error::other("no-terminal", why)),
            Err(_) => Err(Error::Cancelled),
        }
    }

    /// Passes the client's answer to the program that waits for it.
    pub(crate) fn terminal_answered(&self, request: u64, outcome: Result<Taken, String>) {
        if let Some(waiting) = lock(&self.terminals.waiting).remove(&request) {
            waiting.send(outcome).ok();
        }
    }
}

/// How a step failed, without its command.
fn how(error: &Error) -> String {
    match error {
        Error::Exec(failure) => failure.reason.clone(),
        other => other.to_string(),
    }
}

impl Engine {
    /// Runs a program on the client's terminal, in a container as a step would run there; what it writes is thrown away.
    pub(crate) async fn answer_terminal(
        self: &Arc<Self>,
        session: &Arc<Session>,
        container: &ContainerPlan,
        command: &[String],
    ) -> Result<Answer, Error> {
        let shell = [SHELL.to_owned()];
        let step = container.program(if command.is_empty() { &shell } else { command })?;
        let audience = Audience::of(session);
        let cancel = CancellationToken::new();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        let trees = step.inputs().into_iter().map(|place| place.tree);
        let inputs = self.realize_all(&audience, trees).await?;
        let bound = self.bind(session, &step.services).await?;
        let _volumes = self.volumes.acquire(&step).await;
        let gpus = self.lease_gpus(&step).await?;
        let Prepared {
            step: runner_step,
            draft,
            held,
            ..
        } = Box::pin(self.prepare(&step, &inputs, &bound, &gpus, &audience, &cancel)).await?;
        let program = Program {
            network: bound
                .network(self, &step.network, Digest::ZERO, &audience)
                .await?,
            step: runner_step,
            secrets: &held.secrets,
        };
        let talk = async |cancel: &CancellationToken| {
            let taken = session
                .terminal(&wharf_graph::shell_words(&step.args), None)
                .await?;
            program.on(taken, self, cancel).await
        };
        let exit = bound.while_up(&cancel, talk).await?;
        drop((held, draft));
        match exit {
            Exit::Code(_) | Exit::Signal(_) => Ok(Answer::ExitCode(exit.code())),
            exit => Err(failure(&step, &exit, &Default::default())),
        }
    }

    /// Opens a shell where a step failed, for those of its audience who want one: as the step ran, in what it left.
    pub(crate) async fn look_around(
        self: &Arc<Self>,
        step: &Step,
        left: Left,
        error: &Error,
        bound: &Bound,
        audience: &Audience,
        cancel: &CancellationToken,
    ) {
        let Some(session) = audience
            .sessions()
            .into_iter()
            .find(|session| session.interactive)
        else {
            return;
        };
        let look = async {
            let taken = session.terminal(SHELL, Some((step, error))).await?;
            let down = taken.down.clone();
            let outcome = self.look_with(step, left, bound, audience, taken, cancel).await;
            if let Err(error) = &outcome {
                let failed = terminal_down::Message::Failed(error.to_string());
                let message = Some(failed);
                down.send(Ok(TerminalDown { message })).await.ok();
            }
            outcome
        };
        tokio::select! {
            outcome = look => if let Err(error) = outcome {
                tracing::debug!("no shell where a step failed: {error}");
            },
            () = cancel.cancelled() => {}
        }
    }

    async fn look_with(
        self: &Arc<Self>,
        step: &Step,
        left: Left,
        bound: &Bound,
        audience: &Audience,
        taken: Taken,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let (mut runner_step, held, _drafts) = self.with_store(move |store| left.looked_at(store)).await?;
        runner_step.timeout = None;
        if let Some(process) = runner_step.spec.process_mut() {
            process.set_args(Some(vec![SHELL.to_owned()]));
        }
        let program = Program {
            network: bound.network(self, &step.network, Digest::ZERO, audience).await?,
            step: runner_step,
            secrets: &held.secrets,
        };
        match program.on(taken, self, cancel).await? {
            Exit::Code(_) | Exit::Signal(_) => Ok(()),
            _ => Err(Error::Invalid(format!("there is no `{SHELL}` in the container"))),
        }
    }
}

impl Left {
    /// The same step over layers of its own, above what it has written; these, and what else has to stay meanwhile.
    fn looked_at(
        self,
        store: &Store,
    ) -> Result<(wharf_runner::Step, Held, Vec<LayerDraft>), wharf_store::Error> {
        let Self {
            mut step,
            draft,
            held,
        } = self;
        let mut drafts = vec![draft];
        let overlays = step.mounts.iter_mut().map(|mount| &mut mount.overlay);
        for overlay in std::iter::once(&mut step.root).chain(overlays) {
            drafts.extend(above(store, overlay)?);
        }
        Ok((step, held, drafts))
    }
}

/// Has changes go to a layer of its own, above where they went before: what another mount has written to cannot be written
/// to again.
fn above(store: &Store, overlay: &mut Overlay) -> Result<Option<LayerDraft>, wharf_store::Error> {
    let Some((written, _)) = overlay.upper.take() else {
        return Ok(None);
    };
    let draft = store.new_layer_over(Some(&written))?;
    overlay.lowers.insert(0, written);
    overlay.upper = Some((draft.path(), draft.work()));
    Ok(Some(draft))
}

/// A program that is ready to run on a terminal.
struct Program<'p> {
    step: wharf_runner::Step,
    network: Option<Connected>,
    secrets: &'p [Zeroizing<Vec<u8>>],
}

impl Program<'_> {
    /// Runs it until it ends, or the client is gone.
    async fn on(self, taken: Taken, engine: &Engine, cancel: &CancellationToken) -> Result<Exit, Error> {
        let Self {
            mut step,
            network,
            secrets,
        } = self;
        let Taken { size, kind, up, down } = taken;
        name_kind(&mut step, &kind);
        let kill = cancel.child_token();
        let _kill_when_dropped = kill.clone().drop_guard();
        let (opened, open) = oneshot::channel::<OwnedFd>();
        let console = Console { size, opened };
        let run = engine
            .runner
            .run_on_terminal(network.as_deref().cloned(), step, console, kill.clone());
        let scrubber = Scrubber::new(secrets.iter().map(|secret| secret.as_slice()));
        let talk = async {
            match open.await {
                Ok(terminal) => pump(terminal, up, down, scrubber).await,
                // It could not be made; the run says why.
                Err(_) => End::OfTerminal,
            }
        };
        let mut run = std::pin::pin!(run);
        let mut talk = std::pin::pin!(talk);
        let mut has_ended = false;
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome,
                end = &mut talk, if !has_ended => {
                    has_ended = true;
                    if end == End::OfClient {
                        kill.cancel();
                    }
                }
            }
        };
        if !has_ended {
            tokio::time::timeout(PATIENCE, talk).await.ok();
        }
        outcome
            .map(|outcome| outcome.exit)
            .map_err(|error| runner_error(&error))
    }
}

/// Tells a program on what kind of terminal it runs, unless the container says something else.
fn name_kind(step: &mut wharf_runner::Step, kind: &str) {
    let Some(process) = step.spec.process_mut() else {
        return;
    };
    let mut env = process.env().clone().unwrap_or_default();
    if !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push(format!("TERM={kind}"));
    }
    process.set_env(Some(env));
}
