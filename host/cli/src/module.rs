//! Finds, builds and loads the module that a command is about.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::Arc,
};

use wharf_build::{BuildError, Composed, Found, Workshop};
use wharf_manifest::{Composition, Limit};
use wharf_registry::{ModuleRef, Moved};
use wharf_wasm::{Function, LoadError, Module, Runtime};

use crate::{
    args::ProgressKind,
    asking,
    composition::{self, Shelf},
    error::{Ended, Report},
    limits, output,
    places::Places,
    progress::Style,
    registries::{Reach, shown},
    suggest::nearest,
    toolchain,
};

/// A module that is ready to be called.
pub(crate) struct Loaded {
    pub(crate) module: Arc<Module>,
    /// Where its relative paths start.
    pub(crate) project: PathBuf,
    /// Where its source is, when it is called from there.
    pub(crate) source: Option<PathBuf>,
    /// Who its caches and secrets belong to: the place that it is loaded from, never the name it gives itself.
    pub(crate) scope: String,
    /// It and all that it calls.
    pub(crate) composition: Composition,
    /// The wharf.toml whose grants count.
    pub(crate) manifest: Option<PathBuf>,
    /// The most that any module may have here.
    pub(crate) limit: Limit,
    /// Kept, as it gives running modules their turns.
    _runtime: Runtime,
}

/// Where a module is.
pub(crate) enum Place {
    /// A directory with its source, or a component's file.
    Path(PathBuf),
    /// A registry has it.
    Registry(ModuleRef),
}

impl Place {
    /// What was written: what is there on the disk, or else what reads as a module of a registry.
    pub(crate) fn of(written: &Path) -> Result<Self, Report> {
        let path = || Ok(Self::Path(written.to_owned()));
        let Some(text) = written.to_str() else {
            return path();
        };
        let is_path =
            text.starts_with(['.', '/', '~']) || text.ends_with(".wasm") || !text.contains([':', '/', '@']);
        if is_path || written.exists() {
            return path();
        }
        match text.parse() {
            Ok(wanted) => Ok(Self::Registry(wanted)),
            Err(wharf_registry::Error::NoHost(_)) => path(),
            Err(error) => Err(error.into()),
        }
    }
}

/// Loads a module with all that it calls: those whose source is here are built first, when that changed; those of registries
/// are pulled, unless they were.
pub(crate) fn load(written: &Path, places: &Places, style: Style, reach: &Reach) -> Result<Loaded, Report> {
    match Place::of(written)? {
        Place::Path(path) => load_composed(&path, build(&path, places, style, reach)?, places),
        Place::Registry(wanted) => load_pulled(&wanted, places, style, reach),
    }
}

/// The same, of a module of which something is to be run: what its dependencies ask for and were not granted is asked.
pub(crate) fn load_asking(
    written: &Path,
    places: &Places,
    style: Style,
    reach: &Reach,
    no_input: bool,
) -> Result<Loaded, Report> {
    let loaded = load(written, places, style, reach)?;
    if asking::settle(&loaded, no_input)? {
        return load(written, places, style, reach);
    }
    Ok(loaded)
}

/// Loads the module at a path without building or fetching anything.
pub(crate) fn load_built(path: &Path, places: &Places) -> Result<Loaded, Report> {
    is_there(path)?;
    let reach = Reach::of_this_machine();
    let shelf = Shelf::of_path(path, places, Style::silent(), &reach)?;
    let workshop = Workshop {
        finder: &shelf,
        builds: false,
        shared: &places.builds,
        on_output: &|_| {},
    };
    load_composed(path, wharf_build::compose(path, &workshop)?, places)
}

/// The component of the module at a path as it was built last.
pub(crate) fn built_file(path: &Path) -> Result<PathBuf, Report> {
    is_there(path)?;
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let component = wharf_build::built_component(path);
    if component.is_file() {
        return Ok(component);
    }
    if !path.join("wharf.toml").is_file() {
        return Err(BuildError::NotAModule(path.to_owned()).into());
    }
    Err(BuildError::NotBuilt(path.to_owned()).into())
}

fn is_there(path: &Path) -> Result<(), Report> {
    if path.exists() {
        return Ok(());
    }
    Err(
        Report::usage(format!("there is no module at {}", path.display())).with_hint(
            "a module is a directory, a component's .wasm file, or one of a registry: acme:tool, registry.example/acme/tool:1.2.0",
        ),
    )
}

fn load_pulled(wanted: &ModuleRef, places: &Places, style: Style, reach: &Reach) -> Result<Loaded, Report> {
    let modules = reach.modules(places)?;
    let moved = Arc::new(Moved::default());
    let work = modules.pull(wanted, &moved);
    let what = format!("pulling {wanted}");
    let pulled = crate::commands::runtime()?.block_on(shown(style, &what, &moved, work))?;
    let said = pulled.artifact.said.as_ref();
    let shelf = Shelf::of_component(
        &wanted.to_string(),
        said.and_then(|said| said.about()),
        places,
        style,
        reach,
    )?;
    let found = Found {
        component: modules.kept_at(&pulled.artifact.component.digest)?,
        origin: composition::origin(&pulled.reference),
    };
    let workshop = Workshop {
        finder: &shelf,
        builds: false,
        shared: &places.builds,
        on_output: &|_| {},
    };
    let composed = wharf_build::compose_found(&found, &workshop)?;
    let here = std::env::current_dir()
        .map_err(|error| Report::usage(format!("the current directory cannot be read: {error}")))?;
    let mut loaded = load_composed(&here, composed, places)?;
    loaded.source = None;
    Ok(loaded)
}

