//! Where an engine would run: each place that `--engine auto` tries, or the one that is asked for.

use std::{path::Path, time::Duration};

use wharf_client::{
    Address, ConnectError, Connection,
    proto::{StatusRequest, UsageRequest},
};
use wharf_docker::DockerError;

use super::{Finding, Group, State, gpus};
#[cfg(target_os = "linux")]
use super::{host, ordinary};
use crate::{
    args::DoctorArgs,
    docker_rights::{AUTO, BUILT_IN, DOCKER},
    engine_choice::{
        EngineChoice, EngineSettings, ca_bundle, certificates, gpus_of_environment, runtime_name,
    },
    places::Places,
    table,
};

/// How long an engine or Docker may take to answer; each has shorter limits of its own.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How long trying what steps use may take; a way out for an ordinary user's steps takes longest.
#[cfg(target_os = "linux")]
const PROBE_LIMIT: Duration = Duration::from_secs(15);

/// Where the next run's engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// In a container of Docker.
    Docker,
    /// A process on this host.
    Local,
    /// One that runs already, behind this socket.
    Unix(String),
    /// One that runs on another machine.
    Tcp(Address),
    /// Nowhere.
    None,
}

/// Looks at each place.
pub(super) async fn look(args: &DoctorArgs) -> (Vec<Finding>, Seat) {
    let settings = match settings(args) {
        Ok(settings) => settings,
        Err(finding) => return (vec![*finding], Seat::None),
    };
    let (mut findings, seat) = places(&settings).await;
    findings.extend(gpus::look(&settings, &seat).await);
    (findings, seat)
}

async fn places(settings: &EngineSettings) -> (Vec<Finding>, Seat) {
    match &settings.choice {
        EngineChoice::Unix(socket) => {
            let (finding, is_there) = asked_for(socket).await;
            let seat = if is_there {
                Seat::Unix(socket.display().to_string())
            } else {
                Seat::None
            };
            (finding, seat)
        }
        EngineChoice::Tcp(address) => elsewhere(settings, address).await,
        EngineChoice::Docker => {
            let (findings, is_there) = docker(settings).await;
            (findings, if is_there { Seat::Docker } else { Seat::None })
        }
        EngineChoice::Local => {
            let (findings, can_be) = local(settings).await;
            (findings, if can_be { Seat::Local } else { Seat::None })
        }
        EngineChoice::Auto => {
            let ((mut findings, in_docker), (on_this_host, locally)) =
                tokio::join!(docker(settings), local(settings));
            if locally {
                // Docker is one of two places, and the other will do.
                findings.iter_mut().for_each(|finding| {
                    finding.state = if finding.state == State::Missing {
                        State::Warn
                    } else {
                        finding.state
                    };
                });
            }
            findings.extend(on_this_host);
            let seat = match (in_docker, locally) {
                (true, _) => Seat::Docker,
                (false, true) => Seat::Local,
                (false, false) => Seat::None,
            };
            (findings, seat)
        }
    }
}

/// The settings that a run would have; what is wrong with them is a finding, as everything is here.
fn settings(args: &DoctorArgs) -> Result<EngineSettings, Box<Finding>> {
    let wrong =
        |name: &'static str, text: String| Box::new(Finding::new(Group::Engine, name, State::Missing, text));
    let named = args.engine.clone().or_else(|| std::env::var("WHARF_ENGINE").ok());
    let choice = named
        .filter(|name| !name.is_empty())
        .map_or(Ok(EngineChoice::Auto), |name| {
            name.parse::<EngineChoice>()
                .map_err(|why| wrong("choice", format!("`{name}` is no engine: {why}")))
        })?;
    let runtime = std::env::var("WHARF_RUNTIME").unwrap_or_default();
    let runtime = if runtime.is_empty() { AUTO } else { &runtime };
    let places = Places::find().map_err(|report| wrong("files", report.words()))?;
    Ok(EngineSettings {
        choice,
        certificates: certificates(args.engine_certs.clone(), &places),
        runtime: runtime_name(runtime).map_err(|report| wrong("runtime", report.words()))?,
        ca_cert: ca_bundle(args.ca_cert.as_deref()).unwrap_or_default(),
        mirrors: Vec::new(),
        gpus: gpus_of_environment(),
        docker_gpus: args.docker_gpus,
        places,
    })
}

