//! `wharf.toml`: what a module says of itself.

use std::{fs, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BuildError, error::Result};

/// A module's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The table `[module]`.
    pub module: ModuleTable,
}

/// What the module is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModuleTable {
    /// The module's name: `namespace:name` in lower case, words divided by dashes.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*:[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*$"))]
    pub name: String,
    /// Its version: three numbers, as in `0.1.0`.
    #[schemars(regex(pattern = r"^\d+\.\d+\.\d+([-+].*)?$"))]
    pub version: String,
    /// The language it is written in: `rust`.
    #[serde(default = "rust")]
    #[schemars(extend("enum" = ["rust"]))]
    pub sdk: String,
}

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
}

/// The JSON schema of wharf.toml, by which editors complete and check it.
pub fn manifest_schema() -> String {
    let schema = schemars::schema_for!(ManifestFile);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text + "\n"
}

fn rust() -> String {
    "rust".to_owned()
}

const TABLES: [&str; 3] = ["module", "dependencies", "grants"];
const FIELDS: [&str; 3] = ["name", "version", "sdk"];

impl Manifest {
    /// The manifest of the module in this directory, which is checked to be one.
    pub fn load(directory: &Path) -> Result<Self, BuildError> {
        let path = directory.join("wharf.toml");
        if !path.is_file() {
            return Err(BuildError::NotAModule(directory.to_owned()));
        }
        let text = fs::read_to_string(&path).map_err(BuildError::io("read", &path))?;
        let manifest = Self::parse(&text).map_err(|message| BuildError::Manifest { path, message })?;
        if !directory.join("Cargo.toml").is_file() {
            return Err(BuildError::NoCargoManifest(directory.to_owned()));
        }
        Ok(manifest)
    }

    /// Reads a manifest's text; an error says what is wrong in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        for key in table.keys() {
            if !TABLES.contains(&key.as_str()) {
                return Err(unknown(&format!("[{key}]"), key, &TABLES));
            }
        }
        for later in ["dependencies", "grants"] {
            if table.contains_key(later) {
                return Err(format!(
                    "[{later}] is not supported yet: this version of Wharf runs modules that stand alone"
                ));
            }
        }
        let module = table
            .remove("module")
            .ok_or("the table [module] is missing, with `name` and `version`")?;
        if let Some(fields) = module.as_table() {
            for key in fields.keys() {
                if !FIELDS.contains(&key.as_str()) {
                    return Err(unknown(&format!("`{key}` in [module]"), key, &FIELDS));
                }
            }
        }
        let module: ModuleTable = module
            .try_into()
            .map_err(|error: toml::de::Error| format!("[module]: {}", error.message()))?;
        check(&module)?;
        Ok(Self { module })
    }
}

fn check(module: &ModuleTable) -> Result<(), String> {
    wharf_scaffold::ProjectName::parse(&module.name).map_err(|error| error.to_string())?;
    let core = module.version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').collect();
    if numbers.len() != 3 || numbers.iter().any(|number| number.parse::<u64>().is_err()) {
        return Err(format!(
            "`{}` is not a version; it is three numbers, such as `0.1.0`",
            module.version
        ));
    }
    if module.sdk != "rust" {
        return Err(format!(
            "sdk \"{}\" is not known; this version of Wharf builds \"rust\"",
            module.sdk
        ));
    }
    Ok(())
}

fn unknown(what: &str, key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (distance(key, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= 3 => format!("{what} is not known; did you mean `{name}`?"),
        _ => format!("{what} is not known; there are {}", known.join(", ")),
    }
}

/// How many letters differ, counted as insertions, removals and replacements.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    const GOOD: &str = "[module]\nname = \"acme:app\"\nversion = \"0.1.0\"\n";

    fn refusal(text: &str) -> String {
        Manifest::parse(text).expect_err("refused")
    }

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::parse(GOOD).expect("valid");
        assert_eq!(
            (manifest.module.name.as_str(), manifest.module.sdk.as_str()),
            ("acme:app", "rust")
        );
    }

    #[test]
    fn a_mistyped_key_is_named_with_the_nearest() {
        assert!(refusal("[module]\nnmae = \"acme:app\"\n").contains("did you mean `name`?"));
        assert!(refusal("[modul]\n").contains("did you mean `module`?"));
    }

    #[test]
    fn what_is_not_supported_yet_says_so() {
        assert!(refusal(&format!("{GOOD}[dependencies]\n")).contains("not supported yet"));
        assert!(
            refusal("[module]\nname = \"acme:app\"\nversion = \"0.1.0\"\nsdk = \"cobol\"\n")
                .contains("cobol")
        );
    }

    #[test]
    fn names_and_versions_are_checked() {
        assert!(refusal("[module]\nname = \"app\"\nversion = \"0.1.0\"\n").contains("namespace:name"));
        assert!(refusal("[module]\nname = \"acme:app\"\nversion = \"1\"\n").contains("three numbers"));
        assert!(refusal("").contains("[module]"));
    }
}
