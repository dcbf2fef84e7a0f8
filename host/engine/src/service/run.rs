//! One service from its start to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use wharf_graph::{
    Error,
    plan::{Port, Provider, Service, Step, Transport},
};
use wharf_proto::v1::{Finished, Kind, Outcome, Ready, Started, event};
use wharf_runner::{Exit, StepIo, StepNetwork};

use super::{Bound, Running, State};
use crate::{
    engine::Engine,
    session::{Audience, lock},
    step::{Outputs, Prepared, failure, io_error, runner_error},
};

/// The signal by which the runner ends a process.
const KILLED: i32 = 9;
/// How long to wait between two looks at a service that is not healthy yet: at first, and at most.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(200)];

impl Engine {
    /// Runs a service until it ends or nobody needs it any more.
    pub(super) async fn serve(self: Arc<Self>, running: Arc<Running>) {
        let outcome = match &running.service.provider {
            Provider::Process { step, start_timeout } => {
                self.serve_process(&running, step, *start_timeout).await
            }
            Provider::Host { host, ports } => self.serve_host(&running, host, ports).await,
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
        start_timeout: Duration,
    ) -> Result<(), Error> {
        let audience = Audience::default();
        audience.join(&running.session);
        let stop = &running.stop;
        let before = async {
            let trees = step.inputs().into_iter().map(|place| place.tree);
            let inputs = self.realize_all(&audience, trees).await?;
            let bound = self.bind(&running.session, &step.services).await?;
            let volumes = self.volumes.acquire(step).await;
            let network = bound.network_of_service(self, step.network).await?;
            let prepared = self.prepare(step, &inputs, &bound, &audience, stop).await?;
            Ok::<_, Error>((bound, network, prepared, volumes))
        };
        let (bound, network, prepared, _volumes) = tokio::select! {
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
        let outcome = self
            .run_process(
                running,
                step,
                prepared,
                &bound,
                &network,
                &audience,
                start_timeout,
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
        start_timeout: Duration,
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
        let cancel = running.stop.child_token();
        let mut run = std::pin::pin!(self.runner.run_in(network, prepared.step, io, cancel.clone()));
        let mut health = std::pin::pin!(healthy(network, &running.service, start_timeout));
        let (mut is_watched, mut why) = (true, None);
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome.map_err(|error| runner_error(&error))?,
                health = &mut health, if is_watched => {
                    is_watched = false;
                    match health {
                        Ok(()) => {
                            let ready = Ready { microseconds: begun.elapsed().as_micros() as u64 };
                            audience.tell(key, &event::What::Ready(ready));
                            running.state.send_replace(State::Ready(Arc::clone(network)));
                        }
                        Err(late) => why = Some(end(&cancel, Why::NotHealthy(late))),
                    }
                }
                error = bound.ended(), if why.is_none() => why = Some(end(&cancel, Why::Needed(error))),
            }
        };
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
        let mut error = match outcome.exit {
            Exit::Cancelled => failure(step, &Exit::Signal(KILLED), &tails),
            exit => failure(step, &exit, &tails),
        };
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

fn end(cancel: &CancellationToken, why: Why) -> Why {
    cancel.cancel();
    why
}

/// Says in other words how a process ended.
fn say(error: &mut Error, words: impl FnOnce(&str) -> String) {
    if let Error::Exec(failure) = error {
        failure.reason = words(&failure.reason);
    }
}

/// Waits until a service answers on all of its ports; in words what does not.
async fn healthy(network: &Arc<StepNetwork>, service: &Service, patience: Duration) -> Result<(), String> {
    let [mut pause, longest] = LOOKS;
    let begun = Instant::now();
    loop {
        let network = Arc::clone(network);
        let listening = tokio::task::spawn_blocking(move || network.listening()).await;
        let listening = listening
            .map_err(std::io::Error::other)
            .and_then(|listening| listening)
            .map_err(|error| io_error(error).to_string())?;
        let answers = |port: &&Port| match port.transport {
            Transport::Tcp => !listening.tcp.contains(&port.number),
            Transport::Udp => !listening.udp.contains(&port.number),
        };
        let silent: Vec<_> = service
            .ports
            .iter()
            .filter(answers)
            .map(Port::to_string)
            .collect();
        if silent.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= patience {
            return Err(format!(
                "the service was not healthy after {patience:?}: nothing listens on {}",
                silent.join(" and ")
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
