//! The module macro of wharf-sdk: turns the public functions of one inline module into a component's exports.

mod docs;
mod expand;
mod function;
mod manifest;
mod names;
mod types;
mod wit;

use proc_macro::TokenStream;

/// Makes the public functions of an inline module the functions of a Wharf module.
///
/// `pub fn` and `pub async fn` of plain types (`bool`, whole and floating-point numbers, `char`, `String`, `Vec`, `Option`,
/// tuples) and handles (`Container`, `Directory`, `File`, `Secret`, `CacheVolume`) are exported under their names in
/// kebab-case; they return nothing, such a value, or a `Result` of it. Doc comments on the module, its functions and their
/// parameters are what `wharf functions` and `--help` show. Name and version of the module come from `wharf.toml`.
///
/// On a parameter, `#[default(value)]` gives what is used when the caller says nothing. On a function, `#[check]` marks it
/// as one that `wharf check` runs.
#[proc_macro_attribute]
pub fn module(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::module(arguments.into(), item.into(), manifest::Manifest::read)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
