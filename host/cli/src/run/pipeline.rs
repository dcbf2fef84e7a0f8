//! What a module's reads and effects reach: the engine's session, and the run's progress.

use std::{path::Path, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::mpsc::UnboundedSender;
use wharf_client::Session;
use wharf_graph::{
    Error, Node,
    op::SecretId,
    read::{Answer, Question},
};
use wharf_wasm::{Level, Pipeline, Value};

use crate::progress::Word;

/// A run.
pub(super) struct ToEngine {
    session: Session,
    words: UnboundedSender<Word>,
}

impl ToEngine {
    pub(super) fn new(session: Session, words: UnboundedSender<Word>) -> Self {
        Self { session, words }
    }
}

impl Pipeline for ToEngine {
    fn read<'a>(&'a self, node: &'a Arc<Node>, question: Question) -> BoxFuture<'a, Result<Answer, Error>> {
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

    fn allow_secret(&self, secret: &SecretId) {
        self.session.register_secret(secret.clone());
    }

    fn log(&self, module: &str, level: Level, text: &str) {
        let level = match level {
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "error",
        };
        self.words
            .send(Word::Said {
                module: module.to_owned(),
                level,
                text: text.to_owned(),
            })
            .ok();
    }

    fn progress(&self, module: &str, current: u64, total: u64) {
        self.words
            .send(Word::Reached {
                module: module.to_owned(),
                current,
                total,
            })
            .ok();
    }
}

/// Allows the engine to ask for the secrets among an argument.
pub(super) fn allow_secrets(session: &Session, value: &Value) {
    match value {
        Value::Secret(secret) => session.register_secret(secret.id.clone()),
        Value::List(items) | Value::Tuple(items) => {
            items.iter().for_each(|item| allow_secrets(session, item))
        }
        Value::Record(fields) => fields.iter().for_each(|(_, value)| allow_secrets(session, value)),
        Value::Option(Some(value)) | Value::Variant(_, Some(value)) => allow_secrets(session, value),
        _ => {}
    }
}