fn load_composed(path: &Path, composed: Composed, places: &Places) -> Result<Loaded, Report> {
    let runtime = Runtime::new(&places.cache.join("modules"))?;
    let module = runtime.load(&composed.composition)?;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let project = if real.is_dir() {
        real.clone()
    } else {
        std::env::current_dir().unwrap_or_else(|_| real.clone())
    };
    Ok(Loaded {
        module,
        project,
        source: real.is_dir().then_some(real),
        scope: composed.composition.root().origin.scope(),
        composition: composed.composition,
        manifest: composed.manifest,
        limit: limits::limits()?,
        _runtime: runtime,
    })
}

/// Gets the module at a path ready: what has changed of it, and of what it calls by path, is built; what it calls from
/// registries is pulled. Cargo's words are shown when asked for; an error holds the last of them.
pub(crate) fn build(
    directory: &Path,
    places: &Places,
    style: Style,
    reach: &Reach,
) -> Result<Composed, Report> {
    is_there(directory)?;
    let shelf = Shelf::of_path(directory, places, style, reach)?;
    let said = Cell::new(0_usize);
    let say = |line: &str| match style.kind {
        ProgressKind::Json => output::aside(&format!(
            "{}\n",
            serde_json::json!({"event": "build", "text": line})
        )),
        _ if style.verbose => output::aside(&format!("{line}\n")),
        _ if style.quiet => {}
        _ => {
            let count = said.replace(said.get() + 1);
            if style.is_live() {
                // One line, drawn over: the first build compiles the SDK, and takes a while.
                let now = line.trim_start().strip_prefix("Compiling ").unwrap_or_default();
                let name = now.split(' ').next().unwrap_or_default();
                output::aside(&format!("\r\x1b[Kbuilding {} {name}", directory.display()));
            } else if count == 0 {
                output::aside(&format!("building {}\n", directory.display()));
            }
        }
    };
    let workshop = Workshop {
        finder: &shelf,
        builds: true,
        shared: &places.builds,
        on_output: &say,
    };
    let composed = wharf_build::compose(directory, &workshop);
    if style.is_live() && said.get() > 0 && !style.verbose {
        output::aside("\r\x1b[K");
    }
    composed.map_err(|error| shelf.breaking().unwrap_or_else(|| error.into()))
}

/// The function of this name; `interface/name` where several interfaces have it.
pub(crate) fn function<'m>(module: &'m Module, name: &str) -> Result<&'m Function, Report> {
    let kebab = name.replace('_', "-");
    let (interface, plain) = kebab
        .rsplit_once('/')
        .map_or((None, kebab.as_str()), |(left, right)| (Some(left), right));
    let in_interface = |function: &Function| {
        let own = function.interface.as_deref().unwrap_or_default();
        let short = own
            .rsplit('/')
            .next()
            .unwrap_or(own)
            .split('@')
            .next()
            .unwrap_or_default();
        interface.is_none_or(|wanted| wanted == own || wanted == short)
    };
    let found: Vec<_> = module
        .functions()
        .iter()
        .filter(|function| function.name == plain && in_interface(function))
        .collect();
    match found[..] {
        [only] => Ok(only),
        [] => {
            let names = module.functions().iter().map(|function| function.name.as_str());
            let meant = nearest(plain, names.clone())
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            let all = names.collect::<Vec<_>>().join(", ");
            Err(
                Report::usage(format!("{} has no function {name}{meant}", module.name()))
                    .with_detail(format!("It has: {all}")),
            )
        }
        _ => {
            let places = found
                .iter()
                .filter_map(|function| function.interface.as_deref())
                .collect::<Vec<_>>()
                .join(", ");
            Err(Report::usage(format!(
                "several interfaces of {} have a function {name}: {places}",
                module.name()
            ))
            .with_hint("write INTERFACE/FUNCTION"))
        }
    }
}

impl From<LoadError> for Report {
    fn from(error: LoadError) -> Self {
        let message = error.to_string();
        match error {
            LoadError::Runtime(_) | LoadError::Changed { .. } => Self::failed(message),
            LoadError::Read { .. }
            | LoadError::NotAModule { .. }
            | LoadError::UnknownImport { .. }
            | LoadError::NoDependency { .. }
            | LoadError::Unfit { .. } => Self::usage(message),
        }
    }
}

impl From<BuildError> for Report {
    fn from(error: BuildError) -> Self {
        let message = error.to_string();
        let hint = match error {
            BuildError::NoCargo(_) => Some(format!("`{}` installs it", toolchain::INSTALL_RUST)),
            BuildError::NoTarget => Some("`wharf doctor` shows what else is missing".to_owned()),
            _ => None,
        };
        let ended = match error {
            BuildError::NotAModule(_)
            | BuildError::NoCargoManifest(_)
            | BuildError::Manifest { .. }
            | BuildError::NotBuilt(_)
            | BuildError::NoDependency { .. }
            | BuildError::OtherName { .. }
            | BuildError::NotFound { .. }
            | BuildError::Composition(_) => Ended::Usage,
            _ => Ended::Failed,
        };
        let report = Self::new(ended, message);
        match hint {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}
