//! `wharf engine serve`: the engine itself, on Linux.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wharf_engine::{
    ContainersConfig, EngineConfig, PeerLimits, RegistryConfig, RemoteConfig, RunnerConfig, Runtime,
};
use wharf_runner::Found;

use crate::{
    RUNNER_HELPER,
    args::{RemoteArgs, ServeArgs},
    docker_rights::{AUTO, BUILT_IN, DOCKER},
    engine_choice::{self, mirror, runtime_name, this_program},
    error::{Ended, Report},
    interrupt,
    places::{self, Places},
    resolver,
};

/// Seconds without a client after which an engine of one machine ends.
const IDLE: u64 = 600;
/// Steps of one client of another machine that run at once, for each processor.
const PEER_STEPS: usize = 8;

/// Is an engine until it is told to end, or nobody has needed it for a while.
pub(crate) fn serve(args: ServeArgs) -> Result<(), Report> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WHARF_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let try_rights = args.try_rights;
    let config = config(args)?;
    if try_rights {
        rights(&config.store)?;
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    // These threads pass messages; steps, and work on files, have processes and threads of their own. To wake one more of
    // them for a message takes longer than the message.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.div_ceil(2))
        .enable_all()
        .build()
        .map_err(|error| Report::failed(format!("this process cannot start its runtime: {error}")))?;
    runtime.block_on(async {
        let stop: CancellationToken = interrupt::watch()
            .map_err(|error| Report::failed(format!("this process cannot be told of signals: {error}")))?;
        Ok(wharf_engine::serve(config, stop).await?)
    })
}

fn config(args: ServeArgs) -> Result<EngineConfig, Report> {
    let (socket, store) = match (args.socket, args.store) {
        (Some(socket), Some(store)) => (socket, store),
        (socket, store) => {
            let places = Places::find()?;
            (
                socket.unwrap_or_else(|| places.socket()),
                store.unwrap_or(places.store),
            )
        }
    };
    let absolute = |path: std::path::PathBuf| {
        std::path::absolute(&path).map_err(|error| Report::usage(format!("{}: {error}", path.display())))
    };
    let (socket, store) = (absolute(socket)?, absolute(store)?);
    let run = socket.parent().unwrap_or(std::path::Path::new("/")).to_owned();
    for directory in [&run, &store] {
        std::fs::create_dir_all(directory)
            .map_err(|error| Report::usage(format!("cannot make {}: {error}", directory.display())))?;
    }
    let ca_bundle = engine_choice::ca_bundle(args.ca_cert.as_deref())?;
    let runtime = runtime_name(&args.runtime)?;
    let containers = (runtime == DOCKER).then(|| ContainersConfig {
        socket: wharf_docker::STEP_SOCKET.into(),
        name: args
            .docker_name
            .clone()
            .unwrap_or_else(|| places::name_of_store(&store)),
    });
    let remote = remote(args.remote)?;
    // An engine for other machines is not started again by those who find none.
    let usual = if remote.is_some() { u64::MAX } else { IDLE };
    let mirrors = args
        .mirrors
        .iter()
        .map(|text| mirror(text))
        .collect::<Result<_, _>>()?;
    Ok(EngineConfig {
        runner: RunnerConfig {
            runtime: if [AUTO, BUILT_IN, DOCKER].contains(&runtime.as_str()) {
                Runtime::BuiltIn
            } else {
                Runtime::Binary(runtime.into())
            },
            helper: (this_program()?, vec![RUNNER_HELPER.to_owned()]),
            state: places::runner_state(&store, &run),
            ground: store.join("ground"),
            name: places::name_of_store(&store),
            resolv_conf: resolver::resolv_conf(),
        },
        registries: RegistryConfig {
            mirrors,
            ca_bundle: ca_bundle.clone(),
        },
        containers,
        max_bytes: args.max_bytes,
        ca_bundle,
        gpus: args.gpus.into(),
        idle: Duration::from_secs(args.idle.unwrap_or(usual)),
        remote,
        socket,
        store,
    })
}

/// Fails when this container may not do what the built-in runtime does; whoever started it reads why in its log.
fn rights(store: &std::path::Path) -> Result<(), Report> {
    let fails = wharf_runner::probe(store)
        .into_iter()
        .find_map(|feature| match feature.found {
            Found::Fails(why) => Some(format!("{}: {why}", feature.name)),
            _ => None,
        });
    match fails.or_else(wharf_runner::lacks_root) {
        None => Ok(()),
        Some(why) => Err(Report::failed(format!("{}{why}", wharf_docker::RIGHTS_MARK))),
    }
}

/// How other machines reach the engine, when they are to.
fn remote(args: RemoteArgs) -> Result<Option<RemoteConfig>, Report> {
    let Some(listen) = args.listen else {
        return Ok(None);
    };
    let certificates = match args.certs {
        Some(directory) => directory,
        None => Places::find()?.engine_certificates(),
    };
    // Looked at before anything is started: usually they were not made yet.
    wharf_tls::server_config(&certificates).map_err(|error| {
        let host = &listen.host;
        let report = Report::usage(format!(
            "{listen} is not listened on without certificates: {error}"
        ));
        match error {
            wharf_tls::Error::Open(key) => report.with_hint(format!("`chmod 600 {}`", key.display())),
            _ => report.with_hint(format!(
                "`wharf engine certs {} --host {host} --client NAME` makes them",
                certificates.display()
            )),
        }
    })?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let limits = PeerLimits {
        steps: args
            .peer_steps
            .map_or(processors * PEER_STEPS, |steps| steps as usize),
        sessions: args.peer_runs as usize,
        upload: args.peer_upload,
    };
    Ok(Some(RemoteConfig {
        listen,
        certificates,
        limits,
    }))
}

impl From<wharf_engine::EngineError> for Report {
    fn from(error: wharf_engine::EngineError) -> Self {
        Self::new(Ended::Unreachable, format!("the engine cannot go on: {error}"))
    }
}
