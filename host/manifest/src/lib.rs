//! What modules say of themselves: `wharf.toml`, the rights that they ask for and grant to others, and how modules are
//! composed. Pure data: nothing here reads a file or a network.
//!
//! - [`Manifest`] is wharf.toml, [`Dependency`] one line of its `[dependencies]`.
//! - [`Rights`] are what a module asks for, what an edge grants, and what a call holds: allow-lists by [`Capability`].
//! - [`Composition`] is a module with everything it depends on, found and ready to be loaded.

mod about;
mod capability;
mod composition;
mod dependency;
mod manifest;
mod name;
mod nearest;
mod pattern;
mod rights;
mod schema;

pub use about::About;
pub use capability::{Capability, UnknownCapability};
pub use composition::{Composition, CompositionError, Edge, Origin, Part};
pub use dependency::{Dependency, GitReference};
pub use manifest::{EdgeGrants, Manifest, ModuleTable};
pub use name::{ModuleName, NotAName};
pub use pattern::repository;
pub use rights::{Allowed, Limit, Rights};
pub use schema::manifest_schema;
