//! `wharf inspect`: what a module is, before anything of it runs.

use std::fmt::Write as _;

use serde_json::json;
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
    let module = module::load_built(&args.module, &Places::find()?)?.module;
    if args.json {
        let capability = |capability: &wharf_wasm::Capability| json!({"name": capability.name, "meaning": capability.meaning});
        return output::json(&json!({
            "name": module.name(), "version": module.version(), "digest": module.digest().to_string(),
            "size": module.size(), "docs": module.docs(),
            "functions": module.functions().iter().map(functions::as_json).collect::<Vec<_>>(),
            "capabilities": module.capabilities().iter().map(capability).collect::<Vec<_>>(),
        }));
    }
    output::text(&text(&module))
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
