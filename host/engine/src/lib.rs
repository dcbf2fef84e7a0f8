//! Evaluates graphs in containers and remembers every result.
//!
//! One process owns a store and a runner and serves clients over a unix socket, and over TLS when it is told to ([`serve`]). A client's run is a session;
//! what it asks of a node is planned, looked up from the target backwards, and only what is missing is made, once, however
//! many ask.

mod answer;
mod archive;
mod audience;
mod changes;
mod containers;
mod edit;
mod egress;
mod engine;
mod evaluate;
mod export;
mod failure;
mod fetch;
mod forward;
mod git;
mod gpu;
mod image;
mod log;
mod meanings;
mod origin;
mod patch;
mod peer;
mod possession;
mod private;
mod publish;
mod remote;
mod runs;
mod search;
mod server;
mod service;
mod session;
mod step;
mod terminal;
mod turns;
mod upload;
mod users;
mod volumes;

pub use containers::ContainersConfig;
pub use engine::{EngineConfig, EngineError, serve};
pub use peer::PeerLimits;
pub use remote::{RemoteConfig, RemoteError};
pub use wharf_gpu::GpuOptions;
pub use wharf_oci::RegistryConfig;
pub use wharf_runner::{RunnerConfig, Runtime};
