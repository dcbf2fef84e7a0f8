//! Builders: each appends a node and returns its handle at once.

use std::time::Duration;

use wasmtime::component::Resource;
use wharf_graph::{
    Changeset, Container, Directory, Error, File, Secret, Volume,
    build::Edit,
    op::{
        Configure, CopyOptions, ExecOptions, Expect, FileEdit, HealthCheckOptions, Network, Sharing, Stdin,
    },
    publish::Login,
};
use wharf_hosts::Hosts;
use wharf_manifest::Capability;

use super::convert;
use crate::{
    bindings::wharf::pipeline::{
        cache, container, filesystem, image, network, secret,
        types::{ExitExpectation, Platform},
    },
    state::{Level, Said, State},
};

type Handle<T> = wasmtime::Result<Resource<T>>;

impl State {
    fn copy_options(&self, options: Option<&Resource<CopyOptions>>) -> wasmtime::Result<CopyOptions> {
        Ok(options
            .map(|options| self.table.get(options))
            .transpose()?
            .cloned()
            .unwrap_or_default())
    }

    fn files(&self, files: &[Resource<File>]) -> wasmtime::Result<Vec<File>> {
        files
            .iter()
            .map(|file| Ok(self.table.get(file)?.clone()))
            .collect()
    }

    fn directory(
        &mut self,
        of: &Resource<Directory>,
        change: impl FnOnce(&Directory) -> Directory,
    ) -> Handle<Directory> {
        let changed = change(self.table.get(of)?);
        self.meter.describe(changed.node().encoding().len())?;
        Ok(self.table.push(changed)?)
    }

    fn container(
        &mut self,
        of: &Resource<Container>,
        change: impl FnOnce(&Container) -> Container,
    ) -> Handle<Container> {
        let changed = change(self.table.get(of)?);
        self.meter.describe(changed.node().encoding().len())?;
        Ok(self.table.push(changed)?)
    }

    /// Tells of a step that gives what it has to files of another module; why it is refused, when it is.
    fn expose(&mut self, step: &Container) -> Option<Error> {
        let exposed = self.lineage.exposed(step)?;
        let refused = self.held.check_exposed(&exposed).err();
        if refused.is_none() && self.lineage.is_news(&exposed) {
            self.pipeline.log(Said {
                module: self.module.clone(),
                level: Level::Info,
                group: None,
                place: None,
                text: exposed.to_string(),
            });
        }
        refused
    }

    fn configure(&mut self, of: &Resource<Container>, change: Configure) -> Handle<Container> {
        self.container(of, |container| container.configure(change))
    }

    fn exec_options(
        &mut self,
        options: &Resource<ExecOptions>,
        set: impl FnOnce(&mut ExecOptions),
    ) -> wasmtime::Result<()> {
        set(self.table.get_mut(options)?);
        Ok(())
    }
}

impl secret::Host for &mut State {}

impl secret::HostSecret for &mut State {
    fn of_value(&mut self, name: String, value: String) -> Handle<Secret> {
        self.held_secret(name, value)
    }

    fn name(&mut self, own: Resource<Secret>) -> wasmtime::Result<String> {
        Ok(self.table.get(&own)?.name.clone())
    }

    fn scheme(&mut self, own: Resource<Secret>) -> wasmtime::Result<String> {
        Ok(self
            .table
            .get(&own)?
            .id
            .uri
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned())
    }

    fn drop(&mut self, own: Resource<Secret>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl filesystem::Host for &mut State {}

impl filesystem::HostCopyOptions for &mut State {
    fn new(&mut self) -> Handle<CopyOptions> {
        Ok(self.table.push(CopyOptions::default())?)
    }

    fn set_include(&mut self, own: Resource<CopyOptions>, patterns: Vec<String>) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.filter.include = patterns;
        Ok(())
    }

    fn set_exclude(&mut self, own: Resource<CopyOptions>, patterns: Vec<String>) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.filter.exclude = patterns;
        Ok(())
    }

