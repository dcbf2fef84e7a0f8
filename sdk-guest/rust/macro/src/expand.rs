//! The expansion: the author's module as it was, and beside it the component's exports.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, Item, ItemMod, Result, Visibility, spanned::Spanned};

use crate::{docs, function::Function, manifest::Manifest, types::Reader, wit};

/// Expands `#[wharf_sdk::module]`.
pub(crate) fn module(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new(
            arguments.span(),
            "`#[wharf_sdk::module]` takes no arguments; the name is in wharf.toml",
        ));
    }
    let mut module: ItemMod = syn::parse2(item).map_err(|cause| {
        Error::new(
            cause.span(),
            format!("`#[wharf_sdk::module]` stands on an inline `mod name {{ … }}`: {cause}"),
        )
    })?;
    let name = module.ident.clone();
    let module_docs = docs::text(&module.attrs);
    let Some((_, items)) = &mut module.content else {
        return Err(Error::new(
            module.span(),
            "`#[wharf_sdk::module]` needs the functions in place: `mod name { … }`",
        ));
    };
    let mut types = Reader::default();
    let functions = read_functions(items, &mut types)?;
    if functions.is_empty() {
        return Err(Error::new(
            name.span(),
            "this module has no function that callers could use: write a `pub async fn` in it",
        ));
    }
    let manifest = Manifest::read()?;
    let exports = exports(&name, &manifest, &functions, &types);
    let section = Literal::byte_string(docs::section(&manifest, &module_docs, &functions).as_bytes());
    Ok(quote! {
        // On other targets nothing calls the functions: they are there for editors and unit tests.
        #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
        #module

        // Expand again when the name or the version changes.
        const _: &[u8] = ::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/wharf.toml"));

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const TEXT: &[u8] = #section;
            #[used]
            #[unsafe(link_section = "wharf:docs")]
            static DOCS: [u8; TEXT.len()] = *TEXT.first_chunk().unwrap();
        };

        #exports
    })
}

fn read_functions(items: &mut [Item], types: &mut Reader) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    let mut failed: Option<Error> = None;
    for item in items {
        let Item::Fn(item) = item else { continue };
        if !matches!(item.vis, Visibility::Public(_)) {
            continue;
        }
        // All mistakes at once, each at its place.
        match Function::read(item, types) {
            Ok(function) => functions.push(function),
            Err(error) => match &mut failed {
                Some(errors) => errors.combine(error),
                None => failed = Some(error),
            },
        }
    }
    failed.map_or(Ok(functions), Err)
}

fn exports(module: &syn::Ident, manifest: &Manifest, functions: &[Function], types: &Reader) -> TokenStream {
    let inline = wit::text(manifest, functions, &types.used);
    let world = format!("{}/module", manifest.package());
    let mapped = wit::SHARED.iter().map(|(name, _)| {
        let (interface, name) = (wit::interface(name), format_ident!("{name}"));
        quote!(#interface: ::wharf_sdk::__private::wit::#name)
    });
    let methods = functions.iter().map(|function| method(module, function));
    let (namespace, package) = (rust_name(&manifest.namespace), rust_name(&manifest.name));
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[doc(hidden)]
        #[allow(warnings, clippy::all, clippy::pedantic)]
        mod __wharf_exports {
            ::wharf_sdk::__private::wit_bindgen::generate!({
                inline: #inline,
                world: #world,
                runtime_path: "::wharf_sdk::__private::wit_bindgen::rt",
                with: { #(#mapped),* },
            });

            struct Module;

            impl exports::#namespace::#package::functions::Guest for Module {
                #(#methods)*
            }

            export!(Module);
        }
    }
}

fn method(module: &syn::Ident, function: &Function) -> TokenStream {
    let ident = &function.ident;
    let names: Vec<_> = (0..function.params.len())
        .map(|index| format_ident!("parameter{index}"))
        .collect();
    let raws = function.params.iter().map(|param| &param.raw);
    let returned = &function.returned.raw;
    let wait = function.is_async.then(|| quote!(.await));
    quote! {
        async fn #ident(#(#names: #raws),*) -> #returned {
            ::wharf_sdk::__private::Wire::lower(
                super::#module::#ident(#(::wharf_sdk::__private::Wire::lift(#names)),*) #wait
            )
        }
    }
}

/// A part of the package's name as the generated code spells it.
fn rust_name(label: &str) -> syn::Ident {
    let name = label.replace('-', "_");
    match syn::parse_str::<syn::Ident>(&name) {
        Ok(ident) => ident,
        Err(_) => syn::Ident::new(&format!("{name}_"), Span::call_site()),
    }
}
