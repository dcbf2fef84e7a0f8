//! The caller's disk and environment: `host` and `exports`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{
    Container, Directory, Error, File, Service,
    op::{CopyOptions, HostPort},
};
use wharf_manifest::Capability;

use super::convert;
use crate::{
    bindings::wharf::pipeline::{exports, exports_sync, host, host_sync, types as wit},
    state::{HasState, State},
};

type Outcome<T> = wasmtime::Result<Result<T, wit::Error>>;

fn find_up(state: &State, name: &str, start: &str) -> Result<Option<String>, Error> {
    state.check_path(Capability::HostRead, start)?;
    let project = &*state.project;
    if name.is_empty() || name.contains('/') {
        return Err(Error::Invalid(format!("{name:?} is no name of a file")));
    }
    let mut here: Option<PathBuf> = Some(project.join(start));
    while let Some(directory) = here {
        let found = directory.join(name);
        if found.exists() {
            let shown = found.strip_prefix(project).unwrap_or(&found);
            return Ok(Some(shown.to_string_lossy().into_owned()));
        }
        here = directory
            .parent()
            .filter(|parent| parent.starts_with(project))
            .map(Path::to_owned);
    }
    Ok(None)
}

/// A variable of the caller. One that was passed as a secret is as secret here.
fn host_variable(state: &State, name: &str) -> Result<Option<String>, Error> {
    state.held.check(Capability::HostEnv, name)?;
    if state.pipeline.is_secret(&format!("env:{name}")) {
        state.held.check(Capability::Reveal, name)?;
    }
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::Invalid(format!("the variable {name} is not UTF-8")))
        }
    }
}

impl State {
    pub(super) fn host_directory(
        &mut self,
        path: &str,
        options: Option<&Resource<CopyOptions>>,
    ) -> wasmtime::Result<Directory> {
        if let Err(denied) = self.check_path(Capability::HostRead, path) {
            return Ok(Directory::failed(denied));
        }
        self.own_directory(path, options)
    }

    /// A directory of the caller's disk that the module may read.
    pub(super) fn own_directory(
        &mut self,
        path: &str,
        options: Option<&Resource<CopyOptions>>,
    ) -> wasmtime::Result<Directory> {
        let options = options
            .map(|options| self.table.get(options))
            .transpose()?
            .cloned();
        let mut filter = options.map(|options| options.filter).unwrap_or_else(host_filter);
        let path = std::path::absolute(self.host_path(path))?;
        if self.held.check_all(Capability::Reveal).is_err() {
            filter
                .exclude
                .extend(secrets_below(&path, &self.pipeline.secret_files()));
        }
        Ok(match path.to_str() {
            Some(path) => Directory::host(path, filter),
            None => Directory::failed(Error::Invalid(format!("{} is not UTF-8", path.display()))),
        })
    }

    fn host_file(&mut self, path: &str) -> wasmtime::Result<File> {
        if let Err(denied) = self.check_path(Capability::HostRead, path) {
            return Ok(File::failed(denied));
        }
        let path = std::path::absolute(self.host_path(path))?;
        Ok(match path.to_str() {
            Some(text) if is_any(&path, &self.pipeline.secret_files()) => {
                match self.held.check_all(Capability::Reveal) {
                    Ok(()) => File::host(text),
                    Err(denied) => File::failed(denied),
                }
            }
            Some(text) => File::host(text),
            None => File::failed(Error::Invalid(format!("{} is not UTF-8", path.display()))),
        })
    }
}

/// Where a path leads; itself where nothing is.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Is it one of these files, by whatever name?
fn is_any(path: &Path, files: &[PathBuf]) -> bool {
    let path = real(path);
    files.iter().any(|file| real(file) == path)
}

