//! What a component says of itself in its section `wharf:manifest`: the part of its wharf.toml that callers need.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Capability, Dependency, EdgeGrants, Manifest, ModuleName, ModuleTable, Rights};

/// The section, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct About {
    /// The form of the section: 1.
    pub format: u32,
    /// Its name and version.
    pub module: ModuleTable,
    /// The interfaces of `wharf:pipeline` that it imports, without those that only name types.
    pub capabilities: BTreeSet<String>,
    /// What its package says of it: `description`, `license`, `repository`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub package: BTreeMap<String, String>,
    /// What it asks for, when it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Rights>,
    /// What it calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<ModuleName, Dependency>,
    /// What it grants to those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<ModuleName, EdgeGrants>,
}

impl About {
    /// The section's name.
    pub const SECTION: &str = "wharf:manifest";

    /// What the component of this manifest says of itself; it imports these interfaces.
    pub fn new(manifest: &Manifest, capabilities: BTreeSet<String>) -> Self {
        Self {
            format: 1,
            module: ModuleTable {
                component: None,
                ..manifest.module.clone()
            },
            capabilities,
            package: BTreeMap::new(),
            asks: manifest.asks.clone(),
            dependencies: manifest.dependencies.clone(),
            grants: manifest.grants.clone(),
        }
    }

    /// What it asks its callers for: what it says, or all that its imports could use.
    pub fn asked(&self) -> Rights {
        let imported = || Capability::of_interfaces(&self.capabilities);
        self.asks.clone().unwrap_or_else(imported)
    }
}
