//! What the derives expand to: a type's parts, in a form that has no names, so that the author's type and the generated one
//! of the same form can be made of each other. A record is its fields, nested in pairs; a case of an enum its number; a
//! variant a choice between what the first case carries and the rest.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Field, Fields, Index, Result, Type, Variant, spanned::Spanned};

use crate::{own::Definition, source::Source, world};

/// Expands `#[derive(wharf_sdk::Type)]`: checks what is written, where it is written. After a mistake the type still has an
/// implementation, so that only the mistake is reported.
pub(crate) fn own(input: TokenStream, source: impl FnOnce() -> Source) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    match check(&input, source) {
        Ok(()) => Ok(wire(&input)),
        Err(error) => {
            let (errors, name) = (error.into_compile_error(), &input.ident);
            let (generics, arguments, bounds) = input.generics.split_for_impl();
            Ok(quote! {
                #errors
                impl #generics ::wharf_sdk::__private::Wire for #name #arguments #bounds {
                    type Raw = ();
                    fn lift((): ()) -> Self {
                        ::core::unreachable!()
                    }
                    fn lower(self) {}
                }
            })
        }
    }
}

fn check(input: &DeriveInput, source: impl FnOnce() -> Source) -> Result<()> {
    let definitions = Definition::read(input)?;
    if definitions.iter().all(|definition| definition.own().is_empty()) {
        return Ok(());
    }
    let name = input.ident.to_string();
    let Some(path) = world::recursion(&name, &source()) else {
        return Ok(());
    };
    let why = if path.len() == 1 {
        format!("`{name}` holds itself: a value that crosses has an end")
    } else {
        let others: Vec<_> = path[1..].iter().map(|name| format!("`{name}`")).collect();
        format!(
            "`{name}` holds itself, through {}: a value that crosses has an end",
            others.join(", ")
        )
    };
    // The field that leads there is the one to point at.
    let field = field_with(input, path.get(1).unwrap_or(&name));
    Err(match field {
        Some(ty) => Error::new_spanned(ty, why),
        None => Error::new_spanned(&input.ident, why),
    })
}

/// The first field whose type has this name in it.
fn field_with<'i>(input: &'i DeriveInput, name: &str) -> Option<&'i Type> {
    let fields: Vec<&Field> = match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|case| &case.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    fields
        .into_iter()
        .map(|field| &field.ty)
        .find(|ty| crate::shape::Shape::read(ty).is_ok_and(|shape| shape.own().contains(&name)))
}

/// Expands to the implementation of `Wire` for a type whose fields have one.
pub(crate) fn wire(input: &DeriveInput) -> TokenStream {
    let name = &input.ident;
    let Body { raw, lift, lower } = match &input.data {
        Data::Struct(data) => of_struct(&data.fields),
        Data::Enum(data) => of_enum(data.variants.iter().collect()),
        Data::Union(union) => {
            return Error::new(union.union_token.span(), "a union cannot cross: write an enum")
                .into_compile_error();
        }
    };
    quote! {
        #[automatically_derived]
        impl ::wharf_sdk::__private::Wire for #name {
            type Raw = #raw;
            fn lift(raw: Self::Raw) -> Self {
                #lift
            }
            fn lower(self) -> Self::Raw {
                #lower
            }
        }
    }
}

/// The parts of an implementation.
struct Body {
    raw: TokenStream,
    lift: TokenStream,
    lower: TokenStream,
}

