//! An engine process for tests: `test-engine SOCKET STORE RUNTIME [RESOLV_CONF]`, and the runner's helper in the same program.

use std::{path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;
use wharf_engine::{EngineConfig, GpuOptions, RegistryConfig, RunnerConfig, Runtime};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "helper") {
        wharf_runner::helper_main();
    }
    if !rustix::process::geteuid().is_root() {
        let program = std::env::current_exe().expect("this program");
        let args: Vec<_> = args.iter().map(Into::into).collect();
        let code = wharf_userns::run(&program, &args).expect("a user namespace");
        std::process::exit(code.into());
    }
    let [socket, store, runtime, resolv_conf @ ..] = args.as_slice() else {
        panic!("test-engine SOCKET STORE RUNTIME [RESOLV_CONF]")
    };
    let resolv_conf = resolv_conf.first().map_or("/etc/resolv.conf", String::as_str);
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (socket, store) = (PathBuf::from(socket), PathBuf::from(store));
    let mirrors = std::env::var("WHARF_REGISTRY_MIRRORS").unwrap_or_default();
    let pair = |pair: &str| {
        pair.split_once('=')
            .map(|(one, other)| (one.to_owned(), other.to_owned()))
    };
    let config = EngineConfig {
        max_bytes: None,
        runner: RunnerConfig {
            runtime: if runtime.is_empty() || runtime == "builtin" {
                Runtime::BuiltIn
            } else {
                Runtime::Binary(runtime.into())
            },
            helper: (
                std::env::current_exe().expect("this program"),
                vec!["helper".to_owned()],
            ),
            state: wharf_e2e::engine::state_of(&socket),
            ground: store.join("ground"),
            name: wharf_e2e::engine::group_name(&store),
            resolv_conf: std::fs::read_to_string(resolv_conf).unwrap_or_default(),
        },
        registries: RegistryConfig {
            mirrors: mirrors.split(',').filter_map(pair).collect(),
            ca_bundle: None,
        },
        ca_bundle: None,
        containers: None,
        gpus: GpuOptions {
            library: std::env::var_os("WHARF_NVML").map(PathBuf::from),
            cdi_directories: std::env::split_paths(&std::env::var_os("WHARF_CDI_DIRS").unwrap_or_default())
                .collect(),
        },
        socket,
        store,
        idle: Duration::from_secs(600),
        remote: None,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime
        .block_on(wharf_engine::serve(config, CancellationToken::new()))
        .expect("the engine ends in order");
}
