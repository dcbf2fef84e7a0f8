//! A stop on the user's terminal: `debug`.

use std::sync::Arc;

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{
    Container, Directory, Error, Node,
    op::Configure,
    read::{Answer, Question},
};
use wharf_manifest::Capability;

use super::convert;
use crate::{
    bindings::wharf::pipeline::{debug, debug_sync, types as wit},
    state::{HasState, Pipeline, State},
};

/// Where a directory is mounted that is looked at.
const PLACE: &str = "/work";

type Outcome = wasmtime::Result<Result<i32, wit::Error>>;

/// A container that a terminal may be opened in.
type Allowed = Result<(Arc<dyn Pipeline>, Arc<Node>), Error>;

impl State {
    fn terminal(&self, container: &Resource<Container>) -> wasmtime::Result<Allowed> {
        let container = self.table.get(container)?;
        let granted = self.held.check_all(Capability::Debug);
        Ok(granted.map(|()| (Arc::clone(&self.pipeline), Arc::clone(container.node()))))
    }

    /// The same, in a directory that is mounted in a container.
    fn terminal_beside(
        &self,
        directory: &Resource<Directory>,
        container: &Resource<Container>,
    ) -> wasmtime::Result<Allowed> {
        let directory = self.table.get(directory)?;
        let container = self.table.get(container)?;
        let container = container.with_mounted_directory(PLACE, directory, None);
        let container = container.configure(Configure::Workdir(PLACE.to_owned()));
        let granted = self.held.check_all(Capability::Debug);
        Ok(granted.map(|()| (Arc::clone(&self.pipeline), Arc::clone(container.node()))))
    }
}

async fn open(allowed: Allowed, command: Vec<String>) -> Outcome {
    let opened = async {
        let (pipeline, node) = allowed?;
        match pipeline.read(&node, Question::Terminal(command)).await? {
            Answer::ExitCode(code) => Ok(code),
            other => Err(Error::other(
                "protocol",
                format!("the engine gave another kind of answer: {other:?}"),
            )),
        }
    };
    Ok(opened.await.map_err(convert::error))
}

impl debug::Host for &mut State {}

impl<T: Send + 'static> debug::HostWithStore<T> for HasState {
    async fn terminal(
        accessor: &Accessor<T, Self>,
        container: Resource<Container>,
        command: Vec<String>,
    ) -> Outcome {
        let allowed = accessor.with(|mut access| access.get().terminal(&container))?;
        open(allowed, command).await
    }

    async fn directory_terminal(
        accessor: &Accessor<T, Self>,
        directory: Resource<Directory>,
        tools: Resource<Container>,
        command: Vec<String>,
    ) -> Outcome {
        let allowed = accessor.with(|mut access| access.get().terminal_beside(&directory, &tools))?;
        open(allowed, command).await
    }
}

impl debug_sync::Host for &mut State {
    async fn terminal(&mut self, container: Resource<Container>, command: Vec<String>) -> Outcome {
        open(State::terminal(self, &container)?, command).await
    }

    async fn directory_terminal(
        &mut self,
        directory: Resource<Directory>,
        tools: Resource<Container>,
        command: Vec<String>,
    ) -> Outcome {
        open(self.terminal_beside(&directory, &tools)?, command).await
    }
}
