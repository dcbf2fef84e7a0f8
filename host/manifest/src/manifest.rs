//! `wharf.toml`.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Capability, Dependency, ModuleName, Rights,
    nearest::unknown,
    rights::{Allowed, Limit},
};

/// A module's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The table `[module]`.
    pub module: ModuleTable,
    /// The modules that it calls, by the names that it imports them under.
    pub dependencies: BTreeMap<ModuleName, Dependency>,
    /// What it grants, by the dependency that gets it.
    pub grants: BTreeMap<ModuleName, EdgeGrants>,
    /// What it asks its callers for; none when it leaves that to what it imports.
    pub asks: Option<Rights>,
}

/// What a manifest grants to a dependency, and what to the dependencies of that one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EdgeGrants {
    /// `[grants."acme:a"]`.
    #[serde(default)]
    pub rights: Rights,
    /// `[grants."acme:a"."acme:b"]`: what `acme:b` gets when `acme:a` calls it. Counts in the manifest of the module that
    /// the user calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub below: BTreeMap<ModuleName, Rights>,
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
    /// The language it is written in: `rust`, or `none` for a component that something else builds.
    #[serde(default = "rust")]
    #[schemars(extend("enum" = ["rust", "none"]))]
    pub sdk: String,
    /// The component, relative to this wharf.toml, when `sdk` is `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<PathBuf>,
}

fn rust() -> String {
    "rust".to_owned()
}

const TABLES: [&str; 4] = ["module", "dependencies", "grants", "asks"];
const FIELDS: [&str; 4] = ["name", "version", "sdk", "component"];

impl Manifest {
    /// Reads a manifest's text.
    ///
    /// # Errors
    /// In words: what is wrong with it, where, and what was probably meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        if let Some(key) = table.keys().find(|key| !TABLES.contains(&key.as_str())) {
            return Err(unknown(&format!("[{key}]"), key, &TABLES));
        }
        let module = table
            .remove("module")
            .ok_or("the table [module] is missing, with `name` and `version`")?;
        let manifest = Self {
            module: module_table(module)?,
            dependencies: dependencies(&mut table)?,
            grants: grants(&mut table)?,
            asks: match table.remove("asks") {
                Some(asks) => Some(rights(subtable("[asks]", asks)?, "[asks]")?),
                None => None,
            },
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Reads a file of limits, such as an operator's: a table `[limits]` with rights, each the most that any module may have.
    ///
    /// # Errors
    /// In words, as [`Self::parse`].
    pub fn limits(text: &str) -> Result<Limit, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        if let Some(key) = table.keys().find(|key| *key != "limits") {
            return Err(unknown(&format!("[{key}]"), key, &["limits"]));
        }
        let limits = table.remove("limits").ok_or("the table [limits] is missing")?;
        let mut found = BTreeMap::new();
        for (capability, allowed) in allowed(subtable("[limits]", limits)?, "[limits]")? {
            found.insert(capability, normal(capability, allowed, "[limits]")?);
        }
        Ok(Limit(found))
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.module.name
    }

    /// What it grants to this dependency.
    pub fn granted(&self, dependency: &ModuleName) -> Rights {
        let edge = self.grants.get(dependency);
        edge.map(|edge| edge.rights.clone()).unwrap_or_default()
    }

    fn check(&self) -> Result<(), String> {
        let names: Vec<_> = self.dependencies.keys().map(ModuleName::to_string).collect();
        let known: Vec<_> = names.iter().map(String::as_str).collect();
        for (name, edge) in &self.grants {
            if !edge.rights.is_empty() && !self.dependencies.contains_key(name) {
                let what = format!("[grants.\"{name}\"] is for a dependency, and `{name}`");
                return Err(unknown(&what, &name.to_string(), &known));
            }
        }
        if let Some(name) = names.iter().find(|name| **name == self.module.name) {
            return Err(format!("`{name}` in [dependencies] is the module itself"));
        }
        Ok(())
    }
}

fn subtable(what: &str, value: toml::Value) -> Result<toml::Table, String> {
    match value {
        toml::Value::Table(table) => Ok(table),
        _ => Err(format!("{what} is a table")),
    }
}

