//! Types of functions' parameters and results, as far as users meet them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the host's own handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handle {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A container.
    Container,
    /// A secret.
    Secret,
    /// A cache volume.
    Volume,
    /// A service.
    Service,
    /// A changeset.
    Changeset,
}

/// The fields of a record or the cases of an enum or variant, under the name that its author gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named<M> {
    /// Its name; empty when none is known.
    pub name: String,
    /// What its author says of it.
    pub docs: String,
    /// Its fields or cases, in order.
    pub members: Vec<M>,
}

impl<M> From<Vec<M>> for Named<M> {
    fn from(members: Vec<M>) -> Self {
        Self {
            name: String::new(),
            docs: String::new(),
            members,
        }
    }
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// What its author says of it.
    pub docs: String,
}

/// A case of an enum or variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it carries; an enum's cases carry nothing.
    pub ty: Option<Type>,
    /// What its author says of it.
    pub docs: String,
}

impl Case {
    /// A case that carries nothing.
    pub fn plain(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ty: None,
            docs: String::new(),
        }
    }
}

/// The names of an enum's or variant's cases, divided by `divider`.
pub fn case_names(cases: &[Case], divider: &str) -> String {
    let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    names.join(divider)
}

/// A type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Type {
    /// true or false.
    Bool,
    /// A whole number: signed or not, bits.
    Integer(bool, u8),
    /// A number of 32 or 64 bits.
    Float(u8),
    /// A character.
    Char,
    /// Text.
    String,
    /// Several of one type.
    List(Box<Type>),
    /// One or none.
    Option(Box<Type>),
    /// A value or an error.
    Result(Option<Box<Type>>, Option<Box<Type>>),
    /// Several of different types.
    Tuple(Vec<Type>),
    /// Named fields.
    Record(Named<Field>),
    /// One of several cases.
    Variant(Named<Case>),
    /// One of several names.
    Enum(Named<Case>),
    /// Any of several names.
    Flags(Vec<String>),
    /// One of the host's handles.
    Handle(Handle),
    /// What this host cannot pass, in words.
    Other(String),
}

impl Type {
    /// The types that it is made of.
    pub fn parts(&self) -> Vec<&Type> {
        match self {
            Self::List(inner) | Self::Option(inner) => vec![inner],
            Self::Tuple(types) => types.iter().collect(),
            Self::Result(ok, error) => ok.iter().chain(error).map(Box::as_ref).collect(),
            Self::Record(record) => record.members.iter().map(|field| &field.ty).collect(),
            Self::Variant(cases) | Self::Enum(cases) => {
                cases.members.iter().filter_map(|case| case.ty.as_ref()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[Type]| {
            types
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self {
            Self::Bool => write!(f, "bool"),
            Self::Integer(signed, bits) => write!(f, "{}{bits}", if *signed { "s" } else { "u" }),
            Self::Float(bits) => write!(f, "f{bits}"),
            Self::Char => write!(f, "char"),
            Self::String => write!(f, "string"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Option(item) => write!(f, "option<{item}>"),
            Self::Result(Some(ok), _) => write!(f, "{ok}"),
            Self::Result(None, _) => write!(f, "nothing"),
            Self::Tuple(items) => write!(f, "tuple<{}>", list(items)),
            Self::Record(Named { name, .. })
            | Self::Variant(Named { name, .. })
            | Self::Enum(Named { name, .. })
                if !name.is_empty() =>
            {
                f.write_str(name)
            }
            Self::Record(record) => {
                let fields: Vec<_> = record
                    .members
                    .iter()
                    .map(|field| format!("{}: {}", field.name, field.ty))
                    .collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
            Self::Variant(cases) | Self::Enum(cases) => f.write_str(&case_names(&cases.members, "|")),
            Self::Flags(names) => f.write_str(&names.join("|")),
            Self::Handle(handle) => write!(f, "{handle}"),
            Self::Other(what) => write!(f, "{what}"),
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Container => "container",
            Self::Secret => "secret",
            Self::Volume => "cache volume",
            Self::Service => "service",
            Self::Changeset => "changeset",
        })
    }
}