/// Patterns for those of the files that lie below a directory.
fn secrets_below(directory: &Path, files: &[PathBuf]) -> Vec<String> {
    let directory = real(directory);
    let below = files.iter().filter_map(|file| {
        let file = real(file);
        let path = file.strip_prefix(&directory).ok()?.to_str()?;
        let mut pattern = String::from("/");
        for letter in path.chars() {
            // What patterns read otherwise.
            if matches!(letter, '\\' | '*' | '?' | '[' | ']' | '{' | '}' | '!' | '#' | ' ') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        Some(pattern)
    });
    below.collect()
}

impl From<host::Forward> for HostPort {
    fn from(host::Forward { host, service }: host::Forward) -> Self {
        Self { host, service }
    }
}

impl From<host_sync::Forward> for HostPort {
    fn from(host_sync::Forward { host, service }: host_sync::Forward) -> Self {
        Self { host, service }
    }
}

impl State {
    fn host_service(&mut self, host: &str, ports: &[HostPort]) -> wasmtime::Result<Service> {
        for port in ports {
            if let Err(denied) = self
                .held
                .check(Capability::Tunnels, &format!("{host}:{}", port.host))
            {
                return Ok(Service::failed(denied));
            }
        }
        let service = Service::host(host, ports);
        self.meter.describe(service.node().encoding().len())?;
        for port in ports {
            self.pipeline.allow_dial(host, port.host);
        }
        Ok(service)
    }
}

/// Nothing when the module may open these ports of the caller's machine.
fn may_open(state: &State, ports: &[HostPort]) -> Result<(), Error> {
    let checked = ports.iter().map(|port| {
        state
            .held
            .check(Capability::Tunnels, &format!("localhost:{}", port.host))
    });
    checked.collect()
}

/// What of the host's directories is taken unless told otherwise.
pub(crate) fn host_filter() -> wharf_graph::op::Filter {
    wharf_graph::op::Filter {
        gitignore: true,
        ..wharf_graph::op::Filter::default()
    }
}

impl host::Host for &mut State {
    fn directory_at(
        &mut self,
        path: String,
        options: Option<Resource<CopyOptions>>,
    ) -> wasmtime::Result<Resource<Directory>> {
        let directory = self.host_directory(&path, options.as_ref())?;
        Ok(self.table.push(directory)?)
    }

    fn file_at(&mut self, path: String) -> wasmtime::Result<Resource<File>> {
        let file = self.host_file(&path)?;
        Ok(self.table.push(file)?)
    }

    fn service_at(&mut self, host: String, ports: Vec<host::Forward>) -> wasmtime::Result<Resource<Service>> {
        let ports: Vec<HostPort> = ports.into_iter().map(Into::into).collect();
        let service = self.host_service(&host, &ports)?;
        Ok(self.table.push(service)?)
    }
}

impl<T: Send + 'static> host::HostWithStore<T> for HasState {
    async fn find_up(accessor: &Accessor<T, Self>, name: String, start: String) -> Outcome<Option<String>> {
        let found = accessor.with(|mut access| find_up(access.get(), &name, &start));
        Ok(found.map_err(convert::error))
    }

    async fn up(
        accessor: &Accessor<T, Self>,
        service: Resource<Service>,
        ports: Vec<host::Forward>,
    ) -> Outcome<()> {
        let ports: Vec<HostPort> = ports.into_iter().map(Into::into).collect();
        let (pipeline, node, allowed) = accessor.with(|mut access| {
            let state = access.get();
            let node = Arc::clone(state.table.get(&service)?.node());
            Ok::<_, wasmtime::Error>((Arc::clone(&state.pipeline), node, may_open(state, &ports)))
        })?;
        if let Err(denied) = allowed {
            return Ok(Err(convert::error(denied)));
        }
        Ok(pipeline.up(&node, &ports).await.map_err(convert::error))
    }

    async fn env_variable(accessor: &Accessor<T, Self>, name: String) -> Outcome<Option<String>> {
        let found = accessor.with(|mut access| host_variable(access.get(), &name));
        Ok(found.map_err(convert::error))
    }
}

impl host_sync::Host for &mut State {
    async fn directory_at(
        &mut self,
        path: String,
        options: Option<Resource<CopyOptions>>,
    ) -> wasmtime::Result<Resource<Directory>> {
        let directory = self.host_directory(&path, options.as_ref())?;
        Ok(self.table.push(directory)?)
    }

