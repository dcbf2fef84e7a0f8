//! Where steps run: in containers that the engine makes itself, or in containers of a Docker daemon.

use std::{path::PathBuf, sync::Arc};

use tokio_util::sync::CancellationToken;
use wharf_runner::{
    Asks, Console, FilterSockets, NetworkMode, Result, Runner, Step, StepIo, StepNetwork, StepOutcome,
};

use crate::containers::{Containers, lacks};

/// Runs steps.
#[derive(Debug)]
pub(crate) enum Runs {
    /// In containers of its own.
    Own(Box<Runner>),
    /// In a daemon's.
    Docker(Box<Containers>),
}

impl Runs {
    /// What cannot be done here, in words.
    pub(crate) fn missing(&self) -> Vec<String> {
        match self {
            Self::Own(runner) => runner.missing(),
            Self::Docker(_) => Containers::missing(),
        }
    }

    /// Where files for steps can lie while they run.
    pub(crate) fn scratch(&self) -> PathBuf {
        match self {
            Self::Own(runner) => runner.scratch(),
            Self::Docker(containers) => containers.scratch(),
        }
    }

    /// Ends every step that still runs.
    pub(crate) async fn shutdown(&self) {
        match self {
            Self::Own(runner) => runner.shutdown().await,
            Self::Docker(containers) => containers.shutdown().await,
        }
    }

    /// Removes what belongs to cache volumes that are forgotten.
    pub(crate) async fn pruned(&self) {
        if let Self::Docker(containers) = self {
            containers.pruned().await;
        }
    }

    /// Runs a step to its end. Cancelling, or dropping the future, ends every process of it.
    pub(crate) async fn run(&self, step: Step, io: StepIo, cancel: CancellationToken) -> Result<StepOutcome> {
        match self {
            Self::Own(runner) => runner.run(step, io, cancel).await,
            Self::Docker(containers) => Box::pin(containers.run(step, io, cancel)).await,
        }
    }

    /// The same in a network that was made before, as [`Self::network`] makes them.
    pub(crate) async fn run_in(
        &self,
        network: &Arc<StepNetwork>,
        step: Step,
        io: StepIo,
        cancel: CancellationToken,
    ) -> Result<StepOutcome> {
        self.own("have a network of services")?
            .run_in(network, step, io, cancel)
            .await
    }

    /// The same, with somebody who may ask things of the step while it runs.
    pub(crate) async fn run_asked(
        &self,
        network: &Arc<StepNetwork>,
        step: Step,
        io: StepIo,
        cancel: CancellationToken,
        asks: Asks,
    ) -> Result<StepOutcome> {
        self.own("run services")?
            .run_asked(network, step, io, cancel, asks)
            .await
    }

    /// The same on a terminal.
    pub(crate) async fn run_on_terminal(
        &self,
        network: Option<Arc<StepNetwork>>,
        step: Step,
        console: Console,
        cancel: CancellationToken,
    ) -> Result<StepOutcome> {
        self.own("open a terminal")?
            .run_on_terminal(network, step, console, cancel)
            .await
    }

    /// A network of this mode that also reaches, and is reached by, each of these.
    pub(crate) async fn network(
        &self,
        mode: NetworkMode,
        services: Vec<Arc<StepNetwork>>,
    ) -> Result<Arc<StepNetwork>> {
        let what = if mode == NetworkMode::Filtered {
            "reach some hosts alone"
        } else {
            "run or use services"
        };
        self.own(what)?.network(mode, services).await
    }

    /// Opens the sockets that take what steps with a filtered network send.
    pub(crate) async fn filter_sockets(&self) -> Result<FilterSockets> {
        self.own("reach some hosts alone")?.filter_sockets().await
    }

    fn own(&self, what: &str) -> Result<&Runner> {
        match self {
            Self::Own(runner) => Ok(runner),
            Self::Docker(_) => Err(lacks(what)),
        }
    }
}
