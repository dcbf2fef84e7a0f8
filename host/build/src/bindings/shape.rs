//! A component's exported functions and their types, read from its own types.

use std::collections::BTreeMap;

use wit_parser::{
    Function as WitFunction, FunctionKind, Handle as WitHandle, InterfaceId, Resolve, Type, TypeDefKind,
    TypeId, TypeOwner, WorldItem, decoding::DecodedWasm,
};

/// A handle of the contract.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handle {
    /// Its name in the SDK.
    pub(super) rust: &'static str,
    /// The interface that has it.
    pub(super) interface: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
}

const HANDLES: [Handle; 7] = [
    handle("Container", "container", "container"),
    handle("Directory", "filesystem", "directory"),
    handle("File", "filesystem", "file"),
    handle("Secret", "secret", "secret"),
    handle("CacheVolume", "cache", "volume"),
    handle("Service", "service", "service"),
    handle("Changeset", "filesystem", "changeset"),
];

const fn handle(rust: &'static str, interface: &'static str, name: &'static str) -> Handle {
    Handle {
        rust,
        interface,
        name,
    }
}

/// A type that can cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Its name in WIT and in Rust.
    Plain(&'static str, &'static str),
    Handle(&'static Handle),
    /// The contract's error.
    Error,
    List(Box<Shape>),
    Option(Box<Shape>),
    Tuple(Vec<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    /// A type of the module's own, by its name in WIT.
    Own(String),
}

/// A type of the module's own.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Its fields or cases, and what they hold.
    pub(super) members: Vec<(String, Option<Shape>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    Enum,
    Variant,
}

/// A function that can be called.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) params: Vec<(String, Shape)>,
    /// What it returns when it succeeds.
    pub(super) ok: Option<Shape>,
}

/// The functions of one interface.
#[derive(Default)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) definitions: Vec<Definition>,
    pub(super) functions: Vec<Function>,
    /// Functions that cannot be called, and why.
    pub(super) left_out: Vec<(String, String)>,
}

/// The interfaces that a component exports. Functions of the component itself are those of `functions`.
pub(super) fn read(component: &[u8]) -> Result<Vec<Interface>, String> {
    let decoded = wit_parser::decoding::decode(component).map_err(|error| error.root_cause().to_string())?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it holds interfaces and no functions".to_owned());
    };
    let mut interfaces = Vec::new();
    let mut own: Vec<&WitFunction> = Vec::new();
    for item in resolve.worlds[world].exports.values() {
        match item {
            WorldItem::Interface { id, .. } if !is_of(&resolve, *id, "wasi") => {
                let interface = &resolve.interfaces[*id];
                // One without a name cannot be imported: some toolchains export it to themselves.
                let Some(name) = interface.name.clone() else {
                    continue;
                };
                interfaces.push(Reader::new(&resolve).interface(name, interface.functions.values()));
            }
            WorldItem::Function(function) => own.push(function),
            _ => {}
        }
    }
    if !own.is_empty() {
        interfaces.push(Reader::new(&resolve).interface("functions".to_owned(), own));
    }
    interfaces.retain(|interface| !interface.functions.is_empty() || !interface.left_out.is_empty());
    Ok(interfaces)
}

fn is_of(resolve: &Resolve, interface: InterfaceId, namespace: &str) -> bool {
    let package = resolve.interfaces[interface].package;
    package.is_some_and(|package| resolve.packages[package].name.namespace == namespace)
}

struct Reader<'r> {
    resolve: &'r Resolve,
    definitions: Vec<Definition>,
    known: BTreeMap<TypeId, String>,
}

