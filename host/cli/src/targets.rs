//! Engines that the user's configuration names, `targets.toml`, and what each of them has.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use wharf_client::{Connection, Remote, gpu};
use wharf_graph::{
    Error,
    gpu::{Gpu, Target},
};

use crate::{
    engine_choice::{EngineChoice, certificates},
    places::Places,
};

/// How long an engine may take to say what it has.
const LIMIT: Duration = Duration::from_secs(5);

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Targets {
    #[serde(default)]
    targets: BTreeMap<String, Entry>,
}

/// One engine in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// `unix://` and a path, or `tcp://HOST:PORT`, as `--engine` takes it.
    engine: String,
    /// Of one on another machine: the directory of this client's certificate, when it is not the usual one.
    certs: Option<PathBuf>,
    #[serde(default)]
    labels: Vec<String>,
}

/// All targets, each asked at once. None is started; one that does not answer says why not.
pub(crate) async fn look() -> Result<Vec<Target>, Error> {
    let places = Places::find().map_err(|report| Error::Invalid(report.words()))?;
    let entries = read(&places.targets())?.targets;
    let places = &places;
    let looks = entries.into_iter().map(|(name, entry)| async move {
        let certificates = certificates(entry.certs.clone(), places);
        let outcome = tokio::time::timeout(LIMIT, devices(&entry.engine, &certificates)).await;
        let late = || Err(format!("{} said nothing for {} s", entry.engine, LIMIT.as_secs()));
        let (devices, why_not) = match outcome.unwrap_or_else(|_| late()) {
            Ok(devices) => (devices, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Target {
            name,
            labels: entry.labels,
            devices,
            why_not,
        }
    });
    Ok(futures::future::join_all(looks).await)
}

fn read(file: &Path) -> Result<Targets, Error> {
    let invalid = |why: String| Error::Invalid(format!("{}: {why}", file.display()));
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Targets::default()),
        Err(error) => return Err(invalid(error.to_string())),
    };
    toml::from_str(&text).map_err(|error| invalid(error.to_string()))
}

/// What an engine has, or why it does not say.
async fn devices(engine: &str, certificates: &Path) -> Result<Vec<Gpu>, String> {
    let connection = match engine.parse() {
        Ok(EngineChoice::Unix(socket)) => Connection::open(&socket).await,
        Ok(EngineChoice::Tcp(address)) => match Remote::new(&address, certificates) {
            Ok(remote) => Connection::open_remote(&remote).await,
            Err(error) => Err(error),
        },
        _ => {
            return Err(format!(
                "`{engine}` is no target's engine: write unix:// and an absolute path, or tcp://HOST:PORT"
            ));
        }
    };
    let connection = connection.map_err(|error| error.to_string())?;
    let reply = connection
        .gpus()
        .await
        .map_err(|status| status.message().to_owned())?;
    Ok(reply.devices.into_iter().map(gpu).collect())
}
