//! `wharf engine`: the process that runs steps and remembers.

use std::{io::Read, time::Duration};

use wharf_client::{
    Connection,
    proto::{StatusRequest, StepLogRequest},
};

use crate::{
    args::{EngineAction, EngineArgs, EngineCommand},
    engine_choice::{self, EngineChoice, EngineSettings, Place},
    error::Report,
    gpus, output,
    table::columns,
};

/// How much of a long log is printed.
const LOG_TAIL: u64 = 1024 * 1024;

/// Runs one of its subcommands.
pub(crate) fn run(command: EngineCommand) -> Result<(), Report> {
    match command.action {
        #[cfg(target_os = "linux")]
        EngineAction::Serve(args) => super::serve::serve(args),
        #[cfg(not(target_os = "linux"))]
        EngineAction::Serve(_) => Err(
            Report::usage("an engine runs on Linux, and this is another system")
                .with_hint("`wharf engine start` starts one in Docker"),
        ),
        EngineAction::Certs(args) => super::certs::run(args),
        EngineAction::Connect { socket, probe } => {
            super::runtime()?.block_on(super::connect::run(&socket, probe))
        }
        EngineAction::Start(args) => super::runtime()?.block_on(start(&args)),
        EngineAction::Stop(args) => super::runtime()?.block_on(stop(&args)),
        EngineAction::Reset(args) => super::runtime()?.block_on(reset(&args)),
        EngineAction::Status { engine, json } => super::runtime()?.block_on(status(&engine, json)),
        EngineAction::Logs { engine, step: None } => super::runtime()?.block_on(logs(&engine)),
        EngineAction::Logs {
            engine,
            step: Some(log),
        } => super::runtime()?.block_on(step_log(&engine, log)),
    }
}

async fn start(args: &EngineArgs) -> Result<(), Report> {
    let settings = EngineSettings::of(args)?;
    let connection = settings.connect().await?;
    let status = connection.client().status(StatusRequest {}).await?.into_inner();
    output::line(&format!(
        "engine {} runs as process {}, its store is {}",
        status.version, status.pid, status.store
    ))
}

/// The engine that runs, of whatever version, without starting one.
async fn running(settings: &EngineSettings) -> Result<Option<Connection>, Report> {
    let socket = match settings.place().await? {
        Place::Docker(options) if is_streamed(&options)? => {
            let daemon = wharf_docker::reach(&options).await?;
            let found = engine_choice::streamed(&daemon, &options).await;
            return Ok(found.ok().map(|(connection, _)| connection));
        }
        Place::Docker(options) => options.socket(),
        Place::Unix(path) => path,
        Place::Local => settings.places.socket(),
        // Whoever names a machine wants to know why it cannot be reached.
        Place::Tcp(address) => {
            let remote = settings.remote(&address)?;
            return Ok(Some(Connection::open_remote_any_version(&remote).await?.0));
        }
    };
    Ok(Connection::open_any_version(&socket)
        .await
        .ok()
        .map(|(connection, _)| connection))
}

async fn stop(args: &EngineArgs) -> Result<(), Report> {
    let was_running = end(&EngineSettings::of(args)?).await?;
    output::line(if was_running {
        "the engine has ended"
    } else {
        "no engine was running"
    })
}

/// Ends the engine and removes its store, whoever's the files in it are.
async fn reset(args: &EngineArgs) -> Result<(), Report> {
    let settings = EngineSettings::of(args)?;
    let place = settings.place().await?;
    if let Place::Unix(_) | Place::Tcp(_) = place {
        return Err(Report::usage(format!(
            "the store of {} is removed where that engine was started",
            settings.choice
        )));
    }
    end(&settings).await?;
    match place {
        Place::Docker(options) => {
            let daemon = wharf_docker::reach(&options).await?;
            wharf_docker::remove_store(&daemon, &options).await?;
            output::line(&format!("the volume {} is removed", options.volume()))
        }
        _ => remove_local(&settings.places.store),
    }
}

#[cfg(target_os = "linux")]
fn remove_local(store: &std::path::Path) -> Result<(), Report> {
    if !store.exists() {
        return output::line(&format!("there is no store in {}", store.display()));
    }
    crate::ordinary::remove_store(store)?;
    output::line(&format!("{} is removed", store.display()))
}

#[cfg(not(target_os = "linux"))]
fn remove_local(_: &std::path::Path) -> Result<(), Report> {
    output::line("there is no store on this host")
}

