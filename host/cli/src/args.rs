//! The command line: what it takes and the words it explains itself with.

mod engine;
mod registry;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(target_os = "linux")]
pub(crate) use self::engine::RemoteArgs;
pub(crate) use self::engine::{CertsArgs, ServeArgs};
pub(crate) use self::registry::{
    AddArgs, GitArgs, LoginArgs, LogoutArgs, ProjectArgs, PublishArgs, RemoveArgs, UpdateArgs,
};
use crate::engine_choice::EngineChoice;

/// Runs pipelines written as typed, sandboxed modules, in containers, and remembers every result.
#[derive(Debug, Parser)]
#[command(
    name = "wharf",
    version,
    max_term_width = 100,
    after_help = "`wharf init` begins a module; `wharf doctor` says whether pipelines can run here.",
    after_long_help = "A first pipeline:\n  wharf init hello && cd hello\n  wharf functions\n  wharf call hello --name Ada\n\n\
                       Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 the pipeline \
                       failed, 2 the command line or wharf.toml is wrong, 3 a capability was denied, 4 an engine or a \
                       registry cannot be reached, 130 interrupted."
)]
pub(crate) struct Wharf {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin a module: a commented example that can be called at once
    Init(InitArgs),
    /// Build a module from its source
    Build(BuildArgs),
    /// List a module's functions
    Functions(FunctionsArgs),
    /// Call a module's function
    Call(CallArgs),
    /// Run a module's checks: the functions that are marked as such
    Check(CheckArgs),
    /// Show what a module is, takes and asks for; builds and runs nothing
    Inspect(InspectArgs),
    /// Add a module that this one calls, to wharf.toml and wharf.lock
    Add(AddArgs),
    /// Take a module out of wharf.toml and wharf.lock
    Remove(RemoveArgs),
    /// Choose newer versions of what is called, as far as wharf.toml allows
    Update(UpdateArgs),
    /// Publish a module to a registry
    Publish(PublishArgs),
    /// Log in to a registry, for pulling and publishing
    Login(LoginArgs),
    /// Forget what a registry was told
    Logout(LogoutArgs),
    /// Start, stop and look at the engine
    Engine(EngineCommand),
    /// Look at and prune what the engine remembers
    Cache(CacheCommand),
    /// List what was run: when, how it ended, what it used and saved
    Runs(RunsArgs),
    /// Show a run step by step: the newest one, unless it is named
    Report(ReportArgs),
    /// Say where an engine would run, and what is missing
    Doctor(DoctorArgs),
    /// Print what a shell reads to complete commands, and functions, flags and methods of modules
    Completions(CompletionsArgs),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct ModuleArg {
    /// The module: a directory with a wharf.toml, a component's file, or one of a registry, as in acme:tool@1.2 or
    /// registry.example/acme/tool:1.2.0
    #[arg(short, long, value_name = "DIR|FILE.wasm|REF", default_value = ".")]
    pub(crate) module: PathBuf,
}

/// How modules of registries are had.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct PinningArgs {
    /// Take only what is fixed: modules, images and commits as wharf.lock has them, or by their digest
    #[arg(long)]
    pub(crate) locked: bool,
    /// Fetch no module: take what is on this machine
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Loudness {
    /// How progress is shown
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) progress: ProgressKind,
    /// Show nothing but results and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show more: the compiler's words as it builds a module
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressKind {
    /// What suits the terminal
    #[default]
    Auto,
    /// What runs, drawn on the terminal
    Tty,
    /// Lines of text
    Plain,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    /// The engine: auto, docker, local, unix://PATH or tcp://HOST:PORT
    #[arg(long, env = "WHARF_ENGINE", default_value = "auto", hide_env_values = true)]
    pub(crate) engine: EngineChoice,
    /// For an engine on another machine, the directory of client.pem, client-key.pem and ca.pem; `certs` among the user's
    /// settings by default
    #[arg(long, env = "WHARF_ENGINE_CERTS", value_name = "DIR", hide_env_values = true)]
    pub(crate) engine_certs: Option<PathBuf>,
    /// What runs steps: builtin, docker (each step a container of the engine's Docker), auto (builtin, or docker where that
    /// refuses), runc, crun or an OCI runtime's path
    #[arg(long, env = "WHARF_RUNTIME", default_value = "auto", hide_env_values = true)]
    pub(crate) runtime: String,
    /// Certificates that registries and steps with network trust; the host's own by default
    #[arg(long, env = "WHARF_CA_CERT", value_name = "PATH", hide_env_values = true)]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Give an engine in Docker the host's GPUs, when it has any
    #[arg(long, env = "WHARF_DOCKER_GPUS", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    pub(crate) docker_gpus: bool,
}

/// Where GPUs are found.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GpuArgs {
    /// NVIDIA's management library; wherever the loader finds it by default
    #[arg(long, env = "WHARF_NVML", value_name = "PATH", hide_env_values = true)]
    pub(crate) nvml: Option<PathBuf>,
    /// A directory with CDI specifications, instead of /etc/cdi and /var/run/cdi; may be repeated, the strongest last
    #[arg(
        long = "cdi-dir",
        env = "WHARF_CDI_DIRS",
        value_name = "DIR",
        value_delimiter = ':',
        hide_env_values = true
    )]
    pub(crate) cdi_directories: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The module's directory, which is made when it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// The module's name; my:DIR when none is given
    #[arg(long, value_name = "NAMESPACE:NAME")]
    pub(crate) name: Option<String>,
    /// The language
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sdk: Sdk,
    /// Write the file that makes a CI system run `wharf check`, for the module that is there or the new one
    #[arg(long, value_enum, value_name = "SYSTEM")]
    pub(crate) ci: Option<CiKind>,
}

