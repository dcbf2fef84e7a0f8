//! The graph that a module's calls build, and the plan that an engine makes of it. Pure data: no I/O, no clock.
//!
//! - [`node`], [`op`]: what the calls build. A [`Node`] is an operation and its inputs, named by the digest of both.
//! - [`build`]: typed handles ([`Directory`], [`File`], [`Container`] …) whose methods append nodes, one for each builder of
//!   `wharf:pipeline`.
//! - [`gpu`]: GPUs that steps ask for, and that engines have.
//! - [`source`]: what is fetched from elsewhere.
//! - [`read`]: the questions that can be asked of a node, and their answers.
//! - [`publish`]: what is pushed to a registry.
//! - [`plan`]: what a node means once its sources are pinned: metadata folded into one configuration, and for each tree
//!   the key under which its result is remembered.

pub mod build;
mod error;
pub mod gpu;
pub mod image;
pub mod node;
pub mod op;
pub mod plan;
pub mod publish;
pub mod read;
pub mod source;

pub use build::{Changeset, Container, Directory, File, Secret, Service, Volume};
pub use error::{Denial, Error, ExecFailure, shell_words};
pub use node::{Node, NodeId};
pub use op::Op;
