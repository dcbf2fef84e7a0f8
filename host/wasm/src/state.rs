//! What a call holds: its handles, its bounds, and the way out to the engine.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wharf_graph::{
    Container, Error, Node,
    op::{HostPort, SecretId},
    publish::PublishOptions,
    read::{Answer, Question},
};

use crate::limits::Meter;

/// How loud a module's word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Maybe wrong.
    Warn,
    /// Wrong.
    Error,
}

/// What a module's reads and effects reach: an engine's session, or whatever a test puts there.
pub trait Pipeline: Send + Sync {
    /// Asks a question of a node.
    fn read<'a>(&'a self, node: &'a Arc<Node>, question: Question) -> BoxFuture<'a, Result<Answer, Error>>;
    /// Writes a directory's contents to the user's disk.
    fn export_directory<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>>;
    /// Writes a file to the user's disk.
    fn export_file<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>>;
    /// Writes a container as an archive to the user's disk.
    fn export_container<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>>;
    /// Loads a container into the user's Docker under a name; returns the image's id.
    fn load<'a>(&'a self, node: &'a Arc<Node>, name: &'a str) -> BoxFuture<'a, Result<String, Error>>;
    /// Pushes a container to a registry; returns its reference with its digest.
    fn publish<'a>(
        &'a self,
        container: &'a Container,
        reference: &'a str,
        options: &'a PublishOptions,
    ) -> BoxFuture<'a, Result<String, Error>>;
    /// Allows the engine to ask for a secret's value.
    fn allow_secret(&self, secret: &SecretId);
    /// Allows the engine to ask for connections to a port that the user's machine knows.
    fn allow_dial(&self, host: &str, port: u16);
    /// Lets programs of the user's machine reach a service, until it ends.
    fn up<'a>(&'a self, service: &'a Arc<Node>, ports: &'a [HostPort]) -> BoxFuture<'a, Result<(), Error>>;
    /// Shows a module's word.
    fn log(&self, module: &str, level: Level, text: &str);
    /// Shows how far a module is.
    fn progress(&self, module: &str, current: u64, total: u64);
}

/// A call's state.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) meter: Meter,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    pub(crate) module: String,
    /// Who caches and secrets belong to.
    pub(crate) scope: String,
    /// Where the host's relative paths start.
    pub(crate) project: PathBuf,
}

impl State {
    /// A path of the caller's disk.
    pub(crate) fn host_path(&self, path: &str) -> PathBuf {
        self.project.join(path)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Tells generated code where the interface's data is in a store.
pub(crate) struct HasState;

impl HasData for HasState {
    type Data<'a> = &'a mut State;
}
