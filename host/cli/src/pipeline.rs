//! A client's session as what modules reach.

use std::{path::Path, sync::Arc};

use futures::future::BoxFuture;
use wharf_client::Session;
use wharf_graph::{
    Error, Node,
    op::SecretId,
    read::{Answer, Question},
};
use wharf_wasm::{Level, Pipeline};

use crate::output;

/// A session and how loud it is.
pub(crate) struct SessionPipeline {
    pub(crate) session: Session,
    pub(crate) quiet: bool,
}

impl Pipeline for SessionPipeline {
    fn read<'a>(&'a self, node: &'a Arc<Node>, question: Question) -> BoxFuture<'a, Result<Answer, Error>> {
        Box::pin(self.session.read(node, question))
    }

    fn export_directory<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.session.export_directory(node, to))
    }

    fn export_file<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.session.export_file(node, to))
    }

    fn export_container<'a>(&'a self, node: &'a Arc<Node>, to: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.session.export_container(node, to))
    }

    fn allow_secret(&self, secret: &SecretId) {
        self.session.register_secret(secret.clone());
    }

    fn log(&self, module: &str, level: Level, text: &str) {
        if self.quiet && level == Level::Info {
            return;
        }
        let mark = match level {
            Level::Info => "",
            Level::Warn => "warning: ",
            Level::Error => "error: ",
        };
        for line in text.lines() {
            output::say(&format!("[{module}] {mark}{line}"));
        }
    }

    fn progress(&self, module: &str, current: u64, total: u64) {
        if !self.quiet {
            output::say(&format!("[{module}] {current} of {total}"));
        }
    }
}
