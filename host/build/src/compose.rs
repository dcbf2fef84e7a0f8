//! From a module to everything that it calls: dependencies by path are found, built and bound here; others are asked for.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use wharf_digest::Digest;
use wharf_manifest::{
    Composition, CompositionError, Dependency, Edge, EdgeGrants, Manifest, ModuleName, Origin, Part, Rights,
};

use crate::{
    BuildError, Built, Foreign, Recipe,
    bindings::{self, Called},
    build_one, built_component,
    error::Result,
    foreign, sections,
};

/// Finds what is not there by path: modules of registries and git repositories.
pub trait Finder {
    /// The component of a dependency, on this disk.
    ///
    /// # Errors
    /// In words, why it cannot be had.
    fn find(&self, wanted: &Wanted<'_>) -> Result<Found, String>;

    /// The source of a dependency in a git repository, on this disk.
    ///
    /// # Errors
    /// In words, why it cannot be had.
    fn source(&self, wanted: &Wanted<'_>) -> Result<Foreign, String>;

    /// Builds a module of a git repository somewhere where it can do no harm; the component that came of it, on this disk.
    ///
    /// # Errors
    /// In words, with what cargo has said.
    fn build(&self, foreign: &Foreign, recipe: &Recipe) -> Result<PathBuf, String>;
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a ModuleName,
    /// Where it comes from.
    pub dependency: &'a Dependency,
    /// The module that depends on it.
    pub importer: &'a str,
}

/// A component that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its file.
    pub component: PathBuf,
    /// Where it comes from.
    pub origin: Origin,
}

/// How modules are got ready.
pub struct Workshop<'a> {
    /// Finds what is not there by path.
    pub finder: &'a dyn Finder,
    /// Whether what has changed is built. Otherwise what was not built is an error.
    pub builds: bool,
    /// Where what modules depend on is compiled once for all of them.
    pub shared: &'a Path,
    /// Gets each line that cargo prints, as it comes.
    pub on_output: &'a dyn Fn(&str),
}

/// A module that is ready to be loaded.
#[derive(Clone, Debug)]
pub struct Composed {
    /// It, and all that it calls.
    pub composition: Composition,
    /// Its component.
    pub built: Built,
    /// Its wharf.toml, when it has its source here.
    pub manifest: Option<PathBuf>,
}

/// Gets the module at a path ready: a directory with its source, or a component's file.
///
/// # Errors
/// When it, or something that it depends on, cannot be found, built or composed.
pub fn compose(path: &Path, workshop: &Workshop<'_>) -> Result<Composed, BuildError> {
    let mut walk = Walk::new(workshop);
    if !path.is_dir() {
        let real = real(path)?;
        walk.component(path, &real, Origin::Path(real.clone()), None)?;
        return walk.finish(None);
    }
    walk.directory(path, None)?;
    walk.finish(Some(path.join("wharf.toml")))
}

/// Gets a component ready that was found elsewhere.
///
/// # Errors
/// As [`compose`].
pub fn compose_found(found: &Found, workshop: &Workshop<'_>) -> Result<Composed, BuildError> {
    let mut walk = Walk::new(workshop);
    let real = real(&found.component)?;
    walk.component(&found.component, &real, found.origin.clone(), None)?;
    walk.finish(None)
}

struct Walk<'a> {
    workshop: &'a Workshop<'a>,
    /// What was found; none for what is being looked into.
    parts: Vec<Option<Part>>,
    /// Where each was found.
    known: HashMap<PathBuf, usize>,
    /// The modules that lead to the one that is looked into, with their places.
    path: Vec<(PathBuf, String)>,
    /// How the first was built.
    built: Option<Built>,
    /// What the first grants.
    grants: BTreeMap<ModuleName, EdgeGrants>,
}

fn real(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(BuildError::io("open", path))
}

impl<'a> Walk<'a> {
    fn new(workshop: &'a Workshop<'a>) -> Self {
        Self {
            workshop,
            parts: Vec::new(),
            known: HashMap::new(),
            path: Vec::new(),
            built: None,
            grants: BTreeMap::new(),
        }
    }

    fn finish(self, manifest: Option<PathBuf>) -> Result<Composed> {
        let parts: Vec<_> = self.parts.into_iter().flatten().collect();
        let built = self.built.unwrap_or_else(|| Built {
            path: parts[0].component.clone(),
            digest: parts[0].digest,
            fresh: true,
        });
        Ok(Composed {
            composition: Composition::new(parts, &self.grants)?,
            built,
            manifest,
        })
    }

