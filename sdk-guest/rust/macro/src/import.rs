//! Imports of other modules' interfaces, with the part of `wharf:pipeline` that they name beside them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    LitStr, Result, Token, bracketed,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use crate::wit;

/// `"acme:b", ["functions"], "interface functions { … }"`.
pub(crate) struct Import {
    package: LitStr,
    interfaces: Punctuated<LitStr, Token![,]>,
    text: LitStr,
}

impl Parse for Import {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let package = input.parse()?;
        input.parse::<Token![,]>()?;
        let list;
        bracketed!(list in input);
        let interfaces = Punctuated::parse_terminated(&list)?;
        input.parse::<Token![,]>()?;
        Ok(Self {
            package,
            interfaces,
            text: input.parse()?,
        })
    }
}

/// The module `__raw` with the generated bindings, where there is a host to call.
pub(crate) fn expand(import: &Import) -> TokenStream {
    let package = import.package.value();
    let imports: String = import
        .interfaces
        .iter()
        .map(|name| format!("    import %{};\n", name.value()))
        .collect();
    let text = format!(
        "package {package};\n\n{}\nworld wharf-importer {{\n{}{imports}}}\n\n{}",
        import.text.value(),
        wit::shared_imports(),
        wit::shared_package()
    );
    let (world, mapped) = (format!("{package}/wharf-importer"), wit::mapped());
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[allow(warnings, clippy::all, clippy::pedantic)]
        mod __raw {
            ::wharf_sdk::__private::wit_bindgen::generate!({
                inline: #text,
                world: #world,
                runtime_path: "::wharf_sdk::__private::wit_bindgen::rt",
                with: { #mapped },
                additional_derives: [::wharf_sdk::__private::Wire],
            });
        }
    }
}
