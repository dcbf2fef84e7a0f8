//! The module's world in WIT, with the part of `wharf:pipeline` that signatures can name beside it.

use std::fmt::Write;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::{
    function::Function,
    manifest::Manifest,
    own::{Definition, Kind},
    shape::Shape,
    world::World,
};

/// The interfaces that hold types, in `use` order. All are mapped to the SDK's own bindings.
pub(crate) const SHARED: [(&str, &str); 6] = [
    ("types", include_str!("../../../../wit/types.wit")),
    ("secret", include_str!("../../../../wit/secret.wit")),
    ("filesystem", include_str!("../../../../wit/filesystem.wit")),
    ("cache", include_str!("../../../../wit/cache.wit")),
    ("container", include_str!("../../../../wit/container.wit")),
    ("service", include_str!("../../../../wit/service.wit")),
];

/// What every file of the contract starts with.
const HEADER: &str = "package wharf:pipeline@0.1.0;";

/// The name of a shared interface, as worlds write it.
pub(crate) fn interface(name: &str) -> String {
    format!("wharf:pipeline/{name}@0.1.0")
}

/// The whole text: the module's package, its interface `functions`, its world `module`, and what they use.
pub(crate) fn text(manifest: &Manifest, world: &World) -> String {
    let mut wit = format!(
        "package {}@{};\n\ninterface functions {{\n",
        manifest.package(),
        manifest.version
    );
    let spell = |name: &str| format!("%{}", world.spell(name));
    for shared in world.shared() {
        let (interface, name) = (interface(shared.interface), shared.name);
        let _ = writeln!(wit, "    use {interface}.{{{name} as {}}};", spell(name));
    }
    for definition in &world.definitions {
        wit.push_str(&declared(definition, &spell));
    }
    for function in &world.functions {
        wit.push_str(&signature(function, &spell));
    }
    wit.push_str("}\n\nworld module {\n");
    wit.push_str(&shared_imports());
    wit.push_str("    export functions;\n}\n\n");
    wit.push_str(&shared_package());
    wit
}

/// Lines of a world that import the shared interfaces.
pub(crate) fn shared_imports() -> String {
    SHARED
        .iter()
        .map(|(name, _)| format!("    import {};\n", interface(name)))
        .collect()
}

/// The shared interfaces as a package inside another text.
pub(crate) fn shared_package() -> String {
    let texts: String = SHARED
        .iter()
        .map(|(_, text)| text.replacen(HEADER, "", 1))
        .collect();
    format!("package wharf:pipeline@0.1.0 {{\n{texts}}}\n")
}

/// That the shared interfaces are those of the SDK's own bindings.
pub(crate) fn mapped() -> TokenStream {
    let mapped = SHARED.iter().map(|(name, _)| {
        let (interface, name) = (interface(name), format_ident!("{name}"));
        quote!(#interface: ::wharf_sdk::__private::wit::#name)
    });
    quote!(#(#mapped),*)
}

fn declared(definition: &Definition, spell: &impl Fn(&str) -> String) -> String {
    let kind = match definition.kind {
        Kind::Record => "record",
        Kind::Enum => "enum",
        Kind::Variant => "variant",
    };
    let mut wit = format!("    {kind} {} {{\n", spell(&definition.name));
    for member in &definition.members {
        let _ = write!(wit, "        %{}", member.name);
        let _ = match (&member.shape, definition.kind) {
            (None, _) => writeln!(wit, ","),
            (Some(shape), Kind::Record) => writeln!(wit, ": {},", shape.wit(spell)),
            (Some(shape), _) => writeln!(wit, "({}),", shape.wit(spell)),
        };
    }
    wit.push_str("    }\n");
    wit
}

fn signature(function: &Function, spell: &impl Fn(&str) -> String) -> String {
    let params: Vec<_> = function
        .params
        .iter()
        .map(|param| format!("%{}: {}", param.name, param.shape.wit(spell)))
        .collect();
    let returned = function
        .returned
        .as_ref()
        .map(|shape: &Shape| format!(" -> {}", shape.wit(spell)));
    format!(
        "    %{}: async func({}){};\n",
        function.name,
        params.join(", "),
        returned.unwrap_or_default()
    )
}
