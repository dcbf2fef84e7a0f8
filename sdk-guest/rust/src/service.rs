//! Services: processes that steps reach by name while they run.

use std::time::Duration;

use crate::bindings::wharf::pipeline::{host, serve, service as raw};
use crate::{Container, Port, Result, text::owned};

/// A process that steps reach by name while it runs. It starts when a step that is bound to it runs, once however many are
/// bound, and ends when nothing needs it. It counts as started when it listens on every port that its container
/// exposes and the health check of its image, if it has one, has passed.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// /// Fetches a page from a web server that runs beside the step.
/// async fn page() -> Result<String> {
///     let web = image::pull("busybox:latest")
///         .with_new_file("/srv/index.html", "hello\n")
///         .with_default_args(["httpd", "-f", "-p", "80", "-h", "/srv"])
///         .with_exposed_port(80, "tcp")
///         .as_service();
///     image::pull("busybox:latest")
///         .with_service("web", &web)
///         .with_exec(["wget", "-q", "-O", "-", "http://web/"])
///         .stdout()
///         .await
/// }
/// ```
#[derive(Debug)]
pub struct Service(pub(crate) raw::Service);

impl From<raw::Service> for Service {
    fn from(service: raw::Service) -> Self {
        Self(service)
    }
}

impl From<Service> for raw::Service {
    fn from(service: Service) -> Self {
        service.0
    }
}

impl Service {
    /// Start it and wait until it is healthy. It runs until the run ends or it is stopped. Steps that are bound to it start
    /// it by themselves.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("logs", "ready").plan(async {
    /// let database = image::pull("postgres:17").with_exposed_port(5432, "tcp").as_service();
    /// database.start().await?;
    /// log::info(database.logs().await?);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn start(&self) -> Result<()> {
        Ok(serve::start(&self.0).await?)
    }

    /// End it, whoever uses it; what is not running is no error.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// # let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// web.start().await?;
    /// web.stop().await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn stop(&self) -> Result<()> {
        Ok(serve::stop(&self.0).await?)
    }

    /// Where a step that is bound to it reaches it, as `hostname:port`: its first port.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("endpoint", "web-1:80").plan(async {
    /// # let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// let address = web.endpoint().await?;
    /// let checked = image::pull("busybox").with_service("web", &web).with_exec(["nc", "-z", address.as_str()]);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn endpoint(&self) -> Result<String> {
        Ok(serve::endpoint(&self.0, None, None).await?)
    }

    /// Where a step that is bound to it reaches this port, as `scheme://hostname:port`.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("endpoint", "http://web-1:8080").plan(async {
    /// # let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// let url = web.endpoint_of(8080, "http").await?;
    /// let fetched = image::pull("busybox").with_service("web", &web).with_exec(["wget", "-q", "-O", "-", url.as_str()]);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn endpoint_of(&self, port: u16, scheme: impl Into<String>) -> Result<String> {
        Ok(serve::endpoint(&self.0, Some(port), Some(scheme.into())).await?)
    }

    /// A name that every step that is bound to it knows it by, beside the one it was bound under.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("hostname", "web-1").plan(async {
    /// # let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// let host = web.hostname().await?;
    /// # assert_eq!(host, "web-1");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn hostname(&self) -> Result<String> {
        Ok(serve::hostname(&self.0).await?)
    }

    /// The ports on which it listens: those that its container exposes.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("ports", Vec::<Port>::new()).plan(async {
    /// # let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// let ports: Vec<u16> = web.ports().await?.iter().map(|port| port.number).collect();
    /// # assert!(ports.is_empty());
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn ports(&self) -> Result<Vec<Port>> {
        Ok(serve::ports(&self.0).await?)
    }

    /// Start it and let programs of the caller's machine reach it on ports of the loopback interface: those given (0 is one
    /// that is free), or its own when there is none. Returns when the service ends; on a command line, `up` behind a
    /// function that returns it does the same.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// # let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// web.up([host::Forward { host: 8080, service: 80 }]).await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn up(&self, ports: impl IntoIterator<Item = host::Forward>) -> Result<()> {
        Ok(host::up(&self.0, ports.into_iter().collect()).await?)
    }

    /// What it has printed in this run; it is started when it has not run.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("logs", "started").plan(async {
    /// # let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// let log = File::new("web.log", web.logs().await?);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn logs(&self) -> Result<String> {
        Ok(serve::logs(&self.0).await?)
    }
}

