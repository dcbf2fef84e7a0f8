//! Running one step: from a plan and the trees it works on to a new layer, an exit code and logs.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use tokio_util::sync::CancellationToken;
use wharf_graph::{
    Error, ExecFailure,
    op::{Mount, Network, Stdin},
    plan::{Step, Tree},
};
use wharf_store::Snapshot;

use crate::{
    engine::Engine,
    evaluate::{Made, StepOutput},
    log::{self, Scrubber},
    session::Audience,
};

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
        todo!()
    }
}
