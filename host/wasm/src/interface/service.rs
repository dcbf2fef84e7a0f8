//! Services: their builders, and what is done with them while they run.

use std::{sync::Arc, time::Duration};

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{
    Container, Error, Node, Service,
    op::ServiceOptions,
    plan,
    read::{Answer, Question},
};

use super::convert;
use crate::{
    bindings::wharf::pipeline::{serve, serve_sync, service, types as wit},
    state::{HasState, Pipeline, State},
};

type Handle<T> = wasmtime::Result<Resource<T>>;

impl State {
    fn service_options(
        &mut self,
        options: &Resource<ServiceOptions>,
        set: impl FnOnce(&mut ServiceOptions),
    ) -> wasmtime::Result<()> {
        set(self.table.get_mut(options)?);
        Ok(())
    }
}

impl service::HostServiceOptions for &mut State {
    fn new(&mut self) -> Handle<ServiceOptions> {
        Ok(self.table.push(ServiceOptions::default())?)
    }

    fn set_args(&mut self, own: Resource<ServiceOptions>, args: Vec<String>) -> wasmtime::Result<()> {
        self.service_options(&own, |options| options.args = args)
    }

    fn set_use_entrypoint(&mut self, own: Resource<ServiceOptions>, enabled: bool) -> wasmtime::Result<()> {
        self.service_options(&own, |options| options.use_entrypoint = Some(enabled))
    }

    fn set_start_timeout(
        &mut self,
        own: Resource<ServiceOptions>,
        milliseconds: u64,
    ) -> wasmtime::Result<()> {
        self.service_options(&own, |options| {
            options.start_timeout = Some(Duration::from_millis(milliseconds))
        })
    }

    fn set_cpu_limit(&mut self, own: Resource<ServiceOptions>, millicpus: u32) -> wasmtime::Result<()> {
        self.service_options(&own, |options| options.limits.millicpus = Some(millicpus))
    }

    fn set_memory_limit(&mut self, own: Resource<ServiceOptions>, bytes: u64) -> wasmtime::Result<()> {
        self.service_options(&own, |options| options.limits.memory = Some(bytes))
    }

    fn set_pids_limit(&mut self, own: Resource<ServiceOptions>, count: u32) -> wasmtime::Result<()> {
        self.service_options(&own, |options| options.limits.pids = Some(count))
    }

