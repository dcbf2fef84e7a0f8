//! One service from its start to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use wharf_graph::{
    Error,
    plan::{HealthCheck, Provider, Step},
};
use wharf_proto::v1::{Finished, Kind, Outcome, Ready, Started, event};
use wharf_runner::{Exit, Remote, StepIo, StepNetwork};

use super::{Bound, Running, State, health::Patient};
use crate::{
    audience::Audience,
    engine::Engine,
    session::{Session, lock},
    step::{Outputs, Prepared, Used, failure, runner_error},
};

/// The signal by which the runner ends a process.
const KILLED: i32 = 9;
/// How long a service that was asked to end may take before it is ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same when somebody waits for its end: its run is over or interrupted, or it has failed already.
const HASTE: Duration = Duration::from_millis(500);

/// How a service's process is treated.
#[derive(Clone, Copy)]
struct Treatment<'t> {
    check: Option<&'t HealthCheck>,
    start_timeout: Duration,
    stop_signal: i32,
}

impl Engine {
    /// Runs a service until it ends or nobody needs it any more.
    pub(super) async fn serve(self: Arc<Self>, running: Arc<Running>) {
        let outcome = match &running.service.provider {
            Provider::Process {
                step,
                check,
                start_timeout,
                stop_signal,
            } => {
                let treatment = Treatment {
                    check: check.as_ref(),
                    start_timeout: *start_timeout,
                    stop_signal: *stop_signal,
                };
                self.serve_process(&running, step, treatment).await
            }
            Provider::Host { host, ports, .. } => self.serve_host(&running, host, ports).await,
        };
        self.services.forget(&running);
        let error = match outcome {
            Ok(()) => Error::Unavailable(format!("the service {} was stopped", running.service.title())),
            Err(error) => error,
        };
        running.state.send_replace(State::Ended(error));
    }

