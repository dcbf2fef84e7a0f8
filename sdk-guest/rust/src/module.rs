//! What the module can know of itself.

use crate::bindings::wharf::pipeline::module as raw;
use crate::{CopyOptions, Directory};

/// Its name: "acme:deploy".
pub fn name() -> String {
    raw::name()
}

/// Its version; none when it says none.
pub fn version() -> Option<String> {
    raw::version()
}

/// Digest of the component that runs.
pub fn digest() -> String {
    raw::digest()
}

/// The directory with its wharf.toml; .gitignore and .wharfignore are honoured. Of a module that was not called from its
/// source, reading it is a `not-found` error.
///
/// ```no_run
/// # use wharf_sdk::prelude::*;
/// # fn example(base: Container) -> Container {
/// let scripts = wharf_sdk::module::source_directory().directory("scripts");
/// base.with_mounted_directory("/scripts", &scripts)
/// # }
/// ```
pub fn source_directory() -> Directory {
    raw::source_directory(None).into()
}

/// As [`source_directory`], taking what the options let through.
pub fn source_directory_opts(options: &CopyOptions) -> Directory {
    raw::source_directory(Some(&options.0)).into()
}

/// Would calls that need this capability be allowed? Capabilities have their interface's name: "reveal". Asking for what is
/// not known is answered by false.
pub fn granted(capability: impl AsRef<str>) -> bool {
    raw::granted(capability.as_ref())
}
