//! Containers as values, with their builders and reads.

mod config;
mod files;
mod mounts;
mod reads;

use crate::bindings::wharf::pipeline::{container as raw, exports, network, registry};
use crate::{Directory, ExecOptions, File, Network, Platform, PublishOptions, Result, text::owned};

/// A container: a root file system, the configuration of its processes, and mounts. Every builder returns a new one and
/// leaves this as it was.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// /// Builds once, and runs tests and linter at the same time.
/// async fn check(source: Directory) -> Result<String> {
///     let built = image::pull("rust:1-slim")
///         .with_workdir("/src")
///         .with_directory(".", &source)
///         .with_env_variable("CARGO_TERM_COLOR", "never")
///         .with_exec(["cargo", "build", "--offline"]);
///     let (tests, lints) = (built.with_exec(["cargo", "test"]), built.with_exec(["cargo", "clippy"]));
///     let (tests, lints) = join!(tests.stdout(), lints.stderr());
///     Ok(tests? + &lints?)
/// }
///
/// /// A small image with the program alone.
/// fn slim(built: &Container) -> Container {
///     Container::new()
///         .with_file("/app", &built.file("/src/target/release/app"))
///         .with_entrypoint(["/app"])
///         .with_exposed_port(8080, "tcp")
/// }
/// ```
#[derive(Debug)]
pub struct Container(pub(crate) raw::Container);

impl From<raw::Container> for Container {
    fn from(container: raw::Container) -> Self {
        Self(container)
    }
}

impl From<Container> for raw::Container {
    fn from(container: Container) -> Self {
        container.0
    }
}

impl Default for Container {
    fn default() -> Self {
        Self::new()
    }
}

impl Container {
    /// An empty container of the engine's own platform.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = Container::new().with_file("/app", &host::file("target/app")).with_entrypoint(["/app"]);
    /// ```
    pub fn new() -> Self {
        Self(raw::Container::new())
    }

    /// An empty container of this platform.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let arm = Platform { os: "linux".into(), architecture: "arm64".into(), cpu: None };
    /// let image = Container::scratch(&arm).with_file("/app", &host::file("dist/app-arm64"));
    /// ```
    pub fn scratch(platform: &Platform) -> Self {
        Self(raw::Container::scratch(platform))
    }

    /// The same configuration over another root file system.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let base = image::pull("nginx:1");
    /// let slim = base.with_rootfs(&host::directory("rootfs"));
    /// ```
    #[must_use]
    pub fn with_rootfs(&self, root: &Directory) -> Self {
        Self(self.0.with_rootfs(&root.0))
    }

    /// The root file system, without mounts.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tree = image::pull("alpine:3.20").with_exec(["apk", "add", "git"]).rootfs();
    /// ```
    pub fn rootfs(&self) -> Directory {
        self.0.rootfs().into()
    }

    /// The directory at `path`; of a mounted directory, what was mounted.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let built = image::pull("node:22").with_directory("/src", &host::directory(".")).with_exec(["npm", "run", "build"]);
    /// let site = built.directory("/src/dist");
    /// ```
    pub fn directory(&self, path: impl AsRef<str>) -> Directory {
        self.0.directory(path.as_ref()).into()
    }

    /// The file at `path`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let built = image::pull("golang:1").with_exec(["go", "install", "example.com/tool@latest"]);
    /// let tool = built.file("/go/bin/tool");
    /// ```
    pub fn file(&self, path: impl AsRef<str>) -> File {
        self.0.file(path.as_ref()).into()
    }

    /// Run a command; the result holds what it changed. An empty list runs the default arguments.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tested = image::pull("rust:1").with_directory("/src", &host::directory(".")).with_workdir("/src").with_exec(["cargo", "test"]);
    /// ```
    #[must_use]
    pub fn with_exec(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_exec(&owned(args), None))
    }

    /// As [`with_exec`](Self::with_exec), with options.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ExecOptions::new().expect(Expect::Any).reason("lint");
    /// let linted = image::pull("python:3.11").with_exec_opts(["python", "-m", "pyflakes", "."], &options);
    /// ```
    #[must_use]
    pub fn with_exec_opts(&self, args: impl IntoIterator<Item: Into<String>>, options: &ExecOptions) -> Self {
        Self(self.0.with_exec(&owned(args), Some(&options.0)))
    }

    /// What steps can reach from here on. Default: [`Network::None`].
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let updated = image::pull("debian:12").with_network(Network::All).with_exec(["apt-get", "update"]);
    /// ```
    #[must_use]
    pub fn with_network(&self, mode: Network) -> Self {
        Self(network::with_network(&self.0, mode))
    }

    /// Let steps reach these hosts from here on, and nothing else of the network: `example.com`, `*.example.com`,
    /// `example.com:443` or an address.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tools = image::pull("python:3.11").with_network_hosts(["pypi.example", "*.files.example:443"]);
    /// let installed = tools.with_exec(["pip", "install", "ruff"]);
    /// ```
    #[must_use]
    pub fn with_network_hosts(&self, hosts: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(network::with_network_hosts(&self.0, &owned(hosts)))
    }

    /// Write the container as an OCI archive (a tar file) to `path` on the caller's disk.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// image::pull("alpine:3.20").with_file("/app", &host::file("app")).export("dist/app.tar").await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn export(&self, path: impl Into<String>) -> Result<()> {
        Ok(exports::export_container(&self.0, path.into()).await?)
    }

    /// Load the container as an image into the caller's own Docker, under this name: `acme/app:dev`. Returns the image's id.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("load", "sha256:0").plan(async {
    /// let id = image::pull("alpine:3.20").with_file("/app", &host::file("app")).load("acme/app:dev").await?;
    /// # assert_eq!(id, "sha256:0");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn load(&self, name: impl Into<String>) -> Result<String> {
        Ok(exports::load(&self.0, name.into()).await?)
    }

    /// Push the container as an image to a registry: `ghcr.io/acme/app:1.0`, with the tag `latest` unless it has one. The layers of
    /// the image that it started from keep their digests; what the registry has is not sent again. Returns the reference
    /// with the image's digest.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("publish", "ghcr.io/acme/app@sha256:0").plan(async {
    /// let image = image::pull("alpine:3.20").with_file("/app", &host::file("app"));
    /// let reference = image.publish("ghcr.io/acme/app:1.4.2").await?;
    /// # assert_eq!(reference, "ghcr.io/acme/app@sha256:0");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn publish(&self, reference: impl Into<String>) -> Result<String> {
        Ok(registry::publish(&self.0, reference.into(), None).await?)
    }

    /// As [`Self::publish`], with further tags, platforms and a login.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("publish", "ghcr.io/acme/app@sha256:0").plan(async {
    /// let image = image::pull("alpine:3.20").with_file("/app", &host::file("app"));
    /// let options = PublishOptions::new().tag("latest").compression(Compression::Zstd);
    /// let reference = image.publish_opts("ghcr.io/acme/app:1.4.2", &options).await?;
    /// # assert_eq!(reference, "ghcr.io/acme/app@sha256:0");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn publish_opts(
        &self,
        reference: impl Into<String>,
        options: &PublishOptions,
    ) -> Result<String> {
        Ok(registry::publish(&self.0, reference.into(), Some(&options.0)).await?)
    }
}
