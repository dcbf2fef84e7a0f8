//! One run of a module's functions: its session with an engine, what is shown of it meanwhile, and how it ends.

mod pipeline;
mod record;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use wharf_client::{Meanings, Session, SessionOptions};
use wharf_graph::Error;
use wharf_manifest::{Origin, Rights};
use wharf_record::Work;
use wharf_wasm::{CallContext, CallError, Given, Limits, Pipeline, Value};

pub(crate) use self::record::Judged;
use self::{pipeline::ToEngine, record::Keeper};
use crate::{
    engine_choice::EngineSettings,
    error::{Ended, Report},
    interrupt,
    module::Loaded,
    progress::{Progress, Style, Tally},
    terminal::{self, Lender},
};

/// What holds for a whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunOptions {
    /// Run every step although its result is remembered.
    pub(crate) no_cache: bool,
    /// Say for each step why it was remembered or run.
    pub(crate) explain: bool,
    /// Open a shell where a step fails.
    pub(crate) interactive: bool,
    /// What references of images and commits mean.
    pub(crate) meanings: Meanings,
    /// Refuse those that have no meaning there.
    pub(crate) locked: bool,
    /// What is run, for its record.
    pub(crate) work: Work,
}

/// What calls need of the run that they are part of. The run ends when the last clone is gone.
#[derive(Clone)]
pub(crate) struct Within {
    pub(crate) session: Session,
    pub(crate) pipeline: Arc<dyn Pipeline>,
}

impl Within {
    /// What a call of a module's function is given, rights of its own among it.
    pub(crate) fn context(
        &self,
        loaded: &Loaded,
        more: &Rights,
        strict: bool,
        time: Duration,
    ) -> CallContext {
        let usual = match loaded.composition.root().origin {
            Origin::Registry(_) => Given::of_registry(),
            Origin::Path(_) | Origin::Git(..) => Given::own(),
        };
        CallContext {
            pipeline: Arc::clone(&self.pipeline),
            project: loaded.project.clone(),
            scope: loaded.scope.clone(),
            source: loaded.source.clone(),
            given: Given {
                limit: loaded.limit.clone(),
                manifest: loaded.manifest.clone(),
                strict,
                ..usual.and(more)
            },
            limits: Limits {
                time,
                ..Limits::default()
            },
        }
    }

    /// Allows the engine to ask for what an argument names: values of secrets, and connections to this machine.
    pub(crate) fn allow(&self, value: &Value) {
        pipeline::allow(&self.session, value);
    }
}

/// Does the work of a command on a runtime of its own. What still blocks at the end, such as a command that makes a secret,
/// is not waited for.
pub(crate) fn run<T: Judged, W>(
    settings: EngineSettings,
    style: Style,
    options: RunOptions,
    work: impl FnOnce(Within) -> W,
) -> Result<T, Report>
where
    W: Future<Output = Result<T, Report>>,
{
    // One thread: what goes from a module through the session to the socket would wake a thread at each border otherwise.
    // What blocks, such as reading and hashing files, has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Report::failed(format!("this process cannot start its runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let interrupted = interrupt::watch()
            .map_err(|error| Report::failed(format!("this process cannot be told of signals: {error}")))?;
        to_its_end(settings, style, options, &interrupted, work).await
    });
    runtime.shutdown_background();
    terminal::restore();
    outcome
}

async fn to_its_end<T: Judged, W>(
    settings: EngineSettings,
    style: Style,
    options: RunOptions,
    interrupted: &CancellationToken,
    work: impl FnOnce(Within) -> W,
) -> Result<T, Report>
where
    W: Future<Output = Result<T, Report>>,
{
    let mut keeper = Keeper::new(&settings.places, options.work);
    let progress = Progress::start(style, keeper.prices());
    let options = SessionOptions {
        no_cache: options.no_cache,
        explain: options.explain,
        interactive: options.interactive,
        meanings: options.meanings,
        locked: options.locked,
        stat_cache: settings.places.cache.join("files"),
        logins: None,
    };
    let settings = Arc::new(settings);
    // Modules see that the engine is unavailable; whoever started the run is told what to do about it.
    let unreached: Arc<Mutex<Option<Report>>> = Arc::default();
    let noted = Arc::clone(&unreached);
    let connector = Box::new(move || {
        let (settings, noted) = (Arc::clone(&settings), Arc::clone(&noted));
        async move {
            let connection = settings.connect().await;
            connection.inspect_err(|error| {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Report::from(error));
            })
        }
        .boxed()
    });
    let session = Session::new(connector, options, progress.events.clone());
    session.offer_targets(Box::new(crate::targets::find));
    session.offer_docker(Box::new(|name, to| pipeline::save_image(name, to).boxed()));
    keeper.masks(session.secrets_read());
    let lender = Lender::new(progress.stage.clone());
    session.offer_terminal(lender.terminals());
    let pipeline: Arc<dyn Pipeline> =
        Arc::new(ToEngine::new(session.clone(), progress.words.clone(), lender));
    let ending = progress.ending();
    let outcome = tokio::select! {
        outcome = work(Within { session, pipeline }) => outcome,
        () = interrupted.cancelled() => Err(Report::from(Error::Cancelled)),
    };
    // The run is over when its last session is gone; its last events come then.
    let tally = ending.tally().await;
    let outcome = told(outcome, &tally, &unreached, style);
    keeper.keep(&tally, &outcome);
    outcome
}

/// The outcome as whoever started the run is told of it.
fn told<T>(
    outcome: Result<T, Report>,
    tally: &Tally,
    unreached: &Mutex<Option<Report>>,
    style: Style,
) -> Result<T, Report> {
    match outcome {
        Err(report) if report.ended() == Ended::Interrupted => Err(interruption(tally)),
        Err(report) if report.ended() == Ended::Unreachable => {
            let unreached = unreached.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(unreached.unwrap_or(report))
        }
        // The picture keeps what a failed step printed, above: it is not said twice.
        Err(report) if style.is_live() && tally.totals().failed > 0 => Err(report.without_log()),
        outcome => outcome,
    }
}

/// What an interruption cut short.
fn interruption(tally: &Tally) -> Report {
    let stopped = tally.cut_short();
    if stopped.is_empty() {
        return Report::new(Ended::Interrupted, "interrupted; no step was running");
    }
    let list: String = stopped.iter().map(|title| format!("  {title}\n")).collect();
    Report::new(Ended::Interrupted, "interrupted; what ran was stopped:").with_detail(list)
}

impl From<CallError> for Report {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(error) => error.into(),
            CallError::NoFunction { .. } | CallError::Argument(_) => Self::usage(error.to_string()),
            CallError::Message(_) | CallError::Trap { .. } => Self::failed(error.to_string()),
            CallError::Load(error) => error.into(),
        }
    }
}
