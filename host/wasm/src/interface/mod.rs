//! The `wharf:pipeline` interface: builders append to the graph, reads and effects go to the pipeline.

mod build;
mod convert;
mod effects;
mod eval;
mod registry;
mod service;
mod sources;

pub(crate) use convert::from_wit;
pub(crate) use effects::host_filter;
pub(crate) use service::endpoint;
