//! `wharf inspect`: what a module is, before anything of it runs.

use std::fmt::Write as _;

use serde_json::json;
use wharf_manifest::{Composition, Edge};
use wharf_wasm::Module;

use crate::{
    args::InspectArgs,
    commands::functions,
    error::Report,
    module, output,
    places::Places,
    table::{bytes, columns},
};

/// Shows a module; builds and runs nothing.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Report> {
    let loaded = module::load_built(&args.module, &Places::find()?)?;
    let (module, composition) = (&loaded.module, &loaded.composition);
    if args.json {
        let capability = |capability: &wharf_wasm::Capability| json!({"name": capability.name, "meaning": capability.meaning});
        return output::json(&json!({
            "name": module.name(), "version": module.version(), "digest": module.digest().to_string(),
            "size": module.size(), "docs": module.docs(),
            "functions": module.functions().iter().map(functions::as_json).collect::<Vec<_>>(),
            "capabilities": module.capabilities().iter().map(capability).collect::<Vec<_>>(),
            "dependencies": dependencies(composition, 0),
        }));
    }
    let mut text = text(module);
    if !composition.root().edges.is_empty() {
        text.push_str("\nIt calls:\n");
        tree(composition, 0, 1, &mut text);
    }
    output::text(&text)
}

/// What a part calls, and what each is granted, as JSON.
fn dependencies(composition: &Composition, of: usize) -> Vec<serde_json::Value> {
    let edges = composition.parts()[of].edges.iter();
    let one = |edge: &Edge| {
        let part = &composition.parts()[edge.to];
        json!({
            "name": edge.name, "version": part.version, "digest": part.digest.to_string(),
            "origin": part.origin.scope(), "asks": part.asks, "grants": edge.grants.or(&edge.explicit),
            "dependencies": dependencies(composition, edge.to),
        })
    };
    edges.map(one).collect()
}

/// The same as lines, each deeper than who calls it.
fn tree(composition: &Composition, of: usize, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for edge in &composition.parts()[of].edges {
        let part = &composition.parts()[edge.to];
        let version = part.version.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{indent}{} {version}", edge.name);
        let granted = edge.grants.or(&edge.explicit);
        if granted.is_empty() {
            let _ = writeln!(text, "{indent}  granted nothing");
        }
        for (capability, allowed) in granted.iter() {
            let _ = writeln!(
                text,
                "{indent}  granted {capability} = {allowed}: may {}",
                capability.meaning()
            );
        }
        tree(composition, edge.to, depth + 1, text);
    }
}

fn text(module: &Module) -> String {
    let row = |name: &str, value: String| [name.to_owned(), value];
    let mut facts = vec![row("name", module.name().to_owned())];
    facts.extend(module.version().map(|version| row("version", version.to_owned())));
    facts.extend([
        row("digest", module.digest().to_string()),
        row("size", bytes(module.size())),
    ]);
    let mut text = columns(&facts);
    if !module.docs().is_empty() {
        let _ = writeln!(text, "\n{}", module.docs().trim());
    }
    let indented = |table: String| {
        table
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect::<String>()
    };
    let _ = write!(
        text,
        "\nFunctions:\n{}",
        indented(functions::table(module.functions()))
    );
    let capabilities: Vec<_> = module
        .capabilities()
        .iter()
        .map(|capability| row(&capability.name, capability.meaning.to_owned()))
        .collect();
    if capabilities.is_empty() {
        text.push_str("\nIt asks for nothing: it can only compute.\n");
    } else {
        let _ = write!(text, "\nIt may:\n{}", indented(columns(&capabilities)));
    }
    text
}
