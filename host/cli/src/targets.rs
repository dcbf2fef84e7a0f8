//! Engines that the user's configuration names, `targets.toml`: what each of them has, and how they are reached.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use serde::Deserialize;
use wharf_client::{ConnectError, Connection, Connector, Remote, gpu};
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
        let outcome = tokio::time::timeout(LIMIT, devices(&entry, places)).await;
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

/// How the target of this name is reached, when there is one.
pub(crate) fn find(name: &str) -> Result<Connector, Error> {
    let places = Places::find().map_err(|report| Error::Invalid(report.words()))?;
    let file = places.targets();
    let mut targets = read(&file)?.targets;
    let Some(entry) = targets.remove(name) else {
        let named: Vec<_> = targets.into_keys().collect();
        let named = match &*named {
            [] => "it names none".to_owned(),
            named => format!("it names {}", named.join(", ")),
        };
        let file = file.display();
        return Err(Error::NotFound(format!(
            "there is no target {name} in {file}: {named}"
        )));
    };
    let (entry, places, name) = (Arc::new(entry), Arc::new(places), name.to_owned());
    Ok(Box::new(move || {
        let (entry, places, name) = (Arc::clone(&entry), Arc::clone(&places), name.clone());
        async move {
            let connected = connect(&entry, &places).await;
            connected.map_err(|why| ConnectError::Place(format!("the target {name}: {why}")))
        }
        .boxed()
    }))
}

/// A connection to its engine, or why there is none. It is not started.
async fn connect(entry: &Entry, places: &Places) -> Result<Connection, String> {
    let connection = match entry.engine.parse() {
        Ok(EngineChoice::Unix(socket)) => Connection::open(&socket).await,
        Ok(EngineChoice::Tcp(address)) => {
            match Remote::new(&address, &certificates(entry.certs.clone(), places)) {
                Ok(remote) => Connection::open_remote(&remote).await,
                Err(error) => Err(error),
            }
        }
        _ => {
            return Err(format!(
                "`{}` is no target's engine: write unix:// and an absolute path, or tcp://HOST:PORT",
                entry.engine
            ));
        }
    };
    connection.map_err(|error| error.to_string())
}

/// What an engine has, or why it does not say.
async fn devices(entry: &Entry, places: &Places) -> Result<Vec<Gpu>, String> {
    let connection = connect(entry, places).await?;
    let reply = connection
        .gpus()
        .await
        .map_err(|status| status.message().to_owned())?;
    Ok(reply.devices.into_iter().map(gpu).collect())
}
