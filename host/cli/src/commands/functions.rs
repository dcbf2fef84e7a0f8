//! `wharf functions`.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;
use wharf_wasm::{Case, DefaultValue, Field, Function, Param, Type};

use crate::{
    args::FunctionsArgs, error::Report, explain, module, output, places::Places, progress::Style,
    registries::Reach, table::columns,
};

/// Lists a module's functions.
pub(crate) fn run(args: &FunctionsArgs) -> Result<(), Report> {
    let reach = Reach::new(args.pinning, None);
    let loaded = module::load(
        &args.module.module,
        &Places::find()?,
        Style::from(&args.loudness),
        &reach,
    )?;
    let functions = loaded.module.functions();
    if args.json {
        return output::json(&functions.iter().map(as_json).collect());
    }
    output::text(&table(functions))
}

/// A row for each function: its name, its first line, its parameters. Where a row would not fit on the terminal, each
/// function has its signature on a line and what it does below.
pub(crate) fn table(functions: &[Function]) -> String {
    laid_out(&functions.iter().map(row).collect::<Vec<_>>())
}

/// The same of rows: names, first lines, signatures.
pub(crate) fn laid_out(rows: &[[String; 3]]) -> String {
    let table = columns(rows);
    let fits = |width| table.lines().all(|line| line.width() <= width);
    if output::terminal_width().is_none_or(fits) {
        return table;
    }
    let blocks = rows.iter().map(|[name, first_line, signature]| {
        let does = if first_line.is_empty() {
            String::new()
        } else {
            format!("    {first_line}\n")
        };
        format!("{name} {signature}\n{does}")
    });
    blocks.collect()
}

fn row(function: &Function) -> [String; 3] {
    let params = function
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, param.ty))
        .collect::<Vec<_>>();
    let first_line = function.docs.lines().next().unwrap_or_default().to_owned();
    let signature = format!("({}) -> {}", params.join(", "), explain::result_name(function));
    [function.name.clone(), first_line, signature]
}

/// A function with everything that is known of it.
pub(crate) fn as_json(function: &Function) -> Value {
    let param = |param: &Param| {
        let mut value =
            json!({"name": param.name, "type": param.ty.to_string(), "docs": param.docs, "default": null});
        match &param.default {
            Some(DefaultValue::Value(default)) => value["default"] = default.clone(),
            Some(DefaultValue::Path(path)) => value["default_path"] = json!(path),
            None => {}
        }
        value
    };
    json!({
        "name": function.name,
        "interface": function.interface,
        "check": function.is_check,
        "docs": function.docs,
        "params": function.params.iter().map(param).collect::<Vec<_>>(),
        "result": function.result.as_ref().map(ToString::to_string),
        "types": explain::named_types(function).into_iter().map(type_as_json).collect::<Vec<_>>(),
    })
}

/// A type that the module's author named.
fn type_as_json(ty: &Type) -> Value {
    let case = |case: &Case| json!({"name": case.name, "type": case.ty.as_ref().map(ToString::to_string), "docs": case.docs});
    let field = |field: &Field| json!({"name": field.name, "type": field.ty.to_string(), "docs": field.docs});
    let (kind, docs, members): (_, _, Vec<_>) = match ty {
        Type::Record(record) => ("record", &record.docs, record.members.iter().map(field).collect()),
        Type::Variant(cases) => ("variant", &cases.docs, cases.members.iter().map(case).collect()),
        Type::Enum(cases) => ("enum", &cases.docs, cases.members.iter().map(case).collect()),
        _ => return Value::Null,
    };
    json!({"name": ty.to_string(), "kind": kind, "docs": docs, "members": members})
}
