//! Publishing: its settings, and the effect for guests with asynchronous functions and for those without.

use std::sync::Arc;

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{
    Container, Secret,
    publish::{Compression, Login, PublishOptions},
};
use wharf_manifest::Capability;

use super::convert;
use crate::{
    bindings::wharf::pipeline::{publishing, registry, registry_sync, types as wit},
    held::Held,
    state::{HasState, Pipeline, State},
};

type Outcome = wasmtime::Result<Result<String, wit::Error>>;

/// What is published, and the pipeline that does it.
struct Asked {
    pipeline: Arc<dyn Pipeline>,
    held: Held,
    container: Container,
    options: PublishOptions,
}

impl Asked {
    async fn publish(self, reference: &str) -> Result<String, wit::Error> {
        self.held
            .check(Capability::Registry, reference)
            .map_err(convert::error)?;
        let published = self.pipeline.publish(&self.container, reference, &self.options);
        published.await.map_err(convert::error)
    }
}

impl State {
    fn to_publish(
        &self,
        container: &Resource<Container>,
        options: Option<&Resource<PublishOptions>>,
    ) -> wasmtime::Result<Asked> {
        let options = options.map(|options| self.table.get(options)).transpose()?;
        Ok(Asked {
            pipeline: Arc::clone(&self.pipeline),
            held: self.held.clone(),
            container: self.table.get(container)?.clone(),
            options: options.cloned().unwrap_or_default(),
        })
    }
}

impl registry::Host for &mut State {}

impl<T: Send + 'static> registry::HostWithStore<T> for HasState {
    async fn publish(
        accessor: &Accessor<T, Self>,
        container: Resource<Container>,
        reference: String,
        options: Option<Resource<PublishOptions>>,
    ) -> Outcome {
        let asked = accessor.with(|mut access| access.get().to_publish(&container, options.as_ref()))?;
        Ok(asked.publish(&reference).await)
    }
}

impl registry_sync::Host for &mut State {
    async fn publish(
        &mut self,
        container: Resource<Container>,
        reference: String,
        options: Option<Resource<PublishOptions>>,
    ) -> Outcome {
        let asked = self.to_publish(&container, options.as_ref())?;
        Ok(asked.publish(&reference).await)
    }
}

impl publishing::Host for &mut State {}

impl publishing::HostPublishOptions for &mut State {
    fn new(&mut self) -> wasmtime::Result<Resource<PublishOptions>> {
        Ok(self.table.push(PublishOptions::default())?)
    }

    fn add_tag(&mut self, own: Resource<PublishOptions>, tag: String) -> wasmtime::Result<()> {
        self.meter.describe(tag.len())?;
        self.table.get_mut(&own)?.tags.push(tag);
        Ok(())
    }

    fn add_platform(
        &mut self,
        own: Resource<PublishOptions>,
        container: Resource<Container>,
    ) -> wasmtime::Result<()> {
        let container = self.table.get(&container)?.clone();
        self.meter.describe(size_of::<Container>())?;
        self.table.get_mut(&own)?.platforms.push(container);
        Ok(())
    }

    fn set_compression(
        &mut self,
        own: Resource<PublishOptions>,
        compression: publishing::Compression,
    ) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.compression = match compression {
            publishing::Compression::Gzip => Compression::Gzip,
            publishing::Compression::Zstd => Compression::Zstd,
            publishing::Compression::Uncompressed => Compression::None,
        };
        Ok(())
    }

    fn add_annotation(
        &mut self,
        own: Resource<PublishOptions>,
        name: String,
        value: String,
    ) -> wasmtime::Result<()> {
        self.meter.describe(name.len() + value.len())?;
        self.table.get_mut(&own)?.annotations.insert(name, value);
        Ok(())
    }

    fn set_login(
        &mut self,
        own: Resource<PublishOptions>,
        user: String,
        password: Resource<Secret>,
    ) -> wasmtime::Result<()> {
        let password = self.table.get(&password)?.id.clone();
        self.table.get_mut(&own)?.login = Some(Login { user, password });
        Ok(())
    }

    fn drop(&mut self, own: Resource<PublishOptions>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}
