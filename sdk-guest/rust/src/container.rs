//! Containers as values, with their builders and reads.

use crate::bindings::wharf::pipeline::{container as raw, eval, exports, network, registry};
use crate::{
    CacheVolume, CopyOptions, Directory, ExecOptions, File, Network, Platform, PublishOptions, Result,
    Secret, Stat, Variable, text::owned,
};

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
    pub fn new() -> Self {
        Self(raw::Container::new())
    }

    /// An empty container of this platform.
    pub fn scratch(platform: &Platform) -> Self {
        Self(raw::Container::scratch(platform))
    }

    /// The root file system, without mounts.
    pub fn rootfs(&self) -> Directory {
        self.0.rootfs().into()
    }

    /// The directory at `path`; of a mounted directory, what was mounted.
    pub fn directory(&self, path: impl AsRef<str>) -> Directory {
        self.0.directory(path.as_ref()).into()
    }

    /// The file at `path`.
    pub fn file(&self, path: impl AsRef<str>) -> File {
        self.0.file(path.as_ref()).into()
    }

    /// Put several files into the directory `path`, each under its own name.
    #[must_use]
    pub fn with_files<'a>(&self, path: impl AsRef<str>, sources: impl IntoIterator<Item = &'a File>) -> Self {
        let sources: Vec<_> = sources.into_iter().map(|file| &file.0).collect();
        Self(self.0.with_files(path.as_ref(), &sources, None))
    }

    /// What steps can reach from here on. Default: [`Network::None`].
    #[must_use]
    pub fn with_network(&self, mode: Network) -> Self {
        Self(network::with_network(&self.0, mode))
    }

    /// Let steps reach these hosts from here on, and nothing else of the network: `example.com`, `*.example.com`,
    /// `example.com:443` or an address.
    #[must_use]
    pub fn with_network_hosts(&self, hosts: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(network::with_network_hosts(&self.0, &owned(hosts)))
    }

    /// The same configuration over another root file system.
    #[must_use]
    pub fn with_rootfs(&self, root: &Directory) -> Self {
        Self(self.0.with_rootfs(&root.0))
    }

    /// Run a command; the result holds what it changed. An empty list runs the default arguments.
    #[must_use]
    pub fn with_exec(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_exec(&owned(args), None))
    }

    /// As [`with_exec`](Self::with_exec), with options.
    #[must_use]
    pub fn with_exec_opts(&self, args: impl IntoIterator<Item: Into<String>>, options: &ExecOptions) -> Self {
        Self(self.0.with_exec(&owned(args), Some(&options.0)))
    }

    /// Set an environment variable.
    #[must_use]
    pub fn with_env_variable(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_env_variable(name.as_ref(), value.as_ref(), false))
    }

    /// Set an environment variable; `$NAME` in the value is replaced by the container's variables.
    #[must_use]
    pub fn with_env_variable_expanded(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_env_variable(name.as_ref(), value.as_ref(), true))
    }

    /// Remove an environment variable.
    #[must_use]
    pub fn without_env_variable(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_env_variable(name.as_ref()))
    }

    /// Give steps a secret's value as an environment variable.
    #[must_use]
    pub fn with_secret_variable(&self, name: impl AsRef<str>, value: &Secret) -> Self {
        Self(self.0.with_secret_variable(name.as_ref(), &value.0))
    }

    /// Remove a secret variable.
    #[must_use]
    pub fn without_secret_variable(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_secret_variable(name.as_ref()))
    }

    /// Set an environment variable whose value is in no key: a step is not run again because it changed.
    #[must_use]
    pub fn with_volatile_variable(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_volatile_variable(name.as_ref(), value.as_ref()))
    }

    /// Set the directory that commands start in, made when missing; relative to the one before.
    #[must_use]
    pub fn with_workdir(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.with_workdir(path.as_ref()))
    }

    /// Back to `/`.
    #[must_use]
    pub fn without_workdir(&self) -> Self {
        Self(self.0.without_workdir())
    }

    /// Set the user that commands run as: `user`, `user:group`, names or numbers.
    #[must_use]
    pub fn with_user(&self, user: impl AsRef<str>) -> Self {
        Self(self.0.with_user(user.as_ref()))
    }

    /// Back to root.
    #[must_use]
    pub fn without_user(&self) -> Self {
        Self(self.0.without_user())
    }

    /// Set the entrypoint; default arguments are reset.
    #[must_use]
    pub fn with_entrypoint(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_entrypoint(&owned(args), false))
    }

    /// Set the entrypoint and keep the default arguments.
    #[must_use]
    pub fn with_entrypoint_only(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_entrypoint(&owned(args), true))
    }

    /// Remove the entrypoint; default arguments are reset.
    #[must_use]
    pub fn without_entrypoint(&self) -> Self {
        Self(self.0.without_entrypoint(false))
    }

    /// Remove the entrypoint and keep the default arguments.
    #[must_use]
    pub fn without_entrypoint_only(&self) -> Self {
        Self(self.0.without_entrypoint(true))
    }

    /// Set the arguments that are used when none are given.
    #[must_use]
    pub fn with_default_args(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_default_args(&owned(args)))
    }

    /// Remove the default arguments.
    #[must_use]
    pub fn without_default_args(&self) -> Self {
        Self(self.0.without_default_args())
    }

    /// Set an annotation of the image's manifest.
    #[must_use]
    pub fn with_annotation(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_annotation(name.as_ref(), value.as_ref()))
    }

    /// Remove an annotation.
    #[must_use]
    pub fn without_annotation(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_annotation(name.as_ref()))
    }

    /// Set an image label.
    #[must_use]
    pub fn with_label(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_label(name.as_ref(), value.as_ref()))
    }

    /// Remove an image label.
    #[must_use]
    pub fn without_label(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_label(name.as_ref()))
    }

    /// Note a port that the image listens on; the protocol is "tcp" or "udp".
    #[must_use]
    pub fn with_exposed_port(&self, port: u16, protocol: impl AsRef<str>) -> Self {
        Self(self.0.with_exposed_port(port, protocol.as_ref()))
    }

    /// Remove a noted port.
    #[must_use]
    pub fn without_exposed_port(&self, port: u16, protocol: impl AsRef<str>) -> Self {
        Self(self.0.without_exposed_port(port, protocol.as_ref()))
    }

    /// Put the contents of `source` under `path`, made when missing; relative paths start at the working directory.
    #[must_use]
    pub fn with_directory(&self, path: impl AsRef<str>, source: &Directory) -> Self {
        Self(self.0.with_directory(path.as_ref(), &source.0, None))
    }

    /// As [`with_directory`](Self::with_directory), taking what the options let through.
    #[must_use]
    pub fn with_directory_opts(
        &self,
        path: impl AsRef<str>,
        source: &Directory,
        options: &CopyOptions,
    ) -> Self {
        Self(self.0.with_directory(path.as_ref(), &source.0, Some(&options.0)))
    }

    /// Put `source` at `path`; a path that ends in `/` or names a directory keeps the file's own name.
    #[must_use]
    pub fn with_file(&self, path: impl AsRef<str>, source: &File) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, None))
    }

    /// As [`with_file`](Self::with_file), with owner and mode from the options.
    #[must_use]
    pub fn with_file_opts(&self, path: impl AsRef<str>, source: &File, options: &CopyOptions) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, Some(&options.0)))
    }

    /// Write a file with this text, mode 0o644, owned by root.
    #[must_use]
    pub fn with_new_file(&self, path: impl AsRef<str>, contents: impl AsRef<str>) -> Self {
        Self(self.0.with_new_file(path.as_ref(), contents.as_ref(), None, None))
    }

    /// Write a file with this text; mode 0o644 and owner root unless given.
    #[must_use]
    pub fn with_new_file_opts(
        &self,
        path: impl AsRef<str>,
        contents: impl AsRef<str>,
        mode: Option<u32>,
        owner: Option<&str>,
    ) -> Self {
        Self(
            self.0
                .with_new_file(path.as_ref(), contents.as_ref(), mode, owner),
        )
    }

    /// Make a directory and its parents; mode 0o755 and owner root unless given.
    #[must_use]
    pub fn with_new_directory(&self, path: impl AsRef<str>, mode: Option<u32>, owner: Option<&str>) -> Self {
        Self(self.0.with_new_directory(path.as_ref(), mode, owner))
    }

    /// Make a symbolic link at `path` that points to `target`, which need not exist.
    #[must_use]
    pub fn with_symlink(&self, target: impl AsRef<str>, path: impl AsRef<str>) -> Self {
        Self(self.0.with_symlink(target.as_ref(), path.as_ref()))
    }

    /// Remove the directory at `path` from the root file system.
    #[must_use]
    pub fn without_directory(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_directory(path.as_ref()))
    }

    /// Remove the file at `path` from the root file system.
    #[must_use]
    pub fn without_file(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_file(path.as_ref()))
    }

    /// Remove several files from the root file system.
    #[must_use]
    pub fn without_files(&self, paths: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.without_files(&owned(paths)))
    }

    /// Mount a directory: steps may write to their own copy of it, which is discarded after each.
    #[must_use]
    pub fn with_mounted_directory(&self, path: impl AsRef<str>, source: &Directory) -> Self {
        Self(self.0.with_mounted_directory(path.as_ref(), &source.0, None))
    }

    /// As [`with_mounted_directory`](Self::with_mounted_directory), owned by `owner` inside.
    #[must_use]
    pub fn with_mounted_directory_owned(
        &self,
        path: impl AsRef<str>,
        source: &Directory,
        owner: impl AsRef<str>,
    ) -> Self {
        Self(
            self.0
                .with_mounted_directory(path.as_ref(), &source.0, Some(owner.as_ref())),
        )
    }

    /// Mount a file, read-only for steps.
    #[must_use]
    pub fn with_mounted_file(&self, path: impl AsRef<str>, source: &File) -> Self {
        Self(self.0.with_mounted_file(path.as_ref(), &source.0, None))
    }

    /// As [`with_mounted_file`](Self::with_mounted_file), owned by `owner` inside.
    #[must_use]
    pub fn with_mounted_file_owned(
        &self,
        path: impl AsRef<str>,
        source: &File,
        owner: impl AsRef<str>,
    ) -> Self {
        Self(
            self.0
                .with_mounted_file(path.as_ref(), &source.0, Some(owner.as_ref())),
        )
    }

    /// Mount a cache volume.
    #[must_use]
    pub fn with_mounted_cache(&self, path: impl AsRef<str>, volume: &CacheVolume) -> Self {
        Self(self.0.with_mounted_cache(path.as_ref(), &volume.0))
    }

    /// Mount a secret's value as a file in memory; owner root and mode 0o400.
    #[must_use]
    pub fn with_mounted_secret(&self, path: impl AsRef<str>, source: &Secret) -> Self {
        Self(self.0.with_mounted_secret(path.as_ref(), &source.0, None, None))
    }

    /// Mount a secret's value as a file in memory; owner root and mode 0o400 unless given.
    #[must_use]
    pub fn with_mounted_secret_opts(
        &self,
        path: impl AsRef<str>,
        source: &Secret,
        owner: Option<&str>,
        mode: Option<u32>,
    ) -> Self {
        Self(self.0.with_mounted_secret(path.as_ref(), &source.0, owner, mode))
    }

    /// Mount an empty directory in memory, of this many bytes at most when given.
    #[must_use]
    pub fn with_mounted_temp(&self, path: impl AsRef<str>, size: Option<u64>) -> Self {
        Self(self.0.with_mounted_temp(path.as_ref(), size))
    }

    /// Take the mount at `path` away.
    #[must_use]
    pub fn without_mount(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_mount(path.as_ref()))
    }

    /// Standard output of the last step. A container without a step is an `invalid` error.
    pub async fn stdout(&self) -> Result<String> {
        Ok(eval::stdout(&self.0).await?)
    }

    /// Standard output of the last step as a file named `stdout`, however large.
    ///
    /// ```no_run
    /// # use wharf_sdk::prelude::*;
    /// # async fn example(base: Container) -> Result<Vec<u8>> {
    /// let dump = base.with_exec(["sh", "-c", "seq 1 100000000"]).stdout_file();
    /// dump.read(0, 1024).await
    /// # }
    /// ```
    pub fn stdout_file(&self) -> File {
        eval::stdout_file(&self.0).into()
    }

    /// Standard error of the last step as a file named `stderr`, however large.
    pub fn stderr_file(&self) -> File {
        eval::stderr_file(&self.0).into()
    }

    /// Standard error of the last step.
    pub async fn stderr(&self) -> Result<String> {
        Ok(eval::stderr(&self.0).await?)
    }

    /// Standard output and standard error of the last step, in the order of their arrival.
    pub async fn combined_output(&self) -> Result<String> {
        Ok(eval::combined_output(&self.0).await?)
    }

    /// Exit code of the last step, as far as it was expected: 0 unless `expect` says otherwise.
    pub async fn exit_code(&self) -> Result<i32> {
        Ok(eval::exit_code(&self.0).await?)
    }

    /// Run all steps of the container.
    pub async fn sync(&self) -> Result<()> {
        Ok(eval::container_sync(&self.0).await?)
    }

    /// Does the path exist in the container? Mounted directories count.
    pub async fn exists(&self, path: impl Into<String>) -> Result<bool> {
        Ok(eval::container_exists(&self.0, path.into()).await?)
    }

    /// Facts about a path of the container; symbolic links are followed inside the root.
    pub async fn stat(&self, path: impl Into<String>) -> Result<Stat> {
        Ok(eval::container_stat(&self.0, path.into()).await?)
    }

    /// Value of an environment variable; none when it is not set. Secret variables are not shown.
    pub async fn env_variable(&self, name: impl Into<String>) -> Result<Option<String>> {
        Ok(eval::env_variable(&self.0, name.into()).await?)
    }

    /// All environment variables in the order in which they were set.
    pub async fn env_variables(&self) -> Result<Vec<Variable>> {
        Ok(eval::env_variables(&self.0).await?)
    }

    /// All annotations, by name.
    pub async fn annotations(&self) -> Result<Vec<Variable>> {
        Ok(eval::annotations(&self.0).await?)
    }

    /// All labels, by name.
    pub async fn labels(&self) -> Result<Vec<Variable>> {
        Ok(eval::labels(&self.0).await?)
    }

    /// The entrypoint; empty when there is none.
    pub async fn entrypoint(&self) -> Result<Vec<String>> {
        Ok(eval::entrypoint(&self.0).await?)
    }

    /// The default arguments; empty when there are none.
    pub async fn default_args(&self) -> Result<Vec<String>> {
        Ok(eval::default_args(&self.0).await?)
    }

    /// The user as it was set; empty when it was not.
    pub async fn user(&self) -> Result<String> {
        Ok(eval::user(&self.0).await?)
    }

    /// The working directory.
    pub async fn workdir(&self) -> Result<String> {
        Ok(eval::workdir(&self.0).await?)
    }

    /// The paths that have a mount.
    pub async fn mounts(&self) -> Result<Vec<String>> {
        Ok(eval::mounts(&self.0).await?)
    }

    /// The platform.
    pub async fn platform(&self) -> Result<Platform> {
        Ok(eval::container_platform(&self.0).await?)
    }

    /// The reference of the image that the container started from, with its digest; none for a container of no image.
    pub async fn image_ref(&self) -> Result<Option<String>> {
        Ok(eval::image_ref(&self.0).await?)
    }

    /// Digest of the root file system and the configuration; the same on every machine. Mounts are not part of it.
    pub async fn digest(&self) -> Result<String> {
        Ok(eval::container_digest(&self.0).await?)
    }

    /// Write the container as an OCI archive (a tar file) to `path` on the caller's disk.
    pub async fn export(&self, path: impl Into<String>) -> Result<()> {
        Ok(exports::export_container(&self.0, path.into()).await?)
    }

    /// Load the container as an image into the caller's own Docker, under this name: `acme/app:dev`. Returns the image's id.
    pub async fn load(&self, name: impl Into<String>) -> Result<String> {
        Ok(exports::load(&self.0, name.into()).await?)
    }

    /// Push the container as an image to a registry: `ghcr.io/acme/app:1.0`, with the tag `latest` unless it has one. The layers of
    /// the image that it started from keep their digests; what the registry has is not sent again. Returns the reference
    /// with the image's digest.
    pub async fn publish(&self, reference: impl Into<String>) -> Result<String> {
        Ok(registry::publish(&self.0, reference.into(), None).await?)
    }

    /// As [`Self::publish`], with further tags, platforms and a login.
    pub async fn publish_opts(
        &self,
        reference: impl Into<String>,
        options: &PublishOptions,
    ) -> Result<String> {
        Ok(registry::publish(&self.0, reference.into(), Some(&options.0)).await?)
    }
}
