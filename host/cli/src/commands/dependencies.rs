//! `wharf add`, `remove` and `update`: what a module calls, in wharf.toml and wharf.lock.

use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;
use wharf_build::BuildError;
use wharf_manifest::Manifest;
use wharf_registry::{Entry, Found, Lock, ManifestText, ModuleRef, Modules, Moved, Wanted};

use crate::{
    args::{AddArgs, GitArgs, PinningArgs, ProjectArgs, RemoveArgs, UpdateArgs},
    composition::{self, lock_file},
    error::Report,
    git_modules::{self, Checkouts, is_address},
    module::Place,
    output, pins,
    places::Places,
    progress::Style,
    registries::{Reach, shown},
    suggest::nearest,
};

/// Adds a dependency.
pub(crate) fn add(args: &AddArgs) -> Result<(), Report> {
    let project = Project::open(&args.project)?;
    let runtime = super::runtime()?;
    let modules = project.reach.modules(&project.places)?;
    let (name, entry, found) = if is_address(&args.reference) {
        let (name, entry) = project.by_address(&args.reference, &args.git)?;
        (name, entry, None)
    } else {
        args.git.only_of_repositories()?;
        match Place::of(Path::new(&args.reference))? {
            Place::Path(path) => {
                let (name, entry) = project.by_path(&path)?;
                (name, entry, None)
            }
            Place::Registry(wanted) => {
                let found = runtime.block_on(modules.find(&wanted))?;
                let (name, entry) = by_reference(&wanted, &found, args.name.as_deref())?;
                (name, entry, Some(found))
            }
        }
    };
    let mut text = ManifestText::read(&project.text).map_err(|why| project.wrong(why))?;
    if !text.add(&name, &entry) {
        output::aside(&format!("{name} is there already: nothing has changed\n"));
        return Ok(());
    }
    project.change(&runtime, &text.text(), &modules, &[])?;
    output::aside(&format!("{name} is added to wharf.toml\n"));
    if let Some(found) = &found {
        output::aside(&super::inspect::asked(&name, found));
    }
    Ok(())
}

/// Removes dependencies, and what was granted to them.
pub(crate) fn remove(args: &RemoveArgs) -> Result<(), Report> {
    let project = Project::open(&args.project)?;
    let mut text = ManifestText::read(&project.text).map_err(|why| project.wrong(why))?;
    for name in &args.names {
        if !text.remove(name) {
            return Err(project.unknown(name, &text.dependencies()));
        }
    }
    let modules = project.reach.modules(&project.places)?;
    project.change(&super::runtime()?, &text.text(), &modules, &[])?;
    for name in &args.names {
        output::aside(&format!("{name} is removed from wharf.toml\n"));
    }
    Ok(())
}

/// Chooses versions and commits anew.
pub(crate) fn update(args: &UpdateArgs) -> Result<(), Report> {
    let project = Project::open(&args.project)?;
    let before = Lock::load(&project.lock)?.unwrap_or_default();
    let in_repositories = project.in_repositories()?;
    let known: Vec<String> = before.modules.iter().map(|module| module.name.clone()).collect();
    let (mut anew, mut unpinned) = (Vec::new(), Vec::new());
    for name in &args.names {
        let mut pins: Vec<String> = pins::named(&before.pins, name).into_iter().cloned().collect();
        let of_module = in_repositories.iter().find(|(module, _)| module == name);
        pins.extend(of_module.map(|(_, pin)| pin.clone()));
        if known.contains(name) {
            anew.push(name.clone());
        } else if pins.is_empty() {
            let names = in_repositories.iter().map(|(module, _)| module.clone());
            return Err(project.unknown(name, &known.into_iter().chain(names).collect::<Vec<_>>()));
        }
        unpinned.extend(pins);
    }
    if args.names.is_empty() {
        anew = known;
        unpinned = before.pins.keys().cloned().collect();
    }
    let of_modules = |pin: &&String| in_repositories.iter().any(|(_, known)| known == *pin);
    let (of_modules, of_runs): (Vec<&String>, Vec<&String>) = unpinned.iter().partition(of_modules);
    project.unpin(&of_modules, &of_runs)?;
    if anew.is_empty() && of_modules.is_empty() && !unpinned.is_empty() {
        return Ok(());
    }
    let modules = project.reach.modules(&project.places)?;
    let after = project.change(&super::runtime()?, &project.text.clone(), &modules, &anew)?;
    let changes = changes(&before, &after);
    if changes.is_empty() {
        output::aside("everything is as new as wharf.toml allows\n");
    }
    changes
        .iter()
        .for_each(|change| output::aside(&format!("{change}\n")));
    Ok(())
}

