//! What the tests of components share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use wharf_graph::{
    Container, Error, Node,
    gpu::{Gpu, Target},
    op::{HostPort, SecretId},
    publish::PublishOptions,
    read::{Answer, Question},
};
use wharf_wasm::{Pipeline, Said};
use zeroize::Zeroizing;

/// None of the guests here reaches an engine.
pub(crate) struct Nowhere;

impl Pipeline for Nowhere {
    fn read<'a>(&'a self, _: &'a Arc<Node>, _: Question) -> BoxFuture<'a, Result<Answer, Error>> {
        unreachable!("nothing here reads")
    }

    fn export_directory<'a>(&'a self, _: &'a Arc<Node>, _: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        unreachable!("nothing here writes")
    }

    fn export_file<'a>(&'a self, _: &'a Arc<Node>, _: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        unreachable!("nothing here writes")
    }

    fn export_container<'a>(&'a self, _: &'a Arc<Node>, _: &'a Path) -> BoxFuture<'a, Result<(), Error>> {
        unreachable!("nothing here writes")
    }

    fn load<'a>(&'a self, _: &'a Arc<Node>, _: &'a str) -> BoxFuture<'a, Result<String, Error>> {
        unreachable!("nothing here loads")
    }

    fn publish<'a>(
        &'a self,
        _: &'a Container,
        _: &'a str,
        _: &'a PublishOptions,
    ) -> BoxFuture<'a, Result<String, Error>> {
        unreachable!("nothing here publishes")
    }

    fn gpus(&self) -> BoxFuture<'_, Result<Vec<Gpu>, Error>> {
        unreachable!("nothing here asks for GPUs")
    }

    fn targets(&self) -> BoxFuture<'_, Result<Vec<Target>, Error>> {
        unreachable!("nothing here asks for GPUs")
    }

    fn allow_secret(&self, _: &SecretId) {}

    fn allow_dial(&self, _: &str, _: u16) {}

    fn up<'a>(&'a self, _: &'a Arc<Node>, _: &'a [HostPort]) -> BoxFuture<'a, Result<(), Error>> {
        unreachable!("nothing here serves")
    }

    fn hold_secret(&self, owner: &str, _: Zeroizing<Vec<u8>>) -> SecretId {
        SecretId {
            owner: owner.to_owned(),
            uri: "value:0".to_owned(),
        }
    }

    fn is_secret(&self, _: &str) -> bool {
        false
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn reveal(&self, _: SecretId) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, Error>> {
        unreachable!("nothing here sees secrets")
    }

    fn time_at_terminal(&self) -> Duration {
        Duration::ZERO
    }

    fn log(&self, _: Said) {}

    fn progress(&self, _: &str, _: u64, _: u64) {}
}
