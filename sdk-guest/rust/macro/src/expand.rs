//! The expansion: the author's module as it was, and beside it the component's exports.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, Item, ItemMod, Result, Visibility, spanned::Spanned};

use crate::{docs, function::Function, manifest::Manifest, types::Reader, wit};

/// Expands `#[wharf_sdk::module]`. The manifest is read last: what is wrong with the source is said first.
pub(crate) fn module(
    arguments: TokenStream,
    item: TokenStream,
    manifest: impl FnOnce() -> Result<Manifest>,
) -> Result<TokenStream> {
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
    let manifest = manifest()?;
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

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::{Manifest, TokenStream, module};

    fn expand(item: TokenStream) -> Result<String, String> {
        let manifest = || {
            Ok(Manifest {
                namespace: "acme".to_owned(),
                name: "app".to_owned(),
                version: "0.1.0".to_owned(),
            })
        };
        let expanded = module(TokenStream::new(), item, manifest);
        expanded.map(|tokens| tokens.to_string()).map_err(|error| {
            error
                .into_iter()
                .map(|error| error.to_string())
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    fn refusal(function: &TokenStream) -> String {
        expand(quote!(mod functions { #function })).expect_err("refused")
    }

    #[test]
    fn functions_are_exported_in_kebab_case_with_their_types() {
        let text = expand(quote! {
            mod functions {
                pub async fn build_all(source: Directory, jobs: Option<u32>) -> Result<Vec<(String, Container)>> { todo!() }
                pub fn nothing() {}
                fn own(anything: &Path) {}
            }
        })
        .expect("valid");
        assert!(text.contains("%build-all: async func(%source: directory, %jobs: option<u32>) -> result<list<tuple<string, container>>, error>;"), "{text}");
        assert!(text.contains("%nothing: async func();"), "{text}");
        assert!(
            text.contains("package acme:app@0.1.0;") && !text.contains("%own"),
            "{text}"
        );
    }

    #[test]
    fn a_function_may_have_the_name_of_a_type() {
        let text = expand(quote!(
            mod functions {
                pub fn file(file: File) -> File {
                    file
                }
            }
        ))
        .expect("valid");
        assert!(text.contains("{file as file-handle}"), "{text}");
        assert!(
            text.contains("%file: async func(%file: file-handle) -> file-handle;"),
            "{text}"
        );
    }

    #[test]
    fn what_only_the_macro_understands_is_taken_off() {
        let text = expand(quote! {
            mod functions {
                /// Greets.
                #[check]
                pub fn hello(/** Whom. */ #[default(-3)] times: i32) {}
            }
        })
        .expect("valid");
        assert!(
            !text.contains("# [check]") && !text.contains("# [default"),
            "{text}"
        );
        assert!(
            text.contains(r#"\"default\":-3"#) && text.contains(r#"\"check\":true"#),
            "{text}"
        );
    }

    #[test]
    fn types_that_cannot_cross_are_refused_in_plain_words() {
        assert!(
            refusal(&quote!(
                pub fn f(a: &str) {}
            ))
            .contains("take `String`")
        );
        assert!(
            refusal(&quote!(
                pub fn f(a: Vec<usize>) {}
            ))
            .contains("take `u32` or `u64`")
        );
        assert!(
            refusal(&quote!(
                pub fn f(a: HashMap<String, String>) {}
            ))
            .contains("`Vec` of pairs")
        );
        assert!(
            refusal(&quote!(
                pub fn f(a: PathBuf) {}
            ))
            .contains("`Directory`")
        );
        assert!(
            refusal(&quote!(
                pub fn f(a: Mine) {}
            ))
            .contains("plain types")
        );
        assert!(
            refusal(&quote!(
                pub fn f() -> Result<String, Mine> {
                    todo!()
                }
            ))
            .contains("`Error` or `String`")
        );
    }

    #[test]
    fn names_that_callers_cannot_write_are_refused() {
        for name in ["output", "json", "help"] {
            let name = quote::format_ident!("{name}");
            assert!(refusal(&quote!(pub fn f(#name: String) {})).contains("belongs to `wharf call`"));
        }
        assert!(
            refusal(&quote!(
                pub fn f(_unused: String) {}
            ))
            .contains("`_unused`")
        );
        assert!(
            refusal(&quote!(
                pub fn f((a, b): (u8, u8)) {}
            ))
            .contains("needs a name")
        );
        assert!(
            refusal(&quote!(
                pub fn f<T>(a: T) {}
            ))
            .contains("generic")
        );
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let message = refusal(&quote!(
            pub fn f(a: usize) {}
            pub fn g(help: String) {}
        ));
        assert_eq!(message.lines().count(), 2, "{message}");
    }

    #[test]
    fn a_module_without_functions_and_a_check_with_open_parameters_are_refused() {
        assert!(
            refusal(&quote!(
                fn own() {}
            ))
            .contains("pub async fn")
        );
        assert!(
            refusal(&quote!(
                #[check]
                pub fn f(a: String) {}
            ))
            .contains("run without arguments")
        );
        assert!(
            expand(quote!(
                mod functions;
            ))
            .expect_err("refused")
            .contains("in place")
        );
        assert!(
            expand(quote!(
                fn f() {}
            ))
            .expect_err("refused")
            .contains("inline")
        );
    }
}
