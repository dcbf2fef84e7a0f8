//! Which Rust types may cross between a module and its host, and what each is in WIT and in the generated bindings.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Error, GenericArgument, PathArguments, Result, ReturnType, Type, TypePath};

use crate::names;

/// A named type of `wharf:pipeline`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Its name in the SDK.
    pub rust: &'static str,
    /// The interface that has it.
    pub interface: &'static str,
    /// Its name there.
    pub name: &'static str,
}

/// A type that can cross.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A type of both languages: its name in Rust and in WIT.
    Plain(&'static str, &'static str),
    /// A handle or an error of the contract.
    Shared(&'static Shared),
    /// Several.
    List(Box<Shape>),
    /// One or none.
    Option(Box<Shape>),
    /// Several of different types.
    Tuple(Vec<Shape>),
    /// What a function returns that can fail; no value when there is none.
    Result(Option<Box<Shape>>, Box<Shape>),
    /// A type of the author's own, by its name in Rust.
    Own(String),
}

const PLAIN: [(&str, &str); 13] = [
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

const HANDLES: [Shared; 7] = [
    shared("Container", "container", "container"),
    shared("Directory", "filesystem", "directory"),
    shared("File", "filesystem", "file"),
    shared("Secret", "secret", "secret"),
    shared("CacheVolume", "cache", "volume"),
    shared("Service", "service", "service"),
    shared("Changeset", "filesystem", "changeset"),
];

const ERROR: Shared = shared("Error", "types", "error");

const fn shared(rust: &'static str, interface: &'static str, name: &'static str) -> Shared {
    Shared {
        rust,
        interface,
        name,
    }
}

/// Whether a signature that has this name means a type of the SDK or of Rust.
pub(crate) fn is_taken(name: &str) -> bool {
    PLAIN.iter().any(|(rust, _)| *rust == name)
        || HANDLES.iter().any(|handle| handle.rust == name)
        || ["Error", "Result", "Option", "Vec", "Box"].contains(&name)
}

impl Shape {
    /// Reads the type of a parameter or a field, or a part of one.
    pub(crate) fn read(ty: &Type) -> Result<Self> {
        match ty {
            Type::Paren(inner) => Self::read(&inner.elem),
            Type::Group(inner) => Self::read(&inner.elem),
            Type::Tuple(tuple) if (1..=8).contains(&tuple.elems.len()) => Ok(Self::Tuple(
                tuple.elems.iter().map(Self::read).collect::<Result<_>>()?,
            )),
            Type::Path(path) => Self::path(path),
            Type::Reference(_) => Err(unsupported(
                ty,
                "a reference cannot cross; take `String` or `Vec` by value",
            )),
            _ => Err(unsupported(ty, "it has no place in the interface")),
        }
    }

    fn path(path: &TypePath) -> Result<Self> {
        let Some(last) = path.path.segments.last() else {
            return Err(unsupported(path, "it has no place in the interface"));
        };
        let name = last.ident.to_string();
        if let Some((rust, wit)) = PLAIN.iter().find(|(rust, _)| *rust == name) {
            return Ok(Self::Plain(rust, wit));
        }
        if let Some(handle) = HANDLES.iter().find(|handle| handle.rust == name) {
            return Ok(Self::Shared(handle));
        }
        let why = match (name.as_str(), arguments(&last.arguments).as_slice()) {
            ("Vec", [item]) => return Ok(Self::List(Box::new(Self::read(item)?))),
            ("Option", [item]) => return Ok(Self::Option(Box::new(Self::read(item)?))),
            ("Result", _) => "a `Result` can only be what a function returns",
            ("Error", _) => "an error can only be in the `Result` that a function returns",
            ("usize", _) => "its size differs between machines; take `u32` or `u64`",
            ("isize", _) => "its size differs between machines; take `i32` or `i64`",
            ("u128" | "i128", _) => "it is too wide; take `u64`, `i64` or a `String`",
            ("str", _) => "take `String`",
            ("PathBuf" | "Path", _) => "a module sees no files by path; take `Directory`, `File` or `String`",
            ("HashMap" | "BTreeMap", _) => "take a `Vec` of pairs",
            ("HashSet" | "BTreeSet" | "VecDeque", _) => "take a `Vec`",
            ("Box" | "Rc" | "Arc" | "Cow", _) => "take what it holds, by value",
            (_, []) if last.arguments.is_none() => return Ok(Self::Own(name)),
            _ => "a type that crosses cannot be generic",
        };
        Err(unsupported(path, why))
    }

    /// What a function returns; none for nothing.
    pub(crate) fn returned(output: &ReturnType) -> Result<Option<Self>> {
        match output {
            ReturnType::Default => Ok(None),
            ReturnType::Type(_, ty) => match ty.as_ref() {
                ty if is_unit(ty) => Ok(None),
                Type::Path(path) if is_named(path, "Result") => Self::result(path).map(Some),
                ty => Self::read(ty).map(Some),
            },
        }
    }

    fn result(path: &TypePath) -> Result<Self> {
        let last = path.path.segments.last();
        let types = last.map(|last| arguments(&last.arguments)).unwrap_or_default();
        let (ok, failure) = match types.as_slice() {
            [ok] => (*ok, None),
            [ok, failure] => (*ok, Some(*failure)),
            _ => return Err(unsupported(path, "say what it holds: `Result<String>`")),
        };
        let ok = if is_unit(ok) {
            None
        } else {
            Some(Box::new(Self::read(ok)?))
        };
        let failure = match failure {
            None => Self::Shared(&ERROR),
            Some(Type::Path(path)) if is_named(path, "Error") => Self::Shared(&ERROR),
            Some(Type::Path(path)) if path.path.is_ident("String") => Self::Plain("String", "string"),
            Some(other) => return Err(unsupported(other, "a function fails with `Error` or `String`")),
        };
        Ok(Self::Result(ok, Box::new(failure)))
    }

    /// The shapes that it is made of.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Plain(..) | Self::Shared(_) | Self::Own(_) => Vec::new(),
            Self::List(inner) | Self::Option(inner) => vec![inner],
            Self::Tuple(items) => items.iter().collect(),
            Self::Result(ok, failure) => ok.iter().map(Box::as_ref).chain([failure.as_ref()]).collect(),
        }
    }

    /// The names of the author's own types in it, in order.
    pub(crate) fn own(&self) -> Vec<&str> {
        match self {
            Self::Own(name) => vec![name],
            other => other.parts().into_iter().flat_map(Self::own).collect(),
        }
    }

    /// The contract's types in it, in order.
    pub(crate) fn shared(&self) -> Vec<&'static Shared> {
        match self {
            Self::Shared(shared) => vec![shared],
            other => other.parts().into_iter().flat_map(Self::shared).collect(),
        }
    }

    /// How WIT writes it. `spell` gives the names of the author's and the contract's types, in kebab-case.
    pub(crate) fn wit(&self, spell: &impl Fn(&str) -> String) -> String {
        let list = |items: &[Self]| {
            let items: Vec<_> = items.iter().map(|item| item.wit(spell)).collect();
            items.join(", ")
        };
        match self {
            Self::Plain(_, wit) => (*wit).to_owned(),
            Self::Shared(shared) => spell(shared.name),
            Self::List(item) => format!("list<{}>", item.wit(spell)),
            Self::Option(item) => format!("option<{}>", item.wit(spell)),
            Self::Tuple(items) => format!("tuple<{}>", list(items)),
            Self::Result(ok, failure) => {
                let ok = ok.as_ref().map_or("_".to_owned(), |ok| ok.wit(spell));
                format!("result<{ok}, {}>", failure.wit(spell))
            }
            Self::Own(name) => spell(&names::of_type(name)),
        }
    }

    /// The generated type; `own` gives those of the author's own types.
    pub(crate) fn raw(&self, own: &impl Fn(&str) -> TokenStream) -> TokenStream {
        match self {
            Self::Plain("String", _) => quote!(::std::string::String),
            Self::Plain(rust, _) => {
                let rust = format_ident!("{rust}");
                quote!(::core::primitive::#rust)
            }
            Self::Shared(shared) => {
                let interface = format_ident!("{}", shared.interface);
                let name = format_ident!("{}", names::camel(shared.name));
                quote!(::wharf_sdk::__private::wit::#interface::#name)
            }
            Self::List(item) => {
                let item = item.raw(own);
                quote!(::std::vec::Vec<#item>)
            }
            Self::Option(item) => {
                let item = item.raw(own);
                quote!(::core::option::Option<#item>)
            }
            Self::Tuple(items) => {
                let items = items.iter().map(|item| item.raw(own));
                quote!((#(#items,)*))
            }
            Self::Result(ok, failure) => {
                let ok = ok.as_ref().map_or_else(|| quote!(()), |ok| ok.raw(own));
                let failure = failure.raw(own);
                quote!(::core::result::Result<#ok, #failure>)
            }
            Self::Own(name) => own(name),
        }
    }
}

fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

fn is_named(path: &TypePath, name: &str) -> bool {
    path.path.segments.last().is_some_and(|last| last.ident == name)
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

/// Refuses a type where it stands.
pub(crate) fn unsupported(at: &impl ToTokens, why: &str) -> Error {
    Error::new_spanned(
        at,
        format!("this type cannot cross between a module and its callers: {why}"),
    )
}
