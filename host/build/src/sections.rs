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
    let mut bytes = component.to_vec();
    if let Some(docs) = found.docs {
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

/// What a component carries.
pub(crate) struct Found<'a> {
    /// What its author wrote about its functions.
    pub(crate) docs: Option<&'a [u8]>,
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
    let invalid = |error: wasmparser::BinaryReaderError| BuildError::Component(error.to_string());
    if !Parser::is_component(component) {
        return Err(BuildError::Component(
            "it is a core module; build it for wasm32-wasip2".to_owned(),
        ));
    }
    let mut found = Found {
        docs: None,
        about: None,
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
            Payload::CustomSection(section) if section.name() == About::SECTION => {
                found.about = serde_json::from_slice(section.data()).ok();
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