fn module_table(value: toml::Value) -> Result<ModuleTable, String> {
    let table = subtable("[module]", value)?;
    if let Some(key) = table.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(unknown(&format!("`{key}` in [module]"), key, &FIELDS));
    }
    let module: ModuleTable = table
        .try_into()
        .map_err(|error: toml::de::Error| format!("[module]: {}", error.message()))?;
    module
        .name
        .parse::<ModuleName>()
        .map_err(|error| error.to_string())?;
    if module.version.parse::<semver::Version>().is_err() {
        return Err(format!(
            "`{}` is not a version; it is three numbers, such as `0.1.0`",
            module.version
        ));
    }
    match (module.sdk.as_str(), &module.component) {
        ("rust", None) | ("none", Some(_)) => Ok(module),
        ("rust", Some(_)) => {
            Err("`component` in [module] goes with `sdk = \"none\"`: cargo builds it otherwise".to_owned())
        }
        ("none", None) => {
            Err("with `sdk = \"none\"`, [module] needs `component`: the path of the .wasm file".to_owned())
        }
        (other, _) => Err(format!(
            "sdk \"{other}\" is not known; this version of Wharf builds \"rust\", and takes a component that something else \
             builds with sdk \"none\""
        )),
    }
}

fn dependencies(table: &mut toml::Table) -> Result<BTreeMap<ModuleName, Dependency>, String> {
    let Some(value) = table.remove("dependencies") else {
        return Ok(BTreeMap::new());
    };
    let mut found = BTreeMap::new();
    for (name, value) in subtable("[dependencies]", value)? {
        let wrong = |error: String| format!("`{name}` in [dependencies]: {error}");
        let key: ModuleName = name
            .parse()
            .map_err(|error: crate::NotAName| format!("[dependencies]: {error}"))?;
        found.insert(key, Dependency::read(value).map_err(wrong)?);
    }
    Ok(found)
}

fn grants(table: &mut toml::Table) -> Result<BTreeMap<ModuleName, EdgeGrants>, String> {
    let Some(value) = table.remove("grants") else {
        return Ok(BTreeMap::new());
    };
    let mut found = BTreeMap::new();
    for (name, value) in subtable("[grants]", value)? {
        let key: ModuleName = name.parse().map_err(|_| {
            format!("[grants] has a table for each dependency, as in [grants.\"acme:b\"], and `{name}` is no module's name")
        })?;
        let what = format!("[grants.\"{name}\"]");
        let (mut own, mut below) = (toml::Table::new(), BTreeMap::new());
        for (inner, value) in subtable(&what, value)? {
            match inner.parse::<ModuleName>() {
                Ok(key) => {
                    let what = format!("[grants.\"{name}\".\"{inner}\"]");
                    below.insert(key, rights(subtable(&what, value)?, &what)?);
                }
                Err(_) => {
                    own.insert(inner, value);
                }
            }
        }
        let rights = rights(own, &what)?;
        found.insert(key, EdgeGrants { rights, below });
    }
    Ok(found)
}

/// Reads rights: for each capability a switch, one entry or a list of them.
pub(crate) fn rights(table: toml::Table, what: &str) -> Result<Rights, String> {
    let written = allowed(table, what)?.into_iter().map(|(capability, allowed)| {
        let allowed = normal(capability, allowed, what)?;
        Ok((capability, allowed))
    });
    written
        .collect::<Result<BTreeMap<_, _>, String>>()
        .map(Rights::of_normal)
}

fn normal(capability: Capability, allowed: Allowed, what: &str) -> Result<Allowed, String> {
    let wrong = |error: String| format!("`{capability}` in {what}: {error}");
    allowed.normal(capability).map_err(wrong)
}