    /// A place for what lies there, or the one that it has.
    fn enter(&mut self, place: &Path, name: &str) -> Result<Result<usize, usize>> {
        if let Some(start) = self.path.iter().position(|(earlier, _)| earlier == place) {
            let circle = self.path[start..].iter().map(|(_, name)| name.clone());
            let names = circle.chain([name.to_owned()]).collect();
            return Err(CompositionError::Cycle(names).into());
        }
        if let Some(known) = self.known.get(place) {
            return Ok(Err(*known));
        }
        let at = self.parts.len();
        self.parts.push(None);
        self.known.insert(place.to_owned(), at);
        self.path.push((place.to_owned(), name.to_owned()));
        Ok(Ok(at))
    }

    /// A module by its source: of this machine, or of a repository.
    fn directory(&mut self, path: &Path, foreign: Option<&Foreign>) -> Result<usize> {
        let directory = real(path)?;
        let manifest = crate::manifest(&directory)?;
        let at = match self.enter(&directory, manifest.name())? {
            Ok(new) => new,
            Err(known) => return Ok(known),
        };
        let edges = self.edges(
            &manifest.dependencies,
            &manifest.grants,
            Base {
                directory: Some(&directory),
                foreign,
            },
            manifest.name(),
        )?;
        let built = self.built(&directory, &manifest, &edges, foreign)?;
        let bytes = fs::read(&built.path).map_err(BuildError::io("read", &built.path))?;
        let origin = foreign.map_or_else(|| Origin::Path(directory), Foreign::origin);
        let mut part = plain(manifest.module.name.clone(), &built.path, &bytes, origin);
        part.version = Some(manifest.module.version.clone());
        part.edges = edges;
        match sections::read(&bytes) {
            Ok(found) => {
                part.docs = found.docs.to_vec();
                if at > 0 {
                    part.asks = found.asked();
                }
            }
            // What the first is instead is said when it is loaded.
            Err(error) if at > 0 => return Err(error),
            Err(_) => {}
        }
        self.parts[at] = Some(part);
        if at == 0 {
            (self.built, self.grants) = (Some(built), manifest.grants);
        }
        self.path.pop();
        Ok(at)
    }

    fn built(
        &self,
        directory: &Path,
        manifest: &Manifest,
        edges: &[Edge],
        foreign: Option<&Foreign>,
    ) -> Result<Built> {
        if !self.workshop.builds && foreign.is_none() {
            let path = built_component(directory);
            let bytes = fs::read(&path).map_err(|_| BuildError::NotBuilt(directory.to_owned()))?;
            let digest = Digest::of(&bytes);
            return Ok(Built {
                path,
                digest,
                fresh: true,
            });
        }
        let called = edges.iter().filter_map(|edge| {
            let part = self.parts[edge.to].as_ref()?;
            Some(Called {
                name: &edge.name,
                digest: part.digest,
                component: &part.component,
            })
        });
        bindings::ensure(directory, &called.collect::<Vec<_>>())?;
        if let Some(foreign) = foreign {
            return foreign::build(foreign, manifest, self.workshop);
        }
        build_one(directory, manifest, self.workshop)
    }

    /// A module by its component, and the name that it is depended on by.
    fn component(
        &mut self,
        component: &Path,
        place: &Path,
        origin: Origin,
        name: Option<&ModuleName>,
    ) -> Result<usize> {
        let bytes = fs::read(component).map_err(BuildError::io("read", component))?;
        let file = || component.display().to_string();
        let Ok(found) = sections::read(&bytes) else {
            // What it is instead is said when it is loaded.
            let at = self.parts.len();
            self.parts.push(Some(plain(file(), component, &bytes, origin)));
            return Ok(at);
        };
        let own = found.about.as_ref().map(|about| about.module.name.clone());
        let own = own
            .or_else(|| name.map(ModuleName::to_string))
            .unwrap_or_else(file);
        let at = match self.enter(place, &own)? {
            Ok(new) => new,
            Err(known) => return Ok(known),
        };
        let mut part = plain(own, component, &bytes, origin);
        part.asks = found.asked();
        part.docs = found.docs.to_vec();
        if let Some(about) = found.about {
            part.version = Some(about.module.version);
            // A component that lies where it was built knows its dependencies by path; another one has none there.
            let base = place
                .parent()
                .filter(|parent| parent.ends_with(".wharf"))
                .and_then(Path::parent);
            let base = Base {
                directory: base,
                foreign: None,
            };
            part.edges = self.edges(&about.dependencies, &about.grants, base, &part.name)?;
            if at == 0 {
                self.grants = about.grants;
            }
        }
        self.parts[at] = Some(part);
        self.path.pop();
        Ok(at)
    }

