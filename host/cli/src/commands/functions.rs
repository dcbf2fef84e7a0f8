//! `wharf functions`.

use serde_json::{Value, json};
use wharf_wasm::Function;

use crate::{
    args::FunctionsArgs, error::Report, flags, module, output, places::Places, progress::Style,
    table::columns,
};

/// Lists a module's functions.
pub(crate) fn run(args: &FunctionsArgs) -> Result<(), Report> {
    let loaded = module::load(&args.module.module, &Places::find()?, Style::from(&args.loudness))?;
    let functions = loaded.module.functions();
    if args.json {
        return output::json(&functions.iter().map(as_json).collect());
    }
    output::text(&table(functions))
}

/// A row for each function: its name, its first line, its parameters.
pub(crate) fn table(functions: &[Function]) -> String {
    let row = |function: &Function| {
        let params = function
            .params
            .iter()
            .map(|param| format!("{}: {}", param.name, param.ty))
            .collect::<Vec<_>>();
        let first_line = function.docs.lines().next().unwrap_or_default().to_owned();
        let signature = format!("({}) -> {}", params.join(", "), flags::result_name(function));
        [function.name.clone(), first_line, signature]
    };
    columns(&functions.iter().map(row).collect::<Vec<_>>())
}

/// A function with everything that is known of it.
pub(crate) fn as_json(function: &Function) -> Value {
    let param = |param: &wharf_wasm::Param| json!({"name": param.name, "type": param.ty.to_string(), "docs": param.docs, "default": param.default});
    json!({
        "name": function.name,
        "interface": function.interface,
        "check": function.is_check,
        "docs": function.docs,
        "params": function.params.iter().map(param).collect::<Vec<_>>(),
        "result": function.result.as_ref().map(ToString::to_string),
    })
}
