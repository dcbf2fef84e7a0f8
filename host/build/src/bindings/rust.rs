//! The bindings in Rust: types that hold the SDK's handles, and functions that pass them on to what `wit-bindgen` makes.

use std::fmt::Write as _;

use serde_json::Value;
use wharf_manifest::ModuleName;

use super::{
    shape::{Definition, Function, Interface, Kind, Shape},
    wit,
};

/// The Rust module of one dependency: its interface's functions, or a module for each interface where it has several.
pub(super) fn module(name: &ModuleName, interfaces: &[Interface], docs: &Value) -> String {
    let about = text(&docs["module"], "docs");
    let about = if about.is_empty() {
        format!("The module {name}.")
    } else {
        about
    };
    let mut rust = format!(
        "\n{}pub mod {} {{\n",
        doc("", &about),
        ident(&format!("{}-{}", name.namespace(), name.name()))
    );
    rust.push_str("    #![allow(dead_code, unused_imports, clippy::all, clippy::pedantic)]\n\n");
    let names: Vec<_> = interfaces.iter().map(|one| format!("{:?}", one.name)).collect();
    let texts: String = interfaces.iter().map(wit::interface).collect();
    let _ = writeln!(
        rust,
        "    ::wharf_sdk::__private::import!(\"{name}\", [{}], r####\"\n{texts}\"####);",
        names.join(", ")
    );
    let raw = |interface: &Interface, up: &str| {
        format!(
            "{up}__raw::{}::{}::{}",
            ident(name.namespace()),
            ident(name.name()),
            ident(&interface.name)
        )
    };
    if let [only] = interfaces {
        let _ = write!(rust, "\n{}", contents(only, &raw(only, ""), docs, name));
    } else {
        for one in interfaces {
            let inner = contents(one, &raw(one, "super::"), docs, name);
            let _ = write!(rust, "\n    pub mod {} {{\n{inner}    }}\n", ident(&one.name));
        }
    }
    rust.push_str("}\n");
    rust
}

fn contents(interface: &Interface, raw: &str, docs: &Value, name: &ModuleName) -> String {
    let mut rust = String::new();
    for definition in &interface.definitions {
        rust.push_str(&declared(
            interface,
            definition,
            entry(&docs["types"], &definition.name),
        ));
    }
    for one in &interface.functions {
        rust.push_str(&function(
            interface,
            one,
            raw,
            entry(&docs["functions"], &one.name),
            name,
        ));
    }
    for (left_out, why) in &interface.left_out {
        let _ = writeln!(rust, "    // `{left_out}` cannot be called: {why}.");
    }
    rust
}

fn declared(interface: &Interface, own: &Definition, docs: &Value) -> String {
    let holds_handle = interface.holds_handle(&Shape::Own(own.name.clone()));
    let more = match (own.kind, holds_handle) {
        (_, true) => "",
        (Kind::Enum, _) => "Clone, Copy, PartialEq, Eq, ",
        _ => "Clone, PartialEq, ",
    };
    let keyword = if own.kind == Kind::Record {
        "struct"
    } else {
        "enum"
    };
    let mut rust = doc("    ", &text(docs, "docs"));
    let _ = writeln!(
        rust,
        "    #[derive({more}Debug, ::wharf_sdk::__private::Wire)]\n    pub {keyword} {} {{",
        camel(&wit::own_name(interface, &own.name))
    );
    for (name, shape) in &own.members {
        rust.push_str(&doc("        ", &text(entry(&docs["members"], name), "docs")));
        let shape = shape.as_ref().map(|shape| ty(interface, shape));
        let _ = match (own.kind, shape) {
            (Kind::Record, shape) => writeln!(
                rust,
                "        pub {}: {},",
                ident(name),
                shape.unwrap_or_default()
            ),
            (_, None) => writeln!(rust, "        {},", camel(name)),
            (_, Some(shape)) => writeln!(rust, "        {}({shape}),", camel(name)),
        };
    }
    rust.push_str("    }\n\n");
    rust
}

