//! What a module calls, gathered from the manifests of the modules on this machine, and found in registries.

use std::{
    cell::Cell,
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use wharf_build::{Finder, Foreign, Found, Recipe};
use wharf_client::Meanings;
use wharf_manifest::{About, Dependency, Manifest, Origin};
use wharf_registry::{Contents, Gathered, Lock, Modules, Moved, Source, Target, found};

use crate::{
    error::{Ended, Report},
    git_modules::Checkouts,
    places::Places,
    progress::Style,
    registries::{Reach, shown},
};

/// The modules of registries and repositories that a module calls, directly or through others, on this machine.
pub(crate) struct Shelf {
    registries: Vec<Gathered>,
    checkouts: Checkouts,
    /// Why something could not be had, as its reader should see it.
    failure: Cell<Option<Report>>,
}

impl Shelf {
    /// What ended the work when the module's code had no part in it: an interruption, or an engine that cannot be reached.
    pub(crate) fn breaking(&self) -> Option<Report> {
        let broke = |report: &Report| matches!(report.ended(), Ended::Interrupted | Ended::Unreachable);
        self.failure.take().filter(broke)
    }

    fn noted(&self, report: Report) -> String {
        let words = report.words();
        self.failure.set(Some(report));
        words
    }

    /// Of the module at a path.
    pub(crate) fn of_path(path: &Path, places: &Places, style: Style, reach: &Reach) -> Result<Self, Report> {
        if path.is_dir() {
            return Self::of_directory(path, places, style, reach);
        }
        // What is no component says so when it is loaded.
        let about = std::fs::read(path)
            .ok()
            .and_then(|bytes| Contents::of(&bytes).ok()?.about());
        Self::of_component(&path.display().to_string(), about, places, style, reach)
    }

    /// Of the module in a directory: as its wharf.lock says, which follows its wharf.toml unless it has to stay.
    fn of_directory(directory: &Path, places: &Places, style: Style, reach: &Reach) -> Result<Self, Report> {
        let manifest = wharf_build::manifest(directory)?;
        if manifest.dependencies.is_empty() {
            return Ok(Self::empty(places, style, reach));
        }
        let file = lock_file(directory);
        let mut lock = Lock::load(&file)?;
        let pins = lock.as_ref().map(|lock| lock.pins.clone()).unwrap_or_default();
        let checkouts = Checkouts::new(places, style, reach, pins);
        let sources = sources(directory, &manifest, &checkouts)?;
        let pins = checkouts.pins();
        if lock.is_some() || !pins.is_empty() {
            lock.get_or_insert_default().pins = pins;
        }
        let mut registries = Vec::new();
        if calls_registries(&sources) {
            let modules = reach.modules(places)?;
            let (resolved, all) = resolve(&modules, &sources, lock.as_ref(), style)?;
            (lock, registries) = (Some(resolved), all);
        }
        if let Some(lock) = lock.filter(|_| !reach.pinning.locked) {
            lock.save(&file)?;
        }
        Ok(Self {
            registries,
            checkouts,
            failure: Cell::new(None),
        })
    }

    fn empty(places: &Places, style: Style, reach: &Reach) -> Self {
        Self {
            registries: Vec::new(),
            checkouts: Checkouts::new(places, style, reach, Meanings::new()),
            failure: Cell::new(None),
        }
    }

    /// Of a component: nothing says which versions it was tried with.
    pub(crate) fn of_component(
        name: &str,
        about: Option<About>,
        places: &Places,
        style: Style,
        reach: &Reach,
    ) -> Result<Self, Report> {
        let dependencies = about.map(|about| about.dependencies).unwrap_or_default();
        let calls = dependencies
            .into_iter()
            .map(|(name, other)| (name, Target::There(other)));
        let source = Source {
            place: "component".to_owned(),
            name: name.to_owned(),
            calls: calls.collect(),
        };
        if source.calls.is_empty() {
            return Ok(Self::empty(places, style, reach));
        }
        let (_, all) = resolve(&reach.modules(places)?, &[source], None, style)?;
        Ok(Self {
            registries: all,
            ..Self::empty(places, style, reach)
        })
    }
}

impl Finder for Shelf {
    fn find(&self, wanted: &wharf_build::Wanted<'_>) -> Result<Found, String> {
        let one = found(&self.registries, wanted.name, wanted.dependency).map_err(|error| error.to_string())?;
        let one = one.ok_or("wharf.lock does not have it: `wharf update` resolves it")?;
        Ok(Found {
            component: one.path.clone(),
            origin: origin(&one.reference),
        })
    }

    fn source(&self, wanted: &wharf_build::Wanted<'_>) -> Result<Foreign, String> {
        let source = self.checkouts.source(wanted.dependency);
        let source = source.ok_or("it is in no repository")?;
        source.map_err(|report| self.noted(report))
    }

    fn build(&self, foreign: &Foreign, recipe: &Recipe) -> Result<PathBuf, String> {
        let built = self.checkouts.build(foreign, recipe);
        built.map_err(|report| self.noted(report))
    }
}

/// Where a module of a registry comes from.
pub(crate) fn origin(reference: &wharf_oci::Reference) -> Origin {
    Origin::Registry(format!("{}/{}", reference.registry(), reference.repository()))
}

fn calls_registries(sources: &[Source]) -> bool {
    let mut calls = sources.iter().flat_map(|source| &source.calls);
    calls.any(|(_, target)| matches!(target, Target::There(_)))
}

fn resolve(
    modules: &Modules,
    sources: &[Source],
    lock: Option<&Lock>,
    style: Style,
) -> Result<(Lock, Vec<Gathered>), Report> {
    let moved = Arc::new(Moved::default());
    let work = async {
        let lock = modules.resolve(sources, lock, &[]).await?;
        let all = modules.gather(&lock, &moved).await?;
        Ok::<_, Report>((lock, all))
    };
    crate::commands::runtime()?.block_on(shown(style, "fetching what it calls", &moved, work))
}

/// The lock of the module in a directory.
pub(crate) fn lock_file(directory: &Path) -> PathBuf {
    directory.join("wharf.lock")
}

/// A module and those that it calls by path or in repositories, with what each calls. The module's own manifest is given: it may
/// be one that is not written yet.
pub(crate) fn sources(
    directory: &Path,
    manifest: &Manifest,
    checkouts: &Checkouts,
) -> Result<Vec<Source>, Report> {
    let mut walk = Walk {
        checkouts,
        sources: Vec::new(),
        seen: HashSet::new(),
    };
    walk.add(&real(directory), manifest.clone())?;
    Ok(walk.sources)
}

/// The name of the module at a path: of its manifest, or of the component.
pub(crate) fn name_at(path: &Path) -> Result<String, Report> {
    if path.is_dir() {
        return Ok(wharf_build::manifest(path)?.module.name);
    }
    let contents = contents(path)?;
    let nameless = || Report::usage(format!("{} does not say its name", path.display()));
    contents.name().map(str::to_owned).ok_or_else(nameless)
}

fn contents(path: &Path) -> Result<Contents, Report> {
    let bytes = std::fs::read(path)
        .map_err(|error| Report::usage(format!("there is no module at {}: {error}", path.display())))?;
    Contents::of(&bytes).map_err(|why| Report::usage(format!("{} is not a module: {why}", path.display())))
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The place of what lies at a path.
fn place(path: &Path) -> String {
    format!("path:{}", path.display())
}

struct Walk<'a> {
    checkouts: &'a Checkouts,
    sources: Vec<Source>,
    seen: HashSet<PathBuf>,
}

impl Walk<'_> {
    fn add(&mut self, directory: &Path, manifest: Manifest) -> Result<(), Report> {
        if !self.seen.insert(directory.to_owned()) {
            return Ok(());
        }
        let at = self.sources.len();
        self.sources.push(Source {
            place: place(directory),
            name: manifest.module.name.clone(),
            calls: Vec::new(),
        });
        for (name, dependency) in manifest.dependencies {
            let path = match &dependency {
                Dependency::Path(path) => Some(real(&directory.join(path))),
                other => self.checkouts.source(other).transpose()?.map(|source| source.directory),
            };
            let target = match path {
                Some(path) => {
                    self.by_path(&path, &name.to_string())?;
                    Target::Here(place(&path))
                }
                None => Target::There(dependency),
            };
            self.sources[at].calls.push((name, target));
        }
        Ok(())
    }

    fn by_path(&mut self, path: &Path, name: &str) -> Result<(), Report> {
        if path.is_dir() {
            return self.add(path, wharf_build::manifest(path)?);
        }
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let about = contents(path)?.about();
        let dependencies = about.map(|about| about.dependencies).unwrap_or_default();
        let calls = dependencies
            .into_iter()
            .map(|(name, other)| (name, Target::There(other)));
        self.sources.push(Source {
            place: place(path),
            name: name.to_owned(),
            calls: calls.collect(),
        });
        Ok(())
    }
}
