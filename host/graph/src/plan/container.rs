//! Containers, folded: what a chain of builder calls leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    lifecycle,
    path::{absolute, below},
    service::{self, Bound},
    tree::{Location, Make, Step, Tree},
};
use crate::{
    error::Error,
    gpu::GpuRequest,
    image::{ImageConfig, Platform},
    op::{Configure, CopyOptions, ExecOptions, Mount, Network, SecretId, Sharing, Stream, TreeEdit},
    read::Configuration,
};

/// A container: root file system, configuration and mounts.
#[derive(Clone, Debug)]
pub struct ContainerPlan {
    /// The root file system.
    pub root: Arc<Tree>,
    /// The tree of the last step, whose output reads are about.
    pub last_step: Option<Arc<Tree>>,
    /// The configuration; what an image of this container would say.
    pub config: ImageConfig,
    /// Annotations of the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// Mounts by absolute path.
    pub mounts: BTreeMap<String, Mount<Location>>,
    /// Secret variables.
    pub secret_env: BTreeMap<String, SecretId>,
    /// Variables whose values are in no key.
    pub volatile_env: BTreeMap<String, String>,
    /// Whose it is, where clients are told apart.
    pub scope: Option<String>,
    /// What later steps can reach.
    pub network: Network,
    /// The services that later steps reach, by name.
    pub services: Bound,
    /// Cache volumes that the module that has the container lends to those that get it, by path: may they write?
    pub(super) lends: BTreeMap<String, bool>,
    /// Paths of cache volumes that are lent by the one that had it.
    pub(super) borrowed: BTreeSet<String>,
    /// The GPUs that later steps have.
    pub gpus: Option<GpuRequest>,
    /// What modules that had the container before put into it, by their scope.
    pub(super) put_away: BTreeMap<String, Belongings>,
    /// The platform.
    pub platform: Platform,
    /// The image it started from, with digest.
    pub image_ref: Option<String>,
}

/// What a module has put into a container for its own steps alone.
#[derive(Clone, Debug)]
pub(super) struct Belongings {
    mounts: BTreeMap<String, Mount<Location>>,
    lends: BTreeMap<String, bool>,
    secret_env: BTreeMap<String, SecretId>,
    volatile_env: BTreeMap<String, String>,
    network: Network,
    services: Bound,
    gpus: Option<GpuRequest>,
}

impl ContainerPlan {
    /// An empty container.
    pub(super) fn scratch(platform: Platform) -> Self {
        Self {
            root: Tree::new(Make::Empty),
            last_step: None,
            config: ImageConfig::default(),
            annotations: BTreeMap::new(),
            mounts: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            volatile_env: BTreeMap::new(),
            scope: None,
            network: Network::None,
            services: Bound::new(),
            lends: BTreeMap::new(),
            borrowed: BTreeSet::new(),
            gpus: None,
            put_away: BTreeMap::new(),
            platform,
            image_ref: None,
        }
    }

    /// A path as the container's working directory makes it absolute.
    pub(super) fn at(&self, path: &str) -> String {
        absolute(&self.config.workdir, path)
    }

    /// What reads about the configuration see.
    pub fn configuration(&self) -> Configuration {
        Configuration {
            config: self.config.clone(),
            annotations: self.annotations.clone(),
            mounts: self.mounts.keys().cloned().collect(),
            platform: self.platform.clone(),
            image_ref: self.image_ref.clone(),
        }
    }

    /// The same container with its root file system changed.
    pub(super) fn edited(mut self, edit: TreeEdit<Location>) -> Self {
        self.root = Tree::new(Make::Edit {
            base: self.root,
            edit,
        });
        self
    }

    /// The place of `path` as steps see it: in a mount where one lies above it, in the root file system otherwise, with
    /// the directories and files that are mounted below it.
    pub fn place(&self, path: &str) -> Result<Location, Error> {
        let path = self.at(path);
        let mounted_above = self
            .mounts
            .iter()
            .rev()
            .find_map(|(at, mount)| Some((at, mount, below(&path, at)?)));
        let mut place = match mounted_above {
            None => Location {
                tree: Arc::clone(&self.root),
                path: path.clone(),
            },
            Some((at, mount, rest)) => match mount {
                Mount::Directory { source, .. } => Location {
                    tree: Arc::clone(&source.tree),
                    path: absolute(&source.path, &rest[1..]),
                },
                Mount::File { source, .. } if rest == "/" => source.clone(),
                Mount::File { .. } => return Err(Error::NotFound(format!("{path}: {at} is a mounted file"))),
                _ => {
                    let what = mount_kind(mount);
                    return Err(Error::Invalid(format!(
                        "{path} lies in {what} ({at}), which is not part of a snapshot"
                    )));
                }
            },
        };
        for (at, mount) in &self.mounts {
            let Some(rest) = below(at, &path).filter(|rest| *rest != "/") else {
                continue;
            };
            let edit = match mount {
                Mount::Directory { source, .. } => TreeEdit::CopyDirectory {
                    path: rest.to_owned(),
                    source: source.clone(),
                    options: CopyOptions::default(),
                },
                Mount::File { source, .. } => TreeEdit::CopyFiles {
                    path: rest.to_owned(),
                    sources: vec![source.clone()],
                    into_directory: false,
                    options: CopyOptions::default(),
                },
                _ => continue,
            };
            place = Location::root(Tree::new(Make::Edit {
                base: place.rooted(),
                edit,
            }));
        }
        Ok(place)
    }

