//! What a component exports and imports, without its code: enough to say what it has, and whether modules fit each other. It
//! is kept beside the compiled code, so that modules which are never called are never loaded.

use serde::{Deserialize, Serialize};
use wasmtime::{
    Engine,
    component::{
        Component, ResourceType,
        types::{ComponentFunc, ComponentInstance, ComponentItem},
    },
};

use crate::{
    reflect::{self, PACKAGE},
    types::{Handle, Type},
};

/// Of a whole component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outline {
    pub(crate) exports: Vec<Signature>,
    pub(crate) imports: Vec<Import>,
}

/// Of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Signature {
    pub(crate) name: String,
    /// The interface that holds it; none for one of the component itself.
    pub(crate) interface: Option<String>,
    pub(crate) params: Vec<(String, Type)>,
    pub(crate) result: Option<Type>,
    pub(crate) is_async: bool,
}

/// Of an import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Import {
    pub(crate) name: String,
    /// Its functions, when it is another module's interface.
    pub(crate) functions: Vec<Signature>,
    /// A resource that is not the host's.
    pub(crate) resource: Option<String>,
}

impl Outline {
    pub(crate) fn of(engine: &Engine, component: &Component) -> Self {
        let handles = handles(engine, component);
        let ty = component.component_type();
        let mut exports = Vec::new();
        for (name, item) in ty.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(ty) => exports.push(Signature::of(name, None, &ty, &handles)),
                ComponentItem::ComponentInstance(instance) if !name.starts_with("wasi:") => {
                    for (inner, item) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(ty) = item.ty {
                            exports.push(Signature::of(inner, Some(name), &ty, &handles));
                        }
                    }
                }
                _ => {}
            }
        }
        let imports = ty.imports(engine).map(|(name, item)| match item.ty {
            ComponentItem::ComponentInstance(instance) if !is_of_host(name) => {
                Import::of(name, engine, &instance, &handles)
            }
            _ => Import {
                name: name.to_owned(),
                functions: Vec::new(),
                resource: None,
            },
        });
        Self {
            imports: imports.collect(),
            exports,
        }
    }
}

impl Import {
    fn of(
        name: &str,
        engine: &Engine,
        instance: &ComponentInstance,
        handles: &[(ResourceType, Handle)],
    ) -> Self {
        let (mut functions, mut resource) = (Vec::new(), None);
        for (inner, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(ty) => {
                    functions.push(Signature::of(inner, Some(name), &ty, handles));
                }
                ComponentItem::Resource(ty) if !handles.iter().any(|(own, _)| *own == ty) => {
                    resource.get_or_insert_with(|| inner.to_owned());
                }
                _ => {}
            }
        }
        Self {
            name: name.to_owned(),
            functions,
            resource,
        }
    }
}

impl Signature {
    fn of(
        name: &str,
        interface: Option<&str>,
        ty: &ComponentFunc,
        handles: &[(ResourceType, Handle)],
    ) -> Self {
        let params = ty.params();
        Self {
            name: name.to_owned(),
            interface: interface.map(str::to_owned),
            params: params
                .map(|(name, ty)| (name.to_owned(), reflect::convert(&ty, handles)))
                .collect(),
            result: ty.results().next().map(|ty| reflect::convert(&ty, handles)),
            is_async: ty.async_(),
        }
    }
}

/// Is this an interface that every host answers?
pub(crate) fn is_of_host(import: &str) -> bool {
    import.starts_with(PACKAGE) || (import.starts_with("wasi:") && import.contains("@0.2."))
}

/// The component's names for the host's handles.
fn handles(engine: &Engine, component: &Component) -> Vec<(ResourceType, Handle)> {
    let mut found = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        let (true, ComponentItem::ComponentInstance(instance)) = (name.starts_with(PACKAGE), item.ty) else {
            continue;
        };
        for (resource, item) in instance.exports(engine) {
            let ComponentItem::Resource(ty) = item.ty else {
                continue;
            };
            let handle = match resource {
                "directory" => Handle::Directory,
                "file" => Handle::File,
                "container" => Handle::Container,
                "secret" => Handle::Secret,
                "volume" => Handle::Volume,
                "service" => Handle::Service,
                "changeset" => Handle::Changeset,
                _ => continue,
            };
            found.push((ty, handle));
        }
    }
    found
}
