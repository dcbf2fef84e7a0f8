//! The one set of bindings to `wit/`. Authors see it through the types of this crate; the module macro maps its own world
//! onto it. Where there is no host to call, handles and functions are those of [`native`](crate::native).

#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::pedantic)]
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

mod generated {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "wharf:pipeline/imports",
        generate_all,
        additional_derives: [PartialEq],
        generate_unused_types: true,
    });
}

#[cfg(target_arch = "wasm32")]
pub use generated::wharf;

#[cfg(not(target_arch = "wasm32"))]
pub mod wharf {
    pub mod pipeline {
        use super::super::generated::wharf::pipeline as generated;
        use crate::native;

        pub use generated::types;
        pub use native::{
            debug, eval, exports, git_eval, gpu_eval, image, module, registry, reveal, secret, serve,
        };

        pub mod filesystem {
            pub use crate::native::filesystem::*;
        }
        pub mod cache {
            pub use super::generated::cache::Sharing;
            pub use crate::native::cache::*;
        }
        pub mod container {
            pub use crate::native::container::*;
        }
        pub mod git {
            pub use super::generated::git::LogEntry;
            pub use crate::native::git::*;
        }
        pub mod gpu {
            pub use super::generated::gpu::{Device, Sharing, Target, WhenBusy};
            pub use crate::native::gpu::*;
        }
        pub mod host {
            pub use super::generated::host::Forward;
            pub use crate::native::host::*;
        }
        pub mod http {
            pub use crate::native::http::*;
        }
        pub mod log {
            pub use super::generated::log::Level;
            pub use crate::native::log::*;
        }
        pub mod network {
            pub use super::generated::network::Mode;
            pub use crate::native::network::*;
        }
        pub mod publishing {
            pub use super::generated::publishing::Compression;
            pub use crate::native::publishing::*;
        }
        pub mod service {
            pub use super::generated::service::{Port, Transport};
            pub use crate::native::service::*;
        }
    }
}