fn changes(before: &Lock, after: &Lock) -> Vec<String> {
    let mut changes = Vec::new();
    for module in &after.modules {
        match before.of_place(&module.place) {
            Some(old) if old.digest == module.digest => {}
            Some(old) if old.version == module.version => {
                changes.push(format!(
                    "{} {} is another now: {}",
                    module.name, module.version, module.digest
                ));
            }
            Some(old) => changes.push(format!("{} {} → {}", module.name, old.version, module.version)),
            None => changes.push(format!("{} {} is new", module.name, module.version)),
        }
    }
    for (reference, commit) in &after.pins {
        match before.pins.get(reference) {
            Some(old) if old != commit => changes.push(format!("{reference}: {old} → {commit}")),
            _ => {}
        }
    }
    let gone = before
        .modules
        .iter()
        .filter(|old| after.of_place(&old.place).is_none());
    changes.extend(gone.map(|old| format!("{} {} is not called any more", old.name, old.version)));
    changes
}

/// What is written for a module of a registry.
fn by_reference(wanted: &ModuleRef, found: &Found, name: Option<&str>) -> Result<(String, Entry), Report> {
    let said = found.artifact.said.as_ref();
    let version = said.and_then(|said| said.version()).map(str::to_owned);
    let tag = found
        .artifact
        .annotations
        .get("org.opencontainers.image.version")
        .cloned();
    let version = version.or(tag);
    match wanted {
        ModuleRef::Name { name: own, wanted } => {
            let version = match wanted {
                Wanted::Within(range) => range.to_string().trim_start_matches('^').to_owned(),
                Wanted::Exactly(version) => version.to_string(),
                Wanted::Newest => version.unwrap_or_else(|| "*".to_owned()),
            };
            Ok((own.to_string(), Entry::Version(version)))
        }
        ModuleRef::Place { reference, is_pinned } => {
            let title = found
                .artifact
                .annotations
                .get("org.opencontainers.image.title")
                .map(String::as_str);
            let own = name.or_else(|| said.and_then(|said| said.name())).or(title);
            let own = own.and_then(|own| own.parse::<wharf_manifest::ModuleName>().ok());
            let own = own.ok_or_else(|| {
                Report::usage(format!("{reference} does not say its name"))
                    .with_hint("--name namespace:name gives it one")
            })?;
            let repository = format!("{}/{}", reference.registry(), reference.repository());
            let is_version = reference
                .tag()
                .is_some_and(|tag| tag.parse::<semver::Version>().is_ok());
            let fields = match version.filter(|_| !is_pinned || (is_version && reference.digest().is_none()))
            {
                Some(version) => vec![("oci", repository), ("version", version)],
                None => vec![("oci", reference.to_string())],
            };
            Ok((own.to_string(), Entry::Table(fields)))
        }
    }
}

/// A module's directory, and its files.
struct Project {
    directory: PathBuf,
    manifest: PathBuf,
    lock: PathBuf,
    text: String,
    places: Places,
    reach: Reach,
    style: Style,
}

impl Project {
    fn open(args: &ProjectArgs) -> Result<Self, Report> {
        let path = &args.module;
        let manifest = path.join("wharf.toml");
        if !manifest.is_file() {
            return Err(BuildError::NotAModule(path.clone()).into());
        }
        let read =
            |error: std::io::Error| Report::usage(format!("{} cannot be read: {error}", manifest.display()));
        let text = std::fs::read_to_string(&manifest).map_err(read)?;
        Ok(Self {
            directory: path.clone(),
            lock: lock_file(path),
            manifest,
            text,
            places: Places::find()?,
            reach: Reach::new(PinningArgs::default(), args.certificates.ca_cert.as_deref()),
            style: Style::from(&args.loudness),
        })
    }

    fn wrong(&self, why: String) -> Report {
        BuildError::Manifest {
            path: self.manifest.clone(),
            message: why,
        }
        .into()
    }

