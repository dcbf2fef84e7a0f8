//! From what modules say that they call to modules that are on this machine: as wharf.lock has them, and chosen anew where it
//! does not say.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use semver::Version;
use wharf_manifest::{About, Dependency, ModuleName};
use wharf_oci::Reference;

use crate::{
    artifact::Artifact,
    error::{Error, Result},
    lock::{Lock, Locked},
    modules::{Found, Modules, Moved},
    name::{ModuleRef, Wanted},
    solve::{Catalogue, Need, solve},
};

/// As many modules as are pulled at once.
const AT_ONCE: usize = 8;

/// A module whose source is on this machine. The first of several is the one that all this is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is: no place of a registry.
    pub place: String,
    /// Its name.
    pub name: String,
    /// What it calls.
    pub calls: Vec<(ModuleName, Target)>,
}

/// Where a module that a source calls is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// On this machine: another source, by its place.
    Here(String),
    /// In a registry.
    There(Dependency),
}

/// A module of a registry that is on this machine, and what is known of it.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// As the lock has it.
    pub locked: Locked,
    /// Its repository at its digest.
    pub reference: Reference,
    /// What it says of itself.
    pub about: Option<About>,
    /// Where its component lies.
    pub path: PathBuf,
}

impl Modules {
    /// Chooses versions for all that these sources call. What the lock has stays as it is while it fits, but for the modules
    /// named in `anew`. With `--locked` the lock has to have it all.
    pub async fn resolve(&self, sources: &[Source], lock: Option<&Lock>, anew: &[String]) -> Result<Lock> {
        let old = lock.cloned().unwrap_or_default();
        if anew.is_empty() {
            match self.as_locked(sources, &old).await {
                Err(error) if self.pinning().locked => {
                    return Err(match error {
                        Error::Conflict(why) => Error::Stale(why.trim().to_owned()),
                        other => other,
                    });
                }
                Err(_) => {}
                locked => return locked,
            }
        }
        let kept = Lock {
            modules: old
                .modules
                .iter()
                .filter(|module| !anew.contains(&module.name))
                .cloned()
                .collect(),
            ..Lock::default()
        };
        let before = kept
            .modules
            .iter()
            .map(|module| (module.place.clone(), module.version.clone()));
        let registries = Registries::new(self, sources, &kept).await?;
        let chosen = solve(registries.local.root(), &before.collect(), &registries).await?;
        registries.finish(&chosen, &old)
    }

    /// The same by the lock alone, which asks nobody.
    async fn as_locked(&self, sources: &[Source], lock: &Lock) -> Result<Lock> {
        let mut local = Local::default();
        for source in sources {
            let needs = source.calls.iter().map(|(name, target)| {
                // The lock says which registry a name stands for: another setting of this machine does not change it.
                let named = || {
                    let found = lock.modules.iter().find(|module| module.name == name.to_string());
                    found.map(|module| module.place.clone())
                };
                let place = match target.place(name)? {
                    Some(place) => place,
                    None => named().ok_or_else(|| Error::Conflict(format!("{name} is not in it")))?,
                };
                Ok(target.need(name, place))
            });
            local.add(source, needs.collect::<Result<_>>()?);
        }
        let chosen = solve(local.root(), &BTreeMap::new(), &FromLock(&local, lock)).await?;
        let is_used = |module: &&Locked| chosen.get(&module.place) == Some(&module.version);
        let modules: Vec<Locked> = lock.modules.iter().filter(is_used).cloned().collect();
        if self.pinning().locked && modules.len() < lock.modules.len() {
            return Err(Error::Stale(
                "it holds modules that nothing calls any more".to_owned(),
            ));
        }
        Ok(Lock {
            modules,
            ..lock.clone()
        })
    }

    /// Brings the modules of a lock here, several at once.
    pub async fn gather(&self, lock: &Lock, moved: &Arc<Moved>) -> Result<Vec<Gathered>> {
        let all = lock
            .modules
            .iter()
            .map(|locked| self.gather_one(lock, locked, moved));
        stream::iter(all).buffered(AT_ONCE).try_collect().await
    }

    async fn gather_one(&self, lock: &Lock, locked: &Locked, moved: &Arc<Moved>) -> Result<Gathered> {
        let wanted = pinned(&locked.place, Some(&locked.digest))?;
        let pulled = self.pull(&wanted, moved).await.map_err(|error| Error::Through {
            chain: lock.callers(&locked.place),
            source: Box::new(lost(error, locked)),
        })?;
        Ok(Gathered {
            locked: locked.clone(),
            about: about(&pulled.artifact),
            path: self.kept_at(&pulled.artifact.component.digest)?,
            reference: pulled.reference,
        })
    }

