//! Types of functions' parameters and results, as far as users meet them.

use std::fmt;

/// One of the host's own handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A case of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub ty: Option<Type>,
}

/// A type.
#[derive(Clone, Debug, PartialEq)]
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
    Record(Vec<Field>),
    /// One of several cases.
    Variant(Vec<Case>),
    /// One of several names.
    Enum(Vec<String>),
    /// Any of several names.
    Flags(Vec<String>),
    /// One of the host's handles.
    Handle(Handle),
    /// What this host cannot pass, in words.
    Other(String),
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
            Self::Record(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|field| format!("{}: {}", field.name, field.ty))
                    .collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
            Self::Variant(cases) => {
                let cases: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
                write!(f, "{}", cases.join("|"))
            }
            Self::Enum(names) | Self::Flags(names) => write!(f, "{}", names.join("|")),
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
        })
    }
}