/// CI systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CiKind {
    /// GitHub Actions: .github/workflows/wharf.yml
    Github,
    /// GitLab CI: .gitlab-ci.yml
    Gitlab,
    /// Jenkins: Jenkinsfile
    Jenkins,
}

/// What a module is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sdk {
    /// Rust
    #[default]
    Rust,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArg,
    #[command(flatten)]
    pub(crate) pinning: PinningArgs,
    #[command(flatten)]
    pub(crate) loudness: Loudness,
}

#[derive(Debug, Args)]
pub(crate) struct FunctionsArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArg,
    #[command(flatten)]
    pub(crate) pinning: PinningArgs,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) loudness: Loudness,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "wharf call [OPTIONS] FUNCTION [--flag value]... [METHOD [--flag value]...]... [-o PATH] [--json]",
    disable_help_subcommand = true,
    after_help = "Options come before FUNCTION. After it come the function's own flags, -o PATH (write a directory, file or \
                  container there), --json, and --help, which explains the function. What returns a container, directory \
                  or file can be followed by a method of it: wharf call build file --path app -o ./app"
)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArg,
    #[command(flatten)]
    pub(crate) pinning: PinningArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) loudness: Loudness,
    /// Give the module a right for this call, or some of it: reveal lets it see the secrets that it is passed, reveal=TOKEN
    /// the one of that name, debug open your terminal
    #[arg(long, value_name = "CAPABILITY[=VALUE]", value_parser = wharf_manifest::Rights::parse)]
    pub(crate) allow: Vec<wharf_manifest::Rights>,
    /// Say for each step why it was remembered or run
    #[arg(long)]
    pub(crate) explain: bool,
    /// Open a shell where a step fails, in what the step left
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Run every step although its result is remembered
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Refuse steps that have a secret or the network with files of another module, which are told of otherwise
    #[arg(long)]
    pub(crate) strict: bool,
    /// Ask nothing: what a dependency asks for and was not granted is refused
    #[arg(long)]
    pub(crate) no_input: bool,
    /// Note in wharf.lock which images and commits the run's references mean: from then on they mean these, until `wharf update`
    #[arg(long, conflicts_with = "locked")]
    pub(crate) pin: bool,
    /// End the call after this time: 90s, 30m, 2h
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "1h")]
    pub(crate) timeout: Duration,
    #[command(subcommand)]
    pub(crate) function: Option<FunctionCall>,
}

