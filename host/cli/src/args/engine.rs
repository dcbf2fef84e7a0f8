//! What `wharf engine serve` and `wharf engine certs` take.

use std::path::PathBuf;

use clap::Args;

use super::GpuArgs;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The socket to listen on
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The directory that holds what it remembers
    #[arg(long, value_name = "PATH")]
    pub(crate) store: Option<PathBuf>,
    /// The store's size limit in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes: Option<u64>,
    /// End after this many seconds without a client; 600 by default, and never with --listen
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle: Option<u64>,
    /// What runs steps: builtin, runc, crun or an OCI runtime's path
    #[arg(
        long,
        env = "WHARF_RUNTIME",
        default_value = "builtin",
        hide_env_values = true
    )]
    pub(crate) runtime: String,
    /// The engine's name in the Docker daemon that each step is a container of
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) docker_name: Option<String>,
    /// Try what the built-in runtime needs before anything else
    #[arg(long, hide = true)]
    pub(crate) try_rights: bool,
    /// Certificates that registries and steps with network trust
    #[arg(long, env = "WHARF_CA_CERT", value_name = "PATH", hide_env_values = true)]
    pub(crate) ca_cert: Option<PathBuf>,
    /// A mirror that is asked before a registry; may be repeated
    #[arg(long = "mirror", value_name = "REGISTRY=URL")]
    pub(crate) mirrors: Vec<String>,
    #[command(flatten)]
    pub(crate) gpus: GpuArgs,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// How other machines reach an engine.
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// Listen here for other machines, too, with TLS and for clients with a certificate alone; port 0 takes a free one
    #[arg(long, value_name = "tcp://HOST:PORT")]
    pub(crate) listen: Option<wharf_tls::Address>,
    /// The directory of server.pem, server-key.pem and ca.pem, as `wharf engine certs` makes it; `engine-certs` among the
    /// user's settings by default
    #[arg(long, value_name = "DIR", requires = "listen")]
    pub(crate) certs: Option<PathBuf>,
    /// Steps that one client of another machine may have running at once; eight for each processor by default
    #[arg(long, value_name = "COUNT", requires = "listen", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) peer_steps: Option<u32>,
    /// Runs that one client of another machine may have at once
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) peer_runs: u32,
    /// Bytes that one client of another machine may send in the runs that it has at once
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30)]
    pub(crate) peer_upload: u64,
}

#[derive(Debug, Args)]
#[command(
    after_long_help = "An engine for a team:\n  wharf engine certs --host build.example --client ann --client bob\n  \
                       wharf engine serve --listen tcp://build.example:7420\n\n\
                       Each client is given the directory that is printed for it, and keeps it secret:\n  \
                       wharf call --engine tcp://build.example:7420 --engine-certs DIR ..."
)]
pub(crate) struct CertsArgs {
    /// The directory; `engine-certs` among the user's settings by default
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// A name or address under which clients reach the engine: makes its certificate; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// A client to make a certificate for, by the name that the engine knows it by; may be repeated
    #[arg(long = "client", value_name = "NAME")]
    pub(crate) clients: Vec<String>,
    /// How many days these certificates hold
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    pub(crate) days: u32,
}
