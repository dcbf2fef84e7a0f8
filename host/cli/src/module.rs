//! Finds, builds and loads the module that a command is about.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::Arc,
};

use wharf_build::BuildError;
use wharf_wasm::{Function, LoadError, Module, Runtime};

use crate::{
    args::ProgressKind,
    error::{Ended, Report},
    output,
    places::Places,
    progress::Style,
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
    /// Kept, as it gives running modules their turns.
    _runtime: Runtime,
}

/// Loads the module at a path; one that is a directory is built first, when its sources changed.
pub(crate) fn load(path: &Path, places: &Places, style: Style) -> Result<Loaded, Report> {
    let component = if path.is_dir() {
        build(path, style)?.path
    } else {
        component_file(path)?
    };
    load_component(path, &component, places)
}

/// Loads the module at a path without building it.
pub(crate) fn load_built(path: &Path, places: &Places) -> Result<Loaded, Report> {
    if !path.is_dir() {
        return load_component(path, &component_file(path)?, places);
    }
    let component = wharf_build::built_component(path);
    if !component.is_file() {
        if !path.join("wharf.toml").is_file() {
            return Err(BuildError::NotAModule(path.to_owned()).into());
        }
        return Err(
            Report::usage(format!("{} is not built", path.display())).with_hint("`wharf build` builds it")
        );
    }
    load_component(path, &component, places)
}

fn component_file(path: &Path) -> Result<PathBuf, Report> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    Err(Report::usage(format!("there is no module at {}", path.display()))
        .with_hint("-m takes a module's directory or a component's .wasm file"))
}

fn load_component(path: &Path, component: &Path, places: &Places) -> Result<Loaded, Report> {
    let runtime = Runtime::new(&places.cache.join("modules"))?;
    let module = runtime.load(component)?;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let project = if real.is_dir() {
        real.clone()
    } else {
        std::env::current_dir().unwrap_or_else(|_| real.clone())
    };
    Ok(Loaded {
        module,
        project,
        source: real.is_dir().then(|| real.clone()),
        scope: format!("path:{}", real.display()),
        _runtime: runtime,
    })
}

/// Builds the module in a directory. Cargo's words are shown when asked for; an error holds the last of them.
pub(crate) fn build(directory: &Path, style: Style) -> Result<wharf_build::Built, Report> {
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
    let built = wharf_build::build(directory, &say);
    if style.is_live() && said.get() > 0 && !style.verbose {
        output::aside("\r\x1b[K");
    }
    Ok(built?)
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
            LoadError::Runtime(_) => Self::failed(message),
            LoadError::Read { .. } | LoadError::NotAModule { .. } | LoadError::UnknownImport { .. } => {
                Self::usage(message)
            }
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
            BuildError::NotAModule(_) | BuildError::NoCargoManifest(_) | BuildError::Manifest { .. } => {
                Ended::Usage
            }
            _ => Ended::Failed,
        };
        let report = Self::new(ended, message);
        match hint {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}
