//! One module for each command.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod call;
pub(crate) mod certs;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod dependencies;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod functions;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod login;
pub(crate) mod publish;
pub(crate) mod runs;
#[cfg(target_os = "linux")]
pub(crate) mod serve;

use crate::error::Report;

/// A runtime for a command that waits more than it computes: one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Report> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Report::failed(format!("this process cannot start its runtime: {error}")))
}
