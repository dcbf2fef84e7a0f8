//! Doc comments as text, and the section that carries them.

use serde_json::{Value, json};
use syn::{Attribute, Expr, Lit, Meta};

use crate::{function::Function, manifest::Manifest};

/// The text of an item's doc comments, without the space that follows the slashes.
pub(crate) fn text(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<_> = lines
        .flat_map(|line| {
            line.split('\n')
                .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    lines.join("\n").trim().to_owned()
}

/// The `wharf:docs` section: names, docs and defaults of all functions.
pub(crate) fn section(manifest: &Manifest, docs: &str, functions: &[Function]) -> String {
    let functions: Vec<Value> = functions
        .iter()
        .map(|function| {
            let params: Vec<Value> = function
                .params
                .iter()
                .map(|param| {
                    let mut value = json!({"name": param.name, "docs": param.docs});
                    if let (Some(default), Some(fields)) = (&param.default, value.as_object_mut()) {
                        fields.insert("default".to_owned(), default.clone());
                    }
                    value
                })
                .collect();
            json!({"name": function.name, "docs": function.docs, "check": function.check, "params": params})
        })
        .collect();
    json!({
        "format": 1,
        "module": {"name": manifest.package(), "version": manifest.version, "docs": docs},
        "functions": functions,
        "types": [],
    })
    .to_string()
}
