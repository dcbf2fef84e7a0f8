//! Runs one step, described by an OCI runtime specification, in a container.
//!
//! The specification is the seam: the built-in runtime takes it, and so does any OCI runtime such as runc. This crate knows
//! nothing of graphs, caches or images; it is given directories and descriptors.
//!
//! The built-in runtime forks steps from a small single-threaded helper process ([`helper_main`]), as a fork from a large
//! process costs tens of milliseconds. Each step gets namespaces of its own, an overlay mounted in its own mount namespace
//! (so that no unmount ever syncs the disk), Docker's default capabilities, seccomp profile and masked paths, cgroup limits,
//! and a tiny init that reaps orphans.

mod arrange;
mod binary;
mod cgroup;
mod error;
mod ground;
mod helper;
mod helper_process;
mod inside;
mod network;
pub mod ordinary;
mod outcome;
mod overlay;
pub mod passwd;
mod probe;
mod remote;
mod runner;
mod running;
mod seccomp;
mod slot;
pub mod spec;
mod stubs;
mod system;
mod terminal;

pub use cgroup::make_room;
pub use error::{Error, Result};
pub use helper::helper_main;
pub use inside::Inside;
pub use network::{FilterSockets, Listening, StepNetwork, is_of_steps};
pub use outcome::{Exit, StepOutcome};
pub use overlay::{Overlay, OverlayMount};
pub use probe::{Feature, Found, lacks_root, probe};
pub use remote::{Asks, Remote};
pub use runner::{NetworkMode, Runner, RunnerConfig, Runtime, Step, StepIo};
pub use terminal::{Console, Terminal, TerminalSize};
