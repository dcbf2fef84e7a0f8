//! The sections that a component carries beside its code: its documentation, lifted from the core module in which the SDK
//! left it, and its manifest with what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Parser, Payload};

use wharf_manifest::{About, Capability, Manifest, Rights};

use crate::{BuildError, error::Result};

/// Documentation of functions and parameters.
const DOCS: &str = "wharf:docs";
/// The package whose interfaces are capabilities.
const PACKAGE: &str = "wharf:pipeline/";

/// The component with its sections at the top level.
pub(crate) fn append(
    component: &[u8],
    manifest: &Manifest,
    package: BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let found = read(component)?;
    let mut bytes = without_manifest(component)?;
    if let Some(docs) = found.inner_docs {
        CustomSection {
            name: DOCS.into(),
            data: docs.into(),
        }
        .append_to_component(&mut bytes);
    }
    let about = About {
        package,
        ..About::new(manifest, found.capabilities)
    };
    let about = serde_json::to_vec(&about).map_err(|error| BuildError::Component(error.to_string()))?;
    CustomSection {
        name: About::SECTION.into(),
        data: about.into(),
    }
    .append_to_component(&mut bytes);
    Ok(bytes)
}

/// The component without what it says of itself: whoever reads it finds one manifest, whether they read from the front or the end.
fn without_manifest(component: &[u8]) -> Result<Vec<u8>> {
    let (mut kept, mut from, mut end, mut depth) = (Vec::with_capacity(component.len()), 0, 0, 0_u32);
    let at = |place: u64| usize::try_from(place).unwrap_or(component.len());
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(invalid)?;
        match &payload {
            Payload::Version { range, .. } if depth == 0 => end = range.end,
            Payload::CustomSection(section) if depth == 0 && section.name() == About::SECTION => {
                kept.extend_from_slice(&component[at(from)..at(end)]);
                from = section.range().end;
            }
            Payload::ModuleSection { unchecked_range, .. }
            | Payload::ComponentSection { unchecked_range, .. } => {
                if depth == 0 {
                    end = unchecked_range.end;
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let (0, Some((_, range))) = (depth, payload.as_section()) {
            end = range.end;
        }
    }
    kept.extend_from_slice(&component[at(from)..]);
    Ok(kept)
}

fn invalid(error: wasmparser::BinaryReaderError) -> BuildError {
    BuildError::Component(error.to_string())
}

/// What a component carries.
pub(crate) struct Found<'a> {
    /// What its author wrote about its functions, as the compiler left it in a core module.
    pub(crate) inner_docs: Option<&'a [u8]>,
    /// The same, where a component that was built has it.
    pub(crate) docs: &'a [u8],
    /// What it says of itself, when it was built by this crate.
    pub(crate) about: Option<About>,
    capabilities: BTreeSet<String>,
}

impl Found<'_> {
    /// What it asks its callers for: what it says, or all that its imports could use.
    pub(crate) fn asked(&self) -> Rights {
        let imported = || Capability::of_interfaces(&self.capabilities);
        self.about
            .as_ref()
            .and_then(|about| about.asks.clone())
            .unwrap_or_else(imported)
    }
}

pub(crate) fn read(component: &[u8]) -> Result<Found<'_>> {
    if !Parser::is_component(component) {
        return Err(BuildError::Component(
            "it is a core module; build it for wasm32-wasip2".to_owned(),
        ));
    }
    let mut found = Found {
        inner_docs: None,
        docs: &[],
        about: None,
        capabilities: BTreeSet::new(),
    };
    let (mut depth, mut manifest) = (0_u32, None);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(invalid)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth > 0 && section.name() == DOCS => {
                found.inner_docs = Some(section.data());
            }
            Payload::CustomSection(section) if section.name() == DOCS && found.docs.is_empty() => {
                found.docs = section.data();
            }
            // The first one, as everybody else reads it.
            Payload::CustomSection(section)
                if depth == 0 && section.name() == About::SECTION && manifest.is_none() =>
            {
                manifest = Some(section.data());
            }
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    found
                        .capabilities
                        .extend(capability(import.map_err(invalid)?.name.name));
                }
            }
            _ => {}
        }
    }
    found.about = manifest.and_then(|manifest| serde_json::from_slice(manifest).ok());
    Ok(found)
}

/// The capability that an import stands for. What only names types or builds values asks for nothing.
fn capability(import: &str) -> Option<String> {
    let interface = import.strip_prefix(PACKAGE)?.split('@').next()?;
    let name = interface.strip_suffix("-sync").unwrap_or(interface);
    (!["types", "filesystem"].contains(&name)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with a module in it, and manifests of these names.
    fn component(names: &[&str]) -> Vec<u8> {
        let mut component = wasm_encoder::Component::new();
        component.section(&wasm_encoder::ModuleSection(&wasm_encoder::Module::new()));
        for name in names {
            let text = format!(
                r#"{{"format":1,"module":{{"name":"{name}","version":"1.0.0","sdk":"none"}},"capabilities":[],"dependencies":{{}}}}"#
            );
            component.section(&CustomSection {
                name: About::SECTION.into(),
                data: text.into_bytes().into(),
            });
            component.section(&CustomSection {
                name: "other".into(),
                data: name.as_bytes().into(),
            });
        }
        component.finish()
    }

    #[test]
    fn what_is_built_has_one_manifest() {
        let manifest = "[module]\nname = \"a:new\"\nversion = \"2.0.0\"\n";
        let manifest = Manifest::parse(manifest).unwrap();
        let built = append(&component(&["a:old", "a:older"]), &manifest, BTreeMap::new()).unwrap();
        let names = Parser::new(0)
            .parse_all(&built)
            .filter_map(|payload| match payload.unwrap() {
                Payload::CustomSection(section) => Some(section.name().to_owned()),
                _ => None,
            });
        assert_eq!(names.collect::<Vec<_>>(), ["other", "other", About::SECTION]);
        assert_eq!(read(&built).unwrap().about.unwrap().module.name, "a:new");
        let bare = component(&[]);
        assert_eq!(built[..bare.len()], bare, "the code stays as it is");
    }

    #[test]
    fn the_first_manifest_counts() {
        let two = component(&["a:first", "a:second"]);
        assert_eq!(read(&two).unwrap().about.unwrap().module.name, "a:first");
    }
}
