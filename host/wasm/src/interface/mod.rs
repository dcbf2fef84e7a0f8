//! The `wharf:pipeline` interface: builders append to the graph, reads and effects go to the pipeline.

mod build;
mod changes;
mod convert;
mod debug;
mod effects;
mod eval;
mod gpu;
mod healthcheck;
mod own;
mod registry;
mod service;
mod sources;
mod words;

pub(crate) use convert::{ERROR_CASES, from_value, to_value};
pub(crate) use effects::host_filter;
pub(crate) use service::endpoint;
#[allow(unreachable_pub, reason = "the generated bindings export it")]
pub use words::Group;