fn function(
    interface: &Interface,
    function: &Function,
    raw: &str,
    docs: &Value,
    name: &ModuleName,
) -> String {
    let mut about = text(docs, "docs");
    for (param, _) in &function.params {
        let words = text(entry(&docs["params"], param), "docs");
        if !words.is_empty() {
            let _ = write!(about, "\n\n`{}`: {words}", ident(param));
        }
    }
    let params: Vec<_> = function
        .params
        .iter()
        .map(|(name, shape)| match shape {
            Shape::Handle(handle) => {
                format!(
                    "{}: impl ::core::borrow::Borrow<::wharf_sdk::{}>",
                    ident(name),
                    handle.rust
                )
            }
            shape => format!("{}: {}", ident(name), ty(interface, shape)),
        })
        .collect();
    let passed: Vec<_> = function
        .params
        .iter()
        .map(|(name, shape)| match shape {
            // By the trait's own path: an importer may have other traits with a method of that name.
            Shape::Handle(handle) => format!(
                "::wharf_sdk::__private::lend(::core::borrow::Borrow::<::wharf_sdk::{}>::borrow(&{}))",
                handle.rust,
                ident(name)
            ),
            _ => format!("::wharf_sdk::__private::cross({})", ident(name)),
        })
        .collect();
    let names: Vec<_> = function.params.iter().map(|(name, _)| ident(name)).collect();
    let ok = function
        .ok
        .as_ref()
        .map_or("()".to_owned(), |ok| ty(interface, ok));
    let own = ident(&function.name);
    let (params, passed, names) = (params.join(", "), passed.join(", "), names.join(", "));
    let tuple = if function.params.is_empty() {
        "()".to_owned()
    } else {
        format!("({names},)")
    };
    format!(
        "{}    pub async fn {own}({params}) -> ::wharf_sdk::Result<{ok}> {{\n        \
         #[cfg(target_arch = \"wasm32\")]\n        {{\n            \
         ::wharf_sdk::__private::cross({raw}::{own}({passed}).await)\n        }}\n        \
         #[cfg(not(target_arch = \"wasm32\"))]\n        {{\n            let _ = {tuple};\n            \
         ::wharf_sdk::__private::without_host(\"{name}\")\n        }}\n    }}\n\n",
        doc("    ", &about)
    )
}

fn ty(interface: &Interface, shape: &Shape) -> String {
    let inner = |shape: &Shape| ty(interface, shape);
    let optional = |shape: &Option<Box<Shape>>| shape.as_ref().map_or("()".to_owned(), |shape| inner(shape));
    match shape {
        Shape::Plain(_, rust) => (*rust).to_owned(),
        Shape::Handle(handle) => format!("::wharf_sdk::{}", handle.rust),
        Shape::Error => "::wharf_sdk::Error".to_owned(),
        Shape::List(item) => format!("Vec<{}>", inner(item)),
        Shape::Option(item) => format!("Option<{}>", inner(item)),
        Shape::Tuple(items) => {
            let items: String = items.iter().map(|item| inner(item) + ", ").collect();
            format!("({})", items.trim_end())
        }
        Shape::Result(ok, error) => format!("::core::result::Result<{}, {}>", optional(ok), optional(error)),
        Shape::Own(name) => camel(&wit::own_name(interface, name)),
    }
}

/// The entry of this name in a list of a component's documentation.
fn entry<'v>(list: &'v Value, name: &str) -> &'v Value {
    let mut entries = list.as_array().into_iter().flatten();
    entries
        .find(|entry| entry["name"] == name)
        .unwrap_or(&Value::Null)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().trim().to_owned()
}

/// Doc comments. What stands in them came with a component, and is nothing but words.
fn doc(indent: &str, text: &str) -> String {
    text.lines()
        .map(|line| format!("{indent}#[doc = {:?}]\n", format!(" {line}")))
        .collect()
}

/// A name in snake case. One that Rust has taken gets an underscore, as `wit-bindgen` does it.
fn ident(kebab: &str) -> String {
    const TAKEN: [&str; 52] = [
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
        "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
        "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self",
        "Self", "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized",
        "use", "virtual", "where", "while", "yield",
    ];
    let snake = kebab.replace('-', "_").to_lowercase();
    if TAKEN.contains(&snake.as_str()) {
        snake + "_"
    } else {
        snake
    }
}

fn camel(kebab: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| {
            first
                .to_uppercase()
                .chain(letters.flat_map(char::to_lowercase))
                .collect::<String>()
        })
    };
    kebab.split('-').filter_map(word).collect()
}
