//! The sections that a component carries beside its code: its documentation, lifted from the core module in which the SDK
//! left it, and its manifest with what it asks for.

use std::collections::BTreeSet;

use serde_json::json;
use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Parser, Payload};

use crate::{BuildError, Manifest, error::Result};

/// Documentation of functions and parameters.
const DOCS: &str = "wharf:docs";
/// Name, version and capabilities.
const MANIFEST: &str = "wharf:manifest";
/// The package whose interfaces are capabilities.
const PACKAGE: &str = "wharf:pipeline/";

/// The component with its sections at the top level.
pub(crate) fn append(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>> {
    let found = read(component)?;
    let mut bytes = component.to_vec();
    if let Some(docs) = found.docs {
        CustomSection {
            name: DOCS.into(),
            data: docs.into(),
        }
        .append_to_component(&mut bytes);
    }
    let about =
        json!({"format": 1, "module": manifest.module, "capabilities": found.capabilities}).to_string();
    CustomSection {
        name: MANIFEST.into(),
        data: about.as_bytes().into(),
    }
    .append_to_component(&mut bytes);
    Ok(bytes)
}

struct Found<'a> {
    docs: Option<&'a [u8]>,
    capabilities: BTreeSet<String>,
}

fn read(component: &[u8]) -> Result<Found<'_>> {
    let invalid = |error: wasmparser::BinaryReaderError| BuildError::Component(error.to_string());
    if !Parser::is_component(component) {
        return Err(BuildError::Component(
            "it is a core module; build it for wasm32-wasip2".to_owned(),
        ));
    }
    let mut found = Found {
        docs: None,
        capabilities: BTreeSet::new(),
    };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(invalid)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth > 0 && section.name() == DOCS => {
                found.docs = Some(section.data());
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
    Ok(found)
}

/// The capability that an import stands for. What only names types or builds values asks for nothing.
fn capability(import: &str) -> Option<String> {
    let interface = import.strip_prefix(PACKAGE)?.split('@').next()?;
    let name = interface.strip_suffix("-sync").unwrap_or(interface);
    (!["types", "filesystem"].contains(&name)).then(|| name.to_owned())
}
