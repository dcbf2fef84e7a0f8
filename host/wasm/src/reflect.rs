//! What a component exports and imports, read from its own types; what its author said, from a section it carries.

use std::fmt;

use serde::Deserialize;
use wasmtime::component::{ResourceType, types::Type as ComponentType};

use crate::{
    described::{TypeDocs, describe},
    outline::{Outline, Signature},
    types::{Case, Field, Handle, Type},
};

/// The package whose interfaces modules import.
pub(crate) const PACKAGE: &str = "wharf:pipeline/";
/// The section with what the author wrote.
const DOCS: &str = "wharf:docs";

/// A parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// What its author says of it.
    pub docs: String,
    /// What is used when no value is given.
    pub default: Option<DefaultValue>,
}

/// What is used for a parameter when no value is given.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultValue {
    /// A value.
    Value(serde_json::Value),
    /// A path in the module's own directory.
    Path(String),
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Path(path) => write!(f, "{path} in the module's directory"),
        }
    }
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The interface that holds it; none for one of the component itself.
    pub interface: Option<String>,
    /// Its parameters.
    pub params: Vec<Param>,
    /// What it returns.
    pub result: Option<Type>,
    /// What its author says of it.
    pub docs: String,
    /// Does its author call it a check? It can then be called without arguments.
    pub is_check: bool,
}

/// An interface that a module imports, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The interface's name.
    pub name: String,
    /// What it lets a module do.
    pub meaning: &'static str,
}

/// What authors write, as the section has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Docs {
    pub(crate) module: ModuleDocs,
    functions: Vec<FunctionDocs>,
    types: Vec<TypeDocs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ModuleDocs {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) docs: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FunctionDocs {
    name: String,
    docs: String,
    check: bool,
    params: Vec<ParamDocs>,
    result: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ParamDocs {
    name: String,
    docs: String,
    #[serde(rename = "type")]
    ty: String,
    default: Option<serde_json::Value>,
    default_path: Option<String>,
}

impl ParamDocs {
    fn default(&self) -> Option<DefaultValue> {
        let path = || self.default_path.clone().map(DefaultValue::Path);
        self.default.clone().map(DefaultValue::Value).or_else(path)
    }
}

/// The author's words, as a section has them.
pub(crate) fn docs(section: &[u8]) -> Docs {
    serde_json::from_slice(section).unwrap_or_default()
}

/// The same in a component's bytes.
pub(crate) fn docs_in(bytes: &[u8]) -> Docs {
    custom_section(bytes, DOCS).map(docs).unwrap_or_default()
}

/// A custom section at the top level of a component.
fn custom_section<'b>(bytes: &'b [u8], wanted: &str) -> Option<&'b [u8]> {
    let mut rest = bytes.get(8..)?;
    while let Some((id, tail)) = rest.split_first() {
        let (size, tail) = leb128(tail)?;
        let body = tail.get(..size)?;
        rest = &tail[size..];
        if *id == 0 {
            let (length, name) = leb128(body)?;
            if name.get(..length) == Some(wanted.as_bytes()) {
                return name.get(length..);
            }
        }
    }
    None
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// All functions of a component, of its interfaces and its own, with what their author says of them.
pub(crate) fn functions(outline: &Outline, docs: &Docs) -> Vec<Function> {
    outline
        .exports
        .iter()
        .map(|export| function(export, docs))
        .collect()
}

/// A function that a component imports from another module.
pub(crate) fn imported(signature: &Signature) -> Function {
    function(signature, &Docs::default())
}

fn function(signature: &Signature, docs: &Docs) -> Function {
    let own = docs
        .functions
        .iter()
        .find(|function| function.name == signature.name);
    let params = signature.params.iter().map(|(name, ty)| {
        let own = own.and_then(|own| own.params.iter().find(|param| param.name == *name));
        let mut ty = ty.clone();
        if let Some(own) = own {
            describe(&mut ty, &own.ty, &docs.types);
        }
        Param {
            name: name.clone(),
            ty,
            docs: own.map(|own| own.docs.clone()).unwrap_or_default(),
            default: own.and_then(ParamDocs::default),
        }
    });
    let mut result = signature.result.clone();
    if let (Some(result), Some(written)) = (&mut result, own.and_then(|own| own.result.as_ref())) {
        describe(result, written, &docs.types);
    }
    Function {
        name: signature.name.clone(),
        interface: signature.interface.clone(),
        params: params.collect(),
        result,
        docs: own.map(|own| own.docs.clone()).unwrap_or_default(),
        is_check: own.is_some_and(|own| own.check),
    }
}

