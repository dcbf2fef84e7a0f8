//! The expansion: the author's module as it was, and beside it the component's exports.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, Item, ItemMod, Result, Visibility, spanned::Spanned};

use crate::{
    docs::{self, Section},
    function::Function,
    manifest::{Dependencies, Manifest},
    names::snake,
    own::Checked,
    source::Source,
    wit,
    world::{self, World},
};

/// Expands `#[wharf_sdk::module]`. The manifest is read last: what is wrong with the source is said first.
pub(crate) fn module(
    arguments: TokenStream,
    item: TokenStream,
    source: impl FnOnce() -> Source,
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
    let functions = read_functions(items)?;
    if functions.is_empty() {
        return Err(Error::new(
            name.span(),
            "this module has no function that callers could use: write a `pub async fn` in it",
        ));
    }
    let world = World::gather(functions, &source())?;
    let section = Section::of(&world)?;
    let manifest = manifest()?;
    let exports = exports(&name, &manifest, &world);
    let dependencies = dependencies(&manifest)?;
    let section = Literal::byte_string(section.text(&manifest, &module_docs).as_bytes());
    Ok(quote! {
        // On other targets nothing calls the functions: they are there for editors and unit tests.
        #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
        #module

        #dependencies

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

/// What `wharf build` has written about the modules that this one calls.
fn dependencies(manifest: &Manifest) -> Result<TokenStream> {
    match &manifest.dependencies {
        Dependencies::None => Ok(TokenStream::new()),
        Dependencies::Written => Ok(quote! {
            ::core::include!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/.wharf/dependencies.rs"));
        }),
        Dependencies::Missing => Err(Error::new(
            proc_macro2::Span::call_site(),
            "wharf.toml names dependencies, and what this crate sees of them is not there yet: `wharf build` writes it",
        )),
    }
}

fn read_functions(items: &mut [Item]) -> Result<Vec<Function>> {
    let mut all = Checked::default();
    let mut functions = Vec::new();
    for item in items {
        if let Item::Fn(item) = item
            && matches!(item.vis, Visibility::Public(_))
        {
            functions.extend(all.keep(Function::read(item)));
        }
    }
    all.done(functions)
}

fn exports(module: &syn::Ident, manifest: &Manifest, world: &World) -> TokenStream {
    let inline = wit::text(manifest, world);
    let name = format!("{}/module", manifest.package());
    let mapped = wit::mapped();
    let (namespace, package) = (snake(&manifest.namespace), snake(&manifest.name));
    let holder = quote!(exports::#namespace::#package::functions);
    let methods = world
        .functions
        .iter()
        .map(|function| method(module, function, world, &holder));
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[doc(hidden)]
        #[allow(warnings, clippy::all, clippy::pedantic)]
        mod __wharf_exports {
            ::wharf_sdk::__private::wit_bindgen::generate!({
                inline: #inline,
                world: #name,
                runtime_path: "::wharf_sdk::__private::wit_bindgen::rt",
                with: { #mapped },
                additional_derives: [::wharf_sdk::__private::Wire],
            });

            struct Module;

            impl #holder::Guest for Module {
                #(#methods)*
            }

            export!(Module);
        }
    }
}

/// What is called for a function: arguments are made the author's types, and its result the generated one.
fn method(module: &syn::Ident, function: &Function, world: &World, holder: &TokenStream) -> TokenStream {
    let own = |rust: &str| {
        let generated = world::generated(world, rust);
        quote!(#holder::#generated)
    };
    let ident = &function.ident;
    let names: Vec<_> = (0..function.params.len())
        .map(|index| format_ident!("parameter{index}"))
        .collect();
    let raws = function.params.iter().map(|param| param.shape.raw(&own));
    let returned = function
        .returned
        .as_ref()
        .map_or_else(|| quote!(()), |shape| shape.raw(&own));
    let wait = function.is_async.then(|| quote!(.await));
    quote! {
        async fn #ident(#(#names: #raws),*) -> #returned {
            let returned = super::#module::#ident(#(::wharf_sdk::__private::cross(#names)),*) #wait;
            ::wharf_sdk::__private::cross(returned)
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::{Dependencies, Manifest, Source, TokenStream, module};

    fn expand(item: TokenStream) -> Result<String, String> {
        expand_with(TokenStream::new(), item)
    }

    /// Expands a module of a crate that has these types.
    fn expand_with(types: TokenStream, item: TokenStream) -> Result<String, String> {
        let source = || {
            let mut source = Source::default();
            let file: syn::File = syn::parse2(types).expect("types");
            source.add(&file.items, "lib.rs".as_ref(), "".as_ref());
            source
        };
        let manifest = || {
            Ok(Manifest {
                namespace: "acme".to_owned(),
                name: "app".to_owned(),
                version: "0.1.0".to_owned(),
                dependencies: Dependencies::None,
            })
        };
        let expanded = module(TokenStream::new(), item, source, manifest);
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
        assert!(text.contains("%build-all: async func(%source: %directory, %jobs: option<u32>) -> result<list<tuple<string, %container>>, %error>;"), "{text}");
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
        assert!(text.contains("{file as %file-type}"), "{text}");
        assert!(
            text.contains("%file: async func(%file: %file-type) -> %file-type;"),
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

    #[test]
    fn own_types_are_declared_with_what_they_hold() {
        let types = quote! {
            /// How hard.
            #[derive(Type)]
            enum Level { /** Quick. */ Fast, VerySlow }
            #[derive(Debug, wharf_sdk::Type)]
            struct Report { /** Where. */ tree: Directory, level: Option<Level>, r#type: (u8, String) }
            #[derive(Type)]
            enum Origin { Here, At(Directory), Pair(u8, u8), Git { url: String, level: Level } }
        };
        let text = expand_with(
            types,
            quote! {
                mod functions {
                    pub fn f(#[default(Level::VerySlow)] level: Level, from: Vec<Origin>) -> Result<Report> { todo!() }
                }
            },
        )
        .expect("valid");
        for part in [
            "enum %level {\\n        %fast,\\n        %very-slow,\\n    }",
            "record %report {\\n        %tree: %directory,\\n        %level: option<%level>,\\n        %type: tuple<u8, string>,",
            "variant %origin {\\n        %here,\\n        %at(%directory),\\n        %pair(tuple<u8, u8>),\\n        %git(%origin-git),",
            "record %origin-git {\\n        %url: string,\\n        %level: %level,",
            "%f: async func(%level: %level, %from: list<%origin>) -> result<%report, %error>;",
            "use wharf:pipeline/filesystem@0.1.0.{directory as %directory};",
            r#"\"default\":\"very-slow\""#,
            r#"\"docs\":\"Quick.\",\"name\":\"fast\""#,
            r#"\"result\":\"result<report, error>\""#,
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn own_types_that_cannot_be_told_apart_or_end_are_refused() {
        let refusal = |types: TokenStream, function: TokenStream| {
            expand_with(types, quote!(mod functions { #function })).expect_err("refused")
        };
        let record = |name: &str| {
            let name = quote::format_ident!("{name}");
            quote!(#[derive(Type)] struct #name { a: u8 })
        };
        let (one, two) = (record("Report"), record("Report"));
        let several = refusal(
            quote!(#one mod inner { #two }),
            quote!(
                pub fn f() -> Report {}
            ),
        );
        assert!(
            several.contains("several types of this crate are called `Report`"),
            "{several}"
        );
        let (one, two) = (record("HttpKind"), record("HTTPKind"));
        let same = refusal(
            quote!(#one #two),
            quote!(
                pub fn f(a: HttpKind) -> HTTPKind {}
            ),
        );
        assert!(same.contains("both `http-kind`"), "{same}");
        let types = quote! {
            #[derive(Type)] struct A { b: Vec<B> }
            #[derive(Type)] struct B { a: Option<A> }
        };
        let endless = refusal(
            types,
            quote!(
                pub fn f(a: A) {}
            ),
        );
        assert!(
            endless.contains("`A` holds itself, through `A`, `B`"),
            "{endless}"
        );
    }

    #[test]
    fn defaults_have_to_fit_their_types() {
        let refused = |default: TokenStream, ty: TokenStream| refusal(&quote!(pub fn f(#default a: #ty) {}));
        for (default, ty, why) in [
            (quote!(#[default("x")]), quote!(u32), "a whole number that fits"),
            (quote!(#[default(256)]), quote!(u8), "a whole number that fits"),
            (quote!(#[default(-1)]), quote!(u8), "a whole number that fits"),
            (quote!(#[default(3)]), quote!(String), "text in quotes"),
            (quote!(#[default("x")]), quote!(Vec<String>), "is a list"),
            (quote!(#[default(".")]), quote!(Directory), "#[default_path"),
            (
                quote!(#[default("env:TOKEN")]),
                quote!(Secret),
                "only a caller says",
            ),
            (
                quote!(#[default_path(".")]),
                quote!(String),
                "for a `Directory` or a `File`",
            ),
            (
                quote!(#[default_path("../x")]),
                quote!(Directory),
                "lies in the module's directory",
            ),
            (
                quote!(#[default_path("/x")]),
                quote!(File),
                "lies in the module's directory",
            ),
        ] {
            let message = refused(default, ty);
            assert!(message.contains(why), "{message}");
        }
        let text = expand(quote! {
            mod functions {
                #[check]
                pub fn f(
                    #[default(-128)] a: i8,
                    #[default(["a", "b"])] b: Vec<String>,
                    #[default((1, 'x'))] c: (u8, char),
                    #[default(2)] d: f64,
                    #[default_path("src")] e: Directory,
                    f: bool,
                ) {}
            }
        })
        .expect("valid");
        for part in [
            r#"\"default\":-128"#,
            r#"\"default\":[\"a\",\"b\"]"#,
            r#"\"default\":[1,\"x\"]"#,
            r#"\"default\":2.0"#,
            r#"\"default_path\":\"src\""#,
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
