//! Name and version of the module, read from `wharf.toml` when the macro expands.

use std::path::Path;

use proc_macro2::Span;
use syn::{Error, Result};

/// What the macro needs of `wharf.toml`.
pub(crate) struct Manifest {
    /// Such as `acme`.
    pub namespace: String,
    /// Such as `llm-deploy`.
    pub name: String,
    /// Such as `0.1.0`.
    pub version: String,
    /// The modules that it calls.
    pub dependencies: Dependencies,
}

/// What is there of the modules that a module calls.
pub(crate) enum Dependencies {
    /// It calls none.
    None,
    /// Their functions, as `wharf build` has written them.
    Written,
    /// Nothing yet.
    Missing,
}

impl Manifest {
    /// The manifest beside the crate's `Cargo.toml`.
    pub(crate) fn read() -> Result<Self> {
        let directory = std::env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| {
            error("a Wharf module is built by cargo; CARGO_MANIFEST_DIR is not set".to_owned())
        })?;
        let text = std::fs::read_to_string(Path::new(&directory).join("wharf.toml")).map_err(|cause| {
            error(format!(
                "cannot read wharf.toml beside Cargo.toml ({cause}); it says the module's name and version:\n\n[module]\n\
                 name = \"acme:example\"\nversion = \"0.1.0\"\nsdk = \"rust\""
            ))
        })?;
        let manifest = Self::parse(&text).map_err(error)?;
        let written = Path::new(&directory).join(".wharf/dependencies.rs");
        Ok(match manifest.dependencies {
            Dependencies::Missing if written.is_file() => Self {
                dependencies: Dependencies::Written,
                ..manifest
            },
            _ => manifest,
        })
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|cause| format!("wharf.toml: {cause}"))?;
        let field = |key: &str| {
            let value = table
                .get("module")
                .and_then(|module| module.get(key))
                .and_then(toml::Value::as_str);
            value.ok_or_else(|| format!("wharf.toml: [module] needs a text `{key}`"))
        };
        let (name, version) = (field("name")?, field("version")?);
        let label = |part: &str| {
            part.split('-').all(|word| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            })
        };
        match name.split_once(':') {
            Some((namespace, name)) if label(namespace) && label(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                version: version.to_owned(),
                dependencies: match table.get("dependencies").and_then(toml::Value::as_table) {
                    Some(named) if !named.is_empty() => Dependencies::Missing,
                    _ => Dependencies::None,
                },
            }),
            _ => Err(format!(
                "wharf.toml: `{name}` is not a module's name; it is `namespace:name` in lower case, such as `acme:example`"
            )),
        }
    }

    /// Namespace and name, joined as packages are.
    pub(crate) fn package(&self) -> String {
        format!("{}:{}", self.namespace, self.name)
    }
}

fn error(message: String) -> Error {
    Error::new(Span::call_site(), message)
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    #[test]
    fn name_and_version_are_read() {
        let manifest =
            Manifest::parse("[module]\nname = \"acme:llm-deploy\"\nversion = \"0.1.0\"\n").expect("valid");
        assert_eq!(manifest.package(), "acme:llm-deploy");
        assert_eq!(manifest.version, "0.1.0");
    }

    #[test]
    fn a_name_without_namespace_is_refused() {
        let refused = Manifest::parse("[module]\nname = \"deploy\"\nversion = \"0.1.0\"\n")
            .err()
            .expect("refused");
        assert!(refused.contains("namespace:name"), "{refused}");
    }
}
