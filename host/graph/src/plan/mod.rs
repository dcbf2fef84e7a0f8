//! What a node means once its sources are pinned.
//!
//! A [`Planner`] folds nodes into [`ContainerPlan`]s and [`Location`]s. Calls that only set metadata disappear in one
//! configuration, so that their order does not matter; what remains are [`Tree`]s, each with the key under which its
//! result is remembered. Planning runs nothing and asks nobody: the caller pins images and host directories first.

mod container;
mod key;
mod lifecycle;
mod path;
mod planner;
mod service;
mod tree;

pub use container::ContainerPlan;
pub use key::SEMANTICS;
pub use lifecycle::HealthCheck;
pub use path::absolute;
pub use planner::{ChangesetPlan, DOCKER_ARCHIVE, ImagePin, Pins, PlanError, Planned, Planner, fetched};
pub use service::{Bound, Port, Provider, Service, Transport};
pub use tree::{Location, Make, Step, Tree};
