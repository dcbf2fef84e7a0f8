//! What the module can know of itself.

use crate::bindings::wharf::pipeline::module as raw;
use crate::{CopyOptions, Directory};

/// Its name: "acme:deploy".
///
/// ```
/// # use wharf_sdk::{module, prelude::*};
/// let image = Container::new().with_label("built-by", module::name());
/// ```
pub fn name() -> String {
    raw::name()
}

/// Its version; none when it says none.
///
/// ```
/// # use wharf_sdk::module;
/// let version = module::version().unwrap_or_else(|| "unreleased".to_owned());
/// ```
pub fn version() -> Option<String> {
    raw::version()
}

/// Digest of the component that runs.
///
/// ```
/// # use wharf_sdk::{module, prelude::*};
/// let image = Container::new().with_label("builder", module::digest());
/// ```
pub fn digest() -> String {
    raw::digest()
}

/// The directory with its wharf.toml; .gitignore and .wharfignore are honoured. Of a module that was not called from its
/// source, reading it is a `not-found` error.
///
/// ```
/// # use wharf_sdk::{module, prelude::*};
/// let scripts = module::source_directory().directory("scripts");
/// let tools = image::pull("alpine:3.20").with_mounted_directory("/scripts", &scripts);
/// ```
pub fn source_directory() -> Directory {
    raw::source_directory(None).into()
}

/// As [`source_directory`], taking what the options let through.
///
/// ```
/// # use wharf_sdk::{module, prelude::*};
/// let templates = module::source_directory_opts(&CopyOptions::new().include(["templates/"]));
/// ```
pub fn source_directory_opts(options: &CopyOptions) -> Directory {
    raw::source_directory(Some(&options.0)).into()
}

/// Would calls that need this capability be allowed? Capabilities have their interface's name: "reveal". Asking for what is
/// not known is answered by false.
///
/// ```
/// # use wharf_sdk::{module, prelude::*};
/// if !module::granted("debug") {
///     log::info("run with `--allow debug` to look into the container");
/// }
/// ```
pub fn granted(capability: impl AsRef<str>) -> bool {
    raw::granted(capability.as_ref())
}