    fn drop(&mut self, own: Resource<ServiceOptions>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl service::HostService for &mut State {
    fn of_container(
        &mut self,
        container: Resource<Container>,
        options: Option<Resource<ServiceOptions>>,
    ) -> Handle<Service> {
        let options = options
            .map(|options| self.table.get(&options).cloned())
            .transpose()?
            .unwrap_or_default();
        let service = self.table.get(&container)?.as_service(options);
        self.meter.describe(service.node().encoding().len())?;
        Ok(self.table.push(service)?)
    }

    fn drop(&mut self, own: Resource<Service>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl service::Host for &mut State {
    fn with_service(
        &mut self,
        container: Resource<Container>,
        alias: String,
        service: Resource<Service>,
    ) -> Handle<Container> {
        let service = self.table.get(&service)?.clone();
        let bound = self.table.get(&container)?.with_service(&alias, &service);
        self.meter.describe(bound.node().encoding().len())?;
        Ok(self.table.push(bound)?)
    }
}

/// A service and the pipeline that runs it.
struct Asked {
    pipeline: Arc<dyn Pipeline>,
    node: Arc<Node>,
}

fn mismatch<T>(answer: &Answer) -> Result<T, Error> {
    Err(Error::other(
        "protocol",
        format!("the engine gave another kind of answer: {answer:?}"),
    ))
}

impl Asked {
    async fn done(self, question: Question) -> Result<(), Error> {
        match self.pipeline.read(&self.node, question).await? {
            Answer::Done => Ok(()),
            other => mismatch(&other),
        }
    }

    async fn text(&self, question: Question) -> Result<String, Error> {
        match self.pipeline.read(&self.node, question).await? {
            Answer::Text(text) => Ok(text),
            other => mismatch(&other),
        }
    }

    async fn ports(&self) -> Result<Vec<plan::Port>, Error> {
        match self.pipeline.read(&self.node, Question::Ports).await? {
            Answer::Ports(ports) => Ok(ports),
            other => mismatch(&other),
        }
    }

    async fn endpoint(self, port: Option<u16>, scheme: Option<String>) -> Result<String, Error> {
        let ports = self.ports().await?;
        let hostname = self.text(Question::Hostname).await?;
        endpoint(&hostname, &ports, port, scheme.as_deref())
    }
}

/// Where a service of this name is reached.
pub(crate) fn endpoint(
    hostname: &str,
    ports: &[plan::Port],
    port: Option<u16>,
    scheme: Option<&str>,
) -> Result<String, Error> {
    let found = match port {
        Some(wanted) => ports.iter().find(|port| port.number == wanted),
        None => ports.first(),
    };
    let there = || {
        ports
            .iter()
            .map(plan::Port::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = match (found, port) {
        (Some(found), _) => found.number,
        (None, Some(wanted)) if !ports.is_empty() => {
            let there = there();
            return Err(Error::NotFound(format!(
                "the service has no port {wanted}: it has {there}"
            )));
        }
        (None, _) => {
            let message = "the service has no port: call with-exposed-port on its container";
            return Err(Error::NotFound(message.to_owned()));
        }
    };
    Ok(match scheme.filter(|scheme| !scheme.is_empty()) {
        Some(scheme) => format!("{scheme}://{hostname}:{found}"),
        None => format!("{hostname}:{found}"),
    })
}

fn to_wit(ports: Vec<plan::Port>) -> Vec<service::Port> {
    let port = |port: plan::Port| service::Port {
        number: port.number,
        transport: match port.transport {
            plan::Transport::Tcp => service::Transport::Tcp,
            plan::Transport::Udp => service::Transport::Udp,
        },
    };
    ports.into_iter().map(port).collect()
}

/// Implements both twins from one list, as the reads of other handles.
macro_rules! asks {
    ($(fn $name:ident($($arg:ident: $arg_type:ty),*) -> $result:ty, |$asked:ident| $read:expr;)*) => {
        impl<T: Send + 'static> serve::HostWithStore<T> for HasState {
            $(async fn $name(
                accessor: &Accessor<T, Self>,
                handle: Resource<Service>
                $(, $arg: $arg_type)*
            ) -> wasmtime::Result<Result<$result, wit::Error>> {
                let $asked = accessor.with(|mut access| {
                    let state = access.get();
                    let node = Arc::clone(state.table.get(&handle)?.node());
                    Ok::<_, wasmtime::Error>(Asked { pipeline: Arc::clone(&state.pipeline), node })
                })?;
                let outcome: Result<$result, Error> = $read;
                Ok(outcome.map_err(convert::error))
            })*
        }

        impl serve::Host for &mut State {}

        impl serve_sync::Host for &mut State {
            $(async fn $name(
                &mut self,
                handle: Resource<Service>
                $(, $arg: $arg_type)*
            ) -> wasmtime::Result<Result<$result, wit::Error>> {
                let node = Arc::clone(self.table.get(&handle)?.node());
                let $asked = Asked { pipeline: Arc::clone(&self.pipeline), node };
                let outcome: Result<$result, Error> = $read;
                Ok(outcome.map_err(convert::error))
            })*
        }
    };
}

asks! {
    fn start() -> (), |asked| asked.done(Question::Start).await;
    fn stop() -> (), |asked| asked.done(Question::Stop).await;
    fn endpoint(port: Option<u16>, scheme: Option<String>) -> String, |asked| asked.endpoint(port, scheme).await;
    fn hostname() -> String, |asked| asked.text(Question::Hostname).await;
    fn ports() -> Vec<service::Port>, |asked| asked.ports().await.map(to_wit);
    fn logs() -> String, |asked| asked.text(Question::Logs).await;
}