/// A component's type as ours.
pub(crate) fn convert(ty: &ComponentType, handles: &[(ResourceType, Handle)]) -> Type {
    let inner = |ty: &ComponentType| convert(ty, handles);
    match ty {
        ComponentType::Bool => Type::Bool,
        ComponentType::S8 => Type::Integer(true, 8),
        ComponentType::U8 => Type::Integer(false, 8),
        ComponentType::S16 => Type::Integer(true, 16),
        ComponentType::U16 => Type::Integer(false, 16),
        ComponentType::S32 => Type::Integer(true, 32),
        ComponentType::U32 => Type::Integer(false, 32),
        ComponentType::S64 => Type::Integer(true, 64),
        ComponentType::U64 => Type::Integer(false, 64),
        ComponentType::Float32 => Type::Float(32),
        ComponentType::Float64 => Type::Float(64),
        ComponentType::Char => Type::Char,
        ComponentType::String => Type::String,
        ComponentType::List(list) => Type::List(Box::new(inner(&list.ty()))),
        ComponentType::Option(option) => Type::Option(Box::new(inner(&option.ty()))),
        ComponentType::Tuple(tuple) => Type::Tuple(tuple.types().map(|ty| inner(&ty)).collect()),
        ComponentType::Record(record) => {
            let field = |field: wasmtime::component::types::Field<'_>| Field {
                name: field.name.to_owned(),
                ty: inner(&field.ty),
                docs: String::new(),
            };
            Type::Record(record.fields().map(field).collect::<Vec<_>>().into())
        }
        ComponentType::Variant(variant) => {
            let case = |case: wasmtime::component::types::Case<'_>| Case {
                name: case.name.to_owned(),
                ty: case.ty.as_ref().map(&inner),
                docs: String::new(),
            };
            Type::Variant(variant.cases().map(case).collect::<Vec<_>>().into())
        }
        ComponentType::Enum(names) => Type::Enum(names.names().map(Case::plain).collect::<Vec<_>>().into()),
        ComponentType::Flags(names) => Type::Flags(names.names().map(str::to_owned).collect()),
        ComponentType::Result(result) => Type::Result(
            result.ok().map(|ty| Box::new(inner(&ty))),
            result.err().map(|ty| Box::new(inner(&ty))),
        ),
        ComponentType::Own(resource) | ComponentType::Borrow(resource) => {
            handles.iter().find(|(own, _)| own == resource).map_or_else(
                || Type::Other("a resource of another module".to_owned()),
                |(_, handle)| Type::Handle(*handle),
            )
        }
        _ => Type::Other("a kind of value that this host cannot pass".to_owned()),
    }
}

/// What imports of these names let a component do.
pub fn capabilities_of<'a>(imports: impl IntoIterator<Item = &'a str>) -> Vec<Capability> {
    let mut found = Vec::new();
    for name in imports {
        let Some(interface) = name.strip_prefix(PACKAGE) else {
            continue;
        };
        let interface = interface.split('@').next().unwrap_or(interface);
        let plain = interface.strip_suffix("-sync").unwrap_or(interface);
        let Some(meaning) = meaning(plain) else { continue };
        let capability = Capability {
            name: plain.to_owned(),
            meaning,
        };
        if !found.contains(&capability) {
            found.push(capability);
        }
    }
    found
}

/// What an interface lets a module do; none for one that holds only types, or is not known.
pub(crate) fn meaning(interface: &str) -> Option<&'static str> {
    Some(match interface {
        "container" => "describe containers and the commands that run in them",
        "filesystem" => "arrange files and directories",
        "cache" => "keep cache volumes of its own",
        "secret" => "pass on secrets that it is given, unseen",
        "network" => "let steps reach the network",
        "image" => "start from images of registries",
        "http" => "fetch files by URL",
        "git" => "take files from git repositories",
        "git-eval" => "ask git repositories for their commits, tags and branches",
        "service" => "describe services that steps reach",
        "gpu" => "let steps use GPUs",
        "gpu-eval" => "know the GPUs of engines",
        "serve" => "start and stop services by itself",
        "host" => "read files and variables of the caller, and connect services with its machine",
        "exports" => "write results to the caller's disk",
        "eval" => "run steps and read what they made",
        "log" => "say something",
        "module" => "know its own name, version and source",
        "reveal" => "see the secrets that it is given, when a call allows it",
        "debug" => "stop for its user, with a shell on the terminal, when a call allows it",
        _ => return None,
    })
}
