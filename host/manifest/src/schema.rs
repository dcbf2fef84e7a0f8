//! The JSON schema of wharf.toml.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{Capability, ModuleTable, dependency::DependencyFile};

/// wharf.toml: what a Wharf module says of itself.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    title = "wharf.toml",
    description = "What a Wharf module says of itself."
)]
#[allow(dead_code, reason = "only its shape is used")]
struct ManifestFile {
    module: ModuleTable,
    /// The modules that it calls, by name.
    #[schemars(default)]
    dependencies: BTreeMap<String, DependencyFile>,
    /// What each dependency is granted. A table inside is for a dependency of that dependency.
    #[schemars(default)]
    grants: BTreeMap<String, RightsFile<true>>,
    /// What the module asks its callers for. Default: all that it imports.
    asks: Option<RightsFile<false>>,
}

/// Rights, with tables of rights of others among them or not.
struct RightsFile<const WITH_OTHERS: bool>;

impl<const WITH_OTHERS: bool> JsonSchema for RightsFile<WITH_OTHERS> {
    fn schema_name() -> Cow<'static, str> {
        if WITH_OTHERS { "Grants" } else { "Rights" }.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "object", "additionalProperties": false });
        let properties = schema
            .ensure_object()
            .entry("properties")
            .or_insert_with(|| serde_json::json!({}));
        for capability in Capability::all() {
            let property = json_schema!({
                "description": format!("The right to {}.", capability.meaning()),
                "anyOf": [
                    {"type": "boolean"},
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}},
                ],
            });
            if let Some(properties) = properties.as_object_mut() {
                properties.insert(capability.name().to_owned(), property.into());
            }
        }
        if WITH_OTHERS {
            let others = generator.subschema_for::<RightsFile<false>>();
            schema.insert(
                "patternProperties".to_owned(),
                json_schema!({ ".+:.+": others }).into(),
            );
        }
        schema
    }
}

/// The JSON schema of wharf.toml, by which editors complete and check it.
pub fn manifest_schema() -> String {
    let schema = schemars::schema_for!(ManifestFile);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text + "\n"
}