fn of_struct(fields: &Fields) -> Body {
    let names = bindings(fields.len());
    let (pattern, raw) = (nested(&names), raw_fields(fields));
    let lifted = constructed(fields, &names, &quote!(Self));
    let taken = destructured(fields, &names, &quote!(Self));
    let lowered = lowered(&names);
    Body {
        raw,
        lift: quote!(let #pattern = raw; #lifted),
        lower: quote!(let #taken = self; #lowered),
    }
}

fn of_enum(cases: Vec<&Variant>) -> Body {
    if cases.iter().all(|case| case.fields.is_empty()) {
        let idents: Vec<_> = cases.iter().map(|case| &case.ident).collect();
        let numbers: Vec<_> = (0_u32..).take(idents.len()).collect();
        return Body {
            raw: quote!(::wharf_sdk::__private::Number),
            lift: quote!(match raw.0 { #(#numbers => Self::#idents,)* _ => ::core::unreachable!("the host checks numbers of cases") }),
            lower: quote!(::wharf_sdk::__private::Number(match self { #(Self::#idents => #numbers,)* })),
        };
    }
    let choice = quote!(::wharf_sdk::__private::Choice);
    let mut body = Body {
        raw: quote!(::core::convert::Infallible),
        lift: quote!(match raw {}),
        lower: TokenStream::new(),
    };
    let mut lowers = Vec::new();
    for (at, case) in cases.iter().enumerate().rev() {
        let ident = &case.ident;
        let (names, rest) = (bindings(case.fields.len()), body);
        let (path, raw) = (quote!(Self::#ident), raw_case(&case.fields));
        let pattern = case_pattern(&case.fields, &names);
        let lifted = constructed(&case.fields, &names, &path);
        let (rest_raw, rest_lift) = (rest.raw, rest.lift);
        body = Body {
            raw: quote!(#choice<#raw, #rest_raw>),
            lift: quote!(match raw { #choice::This(#pattern) => #lifted, #choice::Next(raw) => #rest_lift }),
            lower: TokenStream::new(),
        };
        let taken = destructured(&case.fields, &names, &path);
        let own = case_lowered(&case.fields, &names);
        let nested = (0..at).fold(
            quote!(#choice::This(#own)),
            |inner, _| quote!(#choice::Next(#inner)),
        );
        lowers.push(quote!(#taken => #nested,));
    }
    body.lower = quote!(match self { #(#lowers)* });
    body
}

fn bindings(count: usize) -> Vec<Ident> {
    (0..count).map(|at| format_ident!("field{at}")).collect()
}

/// `(a, (b, ()))`.
fn nested(names: &[Ident]) -> TokenStream {
    names
        .iter()
        .rev()
        .fold(quote!(()), |rest, name| quote!((#name, #rest)))
}

fn lowered(names: &[Ident]) -> TokenStream {
    names.iter().rev().fold(
        quote!(()),
        |rest, name| quote!((::wharf_sdk::__private::Wire::lower(#name), #rest)),
    )
}

/// The raw type of a field; a type that cannot cross is reported there.
fn raw_field(ty: &Type) -> TokenStream {
    quote_spanned!(ty.span()=> <#ty as ::wharf_sdk::__private::Wire>::Raw)
}

fn raw_fields(fields: &Fields) -> TokenStream {
    let raws: Vec<_> = fields.iter().map(|field| raw_field(&field.ty)).collect();
    raws.iter()
        .rev()
        .fold(quote!(()), |rest, raw| quote!((#raw, #rest)))
}

/// A case of one value is that value; of several, a tuple; of named fields, what a record is.
fn raw_case(fields: &Fields) -> TokenStream {
    match fields {
        Fields::Unit => quote!(()),
        Fields::Unnamed(unnamed) => {
            let raws: Vec<_> = unnamed.unnamed.iter().map(|field| raw_field(&field.ty)).collect();
            if let [only] = raws.as_slice() {
                only.clone()
            } else {
                quote!((#(#raws,)*))
            }
        }
        Fields::Named(_) => raw_fields(fields),
    }
}

fn case_pattern(fields: &Fields, names: &[Ident]) -> TokenStream {
    match (fields, names) {
        (Fields::Unit, _) => quote!(()),
        (Fields::Unnamed(_), [only]) => quote!(#only),
        (Fields::Unnamed(_), _) => quote!((#(#names,)*)),
        (Fields::Named(_), _) => nested(names),
    }
}

fn case_lowered(fields: &Fields, names: &[Ident]) -> TokenStream {
    match (fields, names) {
        (Fields::Unit, _) => quote!(()),
        (Fields::Unnamed(_), [only]) => quote!(::wharf_sdk::__private::Wire::lower(#only)),
        (Fields::Unnamed(_), _) => quote!((#(::wharf_sdk::__private::Wire::lower(#names),)*)),
        (Fields::Named(_), _) => lowered(names),
    }
}

/// The names or numbers of the fields: `Name { 0: a }` is a tuple, too.
fn members(fields: &Fields) -> Vec<TokenStream> {
    let member = |(at, field): (usize, &Field)| match &field.ident {
        Some(ident) => quote!(#ident),
        None => {
            let index = Index::from(at);
            quote!(#index)
        }
    };
    fields.iter().enumerate().map(member).collect()
}

fn constructed(fields: &Fields, names: &[Ident], path: &TokenStream) -> TokenStream {
    let members = members(fields);
    quote!(#path { #(#members: ::wharf_sdk::__private::Wire::lift(#names)),* })
}

fn destructured(fields: &Fields, names: &[Ident], path: &TokenStream) -> TokenStream {
    let members = members(fields);
    quote!(#path { #(#members: #names),* })
}