async fn asked_for(socket: &Path) -> (Vec<Finding>, bool) {
    match running(socket).await {
        Some(found) => (found, true),
        None => {
            let text = format!("nobody answers on {}", socket.display());
            let next = format!("wharf engine serve --socket {}", socket.display());
            let finding = Finding::new(Group::Engine, "socket", State::Missing, text).next(next);
            (vec![finding], false)
        }
    }
}

/// The engine of another machine, as far as it is seen from here.
async fn elsewhere(settings: &EngineSettings, address: &Address) -> (Vec<Finding>, Seat) {
    let missing = |text: String| Finding::new(Group::Engine, "remote", State::Missing, text);
    let opened = match settings.remote(address) {
        Ok(remote) => Connection::open_remote_any_version(&remote).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok((connection, version)) => {
            let mut findings = found(&connection, &version).await.unwrap_or_default();
            if findings.is_empty() {
                findings.push(missing(format!("{address} does not say what it is")));
            }
            (findings, Seat::Tcp(address.clone()))
        }
        Err(error) => {
            let next = match &error {
                ConnectError::Remote { next, .. } => next.clone(),
                _ => String::new(),
            };
            (vec![missing(error.to_string()).next(next)], Seat::None)
        }
    }
}

async fn docker(settings: &EngineSettings) -> (Vec<Finding>, bool) {
    let mut findings = Vec::new();
    let options = match settings.docker_options() {
        Ok(options) => options,
        Err(error) => {
            findings.push(Finding::new(
                Group::Engine,
                "docker",
                State::Missing,
                error.to_string(),
            ));
            return (findings, false);
        }
    };
    // It has time limits of its own, which say what was waited for.
    let reached = wharf_docker::reach(&options).await;
    let finding = |state, text: String| Finding::new(Group::Engine, "docker", state, text);
    let found = match reached {
        Ok(daemon) => {
            let (version, place) = (daemon.version().await, daemon.located());
            findings.push(finding(State::Ok, format!("answers on {place}: {version}")));
            if ![AUTO, BUILT_IN, DOCKER].contains(&settings.runtime.as_str()) {
                let text = format!(
                    "{} is not in an engine's container: it needs --engine local",
                    settings.runtime
                );
                findings.push(Finding::new(Group::Engine, "runtime", State::Missing, text));
                return (findings, false);
            }
            findings.extend(steps(settings));
            if daemon.located().shares_files() {
                findings.extend(running(&options.socket()).await.unwrap_or_default());
            } else {
                let text =
                    "no directory of this host can be mounted there: the engine is spoken to through Docker";
                findings.push(Finding::new(Group::Engine, "way", State::Ok, text));
            }
            return (findings, true);
        }
        Err(error) => {
            let next = match error {
                DockerError::Absent(_) => "systemctl start docker",
                DockerError::Forbidden(_) => "sudo usermod -aG docker \"$USER\" && newgrp docker",
                DockerError::Address(_) => "docker context ls",
                _ => "docker version",
            };
            finding(State::Missing, error.to_string()).next(next)
        }
    };
    findings.push(found);
    (findings, false)
}

/// How steps run in Docker, where that is another way than usual.
fn steps(settings: &EngineSettings) -> Option<Finding> {
    let finding = |state, text: String| Finding::new(Group::Engine, "steps", state, text);
    if settings.runtime == DOCKER {
        let text = "each is a container of this Docker, as --runtime docker says: slower, and not all works";
        return Some(finding(State::Ok, text.to_owned()));
    }
    let why = settings.docker_refusal().filter(|_| settings.runtime == AUTO)?;
    let text = format!(
        "each is a container of this Docker, slower, and not all works: it refuses the engine what it needs to make containers ({why})"
    );
    Some(finding(State::Warn, text).next("wharf engine stop"))
}

