//! What a component says of itself, read without running any of it: its interface, and the sections that `wharf build` adds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmparser::{Parser, Payload};
use wharf_manifest::About;

use crate::wit;

/// The section with what the author wrote about functions and types.
const DOCS: &str = "wharf:docs";
/// The section with the module's name, version, dependencies and what it asks for.
const MANIFEST: &str = "wharf:manifest";

/// What a component says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// Functions and interfaces that it exports.
    pub exports: Vec<String>,
    /// Interfaces that it imports: what it can do at most.
    pub imports: Vec<String>,
    /// Its manifest, as it was built.
    pub manifest: Option<Value>,
    /// What its author wrote.
    pub docs: Option<Value>,
    /// Its interface as text, with all packages that it names.
    pub wit: Option<String>,
}

impl Contents {
    /// Reads a component.
    ///
    /// # Errors
    /// When the bytes are no component; in words.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        if !Parser::is_component(bytes) {
            return Err("it is no WebAssembly component".to_owned());
        }
        let interface = wit::of_component(bytes)?;
        let (mut manifest, mut docs) = (None, None);
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| error.to_string())? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                // The first of a name counts, for whoever loads the component, too.
                Payload::CustomSection(section) if depth == 0 => match section.name() {
                    DOCS if docs.is_none() => docs = json(section.data()),
                    MANIFEST if manifest.is_none() => manifest = json(section.data()),
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(Self {
            exports: interface.exports,
            imports: interface.imports,
            manifest,
            docs,
            wit: interface.text,
        })
    }

    /// The name that the module gives itself.
    pub fn name(&self) -> Option<&str> {
        self.manifest.as_ref()?.pointer("/module/name")?.as_str()
    }

    /// Its version.
    pub fn version(&self) -> Option<&str> {
        self.manifest.as_ref()?.pointer("/module/version")?.as_str()
    }

    /// Its manifest, when it reads.
    pub fn about(&self) -> Option<About> {
        serde_json::from_value(self.manifest.clone()?).ok()
    }

    /// A word of its package about itself: `description`, `license`, `repository`.
    pub fn of_package(&self, key: &str) -> Option<&str> {
        self.manifest.as_ref()?.get("package")?.get(key)?.as_str()
    }

    /// What it says in a line: its author's first words about it, or its package's.
    pub fn summary(&self) -> Option<&str> {
        let docs = self
            .docs
            .as_ref()
            .and_then(|docs| docs.pointer("/module/docs")?.as_str());
        let first = docs.and_then(|docs| docs.trim().lines().next());
        first
            .filter(|line| !line.is_empty())
            .or_else(|| self.of_package("description"))
    }

    /// Where what was said of a component is not what it says itself: the part's name, or nothing.
    pub(crate) fn differs(&self, said: &Self) -> Option<&'static str> {
        let same_names = |own: &[String], said: &[String]| {
            own.iter().collect::<BTreeSet<_>>() == said.iter().collect::<BTreeSet<_>>()
        };
        if !same_names(&self.exports, &said.exports) {
            return Some("exports");
        }
        if !same_names(&self.imports, &said.imports) {
            return Some("imports");
        }
        if self.manifest != said.manifest {
            return Some("manifest");
        }
        if self.docs != said.docs {
            return Some("documentation");
        }
        match (&self.wit, &said.wit) {
            (Some(own), Some(said)) if !wit::same(own, said) => Some("interface"),
            // Nobody has to say it; what is said has to be so.
            (None, Some(_)) => Some("interface"),
            _ => None,
        }
    }
}

/// A section's text, with the keys of objects in order: the same for whoever reads it.
fn json(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).ok().map(sorted)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(
                fields
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(docs: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
                (core module $m (@custom "wharf:docs" "{{\"inner\":1}}") (func (export "f") (result i32) i32.const 1))
                (core instance $m (instantiate $m))
                (func $f (result u32) (canon lift (core func $m "f")))
                (export "count" (func $f))
                (@custom "wharf:docs" "{docs}")
                (@custom "wharf:manifest" "{{\"module\":{{\"name\":\"a:b\",\"version\":\"1.0.0\"}}}}"))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn the_outermost_sections_count() {
        let contents = Contents::of(&component(r#"{\"module\":{\"docs\":\"Counts.\\nMore.\"}}"#)).unwrap();
        assert_eq!(
            (contents.name(), contents.version()),
            (Some("a:b"), Some("1.0.0"))
        );
        assert_eq!(contents.summary(), Some("Counts."));
        assert_eq!(contents.exports, ["count"]);
    }

    #[test]
    fn what_differs_is_named() {
        let own = Contents::of(&component(r#"{\"b\":1,\"a\":2}"#)).unwrap();
        let same = Contents::of(&component(r#"{\"a\":2, \"b\":1}"#)).unwrap();
        assert_eq!(own.differs(&same), None);
        let said = |change: fn(&mut Contents)| {
            let mut said = own.clone();
            change(&mut said);
            own.differs(&said)
        };
        assert_eq!(said(|said| said.docs = None), Some("documentation"));
        assert_eq!(
            said(|said| said.imports.push("wharf:pipeline/network".into())),
            Some("imports")
        );
        assert_eq!(said(|said| said.exports.clear()), Some("exports"));
        assert_eq!(said(|said| said.manifest = Some(1.into())), Some("manifest"));
        assert_eq!(
            said(|said| said.wit = Some("package a:b;".into())),
            Some("interface")
        );
        assert_eq!(said(|said| said.wit = None), None);
    }
}