    /// What the last step printed, as a file.
    pub(super) fn output_file(&self, stream: Stream) -> Result<Location, Error> {
        let none = || Error::Invalid("the container has run nothing: call with-exec first".to_owned());
        let of = Arc::clone(self.last_step.as_ref().ok_or_else(none)?);
        Ok(Location {
            tree: Tree::new(Make::Output { of, stream }),
            path: format!("/{}", stream.name()),
        })
    }

    /// The container after a command.
    pub(super) fn after(mut self, args: &[String], options: &ExecOptions, nonce: u64) -> Result<Self, Error> {
        let step = self.step(args, options, nonce, "with-exec")?;
        self.root = Tree::new(Make::Exec(Box::new(step)));
        self.last_step = Some(Arc::clone(&self.root));
        Ok(self)
    }

    /// The step that a program would be which is run beside the graph: nothing remembers it.
    pub fn program(&self, args: &[String]) -> Result<Step, Error> {
        self.step(args, &ExecOptions::default(), 0, "a terminal")
    }

    /// The step that a command would be; `what` asks for it.
    pub(super) fn step(
        &self,
        args: &[String],
        options: &ExecOptions,
        nonce: u64,
        what: &str,
    ) -> Result<Step, Error> {
        let given = if args.is_empty() {
            &self.config.default_args
        } else {
            args
        };
        let entrypoint = if options.use_entrypoint {
            self.config.entrypoint.as_slice()
        } else {
            &[]
        };
        let args: Vec<String> = entrypoint
            .iter()
            .chain(given)
            .map(|arg| {
                if options.expand {
                    self.config.expand(arg)
                } else {
                    arg.clone()
                }
            })
            .collect();
        if args.is_empty() {
            return Err(Error::Invalid(format!(
                "{what} has no arguments and the container has no default arguments"
            )));
        }
        if args[0].is_empty() {
            return Err(Error::Invalid(format!("{what} has an empty program name")));
        }
        if let Some(bad) = args.iter().find(|arg| arg.contains('\0')) {
            return Err(Error::Invalid(format!(
                "an argument holds a NUL character: {bad:?}"
            )));
        }
        let redirect = |path: &Option<String>| path.as_deref().map(|path| self.at(path));
        let step = Step {
            root: Arc::clone(&self.root),
            args,
            env: self.config.env.iter().cloned().collect(),
            secret_env: self.secret_env.clone(),
            volatile_env: self.volatile_env.clone(),
            volatile_of: self.scope.clone().filter(|_| !self.volatile_env.is_empty()),
            workdir: self.at(""),
            user: self.config.user.clone(),
            stdin: options.stdin.clone(),
            redirect_stdout: redirect(&options.redirect_stdout),
            redirect_stderr: redirect(&options.redirect_stderr),
            mounts: self.mounts.clone(),
            network: self.network.clone(),
            services: self.services.clone(),
            gpus: self.gpus,
            platform: self.platform.clone(),
            expect: options.expect,
            limits: options.limits,
            timeout: options.timeout,
            nonce: options.no_cache.then_some(nonce),
            reason: options.reason.clone(),
        };
        service::check_volumes(&step)?;
        Ok(step)
    }

    /// Puts away what belongs to the module that had the container, and takes out what the next one had put into it before.
    fn hand_over(&mut self, from: &str, to: &str) {
        let is_own = |mount: &Mount<Location>| matches!(mount, Mount::Cache(_) | Mount::Secret { .. });
        let borrowed = std::mem::take(&mut self.borrowed);
        let mounts = std::mem::take(&mut self.mounts).into_iter();
        // What it had borrowed itself is not its own to put away, or to lend.
        let (own, shared) = mounts
            .filter(|(path, _)| !borrowed.contains(path))
            .partition(|(_, mount)| is_own(mount));
        self.mounts = shared;
        let lends = std::mem::take(&mut self.lends);
        for (path, mount) in lent(&own, &lends) {
            self.borrowed.insert(path.clone());
            self.mounts.insert(path, mount);
        }
        let belongings = Belongings {
            mounts: own,
            lends,
            secret_env: std::mem::take(&mut self.secret_env),
            volatile_env: std::mem::take(&mut self.volatile_env),
            network: std::mem::replace(&mut self.network, Network::None),
            services: std::mem::take(&mut self.services),
            gpus: self.gpus.take(),
        };
        self.put_away.insert(from.to_owned(), belongings);
        let Some(next) = self.put_away.remove(to) else {
            return;
        };
        self.borrowed.retain(|path| !next.mounts.contains_key(path));
        self.mounts.extend(next.mounts);
        self.lends = next.lends;
        (self.secret_env, self.volatile_env) = (next.secret_env, next.volatile_env);
        (self.network, self.services) = (next.network, next.services);
        self.gpus = next.gpus;
    }