fn allowed(table: toml::Table, what: &str) -> Result<Vec<(Capability, Allowed)>, String> {
    let mut found = Vec::new();
    for (name, value) in table {
        let capability: Capability = name
            .parse()
            .map_err(|error: crate::UnknownCapability| format!("{what}: {error}"))?;
        let wrong = || format!("`{name}` in {what} is true, false or a list, as in {name} = [\"…\"]");
        let entries = match value {
            toml::Value::Boolean(true) => {
                found.push((capability, Allowed::All));
                continue;
            }
            toml::Value::Boolean(false) => Vec::new(),
            toml::Value::String(entry) => vec![entry],
            toml::Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>().ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        };
        found.push((capability, Allowed::Only(entries.into_iter().collect())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::GitReference;

    const GOOD: &str = "[module]\nname = \"acme:app\"\nversion = \"0.1.0\"\n";

    fn refusal(text: &str) -> String {
        Manifest::parse(text).expect_err("refused")
    }

    fn refused_after(more: &str) -> String {
        refusal(&format!("{GOOD}{more}"))
    }

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::parse(GOOD).expect("valid");
        assert_eq!(
            (manifest.name(), manifest.module.sdk.as_str()),
            ("acme:app", "rust")
        );
        assert!(manifest.dependencies.is_empty() && manifest.asks.is_none());
    }

    #[test]
    fn dependencies_and_grants_are_read() {
        let manifest = Manifest::parse(&format!(
            r#"{GOOD}
            [dependencies]
            "wharf:huggingface" = "1"
            "acme:quantize" = {{ oci = "registry.example/acme/quantize", version = "0.3" }}
            "acme:local" = {{ path = "../local" }}
            "acme:far" = {{ git = "https://example.com/far.git", tag = "v1", directory = "modules/far" }}

            [grants."wharf:huggingface"]
            network = ["huggingface.co", "*.hf.co"]
            caches = "hf"
            [grants."wharf:huggingface"."wharf:http"]
            http = true

            [asks]
            images = ["busybox"]
            "#
        ))
        .expect("valid");
        let dependency = |name: &str| &manifest.dependencies[&name.parse::<ModuleName>().unwrap()];
        assert!(
            matches!(dependency("wharf:huggingface"), Dependency::Registry { version } if version.to_string() == "^1")
        );
        assert!(
            matches!(dependency("acme:quantize"), Dependency::Oci { reference, version: Some(_) } if reference.ends_with("quantize"))
        );
        assert_eq!(
            dependency("acme:local"),
            &Dependency::Path(Path::new("../local").into())
        );
        assert!(
            matches!(dependency("acme:far"), Dependency::Git { reference: GitReference::Tag(tag), .. } if tag == "v1")
        );
        let grants = &manifest.grants[&"wharf:huggingface".parse().unwrap()];
        assert_eq!(
            grants.rights.to_string(),
            "network = [\"*.hf.co\", \"huggingface.co\"]\ncaches = [\"hf\"]"
        );
        assert!(grants.below[&"wharf:http".parse().unwrap()].covers_all(Capability::Http));
        assert!(
            manifest
                .asks
                .unwrap()
                .covers(Capability::Images, "docker.io/library/busybox:1")
        );
    }

    #[test]
    fn a_mistyped_key_is_named_with_the_nearest() {
        assert!(refusal("[module]\nnmae = \"acme:app\"\n").contains("did you mean `name`?"));
        assert!(refusal("[modul]\n").contains("did you mean `module`?"));
        assert!(
            refused_after("[dependencies]\n\"a:b\" = { pth = \"x\" }\n").contains("did you mean `path`?")
        );
        let grants = "[dependencies]\n\"a:b\" = \"1\"\n[grants.\"a:b\"]\nnetwrok = true\n";
        assert!(
            refused_after(grants).contains(
                "[grants.\"a:b\"]: the capability \"netwrok\" is not known; did you mean `network`?"
            )
        );
        let grants = "[dependencies]\n\"a:bc\" = \"1\"\n[grants.\"a:bd\"]\nnetwork = true\n";
        assert!(
            refused_after(grants).contains("did you mean `a:bc`?"),
            "{}",
            refused_after(grants)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (more, why) in [
            ("[dependencies]\nb = \"1\"\n", "namespace:name"),
            ("[dependencies]\n\"a:b\" = \"banana\"\n", "says no versions"),
            ("[dependencies]\n\"a:b\" = 1\n", "it is a version"),
            ("[dependencies]\n\"a:b\" = {}\n", "needs one of"),
            (
                "[dependencies]\n\"a:b\" = { path = \"x\", git = \"y\" }\n",
                "one place",
            ),
            (
                "[dependencies]\n\"a:b\" = { path = \"x\", tag = \"y\" }\n",
                "goes with `git`",
            ),
            (
                "[dependencies]\n\"a:b\" = { path = \"x\", version = \"1\" }\n",
                "goes with `oci`",
            ),
            (
                "[dependencies]\n\"acme:app\" = { path = \"x\" }\n",
                "the module itself",
            ),
            ("[grants]\nnetwork = true\n", "no module's name"),
            ("[asks]\nnetwork = 1\n", "true, false or a list"),
            ("[asks]\nnetwork = [\"http://x\"]\n", "is not a host"),
        ] {
            assert!(
                refused_after(more).contains(why),
                "{more}: {}",
                refused_after(more)
            );
        }
        assert!(
            refusal("[module]\nname = \"acme:app\"\nversion = \"0.1.0\"\nsdk = \"cobol\"\n")
                .contains("cobol")
        );
        assert!(
            refusal("[module]\nname = \"acme:app\"\nversion = \"0.1.0\"\nsdk = \"none\"\n")
                .contains("component")
        );
    }

    #[test]
    fn names_and_versions_are_checked() {
        assert!(refusal("[module]\nname = \"app\"\nversion = \"0.1.0\"\n").contains("namespace:name"));
        assert!(refusal("[module]\nname = \"acme:app\"\nversion = \"1\"\n").contains("three numbers"));
        assert!(refusal("").contains("[module]"));
    }
}
