//! The registry client against Debian's own registry, with images that skopeo pushes, and against servers in front of it
//! that want tokens, lose connections and lie.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod auth;
mod faults;
mod front;
mod pull;
mod push;
mod world;
