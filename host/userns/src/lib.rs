//! User namespaces: how an ordinary user becomes root of one, and which ids it has.
//!
//! A user without rights on the machine may make a namespace in which it is root, with mounts, networks and processes of its
//! own. Which other users and groups there are in it is given by the ranges of ids that the machine's administrator has set
//! aside (`/etc/subuid`, `/etc/subgid`), and brought about by two programs that may do so (`newuidmap`, `newgidmap`). Without
//! them the namespace has one id, its root.
//!
//! This crate knows nothing of steps or engines.

mod enter;
mod error;
mod ids;
mod subordinate;
mod supervise;

pub use enter::run;
pub use error::{Error, obstacle};
pub use ids::{Ids, ids, outer_user, own_pid, owns_network, why_one};
pub use subordinate::{Lack, Ranges, find as find_ranges};