impl<'r> Reader<'r> {
    fn new(resolve: &'r Resolve) -> Self {
        Self {
            resolve,
            definitions: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    fn interface<'f>(
        mut self,
        name: String,
        functions: impl IntoIterator<Item = &'f WitFunction>,
    ) -> Interface {
        let (mut found, mut left_out) = (Vec::new(), Vec::new());
        for function in functions {
            let is_free = matches!(
                function.kind,
                FunctionKind::Freestanding | FunctionKind::AsyncFreestanding
            );
            let read = if is_free {
                self.function(function)
            } else {
                Err("it belongs to a resource of the module's own".to_owned())
            };
            match read {
                Ok(function) => found.push(function),
                Err(why) => left_out.push((function.name.clone(), why)),
            }
        }
        Interface {
            name,
            definitions: self.definitions,
            functions: found,
            left_out,
        }
    }

    fn function(&mut self, function: &WitFunction) -> Result<Function, String> {
        let params = function
            .params
            .iter()
            .map(|param| Ok((param.name.clone(), self.shape(&param.ty)?)));
        let params = params.collect::<Result<Vec<_>, String>>()?;
        let result = function.result.as_ref().map(|ty| self.shape(ty)).transpose()?;
        // An error of the contract, a text or nothing becomes the contract's; any other is part of what is returned.
        let ok = match result {
            Some(Shape::Result(ok, None)) => ok.map(|ok| *ok),
            Some(Shape::Result(ok, Some(error)))
                if matches!(*error, Shape::Error | Shape::Plain("string", _)) =>
            {
                ok.map(|ok| *ok)
            }
            other => other,
        };
        Ok(Function {
            name: function.name.clone(),
            params,
            ok,
        })
    }

    fn shape(&mut self, ty: &Type) -> Result<Shape, String> {
        Ok(match ty {
            Type::Bool => Shape::Plain("bool", "bool"),
            Type::U8 => Shape::Plain("u8", "u8"),
            Type::U16 => Shape::Plain("u16", "u16"),
            Type::U32 => Shape::Plain("u32", "u32"),
            Type::U64 => Shape::Plain("u64", "u64"),
            Type::S8 => Shape::Plain("s8", "i8"),
            Type::S16 => Shape::Plain("s16", "i16"),
            Type::S32 => Shape::Plain("s32", "i32"),
            Type::S64 => Shape::Plain("s64", "i64"),
            Type::F32 => Shape::Plain("f32", "f32"),
            Type::F64 => Shape::Plain("f64", "f64"),
            Type::Char => Shape::Plain("char", "char"),
            Type::String => Shape::Plain("string", "String"),
            Type::ErrorContext => return Err("it passes an error context".to_owned()),
            Type::Id(id) => self.defined(*id)?,
        })
    }

    fn defined(&mut self, id: TypeId) -> Result<Shape, String> {
        let definition = &self.resolve.types[id];
        let optional = |reader: &mut Self, ty: &Option<Type>| {
            let shape = ty.as_ref().map(|ty| reader.shape(ty));
            Ok::<_, String>(shape.transpose()?.map(Box::new))
        };
        Ok(match &definition.kind {
            TypeDefKind::Type(ty) => self.shape(ty)?,
            TypeDefKind::List(item) => Shape::List(Box::new(self.shape(item)?)),
            TypeDefKind::Option(item) => Shape::Option(Box::new(self.shape(item)?)),
            TypeDefKind::Tuple(tuple) => {
                let items = tuple.types.iter().map(|ty| self.shape(ty));
                Shape::Tuple(items.collect::<Result<_, _>>()?)
            }
            TypeDefKind::Result(result) => {
                Shape::Result(optional(self, &result.ok)?, optional(self, &result.err)?)
            }
            TypeDefKind::Handle(WitHandle::Own(resource) | WitHandle::Borrow(resource)) => {
                self.handle(*resource)?
            }
            TypeDefKind::Variant(_) if self.is_ours(id) && definition.name.as_deref() == Some("error") => {
                Shape::Error
            }
            TypeDefKind::Record(record) => {
                let members = record.fields.iter().map(|field| (&field.name, Some(&field.ty)));
                self.own(id, Kind::Record, members.collect())?
            }
            // For callers, flags are a record of switches.
            TypeDefKind::Flags(flags) => {
                let members = flags.flags.iter().map(|flag| (&flag.name, Some(&Type::Bool)));
                self.own(id, Kind::Record, members.collect())?
            }
            TypeDefKind::Variant(variant) => {
                let members = variant.cases.iter().map(|case| (&case.name, case.ty.as_ref()));
                self.own(id, Kind::Variant, members.collect())?
            }
            TypeDefKind::Enum(cases) => {
                let members = cases.cases.iter().map(|case| (&case.name, None));
                self.own(id, Kind::Enum, members.collect())?
            }
            other => return Err(format!("it passes a {}", other.as_str())),
        })
    }

    fn is_ours(&self, id: TypeId) -> bool {
        let TypeOwner::Interface(interface) = self.resolve.types[id].owner else {
            return false;
        };
        let package = self.resolve.interfaces[interface].package;
        package.is_some_and(|package| {
            let name = &self.resolve.packages[package].name;
            (name.namespace.as_str(), name.name.as_str()) == ("wharf", "pipeline")
        })
    }

    fn handle(&self, mut id: TypeId) -> Result<Shape, String> {
        while let TypeDefKind::Type(Type::Id(inner)) = self.resolve.types[id].kind {
            id = inner;
        }
        let name = self.resolve.types[id].name.clone().unwrap_or_default();
        let found = HANDLES
            .iter()
            .find(|handle| handle.name == name && self.is_ours(id));
        found
            .map(Shape::Handle)
            .ok_or_else(|| format!("it passes {name}, a resource that cannot cross"))
    }

    /// A type of the module's own, noted once, behind what it holds.
    fn own(
        &mut self,
        id: TypeId,
        kind: Kind,
        members: Vec<(&String, Option<&Type>)>,
    ) -> Result<Shape, String> {
        if let Some(name) = self.known.get(&id) {
            return Ok(Shape::Own(name.clone()));
        }
        let held = members.into_iter().map(|(name, ty)| {
            let shape = ty.map(|ty| self.shape(ty)).transpose()?;
            Ok((name.clone(), shape))
        });
        let members = held.collect::<Result<Vec<_>, String>>()?;
        let mut name = self.resolve.types[id]
            .name
            .clone()
            .unwrap_or_else(|| "value".to_owned());
        while self.definitions.iter().any(|other| other.name == name) {
            name.push_str("-too");
        }
        self.definitions.push(Definition {
            name: name.clone(),
            kind,
            members,
        });
        self.known.insert(id, name.clone());
        Ok(Shape::Own(name))
    }
}

impl Shape {
    /// The shapes that it is made of, itself first.
    pub(super) fn all(&self) -> Vec<&Self> {
        let parts: Vec<&Self> = match self {
            Self::List(inner) | Self::Option(inner) => vec![inner],
            Self::Tuple(items) => items.iter().collect(),
            Self::Result(ok, error) => ok.iter().chain(error).map(Box::as_ref).collect(),
            _ => Vec::new(),
        };
        std::iter::once(self)
            .chain(parts.into_iter().flat_map(Self::all))
            .collect()
    }
}

impl Interface {
    /// Every shape in it.
    pub(super) fn shapes(&self) -> impl Iterator<Item = &Shape> {
        let members = self
            .definitions
            .iter()
            .flat_map(|one| &one.members)
            .filter_map(|(_, shape)| shape.as_ref());
        let params = self
            .functions
            .iter()
            .flat_map(|one| &one.params)
            .map(|(_, shape)| shape);
        let results = self.functions.iter().filter_map(|one| one.ok.as_ref());
        members.chain(params).chain(results).flat_map(Shape::all)
    }

    /// Does a value of this shape hold a handle?
    pub(super) fn holds_handle(&self, shape: &Shape) -> bool {
        shape.all().iter().any(|part| match part {
            Shape::Handle(_) => true,
            Shape::Own(name) => {
                let own = self.definitions.iter().find(|one| one.name == *name);
                own.is_some_and(|own| {
                    own.members
                        .iter()
                        .filter_map(|(_, shape)| shape.as_ref())
                        .any(|shape| self.holds_handle(shape))
                })
            }
            _ => false,
        })
    }
}