    /// Takes a mount away, and whether it was lent.
    fn forget_mount(&mut self, at: &str) {
        self.mounts.remove(at);
        self.lends.remove(at);
        self.borrowed.remove(at);
    }

    /// The container after a change that runs nothing.
    pub(super) fn configured(
        mut self,
        change: &Configure,
        mount: Option<Mount<Location>>,
    ) -> Result<Self, Error> {
        let config = &mut self.config;
        match change {
            Configure::Env { name, value, expand } => {
                check_variable(name, value)?;
                let value = if *expand {
                    config.expand(value)
                } else {
                    value.clone()
                };
                config.set_env(name, value);
                self.secret_env.remove(name);
                self.volatile_env.remove(name);
            }
            Configure::UnsetEnv(name) => {
                config.unset_env(name);
                self.volatile_env.remove(name);
            }
            Configure::SecretEnv(name, secret) => {
                check_variable(name, "")?;
                config.unset_env(name);
                self.volatile_env.remove(name);
                self.secret_env.insert(name.clone(), secret.clone());
            }
            Configure::UnsetSecretEnv(name) => {
                self.secret_env.remove(name);
            }
            Configure::VolatileEnv(name, value) => {
                check_variable(name, value)?;
                config.unset_env(name);
                self.secret_env.remove(name);
                self.volatile_env.insert(name.clone(), value.clone());
            }
            Configure::Workdir(path) => config.workdir = absolute(&config.workdir, path),
            Configure::UnsetWorkdir => config.workdir.clear(),
            Configure::User(user) => config.user.clone_from(user),
            Configure::UnsetUser => config.user.clear(),
            Configure::Entrypoint {
                args,
                keep_default_args,
            } => {
                config.entrypoint.clone_from(args);
                if !keep_default_args {
                    config.default_args.clear();
                }
            }
            Configure::DefaultArgs(args) => config.default_args.clone_from(args),
            Configure::Label(name, value) => {
                config.labels.insert(name.clone(), value.clone());
            }
            Configure::UnsetLabel(name) => {
                config.labels.remove(name);
            }
            Configure::Annotation(name, value) => {
                self.annotations.insert(name.clone(), value.clone());
            }
            Configure::UnsetAnnotation(name) => {
                self.annotations.remove(name);
            }
            Configure::Expose(port) => {
                if !config.exposed_ports.contains(port) {
                    config.exposed_ports.push(port.clone());
                    config.exposed_ports.sort();
                }
            }
            Configure::Unexpose(port) => config.exposed_ports.retain(|exposed| exposed != port),
            Configure::Network(network) => self.network.clone_from(network),
            Configure::Mount(path, _) => {
                let at = self.at(path);
                if at == "/" {
                    return Err(Error::Invalid(
                        "nothing can be mounted on /: use with-rootfs".to_owned(),
                    ));
                }
                self.forget_mount(&at);
                self.mounts.extend(mount.map(|mount| (at, mount)));
            }
            Configure::Unmount(path) => {
                let at = self.at(path);
                self.forget_mount(&at);
            }
            Configure::LendCache(path, writable) => {
                let at = self.at(path);
                if self.borrowed.contains(&at) || !matches!(self.mounts.get(&at), Some(Mount::Cache(_))) {
                    return Err(Error::Invalid(format!(
                        "there is no cache volume of this module at {at} to lend"
                    )));
                }
                self.lends.insert(at, *writable);
            }
            Configure::HandOver { from, to } => self.hand_over(from, to),
            Configure::Gpus(Some(GpuRequest { count: 0, .. })) => {
                return Err(Error::Invalid(
                    "a request for no GPU: ask for 1 at least".to_owned(),
                ));
            }
            Configure::Gpus(request) => self.gpus = *request,
            Configure::HealthCheck { args, options } => lifecycle::set_health_check(config, args, *options)?,
            Configure::UnsetHealthCheck => lifecycle::unset_health_check(config)?,
        }
        Ok(self)
    }
}

/// Those of a module's mounts that it lends, as the next one's steps have them.
fn lent(
    own: &BTreeMap<String, Mount<Location>>,
    lends: &BTreeMap<String, bool>,
) -> Vec<(String, Mount<Location>)> {
    let lent = lends.iter().filter_map(|(path, writable)| {
        let Some(Mount::Cache(volume)) = own.get(path) else {
            return None;
        };
        let mut volume = volume.clone();
        if !writable {
            volume.sharing = Sharing::ReadOnly;
        }
        Some((path.clone(), Mount::Cache(volume)))
    });
    lent.collect()
}

fn mount_kind<S>(mount: &Mount<S>) -> &'static str {
    match mount {
        Mount::Directory { .. } => "a mounted directory",
        Mount::File { .. } => "a mounted file",
        Mount::Cache(_) => "a cache volume",
        Mount::Secret { .. } => "a mounted secret",
        Mount::Temp { .. } => "a temporary directory",
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), Error> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(Error::Invalid(format!(
            "{name:?} cannot be the name of a variable, or its value holds a NUL"
        )));
    }
    Ok(())
}