/// The function and all that follows it, which is read when the function is known.
#[derive(Debug, Subcommand)]
pub(crate) enum FunctionCall {
    #[command(external_subcommand)]
    Words(Vec<OsString>),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The checks to run; all of them when none is named
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) module: ModuleArg,
    #[command(flatten)]
    pub(crate) pinning: PinningArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) loudness: Loudness,
    /// List them and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// Write the results to this file too, as JUnit's XML, which CI systems read
    #[arg(long, value_name = "PATH", conflicts_with = "list")]
    pub(crate) junit: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Open a shell where a step fails, in what the step left
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Run every step although its result is remembered
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Refuse steps that have a secret or the network with files of another module, which are told of otherwise
    #[arg(long)]
    pub(crate) strict: bool,
    /// Ask nothing: what a dependency asks for and was not granted is refused
    #[arg(long)]
    pub(crate) no_input: bool,
    /// Note in wharf.lock which images and commits the run's references mean: from then on they mean these, until `wharf update`
    #[arg(long, conflicts_with = "locked")]
    pub(crate) pin: bool,
    /// End a check after this time: 90s, 30m, 2h
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "1h")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The module: a component's file, a directory with a built one, or one of a registry, which is read without being
    /// pulled
    #[arg(value_name = "DIR|FILE.wasm|REF", default_value = ".")]
    pub(crate) module: PathBuf,
    #[command(flatten)]
    pub(crate) pinning: PinningArgs,
    /// Its interface as WIT, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) wit: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct EngineCommand {
    #[command(subcommand)]
    pub(crate) action: EngineAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EngineAction {
    /// Start the engine, unless it runs
    Start(EngineArgs),
    /// End the engine; what it remembers stays
    Stop(EngineArgs),
    /// End the engine and remove all that it remembers, cache volumes and all
    Reset(EngineArgs),
    /// Show which engine answers and what it can do
    Status {
        #[command(flatten)]
        engine: EngineArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the engine's log, or all that a failed step printed
    Logs {
        #[command(flatten)]
        engine: EngineArgs,
        /// A failed step's log, as the step's error names it
        #[arg(value_name = "LOG")]
        step: Option<String>,
    },
    /// Be an engine, in the foreground
    Serve(ServeArgs),
    /// Make certificates for an engine that other machines reach, and for its clients; nothing is overwritten
    Certs(CertsArgs),
    /// Pass standard input and output on to an engine's socket
    #[command(hide = true)]
    Connect {
        /// The socket.
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
        /// Say whether an engine listens there, and no more.
        #[arg(long)]
        probe: bool,
    },
}

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct CacheCommand {
    #[command(subcommand)]
    pub(crate) action: CacheAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Show what is remembered and how large it is
    Usage {
        #[command(flatten)]
        engine: EngineArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what is remembered; cache volumes stay unless --volumes or --all says otherwise
    Prune {
        #[command(flatten)]
        engine: EngineArgs,
        /// Keep what was used within this time: 90s, 30m, 2h, 7d
        #[arg(long, value_parser = duration, value_name = "TIME", conflicts_with = "all")]
        keep: Option<Duration>,
        /// Cache volumes, too
        #[arg(long)]
        volumes: bool,
        /// Everything
        #[arg(long)]
        all: bool,
    },
    /// Read all that is remembered, and forget what is damaged or missing: it is made again when it is asked for
    Verify {
        #[command(flatten)]
        engine: EngineArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Show this run, step by step: the beginning of its name is enough
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// List so many, the newest first
    #[arg(
        short = 'n',
        long,
        value_name = "COUNT",
        default_value_t = 20,
        conflicts_with = "run"
    )]
    pub(crate) count: usize,
    /// List all that are kept
    #[arg(long, conflicts_with_all = ["run", "count"])]
    pub(crate) all: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The run, as `wharf runs` lists it; the beginning of its name is enough
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Look at this engine only: auto, docker, local, unix://PATH or tcp://HOST:PORT
    // Read as text: what is wrong with it is a finding.
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// For an engine on another machine, the directory of client.pem, client-key.pem and ca.pem
    #[arg(long, env = "WHARF_ENGINE_CERTS", value_name = "DIR", hide_env_values = true)]
    pub(crate) engine_certs: Option<PathBuf>,
    /// Certificates that registries and steps with network trust; the host's own by default
    #[arg(long, env = "WHARF_CA_CERT", value_name = "PATH", hide_env_values = true)]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Give an engine in Docker the host's GPUs, when it has any
    #[arg(long, env = "WHARF_DOCKER_GPUS", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    pub(crate) docker_gpus: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell that can ask for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// source <(wharf completions bash), in ~/.bashrc
    Bash,
    /// source <(wharf completions zsh), in ~/.zshrc
    Zsh,
    /// wharf completions fish | source, in ~/.config/fish/config.fish
    Fish,
    /// eval (wharf completions elvish | slurp), in ~/.elvish/rc.elv
    Elvish,
    /// wharf completions powershell | Out-String | Invoke-Expression, in $PROFILE
    Powershell,
}

impl Shell {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Elvish => "elvish",
            Self::Powershell => "powershell",
        }
    }
}

/// A time as people write it: a number and a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a time is a number and s, m, h or d: 90s, 30m, 2h".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a time starts with a number: 90s, 30m, 2h".to_owned())?;
    number
        .checked_mul(factor)
        .map(Duration::from_secs)
        .ok_or_else(|| "that is longer than time".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Wharf::command().debug_assert();
    }

    #[test]
    fn what_follows_the_function_is_left_alone() {
        let wharf =
            Wharf::try_parse_from(["wharf", "call", "-q", "build", "--json", "--timeout", "x"]).unwrap();
        let Command::Call(call) = wharf.command else {
            panic!("another command")
        };
        let Some(FunctionCall::Words(words)) = call.function else {
            panic!("no function")
        };
        assert_eq!(words, ["build", "--json", "--timeout", "x"]);
        assert!(call.loudness.quiet);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("soon").is_err());
        assert!(duration("5w").is_err());
    }
}
