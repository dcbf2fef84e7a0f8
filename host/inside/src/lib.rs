//! The first process of a step's container where a Docker daemon makes the container, and what it and the engine say to each other.
//!
//! The daemon is told nothing of a step but its limits and what is mounted: the program, its variables and its files come over the
//! container's standard input, what it prints and what it has changed go back over the standard output. Nothing of either is in
//! the container's configuration or the daemon's logs.

mod container;
mod error;
mod wire;

pub use container::main;
pub use error::{Error, Result};
pub use wire::{Frame, HEADER, Job, Kind, PlacedFile};

/// The directory of this program in a step's container.
pub const HOME: &str = "/.wharf";
/// A directory in memory, for files that must not come to lie on a disk.
pub const PRIVATE: &str = "/.wharf/private";
/// The argument by which the program is told to be the first process.
pub const COMMAND: &str = "__step-in-container";