    async fn serve_process(
        self: &Arc<Self>,
        running: &Arc<Running>,
        step: &Step,
        treatment: Treatment<'_>,
    ) -> Result<(), Error> {
        let audience = Audience::default();
        audience.join(&running.session);
        let stop = &running.stop;
        let before = async {
            let trees = step.inputs().into_iter().map(|place| place.tree);
            let inputs = self.realize_all(&audience, trees).await?;
            let bound = self.bind(&running.session, &step.services).await?;
            let volumes = self.volumes.acquire(step).await;
            let gpus = self.lease_gpus(step).await?;
            let key = running.service.key;
            let network = bound
                .network_of_service(self, &step.network, key, &audience)
                .await?;
            let prepared = self
                .prepare(step, &inputs, &bound, &gpus, &audience, stop)
                .await?;
            Ok::<_, Error>((bound, network, prepared, volumes, gpus))
        };
        let (bound, network, prepared, _volumes, gpus) = tokio::select! {
            before = Box::pin(before) => before?,
            () = stop.cancelled() => return Ok(()),
        };
        let begun = Instant::now();
        let key = running.service.key;
        let started = Started {
            title: running.service.title(),
            kind: Kind::Service.into(),
        };
        audience.tell(key, &event::What::Started(started));
        let mut used = Used::default();
        let outcome = self
            .run_process(
                running, step, prepared, &bound, &network, &audience, treatment, &mut used,
            )
            .await;
        let (word, error) = match &outcome {
            Ok(()) if running.session.cancelled.is_cancelled() => (Outcome::Cancelled, String::new()),
            Ok(()) => (Outcome::Done, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        let finished = Finished {
            outcome: word.into(),
            microseconds: begun.elapsed().as_micros() as u64,
            error,
            gpus: gpus.count(),
            cpu_microseconds: used.cpu_us,
            peak_memory: used.peak_memory,
        };
        audience.tell(key, &event::What::Finished(finished));
        outcome
    }

    #[allow(clippy::too_many_arguments)]
    async fn run_process(
        self: &Arc<Self>,
        running: &Arc<Running>,
        step: &Step,
        prepared: Prepared,
        bound: &Bound,
        network: &Arc<StepNetwork>,
        audience: &Audience,
        treatment: Treatment<'_>,
        used: &mut Used,
    ) -> Result<(), Error> {
        let key = running.service.key;
        let (stdout, stderr, reading) =
            Outputs::open(&self.store, key, audience, &prepared.held.secrets)?.split();
        *lock(&running.log) = Some(reading.so_far());
        let io = StepIo {
            stdin: prepared.stdin,
            stdout,
            stderr,
        };
        let begun = Instant::now();
        let (remote, asks) = Remote::new();
        let kill = CancellationToken::new();
        let mut run = std::pin::pin!(
            self.runner
                .run_asked(network, prepared.step, io, kill.clone(), asks)
        );
        let patient = Patient {
            service: &running.service,
            network,
            remote: &remote,
            secrets: &prepared.held.secrets,
        };
        let mut health = std::pin::pin!(patient.healthy(treatment.check, treatment.start_timeout));
        let (failed, mut is_watched, mut why) = (CancellationToken::new(), true, None);
        let mut ending = std::pin::pin!(async {
            let patience = tokio::select! {
                () = running.stop.cancelled() => PATIENCE,
                () = failed.cancelled() => HASTE,
            };
            remote.signal(treatment.stop_signal);
            take_time(patience, &running.session).await;
            kill.cancel();
            std::future::pending::<()>().await;
        });
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome.map_err(|error| runner_error(&error))?,
                () = &mut ending => {}
                health = &mut health, if is_watched => {
                    is_watched = false;
                    match health {
                        Ok(()) => {
                            let ready = Ready { microseconds: begun.elapsed().as_micros() as u64 };
                            audience.tell(key, &event::What::Ready(ready));
                            running.state.send_replace(State::Ready(Arc::clone(network)));
                        }
                        Err(late) => why = Some(end(&failed, Why::NotHealthy(late))),
                    }
                }
                error = bound.ended(), if why.is_none() => why = Some(end(&failed, Why::Needed(error))),
            }
        };
        *used = Used::from(&outcome);
        let mut printed = reading.end().await?;
        let tails = std::mem::take(&mut printed.tails);
        let exit_code = outcome.exit.code();
        let output = self
            .with_store(move |store| printed.publish(store, exit_code))
            .await?;
        lock(&running.log).take();
        lock(&self.services.logs).insert(running.id, output.combined);
        if running.stop.is_cancelled() && why.is_none() {
            self.keep_log(&output, exit_code).await;
            return Ok(());
        }
        let exit = match outcome.exit {
            // What we have ended ourselves has failed, whatever it makes of it.
            _ if why.is_some() => Exit::Signal(KILLED),
            Exit::Cancelled => Exit::Signal(KILLED),
            exit => exit,
        };
        let mut error = failure(step, &exit, &tails);
        match why {
            Some(Why::Needed(error)) => return Err(error),
            Some(Why::NotHealthy(late)) => say(&mut error, |_| late),
            None => say(&mut error, |how| {
                format!("the service ended while it was needed: {how}")
            }),
        }
        Err(self.with_log(error, &output).await)
    }
}

/// Why a service is ended although it is needed.
enum Why {
    NotHealthy(String),
    Needed(Error),
}

fn end(failed: &CancellationToken, why: Why) -> Why {
    failed.cancel();
    why
}

/// Lets this much time pass, and less when the run comes to its end meanwhile.
async fn take_time(patience: Duration, session: &Session) {
    let over = async {
        session.cancelled.cancelled().await;
        tokio::time::sleep(HASTE).await;
    };
    tokio::select! {
        () = tokio::time::sleep(patience) => {}
        () = over => {}
    }
}

/// Says in other words how a process ended.
fn say(error: &mut Error, words: impl FnOnce(&str) -> String) {
    if let Error::Exec(failure) = error {
        failure.reason = words(&failure.reason);
    }
}
