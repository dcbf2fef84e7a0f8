//! Requests over HTTP that do not give up at once, and files fetched by URL.
//!
//! - [`Clients`], [`Patience`]: connections with the certificates that an engine trusts, and when a request is made again. Whoever
//!   speaks to a server uses these.
//! - [`Fetcher`]: one file, in parallel parts where it is large and the server lets us, taken up again where a connection was
//!   cut, checked against its digest while it arrives.
//! - [`Partial`]: what there is of one whose digest is known, from which another process goes on.

mod arriving;
mod clients;
mod digest;
mod error;
mod fetch;
mod kept;
mod partial;
mod patience;
mod request;
mod resolve;

pub use arriving::Sink;
pub use clients::{Clients, SettingsError, is_loopback};
pub use digest::{Expected, ExpectedError};
pub use error::{Error, innermost};
pub use fetch::{Fetched, Fetcher};
pub use kept::Kept;
pub use partial::Partial;
pub use patience::{Patience, may_pass, retry_after};
pub use request::{Request, Secret, Validators};
pub use resolve::addresses_within;
