//! What a module knows of itself, and secrets in plain text: `module` and `reveal`.

use std::sync::Arc;

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{Directory, Error, Secret, op::CopyOptions};
use wharf_manifest::Capability;
use zeroize::Zeroizing;

use super::convert;
use crate::{
    bindings::wharf::pipeline::{module, reveal, reveal_sync, types as wit},
    state::{HasState, Pipeline, State},
};

impl module::Host for &mut State {
    fn name(&mut self) -> wasmtime::Result<String> {
        Ok(self.module.clone())
    }

    fn version(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.own.version.clone())
    }

    fn digest(&mut self) -> wasmtime::Result<String> {
        Ok(self.own.digest.clone())
    }

    fn source_directory(
        &mut self,
        options: Option<Resource<CopyOptions>>,
    ) -> wasmtime::Result<Resource<Directory>> {
        let source = self
            .own
            .source
            .as_deref()
            .map(|source| source.to_str().map(str::to_owned));
        let directory = match source {
            Some(Some(source)) => self.own_directory(&source, options.as_ref())?,
            Some(None) => Directory::failed(Error::Invalid(format!(
                "the path of the source of {} is not UTF-8",
                self.module
            ))),
            None => Directory::failed(Error::NotFound(format!(
                "{} was not called from its source",
                self.module
            ))),
        };
        Ok(self.table.push(directory)?)
    }

    fn granted(&mut self, capability: String) -> wasmtime::Result<bool> {
        Ok(self.held.holds(&capability))
    }
}

impl State {
    /// The secret, and the way to its value when the call may see it.
    fn revealed(
        &self,
        secret: &Resource<Secret>,
    ) -> wasmtime::Result<Result<(Secret, Arc<dyn Pipeline>), Error>> {
        let secret = self.table.get(secret)?.clone();
        let granted = self.held.check(Capability::Reveal, &secret.name);
        Ok(granted.map(|()| (secret, Arc::clone(&self.pipeline))))
    }
}

async fn plaintext(secret: Secret, pipeline: Arc<dyn Pipeline>) -> Result<String, Error> {
    let value = pipeline.reveal(secret.id).await?;
    let text = std::str::from_utf8(&value).map(str::to_owned);
    text.map_err(|_| Error::Invalid(format!("the secret {} is not text", secret.name)))
}

impl reveal::Host for &mut State {}

impl<T: Send + 'static> reveal::HostWithStore<T> for HasState {
    async fn plaintext(
        accessor: &Accessor<T, Self>,
        secret: Resource<Secret>,
    ) -> wasmtime::Result<Result<String, wit::Error>> {
        let outcome = match accessor.with(|mut access| access.get().revealed(&secret))? {
            Ok((secret, pipeline)) => plaintext(secret, pipeline).await,
            Err(denied) => Err(denied),
        };
        Ok(outcome.map_err(convert::error))
    }
}

impl reveal_sync::Host for &mut State {
    async fn plaintext(&mut self, secret: Resource<Secret>) -> wasmtime::Result<Result<String, wit::Error>> {
        let outcome = match self.revealed(&secret)? {
            Ok((secret, pipeline)) => plaintext(secret, pipeline).await,
            Err(denied) => Err(denied),
        };
        Ok(outcome.map_err(convert::error))
    }
}

impl State {
    /// A secret of a value that the module holds.
    pub(super) fn held_secret(&mut self, name: String, value: String) -> wasmtime::Result<Resource<Secret>> {
        self.meter.describe(value.len())?;
        let id = self
            .pipeline
            .hold_secret(&self.scope, Zeroizing::new(value.into_bytes()));
        Ok(self.table.push(Secret { name, id })?)
    }
}