    fn edges(
        &mut self,
        dependencies: &BTreeMap<ModuleName, Dependency>,
        grants: &BTreeMap<ModuleName, EdgeGrants>,
        base: Base<'_>,
        importer: &str,
    ) -> Result<Vec<Edge>> {
        let mut edges = Vec::new();
        for (name, dependency) in dependencies {
            let wanted = Wanted {
                name,
                dependency,
                importer,
            };
            edges.push(Edge {
                name: name.clone(),
                to: self.dependency(&wanted, base)?,
                grants: grants
                    .get(name)
                    .map(|edge| edge.rights.clone())
                    .unwrap_or_default(),
                explicit: Rights::none(),
            });
        }
        Ok(edges)
    }

    fn dependency(&mut self, wanted: &Wanted<'_>, base: Base<'_>) -> Result<usize> {
        let not_found = |why: String| BuildError::NotFound {
            name: wanted.name.to_string(),
            importer: wanted.importer.to_owned(),
            why,
        };
        let (at, path) = match wanted.dependency {
            Dependency::Path(path) => self.by_path(wanted, path, base)?,
            Dependency::Git { .. } => {
                let foreign = self.workshop.finder.source(wanted).map_err(not_found)?;
                (
                    self.directory(&foreign.directory, Some(&foreign))?,
                    foreign.directory,
                )
            }
            _ => {
                let found = self.workshop.finder.find(wanted).map_err(not_found)?;
                let place = real(&found.component)?;
                (
                    self.component(&found.component, &place, found.origin, Some(wanted.name))?,
                    place,
                )
            }
        };
        let found = self.parts[at]
            .as_ref()
            .map(|part| part.name.clone())
            .unwrap_or_default();
        if found
            .parse::<ModuleName>()
            .is_ok_and(|found| found != *wanted.name)
        {
            return Err(BuildError::OtherName {
                name: wanted.name.to_string(),
                importer: wanted.importer.to_owned(),
                path,
                found,
            });
        }
        Ok(at)
    }

    /// What lies at a path beside the one that calls it; what is beside a module of a repository is of that repository.
    fn by_path(&mut self, wanted: &Wanted<'_>, path: &Path, base: Base<'_>) -> Result<(usize, PathBuf)> {
        let not_found = |why: String| BuildError::NotFound {
            name: wanted.name.to_string(),
            importer: wanted.importer.to_owned(),
            why,
        };
        let Some(directory) = base.directory else {
            return Err(not_found(format!(
                "it is at {} beside the source of that module, which is not here",
                path.display()
            )));
        };
        let path = directory.join(path);
        if !path.exists() {
            return Err(BuildError::NoDependency {
                name: wanted.name.to_string(),
                importer: wanted.importer.to_owned(),
                path,
                manifest: directory.join("wharf.toml"),
            });
        }
        let place = real(&path)?;
        let foreign = match base.foreign {
            Some(importer) => Some(importer.beside(&place).ok_or_else(|| {
                not_found(format!("its path leads out of the repository {}", importer.url))
            })?),
            None => None,
        };
        let at = if path.is_dir() {
            self.directory(&path, foreign.as_ref())?
        } else {
            let origin = foreign.map_or_else(|| Origin::Path(place.clone()), |foreign| foreign.origin());
            self.component(&path, &place, origin, Some(wanted.name))?
        };
        Ok((at, path))
    }
}

/// Where the paths of a module's dependencies start.
#[derive(Clone, Copy)]
struct Base<'a> {
    /// Its source, if that is here.
    directory: Option<&'a Path>,
    /// Set when the source is others'.
    foreign: Option<&'a Foreign>,
}

fn plain(name: String, component: &Path, bytes: &[u8], origin: Origin) -> Part {
    Part {
        name,
        version: None,
        digest: Digest::of(bytes),
        component: component.to_owned(),
        size: bytes.len() as u64,
        docs: Vec::new(),
        origin,
        asks: Rights::none(),
        edges: Vec::new(),
    }
}
