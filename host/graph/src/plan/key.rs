//! Keys: the digest of an operation and, for the definition key, of its inputs' keys.
//!
//! Only what a process can see is in a step's key: labels, ports, limits, timeout, reason and expectation are not. Secrets
//! and caches are there by identity, never by value.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use serde::Serialize;
use wharf_digest::Digest;

use super::{
    service::{Port, Provider},
    tree::{Location, Make, Step, Tree},
};
use crate::{
    image::Platform,
    op::{HostPort, Mount, Network, SecretId, Sharing, Stdin, Stream, TreeEdit},
    source::{Checkout, FetchSecret, Repository},
};

/// Version of what operations mean; raised whenever the same operation would give another result.
pub const SEMANTICS: u32 = 1;

/// Everything that decides a result, in a form that encodes the same way on every machine.
#[derive(Serialize)]
enum Material<'a> {
    Empty,
    Image(&'a str),
    Upload(Digest),
    Edit(Digest, TreeEdit<(Digest, String)>),
    Diff(Place<'a>, Place<'a>),
    Exec(Box<StepMaterial<'a>>),
    /// Content, name, and whose secrets it was fetched with: neither the URL nor the headers.
    Fetch(&'a str, String, BTreeSet<&'a SecretId>),
    Unpack(Place<'a>),
    /// Commit and place: a commit is the same wherever it is, submodules with relative addresses are not.
    Git(&'a str, Repository<(Digest, String)>, Checkout),
    Output(Digest, Stream),
}

/// An input: the key of its tree and the path in it.
#[derive(Serialize)]
struct Place<'a>(Digest, &'a str);

#[derive(Serialize)]
struct StepMaterial<'a> {
    root: Digest,
    args: &'a [String],
    env: &'a BTreeMap<String, String>,
    secret_env: &'a BTreeMap<String, SecretId>,
    volatile_env: Vec<&'a str>,
    workdir: &'a str,
    user: &'a str,
    stdin: &'a Stdin,
    redirects: [Option<&'a str>; 2],
    mounts: Vec<(&'a str, MountMaterial<'a>)>,
    network: &'a Network,
    /// By name.
    services: Vec<(&'a str, Digest)>,
    platform: &'a Platform,
    nonce: Option<u64>,
    /// How many; which ones, and how they were come by, nobody sees.
    gpus: Option<u32>,
}

#[derive(Serialize)]
enum ServiceMaterial<'a> {
    Process(Box<StepMaterial<'a>>, Option<&'a [String]>, Vec<Sharing>),
    Host(&'a str, &'a [HostPort]),
    /// Of one client among several: each has a machine of its own.
    HostOf(&'a str, &'a str, &'a [HostPort]),
}

#[derive(Serialize)]
enum MountMaterial<'a> {
    Directory(Place<'a>, Option<&'a str>),
    File(Place<'a>, Option<&'a str>),
    Cache {
        scope: &'a str,
        name: &'a str,
        read_only: bool,
        source: Option<Place<'a>>,
        owner: Option<&'a str>,
    },
    Secret(&'a SecretId, Option<&'a str>, u32),
    Temp(Option<u64>),
}

/// What stands for an input in the material.
#[derive(Clone, Copy)]
enum Naming {
    /// Its key: the material of a definition key.
    Definition,
    /// Nothing: the material of an operation key.
    Operation,
}

/// Definition key and operation key of what `make` makes.
pub(super) fn keys(make: &Make) -> (Digest, Digest) {
    (Naming::Definition.digest(make), Naming::Operation.digest(make))
}

/// The same of a service.
pub(super) fn service_keys(provider: &Provider, ports: &[Port]) -> (Digest, Digest) {
    let digest = |naming: Naming| {
        let material = match provider {
            Provider::Process { step, check, .. } => {
                // What checks it runs in it, and can change what it does.
                let check = check.as_ref().map(|check| check.args.as_slice());
                // Who waits for whom's volumes: a service that has one for itself is not one that shares it.
                let sharing = step.mounts.values().filter_map(|mount| match mount {
                    Mount::Cache(volume) => Some(volume.sharing),
                    _ => None,
                });
                ServiceMaterial::Process(Box::new(naming.step(step)), check, sharing.collect())
            }
            Provider::Host { host, ports, whose } => match whose {
                None => ServiceMaterial::Host(host, ports),
                Some(whose) => ServiceMaterial::HostOf(whose, host, ports),
            },
        };
        let material = ("wharf service", SEMANTICS, material, ports);
        Digest::of(&postcard::to_stdvec(&material).expect("key material always encodes"))
    };
    (digest(Naming::Definition), digest(Naming::Operation))
}

impl Naming {
    fn digest(self, make: &Make) -> Digest {
        let material = ("wharf key", SEMANTICS, self.material(make));
        Digest::of(&postcard::to_stdvec(&material).expect("key material always encodes"))
    }

    fn tree(self, tree: &Tree) -> Digest {
        match self {
            Self::Definition => tree.key,
            Self::Operation => Digest::ZERO,
        }
    }

    fn place(self, place: &Location) -> Place<'_> {
        Place(self.tree(&place.tree), &place.path)
    }

    fn material(self, make: &Make) -> Material<'_> {
        match make {
            Make::Empty => Material::Empty,
            Make::Image { manifest, .. } => Material::Image(manifest),
            Make::Upload { content, .. } => Material::Upload(*content),
            Make::Edit { base, edit } => {
                let Ok(edit) = edit.try_map(
                    |source| Ok::<_, Infallible>(self.owned_place(source)),
                    str::to_owned,
                );
                Material::Edit(self.tree(base), edit)
            }
            Make::Diff { lower, upper } => Material::Diff(self.place(lower), self.place(upper)),
            Make::Exec(step) => Material::Exec(Box::new(self.step(step))),
            Make::Fetch { request, digest } => Material::Fetch(
                digest,
                request.name(),
                request.secrets.iter().map(FetchSecret::id).collect(),
            ),
            Make::Unpack { source } => Material::Unpack(self.place(source)),
            Make::Git {
                repository,
                commit,
                checkout,
            } => {
                let Ok(mut repository) =
                    repository.try_map(|place| Ok::<_, Infallible>(self.owned_place(place)));
                // Who answers for a server's name does not change what a commit is.
                repository.known_hosts.clear();
                Material::Git(commit, repository, *checkout)
            }
            Make::Output { of, stream } => Material::Output(self.tree(of), *stream),
        }
    }

    fn owned_place(self, place: &Location) -> (Digest, String) {
        (self.tree(&place.tree), place.path.clone())
    }

    fn step(self, step: &Step) -> StepMaterial<'_> {
        StepMaterial {
            root: self.tree(&step.root),
            args: &step.args,
            env: &step.env,
            secret_env: &step.secret_env,
            volatile_env: step
                .volatile_env
                .keys()
                .map(String::as_str)
                .chain(step.volatile_of.as_deref())
                .collect(),
            workdir: &step.workdir,
            user: &step.user,
            stdin: &step.stdin,
            redirects: [step.redirect_stdout.as_deref(), step.redirect_stderr.as_deref()],
            mounts: step
                .mounts
                .iter()
                .map(|(path, mount)| (path.as_str(), self.mount(mount)))
                .collect(),
            network: &step.network,
            services: step
                .services
                .iter()
                .map(|(name, service)| {
                    let key = match self {
                        Self::Definition => service.key,
                        Self::Operation => service.op_key,
                    };
                    (name.as_str(), key)
                })
                .collect(),
            platform: &step.platform,
            nonce: step.nonce,
            gpus: step.gpus.map(|request| request.count),
        }
    }

    fn mount(self, mount: &Mount<Location>) -> MountMaterial<'_> {
        match mount {
            Mount::Directory { source, owner } => {
                MountMaterial::Directory(self.place(source), owner.as_deref())
            }
            Mount::File { source, owner } => MountMaterial::File(self.place(source), owner.as_deref()),
            Mount::Cache(volume) => MountMaterial::Cache {
                scope: &volume.scope,
                name: &volume.name,
                read_only: volume.sharing == Sharing::ReadOnly,
                source: volume.source.as_ref().map(|source| self.place(source)),
                owner: volume.owner.as_deref(),
            },
            Mount::Secret { secret, owner, mode } => MountMaterial::Secret(secret, owner.as_deref(), *mode),
            Mount::Temp { size } => MountMaterial::Temp(*size),
        }
    }
}
