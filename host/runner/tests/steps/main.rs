//! Steps as they are run for real, by the built-in runtime and by runc: each test is run with both.

// Helpers beside tests may panic as tests may.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod ending;
mod files;
mod limits;
mod network;
mod process;
mod remote;
mod terminal;
mod world;

/// Makes a test for each runtime out of functions that take a [`world::World`].
macro_rules! with_both {
    ($($name:ident),* $(,)?) => {
        mod built_in {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::world::World::built_in().await).await;
            })*
        }
        mod runc {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::world::World::runc().await).await;
            })*
        }
    };
}
pub(crate) use with_both;
