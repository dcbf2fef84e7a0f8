//! GPUs that steps could have: where the engine would be, and on the user's other engines.

use std::path::Path;

use wharf_client::{ConnectError, Connection};
use wharf_docker::GpuDriver;
use wharf_gpu::GpuOptions;
use wharf_graph::gpu::Target;

use super::{Finding, Group, State, engine::Seat};
use crate::engine_choice::EngineSettings;

/// Looks where the engine would be. That there is none is no lack: few pipelines want one.
pub(super) async fn look(settings: &EngineSettings, seat: &Seat) -> Vec<Finding> {
    match seat {
        Seat::Local => on_this_host(settings.gpus.clone()).await,
        Seat::Docker => in_docker(settings).await,
        Seat::Unix(socket) => of_engine(Connection::open_any_version(Path::new(socket)).await).await,
        Seat::Tcp(address) => {
            let opened = match settings.remote(address) {
                Ok(remote) => Connection::open_remote_any_version(&remote).await,
                Err(error) => Err(error),
            };
            of_engine(opened).await
        }
        Seat::None => Vec::new(),
    }
}

fn finding(state: State, text: impl Into<String>) -> Finding {
    Finding::new(Group::Gpus, "gpu", state, text)
}

fn none(why: &str) -> Finding {
    finding(State::Ok, format!("none: {why}"))
}

async fn on_this_host(options: GpuOptions) -> Vec<Finding> {
    let looked = tokio::task::spawn_blocking(move || wharf_gpu::Gpus::new(options).look());
    let inventory = match tokio::time::timeout(super::engine::LIMIT, looked).await {
        Ok(Ok(inventory)) => inventory,
        _ => {
            return vec![finding(
                State::Warn,
                "NVIDIA's management library does not answer",
            )];
        }
    };
    let devices = inventory.devices.iter().map(|device| {
        let state = if device.cdi.is_some() {
            State::Ok
        } else {
            State::Warn
        };
        finding(state, device.describe())
    });
    let why = inventory.why_none.iter().map(|why| none(why));
    let notes = inventory.notes.iter().map(|note| finding(State::Warn, note));
    devices.chain(why).chain(notes).collect()
}

async fn of_engine(opened: Result<(Connection, String), ConnectError>) -> Vec<Finding> {
    let Ok((connection, _)) = opened else {
        return Vec::new();
    };
    let Ok(Ok(reply)) = tokio::time::timeout(super::engine::LIMIT, connection.gpus()).await else {
        return Vec::new();
    };
    let devices = reply.devices.into_iter().map(|device| {
        let state = if device.is_usable { State::Ok } else { State::Warn };
        finding(state, device.shown)
    });
    let why = Some(reply.why_none).filter(|why| !why.is_empty());
    let notes = reply.notes.into_iter().map(|note| finding(State::Warn, note));
    devices.chain(why.map(|why| none(&why))).chain(notes).collect()
}

async fn in_docker(settings: &EngineSettings) -> Vec<Finding> {
    let Ok(options) = settings.docker_options() else {
        return Vec::new();
    };
    let asked = async { wharf_docker::reach(&options).await?.gpus().await };
    let found = match tokio::time::timeout(super::engine::LIMIT, asked).await {
        Ok(Ok(Some(GpuDriver::Toolkit))) => "by NVIDIA's container toolkit",
        Ok(Ok(Some(GpuDriver::Specifications))) => "by CDI specifications",
        _ => {
            return vec![none(
                "this Docker has neither NVIDIA's container toolkit nor CDI specifications of GPUs",
            )];
        }
    };
    if settings.docker_gpus {
        return vec![finding(
            State::Ok,
            format!("this Docker gives all of the host's to the engine, {found}"),
        )];
    }
    let text = format!("this Docker has some, {found}, and the engine does not ask for them");
    vec![finding(State::Warn, text).next("export WHARF_DOCKER_GPUS=1")]
}

/// The engines that the user's configuration names.
pub(super) async fn targets() -> Vec<Finding> {
    match crate::targets::look().await {
        Ok(targets) => targets.iter().map(of_target).collect(),
        Err(error) => vec![Finding::new(
            Group::Targets,
            "target",
            State::Warn,
            error.to_string(),
        )],
    }
}

fn of_target(target: &Target) -> Finding {
    let Target {
        name,
        devices,
        why_not,
        ..
    } = target;
    let free = devices
        .iter()
        .filter(|device| device.is_free && device.is_usable)
        .count();
    let (state, text) = match (why_not, devices.as_slice()) {
        (Some(why), _) => (State::Warn, why.clone()),
        (None, []) => (State::Ok, "answers, has no GPU".to_owned()),
        (None, devices) => {
            let mut names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
            names.dedup();
            let (names, all) = (names.join(", "), devices.len());
            (State::Ok, format!("{names}, {free} of {all} free"))
        }
    };
    Finding::new(Group::Targets, "target", state, format!("{name}: {text}"))
}
