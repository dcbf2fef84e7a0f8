//! What can be written on the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Pipelines as typed, sandboxed WebAssembly modules, run in containers and remembered.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the module in this directory.
    Build(ModuleArgs),
    /// List a module's functions.
    Functions(ListArgs),
    /// Call a function of a module.
    Call(CallArgs),
    /// Show what a module exports and what it may do, without running it.
    Inspect(InspectArgs),
    /// Look after the engine that runs steps.
    Engine {
        #[command(subcommand)]
        command: EngineCommand,
    },
    /// Look after what is remembered.
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where a module is.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ModuleArgs {
    /// A module's directory, or a component's file.
    #[arg(short, long, value_name = "DIR|FILE.wasm", default_value = ".")]
    pub(crate) module: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// A module's directory, or a component's file.
    #[arg(value_name = "DIR|FILE.wasm", default_value = ".")]
    pub(crate) module: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where steps run and how images are reached.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct EngineArgs {
    /// Where the engine runs: auto, local, docker, or unix://SOCKET.
    #[arg(long, env = "WHARF_ENGINE", default_value = "auto", value_name = "PLACE")]
    pub(crate) engine: String,
    /// What runs steps: builtin, runc, crun, or the path of an OCI runtime. Holds for an engine that is started.
    #[arg(long, env = "WHARF_RUNTIME", default_value = "builtin")]
    pub(crate) runtime: String,
    /// Certificates that registries and steps with network trust; the host's unless given.
    #[arg(long, env = "WHARF_CA_CERT", value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressKind {
    /// What fits the place where it is shown.
    Auto,
    /// A line for each thing that happens.
    Plain,
    /// A JSON object for each thing that happens.
    Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// How what happens is shown, on standard error.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) progress: ProgressKind,
    /// Say for each step why it was remembered or ran.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Run every step although its result is remembered.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Show errors only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// End the module's own call after this many seconds.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    pub(crate) timeout: u64,
    /// The function and its flags: `build --source . -o out`. With --help it shows its flags.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FUNCTION [--FLAG VALUE]…")]
    pub(crate) call: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EngineCommand {
    /// Start an engine, when none runs.
    Start(EngineArgs),
    /// End the engine, with every step that runs.
    Stop(EngineArgs),
    /// Show where the engine runs and what it has.
    Status(EngineArgs),
    /// Show what the engine has said.
    Logs(EngineArgs),
    /// Run an engine in the foreground.
    #[command(hide = true)]
    Serve(ServeArgs),
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// The socket to listen on.
    #[arg(long)]
    pub(crate) socket: PathBuf,
    /// The directory that holds everything it remembers.
    #[arg(long)]
    pub(crate) store: PathBuf,
    /// End after this many seconds without a client.
    #[arg(long, default_value_t = 600)]
    pub(crate) idle: u64,
    /// What runs steps.
    #[arg(long, default_value = "builtin")]
    pub(crate) runtime: String,
    /// Certificates that registries and steps with network trust.
    #[arg(long)]
    pub(crate) ca_cert: Option<PathBuf>,
    /// A mirror of a registry: docker.io=http://127.0.0.1:5000.
    #[arg(long, value_name = "REGISTRY=URL")]
    pub(crate) mirror: Vec<String>,
    /// The store's size limit in bytes.
    #[arg(long)]
    pub(crate) max_bytes: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show what the store holds.
    Usage {
        #[command(flatten)]
        engine: EngineArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget results and remove what only they need.
    Prune {
        #[command(flatten)]
        engine: EngineArgs,
        /// Keep what was used within this many seconds.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        keep: u64,
        /// Cache volumes, too.
        #[arg(long)]
        all: bool,
    },
}
