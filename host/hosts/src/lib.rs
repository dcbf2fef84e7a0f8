//! Which hosts an allow-list names, and which addresses a name may lead to. Pure data: nothing here asks a server.
//!
//! - [`Pattern`] is one entry of a list: `example.com`, `*.example.com`, an address, each with `:port` or for all ports.
//! - [`Hosts`] is a list.
//! - [`Reach`] says whose an address is: a name of a list may lead to some, and to others only where they are named, too.
//! - [`host_and_port`] are those that an address of a file or a repository names.

mod hosts;
mod pattern;
mod reach;
mod url;

pub use hosts::Hosts;
pub use pattern::{NotAHost, Pattern};
pub use reach::Reach;
pub use url::host_and_port;
