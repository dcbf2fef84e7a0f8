//! The protocol between client and engine: gRPC messages and services, and how nodes, questions and errors travel in it.

mod graph;
pub mod manifest;

/// The messages and services of engine.proto, as generated.
#[allow(missing_docs, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("wharf.engine.v1");
}

pub use graph::{DecodeError, decode, encode};
pub use manifest::Manifest;

/// The version that both ends must have.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The largest message: a read's answer (16 MiB) and its frame.
pub const MESSAGE_LIMIT: usize = 20 * 1024 * 1024;
