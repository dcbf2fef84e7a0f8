//! What stands in for the host where there is none: builders make nodes that remember how they were called, and reads are
//! answered by the test that runs the function. Shaped as the generated bindings are, so that the rest of the crate is the
//! same on every target.

#![allow(
    clippy::new_without_default,
    clippy::result_large_err,
    missing_docs,
    unreachable_pub,
    reason = "as in the bindings; the types of the crate say what is what"
)]

mod interface;
mod node;
mod recording;
mod text;

use std::sync::Arc;

pub use interface::{
    cache, container, debug, eval, exports, filesystem, git, git_eval, gpu, gpu_eval, host, http, image, log,
    module, network, publishing, registry, reveal, secret, serve, service,
};
pub(crate) use node::Handle;
pub use node::{Handles, Node};
pub use recording::Answer;
pub(crate) use recording::Recording;

/// What was planned, as text.
pub(crate) fn planned(recording: &Recording, returned: &[Arc<Node>]) -> String {
    text::text(&recording.reads, returned)
}
