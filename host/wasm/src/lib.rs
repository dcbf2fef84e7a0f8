//! Loads pipeline modules, WebAssembly components, and gives them the `wharf:pipeline` interface.
//!
//! - [`Runtime`] loads components and keeps their compiled code. [`Module`] says what a component exports and imports, and
//!   calls its functions, each call in a store and an instance of its own, within bounds.
//! - [`Type`], [`Value`] and [`args`]: functions' types and values as users write and see them.
//! - [`methods`]: what callers can write behind a function that returns a handle.
//! - `interface`: what modules can call. Builders append to the graph; reads and effects go to a [`Pipeline`].

pub mod args;
mod bindings;
mod broken;
mod call;
mod code;
mod cross;
mod described;
mod engines;
mod error;
mod fit;
mod held;
mod interface;
mod limits;
mod lineage;
mod link;
mod marshal;
pub mod methods;
mod module;
mod outline;
mod output;
mod precompiled;
mod reflect;
mod state;
mod types;
mod value;
mod written;

pub use call::CallContext;
pub use error::{CallError, LoadError};
pub use held::Given;
pub use limits::Limits;
pub use module::{Module, Runtime};
pub use reflect::{Capability, DefaultValue, Function, Param, capabilities_of};
pub use state::{Level, Pipeline, Said};
pub use types::{Case, Field, Handle, Named, Type, case_names};
pub use value::Value;
