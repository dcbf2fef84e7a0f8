//! What a module's reads and effects reach: the engine's session, and the run's progress.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::mpsc::UnboundedSender;
use wharf_client::Session;
use wharf_graph::{
    Container, Error, Node, Op,
    gpu::{Gpu, Target},
    op::{HostPort, SecretId},
    publish::{Publish, PublishOptions},
    read::{Answer, Question},
};
use wharf_wasm::{Level, Pipeline, Said, Value};
use zeroize::Zeroizing;

use crate::{
    progress::Word,
    terminal::{self, Lender},
};

/// A run.
pub(super) struct ToEngine {
    session: Session,
    words: UnboundedSender<Word>,
    terminal: Arc<Lender>,
}

impl ToEngine {
    pub(super) fn new(session: Session, words: UnboundedSender<Word>, terminal: Arc<Lender>) -> Self {
        Self {
            session,
            words,
            terminal,
        }
    }
}

impl Pipeline for ToEngine {
    fn read<'a>(&'a self, node: &'a Arc<Node>, question: Question) -> BoxFuture<'a, Result<Answer, Error>> {
        if let (Question::Terminal(_), Some(why)) = (&question, terminal::missing()) {
            return async { Err(Error::other("no-terminal", why)) }.boxed();
        }
        self.session.read(node, question).boxed()
    }

    fn export_directory<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        self.session.export_directory(node, to).boxed()
    }

    fn export_file<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        self.session.export_file(node, to).boxed()
    }

    fn export_container<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        self.session.export_container(node, to).boxed()
    }

    fn load<'a>(&'a self, node: &'a Arc<Node>, name: &'a str) -> BoxFuture<'a, Result<String, Error>> {
        async move {
            let daemon = docker().await?;
            let directory = tempfile::tempdir().map_err(|error| Error::other("files", error.to_string()))?;
            let archive = directory.path().join("image.tar");
            self.session.export_container(node, &archive).await?;
            let loaded = wharf_docker::load(&daemon, &archive, name).await;
            loaded.map_err(|error| docker_error(&error))
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        container: &'a Container,
        reference: &'a str,
        options: &'a PublishOptions,
    ) -> BoxFuture<'a, Result<String, Error>> {
        async move {
            let containers = std::iter::once(container).chain(&options.platforms);
            let nodes: Vec<_> = containers.map(|container| Arc::clone(container.node())).collect();
            let publish = Publish::new(container, reference, options);
            self.session.publish(&nodes, &publish).await
        }
        .boxed()
    }

    fn gpus(&self) -> BoxFuture<'_, Result<Vec<Gpu>, Error>> {
        self.session.gpus().boxed()
    }

    fn targets(&self) -> BoxFuture<'_, Result<Vec<Target>, Error>> {
        crate::targets::look().boxed()
    }

    fn allow_secret(&self, secret: &SecretId) {
        self.session.register_secret(secret.clone());
    }

    fn allow_dial(&self, host: &str, port: u16) {
        self.session.allow_dial(host, port);
    }

    fn up<'a>(&'a self, service: &'a Arc<Node>, ports: &'a [HostPort]) -> BoxFuture<'a, Result<(), Error>> {
        self.session.up(service, ports).boxed()
    }

    fn hold_secret(&self, owner: &str, value: Zeroizing<Vec<u8>>) -> SecretId {
        self.session.hold_secret(owner, value)
    }

    fn is_secret(&self, uri: &str) -> bool {
        self.session.is_secret(uri)
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        self.session.secret_files()
    }

    fn reveal(&self, secret: SecretId) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, Error>> {
        self.session.secret_value(secret).boxed()
    }

    fn time_at_terminal(&self) -> Duration {
        self.terminal.time()
    }

    fn log(&self, said: Said) {
        let level = match said.level {
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "error",
        };
        self.words
            .send(Word::Said {
                module: said.module,
                level,
                group: said.group,
                place: said.place,
                text: said.text,
            })
            .ok();
    }

    fn progress(&self, who: &str, current: u64, total: u64) {
        self.words
            .send(Word::Reached {
                module: who.to_owned(),
                current,
                total,
            })
            .ok();
    }
}

/// The user's own Docker, wherever the engine is.
async fn docker() -> Result<wharf_docker::Daemon, Error> {
    let host = std::env::var("DOCKER_HOST").ok();
    let reached = wharf_docker::reach_at(host.as_deref()).await;
    reached.map_err(|error| Error::Unavailable(error.to_string()))
}

/// What Docker refuses is the pipeline's failure, not Docker's absence.
fn docker_error(error: &wharf_docker::DockerError) -> Error {
    Error::other("docker", error.to_string())
}

/// Writes the archive of an image of the user's Docker.
pub(super) async fn save_image(name: String, to: PathBuf) -> Result<(), Error> {
    let daemon = docker().await?;
    let saved = wharf_docker::save(&daemon, &name, &to).await;
    saved.map_err(|error| docker_error(&error))
}

/// Allows the engine to ask for what an argument names: values of secrets, and connections to this machine.
pub(super) fn allow(session: &Session, value: &Value) {
    match value {
        Value::Secret(secret) => session.register_secret(secret.id.clone()),
        Value::Service(service) => {
            if let Op::HostService { host, ports } = service.node().op() {
                ports.iter().for_each(|port| session.allow_dial(host, port.host));
            }
        }
        Value::List(items) | Value::Tuple(items) => items.iter().for_each(|item| allow(session, item)),
        Value::Record(fields) => fields.iter().for_each(|(_, value)| allow(session, value)),
        Value::Option(Some(value)) | Value::Variant(_, Some(value)) => allow(session, value),
        Value::Directory(directory) => allow_sources(session, directory.node()),
        Value::File(file) => allow_sources(session, file.node()),
        _ => {}
    }
}

/// Allows the engine to ask for the secrets that the sources of an argument need: the user wrote them.
fn allow_sources(session: &Session, node: &Arc<Node>) {
    for node in node.closure(|_| false) {
        for secret in node.op().source_secrets() {
            session.register_secret(secret.clone());
        }
    }
}