#[cfg(not(target_os = "linux"))]
async fn local(_: &EngineSettings) -> (Vec<Finding>, bool) {
    let text = "an engine on this host needs Linux, and this is another system".to_owned();
    (
        vec![Finding::new(Group::Local, "system", State::Missing, text)],
        false,
    )
}

#[cfg(target_os = "linux")]
async fn local(settings: &EngineSettings) -> (Vec<Finding>, bool) {
    let finding = |name, state, text: String| Finding::new(Group::Local, name, state, text);
    let store = &settings.places.store;
    let mut findings = host::store(store);
    findings.push(host::writable("socket", &settings.places.run));
    let beside = host::existing(store);
    let probed = tokio::task::spawn_blocking(move || ordinary::probe(&beside));
    match tokio::time::timeout(PROBE_LIMIT, probed).await {
        Ok(Ok(probed)) => findings.splice(0..0, probed).for_each(drop),
        _ => findings.push(finding(
            "kernel",
            State::Warn,
            format!("could not be tried within {} s", PROBE_LIMIT.as_secs()),
        )),
    }
    if settings.runtime == DOCKER {
        let text = "steps are containers of the Docker that an engine is in: leave --runtime away for one on this host";
        findings.push(finding("runtime", State::Missing, text.to_owned()));
    } else if ![AUTO, BUILT_IN].contains(&settings.runtime.as_str()) {
        findings.push(if wharf_platform::process::is_root() {
            finding("runtime", State::Ok, settings.runtime.clone())
        } else {
            let text = format!("{} runs steps for engines of root alone", settings.runtime);
            finding("runtime", State::Missing, text).next("unset WHARF_RUNTIME")
        });
    }
    let can_be = findings.iter().all(|finding| finding.state != State::Missing);
    findings.extend(running(&settings.places.socket()).await.unwrap_or_default());
    (findings, can_be)
}

/// The engine that answers on a socket, what it holds and what it cannot do.
async fn running(socket: &Path) -> Option<Vec<Finding>> {
    let opened = tokio::time::timeout(LIMIT, Connection::open_any_version(socket)).await;
    let (connection, version) = opened.ok()?.ok()?;
    found(&connection, &version).await
}

/// What an engine that answers says of itself.
async fn found(connection: &Connection, version: &str) -> Option<Vec<Finding>> {
    let mut client = connection.client();
    let status = tokio::time::timeout(LIMIT, client.status(StatusRequest {})).await;
    let status = status.ok()?.ok()?.into_inner();
    let mut text = if status.client.is_empty() {
        format!(
            "version {version} runs as process {}, its store is {}",
            status.pid, status.store
        )
    } else {
        format!(
            "version {version} answers, and knows this client as {}",
            status.client
        )
    };
    // A large store that was never measured takes a while.
    let usage = tokio::time::timeout(LIMIT, client.usage(UsageRequest {})).await;
    if let Ok(Ok(usage)) = usage {
        let size = usage.into_inner().rows.iter().map(|row| row.bytes).sum();
        text = format!("{text} ({})", table::bytes(size));
    }
    let is_own = version == env!("CARGO_PKG_VERSION");
    let mut findings = vec![if is_own {
        Finding::new(Group::Engine, "running", State::Ok, text)
    } else {
        let text = format!("{text}; this is version {}", env!("CARGO_PKG_VERSION"));
        Finding::new(Group::Engine, "running", State::Warn, text).next("wharf engine stop")
    }];
    let lacks = status.missing.into_iter();
    findings.extend(
        lacks.map(|what| Finding::new(Group::Engine, "running", State::Warn, format!("it has no {what}"))),
    );
    Some(findings)
}
