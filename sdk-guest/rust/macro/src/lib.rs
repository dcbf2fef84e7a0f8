//! The macros of wharf-sdk: the module macro turns the public functions of one inline module into a component's exports, and
//! a derive lets the author's own types stand in their signatures.

mod defaults;
mod derive;
mod docs;
mod expand;
mod function;
mod import;
mod manifest;
mod names;
mod own;
mod shape;
mod source;
mod wit;
mod world;

use proc_macro::{Span, TokenStream};

/// Makes the public functions of an inline module the functions of a Wharf module.
///
/// `pub fn` and `pub async fn` of plain types (`bool`, whole and floating-point numbers, `char`, `String`, `Vec`, `Option`,
/// tuples), handles (`Container`, `Directory`, `File`, `Secret`, `CacheVolume`, `Service`) and types of this crate that derive `Type`
/// are exported under their names in kebab-case; they return nothing, such a value, or a `Result` of it. Doc comments on the
/// module, its functions and their parameters are what `wharf functions` and `--help` show. Name and version of the module
/// come from `wharf.toml`.
///
/// Beside the module stands one for each module that `wharf.toml` names under `[dependencies]`: `acme_b` for `acme:b`, with
/// its functions, which `wharf build` writes from what that module says of itself.
///
/// On a parameter, `#[default(value)]` gives what is used when the caller says nothing: a literal, or a case of an enum, as
/// in `#[default(Level::Fast)]`. `#[default_path(".")]` does so for a `Directory` or `File`, as a path in the module's own
/// directory. On a function, `#[check]` marks it as one that `wharf check` runs.
#[proc_macro_attribute]
pub fn module(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::module(
        arguments.into(),
        item.into(),
        source_of_this_crate,
        manifest::Manifest::read,
    )
    .unwrap_or_else(syn::Error::into_compile_error)
    .into()
}

/// Lets a struct or enum be a parameter or a result of a module's functions, alone or inside other types.
///
/// A struct with named fields is a record for callers, an enum whose cases carry nothing an enum, and any other enum a
/// variant. Fields may be private and hold whatever functions may take, handles and other types that derive `Type`
/// included. The type may be defined in any file of the crate. It cannot be generic or hold itself. Doc comments on it, its
/// fields and cases are what `--help` shows.
///
/// ```ignore
/// /// How hard to try.
/// #[derive(wharf_sdk::Type)]
/// pub enum Level {
///     /// As it comes.
///     Fast,
///     /// With patience.
///     Thorough,
/// }
///
/// /// What came out.
/// #[derive(wharf_sdk::Type)]
/// pub struct Report {
///     /// The files.
///     tree: Directory,
///     /// How hard it was.
///     level: Level,
/// }
/// ```
#[proc_macro_derive(Type)]
pub fn own_type(input: TokenStream) -> TokenStream {
    derive::own(input.into(), source_of_this_crate)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Imports the interfaces of another module. Stands in what `wharf build` writes; no part of the interface.
#[doc(hidden)]
#[proc_macro]
pub fn import(input: TokenStream) -> TokenStream {
    import::expand(&syn::parse_macro_input!(input)).into()
}

/// Implements `Wire` for the types that the module macro generates. No part of the interface.
#[doc(hidden)]
#[proc_macro_derive(Wire)]
pub fn wire(input: TokenStream) -> TokenStream {
    derive::wire(&syn::parse_macro_input!(input)).into()
}

fn source_of_this_crate() -> source::Source {
    source::Source::of(source::roots(Span::call_site().local_file()))
}