    async fn file_at(&mut self, path: String) -> wasmtime::Result<Resource<File>> {
        let file = self.host_file(&path)?;
        Ok(self.table.push(file)?)
    }

    async fn service_at(
        &mut self,
        host: String,
        ports: Vec<host_sync::Forward>,
    ) -> wasmtime::Result<Resource<Service>> {
        let ports: Vec<HostPort> = ports.into_iter().map(Into::into).collect();
        let service = self.host_service(&host, &ports)?;
        Ok(self.table.push(service)?)
    }

    async fn up(&mut self, service: Resource<Service>, ports: Vec<host_sync::Forward>) -> Outcome<()> {
        let node = Arc::clone(self.table.get(&service)?.node());
        let ports: Vec<HostPort> = ports.into_iter().map(Into::into).collect();
        if let Err(denied) = may_open(self, &ports) {
            return Ok(Err(convert::error(denied)));
        }
        Ok(self.pipeline.up(&node, &ports).await.map_err(convert::error))
    }

    async fn find_up(&mut self, name: String, start: String) -> Outcome<Option<String>> {
        Ok(find_up(self, &name, &start).map_err(convert::error))
    }

    async fn env_variable(&mut self, name: String) -> Outcome<Option<String>> {
        Ok(host_variable(self, &name).map_err(convert::error))
    }
}

/// Implements both twins of the exports.
macro_rules! exports {
    ($(fn $name:ident($kind:ty);)*) => {
        impl exports::Host for &mut State {}

        impl<T: Send + 'static> exports::HostWithStore<T> for HasState {
            $(async fn $name(
                accessor: &Accessor<T, Self>,
                handle: Resource<$kind>,
                path: String,
            ) -> Outcome<()> {
                let (pipeline, node, place) = accessor.with(|mut access| {
                    let state = access.get();
                    let node = Arc::clone(state.table.get(&handle)?.node());
                    let place = state.check_path(Capability::HostWrite, &path).map(|()| state.host_path(&path));
                    Ok::<_, wasmtime::Error>((Arc::clone(&state.pipeline), node, place))
                })?;
                Ok(match place {
                    Ok(place) => pipeline.$name(&node, &place).await.map_err(convert::error),
                    Err(denied) => Err(convert::error(denied)),
                })
            })*

            async fn load(
                accessor: &Accessor<T, Self>,
                container: Resource<Container>,
                name: String,
            ) -> Outcome<String> {
                let (pipeline, node, allowed) = accessor.with(|mut access| {
                    let state = access.get();
                    let node = Arc::clone(state.table.get(&container)?.node());
                    let allowed = state.held.check(Capability::Docker, &name);
                    Ok::<_, wasmtime::Error>((Arc::clone(&state.pipeline), node, allowed))
                })?;
                Ok(match allowed {
                    Ok(()) => pipeline.load(&node, &name).await.map_err(convert::error),
                    Err(denied) => Err(convert::error(denied)),
                })
            }
        }

        impl exports_sync::Host for &mut State {
            $(async fn $name(&mut self, handle: Resource<$kind>, path: String) -> Outcome<()> {
                let node = Arc::clone(self.table.get(&handle)?.node());
                Ok(match self.check_path(Capability::HostWrite, &path) {
                    Ok(()) => self.pipeline.$name(&node, &self.host_path(&path)).await.map_err(convert::error),
                    Err(denied) => Err(convert::error(denied)),
                })
            })*

            async fn load(&mut self, container: Resource<Container>, name: String) -> Outcome<String> {
                let node = Arc::clone(self.table.get(&container)?.node());
                Ok(match self.held.check(Capability::Docker, &name) {
                    Ok(()) => self.pipeline.load(&node, &name).await.map_err(convert::error),
                    Err(denied) => Err(convert::error(denied)),
                })
            }
        }
    };
}

exports! {
    fn export_directory(Directory);
    fn export_file(File);
    fn export_container(Container);
}

impl wit::Host for &mut State {}