    /// What is written for a module on this machine: its path as seen from this one.
    fn by_path(&self, path: &Path) -> Result<(String, Entry), Report> {
        let name = composition::name_at(path)?;
        let seen = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let relative = relative(&seen(&self.directory), &seen(path));
        let entry = Entry::Table(vec![("path", relative.to_string_lossy().into_owned())]);
        Ok((name, entry))
    }

    /// What is written for a module in a repository, and the name that it gives itself.
    fn by_address(&self, url: &str, args: &GitArgs) -> Result<(String, Entry), Report> {
        let checkouts = self.checkouts(Lock::load(&self.lock)?.as_ref());
        let source = checkouts.find(url, &args.reference(), args.directory().as_deref())?;
        let name = composition::name_at(&source.directory)?;
        Ok((name, Entry::Table(args.fields(url))))
    }

    fn checkouts(&self, lock: Option<&Lock>) -> Checkouts {
        let pins = lock.map(|lock| lock.pins.clone()).unwrap_or_default();
        Checkouts::new(&self.places, self.style, &self.reach, pins)
    }

    /// The modules in repositories whose commits wharf.lock keeps, and by which names.
    fn in_repositories(&self) -> Result<Vec<(String, String)>, Report> {
        let manifest = Manifest::parse(&self.text).map_err(|why| self.wrong(why))?;
        let pinned = manifest
            .dependencies
            .iter()
            .filter_map(|(name, dependency)| Some((name.to_string(), git_modules::pin(dependency)?)));
        Ok(pinned.collect())
    }

    /// Resolves what a changed manifest says, and writes both files when that goes well. Connections of the modules' registries
    /// live in the runtime in which they were made.
    fn change(
        &self,
        runtime: &Runtime,
        text: &str,
        modules: &Modules,
        anew: &[String],
    ) -> Result<Lock, Report> {
        let manifest = Manifest::parse(text).map_err(|why| self.wrong(why))?;
        let old = Lock::load(&self.lock)?;
        let checkouts = self.checkouts(old.as_ref());
        let sources = composition::sources(&self.directory, &manifest, &checkouts)?;
        let moved = std::sync::Arc::new(Moved::default());
        let work = modules.resolve(&sources, old.as_ref(), anew);
        let mut lock = runtime.block_on(shown(self.style, "resolving wharf.toml", &moved, work))?;
        lock.pins = checkouts.pins();
        if text != self.text {
            let write = |error: std::io::Error| {
                Report::failed(format!("{} cannot be written: {error}", self.manifest.display()))
            };
            std::fs::write(&self.manifest, text).map_err(write)?;
        }
        if old.is_some() || lock != Lock::default() {
            lock.save(&self.lock)?;
        }
        Ok(lock)
    }

    /// Forgets what these references mean: those of modules, which are looked up next, and those that runs met.
    fn unpin(&self, of_modules: &[&String], of_runs: &[&String]) -> Result<(), Report> {
        if of_modules.is_empty() && of_runs.is_empty() {
            return Ok(());
        }
        let mut lock = Lock::load(&self.lock)?.unwrap_or_default();
        for reference in of_modules {
            lock.pins.remove(*reference);
        }
        for reference in of_runs {
            lock.pins.remove(*reference);
            output::aside(&format!(
                "{reference} is not pinned any more: `wharf call --pin` notes what it means then\n"
            ));
        }
        Ok(lock.save(&self.lock)?)
    }

    fn unknown(&self, name: &str, known: &[String]) -> Report {
        let meant = nearest(name, known.iter().map(String::as_str));
        let meant = meant
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        Report::usage(format!(
            "{} does not depend on {name}{meant}",
            self.manifest.display()
        ))
    }
}

/// A path as seen from a directory; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from
        .iter()
        .zip(&to)
        .take_while(|(one, other)| one == other)
        .count();
    let up = std::iter::repeat_n("..", from.len() - common).map(PathBuf::from);
    let down = to[common..].iter().map(|part| PathBuf::from(part.as_os_str()));
    up.chain(down).collect()
}

#[cfg(test)]
mod tests {
    use super::relative;
    use std::path::Path;

    #[test]
    fn paths_are_seen_from_the_module() {
        let seen = |from: &str, to: &str| relative(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(seen("/a/b", "/a/c"), "../c");
        assert_eq!(seen("/a", "/a/c/d"), "c/d");
        assert_eq!(seen("/a/b/c", "/x"), "../../../x");
    }
}
