//! The module's world in WIT, with the part of `wharf:pipeline` that signatures can name beside it.

use std::fmt::Write;

use crate::{function::Function, manifest::Manifest, types::Used};

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
pub(crate) fn text(manifest: &Manifest, functions: &[Function], used: &[Used]) -> String {
    let mut wit = format!(
        "package {}@{};\n\ninterface functions {{\n",
        manifest.package(),
        manifest.version
    );
    let mut line = |text: String| {
        wit.push_str(&text);
        wit.push('\n');
    };
    for (interface_name, name) in used {
        line(format!(
            "    use {}.{{{name} as {}}};",
            interface(interface_name),
            alias(name, functions)
        ));
    }
    for function in functions {
        let params: Vec<_> = function
            .params
            .iter()
            .map(|param| format!("%{}: {}", param.name, spelled(&param.wit, functions)))
            .collect();
        let returned = spelled(&function.returned.wit, functions);
        line(format!(
            "    %{}: async func({}){returned};",
            function.name,
            params.join(", ")
        ));
    }
    wit.push_str("}\n\nworld module {\n");
    for (name, _) in SHARED {
        let _ = writeln!(wit, "    import {};", interface(name));
    }
    wit.push_str("    export functions;\n}\n\npackage wharf:pipeline@0.1.0 {\n");
    for (_, text) in SHARED {
        wit.push_str(&text.replacen(HEADER, "", 1));
    }
    wit.push_str("}\n");
    wit
}

/// The name of a used type inside the interface: its own, unless a function has taken that.
fn alias(name: &str, functions: &[Function]) -> String {
    if functions.iter().any(|function| function.name == name) {
        format!("{name}-handle")
    } else {
        name.to_owned()
    }
}

/// A type with its names replaced by their aliases.
fn spelled(wit: &str, functions: &[Function]) -> String {
    let mut spelled = String::new();
    let mut word = String::new();
    for letter in wit.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        let handle = [
            "container",
            "directory",
            "file",
            "secret",
            "volume",
            "service",
            "error",
        ]
        .contains(&word.as_str());
        spelled.push_str(&if handle {
            alias(&word, functions)
        } else {
            std::mem::take(&mut word)
        });
        word.clear();
        spelled.push(letter);
    }
    spelled.truncate(spelled.len() - 1);
    spelled
}
