//! Registries as commands reach them, and what is shown while something comes or goes for longer than a moment.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use wharf_oci::{Registry, RegistryConfig};
use wharf_registry::{Error, Mappings, Modules, Moved, Pinning, Policy};

use crate::{
    args::{PinningArgs, ProgressKind},
    engine_choice::{EngineSettings, ca_bundle, mirror, mirrors_of_environment},
    error::{Ended, Report},
    output,
    places::Places,
    progress::Style,
    table::bytes,
};

/// How long something may take before it is said.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often what was said is said anew, where it can be drawn over.
const FRAME: Duration = Duration::from_millis(200);

/// How a command reaches modules of registries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) pinning: Pinning,
    pub(crate) ca_cert: Option<PathBuf>,
    /// The engine that brings and builds modules of repositories, when the command says which.
    engine: Option<EngineSettings>,
}

impl Reach {
    /// As the command line says, and the environment where that says nothing.
    pub(crate) fn new(pinning: PinningArgs, ca_cert: Option<&Path>) -> Self {
        let of_environment = || std::env::var_os("WHARF_CA_CERT").map(PathBuf::from);
        Self {
            pinning: Pinning {
                locked: pinning.locked,
                offline: pinning.offline,
            },
            ca_cert: ca_cert.map(Path::to_owned).or_else(of_environment),
            engine: None,
        }
    }

    /// The same, with this engine.
    pub(crate) fn by(mut self, engine: &EngineSettings) -> Self {
        self.engine = Some(engine.clone());
        self
    }

    /// The engine that brings and builds modules of repositories.
    pub(crate) fn engine(&self) -> Result<EngineSettings, Report> {
        match &self.engine {
            Some(engine) => Ok(engine.clone()),
            None => EngineSettings::of_environment(self.ca_cert.as_deref()),
        }
    }

    /// What asks nobody.
    pub(crate) fn of_this_machine() -> Self {
        Self {
            pinning: Pinning {
                locked: true,
                offline: true,
            },
            ca_cert: None,
            engine: None,
        }
    }

    /// The registries' modules.
    pub(crate) fn modules(&self, places: &Places) -> Result<Modules, Report> {
        let files = places.registries();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let mappings = Mappings::load(&files)?;
        let policies = places.policies();
        let policy = Policy::load(&policies.each_ref().map(PathBuf::as_path))?;
        let registries = client(self.ca_cert.as_deref())?;
        let cache = places.cache.join("registry");
        Ok(Modules::new(registries, mappings, policy, &cache, self.pinning))
    }
}

/// A client of registries, with the mirrors that the environment names and the logins of Docker.
pub(crate) fn client(ca_cert: Option<&Path>) -> Result<Registry, Report> {
    let mirrors = mirrors_of_environment()?;
    let config = RegistryConfig {
        mirrors: mirrors
            .iter()
            .map(|pair| mirror(pair))
            .collect::<Result<_, _>>()?,
        ca_bundle: ca_bundle(ca_cert)?,
    };
    Ok(Registry::new(config).map_err(Error::from)?)
}

/// Does work to its end; says what it is and how far it has come when it takes longer than a moment.
pub(crate) async fn shown<T>(
    style: Style,
    what: &str,
    moved: &Arc<Moved>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut is_said = false;
    loop {
        let pause = if is_said { FRAME } else { PATIENCE };
        tokio::select! {
            done = &mut work => {
                if is_said && style.is_live() {
                    output::aside("\r\x1b[K");
                }
                return done;
            }
            () = tokio::time::sleep(pause) => {
                say(style, what, moved, is_said);
                is_said = true;
            }
        }
    }
}

fn say(style: Style, what: &str, moved: &Moved, is_said: bool) {
    let far = match moved.so_far() {
        (_, 0) => String::new(),
        (done, total) => format!(": {} of {}", bytes(done), bytes(total)),
    };
    match style.kind {
        _ if style.quiet => {}
        _ if style.is_live() => output::aside(&format!("\r\x1b[K{what}{far}")),
        _ if is_said => {}
        ProgressKind::Json => output::aside(&format!(
            "{}\n",
            serde_json::json!({ "event": "registry", "text": format!("{what}{far}") })
        )),
        _ => output::aside(&format!("{what}{far}\n")),
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        if error.is_unreachable() {
            Self::new(Ended::Unreachable, message)
        } else if error.is_usage() {
            Self::usage(message)
        } else {
            Self::failed(message)
        }
    }
}
