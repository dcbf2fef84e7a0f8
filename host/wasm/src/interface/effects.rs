//! The caller's disk, environment and screen: `host`, `exports` and `log`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{
    Container, Directory, Error, File, Service,
    op::{CopyOptions, HostPort},
};

use super::convert;
use crate::{
    bindings::wharf::pipeline::{exports, exports_sync, host, host_sync, log, types as wit},
    state::{HasState, Level, State},
};

type Outcome<T> = wasmtime::Result<Result<T, wit::Error>>;

fn find_up(project: &Path, name: &str, start: &str) -> Result<Option<String>, Error> {
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

fn host_variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::Invalid(format!("the variable {name} is not UTF-8")))
        }
    }
}

impl State {
    fn host_directory(
        &mut self,
        path: &str,
        options: Option<&Resource<CopyOptions>>,
    ) -> wasmtime::Result<Directory> {
        let options = options
            .map(|options| self.table.get(options))
            .transpose()?
            .cloned();
        let filter = options.map(|options| options.filter).unwrap_or_else(host_filter);
        let path = std::path::absolute(self.host_path(path))?;
        Ok(match path.to_str() {
            Some(path) => Directory::host(path, filter),
            None => Directory::failed(Error::Invalid(format!("{} is not UTF-8", path.display()))),
        })
    }

    fn host_file(&mut self, path: &str) -> wasmtime::Result<File> {
        let path = std::path::absolute(self.host_path(path))?;
        Ok(match path.to_str() {
            Some(path) => File::host(path),
            None => File::failed(Error::Invalid(format!("{} is not UTF-8", path.display()))),
        })
    }
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
        let service = Service::host(host, ports);
        self.meter.describe(service.node().encoding().len())?;
        for port in ports {
            self.pipeline.allow_dial(host, port.host);
        }
        Ok(service)
    }
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
        let project = accessor.with(|mut access| access.get().project.clone());
        Ok(find_up(&project, &name, &start).map_err(convert::error))
    }

    async fn up(
        accessor: &Accessor<T, Self>,
        service: Resource<Service>,
        ports: Vec<host::Forward>,
    ) -> Outcome<()> {
        let (pipeline, node) = accessor.with(|mut access| {
            let state = access.get();
            let node = Arc::clone(state.table.get(&service)?.node());
            Ok::<_, wasmtime::Error>((Arc::clone(&state.pipeline), node))
        })?;
        let ports: Vec<HostPort> = ports.into_iter().map(Into::into).collect();
        Ok(pipeline.up(&node, &ports).await.map_err(convert::error))
    }

    async fn env_variable(_: &Accessor<T, Self>, name: String) -> Outcome<Option<String>> {
        Ok(host_variable(&name).map_err(convert::error))
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
        Ok(self.pipeline.up(&node, &ports).await.map_err(convert::error))
    }

    async fn find_up(&mut self, name: String, start: String) -> Outcome<Option<String>> {
        Ok(find_up(&self.project, &name, &start).map_err(convert::error))
    }

    async fn env_variable(&mut self, name: String) -> Outcome<Option<String>> {
        Ok(host_variable(&name).map_err(convert::error))
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
                let (pipeline, node, path) = accessor.with(|mut access| {
                    let state = access.get();
                    let node = Arc::clone(state.table.get(&handle)?.node());
                    Ok::<_, wasmtime::Error>((Arc::clone(&state.pipeline), node, state.host_path(&path)))
                })?;
                Ok(pipeline.$name(&node, &path).await.map_err(convert::error))
            })*

            async fn load(
                accessor: &Accessor<T, Self>,
                container: Resource<Container>,
                name: String,
            ) -> Outcome<String> {
                let (pipeline, node) = accessor.with(|mut access| {
                    let state = access.get();
                    let node = Arc::clone(state.table.get(&container)?.node());
                    Ok::<_, wasmtime::Error>((Arc::clone(&state.pipeline), node))
                })?;
                Ok(pipeline.load(&node, &name).await.map_err(convert::error))
            }
        }

        impl exports_sync::Host for &mut State {
            $(async fn $name(&mut self, handle: Resource<$kind>, path: String) -> Outcome<()> {
                let node = Arc::clone(self.table.get(&handle)?.node());
                let path = self.host_path(&path);
                Ok(self.pipeline.$name(&node, &path).await.map_err(convert::error))
            })*

            async fn load(&mut self, container: Resource<Container>, name: String) -> Outcome<String> {
                let node = Arc::clone(self.table.get(&container)?.node());
                Ok(self.pipeline.load(&node, &name).await.map_err(convert::error))
            }
        }
    };
}

exports! {
    fn export_directory(Directory);
    fn export_file(File);
    fn export_container(Container);
}

impl log::Host for &mut State {
    fn info(&mut self, message: String) -> wasmtime::Result<()> {
        self.pipeline.log(&self.module, Level::Info, &message);
        Ok(())
    }

    fn warn(&mut self, message: String) -> wasmtime::Result<()> {
        self.pipeline.log(&self.module, Level::Warn, &message);
        Ok(())
    }

    fn error(&mut self, message: String) -> wasmtime::Result<()> {
        self.pipeline.log(&self.module, Level::Error, &message);
        Ok(())
    }

    fn progress(&mut self, current: u64, total: u64) -> wasmtime::Result<()> {
        self.pipeline.progress(&self.module, current, total);
        Ok(())
    }
}

impl wit::Host for &mut State {}
