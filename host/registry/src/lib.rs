//! Modules in registries: how they are named, what they look like there, publishing and pulling.
//!
//! - [`ModuleRef`] is what a user writes: `acme:tool@1.2`, or `registry.example/acme/tool:1.2.0`. [`Mappings`] say which
//!   registry has the modules of a namespace.
//! - [`Contents`] is what a component says of itself, read without running it; [`Package`] makes an artifact of it, in which
//!   all of that can be read before the component is there.
//! - [`Modules::resolve`] chooses versions for all that modules call, and [`Lock`] keeps them; [`ManifestText`] changes a
//!   wharf.toml and leaves the rest of it alone.
//! - A [`Policy`] says whose signature a module needs; [`SigningKey`] makes one.
//! - [`Modules`] finds, pulls and publishes them, by way of `wharf-oci`, which has the connections and the logins.

mod artifact;
mod cache;
mod contents;
mod destination;
mod edit;
mod error;
mod lock;
mod mapping;
mod modules;
mod name;
mod policy;
mod ranges;
mod resolve;
mod sealed;
mod signature;
mod solve;
mod wit;

pub use artifact::{Artifact, Blob, Package};
pub use contents::Contents;
pub use destination::Destination;
pub use edit::{Entry, ManifestText};
pub use error::{Error, Result};
pub use lock::{Lock, Locked};
pub use mapping::Mappings;
pub use modules::{Found, Modules, Moved, Pinning, Publication, Pulled, Signed};
pub use name::{ModuleRef, Wanted};
pub use policy::Policy;
pub use resolve::{Gathered, Source, Target, found};
pub use signature::{PublicKey, SigningKey};
