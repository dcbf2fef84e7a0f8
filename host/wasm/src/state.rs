//! What a call holds: its handles, its bounds, and the way out to the engine.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wharf_graph::{
    Container, Error, Node,
    gpu::{Gpu, Target},
    op::{HostPort, SecretId},
    publish::PublishOptions,
    read::{Answer, Question},
};
use wharf_manifest::Capability;
use zeroize::Zeroizing;

use crate::{
    call::Within,
    held::Held,
    limits::{Limits, Meter},
    lineage::Lineage,
};

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

/// A module's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who says it.
    pub module: String,
    /// How loud it is.
    pub level: Level,
    /// The title of the group that it belongs to.
    pub group: Option<String>,
    /// The file that it is about, and the line, from 1.
    pub place: Option<(String, Option<u32>)>,
    /// The word.
    pub text: String,
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
    /// The engine's GPUs.
    fn gpus(&self) -> BoxFuture<'_, Result<Vec<Gpu>, Error>>;
    /// The engines that the user's configuration names, with what each has.
    fn targets(&self) -> BoxFuture<'_, Result<Vec<Target>, Error>>;
    /// Allows the engine to ask for a secret's value.
    fn allow_secret(&self, secret: &SecretId);
    /// Allows the engine to ask for connections to a port that the user's machine knows.
    fn allow_dial(&self, host: &str, port: u16);
    /// Lets programs of the user's machine reach a service, until it ends.
    fn up<'a>(&'a self, service: &'a Arc<Node>, ports: &'a [HostPort]) -> BoxFuture<'a, Result<(), Error>>;
    /// Keeps a value that a module made as a secret of `owner`, and says how it is named.
    fn hold_secret(&self, owner: &str, value: Zeroizing<Vec<u8>>) -> SecretId;
    /// Was `env:NAME` passed to this run as a secret?
    fn is_secret(&self, uri: &str) -> bool;
    /// The files that were passed to this run as secrets.
    fn secret_files(&self) -> Vec<PathBuf>;
    /// A secret's value, for whoever may see it.
    fn reveal(&self, secret: SecretId) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, Error>>;
    /// How long the user has been at terminals that this run has opened: no time of any call.
    fn time_at_terminal(&self) -> Duration;
    /// Shows a module's word.
    fn log(&self, said: Said);
    /// Shows how far a module, or a group of its work, is.
    fn progress(&self, who: &str, current: u64, total: u64);
}

/// What a module can know of itself, beside its name.
pub(crate) struct Own {
    pub(crate) version: Option<String>,
    pub(crate) digest: String,
    /// Where its source is, when it was called from there.
    pub(crate) source: Option<PathBuf>,
}

/// A call's state.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) meter: Meter,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    pub(crate) module: String,
    pub(crate) own: Own,
    pub(crate) held: Held,
    /// What came from modules that it has called.
    pub(crate) lineage: Lineage,
    /// Who caches and secrets belong to.
    pub(crate) scope: String,
    /// Where the host's relative paths start.
    pub(crate) project: PathBuf,
    pub(crate) limits: Limits,
    /// When the whole call ends, whoever it has called.
    pub(crate) deadline: Instant,
}

impl State {
    /// What a module finds that this one calls: the same engine and the same end, and rights and belongings of its own.
    pub(crate) fn below(&self, held: Held, scope: &str) -> Within {
        Within {
            pipeline: Arc::clone(&self.pipeline),
            project: self.project.clone(),
            scope: scope.to_owned(),
            source: None,
            held,
            limits: self.limits.clone(),
            deadline: self.deadline,
        }
    }

    /// A path of the caller's disk.
    pub(crate) fn host_path(&self, path: &str) -> PathBuf {
        self.project.join(path)
    }

    /// Nothing when the module may use this path of the caller's disk so: by where it leads, whatever links it goes through.
    pub(crate) fn check_path(&self, right: Capability, path: &str) -> Result<(), Error> {
        if self.held.check_all(right).is_ok() {
            return Ok(());
        }
        let (place, project) = (real(&self.host_path(path)), real(&self.project));
        let place = place.strip_prefix(&project).unwrap_or(&place);
        let text = place
            .to_str()
            .ok_or_else(|| Error::Invalid(format!("{} is not UTF-8", place.display())))?;
        self.held.check(right, if text.is_empty() { "." } else { text })
    }
}

/// Where a path leads: as far as there is something, links followed; what is not there yet as it is written, without `..`.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        // What ends in `..` below something that is not there leads nowhere that could be allowed.
        _ => PathBuf::from("/.."),
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