/// Ends the engine; says whether one was running.
async fn end(settings: &EngineSettings) -> Result<bool, Report> {
    Ok(match settings.place().await? {
        Place::Docker(options) => {
            let daemon = wharf_docker::reach(&options).await?;
            let in_docker = wharf_docker::stop(&daemon, &options).await?;
            settings.forget_docker_refusal();
            // `auto` may have found no Docker when it started one on this host.
            in_docker | (settings.choice == EngineChoice::Auto && stop_at(&settings.places.socket()).await?)
        }
        Place::Local => stop_at(&settings.places.socket()).await?,
        Place::Unix(socket) => stop_at(&socket).await?,
        Place::Tcp(address) => {
            let (connection, _) = Connection::open_remote_any_version(&settings.remote(&address)?).await?;
            engine_choice::stop(&connection).await?;
            true
        }
    })
}

fn is_streamed(options: &wharf_docker::DockerOptions) -> Result<bool, Report> {
    Ok(options.is_streamed()?)
}

/// Ends the engine that listens on this socket; says whether there was one.
async fn stop_at(socket: &std::path::Path) -> Result<bool, Report> {
    let Ok((connection, _)) = Connection::open_any_version(socket).await else {
        return Ok(false);
    };
    engine_choice::stop(&connection).await?;
    Ok(true)
}

async fn status(args: &EngineArgs, json: bool) -> Result<(), Report> {
    let settings = EngineSettings::of(args)?;
    let Some(connection) = running(&settings).await? else {
        return if json {
            output::json(&serde_json::json!({"running": false}))
        } else {
            output::line("no engine is running")
        };
    };
    let status = connection.client().status(StatusRequest {}).await?.into_inner();
    // An engine of another version may not know what a GPU is.
    let gpus = connection.gpus().await.unwrap_or_default();
    if json {
        return output::json(&serde_json::json!({
            "running": true, "version": status.version, "pid": status.pid, "store": status.store,
            "runtime": status.runtime, "rights": status.rights, "sessions": status.sessions, "running-steps": status.running_steps,
            "uptime-seconds": status.uptime_seconds, "client": status.client, "missing": status.missing, "gpus": gpus::json(&gpus),
        }));
    }
    let uptime = crate::table::seconds(Duration::from_secs(status.uptime_seconds));
    let row = |name: &str, value: String| [name.to_owned(), value];
    let mut rows = if status.client.is_empty() {
        vec![
            row("version", status.version),
            row("process", status.pid.to_string()),
            row("store", status.store),
            row("runtime", status.runtime),
            row("rights", status.rights),
            row("clients", status.sessions.to_string()),
            row("running steps", status.running_steps.to_string()),
            row("up for", uptime),
        ]
    } else {
        // Of the engine of another machine a client sees its own part.
        vec![
            row("version", status.version),
            row("you are", status.client),
            row("runtime", status.runtime),
            row("your runs", status.sessions.to_string()),
            row("your running steps", status.running_steps.to_string()),
        ]
    };
    rows.extend(gpus.devices.into_iter().map(|device| row("GPU", device.shown)));
    if !gpus.why_none.is_empty() {
        rows.push(row("GPUs", format!("none: {}", gpus.why_none)));
    }
    rows.extend(gpus.notes.into_iter().map(|note| row("GPUs", note)));
    rows.extend(status.missing.into_iter().map(|what| row("cannot", what)));
    output::text(&columns(&rows))
}

async fn logs(args: &EngineArgs) -> Result<(), Report> {
    let settings = EngineSettings::of(args)?;
    match settings.place().await? {
        Place::Docker(options) => {
            let daemon = wharf_docker::reach(&options).await?;
            return output::text(&wharf_docker::logs(&daemon, &options).await?);
        }
        Place::Tcp(address) => {
            return Err(
                Report::usage(format!("the log of {address} is on its own machine"))
                    .with_hint("`wharf engine logs LOG` prints what a failed step of yours printed"),
            );
        }
        Place::Unix(_) | Place::Local => {}
    }
    let path = settings.places.engine_log();
    let failed = |error: std::io::Error| Report::failed(format!("cannot read {}: {error}", path.display()));
    let mut file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            output::aside("no engine has been started here yet\n");
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    std::io::Seek::seek(
        &mut file,
        std::io::SeekFrom::Start(length.saturating_sub(LOG_TAIL)),
    )
    .map_err(failed)?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).map_err(failed)?;
    output::bytes(&tail)
}

/// Prints what a failed step printed, in pieces: it may be long.
async fn step_log(args: &EngineArgs, log: String) -> Result<(), Report> {
    let connection = EngineSettings::of(args)?.connect().await?;
    let missing = |status: tonic::Status| match status.code() {
        tonic::Code::NotFound => Report::failed(status.message()),
        _ => status.into(),
    };
    let mut pieces = connection
        .client()
        .step_log(StepLogRequest { log })
        .await
        .map_err(missing)?
        .into_inner();
    while let Some(piece) = pieces.message().await? {
        output::bytes(&piece.bytes)?;
    }
    Ok(())
}