    /// The place of what is called: a repository when versions are wanted, and all of a reference otherwise.
    async fn place_of(&self, name: &ModuleName, target: &Target) -> Result<String> {
        match target.place(name)? {
            Some(place) => Ok(place),
            None => Ok(repository_name(&self.repository(name).await?)),
        }
    }
}

impl Target {
    /// Where it is, unless its name has to be looked up.
    fn place(&self, name: &ModuleName) -> Result<Option<String>> {
        Ok(match self {
            Self::There(Dependency::Git { .. }) => {
                return Err(Error::Git {
                    name: name.to_string(),
                });
            }
            Self::Here(place) => Some(place.clone()),
            Self::There(Dependency::Oci { reference, version }) => {
                let read: Reference = reference.parse()?;
                Some(match version {
                    Some(_) => repository_name(&read),
                    None => read.to_string(),
                })
            }
            Self::There(_) => None,
        })
    }

    fn need(&self, name: &ModuleName, place: String) -> Need {
        let wanted = match self {
            Self::There(
                Dependency::Registry { version }
                | Dependency::Oci {
                    version: Some(version),
                    ..
                },
            ) => Wanted::Within(version.clone()),
            _ => Wanted::Newest,
        };
        Need {
            name: name.to_string(),
            place,
            wanted,
        }
    }
}

fn repository_name(reference: &Reference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

/// Does a place name one thing, rather than a repository with its versions?
fn is_one(place: &str) -> bool {
    place
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains([':', '@']))
}

/// A place's one thing, or a version or digest of its repository.
fn pinned(place: &str, tag_or_digest: Option<&str>) -> Result<ModuleRef> {
    let reference: Reference = place.parse()?;
    let reference = match tag_or_digest {
        Some(digest) if digest.contains(':') => reference.at_digest(digest),
        Some(tag) => format!("{}:{tag}", repository_name(&reference)).parse()?,
        None => reference,
    };
    Ok(ModuleRef::Place {
        reference,
        is_pinned: true,
    })
}

/// What a registry does not have that a lock names is lost.
fn lost(error: Error, locked: &Locked) -> Error {
    match error {
        Error::NotFound { registry, .. } => Error::Lost {
            module: format!("{} {}", locked.name, locked.version),
            name: locked.name.clone(),
            digest: locked.digest.clone(),
            registry,
        },
        other => other,
    }
}

/// What a module says of itself, as its registry has it.
fn about(artifact: &Artifact) -> Option<About> {
    artifact.said.as_ref()?.about()
}

/// The module among these that a dependency means.
pub fn found<'a>(
    all: &'a [Gathered],
    name: &ModuleName,
    dependency: &Dependency,
) -> Result<Option<&'a Gathered>> {
    let place = Target::There(dependency.clone()).place(name)?;
    Ok(all.iter().find(|one| match &place {
        Some(place) => one.locked.place == *place,
        None => one.locked.name == name.to_string(),
    }))
}

/// The sources and what they call, by place.
#[derive(Default)]
struct Local {
    root: Option<(String, String)>,
    needs: HashMap<String, Vec<Need>>,
}

impl Local {
    fn add(&mut self, source: &Source, needs: Vec<Need>) {
        self.root
            .get_or_insert_with(|| (source.place.clone(), source.name.clone()));
        self.needs.insert(source.place.clone(), needs);
    }

    fn root(&self) -> (String, Vec<Need>) {
        let Some((place, name)) = &self.root else {
            return Default::default();
        };
        (name.clone(), self.needs.get(place).cloned().unwrap_or_default())
    }

    /// Sources are one version each, whatever they call themselves.
    fn versions(&self, place: &str) -> Option<Vec<Version>> {
        self.needs
            .contains_key(place)
            .then(|| vec![Version::new(0, 0, 0)])
    }
}

/// What a lock says there is.
struct FromLock<'a>(&'a Local, &'a Lock);

