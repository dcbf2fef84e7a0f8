//! An interface as the caller imports it, in WIT: every function is asynchronous, takes handles as loans, and can fail.

use std::fmt::Write as _;

use super::shape::{Function, Handle, Interface, Kind, Shape};

/// The interface's text.
pub(super) fn interface(interface: &Interface) -> String {
    let mut wit = format!(
        "interface %{} {{\n    use wharf:pipeline/types@0.1.0.{{error as wharf-error}};\n",
        interface.name
    );
    let mut used: Vec<&Handle> = Vec::new();
    for shape in interface.shapes() {
        if let Shape::Handle(handle) = shape
            && !used.contains(handle)
        {
            let (holder, name) = (handle.interface, handle.name);
            let _ = writeln!(
                wit,
                "    use wharf:pipeline/{holder}@0.1.0.{{{name} as wharf-{name}}};"
            );
            used.push(handle);
        }
    }
    for definition in &interface.definitions {
        let kind = match definition.kind {
            Kind::Record => "record",
            Kind::Enum => "enum",
            Kind::Variant => "variant",
        };
        let _ = writeln!(wit, "    {kind} {} {{", spell(interface, &definition.name));
        for (name, shape) in &definition.members {
            let _ = match (shape, definition.kind) {
                (None, _) => writeln!(wit, "        %{name},"),
                (Some(shape), Kind::Record) => writeln!(wit, "        %{name}: {},", ty(interface, shape)),
                (Some(shape), _) => writeln!(wit, "        %{name}({}),", ty(interface, shape)),
            };
        }
        wit.push_str("    }\n");
    }
    for one in &interface.functions {
        wit.push_str(&function(interface, one));
    }
    wit.push_str("}\n");
    wit
}

fn function(interface: &Interface, function: &Function) -> String {
    let params: Vec<_> = function
        .params
        .iter()
        .map(|(name, shape)| match shape {
            Shape::Handle(handle) => format!("%{name}: borrow<wharf-{}>", handle.name),
            shape => format!("%{name}: {}", ty(interface, shape)),
        })
        .collect();
    let ok = function
        .ok
        .as_ref()
        .map_or("_".to_owned(), |ok| ty(interface, ok));
    format!(
        "    %{}: async func({}) -> result<{ok}, wharf-error>;\n",
        function.name,
        params.join(", ")
    )
}

/// The name of a type of the module's own: its own, unless a function has taken that.
pub(super) fn own_name(interface: &Interface, name: &str) -> String {
    if interface.functions.iter().any(|function| function.name == name) {
        format!("{name}-type")
    } else {
        name.to_owned()
    }
}

fn spell(interface: &Interface, name: &str) -> String {
    format!("%{}", own_name(interface, name))
}

fn ty(interface: &Interface, shape: &Shape) -> String {
    let inner = |shape: &Shape| ty(interface, shape);
    let optional = |shape: &Option<Box<Shape>>| shape.as_ref().map_or("_".to_owned(), |shape| inner(shape));
    match shape {
        Shape::Plain(wit, _) => (*wit).to_owned(),
        Shape::Handle(handle) => format!("wharf-{}", handle.name),
        Shape::Error => "wharf-error".to_owned(),
        Shape::List(item) => format!("list<{}>", inner(item)),
        Shape::Option(item) => format!("option<{}>", inner(item)),
        Shape::Tuple(items) => format!(
            "tuple<{}>",
            items.iter().map(inner).collect::<Vec<_>>().join(", ")
        ),
        Shape::Result(None, None) => "result".to_owned(),
        Shape::Result(ok, None) => format!("result<{}>", optional(ok)),
        Shape::Result(ok, error) => format!("result<{}, {}>", optional(ok), optional(error)),
        Shape::Own(name) => spell(interface, name),
    }
}
