//! A real engine for each test: a process of its own with a store of its own, spoken to as clients speak to it.

pub mod components;
pub mod docker;
pub mod engine;
mod footprint;
pub mod guests;
pub mod internet;
mod launch;

pub use engine::{Run, TestEngine};
pub use footprint::Footprint;