    fn set_gitignore(&mut self, own: Resource<CopyOptions>, enabled: bool) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.filter.gitignore = enabled;
        Ok(())
    }

    fn set_owner(&mut self, own: Resource<CopyOptions>, owner: String) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.owner = Some(owner);
        Ok(())
    }

    fn set_mode(&mut self, own: Resource<CopyOptions>, mode: u32) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.mode = Some(mode & 0o7777);
        Ok(())
    }

    fn drop(&mut self, own: Resource<CopyOptions>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl filesystem::HostDirectory for &mut State {
    fn new(&mut self) -> Handle<Directory> {
        Ok(self.table.push(Directory::empty())?)
    }

    fn subdirectory(&mut self, own: Resource<Directory>, path: String) -> Handle<Directory> {
        State::directory(self, &own, |directory| directory.directory(&path))
    }

    fn file(&mut self, own: Resource<Directory>, path: String) -> Handle<File> {
        let file = self.table.get(&own)?.file(&path);
        Ok(self.table.push(file)?)
    }

    fn with_directory(
        &mut self,
        own: Resource<Directory>,
        path: String,
        source: Resource<Directory>,
        options: Option<Resource<CopyOptions>>,
    ) -> Handle<Directory> {
        let (source, options) = (
            self.table.get(&source)?.clone(),
            self.copy_options(options.as_ref())?,
        );
        State::directory(self, &own, |base| {
            base.edit(Edit::copy_directory(&path, &source, options))
        })
    }

    fn with_file(
        &mut self,
        own: Resource<Directory>,
        path: String,
        source: Resource<File>,
        options: Option<Resource<CopyOptions>>,
    ) -> Handle<Directory> {
        let (source, options) = (
            self.table.get(&source)?.clone(),
            self.copy_options(options.as_ref())?,
        );
        State::directory(self, &own, |base| {
            base.edit(Edit::copy_file(&path, &source, options))
        })
    }

    fn with_files(
        &mut self,
        own: Resource<Directory>,
        path: String,
        sources: Vec<Resource<File>>,
        options: Option<Resource<CopyOptions>>,
    ) -> Handle<Directory> {
        let (sources, options) = (self.files(&sources)?, self.copy_options(options.as_ref())?);
        State::directory(self, &own, |base| {
            base.edit(Edit::copy_files(&path, &sources, options))
        })
    }

    fn with_symlink(&mut self, own: Resource<Directory>, target: String, path: String) -> Handle<Directory> {
        State::directory(self, &own, |base| base.edit(Edit::symlink(&target, &path)))
    }

    fn without_directory(&mut self, own: Resource<Directory>, path: String) -> Handle<Directory> {
        State::directory(self, &own, |base| base.edit(Edit::remove(&[path])))
    }

    fn without_file(&mut self, own: Resource<Directory>, path: String) -> Handle<Directory> {
        State::directory(self, &own, |base| base.edit(Edit::remove(&[path])))
    }

    fn with_new_file(
        &mut self,
        own: Resource<Directory>,
        path: String,
        contents: String,
        mode: Option<u32>,
    ) -> Handle<Directory> {
        State::directory(self, &own, |base| {
            base.edit(Edit::new_file(&path, contents.as_bytes(), mode, None))
        })
    }

    fn with_new_directory(
        &mut self,
        own: Resource<Directory>,
        path: String,
        mode: Option<u32>,
    ) -> Handle<Directory> {
        State::directory(self, &own, |base| {
            base.edit(Edit::new_directory(&path, mode, None))
        })
    }

    fn without_files(&mut self, own: Resource<Directory>, paths: Vec<String>) -> Handle<Directory> {
        State::directory(self, &own, |base| base.edit(Edit::remove(&paths)))
    }

    fn filter(&mut self, own: Resource<Directory>, options: Resource<CopyOptions>) -> Handle<Directory> {
        let filter = self.copy_options(Some(&options))?.filter;
        State::directory(self, &own, |base| base.filter(filter))
    }

    fn diff(&mut self, own: Resource<Directory>, other: Resource<Directory>) -> Handle<Directory> {
        let other = self.table.get(&other)?.clone();
        State::directory(self, &own, |base| base.diff(&other))
    }

    fn with_changes(&mut self, own: Resource<Directory>, changes: Resource<Changeset>) -> Handle<Directory> {
        let changes = self.table.get(&changes)?.clone();
        State::directory(self, &own, |base| base.with_changes(&changes))
    }

    fn with_patch(&mut self, own: Resource<Directory>, patch: String) -> Handle<Directory> {
        State::directory(self, &own, |base| base.edit(Edit::patch(&patch)))
    }

    fn chown(&mut self, own: Resource<Directory>, path: String, owner: String) -> Handle<Directory> {
        State::directory(self, &own, |base| base.edit(Edit::chown(&path, &owner)))
    }

    fn with_timestamps(&mut self, own: Resource<Directory>, seconds: u64) -> Handle<Directory> {
        State::directory(self, &own, |base| base.edit(Edit::timestamps(seconds)))
    }

    fn drop(&mut self, own: Resource<Directory>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl State {
    fn edited_file(&mut self, own: &Resource<File>, edit: FileEdit) -> Handle<File> {
        let file = self.table.get(own)?.edit(edit);
        self.meter.describe(file.node().encoding().len())?;
        Ok(self.table.push(file)?)
    }
}

impl filesystem::HostFile for &mut State {
    fn new(&mut self, name: String, contents: String) -> Handle<File> {
        self.meter.describe(contents.len())?;
        Ok(self.table.push(File::new(&name, contents.as_bytes()))?)
    }

    fn unpack(&mut self, own: Resource<File>) -> Handle<Directory> {
        let directory = self.table.get(&own)?.unpack();
        self.meter.describe(directory.node().encoding().len())?;
        Ok(self.table.push(directory)?)
    }

    fn with_name(&mut self, own: Resource<File>, name: String) -> Handle<File> {
        self.edited_file(&own, FileEdit::Rename(name))
    }

    fn with_replaced(
        &mut self,
        own: Resource<File>,
        text: String,
        replacement: String,
        all: bool,
    ) -> Handle<File> {
        let edit = FileEdit::Replace {
            text,
            replacement,
            all,
        };
        self.edited_file(&own, edit)
    }

    fn chown(&mut self, own: Resource<File>, owner: String) -> Handle<File> {
        self.edited_file(&own, FileEdit::Chown(owner))
    }

    fn with_timestamps(&mut self, own: Resource<File>, seconds: u64) -> Handle<File> {
        self.edited_file(&own, FileEdit::Timestamp(seconds))
    }

    fn drop(&mut self, own: Resource<File>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl State {
    fn changed_volume(
        &mut self,
        own: &Resource<Volume>,
        change: impl FnOnce(Volume) -> Volume,
    ) -> Handle<Volume> {
        let volume = change(self.table.get(own)?.clone());
        Ok(self.table.push(volume)?)
    }
}

impl cache::Host for &mut State {}

impl cache::HostVolume for &mut State {
    fn new(&mut self, name: String) -> Handle<Volume> {
        let volume = match self.held.check(Capability::Caches, &name) {
            Ok(()) => Volume::new(&self.scope, &name),
            Err(denied) => Volume::failed(denied),
        };
        Ok(self.table.push(volume)?)
    }

    fn with_sharing(&mut self, own: Resource<Volume>, sharing: cache::Sharing) -> Handle<Volume> {
        let sharing = match sharing {
            cache::Sharing::Shared => Sharing::Shared,
            cache::Sharing::Private => Sharing::Private,
            cache::Sharing::Locked => Sharing::Locked,
            cache::Sharing::ReadOnly => Sharing::ReadOnly,
        };
        self.changed_volume(&own, |volume| volume.with_sharing(sharing))
    }

    fn with_source(&mut self, own: Resource<Volume>, source: Resource<Directory>) -> Handle<Volume> {
        let source = self.table.get(&source)?.clone();
        self.changed_volume(&own, |volume| volume.with_source(&source))
    }

    fn with_owner(&mut self, own: Resource<Volume>, owner: String) -> Handle<Volume> {
        self.changed_volume(&own, |volume| volume.with_owner(&owner))
    }

    fn drop(&mut self, own: Resource<Volume>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl container::Host for &mut State {}

impl container::HostExecOptions for &mut State {
    fn new(&mut self) -> Handle<ExecOptions> {
        Ok(self.table.push(ExecOptions::default())?)
    }

    fn set_stdin_secret(
        &mut self,
        own: Resource<ExecOptions>,
        value: Resource<Secret>,
    ) -> wasmtime::Result<()> {
        let id = self.table.get(&value)?.id.clone();
        self.exec_options(&own, |options| options.stdin = Stdin::Secret(id))
    }

    fn set_expect(&mut self, own: Resource<ExecOptions>, expect: ExitExpectation) -> wasmtime::Result<()> {
        let expect = match expect {
            ExitExpectation::Success => Expect::Success,
            ExitExpectation::Failure => Expect::Failure,
            ExitExpectation::Any => Expect::Any,
        };
        self.exec_options(&own, |options| options.expect = expect)
    }

    fn set_stdin(&mut self, own: Resource<ExecOptions>, text: String) -> wasmtime::Result<()> {
        self.meter.describe(text.len())?;
        self.exec_options(&own, |options| options.stdin = Stdin::Text(text))
    }

    fn set_redirect_stdout(&mut self, own: Resource<ExecOptions>, path: String) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.redirect_stdout = Some(path))
    }

    fn set_redirect_stderr(&mut self, own: Resource<ExecOptions>, path: String) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.redirect_stderr = Some(path))
    }

    fn set_use_entrypoint(&mut self, own: Resource<ExecOptions>, enabled: bool) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.use_entrypoint = enabled)
    }

    fn set_expand(&mut self, own: Resource<ExecOptions>, enabled: bool) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.expand = enabled)
    }

    fn set_timeout(&mut self, own: Resource<ExecOptions>, milliseconds: u64) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| {
            options.timeout = Some(Duration::from_millis(milliseconds))
        })
    }

    fn set_no_cache(&mut self, own: Resource<ExecOptions>, enabled: bool) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.no_cache = enabled)
    }

    fn set_cpu_limit(&mut self, own: Resource<ExecOptions>, millicpus: u32) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.limits.millicpus = Some(millicpus))
    }

    fn set_memory_limit(&mut self, own: Resource<ExecOptions>, bytes: u64) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.limits.memory = Some(bytes))
    }

    fn set_pids_limit(&mut self, own: Resource<ExecOptions>, count: u32) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.limits.pids = Some(count))
    }

    fn set_reason(&mut self, own: Resource<ExecOptions>, text: String) -> wasmtime::Result<()> {
        self.exec_options(&own, |options| options.reason = Some(text))
    }

    fn drop(&mut self, own: Resource<ExecOptions>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl container::HostContainer for &mut State {
    fn new(&mut self) -> Handle<Container> {
        Ok(self.table.push(Container::scratch(None))?)
    }

    fn scratch(&mut self, platform: Platform) -> Handle<Container> {
        Ok(self
            .table
            .push(Container::scratch(Some(convert::to_platform(platform))))?)
    }

    fn with_rootfs(&mut self, own: Resource<Container>, root: Resource<Directory>) -> Handle<Container> {
        let root = self.table.get(&root)?.clone();
        State::container(self, &own, |base| base.with_rootfs(&root))
    }

    fn rootfs(&mut self, own: Resource<Container>) -> Handle<Directory> {
        let root = self.table.get(&own)?.rootfs();
        Ok(self.table.push(root)?)
    }

    fn directory(&mut self, own: Resource<Container>, path: String) -> Handle<Directory> {
        let directory = self.table.get(&own)?.directory(&path);
        Ok(self.table.push(directory)?)
    }

    fn file(&mut self, own: Resource<Container>, path: String) -> Handle<File> {
        let file = self.table.get(&own)?.file(&path);
        Ok(self.table.push(file)?)
    }

    fn with_exec(
        &mut self,
        own: Resource<Container>,
        args: Vec<String>,
        options: Option<Resource<ExecOptions>>,
    ) -> Handle<Container> {
        let options = options
            .map(|options| self.table.get(&options).cloned())
            .transpose()?
            .unwrap_or_default();
        let step = self.table.get(&own)?.with_exec(&args, options);
        let refused = self.expose(&step);
        State::container(self, &own, |_| refused.map_or(step, Container::failed))
    }

    fn with_env_variable(
        &mut self,
        own: Resource<Container>,
        name: String,
        value: String,
        expand: bool,
    ) -> Handle<Container> {
        self.configure(&own, Configure::Env { name, value, expand })
    }

    fn with_secret_variable(
        &mut self,
        own: Resource<Container>,
        name: String,
        value: Resource<Secret>,
    ) -> Handle<Container> {
        let id = self.table.get(&value)?.id.clone();
        self.configure(&own, Configure::SecretEnv(name, id))
    }

    fn with_exposed_port(
        &mut self,
        own: Resource<Container>,
        port: u16,
        protocol: String,
    ) -> Handle<Container> {
        self.configure(&own, Configure::Expose(format!("{port}/{protocol}")))
    }

    fn without_exposed_port(
        &mut self,
        own: Resource<Container>,
        port: u16,
        protocol: String,
    ) -> Handle<Container> {
        self.configure(&own, Configure::Unexpose(format!("{port}/{protocol}")))
    }

    fn with_docker_healthcheck(
        &mut self,
        own: Resource<Container>,
        args: Vec<String>,
        options: Option<Resource<HealthCheckOptions>>,
    ) -> Handle<Container> {
        let options = options.map(|options| self.table.get(&options).copied());
        let options = options.transpose()?.unwrap_or_default();
        self.configure(&own, Configure::HealthCheck { args, options })
    }

    fn without_docker_healthcheck(&mut self, own: Resource<Container>) -> Handle<Container> {
        self.configure(&own, Configure::UnsetHealthCheck)
    }

    fn with_entrypoint(
        &mut self,
        own: Resource<Container>,
        args: Vec<String>,
        keep_default_args: bool,
    ) -> Handle<Container> {
        self.configure(
            &own,
            Configure::Entrypoint {
                args,
                keep_default_args,
            },
        )
    }

    fn without_entrypoint(&mut self, own: Resource<Container>, keep_default_args: bool) -> Handle<Container> {
        self.configure(
            &own,
            Configure::Entrypoint {
                args: Vec::new(),
                keep_default_args,
            },
        )
    }

    fn without_env_variable(&mut self, own: Resource<Container>, name: String) -> Handle<Container> {
        self.configure(&own, Configure::UnsetEnv(name))
    }

    fn without_secret_variable(&mut self, own: Resource<Container>, name: String) -> Handle<Container> {
        self.configure(&own, Configure::UnsetSecretEnv(name))
    }

    fn with_volatile_variable(
        &mut self,
        own: Resource<Container>,
        name: String,
        value: String,
    ) -> Handle<Container> {
        self.configure(&own, Configure::VolatileEnv(name, value))
    }

    fn with_workdir(&mut self, own: Resource<Container>, path: String) -> Handle<Container> {
        self.configure(&own, Configure::Workdir(path))
    }

    fn without_workdir(&mut self, own: Resource<Container>) -> Handle<Container> {
        self.configure(&own, Configure::UnsetWorkdir)
    }

    fn with_user(&mut self, own: Resource<Container>, user: String) -> Handle<Container> {
        self.configure(&own, Configure::User(user))
    }

    fn without_user(&mut self, own: Resource<Container>) -> Handle<Container> {
        self.configure(&own, Configure::UnsetUser)
    }

    fn with_default_args(&mut self, own: Resource<Container>, args: Vec<String>) -> Handle<Container> {
        self.configure(&own, Configure::DefaultArgs(args))
    }

    fn without_default_args(&mut self, own: Resource<Container>) -> Handle<Container> {
        self.configure(&own, Configure::DefaultArgs(Vec::new()))
    }

    fn with_label(&mut self, own: Resource<Container>, name: String, value: String) -> Handle<Container> {
        self.configure(&own, Configure::Label(name, value))
    }

    fn without_label(&mut self, own: Resource<Container>, name: String) -> Handle<Container> {
        self.configure(&own, Configure::UnsetLabel(name))
    }

    fn with_annotation(
        &mut self,
        own: Resource<Container>,
        name: String,
        value: String,
    ) -> Handle<Container> {
        self.configure(&own, Configure::Annotation(name, value))
    }

    fn without_annotation(&mut self, own: Resource<Container>, name: String) -> Handle<Container> {
        self.configure(&own, Configure::UnsetAnnotation(name))
    }

    fn without_files(&mut self, own: Resource<Container>, paths: Vec<String>) -> Handle<Container> {
        State::container(self, &own, |base| base.edit(Edit::remove(&paths)))
    }

    fn without_mount(&mut self, own: Resource<Container>, path: String) -> Handle<Container> {
        self.configure(&own, Configure::Unmount(path))
    }

    fn with_lent_cache(
        &mut self,
        own: Resource<Container>,
        path: String,
        writable: bool,
    ) -> Handle<Container> {
        self.configure(&own, Configure::LendCache(path, writable))
    }

    fn with_directory(
        &mut self,
        own: Resource<Container>,
        path: String,
        source: Resource<Directory>,
        options: Option<Resource<CopyOptions>>,
    ) -> Handle<Container> {
        let (source, options) = (
            self.table.get(&source)?.clone(),
            self.copy_options(options.as_ref())?,
        );
        State::container(self, &own, |base| {
            base.edit(Edit::copy_directory(&path, &source, options))
        })
    }

    fn with_file(
        &mut self,
        own: Resource<Container>,
        path: String,
        source: Resource<File>,
        options: Option<Resource<CopyOptions>>,
    ) -> Handle<Container> {
        let (source, options) = (
            self.table.get(&source)?.clone(),
            self.copy_options(options.as_ref())?,
        );
        State::container(self, &own, |base| {
            base.edit(Edit::copy_file(&path, &source, options))
        })
    }

    fn with_files(
        &mut self,
        own: Resource<Container>,
        path: String,
        sources: Vec<Resource<File>>,
        options: Option<Resource<CopyOptions>>,
    ) -> Handle<Container> {
        let (sources, options) = (self.files(&sources)?, self.copy_options(options.as_ref())?);
        State::container(self, &own, |base| {
            base.edit(Edit::copy_files(&path, &sources, options))
        })
    }

    fn with_symlink(&mut self, own: Resource<Container>, target: String, path: String) -> Handle<Container> {
        State::container(self, &own, |base| base.edit(Edit::symlink(&target, &path)))
    }

    fn without_directory(&mut self, own: Resource<Container>, path: String) -> Handle<Container> {
        State::container(self, &own, |base| base.edit(Edit::remove(&[path])))
    }

    fn without_file(&mut self, own: Resource<Container>, path: String) -> Handle<Container> {
        State::container(self, &own, |base| base.edit(Edit::remove(&[path])))
    }

    fn with_new_file(
        &mut self,
        own: Resource<Container>,
        path: String,
        contents: String,
        mode: Option<u32>,
        owner: Option<String>,
    ) -> Handle<Container> {
        let edit = Edit::new_file(&path, contents.as_bytes(), mode, owner.as_deref());
        State::container(self, &own, |base| base.edit(edit))
    }

    fn with_new_directory(
        &mut self,
        own: Resource<Container>,
        path: String,
        mode: Option<u32>,
        owner: Option<String>,
    ) -> Handle<Container> {
        State::container(self, &own, |base| {
            base.edit(Edit::new_directory(&path, mode, owner.as_deref()))
        })
    }

    fn with_mounted_directory(
        &mut self,
        own: Resource<Container>,
        path: String,
        source: Resource<Directory>,
        owner: Option<String>,
    ) -> Handle<Container> {
        let source = self.table.get(&source)?.clone();
        State::container(self, &own, |base| {
            base.with_mounted_directory(&path, &source, owner.as_deref())
        })
    }

    fn with_mounted_file(
        &mut self,
        own: Resource<Container>,
        path: String,
        source: Resource<File>,
        owner: Option<String>,
    ) -> Handle<Container> {
        let source = self.table.get(&source)?.clone();
        State::container(self, &own, |base| {
            base.with_mounted_file(&path, &source, owner.as_deref())
        })
    }

    fn with_mounted_cache(
        &mut self,
        own: Resource<Container>,
        path: String,
        volume: Resource<Volume>,
    ) -> Handle<Container> {
        let volume = self.table.get(&volume)?.clone();
        State::container(self, &own, |base| base.with_mounted_cache(&path, &volume))
    }

    fn with_mounted_secret(
        &mut self,
        own: Resource<Container>,
        path: String,
        source: Resource<Secret>,
        owner: Option<String>,
        mode: Option<u32>,
    ) -> Handle<Container> {
        let secret = self.table.get(&source)?.clone();
        State::container(self, &own, |base| {
            base.with_mounted_secret(&path, &secret, owner.as_deref(), mode)
        })
    }

    fn with_mounted_temp(
        &mut self,
        own: Resource<Container>,
        path: String,
        size: Option<u64>,
    ) -> Handle<Container> {
        State::container(self, &own, |base| base.with_mounted_temp(&path, size))
    }

    fn drop(&mut self, own: Resource<Container>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl network::Host for &mut State {
    fn with_network(&mut self, container: Resource<Container>, mode: network::Mode) -> Handle<Container> {
        let network = match mode {
            network::Mode::None => Network::None,
            network::Mode::All => Network::All,
        };
        if network == Network::All
            && let Err(denied) = self.held.check_all(Capability::Network)
        {
            return Ok(self.table.push(Container::failed(denied))?);
        }
        State::container(self, &container, |base| base.with_network(network))
    }

    fn with_network_hosts(
        &mut self,
        container: Resource<Container>,
        hosts: Vec<String>,
    ) -> Handle<Container> {
        self.meter.describe(hosts.iter().map(String::len).sum())?;
        let allowed = hosts
            .iter()
            .try_for_each(|host| self.held.check(Capability::Network, host));
        let network = match Hosts::parse(&hosts) {
            Err(error) => Err(Error::Invalid(format!("with-network-hosts: {error}"))),
            Ok(hosts) if hosts.is_empty() => Ok(Network::None),
            Ok(hosts) => allowed.map(|()| Network::Hosts(hosts)),
        };
        match network {
            Ok(network) => State::container(self, &container, |base| base.with_network(network)),
            Err(error) => Ok(self.table.push(Container::failed(error))?),
        }
    }
}

impl State {
    /// The container of an image, when the module may start from it.
    fn image(&self, right: Capability, name: &str, make: impl FnOnce(&str) -> Container) -> Container {
        match self.held.check(right, name) {
            Ok(()) => make(name),
            Err(denied) => Container::failed(denied),
        }
    }
}

impl image::Host for &mut State {
    fn pull(&mut self, reference: String, platform: Option<Platform>) -> Handle<Container> {
        let container = self.image(Capability::Images, &reference, |reference| {
            Container::image(reference, platform.map(convert::to_platform))
        });
        Ok(self.table.push(container)?)
    }

    fn of_archive(&mut self, file: Resource<File>, platform: Option<Platform>) -> Handle<Container> {
        let platform = platform.map(convert::to_platform);
        let container = Container::of_archive(self.table.get(&file)?, platform);
        Ok(self.table.push(container)?)
    }

    fn of_docker(&mut self, name: String) -> Handle<Container> {
        let container = self.image(Capability::Docker, &name, Container::of_docker);
        Ok(self.table.push(container)?)
    }

    fn pull_as(
        &mut self,
        reference: String,
        platform: Option<Platform>,
        user: String,
        password: Resource<Secret>,
    ) -> Handle<Container> {
        let password = self.table.get(&password)?.id.clone();
        let (platform, login) = (platform.map(convert::to_platform), Login { user, password });
        let container = self.image(Capability::Images, &reference, |reference| {
            Container::image_as(reference, platform, Some(login))
        });
        Ok(self.table.push(container)?)
    }
}
