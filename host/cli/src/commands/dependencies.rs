//! `wharf add`, `remove` and `update`: what a module calls, in wharf.toml and wharf.lock.

use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;
use wharf_build::BuildError;
use wharf_manifest::Manifest;
use wharf_registry::{Entry, Found, Lock, ManifestText, ModuleRef, Modules, Moved, Wanted};

use crate::{
    args::{AddArgs, PinningArgs, RemoveArgs, UpdateArgs},
    composition::{self, lock_file},
    error::Report,
    module::Place,
    output, pins,
    places::Places,
    progress::Style,
    registries::{Reach, shown},
    suggest::nearest,
};

/// Adds a dependency.
pub(crate) fn add(args: &AddArgs) -> Result<(), Report> {
    let project = Project::open(&args.project.module)?;
    let modules = reach(args.project.certificates.ca_cert.as_deref())?;
    let runtime = super::runtime()?;
    let (name, entry, found) = match Place::of(Path::new(&args.reference))? {
        Place::Path(path) => {
            let (name, entry) = project.by_path(&path)?;
            (name, entry, None)
        }
        Place::Registry(wanted) => {
            let found = runtime.block_on(modules.find(&wanted))?;
            let (name, entry) = by_reference(&wanted, &found, args.name.as_deref())?;
            (name, entry, Some(found))
        }
    };
    let mut text = ManifestText::read(&project.text).map_err(|why| project.wrong(why))?;
    if !text.add(&name, &entry) {
        output::aside(&format!("{name} is there already: nothing has changed\n"));
        return Ok(());
    }
    let style = Style::from(&args.project.loudness);
    project.change(&runtime, &text.text(), &modules, &[], style)?;
    output::aside(&format!("{name} is added to wharf.toml\n"));
    if let Some(found) = &found {
        output::aside(&super::inspect::asked(&name, found));
    }
    Ok(())
}

/// Removes dependencies, and what was granted to them.
pub(crate) fn remove(args: &RemoveArgs) -> Result<(), Report> {
    let project = Project::open(&args.project.module)?;
    let mut text = ManifestText::read(&project.text).map_err(|why| project.wrong(why))?;
    for name in &args.names {
        if !text.remove(name) {
            return Err(project.unknown(name, &text.dependencies()));
        }
    }
    let modules = reach(args.project.certificates.ca_cert.as_deref())?;
    project.change(
        &super::runtime()?,
        &text.text(),
        &modules,
        &[],
        Style::from(&args.project.loudness),
    )?;
    for name in &args.names {
        output::aside(&format!("{name} is removed from wharf.toml\n"));
    }
    Ok(())
}

/// Chooses versions anew.
pub(crate) fn update(args: &UpdateArgs) -> Result<(), Report> {
    let project = Project::open(&args.project.module)?;
    let before = Lock::load(&project.lock)?.unwrap_or_default();
    let known: Vec<String> = before.modules.iter().map(|module| module.name.clone()).collect();
    let (mut anew, mut unpinned) = (Vec::new(), Vec::new());
    for name in &args.names {
        let pins = pins::named(&before.pins, name);
        if known.contains(name) {
            anew.push(name.clone());
        } else if pins.is_empty() {
            return Err(project.unknown(name, &known));
        }
        unpinned.extend(pins.into_iter().cloned());
    }
    if args.names.is_empty() {
        anew = known;
        unpinned = before.pins.keys().cloned().collect();
    }
    project.unpin(&unpinned)?;
    if anew.is_empty() && !unpinned.is_empty() {
        return Ok(());
    }
    let modules = reach(args.project.certificates.ca_cert.as_deref())?;
    let after = project.change(
        &super::runtime()?,
        &project.text.clone(),
        &modules,
        &anew,
        Style::from(&args.project.loudness),
    )?;
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
    let gone = before
        .modules
        .iter()
        .filter(|old| after.of_place(&old.place).is_none());
    changes.extend(gone.map(|old| format!("{} {} is not called any more", old.name, old.version)));
    changes
}

fn reach(ca_cert: Option<&Path>) -> Result<Modules, Report> {
    Reach::new(PinningArgs::default(), ca_cert).modules(&Places::find()?)
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
}

impl Project {
    fn open(path: &Path) -> Result<Self, Report> {
        let manifest = path.join("wharf.toml");
        if !manifest.is_file() {
            return Err(BuildError::NotAModule(path.to_owned()).into());
        }
        let read =
            |error: std::io::Error| Report::usage(format!("{} cannot be read: {error}", manifest.display()));
        let text = std::fs::read_to_string(&manifest).map_err(read)?;
        Ok(Self {
            directory: path.to_owned(),
            lock: lock_file(path),
            manifest,
            text,
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

    /// Resolves what a changed manifest says, and writes both files when that goes well. Connections of the modules' registries
    /// live in the runtime in which they were made.
    fn change(
        &self,
        runtime: &Runtime,
        text: &str,
        modules: &Modules,
        anew: &[String],
        style: Style,
    ) -> Result<Lock, Report> {
        let manifest = Manifest::parse(text).map_err(|why| self.wrong(why))?;
        let sources = composition::sources(&self.directory, &manifest)?;
        let old = Lock::load(&self.lock)?;
        let moved = std::sync::Arc::new(Moved::default());
        let work = modules.resolve(&sources, old.as_ref(), anew);
        let lock = runtime.block_on(shown(style, "resolving wharf.toml", &moved, work))?;
        if text != self.text {
            let write = |error: std::io::Error| {
                Report::failed(format!("{} cannot be written: {error}", self.manifest.display()))
            };
            std::fs::write(&self.manifest, text).map_err(write)?;
        }
        if old.is_some() || !lock.modules.is_empty() {
            lock.save(&self.lock)?;
        }
        Ok(lock)
    }

    /// Forgets what these references mean.
    fn unpin(&self, references: &[String]) -> Result<(), Report> {
        if references.is_empty() {
            return Ok(());
        }
        let mut lock = Lock::load(&self.lock)?.unwrap_or_default();
        for reference in references {
            lock.pins.remove(reference);
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
