//! Doc comments as text, and the section that carries them.

use serde_json::{Value, json};
use syn::{Attribute, Expr, Lit, Meta, Result};

use crate::{
    defaults,
    function::Function,
    manifest::Manifest,
    own::{Checked, Definition, Kind},
    shape::Shape,
    world::World,
};

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

/// The functions and types of the `wharf:docs` section: names, types by name, docs and defaults.
pub(crate) struct Section {
    functions: Vec<Value>,
    types: Vec<Value>,
}

impl Section {
    /// Reads it from the source; a default that does not fit its parameter is refused where it stands.
    pub(crate) fn of(world: &World) -> Result<Self> {
        let mut all = Checked::default();
        let functions = world
            .functions
            .iter()
            .map(|one| function(one, world, &mut all))
            .collect();
        let types = world.definitions.iter().map(definition).collect();
        all.done(Self { functions, types })
    }

    /// The whole section, in JSON.
    pub(crate) fn text(&self, manifest: &Manifest, docs: &str) -> String {
        json!({
            "format": 1,
            "module": {"name": manifest.package(), "version": manifest.version, "docs": docs},
            "functions": self.functions,
            "types": self.types,
        })
        .to_string()
    }
}

/// A type as callers read it, with the names that its author gave.
fn spelled(shape: &Shape) -> String {
    shape.wit(&str::to_owned)
}

fn function(function: &Function, world: &World, all: &mut Checked) -> Value {
    let params: Vec<Value> = function
        .params
        .iter()
        .map(|param| {
            let mut value = json!({"name": param.name, "type": spelled(&param.shape), "docs": param.docs});
            let default = all.keep(defaults::section(param, world)).unwrap_or_default();
            if let Some(fields) = value.as_object_mut() {
                fields.extend(default);
            }
            value
        })
        .collect();
    json!({
        "name": function.name,
        "docs": function.docs,
        "check": function.check,
        "params": params,
        "result": function.returned.as_ref().map(spelled),
    })
}

fn definition(definition: &Definition) -> Value {
    let members: Vec<Value> = definition
        .members
        .iter()
        .map(|member| json!({"name": member.name, "type": member.shape.as_ref().map(spelled), "docs": member.docs}))
        .collect();
    let kind = match definition.kind {
        Kind::Record => "record",
        Kind::Enum => "enum",
        Kind::Variant => "variant",
    };
    json!({"name": definition.name, "kind": kind, "docs": definition.docs, "members": members})
}
