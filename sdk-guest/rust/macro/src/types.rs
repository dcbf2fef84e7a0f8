//! Which Rust types may stand in a function's signature, and what they are in WIT and in the generated bindings.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, GenericArgument, PathArguments, Result, ReturnType, Type, TypePath, spanned::Spanned};

/// One type in a signature.
pub(crate) struct Crossing {
    /// How WIT writes it.
    pub wit: String,
    /// The generated type in its place.
    pub raw: TokenStream,
}

/// A named type of `wharf:pipeline` that a signature uses: interface and WIT name.
pub(crate) type Used = (&'static str, &'static str);

const PLAIN: &[(&str, &str)] = &[
    ("bool", "bool"),
    ("char", "char"),
    ("String", "string"),
    ("u8", "u8"),
    ("u16", "u16"),
    ("u32", "u32"),
    ("u64", "u64"),
    ("i8", "s8"),
    ("i16", "s16"),
    ("i32", "s32"),
    ("i64", "s64"),
    ("f32", "f32"),
    ("f64", "f64"),
];

const HANDLES: &[(&str, Used)] = &[
    ("Container", ("container", "container")),
    ("Directory", ("filesystem", "directory")),
    ("File", ("filesystem", "file")),
    ("Secret", ("secret", "secret")),
    ("CacheVolume", ("cache", "volume")),
    ("Service", ("service", "service")),
];

/// Reads types and gathers the named ones that they use.
#[derive(Default)]
pub(crate) struct Reader {
    /// What was used so far, each once.
    pub used: Vec<Used>,
}