/// How a container serves. All settings are optional.
///
/// ```
/// # use std::time::Duration;
/// # use wharf_sdk::prelude::*;
/// # fn example() -> Service {
/// let options = ServiceOptions::new()
///     .args(["redis-server", "--save", ""])
///     .start_timeout(Duration::from_secs(10));
/// image::pull("redis:7")
///     .with_exposed_port(6379, "tcp")
///     .as_service_opts(&options)
/// # }
/// ```
#[derive(Debug)]
pub struct ServiceOptions(raw::ServiceOptions);

impl Default for ServiceOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ServiceOptions {
    /// The container's entrypoint and default arguments, and the usual time to become healthy.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ServiceOptions::new();
    /// ```
    pub fn new() -> Self {
        Self(raw::ServiceOptions::new())
    }

    /// The command, instead of the default arguments; the entrypoint is used only when it is asked for.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ServiceOptions::new().args(["redis-server", "--save", ""]);
    /// ```
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        self.0.set_args(&owned(args));
        self
    }

    /// Put the container's entrypoint before the arguments. Default: true without arguments, false with.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ServiceOptions::new().args(["--verbose"]).use_entrypoint(true);
    /// ```
    #[must_use]
    pub fn use_entrypoint(self, enabled: bool) -> Self {
        self.0.set_use_entrypoint(enabled);
        self
    }

    /// How long it may take until it is healthy, counted in milliseconds. Default: a minute, or as long as Docker would wait by
    /// the image's own health check when that is longer.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let options = ServiceOptions::new().start_timeout(Duration::from_secs(10));
    /// ```
    #[must_use]
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.0
            .set_start_timeout(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Processor time in thousandths of a processor: 1500 is one and a half.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ServiceOptions::new().cpu_limit(1500);
    /// ```
    #[must_use]
    pub fn cpu_limit(self, millicpus: u32) -> Self {
        self.0.set_cpu_limit(millicpus);
        self
    }

    /// Memory in bytes; a service that needs more is ended.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ServiceOptions::new().memory_limit(512 << 20);
    /// ```
    #[must_use]
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.0.set_memory_limit(bytes);
        self
    }

    /// How many processes and threads there may be at once.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ServiceOptions::new().pids_limit(100);
    /// ```
    #[must_use]
    pub fn pids_limit(self, count: u32) -> Self {
        self.0.set_pids_limit(count);
        self
    }
}

impl Container {
    /// The service that the container's process is: its entrypoint and default arguments, on the ports that it exposes.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let database = image::pull("postgres:17").with_env_variable("POSTGRES_HOST_AUTH_METHOD", "trust").as_service();
    /// ```
    pub fn as_service(&self) -> Service {
        Service(raw::Service::of_container(&self.0, None))
    }

    /// As [`as_service`](Self::as_service), with options.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ServiceOptions::new().args(["redis-server", "--save", ""]);
    /// let redis = image::pull("redis:7").with_exposed_port(6379, "tcp").as_service_opts(&options);
    /// ```
    pub fn as_service_opts(&self, options: &ServiceOptions) -> Service {
        Service(raw::Service::of_container(&self.0, Some(&options.0)))
    }

    /// Let later steps reach a service by this name. They need no network for it, and no other step reaches it.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let redis = image::pull("redis:7").with_exposed_port(6379, "tcp").as_service();
    /// let tested = image::pull("python:3.11").with_service("redis", &redis).with_exec(["pytest"]);
    /// ```
    #[must_use]
    pub fn with_service(&self, alias: impl AsRef<str>, service: &Service) -> Self {
        Self(raw::with_service(&self.0, alias.as_ref(), &service.0))
    }
}
