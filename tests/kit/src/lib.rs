//! What the tests and developer commands share: a real registry, real base images, a real Docker daemon and a
//! world of its own for each run of `wharf`.
//!
//! Nothing in here imitates: the registry is Debian's `docker-registry`, the base images are made of Debian's
//! packages, the daemon is `dockerd`. What `cargo xtask test` started for a whole run is announced in environment
//! variables (see [`shared`]) and used; a test that is run alone starts its own and stops it again.

pub mod answers;
pub mod ca;
pub mod docker;
mod error;
pub mod fixtures;
pub mod git;
pub mod gpus;
pub mod hardened;
pub mod http;
pub mod hub;
pub mod image;
pub mod layout;
pub mod models;
pub mod ordinary;
pub mod paths;
pub mod podman;
pub mod process;
pub mod python;
pub mod registry;
pub mod shared;
pub mod terminal;
pub mod world;

pub use error::{Error, Result};
pub use http::HttpServer;
pub use hub::Hub;
pub use podman::Podman;
pub use registry::Registry;
pub use terminal::Terminal;
pub use world::World;