impl Reader {
    /// The type of a parameter, or a part of one.
    pub(crate) fn read(&mut self, ty: &Type) -> Result<Crossing> {
        match ty {
            Type::Paren(inner) => self.read(&inner.elem),
            Type::Group(inner) => self.read(&inner.elem),
            Type::Tuple(tuple) if (1..=8).contains(&tuple.elems.len()) => {
                let parts = tuple
                    .elems
                    .iter()
                    .map(|part| self.read(part))
                    .collect::<Result<Vec<_>>>()?;
                let wit: Vec<_> = parts.iter().map(|part| part.wit.as_str()).collect();
                let raw = parts.iter().map(|part| &part.raw);
                Ok(Crossing {
                    wit: format!("tuple<{}>", wit.join(", ")),
                    raw: quote!((#(#raw,)*)),
                })
            }
            Type::Path(path) => self.path(path),
            Type::Reference(_) => Err(unsupported(
                ty,
                "a reference cannot cross; take `String` or `Vec` by value",
            )),
            _ => Err(unsupported(ty, "it has no place in the interface")),
        }
    }

    fn path(&mut self, path: &TypePath) -> Result<Crossing> {
        let Some(last) = path.path.segments.last() else {
            return Err(unsupported(path, "it has no place in the interface"));
        };
        let name = last.ident.to_string();
        if let Some((_, wit)) = PLAIN.iter().find(|(rust, _)| *rust == name) {
            let ident = &last.ident;
            let raw = if name == "String" {
                quote!(::std::string::String)
            } else {
                quote!(#ident)
            };
            return Ok(Crossing {
                wit: (*wit).to_owned(),
                raw,
            });
        }
        if let Some((rust, used)) = HANDLES.iter().find(|(rust, _)| *rust == name) {
            return Ok(self.named(rust, *used));
        }
        match (name.as_str(), arguments(&last.arguments).as_slice()) {
            ("Vec", [item]) => {
                let Crossing { wit, raw } = self.read(item)?;
                Ok(Crossing {
                    wit: format!("list<{wit}>"),
                    raw: quote!(::std::vec::Vec<#raw>),
                })
            }
            ("Option", [item]) => {
                let Crossing { wit, raw } = self.read(item)?;
                Ok(Crossing {
                    wit: format!("option<{wit}>"),
                    raw: quote!(::core::option::Option<#raw>),
                })
            }
            ("Result", _) => Err(unsupported(
                path,
                "a `Result` can only be what a function returns",
            )),
            ("usize", _) => Err(unsupported(
                path,
                "its size differs between machines; take `u32` or `u64`",
            )),
            ("isize", _) => Err(unsupported(
                path,
                "its size differs between machines; take `i32` or `i64`",
            )),
            ("u128" | "i128", _) => Err(unsupported(
                path,
                "it is too wide; take `u64`, `i64` or a `String`",
            )),
            ("str", _) => Err(unsupported(path, "take `String`")),
            ("PathBuf" | "Path", _) => Err(unsupported(
                path,
                "a module sees no files by path; take `Directory`, `File` or `String`",
            )),
            ("HashMap" | "BTreeMap", _) => Err(unsupported(path, "take a `Vec` of pairs")),
            _ => Err(unsupported(
                path,
                "plain types (bool, numbers, char, String, Vec, Option, tuples) and Container, Directory, File, Secret, \
                 CacheVolume, Service can cross",
            )),
        }
    }

    /// What a function returns: WIT's result type with its arrow, or nothing, and the generated type.
    pub(crate) fn returned(&mut self, output: &ReturnType) -> Result<Crossing> {
        let ReturnType::Type(_, ty) = output else {
            return Ok(Crossing {
                wit: String::new(),
                raw: quote!(()),
            });
        };
        let Crossing { wit, raw } = match ty.as_ref() {
            ty if is_unit(ty) => {
                return Ok(Crossing {
                    wit: String::new(),
                    raw: quote!(()),
                });
            }
            Type::Path(path)
                if path
                    .path
                    .segments
                    .last()
                    .is_some_and(|last| last.ident == "Result") =>
            {
                self.result(path)?
            }
            ty => self.read(ty)?,
        };
        Ok(Crossing {
            wit: format!(" -> {wit}"),
            raw,
        })
    }

    fn result(&mut self, path: &TypePath) -> Result<Crossing> {
        let types = path
            .path
            .segments
            .last()
            .map(|last| arguments(&last.arguments))
            .unwrap_or_default();
        let (ok, failure) = match types.as_slice() {
            [ok] => (*ok, None),
            [ok, failure] => (*ok, Some(*failure)),
            _ => return Err(unsupported(path, "say what it holds: `Result<String>`")),
        };
        let Crossing {
            wit: ok_wit,
            raw: ok_raw,
        } = if is_unit(ok) {
            Crossing {
                wit: "_".to_owned(),
                raw: quote!(()),
            }
        } else {
            self.read(ok)?
        };
        let Crossing { wit, raw } = match failure {
            None => self.named("Error", ("types", "error")),
            Some(Type::Path(path))
                if path
                    .path
                    .segments
                    .last()
                    .is_some_and(|last| last.ident == "Error") =>
            {
                self.named("Error", ("types", "error"))
            }
            Some(Type::Path(path)) if path.path.is_ident("String") => self.read(&Type::Path(path.clone()))?,
            Some(other) => return Err(unsupported(other, "a function fails with `Error` or `String`")),
        };
        Ok(Crossing {
            wit: format!("result<{ok_wit}, {wit}>"),
            raw: quote!(::core::result::Result<#ok_raw, #raw>),
        })
    }

    fn named(&mut self, rust: &str, used: Used) -> Crossing {
        if !self.used.contains(&used) {
            self.used.push(used);
        }
        let interface = quote::format_ident!("{}", used.0);
        let name = quote::format_ident!("{}", if rust == "CacheVolume" { "Volume" } else { rust });
        Crossing {
            wit: used.1.to_owned(),
            raw: quote!(::wharf_sdk::__private::wit::#interface::#name),
        }
    }
}

fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

fn arguments(arguments: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return Vec::new();
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

fn unsupported(at: &impl Spanned, why: &str) -> Error {
    Error::new(
        at.span(),
        format!("this type cannot be in a function that callers use: {why}"),
    )
}
