//! Speaks to an engine: sends graphs and files, receives values, logs and progress.
//!
//! A [`Session`] is one run. It connects when something is first forced, sends each node once, pins the host's directories
//! by sending what the engine lacks of them, answers the engine's questions for secrets, and passes events on.

mod answers;
mod asked;
mod connect;
mod events;
mod export;
mod forward;
mod launch;
mod named;
mod remote;
mod secrets;
mod session;
mod targets;
mod terminal;
#[cfg_attr(not(unix), path = "unpack_plain.rs")]
mod unpack;
mod upload;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use connect::{ConnectError, Connection, gpu};
pub use launch::{Launch, LaunchError, ensure_local, local_socket};
pub use remote::Remote;
pub use secrets::{SecretError, SecretsRead};
pub use session::{Connector, DockerImages, Meanings, Session, SessionOptions};
pub use targets::Targets;
pub use terminal::{Line, Occasion, Showing, Terminals, Typing};
pub use wharf_proto::v1 as proto;
pub use wharf_tls::Address;

/// A lock that a panic elsewhere does not spoil: what it guards is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