impl Catalogue for FromLock<'_> {
    async fn versions(&self, place: &str) -> Result<Vec<Version>> {
        let of_lock = || self.1.of_place(place).map(|module| vec![module.version.clone()]);
        Ok(self.0.versions(place).or_else(of_lock).unwrap_or_default())
    }

    async fn needs(&self, place: &str, _: &Version) -> Result<Vec<Need>> {
        let of_lock = || self.1.of_place(place).map(|module| module.calls.clone());
        let local = self.0.needs.get(place).cloned();
        Ok(local.or_else(of_lock).unwrap_or_default())
    }
}

/// What registries say there is.
struct Registries<'a> {
    modules: &'a Modules,
    local: Local,
    /// What stays as it is.
    kept: &'a Lock,
    found: Mutex<HashMap<(String, Version), (Found, Vec<Need>)>>,
}

impl<'a> Registries<'a> {
    async fn new(modules: &'a Modules, sources: &[Source], kept: &'a Lock) -> Result<Self> {
        let mut local = Local::default();
        for source in sources {
            let mut needs = Vec::new();
            for (name, target) in &source.calls {
                needs.push(target.need(name, modules.place_of(name, target).await?));
            }
            local.add(source, needs);
        }
        Ok(Self {
            modules,
            local,
            kept,
            found: Mutex::default(),
        })
    }

    async fn find(&self, place: &str, version: &Version) -> Result<Found> {
        // What is locked is asked for by its digest, which costs nothing when it is here.
        let locked = self
            .kept
            .of_place(place)
            .filter(|locked| locked.version == *version);
        if let Some(locked) = locked {
            let found = self.modules.find(&pinned(place, Some(&locked.digest))?).await;
            return found.map_err(|error| lost(error, locked));
        }
        let tag = version.to_string();
        let wanted = pinned(place, Some(tag.as_str()).filter(|_| !is_one(place)))?;
        self.modules.find(&wanted).await
    }

    fn finish(self, chosen: &BTreeMap<String, Version>, old: &Lock) -> Result<Lock> {
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut modules = Vec::new();
        for (place, version) in chosen {
            let Some((found, calls)) = found.remove(&(place.clone(), version.clone())) else {
                continue;
            };
            let called = || calls_by_name(&self.local, place);
            let said = found.artifact.said.as_ref().and_then(|said| said.name());
            let locked = Locked {
                name: called()
                    .or(said.map(str::to_owned))
                    .unwrap_or_else(|| place.clone()),
                version: version.clone(),
                place: place.clone(),
                digest: found.artifact.digest.clone(),
                calls,
            };
            // A tag that names no version may move. A version may not.
            if let Some(before) = old.of_place(place).filter(|before| before.version == *version)
                && before.digest != locked.digest
                && !is_one(place)
            {
                return Err(Error::Moved {
                    module: format!("{} {version}", locked.name),
                    locked: before.digest.clone(),
                    there: locked.digest,
                    registry: found.reference.registry().to_owned(),
                });
            }
            modules.push(locked);
        }
        Ok(Lock {
            modules,
            ..old.clone()
        })
    }
}

/// The name under which a source calls a place.
fn calls_by_name(local: &Local, place: &str) -> Option<String> {
    let all = local.needs.values().flatten();
    all.filter(|need| need.place == place)
        .map(|need| need.name.clone())
        .next()
}

impl Catalogue for Registries<'_> {
    async fn versions(&self, place: &str) -> Result<Vec<Version>> {
        if let Some(versions) = self.local.versions(place) {
            return Ok(versions);
        }
        if !is_one(place) {
            return self.modules.versions(&place.parse()?).await;
        }
        // It is the version that it says.
        let locked = self.kept.of_place(place).map(|locked| locked.digest.as_str());
        let found = self.modules.find(&pinned(place, locked)?).await?;
        let said = found.artifact.said.as_ref().and_then(|said| said.version());
        let version = said.and_then(|version| version.parse().ok());
        Ok(vec![version.unwrap_or(Version::new(0, 0, 0))])
    }

    async fn needs(&self, place: &str, version: &Version) -> Result<Vec<Need>> {
        if let Some(needs) = self.local.needs.get(place) {
            return Ok(needs.clone());
        }
        let found = self.find(place, version).await?;
        let mut needs = Vec::new();
        let calls = about(&found.artifact)
            .map(|about| about.dependencies)
            .unwrap_or_default();
        for (name, dependency) in calls {
            let target = Target::There(dependency);
            needs.push(target.need(&name, self.modules.place_of(&name, &target).await?));
        }
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((place.to_owned(), version.clone()), (found, needs.clone()));
        Ok(needs)
    }
}
